//! One-shot jails. Each case runs in a launcher process of its own; the payload is this binary again, or a program of
//! the machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use llmc_sandbox::jail::{
    Accounting, Ending, ExitStatus, GrantedRoot, Handover, Jail, JailLimits, JailSpec, Launcher, Limit,
    Payload, SmallFile,
};
use llmc_sandbox::profile::{CODE, Profile, WORKSPACE};
use llmc_sandbox::{JailError, Layer};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Case, Outcomes, attack, payload};

mod ends;
mod functions;
mod groups;
mod roots;
mod terminal;

pub(crate) use ends::{ROLE_ENDING, ending_role};
use ends::{
    a_busy_loop_names_its_limit, a_memory_bomb_names_its_limit,
    a_memory_bomb_of_many_processes_names_its_limit, a_sleeper_names_its_limit,
    a_stopped_payload_names_its_limit, busy_children_name_their_limit, closing_the_launcher_ends_the_tree,
    daemons_die_with_the_jail, killing_process_1_ends_the_tree, limits_that_were_reached_are_told,
    processes_are_bounded, scratch_space_does_not_outlive_its_jail,
    scratch_space_is_bounded_and_executes_nothing, scratch_space_of_no_size_is_not_endless,
    too_large_a_file_names_its_limit,
};
use functions::{
    a_function_computes_and_talks, a_function_is_shut_in, a_function_that_fails_stays_in_its_jail,
    a_jail_that_ended_while_it_waited_leaves_its_job_to_another,
    a_run_of_a_function_is_over_when_it_is_told_so, limits_of_a_function_are_named,
    what_nobody_hands_a_job_to_ends_without_one,
};
pub(crate) use groups::{GROUP_CASES, ROLE_GROUP, group_role};
use roots::{
    a_great_many_empty_files_are_bounded, a_moved_root_is_the_same_directory,
    a_program_inside_a_root_is_found_there, a_read_only_root_stays_as_it_is, a_writable_root_keeps_its_owner,
    blocks_cannot_be_had_without_writing_them, programs_outside_the_profile_are_bound,
    set_id_files_cannot_be_made_and_do_nothing, what_a_run_adds_to_a_root_is_bounded,
};
use terminal::{
    a_lost_master_hangs_up, a_signal_reaches_the_whole_tree, a_signal_that_is_ignored_ends_nothing,
    a_terminal_is_the_jails_own, every_terminal_is_a_first_one,
};

pub(crate) const ROLE: &str = "role:launcher";

/// Names a directory on a file system that nobody else writes to meanwhile.
const MEMORY: &str = "LLMC_TEST_MEMORY";

macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        /// Cases as the driver sees them.
        pub(crate) const CASES: &[Case] = &[$((concat!("jail::", stringify!($name)), || start(stringify!($name)))),+];
        const BODIES: &[Case] = &[$((stringify!($name), $name)),+];
    };
}

cases![
    honest_commands_work,
    files_of_the_machine_are_out_of_reach,
    processes_of_the_machine_are_out_of_reach,
    the_kernel_surface_is_closed,
    the_payload_has_nothing_but_what_was_given,
    code_has_threads_and_no_children,
    python_runs_in_both_profiles,
    exit_statuses_are_exact,
    a_memory_bomb_names_its_limit,
    a_memory_bomb_of_many_processes_names_its_limit,
    a_busy_loop_names_its_limit,
    busy_children_name_their_limit,
    a_sleeper_names_its_limit,
    a_stopped_payload_names_its_limit,
    processes_are_bounded,
    limits_that_were_reached_are_told,
    too_large_a_file_names_its_limit,
    scratch_space_of_no_size_is_not_endless,
    what_a_run_adds_to_a_root_is_bounded,
    a_great_many_empty_files_are_bounded,
    blocks_cannot_be_had_without_writing_them,
    scratch_space_is_bounded_and_executes_nothing,
    scratch_space_does_not_outlive_its_jail,
    daemons_die_with_the_jail,
    closing_the_launcher_ends_the_tree,
    killing_process_1_ends_the_tree,
    a_writable_root_keeps_its_owner,
    a_read_only_root_stays_as_it_is,
    set_id_files_cannot_be_made_and_do_nothing,
    a_moved_root_is_the_same_directory,
    programs_outside_the_profile_are_bound,
    a_program_inside_a_root_is_found_there,
    a_function_computes_and_talks,
    a_function_is_shut_in,
    limits_of_a_function_are_named,
    a_run_of_a_function_is_over_when_it_is_told_so,
    a_function_that_fails_stays_in_its_jail,
    a_jail_that_ended_while_it_waited_leaves_its_job_to_another,
    what_nobody_hands_a_job_to_ends_without_one,
    what_cannot_start_is_refused_and_executes_nothing,
    slots_are_bounded_and_come_back,
    jails_do_not_see_each_other,
    mounts_of_the_machine_stay_as_they_are,
    the_launcher_keeps_little,
    without_namespaces_nothing_starts,
    a_terminal_is_the_jails_own,
    every_terminal_is_a_first_one,
    a_lost_master_hangs_up,
    a_signal_reaches_the_whole_tree,
    a_signal_that_is_ignored_ends_nothing,
];

