//! System calls in groups, an entry each with its reason.

use super::{Arg, Call, Test};

/// An entry for every argument, or for those that meet one of the rules.
macro_rules! call {
    ($constant:ident, $why:literal) => {
        call!($constant, &[], $why)
    };
    ($constant:ident, $rules:expr, $why:literal) => {
        Call { number: numbers::$constant, constant: stringify!($constant), rules: $rules, why: $why }
    };
}

/// Numbers of system calls: those of libc, and those that libc lacks.
mod numbers {
    pub(super) use libc::*;

    #[cfg(target_arch = "aarch64")]
    pub(super) use self::aarch64::*;

    #[cfg(target_arch = "aarch64")]
    #[expect(non_upper_case_globals, reason = "named like their neighbours in libc")]
    mod aarch64 {
        pub(in super::super) const SYS_renameat: libc::c_long = 38;
        pub(in super::super) const SYS_fchmodat2: libc::c_long = 452;
    }
}

mod refused;

pub(super) use refused::{REFUSED, REFUSED_NAMESPACES, REFUSED_PROCESSES};

const fn is(index: u8, value: u32) -> Arg {
    Arg { index, test: Test::Is(value) }
}

const fn masked(index: u8, mask: u32, value: u32) -> Arg {
    Arg { index, test: Test::Masked { mask, value } }
}

const fn null(index: u8) -> Arg {
    Arg { index, test: Test::Null }
}

const fn own_pid(index: u8) -> Arg {
    Arg { index, test: Test::OwnPid }
}

/// The `CLONE_NEW*` flags of clone(2): cgroup, uts, ipc, user, pid, net and mount.
const NAMESPACES: u32 = 0x7e02_0000;
/// Flags that change who traces or parents a new process.
const CLONE_ODD: u32 = (libc::CLONE_PTRACE | libc::CLONE_UNTRACED | libc::CLONE_PARENT) as u32;
const CLONE_THREAD: u32 = libc::CLONE_THREAD as u32;
/// Flag of memory that may be executed.
const EXECUTABLE: u32 = libc::PROT_EXEC as u32;
/// Flag of memory that is no file.
const ANONYMOUS: u32 = libc::MAP_ANONYMOUS as u32;
const AF_UNIX: u32 = libc::AF_UNIX as u32;
/// The part of a socket type that is not a flag.
const SOCK_TYPE: u32 = 0xf;
/// Set-user-id and set-group-id: a file in a granted root must never carry its owner's rights to other users.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
/// Flags of open(2) that make its mode count.
const CREATING: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// Data through open descriptors.
pub(super) const DESCRIPTORS: &[Call] = &[
    call!(SYS_read, "data"),
    call!(SYS_write, "data"),
    call!(SYS_readv, "data in pieces"),
    call!(SYS_writev, "data in pieces"),
    call!(SYS_pread64, "data at an offset"),
    call!(SYS_pwrite64, "data at an offset"),
    call!(SYS_preadv, "data at an offset, in pieces"),
    call!(SYS_pwritev, "data at an offset, in pieces"),
    call!(SYS_lseek, "position in a file"),
    call!(SYS_close, "closing"),
    call!(SYS_dup, "copy of a descriptor"),
    call!(SYS_dup3, "copy of a descriptor to a number"),
    call!(
        SYS_fcntl,
        &[
            &[is(1, libc::F_DUPFD as u32)],
            &[is(1, libc::F_DUPFD_CLOEXEC as u32)],
            &[is(1, libc::F_GETFD as u32)],
            &[is(1, libc::F_SETFD as u32)],
            &[is(1, libc::F_GETFL as u32)],
            &[is(1, libc::F_SETFL as u32)],
            &[is(1, libc::F_GETLK as u32)],
            &[is(1, libc::F_SETLK as u32)],
            &[is(1, libc::F_SETLKW as u32)],
            &[is(1, libc::F_OFD_GETLK as u32)],
            &[is(1, libc::F_OFD_SETLK as u32)],
            &[is(1, libc::F_OFD_SETLKW as u32)],
            &[is(1, libc::F_GETPIPE_SZ as u32)],
        ],
        "copies, flags and the record locks of databases; no owner, signal, lease, notification, seal, pipe size"
    ),
    call!(SYS_pipe2, "pipes within the process tree"),
    call!(SYS_eventfd2, "wake-ups between threads"),
    call!(SYS_ppoll, "waiting for descriptors"),
    call!(SYS_pselect6, "waiting for descriptors"),
    call!(SYS_epoll_create1, "waiting for many descriptors"),
    call!(SYS_epoll_ctl, "waiting for many descriptors"),
    call!(SYS_epoll_pwait, "waiting for many descriptors"),
];

