//! The parent process, which is the server or near it.

use std::ffi::{CString, c_int, c_long};
use std::ptr;
use std::time::{Duration, Instant};

use libc::pid_t;

use super::files;
use crate::sys::{Attempt, Call, checked, close};

/// An address that is never mapped.
const UNMAPPED: usize = 8;
const KCMP_VM: usize = 1;

pub(super) fn attack(parent: pid_t) -> Vec<Attempt> {
    if parent == 0 {
        // The parent is in another pid namespace; 0 would mean the process itself.
        return vec![Attempt { name: "parent".into(), outcome: "not visible".into() }];
    }
    let mut attempts = vec![
        Attempt::new("proc_parent_mem", open_for_writing(&proc_file(parent, "mem"))),
        Attempt::new("proc_parent_environ", files::read(&proc_file(parent, "environ"))),
        Attempt::new("proc_parent_maps", files::read(&proc_file(parent, "maps"))),
        Attempt::new("proc_parent_cmdline", files::read(&proc_file(parent, "cmdline"))),
        Attempt::new("proc_parent_fd", files::list(&proc_file(parent, "fd"))),
        Attempt::new("ptrace_seize_parent", while_traced(parent, || Ok(0))),
        Attempt::new("process_vm_readv_parent", read_memory(parent, UNMAPPED, &mut [0]).or_else(permitted)),
        Attempt::new("process_vm_writev_parent", write_memory(parent, UNMAPPED, &[0]).or_else(permitted)),
        Attempt::new("fcntl_setown_parent", set_owner(parent)),
    ];
    attempts.extend(signals_and_handles(parent));
    attempts
}

/// Calls that take the process id, none of which changes anything.
fn signals_and_handles(parent: pid_t) -> Vec<Attempt> {
    let pid = parent as usize;
    // SAFETY: always safe.
    let own = unsafe { libc::getpid() } as usize;
    let mut scratch = [0_u64; 32];
    let out = scratch.as_mut_ptr() as usize;
    // SAFETY: there are no pointers among the arguments. Closed below.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let calls = [
        Call::opening("pidfd_open_parent", libc::SYS_pidfd_open, [pid, 0]),
        Call::opening("pidfd_getfd_parent", libc::SYS_pidfd_getfd, [pidfd as usize, 0, 0]),
        Call::new("pidfd_send_signal_parent", libc::SYS_pidfd_send_signal, [pidfd as usize, 0, 0, 0]),
        Call::new("kill_parent", libc::SYS_kill, [pid, 0]),
        Call::new("tgkill_parent", libc::SYS_tgkill, [pid, pid, 0]),
        Call::new("tkill_parent", libc::SYS_tkill, [pid, 0]),
        Call::new("prlimit_parent", libc::SYS_prlimit64, [pid, libc::RLIMIT_NOFILE as usize, 0, out]),
        Call::new("kcmp_parent", libc::SYS_kcmp, [own, pid, KCMP_VM, 0, 0]),
        Call::new("get_robust_list_parent", libc::SYS_get_robust_list, [pid, out, out + 8]),
        Call::new("sched_getaffinity_parent", libc::SYS_sched_getaffinity, [pid, 128, out]),
    ];
    // SAFETY: `out` leads to 256 bytes, more than any of the calls writes: two words, two `u64` or 128 bytes.
    let attempts = calls.iter().map(|call| unsafe { call.make() }).collect();
    if pidfd >= 0 {
        close(pidfd as c_int);
    }
    attempts
}

pub(crate) fn proc_file(pid: pid_t, name: &str) -> CString {
    CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

fn open_for_writing(path: &CString) -> Result<c_long, c_int> {
    let fd = files::open(path, libc::O_RDWR)?;
    close(fd);
    Ok(0)
}

/// The kernel looks at the address only after it has given its permission.
fn permitted(errno: c_int) -> Result<c_long, c_int> {
    if errno == libc::EFAULT { Ok(0) } else { Err(errno) }
}

/// Copies from the memory of another process.
pub(crate) fn read_memory(pid: pid_t, address: usize, into: &mut [u8]) -> Result<c_long, c_int> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: into.len() };
    // SAFETY: `local` is the slice; the kernel checks `remote`.
    checked(unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) } as c_long)
}

/// Copies into the memory of another process.
pub(crate) fn write_memory(pid: pid_t, address: usize, from: &[u8]) -> Result<c_long, c_int> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: from.len() };
    // SAFETY: `local` is the slice, which is only read; the kernel checks `remote`.
    checked(unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) } as c_long)
}

/// Stops another process as a debugger, does something and lets it go.
pub(crate) fn while_traced(pid: pid_t, act: impl FnOnce() -> Result<c_long, c_int>) -> Result<c_long, c_int> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: the request uses neither address nor data.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) })?;
    // Only a stopped process can be let go.
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none) };
    let patience = Instant::now() + Duration::from_secs(2);
    let mut status = 0;
    // SAFETY: `status` is valid for a write.
    while unsafe { libc::waitpid(pid, &mut status, libc::__WALL | libc::WNOHANG) } == 0
        && Instant::now() < patience
    {
        std::hint::spin_loop();
    }
    let result = act();
    // SAFETY: as above. Should it fail, the kernel does it when this thread ends.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, none) };
    result
}

/// Names the parent as the receiver of signals about a pipe, which never come.
fn set_owner(parent: pid_t) -> Result<c_long, c_int> {
    let mut pipe = [0; 2];
    // SAFETY: there is room for two descriptors.
    checked(c_long::from(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) }))?;
    // SAFETY: there are no pointers among the arguments.
    let result = checked(c_long::from(unsafe { libc::fcntl(pipe[0], libc::F_SETOWN, parent) }));
    pipe.into_iter().for_each(close);
    result
}
