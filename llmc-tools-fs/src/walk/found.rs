//! What a walk found: directories and their entries, in an order that depends on their names alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::kind::Kind;
use crate::limits::{MAX_DIR_ENTRIES, MAX_WALK_DEPTH, MAX_WALK_ENTRIES};

/// Number of a directory that was not read.
pub(super) const NOT_READ: u32 = u32::MAX;

/// A tree of directories. The start has number 0.
pub(crate) struct Found<T> {
    pub(super) dirs: Vec<Dir<T>>,
    /// What could not be seen.
    pub(crate) gaps: Gaps,
}

/// A directory that was read.
pub(crate) struct Dir<T> {
    /// Its path from the start, empty for the start.
    pub(super) path: Box<[u8]>,
    /// All names of its entries, one behind the other.
    pub(super) names: Vec<u8>,
    /// Sorted by name. Directories that were walked, and what the tool wanted.
    pub(super) entries: Vec<Entry<T>>,
    /// Entries not seen because their names begin with a dot.
    pub(crate) hidden: u32,
    /// Entries not seen because an ignore file says so.
    pub(crate) ignored: u32,
}

/// An entry of a directory.
pub(crate) struct Entry<T> {
    pub(super) name_start: u32,
    pub(super) name_bytes: u16,
    /// What it is.
    pub(crate) kind: Kind,
    /// Number of the directory, if it is one that was read.
    pub(super) child: u32,
    /// What the tool keeps of it; `None` if it is only on the way to others.
    pub(crate) note: Option<T>,
}

/// What a walk could not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Directories that could not be opened or read.
    pub(crate) unreadable: u32,
    /// Directories below [`MAX_WALK_DEPTH`] others, or with too long a path.
    pub(crate) too_deep: u32,
    /// Directories of which only the first [`MAX_DIR_ENTRIES`] entries were seen.
    pub(crate) too_large: u32,
    /// The walk ended after [`MAX_WALK_ENTRIES`] entries; which ones these are, the threads decide.
    pub(crate) ended: bool,
}

impl<T> Found<T> {
    /// Number of directories that were read.
    pub(crate) fn len(&self) -> usize {
        self.dirs.len()
    }

    /// A directory by its number; 0 is the start.
    pub(crate) fn dir(&self, number: u32) -> &Dir<T> {
        &self.dirs[number as usize]
    }

    /// Goes through all entries in the order of their paths; a directory comes before what is in it.
    pub(crate) fn each<'a>(&'a self, mut visit: impl FnMut(&'a Dir<T>, &'a Entry<T>)) {
        let mut ways = vec![(0, 0)];
        while let Some((number, next)) = ways.pop() {
            let dir = self.dir(number);
            for (index, entry) in dir.entries.iter().enumerate().skip(next) {
                visit(dir, entry);
                if let Some(child) = entry.child() {
                    ways.push((number, index + 1));
                    ways.push((child, 0));
                    break;
                }
            }
        }
    }
}

impl<T> Dir<T> {
    /// Its entries, sorted by name.
    pub(crate) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// The name of one of its entries.
    pub(crate) fn name(&self, entry: &Entry<T>) -> &[u8] {
        let start = entry.name_start as usize;
        &self.names[start..start + usize::from(entry.name_bytes)]
    }

    /// Puts the path of one of its entries, from the start, in `path`.
    pub(crate) fn path_of(&self, entry: &Entry<T>, path: &mut Vec<u8>) {
        path.clear();
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(self.name(entry));
    }
}

impl<T> Entry<T> {
    /// Number of the directory that it is, if that was read.
    pub(crate) fn child(&self) -> Option<u32> {
        (self.child != NOT_READ).then_some(self.child)
    }
}

impl Gaps {
    /// A sentence for each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let directories = |count: u32| if count == 1 { "directory" } else { "directories" };
        let mut notes = Vec::new();
        if self.unreadable > 0 {
            notes.push(format!("{} {} could not be read", self.unreadable, directories(self.unreadable)));
        }
        if self.too_deep > 0 {
            let (count, what) = (self.too_deep, directories(self.too_deep));
            notes.push(format!(
                "{count} {what} more than {MAX_WALK_DEPTH} deep not entered; start further down"
            ));
        }
        if self.too_large > 0 {
            let (count, what) = (self.too_large, directories(self.too_large));
            notes.push(format!("only the first {MAX_DIR_ENTRIES} entries of {count} {what} were looked at"));
        }
        if self.ended {
            notes.push(format!(
                "the walk ended after {MAX_WALK_ENTRIES} entries, the rest was not looked at; start further down"
            ));
        }
        notes
    }
}

/// Bytes as a path, without a copy.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
