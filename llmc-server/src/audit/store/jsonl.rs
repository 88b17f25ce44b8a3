//! Records as lines of JSON. A file that is large or old enough is set aside under the number of its last record, and
//! whole files are taken out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cut, Ground, MARK_EVERY, PATIENCE, Pruned, Retention, Store, StoreError, Stored};
use crate::audit::chain::{self, ChainId, Checkpoint, End, Kind, hex, unhex};
use crate::audit::head;
use crate::audit::key::{Key, beside, turn};
use crate::audit::now_ms;
use crate::audit::record::Body;
use crate::files::{self, NEVER_WAIT};

/// A file of this size is set aside; an eighth of `audit.max_bytes`, within these bounds.
const MIN_FILE_BYTES: u64 = 64 << 10;
const MAX_FILE_BYTES: u64 = 16 << 20;
const PART: u64 = 8;

/// So is one that was begun this long ago.
const MAX_FILE_MS: u64 = 24 * 3600 * 1000;

/// Where the last record is looked for; no record is as long.
const TAIL_BYTES: u64 = 1 << 20;

/// Files larger than this are no checkpoints.
const MAX_BASE_BYTES: u64 = 4096;

/// A line that is no record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marked {
    checkpoint: Checkpoint,
}

/// What a line says.
pub(super) enum Line {
    Record(Stored),
    Mark(Checkpoint),
}

pub(super) struct Writer {
    ground: Ground,
    max_file_bytes: u64,
    open: Option<Open>,
}

/// The file that is written, as this process left it.
struct Open {
    file: File,
    id: (u64, u64),
    bytes: u64,
    end: End,
    begun_ms: u64,
}

impl Writer {
    pub(super) fn open(path: &Path, key: Arc<Key>, max_bytes: u64) -> Result<Self, StoreError> {
        let _turn = turn(&beside(path, ".key"), PATIENCE)?;
        let base = match base(path)? {
            Some(base) => base,
            None if path.exists() => {
                let problem =
                    "is no audit of this llmc: the file with the beginning of its chain (`.base`) is missing";
                return Err(StoreError::Foreign { path: path.to_owned(), problem });
            }
            None => begin(path, &key)?,
        };
        let broken = || StoreError::Foreign { path: base_path(path), problem: "is no checkpoint" };
        let chain = base.chain_id().ok_or_else(broken)?;
        let max_file_bytes = (max_bytes / PART).clamp(MIN_FILE_BYTES, MAX_FILE_BYTES);
        let ground = Ground { path: path.to_owned(), key, chain, known: None };
        for (last, file) in files_set_aside(path)? {
            // It was about to be taken out when its process was killed.
            if last <= base.seq {
                fs::remove_file(file)?;
            }
        }
        let mut writer = Self { ground, max_file_bytes, open: None };
        let end = writer.current()?.end;
        writer.ground.known = writer.ground.told_end(&end);
        Ok(writer)
    }

    /// The file that is written, opened again if another process set it aside or wrote to it.
    fn current(&mut self) -> Result<&mut Open, StoreError> {
        let seen = fs::symlink_metadata(&self.ground.path).ok();
        let is_same = |open: &Open| {
            seen.as_ref().is_some_and(|now| (now.dev(), now.ino()) == open.id && now.size() == open.bytes)
        };
        if !self.open.as_ref().is_some_and(is_same) {
            self.open = Some(self.reopened()?);
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("the file is not open").into())
    }