/// Runs one case in a process of its own. Its temporary files are removed here: a launcher gives up that right.
fn start(case: &'static str) {
    let scratch = TempDir::new().unwrap();
    // Other users than this one pass through on their way to what they were granted.
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let memory = TempDir::new_in("/dev/shm").unwrap();
    std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([ROLE, case])
        .env("TMPDIR", scratch.path())
        .env(MEMORY, memory.path())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{case}: {status:?}");
}

/// The launcher process of a case.
pub(crate) fn role(args: &[String]) -> ExitCode {
    let (_, body) = BODIES.iter().find(|(name, _)| *name == args[0]).expect("a case of that name");
    body();
    ExitCode::SUCCESS
}

// Helpers.

fn launcher() -> Launcher {
    Launcher::prepare(4, None)
        .unwrap_or_else(|error| panic!("jails are not to be had on this machine: {error}"))
}

/// A request with pipes for output, which the case reads.
struct Request {
    spec: JailSpec,
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
}

struct Finished {
    ending: Ending,
    stdout: String,
    stderr: String,
}

impl Finished {
    fn outcomes(&self) -> Outcomes {
        assert_eq!(self.ending.status, ExitStatus::Exited(0), "{}", self.stderr);
        Outcomes::parse(&self.stdout)
    }
}

fn limits(profile: &Profile) -> JailLimits {
    JailLimits { wall_ms: 20_000, ..profile.limits }
}

fn request(profile: &'static Profile, program: impl Into<PathBuf>, args: &[&str]) -> Request {
    let (stdout, stdout_writer) = std::io::pipe().unwrap();
    let (stderr, stderr_writer) = std::io::pipe().unwrap();
    let spec = JailSpec {
        profile,
        payload: Payload::Program {
            file: program.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        },
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        roots: Vec::new(),
        system: Vec::new(),
        limits: limits(profile),
        stdin: None,
        stdout: stdout_writer.into(),
        stderr: stderr_writer.into(),
        job: None,
        terminal: None,
    };
    Request { spec, stdout, stderr }
}

/// A payload role of this binary.
fn payload(profile: &'static Profile, role: &str) -> Request {
    let mut request = request(profile, std::env::current_exe().unwrap(), &[payload::ROLE, role]);
    if profile.name == "code" {
        request.spec.system = libraries();
    }
    request
}

/// The directories that hold the shared libraries of this binary.
fn libraries() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut found: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .map(|path| Path::new(path).parent().unwrap().to_owned())
        .collect();
    found.sort();
    found.dedup();
    // Loaders look below /lib, which is a link on most machines.
    // Loaders look below /lib, which is a link on most machines.
    for link in ["/lib", "/lib64"].map(Path::new).into_iter().filter(|path| path.is_symlink()) {
        let target = link.canonicalize().unwrap();
        let library = found.iter().find_map(|dir| dir.strip_prefix(&target).ok()).map(|rest| link.join(rest));
        found.extend(library);
    }
    found
}

fn shell(script: &str) -> Request {
    request(&WORKSPACE, "/bin/sh", &["-c", script])
}

impl Request {
    fn run(self, launcher: &mut Launcher) -> Finished {
        let Self { spec, mut stdout, mut stderr } = self;
        let jail = launcher.spawn(&spec).unwrap_or_else(|error| panic!("{error}"));
        drop(spec);
        let mut finished =
            Finished { ending: finish(jail, launcher), stdout: String::new(), stderr: String::new() };
        stdout.read_to_string(&mut finished.stdout).unwrap();
        stderr.read_to_string(&mut finished.stderr).unwrap();
        finished
    }

