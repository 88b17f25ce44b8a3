//! System calls that a jail has to refuse, for the self-test.
//!
//! Each is harmless should it be carried out: its arguments are ones that the kernel takes offence at after it has
//! given its permission, or its effect ends with the process that makes it.

use rustix::io::Errno;

use super::check;

/// A system call with its arguments. Only this file makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// As `man 2` knows it, and what is special about the arguments.
    pub(crate) name: &'static str,
    number: libc::c_long,
    args: [usize; 5],
}

impl Attempt {
    /// Makes the call.
    pub(crate) fn make(&self) -> Result<(), Errno> {
        let [a, b, c, d, e] = self.args;
        // SAFETY: every attempt is a constant of this file, where no argument is a pointer but null; the kernel
        // answers those with `EFAULT`. Nothing in this process's memory is read or written.
        check(unsafe { libc::syscall(self.number, a, b, c, d, e, 0_usize) }).map(drop)
    }
}

const fn attempt(name: &'static str, number: libc::c_long, args: [usize; 5]) -> Attempt {
    Attempt { name, number, args }
}

const fn socket(name: &'static str, domain: libc::c_int) -> Attempt {
    attempt(name, libc::SYS_socket, [domain as usize, libc::SOCK_DGRAM as usize, 0, 0, 0])
}

/// No descriptor.
const NONE: usize = usize::MAX;
/// `PTRACE_SEIZE`, which stops nobody.
const SEIZE: usize = 0x4206;

/// What answers "not permitted" in every jail.
pub(crate) const REFUSED: &[Attempt] = &[
    attempt("unshare a user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0]),
    // With CLONE_FS the kernel refuses it at last.
    attempt(
        "clone into a user namespace",
        libc::SYS_clone,
        [(libc::CLONE_NEWUSER | libc::CLONE_FS) as usize, 0, 0, 0, 0],
    ),
    attempt("setns", libc::SYS_setns, [NONE, 0, 0, 0, 0]),
    attempt("mount", libc::SYS_mount, [0; 5]),
    attempt("open_tree", libc::SYS_open_tree, [NONE, 0, 0, 0, 0]),
    attempt("chroot", libc::SYS_chroot, [0; 5]),
    attempt("ptrace process 1", libc::SYS_ptrace, [SEIZE, 1, 0, 0, 0]),
    attempt("process_vm_readv of process 1", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]),
    attempt("pidfd_getfd", libc::SYS_pidfd_getfd, [NONE, 0, 0, 0, 0]),
    attempt("bpf", libc::SYS_bpf, [0; 5]),
    attempt("perf_event_open", libc::SYS_perf_event_open, [0; 5]),
    attempt("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
    attempt("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    attempt("keyctl", libc::SYS_keyctl, [0; 5]),
    attempt("add_key", libc::SYS_add_key, [0; 5]),
    attempt("memfd_create", libc::SYS_memfd_create, [0; 5]),
    attempt("execveat", libc::SYS_execveat, [NONE, 0, 0, 0, 0]),
    attempt("open_by_handle_at", libc::SYS_open_by_handle_at, [NONE, 0, 0, 0, 0]),
    attempt("inotify_init1", libc::SYS_inotify_init1, [0; 5]),
    attempt("shmget", libc::SYS_shmget, [0, 4096, 0o1600, 0, 0]),
    attempt("setuid to root", libc::SYS_setuid, [0; 5]),
    attempt("TIOCSTI", libc::SYS_ioctl, [0, libc::TIOCSTI as usize, 0, 0, 0]),
    attempt("TIOCSTI with high bits", libc::SYS_ioctl, [0, libc::TIOCSTI as usize | 0x123 << 32, 0, 0, 0]),
    attempt("connect", libc::SYS_connect, [NONE, 0, 0, 0, 0]),
    socket("a unix socket", libc::AF_UNIX),
    socket("an inet socket", libc::AF_INET),
    socket("an inet6 socket", libc::AF_INET6),
    socket("a netlink socket", libc::AF_NETLINK),
    socket("a packet socket", libc::AF_PACKET),
    socket("a vsock socket", libc::AF_VSOCK),
    socket("an alg socket", libc::AF_ALG),
];

/// What answers "no such call", so that C libraries take another.
pub(crate) const ABSENT: &[Attempt] = &[attempt("clone3", libc::SYS_clone3, [0; 5])];

/// A child process; without CLONE_VM, CLONE_SIGHAND is refused at last.
pub(crate) const CHILD: Attempt =
    attempt("a child process", libc::SYS_clone, [libc::CLONE_SIGHAND as usize, 0, 0, 0, 0]);

/// Makes a system call of another architecture, `getpid` of i386. A jail does not return from it.
pub(crate) fn foreign_call() {
    #[cfg(target_arch = "x86_64")]
    {
        let mut _number = 20_i32;
        // SAFETY: `int 0x80` with this number reads and writes no memory and changes no register but those named.
        unsafe {
            std::arch::asm!(
                "int 0x80", inout("eax") _number, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                options(nostack)
            );
        }
    }
}
