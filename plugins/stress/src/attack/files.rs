//! Files that no plugin is granted.

use std::ffi::{CStr, c_int, c_long};

use crate::sys::{Attempt, checked, close};

pub(super) fn attack() -> Vec<Attempt> {
    vec![
        Attempt::new("read_etc_passwd", read(c"/etc/passwd")),
        Attempt::new("read_self_environ", read(c"/proc/self/environ")),
        Attempt::new("readdir_root", list(c"/")),
        Attempt::new("readdir_proc", list(c"/proc")),
        Attempt::new("stat_etc_shadow", stat(c"/etc/shadow")),
        // A file without a name: it is gone when it is closed.
        Attempt::new("write_tmp", open(c"/tmp", libc::O_TMPFILE | libc::O_RDWR).map(|fd| closed(fd, 0))),
    ]
}

pub(super) fn open(path: &CStr, flags: c_int) -> Result<c_int, c_int> {
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC | libc::O_NONBLOCK, 0o600) };
    checked(c_long::from(fd)).map(|_| fd)
}

/// Opens a file and reads its beginning.
pub(super) fn read(path: &CStr) -> Result<c_long, c_int> {
    let fd = open(path, libc::O_RDONLY)?;
    let mut buffer = [0_u8; 64];
    // SAFETY: the buffer is as long as told.
    let result = checked(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as c_long);
    closed(fd, result)
}

/// Opens a directory and reads its first entries.
pub(super) fn list(path: &CStr) -> Result<c_long, c_int> {
    let fd = open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut buffer = [0_u64; 256];
    // SAFETY: the buffer is as long as told.
    let result = checked(unsafe {
        libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), size_of_val(&buffer))
    });
    closed(fd, result)
}

fn stat(path: &CStr) -> Result<c_long, c_int> {
    let mut buffer = [0_u64; 64];
    // SAFETY: the path is a C string, and the buffer is larger than any `stat`.
    checked(c_long::from(unsafe { libc::stat(path.as_ptr(), buffer.as_mut_ptr().cast()) }))
}

fn closed<T>(fd: c_int, result: T) -> T {
    close(fd);
    result
}