/// Commands to open descriptors.
pub(super) const COMMANDS: &[Call] = &[call!(
    SYS_ioctl,
    &[
        &[is(1, libc::TCGETS as u32)],
        &[is(1, 0x802c_542a)],
        &[is(1, libc::TIOCGWINSZ as u32)],
        &[is(1, libc::FIONREAD as u32)],
        &[is(1, libc::FIONBIO as u32)],
        &[is(1, libc::FIOCLEX as u32)],
        &[is(1, libc::FIONCLEX as u32)],
        &[is(1, 0x4004_9409)],
    ],
    "is it a terminal (TCGETS, TCGETS2, TIOCGWINSZ), bytes waiting, non-blocking, close on exec, reflink (FICLONE)"
)];

/// In place of [`COMMANDS`] where there is a terminal of one's own. Never: input for it (`TIOCSTI`), other drivers for it
/// (`TIOCSETD`), the console (`TIOCLINUX`, `TIOCCONS`).
pub(super) const TERMINAL_COMMANDS: &[Call] = &[call!(
    SYS_ioctl,
    &[
        &[is(1, libc::TCGETS as u32)],
        &[is(1, 0x802c_542a)],
        &[is(1, libc::TIOCGWINSZ as u32)],
        &[is(1, libc::FIONREAD as u32)],
        &[is(1, libc::FIONBIO as u32)],
        &[is(1, libc::FIOCLEX as u32)],
        &[is(1, libc::FIONCLEX as u32)],
        &[is(1, 0x4004_9409)],
        &[is(1, libc::TCSETS as u32)],
        &[is(1, libc::TCSETSW as u32)],
        &[is(1, libc::TCSETSF as u32)],
        &[is(1, 0x402c_542b)],
        &[is(1, 0x402c_542c)],
        &[is(1, 0x402c_542d)],
        &[is(1, libc::TCSBRK as u32)],
        &[is(1, libc::TCXONC as u32)],
        &[is(1, libc::TCFLSH as u32)],
        &[is(1, libc::TIOCOUTQ as u32)],
        &[is(1, libc::TIOCGPGRP as u32)],
        &[is(1, libc::TIOCSPGRP as u32)],
        &[is(1, libc::TIOCGSID as u32)],
        &[is(1, libc::TIOCSWINSZ as u32)],
        &[is(1, libc::TIOCNOTTY as u32)],
    ],
    "those of COMMANDS; modes (TCSETS, TCSETS2 and variants), waiting for output, flow and flushing, the group of processes in \
     front, its session, its size, letting go of it"
)];

