//! Bringing the database up to date: walk, compare, read what changed, write it.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use super::Index;
use super::marks::{Mark, Marks};
use crate::document::{Document, document, hash_of};
use crate::files::{self, Found, Lists, Walked};
use crate::limits::{MAX_FILE_BYTES, RACY};
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
/// The fact about a database which model its vectors are of.
const MODEL: &str = "model";
/// After so many new files the full-text tables are worth merging.
const MANY_FILES: usize = 200;

/// What is to be done about a file.
enum Change {
    Put(usize, Box<Document>),
    Touch(usize, String, Known),
    Delete(usize, String, i64),
    /// It is no text; size, time and the number that it had when it was one.
    Unfit(usize, String, (i64, i64), Option<i64>),
}

/// Files that are new or may have changed, with the number of their root and what is known of them; and files that are
/// not there any more.
#[derive(Default)]
struct Differences {
    suspects: Vec<(usize, Found, Option<Known>)>,
    gone: Vec<(usize, String, i64)>,
}

/// What is kept from one round to the next, so that one in which nothing has changed asks nobody.
#[derive(Default)]
pub(super) struct Kept {
    lists: Vec<Lists>,
    database: Option<Database>,
}

/// A database that is open for writing, and what it holds.
struct Database {
    writer: Writer,
    identity: Option<u64>,
    version: i64,
    /// Numbers, files and commits of the roots.
    ids: Vec<i64>,
    known: Vec<HashMap<String, Known>>,
    /// Size and time of files that are no text, by root: they are not read again.
    unfit: Vec<HashMap<String, (i64, i64)>>,
    commits: Vec<Option<String>>,
}

/// One round.
pub(super) fn run(index: &Index, kept: &mut Kept) -> Result<(), StoreError> {
    let result = round(index, kept);
    if result.is_err() {
        *kept = Kept::default();
    }
    result
}

fn round(index: &Index, kept: &mut Kept) -> Result<(), StoreError> {
    let mut walked = walk(index, &mut kept.lists)?;
    if kept.database.as_ref().is_some_and(|database| database.says_so(index, &walked)) {
        return Ok(());
    }
    let _lock = lock(index)?;
    let mut database = match kept.database.take().filter(|database| database.is_current(index)) {
        Some(database) => database,
        None => {
            let database = Database::open(index)?;
            // Whoever wrote it last may have seen files that are newer than the walk.
            walked = walk(index, &mut kept.lists)?;
            database
        }
    };
    database.forget_unfit(&walked);
    let differences = database.differences(&walked);
    {
        let mut status = index.status();
        (status.total, status.done) = (differences.suspects.len() + differences.gone.len(), 0);
        status.too_many_files = walked.iter().any(|walked| walked.too_many);
    }
    let written = write(index, &mut database, differences)?;
    database.note(index)?;
    if written >= MANY_FILES {
        database.writer.tidy()?;
    }
    if written > 0 {
        database.writer.rest()?;
    }
    (database.identity, database.version) = (store::identity(index.folder()), database.writer.version()?);
    kept.database = Some(database);
    Ok(())
}

impl Database {
    /// Opens the one in the state folder, or makes it.
    fn open(index: &Index) -> Result<Self, StoreError> {
        let mut writer = open(index)?;
        let model = index.model().map_or("", |model| model.id());
        let before = writer.meta(MODEL)?;
        if before.as_ref().is_some_and(|before| before != model) {
            // Vectors of another model, or none: everything is to be read again.
            drop(writer);
            index.forget();
            writer = open(index)?;
        }
        if before.is_none_or(|before| before != model) {
            writer.set_meta(MODEL, model)?;
        }
        let paths: Vec<_> = index
            .roots
            .iter()
            .map(|root| (root.name.as_str(), root.path.as_os_str().as_encoded_bytes()))
            .collect();
        let ids = writer.set_roots(&paths)?;
        let known = ids.iter().map(|id| writer.known_files(*id)).collect::<Result<_, _>>()?;
        let unfit = ids.iter().map(|_| HashMap::new()).collect();
        Ok(Self { writer, identity: None, version: 0, ids, known, unfit, commits: Vec::new() })
    }

