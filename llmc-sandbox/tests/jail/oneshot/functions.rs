//! Functions of the launcher's own image as payloads: nothing is executed, and nothing is there.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use llmc_sandbox::jail::{
    CPU_USED_UP, ExitStatus, Function, Handover, Launcher, Limit, MEMORY_USED_UP, Payload, TIME_USED_UP,
};
use llmc_sandbox::profile::ENGINE;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{Finished, Request, launcher, shell};
use crate::attack::{self, Log, pointer, raw};

fn request(function: Function) -> Request {
    let mut request = super::request(&ENGINE, "/nothing", &[]);
    request.spec.payload = Payload::Function(function);
    request
}

/// What takes a job and has nothing to get ready.
macro_rules! function {
    ($code:expr) => {
        request(|| Box::new($code))
    };
}

/// How a run begins: in a jail of its own, or in one that waited for it.
const WAYS: [fn(Request, &mut Launcher) -> Finished; 2] = [Request::run, Request::run_waiting];

/// Writes to standard output without the locks and buffers of the launcher's copy.
fn print(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let count = rustix::io::write(std::io::stdout(), rest).unwrap();
        rest = &rest[count..];
    }
}

pub(super) fn a_function_computes_and_talks() {
    let mut launcher = launcher();
    WAYS.iter().for_each(|run| computes_and_talks(*run, &mut launcher));
}

fn computes_and_talks(run: fn(Request, &mut Launcher) -> Finished, launcher: &mut Launcher) {
    let mut request = function!(|inside| {
        // A file reads and writes; a socket would receive and send.
        let mut job = std::fs::File::from(inside.job.unwrap());
        let mut question = [0; 5];
        job.read_exact(&mut question).unwrap();
        // Enough to make the allocator ask for more, and to give it back.
        let sum: u64 = (0..1_000_000).collect::<Vec<u64>>().iter().sum();
        job.write_all(format!("{}-{sum}", String::from_utf8_lossy(&question)).as_bytes()).unwrap();
        let typed = rustix::io::read(std::io::stdin(), &mut [0; 8][..]).unwrap();
        let limits = inside.limits;
        print(&format!("{typed} {} {} {}", limits.processes, limits.file_bytes, limits.memory_bytes));
        7
    });
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    request.spec.job = Some(theirs.into());
    ours.write_all(b"hello").unwrap();
    let done = run(request, launcher);
    assert_eq!((done.ending.status, done.ending.limit), (ExitStatus::Exited(7), None), "{}", done.stderr);
    assert_eq!(done.stdout, format!("0 1 0 {}", 256 << 20));
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello-499999500000");

    let (stdin, mut typed) = std::io::pipe().unwrap();
    let mut request = function!(|_| {
        let mut typed = [0; 8];
        let count = rustix::io::read(std::io::stdin(), &mut typed[..]).unwrap();
        print(&String::from_utf8_lossy(&typed[..count]));
        0
    });
    request.spec.stdin = Some(stdin.into());
    typed.write_all(b"typed").unwrap();
    assert_eq!(run(request, launcher).stdout, "typed");
}