    /// The same in a jail that was made ahead of time, with other streams and limits, and without a job.
    fn run_waiting(self, launcher: &mut Launcher) -> Finished {
        let Self { spec, mut stdout, mut stderr } = self;
        let mut early = request(spec.profile, "/nothing", &[]);
        early.spec.payload = spec.payload.clone();
        let parked = launcher.park(&early.spec).unwrap_or_else(|error| panic!("{error}"));
        drop(early.spec);
        let job = Handover {
            stdin: spec.stdin.as_ref().map(AsFd::as_fd),
            stdout: spec.stdout.as_fd(),
            stderr: spec.stderr.as_fd(),
            job: spec.job.as_ref().map(AsFd::as_fd),
            limits: spec.limits,
        };
        let jail = parked.begin(launcher, &job).unwrap_or_else(|stillborn| panic!("{stillborn:?}"));
        drop(spec);
        let mut finished =
            Finished { ending: finish(jail, launcher), stdout: String::new(), stderr: String::new() };
        stdout.read_to_string(&mut finished.stdout).unwrap();
        stderr.read_to_string(&mut finished.stderr).unwrap();
        let mut nothing = String::new();
        early.stdout.read_to_string(&mut nothing).unwrap();
        assert_eq!(nothing, "", "what it was made with is not its own");
        finished
    }

    fn refused(self, launcher: &mut Launcher) -> JailError {
        let Self { spec, mut stdout, .. } = self;
        let error = launcher.spawn(&spec).expect_err("this must not start");
        drop(spec);
        let mut output = String::new();
        stdout.read_to_string(&mut output).unwrap();
        assert_eq!(output, "", "nothing may have been executed");
        error
    }

    fn with_limits(mut self, change: impl FnOnce(&mut JailLimits)) -> Self {
        change(&mut self.spec.limits);
        self
    }

    fn with_root(mut self, dir: &Path, target: &str, writable: bool) -> Self {
        self.spec.roots.push(GrantedRoot { dir: open_directory(dir), target: target.into(), writable });
        self
    }
}

fn finish(jail: Jail, launcher: &mut Launcher) -> Ending {
    let left = jail.deadline().saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let pidfd = jail.pidfd();
    let ready = rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "the jail outlived its deadline");
    jail.finish(launcher)
}

fn open_directory(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// A directory with a file, owned by user and group 1234 where the tests run as root. To be made before `launcher`.
fn workspace() -> PathBuf {
    let dir = directory();
    std::fs::write(dir.join("file"), "contents").unwrap();
    if rustix::process::geteuid().is_root() {
        for path in [dir.clone(), dir.join("file")] {
            std::os::unix::fs::chown(path, Some(1234), Some(1234)).unwrap();
        }
    }
    dir
}

/// A new directory that the driver removes.
fn directory() -> PathBuf {
    TempDir::new().unwrap().keep()
}

/// The directory of [`MEMORY`], in which the payload owns what the owner owns.
fn memory_directory() -> PathBuf {
    let dir = PathBuf::from(std::env::var_os(MEMORY).unwrap());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&dir, Some(1234), Some(1234)).unwrap();
    }
    dir
}

// Cases.

fn honest_commands_work() {
    let mut launcher = launcher();
    let done =
        shell("echo out; echo err >&2; cat /etc/passwd | wc -l; id -un; pwd; hostname; ls -d /usr/bin")
            .run(&mut launcher);
    assert_eq!(done.ending.status, ExitStatus::Exited(0), "{}", done.stderr);
    assert_eq!(done.stdout, "out\n2\nllmc\n/tmp\nllmc\n/usr/bin\n");
    assert_eq!(done.stderr, "err\n");
    assert_eq!(done.ending.limit, None);
    assert!(
        done.ending.wall < Duration::from_secs(10) && done.ending.peak_memory_bytes > 0,
        "{:?}",
        done.ending
    );

    let (stdin, mut writer) = std::io::pipe().unwrap();
    let mut with_stdin = shell("cat");
    with_stdin.spec.stdin = Some(stdin.into());
    writer.write_all(b"through stdin").unwrap();
    drop(writer);
    assert_eq!(with_stdin.run(&mut launcher).stdout, "through stdin");

    let done = shell(
        "cp /etc/passwd a && mv a b && ln -s b c && cat c | head -1 && mkfifo f && rm -r a b c f; \
                      yes | head -2; (sleep 0.01 & wait); git --version | cut -c1-3",
    )
    .run(&mut launcher);
    assert_eq!(done.stdout, "llmc:x:1000:1000:llmc:/tmp:/bin/sh\ny\ny\ngit\n", "{}", done.stderr);
}