/// Sockets that somebody else made or that lead to oneself.
pub(super) const SOCKETS: &[Call] = &[
    call!(
        SYS_socketpair,
        &[
            &[is(0, AF_UNIX), masked(1, SOCK_TYPE, libc::SOCK_STREAM as u32)],
            &[is(0, AF_UNIX), masked(1, SOCK_TYPE, libc::SOCK_SEQPACKET as u32)],
        ],
        "a pair of own ends (event loops); no datagrams, which could be sent to a socket file"
    ),
    call!(SYS_sendto, &[&[null(4)]], "data, without naming a peer"),
    call!(SYS_recvfrom, "data"),
    call!(SYS_sendmsg, "data and descriptors"),
    call!(SYS_recvmsg, "data and descriptors"),
    call!(SYS_shutdown, "end of one direction"),
    call!(SYS_getsockopt, &[&[is(1, libc::SOL_SOCKET as u32)]], "type, error and time-outs of a socket"),
    call!(
        SYS_setsockopt,
        &[
            &[is(1, libc::SOL_SOCKET as u32), is(2, libc::SO_RCVTIMEO as u32)],
            &[is(1, libc::SOL_SOCKET as u32), is(2, libc::SO_SNDTIMEO as u32)],
        ],
        "time-outs only"
    ),
    call!(SYS_getsockname, "event loops ask what they were given"),
    call!(SYS_getpeername, "event loops ask what they were given"),
];

/// Finding and reading files; the file tree and Landlock say which.
pub(super) const FILES: &[Call] = &[
    call!(
        SYS_openat,
        &[&[masked(2, CREATING, 0)], &[masked(3, SET_ID, 0)]],
        "opening, creating; never with a set-id bit"
    ),
    call!(SYS_fstat, "facts about a file"),
    call!(SYS_newfstatat, "facts about a file"),
    call!(SYS_statx, "facts about a file"),
    call!(SYS_statfs, "free space"),
    call!(SYS_fstatfs, "free space"),
    call!(SYS_faccessat, "may I read this"),
    call!(SYS_faccessat2, "may I read this"),
    call!(SYS_readlinkat, "where a link leads"),
    call!(SYS_getdents64, "listing a directory"),
    call!(SYS_getcwd, "working directory"),
    call!(SYS_fadvise64, "read-ahead"),
];

/// Opening below a directory, which a filter cannot look into; only for hosts, whose file tools rest on it.
pub(super) const OPEN_BENEATH: &[Call] = &[call!(SYS_openat2, "opening that cannot leave a root")];

/// Changing files; needs a writable root or scratch space.
pub(super) const WRITING: &[Call] = &[
    call!(SYS_fsync, "durable writes"),
    call!(SYS_fdatasync, "durable writes"),
    call!(SYS_ftruncate, "cutting a file"),
    call!(SYS_unlinkat, "deleting"),
    call!(SYS_mkdirat, "new directories"),
    call!(SYS_renameat, "renaming"),
    call!(SYS_renameat2, "renaming without overwriting"),
    call!(SYS_linkat, "hard links, for atomic creation"),
    call!(SYS_symlinkat, "symbolic links"),
    call!(SYS_fchmod, &[&[masked(1, SET_ID, 0)]], "modes without set-id bits"),
    call!(SYS_fchmodat, &[&[masked(2, SET_ID, 0)]], "modes without set-id bits"),
    call!(SYS_fchmodat2, &[&[masked(2, SET_ID, 0)]], "modes without set-id bits"),
    call!(SYS_fchown, "keeps an owner; nobody here may give files away"),
    call!(SYS_utimensat, "keeps a time stamp"),
    call!(SYS_copy_file_range, "copying within the kernel"),
    call!(SYS_sendfile, "copying within the kernel"),
    call!(SYS_umask, "modes of new files"),
    call!(SYS_flock, "locks of build tools; two jails with one root could signal each other with it"),
];

/// Blocks for a file, without writing them. Where a run may add only so much to a disk it is not to be had: it takes no
/// time, whatever the size, and a file size limit does not hold for blocks beyond the end.
pub(super) const ALLOCATION: &[Call] = &[call!(SYS_fallocate, "space for a file")];

/// Keeping what belongs to a file that is replaced by a newer one.
pub(super) const KEEP_ATTRIBUTES: &[Call] = &[
    call!(SYS_flistxattr, "of an open file"),
    call!(SYS_fgetxattr, "of an open file"),
    call!(
        SYS_fsetxattr,
        "of an open file: access lists, labels; those that give rights need rights to be set"
    ),
];