pub(super) fn what_nobody_hands_a_job_to_ends_without_one() {
    let mut launcher = launcher();
    let Request { spec, mut stdout, .. } = function!(|_| {
        print("begun");
        0
    });
    // More than there are slots.
    for _ in 0..20 {
        launcher.park(&spec).unwrap().end(&mut launcher);
    }
    while !launcher.tidy() {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(spec);
    let mut output = String::new();
    stdout.read_to_string(&mut output).unwrap();
    assert_eq!(output, "");
    let program = shell("true");
    let refused = launcher.park(&program.spec).unwrap_err().to_string();
    assert!(refused.contains("only functions"), "{refused}");
}

pub(super) fn a_jail_that_ended_while_it_waited_leaves_its_job_to_another() {
    let mut launcher = launcher();
    let Request { spec, .. } = function!(|_| 0);
    let parked = launcher.park(&spec).unwrap();
    parked.kill();
    let job = Handover {
        stdin: None,
        stdout: spec.stdout.as_fd(),
        stderr: spec.stderr.as_fd(),
        job: None,
        limits: spec.limits,
    };
    parked.begin(&mut launcher, &job).unwrap_err();
    assert_eq!(function!(|_| 3).run(&mut launcher).ending.status, ExitStatus::Exited(3));
}

pub(super) fn a_run_of_a_function_is_over_when_it_is_told_so() {
    let mut launcher = launcher();
    // Many more than there are slots, each begun as soon as the one before is over.
    for number in 0..40 {
        let Request { spec, mut stdout, .. } = function!(|_| {
            print("told");
            7
        });
        let jail = launcher.spawn(&spec).unwrap_or_else(|error| panic!("{number}: {error}"));
        drop(spec);
        rustix::event::poll(&mut [PollFd::new(&jail.end_of_run(), PollFlags::IN)], None).unwrap();
        let ending = jail.finish(&mut launcher);
        assert_eq!((ending.status, ending.limit), (ExitStatus::Exited(7), None), "{number}");
        let mut told = String::new();
        stdout.read_to_string(&mut told).unwrap();
        assert_eq!(told, "told");
        assert!(launcher.has_room(), "{number}");
    }
    while !launcher.tidy() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // One that was killed has told nothing: then its processes are waited for.
    let mut request = function!(|_| {
        print("sleeps");
        std::thread::sleep(Duration::from_secs(1000));
        0
    });
    let jail = launcher.spawn(&request.spec).unwrap();
    let mut word = [0; 6];
    request.stdout.read_exact(&mut word).unwrap();
    jail.kill();
    rustix::event::poll(&mut [PollFd::new(&jail.end_of_run(), PollFlags::IN)], None).unwrap();
    assert_eq!(jail.finish(&mut launcher).limit, Some(Limit::Killed));
    assert!(launcher.tidy());
}

pub(super) fn a_function_is_shut_in() {
    let mut launcher = launcher();
    for run in WAYS {
        let attacker = function!(|_| {
            let mut log = Log::default();
            attack::kernel_surface(&mut log);
            attempts(&mut log);
            print(&log.0);
            0
        });
        let outcomes = run(attacker, &mut launcher).outcomes();
        outcomes.expect_all(attack::REFUSED, &["EPERM"]);
        outcomes.expect_all(OWN_REFUSED, &["EPERM"]);
        outcomes.expect_all(HONEST, &["ok"]);
    }
}

const OWN_REFUSED: &[&str] = &[
    "open_root",
    "open_canary",
    "open_proc",
    "open_dev_null",
    "create",
    "stat_root",
    "readlink",
    "getcwd",
    "chdir",
    "fork",
    "vfork",
    "clone_thread",
    "clone_process",
    "execve",
    "kill_all",
    "kill_init",
    "getppid",
    "getuid",
    "prctl",
    "prlimit",
    "dup",
    "fcntl",
    "pipe2",
    "ioctl",
    "sendto",
    "sendmsg",
    "recvmsg",
    "exec_memory",
    "make_executable",
    "file_memory",
    "wait4",
    "uname",
    "sysinfo",
    "setsid",
    "eventfd",
    "timer",
    "unknown",
];
const HONEST: &[&str] = &["memory", "protect", "time", "random", "sleep"];

fn attempts(log: &mut Log) {
    let open = |path: &str, flags| rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    log.note("open_root", open("/", OFlags::RDONLY));
    log.note("open_canary", open("/.llmc-canary", OFlags::RDONLY));
    log.note("open_proc", open("/proc/self/status", OFlags::RDONLY));
    log.note("open_dev_null", open("/dev/null", OFlags::RDONLY));
    log.note("create", open("/tmp/x", OFlags::WRONLY | OFlags::CREATE));
    log.note("stat_root", rustix::fs::statat(CWD, "/", AtFlags::empty()));
    log.note("readlink", rustix::fs::readlinkat(CWD, "/proc/self/exe", Vec::new()));
    log.call("getcwd", libc::SYS_getcwd, &[0, 0]);
    log.call("chdir", libc::SYS_chdir, &[pointer(c"/")]);
    // Were one of these to succeed, its child would go on here: it ends at once.
    for (name, number, flags) in [
        ("fork", libc::SYS_fork, 0),
        ("vfork", libc::SYS_vfork, 0),
        ("clone_process", libc::SYS_clone, libc::SIGCHLD),
    ] {
        let outcome = raw(number, &[flags as usize]);
        if outcome == Ok(0) {
            let _ = raw(libc::SYS_exit_group, &[99]);
        }
        log.note(name, outcome);
    }
    // Without a stack of its own the kernel would refuse with another error.
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_NEWUSER;
    log.call("clone_thread", libc::SYS_clone, &[thread as usize]);
    log.call("execve", libc::SYS_execve, &[pointer(c"/bin/sh"), 0, 0]);
    // Signal 0 asks whether one could be sent.
    log.call("kill_all", libc::SYS_kill, &[usize::MAX, 0]);
    log.call("kill_init", libc::SYS_kill, &[1, 0]);
    log.call("getppid", libc::SYS_getppid, &[]);
    log.call("getuid", libc::SYS_getuid, &[]);
    log.call("prctl", libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as usize, 1]);
    log.call("prlimit", libc::SYS_prlimit64, &[0, 0, 0, 0]);
    log.call("dup", libc::SYS_dup, &[1]);
    log.call("fcntl", libc::SYS_fcntl, &[1, libc::F_GETFD as usize]);
    log.call("pipe2", libc::SYS_pipe2, &[0, 0]);
    log.call("ioctl", libc::SYS_ioctl, &[1, libc::FIONREAD as usize, 0]);
    log.call("sendto", libc::SYS_sendto, &[1, 0, 0, 0, 0, 0]);
    log.call("sendmsg", libc::SYS_sendmsg, &[1, 0, 0]);
    log.call("recvmsg", libc::SYS_recvmsg, &[1, 0, 0]);
    log.call("wait4", libc::SYS_wait4, &[usize::MAX, 0, libc::WNOHANG as usize, 0]);
    log.call("uname", libc::SYS_uname, &[0]);
    log.call("sysinfo", libc::SYS_sysinfo, &[0]);
    log.call("setsid", libc::SYS_setsid, &[]);
    log.call("eventfd", libc::SYS_eventfd2, &[0, 0]);
    log.call("timer", libc::SYS_timer_create, &[0, 0, 0]);
    log.call("unknown", 10_000, &[]);
    memory(log);
}

