//! Removing everything below a directory, by handle.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use llmc_core::{ToolError, ToolResult};
use rustix::fs::{AtFlags, Dir, FileType, unlinkat};
use rustix::io::Errno;

use crate::limits::MAX_DELETE_TRIES;
use crate::tree_work::{Tree, failed, next_entry, rename_new, temporary_name};

/// Directories that wait to be emptied, of one directory at a time.
const WAITING: usize = 4096;
/// Deeper than this, in bytes of a path, a directory is moved up to the top first: the kernel takes 4095.
const DEEP_BYTES: usize = 3000;

/// Why a removal stopped before its end.
pub(crate) struct Stopped {
    /// Where, from the top.
    pub(crate) at: PathBuf,
    pub(crate) error: ToolError,
}

/// Removes everything below the top of a tree and counts it. Links are removed, never followed.
///
/// `each` is told the path of every entry that is gone and how many there are; its error stops the removal.
pub(crate) fn empty(tree: &Tree, each: &mut dyn FnMut(&Path, u64) -> ToolResult<()>) -> Result<(), Stopped> {
    let top = Step::Empty(PathBuf::new());
    let mut removal = Removal { tree, each, waiting: vec![top], removed: 0, tries: 0 };
    while let Some(step) = removal.waiting.pop() {
        match step {
            Step::Empty(path) => removal.empty(path)?,
            Step::Remove(path) => removal.remove(path)?,
        }
    }
    Ok(())
}

/// What is still to be done with a directory.
enum Step {
    /// Remove what is in it.
    Empty(PathBuf),
    /// Remove itself.
    Remove(PathBuf),
}

struct Removal<'a> {
    tree: &'a Tree,
    each: &'a mut dyn FnMut(&Path, u64) -> ToolResult<()>,
    /// The next step last: a directory is emptied before it is removed.
    waiting: Vec<Step>,
    removed: u64,
    tries: usize,
}

impl Removal<'_> {
    /// Removes the files of a directory; its directories have to wait.
    fn empty(&mut self, path: PathBuf) -> Result<(), Stopped> {
        let mut dir = match self.tree.dir(&path).and_then(Dir::new) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(()),
            // Something else has its name now.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.waiting.push(Step::Remove(path));
                return Ok(());
            }
            Err(errno) => return Err(stopped(&path, errno)),
        };
        let mut below = Vec::new();
        let mut is_all = true;
        while let Some((name, entry)) = next_entry(&mut dir).map_err(|errno| stopped(&path, errno))? {
            let inner = path.join(&name);
            if entry.file_type() != FileType::Directory && self.unlink(&dir, &name, &inner)? {
                continue;
            }
            let inner = self.lift(&dir, &name, inner)?;
            below.push(Step::Empty(inner));
            if below.len() >= WAITING {
                is_all = false;
                break;
            }
        }
        if !is_all {
            self.waiting.push(Step::Empty(path));
        } else if !path.as_os_str().is_empty() {
            self.waiting.push(Step::Remove(path));
        }
        self.waiting.append(&mut below);
        Ok(())
    }

    /// Removes what is no directory; false if it is one.
    fn unlink(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> Result<bool, Stopped> {
        match dir.fd().and_then(|dir| unlinkat(dir, name, AtFlags::empty())) {
            Ok(()) => self.count(path).map(|()| true),
            Err(Errno::NOENT) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            Err(errno) => Err(stopped(path, errno)),
        }
    }

    /// Moves a directory that lies too deep up to the top.
    fn lift(&self, dir: &Dir, name: &OsStr, path: PathBuf) -> Result<PathBuf, Stopped> {
        if path.as_os_str().len() <= DEEP_BYTES {
            return Ok(path);
        }
        let new = temporary_name();
        let top = self.tree.top();
        match dir.fd().and_then(|dir| rename_new((dir, name), (top, &new), true)) {
            Ok(()) => Ok(new.into()),
            Err(Errno::NOENT) => Ok(path),
            Err(errno) => Err(stopped(&path, errno)),
        }
    }

    fn remove(&mut self, path: PathBuf) -> Result<(), Stopped> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let dir = match self.tree.dir(parent) {
            Ok(dir) => dir,
            // It is gone, or no longer what it was; its own turn comes later.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(stopped(&path, errno)),
        };
        let removed = match unlinkat(&dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTDIR) => unlinkat(&dir, name, AtFlags::empty()),
            removed => removed,
        };
        match removed {
            Ok(()) => self.count(&path),
            Err(Errno::NOENT) => Ok(()),
            // Others filled it, or put another one in its place.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => self.again(path),
            Err(errno) => Err(stopped(&path, errno)),
        }
    }

    fn again(&mut self, path: PathBuf) -> Result<(), Stopped> {
        self.tries += 1;
        if self.tries > MAX_DELETE_TRIES {
            let error = ToolError::failed("others keep filling or replacing it; try again");
            return Err(Stopped { at: path, error });
        }
        self.waiting.push(Step::Empty(path));
        Ok(())
    }

    fn count(&mut self, path: &Path) -> Result<(), Stopped> {
        self.removed += 1;
        (self.each)(path, self.removed).map_err(|error| Stopped { at: path.to_owned(), error })
    }
}

fn stopped(path: &Path, errno: Errno) -> Stopped {
    let error = match errno {
        Errno::XDEV => ToolError::failed("another file system is mounted there"),
        errno => failed(errno),
    };
    Stopped { at: path.to_owned(), error }
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
