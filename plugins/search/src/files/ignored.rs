//! Ignore files: `.ignore`, `.gitignore` and `.git/info/exclude`, with the meaning that `rg` gives them.
//!
//! The file nearest to an entry decides; of one directory `.ignore` comes before `.gitignore`, and `exclude` last. The
//! latter two count inside a git repository only. What lies above the root is not seen.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::open::read;
use crate::limits::MAX_IGNORE_BYTES;

/// The ignore files of a directory and of those above it.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    above: Option<Arc<Self>>,
    ignore: Option<Gitignore>,
    gitignore: Option<Gitignore>,
    exclude: Option<Gitignore>,
    is_git_top: bool,
    in_git: bool,
}

impl Ignored {
    /// The rules in a directory, of which `names` are the entries; `path` is its path from the root.
    pub(super) fn enter(above: Arc<Self>, dir: BorrowedFd<'_>, path: &str, names: &[&str]) -> Arc<Self> {
        let has = |name: &str| names.contains(&name);
        let is_git_top = has(".git");
        let in_git = above.in_git || is_git_top;
        let parse = |wanted: bool, name: &str| wanted.then(|| parse(dir, path, name)).flatten();
        let rules = Self {
            ignore: parse(has(".ignore"), ".ignore"),
            gitignore: parse(in_git && has(".gitignore"), ".gitignore"),
            exclude: parse(is_git_top, ".git/info/exclude"),
            is_git_top,
            in_git,
            above: None,
        };
        if rules.ignore.is_none() && rules.gitignore.is_none() && !is_git_top {
            return above;
        }
        Arc::new(Self { above: Some(above), ..rules })
    }

    /// Whether an entry is left out; `path` is its path from the root.
    pub(super) fn hides(&self, path: &str, is_dir: bool) -> bool {
        let (mut git, mut exclude) = (Match::None, Match::None);
        let mut in_repository = self.in_git;
        let mut next = Some(self);
        while let Some(rules) = next {
            let ask = |file: &Option<Gitignore>| match file {
                Some(file) => file.matched(Path::new(path), is_dir).map(|_| ()),
                None => Match::None,
            };
            let own = ask(&rules.ignore);
            if !own.is_none() {
                return own.is_ignore();
            }
            if in_repository {
                git = git.or(ask(&rules.gitignore));
                exclude = exclude.or(ask(&rules.exclude));
            }
            in_repository = in_repository && !rules.is_git_top;
            next = rules.above.as_deref();
        }
        git.or(exclude).is_ignore()
    }
}

/// Lines that are no glob are passed over, as git does.
fn parse(dir: BorrowedFd<'_>, path: &str, name: &str) -> Option<Gitignore> {
    let text = read(dir, name, MAX_IGNORE_BYTES).ok()?.bytes;
    let mut builder = GitignoreBuilder::new(Path::new(path));
    for line in String::from_utf8_lossy(&text).trim_start_matches('\u{FEFF}').lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}