fn memory(log: &mut Log) {
    const PAGE: usize = 4096;
    let (anonymous, private) = (libc::MAP_ANONYMOUS as usize, libc::MAP_PRIVATE as usize);
    let (read_write, execute) = ((libc::PROT_READ | libc::PROT_WRITE) as usize, libc::PROT_EXEC as usize);
    let map = |protection, flags, fd| raw(libc::SYS_mmap, &[0, PAGE, protection, flags, fd, 0]);
    log.note("exec_memory", map(read_write | execute, private | anonymous, usize::MAX));
    log.note("file_memory", map(read_write, private, 1));
    let page = map(read_write, private | anonymous, usize::MAX);
    log.note("memory", page);
    let page = page.unwrap_or(0);
    log.call("make_executable", libc::SYS_mprotect, &[page, PAGE, libc::PROT_READ as usize | execute]);
    log.call("protect", libc::SYS_mprotect, &[page, PAGE, libc::PROT_READ as usize]);
    let mut time = [0_u64; 2];
    log.call("time", libc::SYS_clock_gettime, &[0, (&raw mut time) as usize]);
    log.call("random", libc::SYS_getrandom, &[(&raw mut time) as usize, 8, 0]);
    let moment = [0_u64, 1000];
    log.call("sleep", libc::SYS_clock_nanosleep, &[0, 0, (&raw const moment) as usize, 0]);
}

pub(super) fn limits_of_a_function_are_named() {
    let mut launcher = launcher();
    WAYS.iter().for_each(|run| limits_are_named(*run, &mut launcher));
    // A program cannot say so.
    assert_eq!(shell("exit 65").run(&mut launcher).ending.limit, None);
}

fn limits_are_named(run: fn(Request, &mut Launcher) -> Finished, launcher: &mut Launcher) {
    // What it found out itself.
    for (request, limit) in [
        (function!(|_| 3), None),
        (function!(|_| TIME_USED_UP), Some(Limit::Wall)),
        (function!(|_| MEMORY_USED_UP), Some(Limit::Memory)),
        (function!(|_| CPU_USED_UP), Some(Limit::Cpu)),
    ] {
        assert_eq!(run(request, launcher).ending.limit, limit);
    }

    // What the jail found out.
    let spin = function!(|_| {
        loop {
            std::hint::spin_loop();
        }
    });
    let busy = run(spin.with_limits(|limits| limits.cpu_ms = 200), launcher).ending;
    assert_eq!((busy.limit, busy.status), (Some(Limit::Cpu), ExitStatus::Signalled(9)));
    let sleeper = function!(|_| {
        std::thread::sleep(Duration::from_secs(1000));
        0
    });
    let late = run(sleeper.with_limits(|limits| limits.wall_ms = 200), launcher).ending;
    assert_eq!((late.limit, late.status), (Some(Limit::Wall), ExitStatus::Signalled(9)));
    let bomb = function!(|_| {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
        }
    });
    let full = run(bomb.with_limits(|limits| limits.memory_bytes = 64 << 20), launcher).ending;
    assert_eq!(full.limit, Some(Limit::Memory), "{full:?}");
    // Nothing of it is left: the next one works.
    assert_eq!(run(function!(|_| 0), launcher).ending.status, ExitStatus::Exited(0));
}

pub(super) fn a_function_that_fails_stays_in_its_jail() {
    let mut launcher = launcher();
    WAYS.iter().for_each(|run| failures_stay_inside(*run, &mut launcher));
}

fn failures_stay_inside(run: fn(Request, &mut Launcher) -> Finished, launcher: &mut Launcher) {
    let panicked = run(function!(|_| panic!("on purpose")), launcher);
    assert_eq!(panicked.ending.status, ExitStatus::Exited(125));
    assert!(panicked.stderr.contains("on purpose"), "{}", panicked.stderr);
    let aborted = run(function!(|_| std::process::abort()), launcher);
    assert_eq!(aborted.ending.status, ExitStatus::Signalled(libc::SIGABRT));
    // Files may have no byte; pipes are none.
    let much = function!(|_| {
        print(&"x".repeat(60_000));
        0
    });
    assert_eq!(run(much, launcher).stdout.len(), 60_000);
}
