//! Building a file tree of one's own, by descriptor: nothing here follows a path that a payload could have made.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use crate::error::{At, JailError, Layer};
use crate::sys::{self, MountAttributes};

/// Mount flags of everything that a jail sees.
pub(crate) const HARMLESS: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Cuts this mount namespace off from the one it was copied from.
pub(crate) fn make_private() -> Result<(), Errno> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// A new, detached tmpfs.
pub(crate) fn new_tmpfs(
    bytes: u64,
    inodes: u64,
    mode: &str,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "size", bytes.to_string())?;
    rustix::mount::fsconfig_set_string(&context, "nr_inodes", inodes.to_string())?;
    rustix::mount::fsconfig_set_string(&context, "mode", mode)?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A new, detached `/proc` of this pid namespace.
pub(crate) fn new_proc(shown: ShownProc) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if shown != ShownProc::Whole {
        rustix::mount::fsconfig_set_string(&context, "subset", "pid")?;
    }
    if shown == ShownProc::Dumpable {
        rustix::mount::fsconfig_set_string(&context, "hidepid", "invisible")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = HARMLESS | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// What a `/proc` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShownProc {
    /// Processes that the reader could trace, so not process 1; no kernel settings, no facts about the machine.
    Dumpable,
    /// All processes of the namespace; no kernel settings, no facts about the machine.
    Processes,
    /// Everything. The kernel gives out the others only where one like this is to be seen.
    Whole,
}

/// A detached copy of the mounts at `path` and below.
pub(crate) fn clone_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(CWD, path, CLONE)
}

/// A detached copy of the mounts at an open directory and below, by handle.
///
/// The kernel permits it to a process with `CAP_SYS_ADMIN` whose mount namespace holds that mount.
pub(crate) fn clone_handle(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
}

/// A detached copy of the mounts at an open directory and below.
///
/// By handle where the kernel permits it; else by the directory's present path, and only if that leads to the very
/// same directory.
pub(crate) fn clone_directory(directory: &OwnedFd) -> Result<OwnedFd, JailError> {
    match clone_handle(directory) {
        Err(Errno::INVAL | Errno::PERM) => {}
        result => return result.at(Layer::GrantedRoot, "clone a granted directory"),
    }
    let path = path_of(directory).at(Layer::GrantedRoot, "find the path of a granted directory")?;
    let clone = clone_path(&path).at(Layer::GrantedRoot, "open a granted directory again by its path")?;
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let same = identity(directory).and_then(|wanted| identity(&clone).map(|found| found == wanted));
    if same.at(Layer::GrantedRoot, "compare a granted directory")? {
        Ok(clone)
    } else {
        Err(JailError::not_in_force(Layer::GrantedRoot, "the directory was moved or replaced"))
    }
}

/// The present path of an open directory.
fn path_of(directory: &OwnedFd) -> Result<PathBuf, Errno> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let link = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
    Ok(std::ffi::OsString::from_vec(link.into_bytes()).into())
}

/// Adds flags to a mount and, with `recursive`, to all below it.
pub(crate) fn restrict(mount: impl AsFd, recursive: bool, set: MountAttrFlags) -> Result<(), Errno> {
    sys::set_mount_attributes(mount.as_fd(), recursive, MountAttributes { set, idmap: None })
}

/// Attaches a detached mount at `target`, relative to `root`.
pub(crate) fn attach(mount: impl AsFd, root: impl AsFd, target: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", root, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Hangs a detached mount into the present tree, so that [`enter_root`] may make it the root.
pub(crate) fn hang_in(root: &OwnedFd) -> Result<(), JailError> {
    // Every process that comes here has used /proc, so it exists; what it hides goes away with the old root.
    attach(root, CWD, Path::new("/proc")).at(Layer::Root, "attach the new root")
}

/// Makes an attached mount the root, lets go of the old root and everything below it, and checks that it is gone.
pub(crate) fn enter_root(root: &OwnedFd) -> Result<(), JailError> {
    rustix::process::fchdir(root).at(Layer::Root, "enter the new root")?;
    rustix::process::pivot_root(c".", c".").at(Layer::Root, "pivot_root")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Layer::Root, "detach the old root")?;
    rustix::process::chdir(c"/").at(Layer::Root, "chdir to the new root")?;

    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let wanted = identity(rustix::fs::fstat(root).at(Layer::Root, "stat the new root")?);
    for path in [c"/", c"/.."] {
        let found = identity(rustix::fs::stat(path).at(Layer::Root, "stat the root")?);
        if found != wanted {
            return Err(JailError::not_in_force(Layer::Root, "the root is another directory"));
        }
    }
    Ok(())
}

/// Makes the root mount read-only and reads that back.
pub(crate) fn seal_root(root: &OwnedFd) -> Result<(), JailError> {
    restrict(root, false, MountAttrFlags::MOUNT_ATTR_RDONLY).at(Layer::Root, "make the root read-only")?;
    let flags = rustix::fs::fstatvfs(root).at(Layer::Root, "read the flags of the root")?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV) {
        Ok(())
    } else {
        Err(JailError::not_in_force(Layer::Root, format!("its flags are {flags:?}")))
    }
}

/// Opens a directory for listing if that is allowed, else as a handle only.
pub(crate) fn open_directory(directory: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(&directory, c".", flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::openat(&directory, c".", flags | OFlags::PATH, Mode::empty()),
        result => result,
    }
}

const CLONE: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_RECURSIVE);
