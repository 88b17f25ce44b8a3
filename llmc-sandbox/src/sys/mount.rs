//! `mount_setattr(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::check;

/// What to change on a mount.
#[derive(Clone, Copy)]
pub(crate) struct MountAttributes<'fd> {
    /// Flags to add.
    pub(crate) set: MountAttrFlags,
    /// Map file owners through this user namespace.
    pub(crate) idmap: Option<BorrowedFd<'fd>>,
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the mount that `mount` is the root of, and with `recursive` all below it.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: MountAttributes<'_>,
) -> Result<(), Errno> {
    let mut set = attributes.set;
    if attributes.idmap.is_some() {
        set |= MountAttrFlags::MOUNT_ATTR_IDMAP;
    }
    let userns_fd = match attributes.idmap {
        Some(fd) => u64::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)?,
        None => 0,
    };
    let attr = MountAttr { attr_set: u64::from(set.bits()), attr_clr: 0, propagation: 0, userns_fd };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let path: &CStr = c"";
    // SAFETY: `path` is NUL-terminated and `attr` is a live `struct mount_attr` of the given size; both are only
    // read.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