    fn reopened(&self) -> Result<Open, StoreError> {
        let path = &self.ground.path;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600).custom_flags(NEVER_WAIT);
        let mut file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(StoreError::Foreign { path: path.clone(), problem: "is not a regular file" });
        }
        let id = (metadata.dev(), metadata.ino());
        // What a process that was killed left half-written, nobody was told to be kept.
        let whole = whole_bytes(&mut file, metadata.len())?;
        if whole < metadata.len() {
            file.set_len(whole)?;
        }
        if whole == 0 {
            let end = before(path)?.ok_or_else(|| StoreError::Foreign {
                path: path.clone(),
                problem: "has lost the beginning of its chain",
            })?;
            let line = mark_line(&self.ground.sign(Kind::Mark, &end))?;
            file.write_all(&line)?;
            file.sync_data()?;
            return Ok(Open { file, id, bytes: line.len() as u64, end, begun_ms: now_ms() });
        }
        let end = last_end(&mut file, whole)?
            .ok_or_else(|| StoreError::Foreign { path: path.clone(), problem: "is no audit of llmc" })?;
        let begun_ms = first_mark(&mut file)?.map_or(0, |mark| mark.time_ms);
        Ok(Open { file, id, bytes: whole, end, begun_ms })
    }

    /// Sets the file aside if it is large or old enough; the next one begins with a checkpoint.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let max_bytes = self.max_file_bytes;
        let open = self.current()?;
        let is_due = open.bytes >= max_bytes || now_ms().saturating_sub(open.begun_ms) >= MAX_FILE_MS;
        let (seq, bytes) = (open.end.seq, open.bytes);
        // One without a record has nothing to set aside.
        if !is_due || before(&self.ground.path)?.is_some_and(|before| before.seq >= seq) || bytes == 0 {
            return Ok(());
        }
        fs::rename(&self.ground.path, set_aside(&self.ground.path, seq))?;
        self.open = None;
        self.current().map(drop)
    }

    /// What is not as it was left.
    fn cut(&mut self, found: End) -> Result<Option<Cut>, StoreError> {
        let Some(expected) = self.ground.known.filter(|known| *known != found) else { return Ok(None) };
        if base(&self.ground.path)?.and_then(|base| base.end()).is_some_and(|base| expected.seq < base.seq) {
            return Ok(None);
        }
        let there = hash_at(&self.ground.path, expected.seq)?;
        Ok((there != Some(expected.hash)).then_some(Cut { expected, found }))
    }
}

impl Store for Writer {
    fn append(&mut self, bodies: &[Body], note: &mut dyn FnMut(Cut) -> Vec<Body>) -> Result<(), StoreError> {
        let _turn = turn(&self.ground.key_path(), PATIENCE)?;
        let before = self.current()?.end;
        let notes = self.cut(before)?.map(note).unwrap_or_default();
        let mut end = before;
        let mut lines = Vec::new();
        for body in notes.iter().chain(bodies) {
            let seq = end.seq + 1;
            end = End { seq, hash: chain::next(&end.hash, seq, body.text.as_bytes()) };
            lines.extend(record_line(&body.text, &end));
        }
        if end.seq / MARK_EVERY > before.seq / MARK_EVERY {
            lines.extend(mark_line(&self.ground.sign(Kind::Mark, &end))?);
        }
        let open = self.current()?;
        let written = open.file.write_all(&lines).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // A part of it must not stay: these records are tried again.
            let _ = open.file.set_len(open.bytes);
            self.open = None;
            return Err(error.into());
        }
        open.bytes += lines.len() as u64;
        open.end = end;
        self.ground.set_end(end)?;
        self.rotate()
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<Option<Pruned>, StoreError> {
        let _turn = turn(&self.ground.key_path(), PATIENCE)?;
        let path = self.ground.path.clone();
        let begun = base(&path)?.map_or(0, |base| base.seq);
        let aside = files_set_aside(&path)?;
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        let mut held = aside.iter().map(|(_, path)| size(path)).sum::<u64>() + size(&path);
        let mut out: Vec<(u64, PathBuf)> = Vec::new();
        for (seq, file) in aside {
            let metadata = file.metadata()?;
            let written_ms = u64::try_from(metadata.mtime()).unwrap_or_default() * 1000;
            let too_old =
                retention.keep_ms.is_some_and(|keep_ms| written_ms < now_ms.saturating_sub(keep_ms));
            let too_many = retention.max_bytes.is_some_and(|max_bytes| held > max_bytes);
            if !too_old && !too_many {
                break;
            }
            held -= metadata.len();
            out.push((seq, file));
        }
        let Some((last, file)) = out.last() else { return Ok(None) };
        let mut file = File::open(file)?;
        let bytes = file.metadata()?.len();
        let Some(end) = last_end(&mut file, bytes)?.filter(|end| end.seq == *last) else { return Ok(None) };
        // The new beginning first: if this ends in between, what is left before it counts as taken out.
        let base = serde_json::to_vec(&self.ground.sign(Kind::Base, &end))?;
        files::replace(&base_path(&path), &base)?;
        for (_, file) in &out {
            fs::remove_file(file)?;
        }
        Ok(Some(Pruned { records: end.seq - begun, before_seq: end.seq + 1 }))
    }
}

/// Makes a chain.
fn begin(path: &Path, key: &Key) -> Result<Checkpoint, StoreError> {
    let chain = ChainId::random()?;
    let end = End { seq: 0, hash: chain.genesis() };
    let base = key.sign(Kind::Base, &chain, &end);
    // Before the first record, so that one is missed if it is not there any more.
    head::write(path, &key.sign(Kind::Head, &chain, &end))?;
    files::replace(&base_path(path), &serde_json::to_vec(&base)?)?;
    Ok(base)
}