fn files_of_the_machine_are_out_of_reach() {
    let core_pattern = || std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let before = core_pattern();
    let mut launcher = launcher();
    let done = payload(&WORKSPACE, "files").run(&mut launcher);
    let outcomes = done.outcomes();
    outcomes.expect_all(
        &[
            "/etc/shadow",
            "/root",
            "/home",
            "/sys",
            "/boot",
            "/proc/sys/kernel/core_pattern",
            "/proc/sysrq-trigger",
            "/proc/kallsyms",
            "/proc/kcore",
            "/proc/keys",
            "/proc/1",
            "/proc/1/environ",
            "/proc/1/root",
            "/dev/kmsg",
            "/dev/mem",
            "/dev/ptmx",
            "/dev/tty",
            "/dev/shm",
            "/run",
            "/var/log",
        ],
        &["ENOENT"],
    );
    outcomes.expect_all(&["write_usr", "write_etc", "write_root", "chmod_null"], &["EROFS", "EACCES"]);
    outcomes.expect_all(&["write_own_memory", "write_oom_score", "read_canary", "exec_scratch"], &["EACCES"]);
    outcomes.expect_all(&["mknod"], &["ENOSYS", "EPERM"]);
    outcomes.expect_all(&["hard_link"], &["EXDEV", "EPERM", "EACCES"]);
    outcomes.expect_all(&["read_usr", "write_scratch", "null", "urandom", "rename_scratch"], &["ok"]);
    outcomes.expect("parent_of_root", &["same"]);
    outcomes.expect("dev", &["fd full null random stderr stdin stdout urandom zero"]);
    let top: Vec<&str> = outcomes.0["top"].split(' ').collect();
    for name in &top {
        let allowed = [
            "bin",
            "dev",
            "etc",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "proc",
            "sbin",
            "tmp",
            "usr",
            "var",
            ".llmc-canary",
        ];
        let own = std::env::current_exe().unwrap();
        let is_own = own.components().nth(1).is_some_and(|first| first.as_os_str() == *name);
        assert!(allowed.contains(name) || is_own, "{top:?}");
    }
    assert_eq!(core_pattern(), before);
}

fn processes_of_the_machine_are_out_of_reach() {
    let mut launcher = launcher();
    let outcomes = payload(&WORKSPACE, "processes").run(&mut launcher).outcomes();
    // That the pid namespace is its own comes first: everything below rests on it.
    outcomes.expect("pid", &["2"]);
    outcomes.expect("parent", &["1"]);
    outcomes.expect("visible", &["2"]);
    outcomes.expect("signal_all", &["ESRCH"]);
    outcomes.expect("signal_all_with_child", &["ok"]);
    outcomes.expect_all(&["signal_init", "limit_of_init"], &["EPERM", "ENOSYS"]);
    outcomes.expect_all(&["priority"], &["EPERM"]);
    outcomes.expect("signal_child", &["ok"]);
}

fn the_kernel_surface_is_closed() {
    let mut launcher = launcher();
    for profile in [&WORKSPACE, &CODE] {
        let outcomes = payload(profile, "surface").run(&mut launcher).outcomes();
        outcomes.expect_all(attack::REFUSED, &["EPERM"]);
        outcomes.expect("seccomp", &["EPERM"]);
        outcomes.expect("clone3", &["ENOSYS"]);
        outcomes.expect("socketpair_stream", &["ok"]);
        outcomes.expect_all(&["socketpair_dgram", "openat2", "unknown"], &["ENOSYS"]);
    }
    if cfg!(target_arch = "x86_64") {
        let done = payload(&WORKSPACE, "foreign-call").run(&mut launcher);
        assert_eq!(done.ending.status, ExitStatus::Signalled(Signal::SYS.as_raw()), "{}", done.stdout);
    } else {
        println!("not checked on this architecture: system calls of another one");
    }
}

