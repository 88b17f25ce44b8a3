//! Kept outputs: files in the state folder, so that the next process finds them.
//!
//! A handle has 128 random bits and is good for the caller it was made for: another one gets the same answer as for a
//! handle that never was. Files expire; their number and size are bounded, and the oldest make room.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use llmc_core::prelude::*;
use serde::{Deserialize, Serialize};

use crate::budget;
use crate::header::Header;
use crate::limits::{MAX_ALL_KEPT_BYTES, MAX_HANDLES, MAX_KEPT_BYTES};

const FOLDER: &str = "handles";
const PREFIX: &str = "res_";
/// Hexadecimal digits of a handle.
const DIGITS: usize = 32;
/// Longest first line of a file.
const MAX_LABEL_BYTES: u64 = 4 << 10;

/// The kept outputs of one caller.
pub(crate) struct Shelf {
    folder: PathBuf,
    owner: String,
    seconds: u64,
}

/// The first line of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    owner: String,
    /// Milliseconds since 1970, as is `expires`.
    made: u64,
    expires: u64,
    /// Tokens of a chunk.
    budget: usize,
    pub(crate) cmd: String,
}

/// A part of a kept output.
pub(crate) struct Chunk {
    pub(crate) cmd: String,
    pub(crate) text: String,
    pub(crate) number: u64,
    pub(crate) of: u64,
}

impl Shelf {
    /// The shelf in a state folder. `caller` comes from the host: what a caller could say itself opens nothing.
    pub(crate) fn open(state: &Path, caller: &str, seconds: u64) -> io::Result<Self> {
        let folder = state.join(FOLDER);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(Self { folder, owner: digest(caller), seconds })
    }

    /// Keeps a text that is read in chunks of `budget` tokens, and returns its handle.
    pub(crate) fn keep(&self, header: &Header, text: &str, budget: usize) -> io::Result<String> {
        let text = &text[..text.floor_char_boundary(MAX_KEPT_BYTES)];
        self.make_room(text.len() as u64)?;
        let handle = format!("{PREFIX}{}", random()?);
        let made = now();
        let label = Label {
            owner: self.owner.clone(),
            made,
            expires: made.saturating_add(self.seconds.saturating_mul(1000)),
            budget,
            cmd: header.cmd.clone(),
        };
        // Under its final name only when it is whole: others list the folder meanwhile.
        let unfinished = self.folder.join(format!("{handle}.new"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = serde_json::to_writer(&mut file, &label)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&unfinished, self.folder.join(&handle)));
        if written.is_err() {
            // It would go by its age, too.
            let _ = fs::remove_file(&unfinished);
        }
        written.map(|()| handle)
    }

    /// Reads a part of what a handle leads to; parts count from 1.
    pub(crate) fn read(&self, handle: &str, number: u64) -> ToolResult<Chunk> {
        let unknown = || {
            ToolError::invalid("there is no such handle for this caller, or no longer; run the command again")
        };
        if !is_handle(handle) {
            return Err(ToolError::invalid(format!(
                "a handle is `{PREFIX}` and {DIGITS} hexadecimal digits, as in the header of an answer"
            )));
        }
        let Some((label, text)) = read(&self.folder.join(handle)) else { return Err(unknown()) };
        if label.owner != self.owner || label.expires <= now() {
            return Err(unknown());
        }
        let parts = parts(&text, label.budget);
        let of = parts.len() as u64;
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let part = index.and_then(|index| parts.get(index)).ok_or_else(|| {
            ToolError::invalid(format!("there is no chunk {number}: this output has chunks 1 to {of}"))
        })?;
        Ok(Chunk { cmd: label.cmd, text: (*part).to_owned(), number, of })
    }

    /// Handles of this caller, the newest first: handle, command, bytes, age in seconds.
    pub(crate) fn list(&self) -> io::Result<Vec<(String, String, u64, u64)>> {
        let now = now();
        let mut list: Vec<_> = self
            .files()?
            .into_iter()
            .filter(|file| file.label.owner == self.owner && file.label.expires > now)
            .map(|file| (file.name, file.label.cmd, file.bytes, now.saturating_sub(file.label.made) / 1000))
            .collect();
        list.sort_by_key(|(.., age)| *age);
        Ok(list)
    }

    /// Removes what is over, and the oldest if there is too much.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let now = now();
        let mut files = self.files()?;
        files.sort_by_key(|file| file.label.made);
        let mut held: u64 = files.iter().map(|file| file.bytes).sum();
        let mut count = files.len();
        for file in files {
            let is_over = file.label.expires <= now || file.label.made > now.saturating_add(60_000);
            if is_over || held + bytes > MAX_ALL_KEPT_BYTES || count >= MAX_HANDLES {
                // Another process may have removed it already.
                let _ = fs::remove_file(self.folder.join(&file.name));
                held -= file.bytes;
                count -= 1;
            }
        }
        Ok(())
    }

    /// All files; what is no kept output is removed, if it is old enough not to be one in the making.
    fn files(&self) -> io::Result<Vec<Kept>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (name, Ok(metadata)) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata())
            else {
                continue;
            };
            match label(&entry.path()).filter(|_| is_handle(&name)) {
                Some((label, _)) => files.push(Kept { name, label, bytes: metadata.len() }),
                None => {
                    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
                    if age.is_some_and(|age| age.as_secs() > 60) {
                        let _ = fs::remove_file(entry.path());
                    }
                }
            }
        }
        Ok(files)
    }
}