/// Changing files, for programs of all ages.
pub(super) const WRITING_MORE: &[Call] = &[
    call!(SYS_truncate, "cutting a file by name"),
    call!(SYS_fchownat, "keeps an owner; nobody here may give files away"),
    call!(SYS_chdir, "working directory"),
    call!(SYS_fchdir, "working directory"),
    call!(SYS_mknodat, &[&[masked(2, libc::S_IFMT, libc::S_IFIFO)]], "named pipes, no devices"),
];

/// Memory. Writable and executable memory stays possible: engines that compile need it, and it gives no right.
pub(super) const MEMORY: &[Call] = &[
    call!(SYS_mmap, "memory, files in memory"),
    call!(SYS_munmap, "memory"),
    call!(SYS_mprotect, "memory"),
    call!(SYS_mremap, "memory"),
    call!(SYS_madvise, "memory"),
    call!(SYS_brk, "memory"),
    call!(SYS_msync, "files in memory"),
];

/// Threads of this process.
pub(super) const THREADS: &[Call] = &[
    call!(SYS_futex, "locks"),
    call!(SYS_set_robust_list, "locks of a thread that dies"),
    call!(SYS_rseq, "per-processor data of the C library"),
    call!(SYS_membarrier, "locks"),
    call!(SYS_sched_yield, "giving way"),
    call!(
        SYS_sched_getaffinity,
        &[&[is(0, 0)]],
        "own number of processors; with another pid it would tell who lives"
    ),
    call!(SYS_gettid, "own number"),
    call!(SYS_getpid, "own number"),
    call!(SYS_exit, "end of a thread"),
    call!(SYS_exit_group, "end of the process"),
    call!(SYS_restart_syscall, "the kernel resumes a wait through it"),
];

/// Reading extended attributes: `ls -l`, `cp -a` and Python's `shutil` complain about any error but "not supported".
pub(super) const ATTRIBUTES: &[Call] = &[
    call!(SYS_getxattr, "of a file that is visible anyway"),
    call!(SYS_lgetxattr, "of a link that is visible anyway"),
    call!(SYS_fgetxattr, "of an open file"),
    call!(SYS_listxattr, "of a file that is visible anyway"),
    call!(SYS_llistxattr, "of a link that is visible anyway"),
    call!(SYS_flistxattr, "of an open file"),
];

/// Starting threads, not processes.
pub(super) const THREAD_START: &[Call] = &[call!(
    SYS_clone,
    &[&[masked(0, NAMESPACES | CLONE_ODD | CLONE_THREAD, CLONE_THREAD)]],
    "threads of this process; no process, no namespace"
)];

/// Time.
pub(super) const TIME: &[Call] = &[
    call!(SYS_clock_gettime, "clocks"),
    call!(SYS_clock_getres, "clocks"),
    call!(SYS_gettimeofday, "clocks"),
    call!(SYS_nanosleep, "sleeping"),
    call!(SYS_clock_nanosleep, "sleeping"),
    call!(SYS_timerfd_create, "time-outs of event loops"),
    call!(SYS_timerfd_settime, "time-outs of event loops"),
];

/// Handling signals.
pub(super) const SIGNALS: &[Call] = &[
    call!(SYS_rt_sigaction, "handlers"),
    call!(SYS_rt_sigprocmask, "masks"),
    call!(SYS_rt_sigreturn, "the kernel returns from handlers through it"),
    call!(SYS_sigaltstack, "stack for handlers"),
];

/// Sending signals to oneself: how `abort` ends a process.
pub(super) const SIGNAL_SELF: &[Call] =
    &[call!(SYS_tgkill, &[&[own_pid(0)]], "abort: a signal to a thread of this process only")];