fn base_path(path: &Path) -> PathBuf {
    beside(path, ".base")
}

/// What the kept part of the chain begins after.
pub(super) fn base(path: &Path) -> Result<Option<Checkpoint>, StoreError> {
    match files::read(&base_path(path), MAX_BASE_BYTES) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set_aside(path: &Path, seq: u64) -> PathBuf {
    beside(path, &format!(".{seq:016}"))
}

/// Files that were set aside with the numbers of their last records, oldest first.
pub(super) fn files_set_aside(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".";
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name();
        let digits = file.to_str().and_then(|file| file.strip_prefix(&name)).unwrap_or_default();
        if digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            files.extend(digits.parse().ok().map(|seq| (seq, entry.path())));
        }
    }
    files.sort();
    Ok(files)
}

/// Where the chain ended before the file that is written.
fn before(path: &Path) -> Result<Option<End>, StoreError> {
    if let Some((_, newest)) = files_set_aside(path)?.pop() {
        let mut file = File::open(newest)?;
        let bytes = file.metadata()?.len();
        return last_end(&mut file, bytes);
    }
    Ok(base(path)?.and_then(|base| base.end()))
}

/// The hash of a record, wherever it is.
fn hash_at(path: &Path, seq: u64) -> Result<Option<chain::Hash>, StoreError> {
    if let Some(base) = base(path)?.and_then(|base| base.end()).filter(|base| base.seq == seq) {
        return Ok(Some(base.hash));
    }
    let file = files_set_aside(path)?.into_iter().find(|(last, _)| *last >= seq);
    let file = io::BufReader::new(File::open(file.map_or(path.to_owned(), |(_, file)| file))?);
    for line in io::BufRead::split(file, b'\n') {
        match read_line(&line?) {
            Some(Line::Record(record)) if record.seq == seq => return Ok(Some(record.hash)),
            _ => {}
        }
    }
    Ok(None)
}

/// Bytes up to the end of the last whole line.
fn whole_bytes(file: &mut File, bytes: u64) -> io::Result<u64> {
    let tail = tail(file, bytes)?;
    let after = tail.iter().rev().position(|byte| *byte == b'\n').unwrap_or(tail.len());
    Ok(bytes - after as u64)
}

/// The last place in the chain that a file tells.
fn last_end(file: &mut File, bytes: u64) -> Result<Option<End>, StoreError> {
    let tail = tail(file, bytes)?;
    let lines = tail.rsplit(|byte| *byte == b'\n');
    let end = lines.filter_map(read_line).find_map(|line| match line {
        Line::Record(record) => Some(End { seq: record.seq, hash: record.hash }),
        Line::Mark(mark) => mark.end(),
    });
    Ok(end)
}

fn tail(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(bytes.min(TAIL_BYTES)).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The checkpoint that a file begins with.
fn first_mark(file: &mut File) -> io::Result<Option<Checkpoint>> {
    file.seek(SeekFrom::Start(0))?;
    let mut beginning = Vec::new();
    file.take(MAX_BASE_BYTES).read_to_end(&mut beginning)?;
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(match read_line(line) {
        Some(Line::Mark(mark)) => Some(mark),
        _ => None,
    })
}

/// The record's text, and in the same object its place in the chain.
fn record_line(text: &str, end: &End) -> Vec<u8> {
    let open = text.strip_suffix('}').unwrap_or(text);
    format!("{open},\"seq\":{},\"hash\":\"{}\"}}\n", end.seq, hex(&end.hash)).into_bytes()
}

fn mark_line(checkpoint: &Checkpoint) -> Result<Vec<u8>, StoreError> {
    let mut line = serde_json::to_vec(&Marked { checkpoint: checkpoint.clone() })?;
    line.push(b'\n');
    Ok(line)
}

/// What a line says, if it says anything.
pub(super) fn read_line(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?;
    if line.starts_with("{\"checkpoint\":") {
        return serde_json::from_str(line).ok().map(|Marked { checkpoint }| Line::Mark(checkpoint));
    }
    let (open, place) = line.rsplit_once(",\"seq\":")?;
    let (seq, hash) = place.strip_suffix("\"}")?.split_once(",\"hash\":\"")?;
    let record =
        Stored { seq: seq.parse().ok()?, text: format!("{open}}}"), hash: unhex(hash)?, fields: None };
    Some(Line::Record(record))
}
