//! Other processes: starting them, and what only a new one can try without changing this one.

use std::ffi::{c_char, c_int, c_long};
use std::ptr;

use libc::pid_t;

use crate::sys::{Attempt, checked};

const TRUE: *const c_char = c"/bin/true".as_ptr();

pub(super) fn attack() -> Vec<Attempt> {
    vec![
        Attempt::new("fork", fork()),
        Attempt::new("clone3", clone3()),
        Attempt::new("unshare_user", unshare_user()),
        Attempt::new("posix_spawn", posix_spawn()),
        // If it works, nobody is left to report it: the process has become `/bin/true`.
        Attempt::new("execve", execve()),
    ]
}

fn fork() -> Result<c_long, c_int> {
    // SAFETY: the child does nothing but leave.
    let pid = unsafe { libc::fork() };
    leave_or_reap(c_long::from(pid))
}

fn clone3() -> Result<c_long, c_int> {
    // `struct clone_args`, of which only the signal at the end is set.
    let mut args = [0_u64; 8];
    args[4] = libc::SIGCHLD as u64;
    // SAFETY: the structure is as long as told; the child does nothing but leave.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    leave_or_reap(pid)
}

/// Ends the child at once; waits for it in the parent.
fn leave_or_reap(pid: c_long) -> Result<c_long, c_int> {
    if pid == 0 {
        // SAFETY: always safe; runs no handlers.
        unsafe { libc::_exit(0) };
    }
    let pid = checked(pid)?;
    reap(pid as pid_t);
    Ok(pid)
}

/// Waits for a child; answers with its exit code.
fn reap(pid: pid_t) -> c_int {
    let mut status = 0;
    // SAFETY: `status` is valid for a write.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    libc::WEXITSTATUS(status)
}

/// Makes a user namespace: in a child, because it cannot be left again, or in this process if there is no child.
fn unshare_user() -> Result<c_long, c_int> {
    // SAFETY: there are no pointers among the arguments.
    let unshare = || checked(c_long::from(unsafe { libc::unshare(libc::CLONE_NEWUSER) }));
    // SAFETY: the child makes one system call and leaves.
    match unsafe { libc::fork() } {
        -1 => unshare(),
        // SAFETY: always safe; runs no handlers.
        0 => unsafe { libc::_exit(unshare().err().unwrap_or(0)) },
        child => match reap(child) {
            0 => Ok(0),
            errno => Err(errno),
        },
    }
}

fn posix_spawn() -> Result<c_long, c_int> {
    let mut pid = 0;
    let argv = [TRUE.cast_mut(), ptr::null_mut()];
    let envp = [ptr::null_mut()];
    // SAFETY: both lists end with a null pointer.
    match unsafe { libc::posix_spawn(&mut pid, TRUE, ptr::null(), ptr::null(), argv.as_ptr(), envp.as_ptr()) }
    {
        0 => {
            reap(pid);
            Ok(0)
        }
        errno => Err(errno),
    }
}

fn execve() -> Result<c_long, c_int> {
    let argv = [TRUE, ptr::null()];
    let envp = [ptr::null()];
    // SAFETY: both lists end with a null pointer.
    checked(c_long::from(unsafe { libc::execve(TRUE, argv.as_ptr(), envp.as_ptr()) }))
}
