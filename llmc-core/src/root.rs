//! Directories that the operator granted.

use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ToolResult, fd};

/// A granted directory, open already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Root {
    /// Its name, as in `work:src/main.rs`.
    pub name: String,
    /// Where it lies on the machine: for messages and to make sense of absolute paths, not for opening.
    pub path: PathBuf,
    /// What the operator allows.
    pub access: Access,
    /// Paths that stay read-only in it, such as `.git`: they fit at any depth, whatever the letter case.
    pub protected: Vec<String>,
    /// The open directory. Reach files relative to it: paths from `/` are closed to a plugin.
    pub dir: BorrowedFd<'static>,
}

/// What may be done in a [`Root`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read.
    Ro,
    /// Read and write.
    Rw,
}

impl Access {
    /// Whether it includes writing.
    pub fn is_writable(self) -> bool {
        self == Self::Rw
    }
}

/// A root as the host tells it: the answer to [`op::ROOTS`](crate::op::ROOTS) is a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootEntry {
    /// Its name.
    pub name: String,
    /// Where it lies on the machine.
    pub path: PathBuf,
    /// What the operator allows.
    pub access: Access,
    /// Paths that stay read-only in it.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Its number in the plugin's process.
    pub fd: RawFd,
}

impl RootEntry {
    pub(crate) fn open(self) -> ToolResult<Root> {
        let Self { name, path, access, protected, fd } = self;
        Ok(Root { dir: fd::borrow(fd)?, name, path, access, protected })
    }
}
