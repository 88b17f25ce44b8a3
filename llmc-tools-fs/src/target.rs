//! From a place to what a change is about: an open parent directory, a name in it, and the path that is really meant.
//!
//! The path is walked one component at a time. Every step opens a single name relative to the directory before it and
//! follows no link; the text of a link is put in front of what is left to walk, and `..` goes back to the directory
//! that was walked through. So there is no way out of the root, whatever is moved meanwhile, and the names along the
//! way are known: rules about names, see [`protected`], cannot be led round by a link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use llmc_core::manifest::GrantKind;
use llmc_core::{ToolError, ToolResult};
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, mkdirat, openat, readlinkat, statx, unlinkat};
use rustix::io::Errno;

use crate::kind::Kind;
use crate::limits::{MAX_DEPTH, MAX_LINKS};
use crate::path::{Place, in_line};
use crate::protected;
use crate::root::{OpenError, OutsideError};
use crate::walk::open_below;

/// What to do with a symbolic link at the end of a path. Links before the end are always followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// It stands for what it leads to.
    Follow,
    /// It is meant itself.
    Keep,
}

/// Something in a directory of a root, there or not.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// As it was asked for.
    pub(crate) place: &'a Place<'a>,
    /// The directory that it is in; no file can be read through the descriptor (`O_PATH`).
    pub(crate) parent: OwnedFd,
    /// Its name there.
    pub(crate) name: OsString,
    /// From the root to it, without links and `..`.
    pub(crate) path: PathBuf,
}

impl<'a> Target<'a> {
    /// Finds something that is going to be changed: in a writable root, not the top of it, not protected.
    ///
    /// # Errors
    /// What is in the way, as the caller of a tool reads it; `verb` says what was tried.
    pub(crate) fn for_change(verb: &str, place: &'a Place<'a>, last: Last) -> ToolResult<Self> {
        Self::if_reachable(verb, place, last)?.ok_or_else(|| OpenError::NotFound.explain(verb, place))
    }

    /// Like [`for_change`](Self::for_change), but nothing if a directory on the way is missing.
    pub(crate) fn if_reachable(verb: &str, place: &'a Place<'a>, last: Last) -> ToolResult<Option<Self>> {
        check_root(verb, place)?;
        let target = match resolve(place, last) {
            Err(OpenError::NotFound) => return Ok(None),
            resolved => resolved.map_err(|error| error.explain(verb, place))?,
        };
        check_path(verb, place, &target.path)?;
        Ok(Some(target))
    }

    /// As results name it: `work:src/main.rs`.
    pub(crate) fn display(&self) -> String {
        self.place.name_of(&self.path)
    }

    /// What is there now, without following a link; `None` if there is nothing.
    pub(crate) fn look(&self) -> Result<Option<Statx>, Errno> {
        let wanted = StatxFlags::BASIC_STATS;
        match statx(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// What kind of thing is there now; `None` if there is nothing.
    pub(crate) fn kind(&self) -> Result<Option<Kind>, Errno> {
        let kind = |facts: Statx| Kind::of(rustix::fs::FileType::from_raw_mode(facts.stx_mode.into()));
        Ok(self.look()?.map(kind))
    }
}

/// A directory that is wanted, as far as it is there.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The last directory on the way that is there (`O_PATH`).
    dir: OwnedFd,
    /// What is missing below it, from the outermost to the wanted directory itself.
    missing: Vec<OsString>,
    /// From the root to the wanted directory, without links and `..`.
    pub(crate) path: PathBuf,
}

impl Reach {
    /// Finds a directory that is going to be made if it is missing: in a writable root and not protected. `asked` is
    /// what the caller named, for messages: the directory itself or something in it.
    ///
    /// # Errors
    /// As for [`Target::for_change`]; also if a file is in the way.
    pub(crate) fn for_change(verb: &str, place: &Place<'_>, asked: &Place<'_>) -> ToolResult<Self> {
        check_root(verb, asked)?;
        let reach = reach(place).map_err(|error| error.explain(verb, asked))?;
        check_path(verb, asked, &reach.path)?;
        Ok(reach)
    }