    /// Whether it is still the one in the state folder, and nobody else has written to it.
    fn is_current(&self, index: &Index) -> bool {
        let is_wanted = {
            let status = index.status();
            status.suspect.is_none() && !status.from_scratch
        };
        is_wanted
            && self.identity.is_some()
            && self.identity == store::identity(index.folder())
            && self.writer.version() == Ok(self.version)
    }

    /// Whether it holds all of this already.
    fn says_so(&self, index: &Index, walked: &[Walked]) -> bool {
        self.is_current(index) && self.commits == commits(index) && self.differences(walked).is_empty()
    }

    /// What is remembered of files that are no text does not grow without end.
    fn forget_unfit(&mut self, walked: &[Walked]) {
        for (walked, unfit) in walked.iter().zip(&mut self.unfit) {
            if unfit.len() > walked.files.len() {
                unfit.clear();
            }
        }
    }

    /// Notes that all files were looked at.
    fn note(&mut self, index: &Index) -> Result<(), StoreError> {
        self.commits = commits(index);
        for (id, commit) in self.ids.iter().zip(&self.commits) {
            self.writer.set_commit(*id, commit.as_deref())?;
        }
        if self.writer.meta(super::COMPLETE)?.is_none() {
            self.writer.set_meta(super::COMPLETE, "1")?;
        }
        Ok(())
    }
}

fn commits(index: &Index) -> Vec<Option<String>> {
    index.roots.iter().map(|root| files::head_commit(root.dir)).collect()
}

/// Whether the pages of the database fit together. Reads all of it, beside everybody else.
pub(super) fn is_sound(index: &Index) -> Result<bool, StoreError> {
    store::Reader::open(index.folder())?.is_sound()
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

fn walk(index: &Index, lists: &mut Vec<Lists>) -> Result<Vec<Walked>, StoreError> {
    lists.resize_with(index.roots.len(), Lists::default);
    let walked = index.roots.iter().zip(lists).map(|(root, lists)| files::walk(root.dir, lists, &|| true));
    let walked: Vec<Walked> = walked.collect::<Option<_>>().ok_or(StoreError::Stopped)?;
    index.status().files = walked.iter().map(|walked| walked.files.len()).sum();
    Ok(walked)
}

impl Database {
    fn differences(&self, walked: &[Walked]) -> Differences {
        let mut differences = Differences::default();
        for (root, ((walked, known), unfit)) in walked.iter().zip(&self.known).zip(&self.unfit).enumerate() {
            let mut met = 0;
            for found in &walked.files {
                let before = known.get(&found.path).copied();
                met += usize::from(before.is_some());
                let seen = match before {
                    Some(known) => Some((known.size, known.mtime_ns)),
                    None => unfit.get(&found.path).copied(),
                };
                if seen != Some((found.size, found.mtime_ns)) {
                    differences.suspects.push((root, found.clone(), before));
                }
            }
            if met < known.len() {
                let gone = gone(walked, known).map(|(path, known)| (root, path.clone(), known.id));
                differences.gone.extend(gone);
            }
        }
        differences
    }
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.gone.is_empty()
    }
}

/// Files that are not there any more. What lies below a directory that could not be read is kept.
fn gone<'a>(
    walked: &'a Walked,
    known: &'a HashMap<String, Known>,
) -> impl Iterator<Item = (&'a String, &'a Known)> {
    let there: HashSet<&str> = walked.files.iter().map(|file| file.path.as_str()).collect();
    let below = |path: &str, dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let is_unread = move |path: &str| walked.unread.iter().any(|dir| dir.is_empty() || below(path, dir));
    known.iter().filter(move |(path, _)| !there.contains(path.as_str()) && !is_unread(path))
}

/// Reads in several threads, writes in this one. Returns how many files were written.
fn write(
    index: &Index,
    database: &mut Database,
    Differences { suspects, gone }: Differences,
) -> Result<usize, StoreError> {
    if suspects.is_empty() && gone.is_empty() {
        return Ok(0);
    }
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
                    let change = change(index, &mut extractor, (marks, &mark), suspect);
                    if stop.load(Ordering::Relaxed) || sender.send(change).is_err() {
                        break;
                    }
                }
            });
        }
        let deletions = gone.into_iter().map(|(root, path, id)| Some(Change::Delete(root, path, id)));
        drop(sender);
        let written = write_batches(index, database, deletions, &changes);
        if written.is_err() {
            database.writer.roll_back();
        }
        // Readers that wait for a place see that nobody takes anything any more.
        stop.store(true, Ordering::Relaxed);
        drop(changes);
        written
    })
}

