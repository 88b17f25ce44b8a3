//! Processes, namespaces and signals.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::{check, last_errno};

/// Namespaces to create, as `CLONE_NEW*` bits.
pub(crate) type Namespaces = UnshareFlags;

/// The flag of `clone3(2)`, which libc has as a number of 32 bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Proof that this process had one thread when asked; it must not start another.
///
/// A cloned child of such a process is a full copy in which no lock is held by a thread that is not there.
pub(crate) struct SingleThreaded(PhantomData<*mut ()>);

impl SingleThreaded {
    /// Asks the kernel.
    pub(crate) fn check() -> Result<Self, Errno> {
        let status = std::fs::read_to_string("/proc/self/status")
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
        if threads.map(str::trim) == Some("1") { Ok(Self(PhantomData)) } else { Err(Errno::BUSY) }
    }
}

/// Which side of [`clone`] this is.
pub(crate) enum Clone {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// Process id of the child.
        pid: Pid,
        /// Its pidfd, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// `clone3(2)` into new namespaces, without shared memory; the child ends with `SIGCHLD`. Where a filter hides that
/// call, as containers do, `clone(2)`.
///
/// C library fork handlers do not run. The child must leave by [`exit`] or `execve` and must never return into
/// the loop of its parent, unless that loop is made for it (a zygote's).
pub(crate) fn clone(proof: &SingleThreaded, namespaces: Namespaces) -> Result<Clone, Errno> {
    clone_into(proof, namespaces, None)
}

/// [`clone`] into a control group, which only `clone3(2)` of Linux 5.7 or newer can.
pub(crate) fn clone_into(
    _proof: &SingleThreaded,
    namespaces: Namespaces,
    group: Option<BorrowedFd<'_>>,
) -> Result<Clone, Errno> {
    let mut pidfd: RawFd = -1;
    let into_group = if group.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = libc::clone_args {
        flags: u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64 | into_group,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| group.as_raw_fd().cast_unsigned().into()),
    };
    // SAFETY: `args` is a live `struct clone_args` of the given size, and `pidfd` is writable for the whole call.
    // Without CLONE_VM the child gets a copy of all memory and goes on on the same stack; this process has one
    // thread (the proof), so the copy holds no lock of an absent thread.
    let result =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) });
    let result = match result {
        Err(Errno::NOSYS) if group.is_none() => {
            let flags = args.flags | args.exit_signal;
            // SAFETY: as above; without a stack of its own the child goes on on the copy of this one. The third argument
            // is where this call stores the pidfd, on every architecture; the others are null.
            check(unsafe {
                libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize)
            })?
        }
        result => result?,
    };
    if result == 0 {
        return Ok(Clone::Child);
    }
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw).ok_or(Errno::CHILD)?;
    // SAFETY: the kernel has just stored a new descriptor here, owned by nobody else.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Clone::Parent { pid, pidfd })
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(namespaces: Namespaces) -> Result<(), Errno> {
    if namespaces.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the contract forbids threads that see each other's descriptors vanish, which needs
    // `UnshareFlags::FILES`; refused above.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Whether `unshare(2)` fails although it is asked for nothing: a seccomp filter answers instead of the kernel.
pub(crate) fn unshare_is_filtered() -> bool {
    unshare(Namespaces::empty()).is_err()
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

/// A child that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Which one.
    pub(crate) pid: Pid,
    /// How.
    pub(crate) status: ExitStatus,
    /// Processor time of it and of the descendants that were waited for.
    pub(crate) cpu: Duration,
    /// Largest resident set of any one of them in bytes.
    pub(crate) peak_resident_bytes: u64,
}

/// `wait4(2)`: a child that has ended, all children when `pid` is `None`; `None` when none has (`WNOHANG`).
pub(crate) fn wait(pid: Option<Pid>, options: WaitOptions) -> Result<Option<Ended>, Errno> {
    let which = pid.map_or(-1, |pid| pid.as_raw_nonzero().get());
    let mut status = 0;
    // SAFETY: `rusage` is plain integers; all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable values of the types that the call expects.
        let ended =
            unsafe { libc::wait4(which, &raw mut status, options.bits().cast_signed(), &raw mut usage) };
        match ended {
            0 => return Ok(None),
            -1 if last_errno() == Errno::INTR => {}
            -1 => return Err(last_errno()),
            ended => {
                let pid = Pid::from_raw(ended).ok_or(Errno::CHILD)?;
                return Ok(Some(Ended {
                    pid,
                    status: if libc::WIFSIGNALED(status) {
                        ExitStatus::Signalled(libc::WTERMSIG(status))
                    } else {
                        ExitStatus::Exited(libc::WEXITSTATUS(status))
                    },
                    cpu: cpu_time(&usage),
                    peak_resident_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
                }));
            }
        }
    }
}