/// Harmless questions.
pub(super) const QUESTIONS: &[Call] = &[
    call!(SYS_getuid, "who am I"),
    call!(SYS_geteuid, "who am I"),
    call!(SYS_getgid, "who am I"),
    call!(SYS_getegid, "who am I"),
    call!(SYS_getrandom, "random bytes"),
    call!(SYS_uname, "kernel version"),
    call!(SYS_sysinfo, "memory of the machine"),
    call!(SYS_getrusage, "own use"),
];

/// A process's own properties, as a plugin host needs them.
pub(super) const HOST_PROCESS: &[Call] = &[
    call!(
        SYS_prctl,
        &[
            &[is(0, libc::PR_SET_NAME as u32)],
            &[is(0, libc::PR_GET_NAME as u32)],
            &[is(0, libc::PR_SET_VMA as u32)],
        ],
        "names of threads and of memory"
    ),
    call!(SYS_prlimit64, &[&[is(0, 0), null(2)]], "reading own limits (stack size of a thread)"),
];

/// Further questions of interpreters and commands.
pub(super) const JAIL_QUESTIONS: &[Call] = &[
    call!(SYS_getppid, "who started me"),
    call!(SYS_getpgid, "process group"),
    call!(SYS_getsid, "session"),
    call!(SYS_getgroups, "who am I"),
    call!(SYS_getresuid, "who am I"),
    call!(SYS_getresgid, "who am I"),
    call!(SYS_capget, "what may I; the answer is nothing"),
    call!(SYS_times, "own use"),
    call!(SYS_getpriority, "own priority"),
    call!(SYS_getcpu, "which processor"),
    call!(SYS_sched_getparam, "start of threads in some languages"),
    call!(SYS_sched_getscheduler, "start of threads in some languages"),
    call!(SYS_sched_get_priority_max, "start of threads in some languages"),
    call!(SYS_sched_get_priority_min, "start of threads in some languages"),
];

/// What every program in a jail may do with itself.
pub(super) const JAIL_PROCESS: &[Call] = &[
    call!(SYS_execve, "starts the program; only what is bound and executable can be started"),
    call!(SYS_set_tid_address, "start of a program"),
    call!(SYS_prlimit64, &[&[is(0, 0)]], "own limits, which can only be lowered; never those of process 1"),
    call!(SYS_sched_setaffinity, &[&[is(0, 0)]], "own processors"),
    call!(SYS_kill, "own tree only: no other process is in this pid namespace"),
    call!(SYS_tgkill, "own tree only"),
    call!(SYS_tkill, "own tree only"),
];

/// Alarms, and waiting for what a process itself began.
pub(super) const CLOCKS_AND_WAITS: &[Call] = &[
    call!(SYS_rt_sigpending, "waiting for signals"),
    call!(SYS_rt_sigsuspend, "waiting for signals"),
    call!(SYS_rt_sigtimedwait, "waiting for signals"),
    call!(SYS_signalfd4, "waiting for signals"),
    call!(SYS_setitimer, "alarms"),
    call!(SYS_getitimer, "alarms"),
    call!(SYS_timer_create, "alarms"),
    call!(SYS_timer_settime, "alarms"),
    call!(SYS_timer_gettime, "alarms"),
    call!(SYS_timer_getoverrun, "alarms"),
    call!(SYS_timer_delete, "alarms"),
    call!(SYS_timerfd_gettime, "time-outs of event loops"),
    call!(SYS_epoll_pwait2, "waiting for many descriptors"),
    call!(SYS_close_range, "closing before a program starts"),
];

