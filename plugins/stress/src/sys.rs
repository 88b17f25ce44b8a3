//! System calls without the standard library, which may not be ready in a static constructor.

use std::ffi::{c_int, c_long};

use libc::pid_t;
use llmc_core::output;

/// Descriptors are looked for up to this number.
pub(crate) const HIGHEST_DESCRIPTOR: c_int = 256;

/// What became of one attempt.
#[output]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    /// What was tried.
    pub(crate) name: String,
    /// `OK` if it worked, else the name of the error.
    pub(crate) outcome: String,
}

impl Attempt {
    pub(crate) fn new(name: impl Into<String>, result: Result<c_long, c_int>) -> Self {
        let outcome = match result {
            Ok(_) => "OK".to_owned(),
            Err(errno) => errno_name(errno),
        };
        Self { name: name.into(), outcome }
    }
}

/// A system call as data: it is made by [`Call::make`] alone.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) number: c_long,
    pub(crate) args: [usize; 5],
    /// Errors that come only after the kernel has given its permission.
    pub(crate) permitted: &'static [c_int],
    pub(crate) undo: Undo,
}

/// What takes back the effect of a call that worked.
pub(crate) enum Undo {
    /// It has no effect.
    Nothing,
    /// It opened a descriptor.
    Close,
    /// It made a shared memory segment.
    RemoveSegment,
    /// It changed an attribute; the same call with these arguments sets it back.
    Repeat([usize; 5]),
}

impl Call {
    pub(crate) fn new<const N: usize>(name: &'static str, number: c_long, args: [usize; N]) -> Self {
        let mut padded = [0; 5];
        padded[..N].copy_from_slice(&args);
        Self { name, number, args: padded, permitted: &[], undo: Undo::Nothing }
    }

    /// A call that changes an attribute of the process from `old` to `new`.
    pub(crate) fn changing(name: &'static str, number: c_long, new: [usize; 5], old: [usize; 5]) -> Self {
        Self { undo: Undo::Repeat(old), ..Self::new(name, number, new) }
    }

    /// A call that answers with a descriptor.
    pub(crate) fn opening<const N: usize>(name: &'static str, number: c_long, args: [usize; N]) -> Self {
        Self { undo: Undo::Close, ..Self::new(name, number, args) }
    }

    /// Makes the call and takes it back.
    ///
    /// # Safety
    /// Pointers among the arguments must be valid for what the kernel reads and writes there.
    pub(crate) unsafe fn make(&self) -> Attempt {
        // SAFETY: the caller vouches for the pointers.
        let result = unsafe { self.with(self.args) };
        if let Ok(value) = result {
            match self.undo {
                Undo::Nothing => {}
                Undo::Close => close(value as c_int),
                // SAFETY: the segment is new and attached nowhere.
                Undo::RemoveSegment => unsafe {
                    libc::shmctl(value as c_int, libc::IPC_RMID, std::ptr::null_mut());
                },
                Undo::Repeat(args) => {
                    // SAFETY: the caller vouches for the pointers.
                    let _ = unsafe { self.with(args) };
                }
            }
        }
        let result = match result {
            Err(errno) if self.permitted.contains(&errno) => Ok(0),
            result => result,
        };
        Attempt::new(self.name, result)
    }

    /// # Safety
    /// As for `make`.
    unsafe fn with(&self, [a, b, c, d, e]: [usize; 5]) -> Result<c_long, c_int> {
        // SAFETY: the caller vouches for the pointers.
        checked(unsafe { libc::syscall(self.number, a, b, c, d, e, 0) })
    }
}

/// Turns the C convention into a result.
pub(crate) fn checked(result: c_long) -> Result<c_long, c_int> {
    if result == -1 { Err(errno()) } else { Ok(result) }
}

pub(crate) fn errno() -> c_int {
    // SAFETY: the location is that of the calling thread and always valid.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: called only for descriptors that were opened here.
    unsafe { libc::close(fd) };
}

/// The server's process id: from the kernel, or, where that is refused, from the socket that the host holds.
pub(crate) fn parent() -> pid_t {
    // SAFETY: always safe.
    let parent = unsafe { libc::getppid() };
    if parent >= 0 { parent } else { (3..=HIGHEST_DESCRIPTOR).find_map(peer).unwrap_or(0) }
}

/// The maker of a socket, see `SO_PEERCRED` in `unix(7)`.
fn peer(fd: c_int) -> Option<pid_t> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure is as long as told.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &mut length)
    };
    (result == 0 && peer.pid > 0).then_some(peer.pid)
}

/// The symbolic name of an error.
pub(crate) fn errno_name(errno: c_int) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::ENOEXEC => "ENOEXEC",
        libc::EBADF => "EBADF",
        libc::ECHILD => "ECHILD",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOTTY => "ENOTTY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::EPIPE => "EPIPE",
        libc::ENOSYS => "ENOSYS",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EPROTOTYPE => "EPROTOTYPE",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::ENOKEY => "ENOKEY",
        libc::ENOTSOCK => "ENOTSOCK",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}
