//! What was written and acknowledged, and what may be there although nobody said so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What a path holds; nothing if it is not there.
type Contents = Vec<(String, Option<String>)>;

/// What a call changes if it is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    before: Contents,
    after: Contents,
}

impl Change {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.after.iter().map(|(path, _)| path)
    }
}

/// The files of one client, which nobody else writes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Known contents, by path below the root.
    files: BTreeMap<String, String>,
    /// Files that a call is changing right now.
    busy: BTreeSet<String>,
    /// Changes of which nobody knows whether they were made; their files are not touched again.
    doubts: Vec<Change>,
    next: u64,
    folder: String,
}

impl Ledger {
    pub(super) fn new(folder: &str) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    /// A path that was never used.
    pub(super) fn new_path(&mut self) -> String {
        self.next += 1;
        format!("{}/{}.txt", self.folder, self.next)
    }

    /// Files whose contents are known and that no call is changing.
    pub(super) fn free(&self) -> Vec<String> {
        self.files.keys().filter(|path| !self.busy.contains(*path)).cloned().collect()
    }

    pub(super) fn text(&self, path: &str) -> Option<&String> {
        self.files.get(path)
    }

    /// Notes that a call is about to make these contents of these paths.
    pub(super) fn begin(&mut self, after: Contents) -> Change {
        let before = after.iter().map(|(path, _)| (path.clone(), self.files.get(path).cloned())).collect();
        self.busy.extend(after.iter().map(|(path, _)| path.clone()));
        Change { before, after }
    }

    /// The call was acknowledged.
    pub(super) fn done(&mut self, change: Change) {
        for (path, text) in change.after {
            self.busy.remove(&path);
            match text {
                Some(text) => self.files.insert(path, text),
                None => self.files.remove(&path),
            };
        }
    }

    /// The call was not acknowledged: it may have been made or not.
    pub(super) fn doubtful(&mut self, change: Change) {
        for path in change.paths() {
            self.busy.remove(path);
            self.files.remove(path);
        }
        if change != Change::none() {
            self.doubts.push(change);
        }
    }

    /// How many acknowledged files and doubtful changes there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.files.len(), self.doubts.len())
    }

    /// What is not as it was acknowledged, and what is half.
    pub(super) fn broken(&self, root: &Path) -> Vec<String> {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let holds = |contents: &Contents| contents.iter().all(|(path, text)| read(path) == *text);
        let mut broken = Vec::new();
        for (path, text) in &self.files {
            if read(path).as_ref() != Some(text) {
                broken.push(format!("`{path}` is not what was acknowledged ({})", shown(&read(path), text)));
            }
        }
        for change in &self.doubts {
            if !holds(&change.before) && !holds(&change.after) {
                let paths: Vec<&String> = change.paths().collect();
                broken.push(format!("{paths:?} are neither as before nor as after a change"));
            }
        }
        broken
    }
}

fn shown(found: &Option<String>, expected: &str) -> String {
    match found {
        Some(found) => format!("{} bytes, {} were written", found.len(), expected.len()),
        None => "not there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubtful_change_is_made_or_not_and_never_half() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("w")).unwrap();
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        let mut ledger = Ledger::new("w");
        let path = ledger.new_path();
        let change = ledger.begin(vec![(path.clone(), Some("one".into()))]);
        assert!(ledger.free().is_empty());
        ledger.done(change);
        assert_eq!(ledger.broken(root.path()).len(), 1, "it is not there");
        write(&path, "one");
        assert_eq!(ledger.broken(root.path()), Vec::<String>::new());
        let change = ledger.begin(vec![(path.clone(), Some("two".into()))]);
        ledger.doubtful(change);
        for (text, is_good) in [("one", true), ("two", true), ("tw", false), ("", false)] {
            write(&path, text);
            assert_eq!(ledger.broken(root.path()).is_empty(), is_good, "{text}");
        }
        assert!(ledger.free().is_empty(), "it is left alone");
    }

    #[test]
    fn a_move_in_doubt_leaves_exactly_one() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("w")).unwrap();
        let mut ledger = Ledger::new("w");
        let (from, to) = (ledger.new_path(), ledger.new_path());
        let made = ledger.begin(vec![(from.clone(), Some("x".into()))]);
        ledger.done(made);
        let moved = ledger.begin(vec![(from.clone(), None), (to.clone(), Some("x".into()))]);
        ledger.doubtful(moved);
        assert_eq!(ledger.broken(root.path()).len(), 1, "both are gone");
        fs::write(root.path().join(&to), "x").unwrap();
        assert!(ledger.broken(root.path()).is_empty());
        fs::write(root.path().join(&from), "x").unwrap();
        assert_eq!(ledger.broken(root.path()).len(), 1, "both are there");
    }
}
