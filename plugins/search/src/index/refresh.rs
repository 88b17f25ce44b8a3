//! Bringing the database up to date: walk, compare, read what changed, write it.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use llmc_core::Root;

use super::Index;
use super::marks::{Mark, Marks};
use crate::document::{Document, document, hash_of};
use crate::files::{self, Found, Walked};
use crate::limits::MAX_FILE_BYTES;
use crate::store::{self, Known, StoreError, Writer};
use crate::syntax::Extractor;

/// Only one process writes.
const LOCK: &str = "writer.lock";
/// How often another process is asked whether it is done.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Threads that read files.
const MAX_READERS: usize = 4;
/// Files that wait to be written.
const MAX_WAITING: usize = 16;
/// A transaction ends after so many files or so long: what was written by then survives a kill.
const BATCH_FILES: usize = 64;
const BATCH_TIME: Duration = Duration::from_millis(250);
/// A file that changed so shortly before it was read may change again without a new time.
const RACY: Duration = Duration::from_secs(2);
/// After so many new files the full-text tables are worth merging.
const MANY_FILES: usize = 200;

/// What is to be done about a file.
enum Change {
    Put(usize, Box<Document>),
    Touch(Known, i64, i64),
    Delete(i64),
}

/// One round.
pub(super) fn run(index: &Index) -> Result<(), StoreError> {
    let _lock = lock(index)?;
    let mut writer = open(index)?;
    let walked = walk(index)?;
    let paths: Vec<_> = index
        .roots
        .iter()
        .map(|root| (root.name.as_str(), root.path.as_os_str().as_encoded_bytes()))
        .collect();
    let ids = writer.set_roots(&paths)?;
    let mut known = Vec::new();
    for id in &ids {
        known.push(writer.known_files(*id)?);
    }
    let gone: Vec<i64> = walked.iter().zip(&known).flat_map(|(walked, known)| gone(walked, known)).collect();
    let suspects = suspects(&walked, &known);
    {
        let mut status = index.status();
        (status.total, status.done) = (suspects.len() + gone.len(), 0);
        status.too_many_files = walked.iter().any(|walked| walked.too_many);
    }
    let written = write(index, &mut writer, &ids, suspects, gone)?;
    for (id, root) in ids.iter().zip(&index.roots) {
        writer.set_commit(*id, files::head_commit(root.dir).as_deref())?;
    }
    writer.set_meta(super::COMPLETE, "1")?;
    if written >= MANY_FILES {
        writer.tidy()?;
    }
    if !index.status().sound {
        if !writer.is_sound()? {
            return Err(StoreError::Broken("its pages do not fit together".into()));
        }
        index.status().sound = true;
    }
    Ok(())
}

/// The right to write. Another process that has it is waited for; the kernel takes it from one that was killed.
fn lock(index: &Index) -> Result<File, StoreError> {
    let failed =
        |error: std::io::Error| StoreError::Unusable(format!("cannot write to the state folder: {error}"));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(index.folder().join(LOCK))
        .map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Opens the database; a broken one is put aside, and one that is not wanted any more removed.
fn open(index: &Index) -> Result<Writer, StoreError> {
    let folder = index.folder();
    let failed = |error: std::io::Error| StoreError::Unusable(format!("cannot put the index aside: {error}"));
    let (suspect, from_scratch) = {
        let mut status = index.status();
        (status.suspect.take(), std::mem::take(&mut status.from_scratch))
    };
    let is_suspect = suspect.is_some() && suspect == store::identity(folder);
    if is_suspect || from_scratch {
        store::set_aside(folder).map_err(failed)?;
    }
    if is_suspect {
        index.status().rebuilt = Some("the index was broken".into());
    }
    match Writer::open(folder) {
        Err(StoreError::Broken(why)) => {
            store::set_aside(folder).map_err(failed)?;
            index.status().rebuilt = Some(why);
            Writer::open(folder)
        }
        opened => opened,
    }
}

fn walk(index: &Index) -> Result<Vec<Walked>, StoreError> {
    let walked = index.roots.iter().map(|root| files::walk(root.dir, &|| true));
    walked.collect::<Option<_>>().ok_or(StoreError::Stopped)
}

/// Files that are not there any more. What lies below a directory that could not be read is kept.
fn gone(walked: &Walked, known: &HashMap<String, Known>) -> Vec<i64> {
    let is_unread = |path: &str| {
        let below = |dir: &String| path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'));
        walked.unread.iter().any(|dir| dir.is_empty() || below(dir))
    };
    let there: std::collections::HashSet<&str> = walked.files.iter().map(|file| file.path.as_str()).collect();
    let gone = known.iter().filter(|(path, _)| !there.contains(path.as_str()) && !is_unread(path));
    gone.map(|(_, known)| known.id).collect()
}

/// Files that are new or may have changed, with the number of their root.
fn suspects(walked: &[Walked], known: &[HashMap<String, Known>]) -> Vec<(usize, Found, Option<Known>)> {
    let mut suspects = Vec::new();
    for (root, (walked, known)) in walked.iter().zip(known).enumerate() {
        for found in &walked.files {
            let before = known.get(&found.path).copied();
            let same = |before: Known| (before.size, before.mtime_ns) == (found.size, found.mtime_ns);
            if !before.is_some_and(same) {
                suspects.push((root, found.clone(), before));
            }
        }
    }
    suspects
}

/// Reads in several threads, writes in this one. Returns how many files were written.
fn write(
    index: &Index,
    writer: &mut Writer,
    ids: &[i64],
    suspects: Vec<(usize, Found, Option<Known>)>,
    gone: Vec<i64>,
) -> Result<usize, StoreError> {
    let readers =
        std::thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS).min(suspects.len());
    let marks = Marks::open(index.folder(), MAX_READERS);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, changes) = sync_channel(MAX_WAITING);
        for thread in 0..readers {
            let (sender, suspects, next, stop) = (sender.clone(), &suspects, &next, &stop);
            let (marks, mark) = (&marks, marks.for_thread(thread));
            scope.spawn(move || {
                let mut extractor = Extractor::default();
                while let Some(suspect) = suspects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let change = change(&index.roots, &mut extractor, (marks, &mark), suspect);
                    if stop.load(Ordering::Relaxed) || sender.send(change).is_err() {
                        break;
                    }
                }
            });
        }
        let deletions = gone.into_iter().map(|id| Some(Change::Delete(id)));
        drop(sender);
        let written = write_batches(index, writer, ids, deletions, &changes);
        if written.is_err() {
            writer.roll_back();
        }
        // Readers that wait for a place see that nobody takes anything any more.
        stop.store(true, Ordering::Relaxed);
        drop(changes);
        written
    })
}

