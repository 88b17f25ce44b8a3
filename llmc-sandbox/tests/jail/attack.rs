//! Things that code in a jail may try, each with its outcome as text.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// Collects `name=outcome` lines.
#[derive(Default)]
pub(crate) struct Log(pub(crate) String);

impl Log {
    pub(crate) fn note<T>(&mut self, name: &str, result: Result<T, Errno>) {
        let outcome = match result {
            Ok(_) => "ok".to_owned(),
            Err(errno) => errno_name(errno),
        };
        self.text(name, &outcome);
    }

    pub(crate) fn text(&mut self, name: &str, outcome: &str) {
        writeln!(self.0, "{name}={outcome}").unwrap();
    }

    /// A raw system call.
    pub(crate) fn call(&mut self, name: &str, number: libc::c_long, args: &[usize]) {
        self.note(name, raw(number, args));
    }
}

/// A raw system call; missing arguments are 0.
pub(crate) fn raw(number: libc::c_long, args: &[usize]) -> Result<usize, Errno> {
    let arg = |index: usize| args.get(index).copied().unwrap_or(0);
    // SAFETY: callers pass integers, null, or pointers to live data; every call here is expected to be refused.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result == -1 {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap())
    } else {
        Ok(result.cast_unsigned() as usize)
    }
}

pub(crate) fn pointer(text: &CStr) -> usize {
    text.as_ptr() as usize
}

fn errno_name(errno: Errno) -> String {
    let known = [
        (Errno::PERM, "EPERM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::ROFS, "EROFS"),
        (Errno::FBIG, "EFBIG"),
        (Errno::MFILE, "EMFILE"),
        (Errno::SRCH, "ESRCH"),
        (Errno::XDEV, "EXDEV"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::BADF, "EBADF"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    ];
    known
        .iter()
        .find(|(known, _)| *known == errno)
        .map_or_else(|| format!("{errno:?}"), |(_, name)| (*name).to_owned())
}

/// Calls that no jail of any kind may get through; every argument is harmless should one succeed.
pub(crate) fn kernel_surface(log: &mut Log) {
    log.call("unshare", libc::SYS_unshare, &[0]);
    log.call("unshare_user", libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]);
    log.call("clone_newuser", libc::SYS_clone, &[(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize]);
    log.call("clone3", libc::SYS_clone3, &[0, 0]);
    log.call("setns", libc::SYS_setns, &[usize::MAX, 0]);
    log.call("mount", libc::SYS_mount, &[0, 0, 0, 0, 0]);
    log.call("umount2", libc::SYS_umount2, &[0, 0]);
    log.call("pivot_root", libc::SYS_pivot_root, &[0, 0]);
    log.call("chroot", libc::SYS_chroot, &[0]);
    log.call("open_tree", libc::SYS_open_tree, &[usize::MAX, 0, 0]);
    log.call("fsopen", libc::SYS_fsopen, &[0, 0]);
    log.call("ptrace", libc::SYS_ptrace, &[0x4206, 1, 0, 0]);
    log.call("process_vm_readv", libc::SYS_process_vm_readv, &[1, 0, 0, 0, 0, 0]);
    log.call("pidfd_getfd", libc::SYS_pidfd_getfd, &[usize::MAX, 0, 0]);
    log.call("kcmp", libc::SYS_kcmp, &[1, 1, 0, 0, 0]);
    log.call("bpf", libc::SYS_bpf, &[0, 0, 0]);
    log.call("perf_event_open", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]);
    log.call("userfaultfd", libc::SYS_userfaultfd, &[1]);
    log.call("io_uring_setup", libc::SYS_io_uring_setup, &[1, 0]);
    log.call("io_uring_enter", libc::SYS_io_uring_enter, &[usize::MAX, 0, 0, 0, 0, 0]);
    log.call("keyctl", libc::SYS_keyctl, &[0, 0]);
    log.call("add_key", libc::SYS_add_key, &[0, 0, 0, 0, 0]);
    log.call("memfd_create", libc::SYS_memfd_create, &[pointer(c"x"), 0]);
    log.call("execveat", libc::SYS_execveat, &[usize::MAX, 0, 0, 0, 0]);
    log.call("name_to_handle_at", libc::SYS_name_to_handle_at, &[usize::MAX, 0, 0, 0, 0]);
    log.call("open_by_handle_at", libc::SYS_open_by_handle_at, &[usize::MAX, 0, 0]);
    log.call("seccomp", libc::SYS_seccomp, &[1, 0, 0]);
    log.call("landlock", libc::SYS_landlock_restrict_self, &[usize::MAX, 0]);
    log.call("inotify", libc::SYS_inotify_init1, &[0]);
    log.call("shmget", libc::SYS_shmget, &[0, 4096, 0o1600]);
    log.call("mq_open", libc::SYS_mq_open, &[0, 0, 0, 0]);
    log.call("setuid", libc::SYS_setuid, &[0]);
    log.call("personality", libc::SYS_personality, &[0xffff_ffff]);
    let null = std::fs::File::open("/dev/null").map(|file| file.as_raw_fd() as usize).unwrap_or(0);
    log.call("tiocsti", libc::SYS_ioctl, &[null, libc::TIOCSTI as usize, pointer(c"x")]);
    log.call("tiocsti_high", libc::SYS_ioctl, &[null, libc::TIOCSTI as usize | 0x123 << 32, pointer(c"x")]);
    for (name, domain) in SOCKET_FAMILIES {
        log.call(
            &format!("socket_{name}"),
            libc::SYS_socket,
            &[domain as usize, libc::SOCK_DGRAM as usize, 0],
        );
    }
    log.call("connect", libc::SYS_connect, &[usize::MAX, 0, 0]);
    let mut pair = [0; 2];
    log.call(
        "socketpair_dgram",
        libc::SYS_socketpair,
        &[1, libc::SOCK_DGRAM as usize, 0, (&raw mut pair) as usize],
    );
    log.call(
        "socketpair_stream",
        libc::SYS_socketpair,
        &[1, libc::SOCK_STREAM as usize, 0, (&raw mut pair) as usize],
    );
}

/// Names of the outcomes of [`kernel_surface`] that must be a refusal.
pub(crate) const REFUSED: &[&str] = &[
    "unshare",
    "unshare_user",
    "clone_newuser",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "fsopen",
    "ptrace",
    "process_vm_readv",
    "pidfd_getfd",
    "kcmp",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "keyctl",
    "add_key",
    "memfd_create",
    "execveat",
    "name_to_handle_at",
    "open_by_handle_at",
    "landlock",
    "inotify",
    "shmget",
    "mq_open",
    "setuid",
    "personality",
    "tiocsti",
    "tiocsti_high",
    "connect",
    "socket_unix",
    "socket_inet",
    "socket_inet6",
    "socket_netlink",
    "socket_packet",
    "socket_vsock",
    "socket_alg",
    "socket_xdp",
    "socket_bluetooth",
];

const SOCKET_FAMILIES: [(&str, i32); 9] = [
    ("unix", libc::AF_UNIX),
    ("inet", libc::AF_INET),
    ("inet6", libc::AF_INET6),
    ("netlink", libc::AF_NETLINK),
    ("packet", libc::AF_PACKET),
    ("vsock", libc::AF_VSOCK),
    ("alg", libc::AF_ALG),
    ("xdp", libc::AF_XDP),
    ("bluetooth", libc::AF_BLUETOOTH),
];
