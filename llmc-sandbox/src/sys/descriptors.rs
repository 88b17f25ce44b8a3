//! Descriptors by number.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// Closes every descriptor from `first` to `last`, both included (`close_range(2)`).
///
/// Only for processes on their way into a jail: owners of these numbers must not use or drop them afterwards.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last)) else { return Err(Errno::BADF) };
    // SAFETY: takes integers only; no memory is touched. Losing a descriptor that somebody still owns is the
    // caller's error, and at worst gives `EBADF` or an abort of this small, single-purpose process.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Makes `number` a copy of `fd` that survives `execve(2)`, replacing whatever it was.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == number {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: takes integers only. The replaced number belongs to nobody: callers do this right before `execve`
    // with numbers that they have kept free.
    check(libc::c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), number) })).map(drop)
}

/// Takes a descriptor that whoever started this process left for it under an agreed number, and marks it
/// close-on-exec. To be called once for each number.
pub(crate) fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes integers only; fails for a number that is not open.
    check(libc::c_long::from(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }))?;
    // SAFETY: the descriptor is open, as was just seen, and the caller's promise makes this its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The owner of a descriptor that [`place`] made. Asks nothing of the kernel, so it can be had behind any filter.
///
/// Only for a payload, once, after everything that owned a number was closed or forgotten.
pub(crate) fn owner_of(number: RawFd) -> OwnedFd {
    // SAFETY: `place` made this descriptor from an open one in this very process, and its callers keep no owner.
    unsafe { OwnedFd::from_raw_fd(number) }
}