fn the_payload_has_nothing_but_what_was_given() {
    let mut launcher = launcher();
    let (job, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut request = payload(&WORKSPACE, "given");
    request.spec.job = Some(job.into());
    request.spec.env = vec![("LLMC_X".into(), "1".into()), ("LANG".into(), "C".into())];
    request.spec.files = vec![SmallFile { name: "boot.py".into(), contents: b"print()".to_vec() }];
    request.spec.cwd = Some("/llmc".into());
    other.write_all(b"job!").unwrap();
    let outcomes = request.run(&mut launcher).outcomes();
    outcomes.expect("descriptors", &["0 1 2 3"]);
    outcomes
        .expect("environment", &["HOME=/tmp LANG=C LLMC_X=1 PATH=/usr/local/bin:/usr/bin:/bin TMPDIR=/tmp"]);
    outcomes.expect("file", &["print()"]);
    outcomes.expect("write_file", &["EROFS", "EACCES"]);
    outcomes.expect("cwd", &["/llmc"]);
    outcomes.expect("job", &["job!"]);
    outcomes.expect("stdin", &["0 bytes"]);
    outcomes.expect("ids", &["1000 1000 1000 1000"]);
    outcomes.expect_all(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"], &["0000000000000000"]);
    outcomes.expect("NoNewPrivs", &["1"]);
    outcomes.expect("Seccomp", &["2"]);
    outcomes.expect("core_limit", &["1"]);
    outcomes.expect("oom_score", &["500"]);
    outcomes.expect_all(&["raise_files", "raise_processes"], &["EPERM"]);
    outcomes.expect("many_files", &["EMFILE"]);
    outcomes.expect("ignored_signals", &["0000000000000000"]);
    if rustix::process::getuid().as_raw() == 63_999 {
        outcomes.expect("groups", &["0"]);
    } else {
        println!("not checked as this user: supplementary groups, which only root can drop");
    }
}

fn code_has_threads_and_no_children() {
    let mut launcher = launcher();
    let outcomes = payload(&CODE, "code").run(&mut launcher).outcomes();
    outcomes.expect_all(&["fork", "vfork", "clone_fork", "wait"], &["EPERM"]);
    outcomes.expect_all(&["shell", "usr_bin"], &["ENOENT"]);
    outcomes.expect_all(&["thread", "write_scratch"], &["ok"]);
    outcomes.expect("list_root", &["EACCES"]);
    outcomes.expect("threads", &["bounded"]);
}

fn python_runs_in_both_profiles() {
    let python =
        ["/usr/bin/python3", "/usr/local/bin/python3"].map(Path::new).into_iter().find(|path| path.exists());
    let python = python.expect("this case needs a python3 in /usr/bin or /usr/local/bin");
    let mut launcher = launcher();
    let script = "import json, threading, sqlite3, tempfile, hashlib, asyncio\n\
                  t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
                  async def f():\n    await asyncio.sleep(0); return json.dumps({'a': 1})\n\
                  print(asyncio.run(f()), sqlite3.connect(':memory:').execute('select 1').fetchone())\n\
                  f = tempfile.NamedTemporaryFile(); f.write(b'x'); f.flush()\n\
                  print(hashlib.sha256(b'').hexdigest()[:8])";
    let done = request(&WORKSPACE, python, &["-I", "-c", script]).run(&mut launcher);
    assert_eq!(done.stdout, "thread\n{\"a\": 1} (1,)\ne3b0c442\n", "{}", done.stderr);

    let locate = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let stdlib = request(&WORKSPACE, python, &["-I", "-S", "-c", locate]).run(&mut launcher).stdout;
    let mut code = request(&CODE, python, &["-I", "-S", "-c", script]);
    code.spec.system = libraries();
    code.spec.system.push(stdlib.trim().into());
    let done = code.run(&mut launcher);
    assert_eq!(done.stdout, "thread\n{\"a\": 1} (1,)\ne3b0c442\n", "{}", done.stderr);
}

fn exit_statuses_are_exact() {
    let mut launcher = launcher();
    for code in [0, 1, 7, 255] {
        let ending = shell(&format!("exit {code}")).run(&mut launcher).ending;
        assert_eq!((ending.status, ending.limit), (ExitStatus::Exited(code), None));
    }
    for signal in [Signal::TERM, Signal::KILL, Signal::SEGV] {
        let ending = shell(&format!("kill -{} $$", signal.as_raw())).run(&mut launcher).ending;
        assert_eq!((ending.status, ending.limit), (ExitStatus::Signalled(signal.as_raw()), None));
    }
}

fn what_cannot_start_is_refused_and_executes_nothing() {
    let dir = workspace();
    let plain = dir.join("file");
    let mut launcher = launcher();
    let layer = |request: Request, launcher: &mut Launcher| request.refused(launcher).layer();
    assert_eq!(layer(request(&WORKSPACE, "/usr/bin/no-such-program", &[]), &mut launcher), Layer::Program);
    assert_eq!(layer(request(&WORKSPACE, &plain, &[]), &mut launcher), Layer::Program);
    assert_eq!(layer(request(&WORKSPACE, "relative", &[]), &mut launcher), Layer::Request);
    let mut lost = shell("echo");
    lost.spec.cwd = Some("/nowhere".into());
    assert_eq!(layer(lost, &mut launcher), Layer::Request);
    let mut absent = shell("echo");
    absent.spec.system = vec!["/usr/no/such/library".into()];
    assert_eq!(layer(absent, &mut launcher), Layer::Root);
    let shadowing = shell("echo").with_root(&dir, "/usr", false);
    assert_eq!(layer(shadowing, &mut launcher), Layer::Request);
    if rustix::process::geteuid().as_raw() >= 63_999 && rustix::process::getuid().as_raw() < 64_000 {
        // A launcher that root started, and a file system whose owners cannot be mapped.
        let refusal =
            shell("echo").with_root(Path::new("/sys/kernel"), "/kernel", true).refused(&mut launcher);
        assert_eq!(refusal.layer(), Layer::GrantedRoot);
        assert!(refusal.to_string().contains("does not support idmapped mounts"), "{refusal}");
    } else {
        println!("not checked as this user: a file system without idmapped mounts");
    }
    // All slots are free again.
    assert_eq!(shell("echo ok").run(&mut launcher).stdout, "ok\n");
}

fn slots_are_bounded_and_come_back() {
    let mut launcher = launcher();
    let mut jails = Vec::new();
    while launcher.has_room() {
        jails.push(launcher.spawn(&shell("sleep 1000").spec).unwrap());
    }
    assert_eq!(jails.len(), 4);
    let refusal = shell("echo").refused(&mut launcher);
    assert!(refusal.to_string().contains("room"), "{refusal}");
    for jail in jails {
        jail.kill();
        finish(jail, &mut launcher);
    }
    assert_eq!(shell("echo ok").run(&mut launcher).stdout, "ok\n");
}

fn jails_do_not_see_each_other() {
    let mut launcher = launcher();
    let first = shell("echo mine > /tmp/mine; sleep 1000");
    let one = launcher.spawn(&first.spec).unwrap();
    let done = shell("echo /tmp/*; ls /proc | grep -c '^[0-9]'; kill -0 2 && echo own").run(&mut launcher);
    // The shell, ls and grep.
    assert_eq!(done.stdout, "/tmp/*\n3\nown\n", "{}", done.stderr);
    // Ending one leaves the other alone.
    let second = launcher.spawn(&shell("sleep 0.3; exit 5").spec).unwrap();
    one.kill();
    assert_eq!(finish(one, &mut launcher).limit, Some(Limit::Killed));
    assert_eq!(finish(second, &mut launcher).status, ExitStatus::Exited(5));
}

fn mounts_of_the_machine_stay_as_they_are() {
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut launcher = launcher();
    let before = mounts();
    shell("echo").run(&mut launcher);
    assert_eq!(mounts(), before);
}

fn the_launcher_keeps_little() {
    let as_root = rustix::process::geteuid().is_root();
    let launcher = launcher();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let fields: BTreeMap<&str, &str> = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    // DAC_READ_SEARCH, SETGID, SETUID and SYS_ADMIN; or SYS_ADMIN of a namespace of its own.
    let kept = if as_root { 1 << 2 | 1 << 6 | 1 << 7 | 1 << 21 } else { 1_u64 << 21 };
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(u64::from_str_radix(fields[set], 16).unwrap(), kept, "{set}");
    }
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(fields[set], "0000000000000000", "{set}");
    }
    assert_eq!(fields["NoNewPrivs"], "1");
    if as_root {
        assert_eq!(fields["Uid"], "63999\t63999\t63999\t63999");
        assert_eq!(fields["Groups"], "");
        File::open("/etc/shadow")
            .map(drop)
            .expect("DAC_READ_SEARCH is what reaches programs in closed homes");
        File::options().write(true).open("/etc/passwd").expect_err("root's files are not the launcher's");
    }
    drop(launcher);
}

fn without_namespaces_nothing_starts() {
    crate::host::forbid_namespaces();
    let error = Launcher::prepare(4, None).expect_err("namespaces are forbidden here");
    assert_eq!(error.layer(), Layer::UserNamespace);
    assert!(error.to_string().contains("user.max_user_namespaces"), "{error}");
}