/// What every program in a jail may say about itself.
pub(super) const JAIL_PROPERTIES: &[Call] = &[call!(
    SYS_prctl,
    &[
        &[is(0, libc::PR_SET_NAME as u32)],
        &[is(0, libc::PR_GET_NAME as u32)],
        &[is(0, libc::PR_SET_VMA as u32)],
        &[is(0, libc::PR_SET_PDEATHSIG as u32)],
        &[is(0, libc::PR_GET_PDEATHSIG as u32)],
        &[is(0, libc::PR_GET_DUMPABLE as u32)],
        &[is(0, libc::PR_SET_DUMPABLE as u32)],
        &[is(0, libc::PR_SET_CHILD_SUBREAPER as u32)],
        &[is(0, libc::PR_GET_CHILD_SUBREAPER as u32)],
        &[is(0, libc::PR_GET_NO_NEW_PRIVS as u32)],
        &[is(0, libc::PR_SET_NO_NEW_PRIVS as u32)],
        &[is(0, libc::PR_GET_SECCOMP as u32)],
        &[is(0, libc::PR_CAPBSET_READ as u32)],
    ],
    "names, own death signal and dumpable flag, questions; whoever survives its parent still dies with the jail"
)];
/// What code without namespaces may do with itself.
pub(super) const ALONE_PROCESS: &[Call] = &[
    call!(SYS_execve, "starts the program; only what Landlock lets it execute can be started"),
    call!(SYS_set_tid_address, "start of a program"),
    call!(
        SYS_prctl,
        &[
            &[is(0, libc::PR_SET_NAME as u32)],
            &[is(0, libc::PR_GET_NAME as u32)],
            &[is(0, libc::PR_SET_VMA as u32)],
            &[is(0, libc::PR_GET_PDEATHSIG as u32)],
            &[is(0, libc::PR_GET_DUMPABLE as u32)],
            &[is(0, libc::PR_GET_NO_NEW_PRIVS as u32)],
            &[is(0, libc::PR_SET_NO_NEW_PRIVS as u32)],
            &[is(0, libc::PR_GET_SECCOMP as u32)],
            &[is(0, libc::PR_CAPBSET_READ as u32)],
        ],
        "names and questions; its death signal stays"
    ),
    call!(SYS_prlimit64, &[&[is(0, 0)]], "own limits, which can only be lowered"),
    call!(SYS_sched_setaffinity, &[&[is(0, 0)]], "own processors"),
    call!(SYS_kill, &[&[own_pid(0)]], "itself; Landlock would stop other signals, too"),
    call!(SYS_umask, "modes of new files, of which there are none"),
];

/// Starting and awaiting processes.
pub(super) const PROCESSES: &[Call] = &[
    call!(
        SYS_clone,
        &[&[masked(0, NAMESPACES | CLONE_ODD, 0)]],
        "processes and threads; no namespace, no tracing"
    ),
    call!(SYS_wait4, "awaiting children"),
    call!(SYS_waitid, "awaiting children"),
    call!(SYS_setsid, "sessions"),
    call!(SYS_setpgid, "process groups of shells"),
    call!(SYS_pidfd_open, "awaiting children; shows own tree only"),
    call!(SYS_pidfd_send_signal, "signals; own tree only"),
];