fn write_batches(
    index: &Index,
    database: &mut Database,
    deletions: impl Iterator<Item = Option<Change>>,
    changes: &Receiver<Option<Change>>,
) -> Result<usize, StoreError> {
    let (mut written, mut in_batch) = (0, 0);
    let mut begun: Option<Instant> = None;
    for change in deletions.chain(changes.iter()) {
        if begun.is_none() {
            database.writer.begin()?;
            begun = Some(Instant::now());
        }
        if let Some(change) = change {
            written += usize::from(matches!(change, Change::Put(..)));
            database.apply(change)?;
        }
        in_batch += 1;
        index.status().done += 1;
        if in_batch >= BATCH_FILES || begun.is_some_and(|begun| begun.elapsed() >= BATCH_TIME) {
            database.writer.commit()?;
            (in_batch, begun) = (0, None);
        }
    }
    if begun.is_some() {
        database.writer.commit()?;
    }
    Ok(written)
}

impl Database {
    /// Writes a change, and remembers it.
    fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        let root = match &change {
            Change::Put(root, _)
            | Change::Touch(root, ..)
            | Change::Delete(root, ..)
            | Change::Unfit(root, ..) => *root,
        };
        let (Some(id), Some(known), Some(unfit)) =
            (self.ids.get(root), self.known.get_mut(root), self.unfit.get_mut(root))
        else {
            return Ok(());
        };
        match change {
            Change::Put(_, document) => {
                let (size, mtime_ns, hash) = (document.size, document.mtime_ns, document.hash);
                let id = self.writer.put(*id, &document)?;
                known.insert(document.path, Known { id, size, mtime_ns, hash });
            }
            Change::Touch(_, path, now) => {
                self.writer.touch(now.id, now.size, now.mtime_ns)?;
                known.insert(path, now);
            }
            Change::Delete(_, path, id) => {
                self.writer.delete(id)?;
                known.remove(&path);
            }
            Change::Unfit(_, path, seen, id) => {
                if let Some(id) = id {
                    self.writer.delete(id)?;
                    known.remove(&path);
                }
                unfit.insert(path, seen);
            }
        }
        Ok(())
    }
}

/// Reads a file; `None` if it cannot be read now and was not known before.
fn change(
    index: &Index,
    extractor: &mut Extractor,
    (marks, mark): (&Marks, &Mark),
    suspect: &(usize, Found, Option<Known>),
) -> Option<Change> {
    let (root, found, before) = suspect;
    let gone = || before.map(|known| Change::Delete(*root, found.path.clone(), known.id));
    let now = SystemTime::now();
    let Ok(opened) = files::read(index.roots.get(*root)?.dir, &found.path, MAX_FILE_BYTES) else {
        return gone();
    };
    let (size, mtime_ns, hash) = (opened.size, settled(opened.mtime_ns, now), hash_of(&opened.bytes));
    if let Some(known) = before.filter(|known| known.hash == hash) {
        return Some(Change::Touch(*root, found.path.clone(), Known { size, mtime_ns, ..known }));
    }
    let Some(text) = files::as_text(opened.bytes) else {
        let id = before.map(|known| known.id);
        return Some(Change::Unfit(*root, found.path.clone(), (size, mtime_ns), id));
    };
    let read = |extractor: Option<&mut Extractor>| document(extractor, &found.path, found.language, &text);
    let document = marks.survive(mark, hash, |parses| {
        let parsed = parses.then(|| catch_unwind(AssertUnwindSafe(|| read(Some(extractor)))).ok()).flatten();
        parsed.unwrap_or_else(|| read(None))
    });
    let mut document = Document { size, mtime_ns, hash, ..document };
    if let Some(model) = index.model() {
        document.add_vectors(model, &text);
    }
    Some(Change::Put(*root, Box::new(document)))
}

/// The time of a file, or one that no file has if it may change again without anybody noticing.
fn settled(mtime_ns: i64, now: SystemTime) -> i64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let racy_ns = i64::try_from(RACY.as_nanos()).unwrap_or(0);
    if mtime_ns > now_ns - racy_ns { i64::MIN } else { mtime_ns }
}