    /// Makes what is missing, opens the directory (`O_PATH`) and tells how many were made. Each is made in the one
    /// before it; what others made meanwhile is as good. If one cannot be made, those before it go again.
    pub(crate) fn make(self) -> Result<(OwnedFd, usize), Errno> {
        let Self { dir: start, missing, .. } = self;
        let (mut here, mut new) = (None, Vec::new());
        for (depth, name) in missing.iter().enumerate() {
            let above = here.as_ref().unwrap_or(&start);
            let made = mkdirat(above, name, Mode::from_raw_mode(0o777));
            if made.is_ok() {
                new.push(depth);
            }
            let opened = match made {
                Ok(()) | Err(Errno::EXIST) => openat(above, name, DIR_HANDLE, Mode::empty()),
                Err(errno) => Err(errno),
            };
            match opened {
                Ok(dir) => here = Some(dir),
                Err(errno) => {
                    drop(here);
                    remove(&start, &missing, &new);
                    return Err(errno);
                }
            }
        }
        Ok((here.unwrap_or(start), new.len()))
    }
}

/// Removes directories that are empty, those at these depths of a chain of names, from the innermost outwards.
fn remove(start: &OwnedFd, names: &[OsString], depths: &[usize]) {
    for depth in depths.iter().rev() {
        let above: PathBuf = names[..*depth].iter().collect();
        let above = if *depth == 0 { Path::new(".") } else { &above };
        let removed = open_below(start, above, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|dir| unlinkat(dir, &names[*depth], AtFlags::REMOVEDIR));
        if removed.is_err() {
            return;
        }
    }
}

fn check_root(verb: &str, place: &Place<'_>) -> ToolResult<()> {
    if place.root.access.is_writable() {
        return Ok(());
    }
    let error = ToolError::not_granted(GrantKind::Roots, format!("root `{}` is read-only", place.root.name));
    Err(error.context(format_args!("cannot {verb} `{}`", in_line(&place.display()))))
}

/// `path` is the one that is really meant.
fn check_path(verb: &str, place: &Place<'_>, path: &Path) -> ToolResult<()> {
    match protected::find(path, &place.root.protected) {
        None => Ok(()),
        Some(entry) => {
            Err(protected::refusal(entry)
                .context(format_args!("cannot {verb} `{}`", in_line(&place.display()))))
        }
    }
}

/// Walks to a place. What the last component names need not exist; all before it must.
pub(crate) fn resolve<'a>(place: &'a Place<'a>, last: Last) -> Result<Target<'a>, OpenError> {
    let mut walk = Walk::new(place);
    while let Some(name) = walk.next(last)? {
        if walk.left.is_empty() {
            return walk.end(place, name);
        }
        walk.enter(name)?;
    }
    // The path ended with `..`, or with a link to `.`: a directory that was walked through.
    match walk.passed.pop() {
        Some((_, name)) => walk.end(place, name),
        None => Err(OpenError::Top),
    }
}

/// Walks to a directory as far as it is there. Links are followed, and a `..` behind what is missing leads nowhere.
fn reach(place: &Place<'_>) -> Result<Reach, OpenError> {
    let mut walk = Walk::new(place);
    let mut missing = Vec::new();
    while let Some(name) = walk.next(Last::Follow)? {
        match walk.enter(name.clone()) {
            Err(OpenError::NotFound) => {
                missing.push(name);
                missing.extend(walk.left.drain(..).rev());
            }
            entered => entered?,
        }
    }
    if missing.iter().any(|name| name == "..") {
        return Err(OpenError::NotFound);
    }
    if walk.passed.len() + missing.len() > MAX_DEPTH {
        return Err(OpenError::TooDeep);
    }
    let path = walk.passed.iter().map(|(_, name)| name).chain(&missing).collect();
    Ok(Reach { dir: walk.into_here()?, missing, path })
}

/// A directory as a place to look up names in; itself, not what a link leads to.
const DIR_HANDLE: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directories from the root to where a walk has come, and the rest of the way.
struct Walk<'a> {
    top: BorrowedFd<'a>,
    passed: Vec<(OwnedFd, OsString)>,
    /// Names, the next one last.
    left: Vec<OsString>,
    /// Number of links that were followed.
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(place: &Place<'a>) -> Self {
        Self { top: place.root.dir, passed: Vec::new(), left: reversed(&place.path), links: 0 }
    }

    /// The next name that is no link, or the last one if that is to be kept as it is.
    fn next(&mut self, last: Last) -> Result<Option<OsString>, OpenError> {
        while let Some(name) = self.left.pop() {
            if name == ".." {
                self.passed.pop().ok_or(OpenError::Outside(OutsideError))?;
            } else if self.left.is_empty() && last == Last::Keep {
                return Ok(Some(name));
            } else if let Some(text) = self.link(&name)? {
                self.follow(Path::new(OsStr::from_bytes(&text)))?;
            } else {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn follow(&mut self, text: &Path) -> Result<(), OpenError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(OpenError::Loop);
        }
        if text.is_absolute() {
            return Err(OpenError::Outside(OutsideError));
        }
        self.left.extend(reversed(text));
        Ok(())
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.passed.last().map_or(self.top, |(dir, _)| dir.as_fd())
    }

    /// The text of a link, or `None` if `name` is none, or not there.
    fn link(&self, name: &OsStr) -> Result<Option<Vec<u8>>, OpenError> {
        match readlinkat(self.here(), name, Vec::new()) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(OpenError::new(errno)),
        }
    }

    fn enter(&mut self, name: OsString) -> Result<(), OpenError> {
        if self.passed.len() >= MAX_DEPTH {
            return Err(OpenError::TooDeep);
        }
        let dir = openat(self.here(), &name, DIR_HANDLE, Mode::empty()).map_err(OpenError::new)?;
        self.passed.push((dir, name));
        Ok(())
    }

    fn into_here(self) -> Result<OwnedFd, OpenError> {
        match self.passed.into_iter().next_back() {
            Some((dir, _)) => Ok(dir),
            None => self.top.try_clone_to_owned().map_err(|error| OpenError::Other(errno_of(&error))),
        }
    }

    fn end(self, place: &'a Place<'a>, name: OsString) -> Result<Target<'a>, OpenError> {
        let mut path: PathBuf = self.passed.iter().map(|(_, name)| name).collect();
        path.push(&name);
        Ok(Target { place, parent: self.into_here()?, name, path })
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The names of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
