//! Contents whose syntax ends the process.
//!
//! The parsers are C. If one of them crashes on a file, the host dies, is started again, and would meet that file again,
//! for ever. So each thread notes which content it parses; a note that is still there when a new process begins tells what
//! the old one died of, or merely at. After some deaths in a row over one content, it is indexed without its syntax.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Deaths over one content that are too many to be chance.
const TOO_MANY: u32 = 3;
/// The note of no content.
const NOTHING: [u8; 16] = [0; 16];

/// The deaths so far.
pub(super) struct Marks {
    folder: PathBuf,
    deaths: Mutex<BTreeMap<String, u32>>,
}

/// The note of one thread. Without a file to write to it notes nothing.
pub(super) struct Mark(Option<File>);

impl Marks {
    /// Reads what an earlier process left behind, for so many threads. Only who may write the index does this.
    pub(super) fn open(folder: &Path, threads: usize) -> Self {
        let mut deaths = read(&folder.join("deaths"));
        let mut died = false;
        for thread in 0..threads {
            let file = note(folder, thread);
            if let Ok(left) = fs::read(&file)
                && left.len() == NOTHING.len()
                && left != NOTHING
            {
                *deaths.entry(hex(&left)).or_default() += 1;
                died = true;
            }
            // What is not there needs no removing.
            let _ = fs::remove_file(file);
        }
        let marks = Self { folder: folder.to_owned(), deaths: Mutex::new(deaths) };
        if died {
            marks.save();
        }
        marks
    }

    pub(super) fn for_thread(&self, thread: usize) -> Mark {
        Mark(File::create(note(&self.folder, thread)).ok())
    }

    /// Does something with a content, unless that ended the process too often.
    pub(super) fn survive<T>(&self, mark: &Mark, hash: [u8; 16], act: impl FnOnce(bool) -> T) -> T {
        let name = hex(&hash);
        let deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        if deaths.is_some_and(|deaths| deaths >= TOO_MANY) {
            return act(false);
        }
        mark.set(hash);
        let done = act(true);
        mark.set(NOTHING);
        if deaths.is_some() {
            self.deaths.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            self.save();
        }
        done
    }

    fn save(&self) {
        let deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = deaths.iter().map(|(hash, count)| format!("{hash} {count}\n")).collect();
        // Unsaved, it takes longer to learn.
        let _ = fs::write(self.folder.join("deaths"), lines);
    }
}

impl Mark {
    fn set(&self, hash: [u8; 16]) {
        if let Some(file) = &self.0 {
            let _ = file.write_all_at(&hash, 0);
        }
    }
}

fn note(folder: &Path, thread: usize) -> PathBuf {
    folder.join(format!("parsing.{thread}"))
}

fn read(file: &Path) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let (hash, count) = line.split_once(' ')?;
        Some((hash.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that dies while it parses this content.
    fn die(folder: &Path, hash: [u8; 16]) {
        let marks = Marks::open(folder, 2);
        marks.for_thread(1).set(hash);
    }

    #[test]
    fn after_three_deaths_in_a_row_a_content_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (bad, good) = ([7; 16], [8; 16]);
        let parses = |hash| {
            let marks = Marks::open(folder.path(), 2);
            marks.survive(&marks.for_thread(0), hash, |parses| parses)
        };
        die(folder.path(), bad);
        die(folder.path(), bad);
        assert!(parses(bad), "it went well after all, so its deaths do not count");
        for _ in 0..TOO_MANY {
            die(folder.path(), bad);
        }
        assert!(!parses(bad) && !parses(bad) && parses(good));
    }
}
