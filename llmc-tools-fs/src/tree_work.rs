//! What moving, copying and deleting have in common: reaching the directories of a tree by handle, and putting
//! things into place.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use llmc_core::{Root, ToolError, ToolResult};
use rustix::fs::{
    AtFlags, Dir, DirEntry, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, linkat, mkdirat, openat2,
    renameat, renameat_with, statx, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::target::Target;
use crate::write::is_temporary;

/// Beneath the top in every component, and no link in any.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// Begins the names of what is not ready yet.
const TEMPORARY: &str = ".llmc-tmp-";

/// A directory and what is below it.
///
/// Every directory of it is opened from the top, by a path in which the kernel follows no link. So nothing that is
/// swapped meanwhile leads out of the tree, and however deep it is, few descriptors are open.
pub(crate) struct Tree {
    top: OwnedFd,
    resolve: ResolveFlags,
}

impl Tree {
    /// The tree below an open directory, to read it.
    pub(crate) fn to_read(top: OwnedFd) -> Self {
        Self { top, resolve: RESOLVE }
    }

    /// The tree below the directory `name` in `parent`, to change it: it ends where another file system is mounted.
    pub(crate) fn to_change(parent: impl AsFd, name: &OsStr) -> Result<Self, Errno> {
        let resolve = RESOLVE | ResolveFlags::NO_XDEV;
        Ok(Self { top: open_dir(parent.as_fd(), Path::new(name), resolve)?, resolve })
    }

    /// The top of it.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Opens a directory of it; the empty path is the top.
    pub(crate) fn dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        open_dir(self.top(), path, self.resolve)
    }
}

fn open_dir(top: BorrowedFd<'_>, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat2(top, path, flags, Mode::empty(), resolve))
}

/// The next entry of a directory that is neither itself nor the one above it.
pub(crate) fn next_entry(dir: &mut Dir) -> Result<Option<(OsString, DirEntry)>, Errno> {
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            return Ok(Some((OsString::from_vec(name.to_vec()), entry)));
        }
    }
    Ok(None)
}

/// A name that nobody can foresee.
pub(crate) fn temporary_name() -> OsString {
    // The standard library seeds these from the kernel's random numbers.
    let random = || RandomState::new().hash_one(());
    format!("{TEMPORARY}{:016x}{:016x}", random(), random()).into()
}

/// Renames something and never replaces anything.
pub(crate) fn rename_new(
    (from_dir, from): (BorrowedFd<'_>, &OsStr),
    (to_dir, to): (BorrowedFd<'_>, &OsStr),
    is_dir: bool,
) -> Result<(), Errno> {
    match renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        // NFS, 9p and others cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rename_in_steps((from_dir, from), (to_dir, to), is_dir)
        }
        renamed => renamed,
    }
}

/// A hard link never replaces anything, and a directory only an empty one, which is our own here.
fn rename_in_steps(
    (from_dir, from): (BorrowedFd<'_>, &OsStr),
    (to_dir, to): (BorrowedFd<'_>, &OsStr),
    is_dir: bool,
) -> Result<(), Errno> {
    if !is_dir {
        linkat(from_dir, from, to_dir, to, AtFlags::empty())?;
        return unlinkat(from_dir, from, AtFlags::empty());
    }
    mkdirat(to_dir, to, Mode::RWXU)?;
    renameat(from_dir, from, to_dir, to).inspect_err(|_| {
        let _ = unlinkat(to_dir, to, AtFlags::REMOVEDIR);
    })
}

/// Refuses what another root begins at or below: it stays where the operator put it.
pub(crate) fn check_holds_no_root(target: &Target<'_>, roots: &[Root]) -> ToolResult<()> {
    let path = target.place.root.path.join(&target.path);
    let itself = identity(&target.parent, &target.name);
    let is_held = |root: &&Root| {
        root.path.starts_with(&path) || itself.is_some() && identity(root.dir, OsStr::new(".")) == itself
    };
    match roots.iter().find(is_held) {
        None => Ok(()),
        Some(root) => Err(ToolError::denied(format!("root `{}` begins in it", root.name))),
    }
}

/// Refuses names that would not last, see [`crate::write`].
pub(crate) fn check_name(target: &Target<'_>) -> ToolResult<()> {
    if is_temporary(target.name.as_bytes()) {
        let text = "names of this form are those of unfinished files, which are removed; choose another";
        return Err(ToolError::invalid(text));
    }
    Ok(())
}

/// What tells a file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: (u32, u32),
    inode: u64,
}

/// Tells two names of one file from two files.
pub(crate) fn identity(dir: impl AsFd, name: &OsStr) -> Option<Identity> {
    let facts = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO).ok()?;
    Some(Identity { device: (facts.stx_dev_major, facts.stx_dev_minor), inode: facts.stx_ino })
}

/// What the caller of a tool reads.
pub(crate) fn failed(errno: Errno) -> ToolError {
    std::io::Error::from(errno).into()
}

#[cfg(test)]
#[path = "tree_work_tests.rs"]
mod tests;
