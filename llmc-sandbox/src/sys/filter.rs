//! Installing a compiled seccomp filter.

use rustix::io::Errno;
use seccompiler::sock_filter;

use super::check;

/// `seccomp(SECCOMP_SET_MODE_FILTER)` for the calling thread; `no_new_privs` must be set.
pub(crate) fn install_filter(program: &[sock_filter]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel copies and checks
    // them and never writes. `seccompiler::sock_filter` and `libc::sock_filter` are both `repr(C)` `sock_filter`s.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}
