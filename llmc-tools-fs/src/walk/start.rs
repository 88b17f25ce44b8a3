//! Where a walk starts.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmc_core::ToolResult;
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

use super::handle::open_below;
use super::rules::{Present, Rules};
use crate::path::Place;
use crate::root::{self, OpenError};
use crate::target::{self, Last};

/// An open directory and what ignore files above it say.
pub(crate) struct Start {
    pub(super) dir: OwnedFd,
    /// From the root to it, without links and `..`: what the globs of ignore files are about.
    pub(super) path: PathBuf,
    pub(super) rules: Arc<Rules>,
}

impl Start {
    /// Opens a directory; links in the path are followed inside the root. `verb` says what for.
    ///
    /// # Errors
    /// As for everything that is opened in a root; also if it is no directory.
    pub(crate) fn open(verb: &str, place: &Place<'_>) -> ToolResult<Self> {
        Self::try_open(place).map_err(|error| error.explain(verb, place))
    }

    /// Like [`open`](Self::open), with the error for the caller to tell apart.
    pub(crate) fn try_open(place: &Place<'_>) -> Result<Self, OpenError> {
        let dir = root::open(place, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let path = match target::resolve(place, Last::Follow) {
            Ok(target) => target.path,
            Err(OpenError::Top) => PathBuf::new(),
            // It was just opened; only its ignore files depend on this.
            Err(_) => place.path.clone(),
        };
        let rules = rules_above(place.root.dir, &path);
        Ok(Self { dir, path, rules })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The ignore files of the directories above `path`, from the top of the root downwards.
fn rules_above(top: BorrowedFd<'_>, path: &Path) -> Arc<Rules> {
    let mut rules = Rules::none();
    let mut above = PathBuf::new();
    for name in path {
        let here = if above.as_os_str().is_empty() { OsStr::new(".") } else { above.as_os_str() };
        let Ok(dir) = open_below(top, here, OFlags::PATH | OFlags::DIRECTORY) else { break };
        let has = |name: &str| statx(&dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok();
        let present = Present { ignore: has(".ignore"), gitignore: has(".gitignore"), git: has(".git") };
        rules = rules.enter(dir.as_fd(), &above, present);
        above.push(name);
    }
    rules
}