struct Kept {
    name: String,
    label: Label,
    bytes: u64,
}

/// Whether a text can be a handle: no other file of the folder can be named.
fn is_handle(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The first line of a file, and the rest to be read.
fn label(path: &Path) -> Option<(Label, BufReader<File>)> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut line = Vec::new();
    file.by_ref().take(MAX_LABEL_BYTES).read_until(b'\n', &mut line).ok()?;
    Some((serde_json::from_slice(&line).ok()?, file))
}

fn read(path: &Path) -> Option<(Label, String)> {
    let (label, file) = label(path)?;
    let mut text = String::new();
    file.take(MAX_KEPT_BYTES as u64).read_to_string(&mut text).ok()?;
    Some((label, text))
}

/// A text in pieces that fit a budget, in whole lines as far as possible.
fn parts(text: &str, budget: usize) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = budget::head(rest, budget.max(1)).clamp(1, rest.len());
        let (part, after) = rest.split_at(rest.ceil_char_boundary(end));
        parts.push(part);
        rest = after;
    }
    parts
}

fn random() -> io::Result<String> {
    let mut bytes = [0; DIGITS / 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(hexadecimal(&bytes))
}

/// Stands for a caller: its name may tell more than a file should.
fn digest(caller: &str) -> String {
    use sha2::Digest as _;
    hexadecimal(&sha2::Sha256::digest(caller.as_bytes()))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shelf(folder: &tempfile::TempDir, caller: &str, seconds: u64) -> Shelf {
        Shelf::open(folder.path(), caller, seconds).unwrap()
    }

    fn keep(shelf: &Shelf, text: &str) -> String {
        shelf.keep(&Header::new("grep"), text, 50).unwrap()
    }

    #[test]
    fn another_process_reads_every_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..200).map(|n| format!("line {n}\n")).collect();
        let handle = keep(&shelf(&folder, "me", 60), &text);
        let next = shelf(&folder, "me", 60);
        let first = next.read(&handle, 1).unwrap();
        assert!(first.of > 2);
        let all: String = (1..=first.of).map(|number| next.read(&handle, number).unwrap().text).collect();
        assert_eq!(all, text);
        for number in [0, first.of + 1, u64::MAX] {
            assert!(next.read(&handle, number).is_err());
        }
        let file = folder.path().join(FOLDER).join(&handle);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path().join(FOLDER)).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_the_caller_it_was_made_for_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let handle = keep(&shelf(&folder, "me", 60), "text");
        let other = shelf(&folder, "you", 60);
        let refused = other.read(&handle, 1).err().unwrap().to_string();
        let never = other.read(&format!("res_{}", "0".repeat(32)), 1).err().unwrap().to_string();
        assert_eq!(refused, never);
        assert!(other.list().unwrap().is_empty());
        assert_eq!(shelf(&folder, "me", 60).list().unwrap().len(), 1);
    }

    #[test]
    fn a_handle_names_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(&folder, "me", 60);
        let handle = keep(&shelf, "text");
        fs::write(folder.path().join("outside"), "secret").unwrap();
        for bad in [
            "../outside",
            "",
            "res_",
            "res_../outside",
            &format!("../handles/{handle}"),
            &handle.to_uppercase(),
            "/etc/passwd",
        ] {
            let error = shelf.read(bad, 1).err().unwrap().to_string();
            assert!(error.contains("hexadecimal digits"), "{bad}: {error}");
        }
        assert!(shelf.read(&handle, 1).is_ok());
    }

    #[test]
    fn they_expire_and_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let over = keep(&shelf(&folder, "me", 0), "text");
        let shelf = shelf(&folder, "me", 60);
        assert!(shelf.read(&over, 1).is_err());
        let handles: Vec<String> = (0..MAX_HANDLES + 5).map(|n| keep(&shelf, &n.to_string())).collect();
        let count = || fs::read_dir(folder.path().join(FOLDER)).unwrap().count();
        assert_eq!(count(), MAX_HANDLES);
        assert!(shelf.read(handles.last().unwrap(), 1).is_ok());
        let large = "x".repeat(MAX_KEPT_BYTES + 100);
        (0..10).for_each(|_| drop(keep(&shelf, &large)));
        assert!(count() <= 8, "{}", count());
    }

    #[test]
    fn long_lines_are_cut_into_chunks() {
        let text = "ä".repeat(1_000);
        let parts = parts(&text, 100);
        assert!(parts.len() > 3 && parts.concat() == text);
        assert_eq!(super::parts("", 100).len(), 0);
    }
}
