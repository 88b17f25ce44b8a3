//! Installing a compiled seccomp filter.

use libc::sock_filter;
use rustix::io::Errno;

use super::check;

/// `seccomp(SECCOMP_SET_MODE_FILTER)` for the calling thread; `no_new_privs` must be set.
pub(crate) fn install_filter(program: &[sock_filter]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel copies and checks
    // them and never writes.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}