/// Processor time of all children that were waited for, their descendants included.
pub(crate) fn children_cpu() -> Result<Duration, Errno> {
    // SAFETY: `rusage` is plain integers; all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable `rusage`.
    check(libc::c_long::from(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) }))?;
    Ok(cpu_time(&usage))
}

/// Processor time that a child has used so far, all its threads together.
pub(crate) fn cpu_of(pid: Pid) -> Result<Duration, Errno> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live, writable clock id.
    match unsafe { libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) } {
        0 => {}
        error => return Err(Errno::from_raw_os_error(error)),
    }
    // SAFETY: the pointer is to a live, writable `timespec`.
    check(libc::c_long::from(unsafe { libc::clock_gettime(clock, &raw mut time) }))?;
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Ok(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)))
}

/// Ends this process at once: no destructors, no exit handlers, which after [`clone`] belong to the parent.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Keeps the C library from giving each thread a heap of its own, see `M_ARENA_MAX` in `mallopt(3)`.
pub(crate) fn limit_heaps(count: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes integers; the process has one thread, see [`SingleThreaded`]. On failure memory is only larger.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, count);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}

/// Has the kernel run a thread only when no other one wants its processor, or nearly so: `SCHED_IDLE`.
pub(crate) fn make_idle(thread: Pid) -> Result<(), Errno> {
    let parameter = libc::sched_param { sched_priority: 0 };
    let number = thread.as_raw_nonzero().get();
    // SAFETY: the pointer is to a live parameter that is only read. By system call, because musl has none.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, number, libc::SCHED_IDLE, &raw const parameter)
    })
    .map(drop)
}

/// Ignores a signal.
pub(crate) fn ignore_signal(signal: Signal) -> Result<(), Errno> {
    set_signal(signal.as_raw(), libc::SIG_IGN)
}

/// Gives one signal its default action.
pub(crate) fn default_signal(signal: Signal) -> Result<(), Errno> {
    set_signal(signal.as_raw(), libc::SIG_DFL)
}

/// Gives every signal its default action and unblocks it, so that a program starts as if from a shell.
pub(crate) fn default_signals() -> Result<(), Errno> {
    // `struct sigaction` of the kernel, all zeroes: default action, no flags, empty mask. By system call, because the
    // C library keeps some signals for itself and would leave them as they were inherited.
    let default = [0_u64; 4];
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: `default` is live and as large as the kernel's `struct sigaction`; the old one is not asked for. A
        // signal mask has 8 bytes.
        check(unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8)
        })?;
    }
    let none = 0_u64;
    // SAFETY: `none` is a live mask of 8 bytes that is only read; the old mask is not asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null::<u64>(),
            8,
        )
    })
    .map(drop)
}

/// Sets the host name of this UTS namespace.
pub(crate) fn set_host_name(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length describe a live string that is only read.
    let result = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    check(libc::c_long::from(result)).map(drop)
}

fn set_signal(signal: libc::c_int, action: libc::sighandler_t) -> Result<(), Errno> {
    // SAFETY: the action is `SIG_IGN` or `SIG_DFL`, so no handler of ours can run.
    if unsafe { libc::signal(signal, action) } == libc::SIG_ERR { Err(last_errno()) } else { Ok(()) }
}

fn cpu_time(usage: &libc::rusage) -> Duration {
    let time = |value: libc::timeval| {
        Duration::from_secs(u64::try_from(value.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or(0))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
