//! Ignore files: `.ignore`, `.gitignore` and `.git/info/exclude`, with the meaning that `rg` gives them.
//!
//! `.ignore` always counts; the other two count inside a git repository, up to its top. The file nearest to an entry
//! decides, and of different files `.ignore` comes before `.gitignore`, which comes before `.git/info/exclude`. What
//! lies above the granted root is not seen, so it does not count: neither a `.git` there nor its ignore files. A
//! user's own git configuration is not read either, nor, where `.git` is a file, the directory that it names.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::handle::read_small;
use crate::limits::MAX_IGNORE_BYTES;

/// Which of the files that matter here a directory has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) ignore: bool,
    pub(super) gitignore: bool,
    /// `.git`: the top of a repository or of a work tree.
    pub(super) git: bool,
}

/// The ignore files that count in a directory: its own, then those of the directories above.
#[derive(Debug, Default)]
pub(super) struct Rules {
    above: Option<Arc<Rules>>,
    ignore: Option<Gitignore>,
    gitignore: Option<Gitignore>,
    exclude: Option<Gitignore>,
    is_git_top: bool,
    in_git: bool,
    is_empty: bool,
}

impl Present {
    /// Notes the name of an entry.
    pub(super) fn add(&mut self, name: &[u8]) {
        match name {
            b".ignore" => self.ignore = true,
            b".gitignore" => self.gitignore = true,
            b".git" => self.git = true,
            _ => {}
        }
    }
}

impl Rules {
    /// No ignore files at all.
    pub(super) fn none() -> Arc<Self> {
        Arc::new(Self { is_empty: true, ..Self::default() })
    }

    /// The rules in a directory below. `path` is that of the directory, in the form that [`matched`](Self::matched)
    /// is asked with.
    pub(super) fn enter(self: &Arc<Self>, dir: BorrowedFd<'_>, path: &Path, present: Present) -> Arc<Self> {
        let in_git = self.in_git || present.git;
        if !(present.ignore || present.git || present.gitignore && in_git) {
            return Arc::clone(self);
        }
        let read = |wanted: bool, name: &str| {
            if wanted { parse(path, &read_small(dir, name, MAX_IGNORE_BYTES)?) } else { None }
        };
        let ignore = read(present.ignore, ".ignore");
        let gitignore = read(present.gitignore && in_git, ".gitignore");
        let exclude = read(present.git, ".git/info/exclude");
        let is_empty = self.is_empty && ignore.is_none() && gitignore.is_none() && exclude.is_none();
        let above = Some(Arc::clone(self));
        Arc::new(Self { above, ignore, gitignore, exclude, is_git_top: present.git, in_git, is_empty })
    }

    /// What the ignore files say about an entry of the directory that these rules are for.
    pub(super) fn matched(&self, path: &Path, is_dir: bool) -> Match<()> {
        if self.is_empty {
            return Match::None;
        }
        let (mut gitignore, mut exclude) = (Match::None, Match::None);
        let mut in_repository = self.in_git;
        let mut next = Some(self);
        while let Some(rules) = next {
            let ask = |file: &Option<Gitignore>| match file {
                Some(file) => file.matched(path, is_dir).map(|_| ()),
                None => Match::None,
            };
            let ignore = ask(&rules.ignore);
            if !ignore.is_none() {
                return ignore;
            }
            if in_repository && gitignore.is_none() {
                gitignore = ask(&rules.gitignore);
            }
            if in_repository && exclude.is_none() {
                exclude = ask(&rules.exclude);
            }
            in_repository = in_repository && !rules.is_git_top;
            next = rules.above.as_deref();
        }
        gitignore.or(exclude)
    }
}

/// Lines that are no glob are passed over, as git does.
fn parse(dir: &Path, text: &str) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(dir);
    for line in text.trim_start_matches('\u{FEFF}').lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().ok().filter(|file| !file.is_empty())
}