/// Making a jail: what a zygote does for each child, with rights that it has in the child's new namespaces only.
pub(super) const NESTING: &[Call] = &[
    call!(
        SYS_prctl,
        &[
            &[is(0, libc::PR_SET_NAME as u32)],
            &[is(0, libc::PR_GET_NAME as u32)],
            &[is(0, libc::PR_SET_VMA as u32)],
            &[is(0, libc::PR_SET_PDEATHSIG as u32)],
            &[is(0, libc::PR_GET_PDEATHSIG as u32)],
            &[is(0, libc::PR_SET_DUMPABLE as u32)],
            &[is(0, libc::PR_GET_DUMPABLE as u32)],
            &[is(0, libc::PR_SET_NO_NEW_PRIVS as u32)],
            &[is(0, libc::PR_GET_NO_NEW_PRIVS as u32)],
            &[is(0, libc::PR_CAPBSET_READ as u32)],
            &[is(0, libc::PR_CAPBSET_DROP as u32)],
            &[is(0, libc::PR_GET_SECUREBITS as u32)],
            &[is(0, libc::PR_SET_SECUREBITS as u32)],
            &[is(0, libc::PR_CAP_AMBIENT as u32)],
            &[is(0, libc::PR_SET_CHILD_SUBREAPER as u32)],
            &[is(0, libc::PR_GET_CHILD_SUBREAPER as u32)],
            &[is(0, libc::PR_GET_SECCOMP as u32)],
        ],
        "instead of the list in JAIL_PROPERTIES: capabilities and securebits are given up through it, too"
    ),
    call!(SYS_clone3, "processes in new namespaces"),
    call!(SYS_wait4, "process 1 of a child reaps"),
    call!(SYS_setsid, "own session"),
    call!(SYS_mount, "making mounts private"),
    call!(SYS_fsopen, "own scratch space and /proc"),
    call!(SYS_fsconfig, "own scratch space and /proc"),
    call!(SYS_fsmount, "own scratch space and /proc"),
    call!(SYS_move_mount, "own scratch space and /proc"),
    call!(SYS_sethostname, "name of the jail"),
    call!(SYS_setresuid, "becoming the payload's user"),
    call!(SYS_setresgid, "becoming the payload's group"),
    call!(SYS_capset, "giving up capabilities"),
    call!(SYS_seccomp, "the child's own filter"),
    call!(SYS_landlock_create_ruleset, "the child's own rules"),
    call!(SYS_landlock_add_rule, "the child's own rules"),
    call!(SYS_landlock_restrict_self, "the child's own rules"),
];

/// All that an interpreter in the launcher's image needs.
pub(super) const ENGINE: &[Call] = &[
    call!(SYS_read, "standard input and the job socket"),
    call!(SYS_write, "standard output, standard error and the job socket"),
    call!(SYS_close, "the pipe that tells that the set-up is done, the job socket"),
    call!(SYS_close_range, "all but one at its end"),
    call!(SYS_ppoll, "waiting for the job socket until a deadline"),
    call!(
        SYS_mmap,
        &[&[masked(2, EXECUTABLE, 0), masked(3, ANONYMOUS, ANONYMOUS)]],
        "memory, never executable"
    ),
    call!(SYS_munmap, "memory"),
    call!(SYS_mprotect, &[&[masked(2, EXECUTABLE, 0)]], "heaps of the allocator, never executable"),
    call!(SYS_mremap, "memory"),
    call!(SYS_madvise, "memory"),
    call!(SYS_brk, "memory"),
    call!(SYS_futex, "locks of the C library"),
    call!(SYS_getrandom, "random bytes"),
    call!(SYS_clock_gettime, "clocks, processor time"),
    call!(SYS_gettimeofday, "clocks"),
    call!(SYS_clock_nanosleep, "sleeping"),
    call!(SYS_rt_sigaction, "abort: default action"),
    call!(SYS_rt_sigprocmask, "abort: masks"),
    call!(SYS_rt_sigreturn, "the kernel returns from handlers through it"),
    call!(SYS_sigaltstack, "the end of a thread gives its stack for handlers back"),
    call!(SYS_getpid, "abort: own number"),
    call!(SYS_gettid, "abort: own number"),
    call!(SYS_tgkill, "abort; the only other process here is process 1, which takes no signals"),
    call!(SYS_exit, "end of the process"),
    call!(SYS_exit_group, "end of the process"),
    call!(SYS_restart_syscall, "the kernel resumes a wait through it"),
];