fn write_batches(
    index: &Index,
    writer: &mut Writer,
    ids: &[i64],
    deletions: impl Iterator<Item = Option<Change>>,
    changes: &Receiver<Option<Change>>,
) -> Result<usize, StoreError> {
    let (mut written, mut in_batch) = (0, 0);
    let mut begun: Option<Instant> = None;
    for change in deletions.chain(changes.iter()) {
        if begun.is_none() {
            writer.begin()?;
            begun = Some(Instant::now());
        }
        match change {
            Some(Change::Put(root, document)) => {
                writer.put(ids.get(root).copied().unwrap_or_default(), &document)?;
                written += 1;
            }
            Some(Change::Touch(known, size, mtime_ns)) => writer.touch(known.id, size, mtime_ns)?,
            Some(Change::Delete(id)) => writer.delete(id)?,
            None => {}
        }
        in_batch += 1;
        index.status().done += 1;
        if in_batch >= BATCH_FILES || begun.is_some_and(|begun| begun.elapsed() >= BATCH_TIME) {
            writer.commit()?;
            (in_batch, begun) = (0, None);
        }
    }
    if begun.is_some() {
        writer.commit()?;
    }
    Ok(written)
}

/// Reads a file; `None` if it cannot be read now and was not known before.
fn change(
    roots: &[Root],
    extractor: &mut Extractor,
    (marks, mark): (&Marks, &Mark),
    suspect: &(usize, Found, Option<Known>),
) -> Option<Change> {
    let (root, found, before) = suspect;
    let gone = || before.map(|known| Change::Delete(known.id));
    let now = SystemTime::now();
    let Ok(opened) = files::read(roots.get(*root)?.dir, &found.path, MAX_FILE_BYTES) else { return gone() };
    let mtime_ns = settled(opened.mtime_ns, now);
    if let Some(known) = before.filter(|known| known.hash == hash_of(&opened.bytes)) {
        return Some(Change::Touch(known, opened.size, mtime_ns));
    }
    let hash = hash_of(&opened.bytes);
    let Some(text) = files::as_text(opened.bytes) else { return gone() };
    let read = |extractor: Option<&mut Extractor>| document(extractor, &found.path, found.language, &text);
    let document = marks.survive(mark, hash, |parses| {
        let parsed = parses.then(|| catch_unwind(AssertUnwindSafe(|| read(Some(extractor)))).ok()).flatten();
        parsed.unwrap_or_else(|| read(None))
    });
    let document = Document { size: opened.size, mtime_ns, hash, ..document };
    Some(Change::Put(*root, Box::new(document)))
}

/// The time of a file, or one that no file has if it may change again without anybody noticing.
fn settled(mtime_ns: i64, now: SystemTime) -> i64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let racy_ns = i64::try_from(RACY.as_nanos()).unwrap_or(0);
    if mtime_ns > now_ns - racy_ns { i64::MIN } else { mtime_ns }
}