/// Older twins of the calls above that exist on x86-64 only.
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64 {
    use super::{CREATING, Call, SET_ID, masked, numbers};

    /// For every process.
    pub(in super::super) const ALL: &[Call] = &[
        call!(
            SYS_open,
            &[&[masked(1, CREATING, 0)], &[masked(2, SET_ID, 0)]],
            "opening, creating; never with a set-id bit"
        ),
        call!(SYS_poll, "waiting for descriptors"),
        call!(SYS_epoll_wait, "waiting for many descriptors"),
        call!(SYS_access, "may I read this"),
        call!(SYS_readlink, "where a link leads"),
        call!(SYS_stat, "facts about a file"),
        call!(SYS_lstat, "facts about a file"),
        call!(SYS_pause, "sleeping"),
        call!(SYS_time, "clocks"),
    ];

    /// With [`super::WRITING`].
    pub(in super::super) const WRITING: &[Call] = &[
        call!(SYS_unlink, "deleting"),
        call!(SYS_rmdir, "deleting"),
        call!(SYS_mkdir, "new directories"),
        call!(SYS_rename, "renaming"),
    ];

    /// With [`super::ENGINE`].
    pub(in super::super) const ENGINE: &[Call] = &[call!(SYS_poll, "waiting for the job socket")];

    /// For programs of all ages in a jail.
    pub(in super::super) const JAIL: &[Call] = &[
        call!(SYS_creat, &[&[masked(1, SET_ID, 0)]], "creating; never with a set-id bit"),
        call!(SYS_link, "hard links"),
        call!(SYS_symlink, "symbolic links"),
        call!(SYS_chmod, &[&[masked(1, SET_ID, 0)]], "modes without set-id bits"),
        call!(SYS_chown, "keeps an owner; nobody here may give files away"),
        call!(SYS_lchown, "keeps an owner; nobody here may give files away"),
        call!(SYS_utime, "keeps a time stamp"),
        call!(SYS_utimes, "keeps a time stamp"),
        call!(SYS_futimesat, "keeps a time stamp"),
    ];

    /// For programs of all ages that change no file.
    pub(in super::super) const ALONE: &[Call] = &[
        call!(SYS_dup2, "copy of a descriptor to a number"),
        call!(SYS_pipe, "pipes within the process tree"),
        call!(SYS_select, "waiting for descriptors"),
        call!(SYS_eventfd, "wake-ups between threads"),
        call!(SYS_epoll_create, "waiting for many descriptors"),
        call!(SYS_alarm, "alarms"),
        call!(SYS_getrlimit, "own limits"),
        call!(SYS_setrlimit, "own limits, which can only be lowered"),
        call!(SYS_getpgrp, "process group"),
        call!(SYS_arch_prctl, "thread data of a program that starts"),
    ];

    /// With [`super::PROCESSES`].
    pub(in super::super) const PROCESSES: &[Call] =
        &[call!(SYS_fork, "processes"), call!(SYS_vfork, "processes")];

    /// With [`super::REFUSED`].
    pub(in super::super) const REFUSED: &[Call] = &[
        call!(SYS_modify_ldt, "memory segments"),
        call!(SYS_iopl, "hardware"),
        call!(SYS_ioperm, "hardware"),
        call!(SYS_inotify_init, "watching what others do to shared files"),
        call!(SYS_signalfd, "an older twin nobody needs"),
        call!(SYS_mknod, "devices"),
    ];
}

/// On other architectures there are no older twins.
#[cfg(not(target_arch = "x86_64"))]
pub(super) mod x86_64 {
    use super::Call;

    pub(in super::super) const ALL: &[Call] = &[];
    pub(in super::super) const WRITING: &[Call] = &[];
    pub(in super::super) const ENGINE: &[Call] = &[];
    pub(in super::super) const ALONE: &[Call] = &[];
    pub(in super::super) const JAIL: &[Call] = &[];
    pub(in super::super) const PROCESSES: &[Call] = &[];
    pub(in super::super) const REFUSED: &[Call] = &[];
}

/// Calls that a host answers with "no such call", so that the C library uses their older twins.
pub(super) const HOST_ABSENT: &[Call] = &[
    call!(SYS_clone3, "its flags lie in memory, where a filter cannot look; clone is used instead"),
    call!(SYS_seccomp, "no further filters: one with a listener could answer calls"),
];
