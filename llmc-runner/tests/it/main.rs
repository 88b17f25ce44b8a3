//! The runner as its server sees it: the built program, its socket, and what comes of its jails.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod engines;
mod hostile;
mod lesser;
mod zygotes;

use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use llmc_sandbox::probe::Finding;
use llmc_wire::Header;
use llmc_wire::runner::{
    Bind, File, Hello, Init, Isolation, Limit, Limits, MAX_KITS, Outcome, PARKED, Profile, Program, Refused,
    Spec, Status, ZygoteBounds, from_runner, to_runner,
};
use llmc_wire::socket::{Receiver, Sender, split};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal};

const RUNNER: &str = env!("CARGO_BIN_EXE_llmc-runner");

struct Runner {
    child: Child,
    sender: Sender,
    receiver: Receiver,
    hello: Hello,
}

/// A request and the far ends of its pipes.
struct Request {
    spec: Spec,
    stdin: Option<OwnedFd>,
    job: Option<OwnedFd>,
    directories: Vec<OwnedFd>,
}

struct Run {
    call: u64,
    /// Whether its jail had waited for it.
    waited: bool,
    pidfd: OwnedFd,
    stdout: PipeReader,
    stderr: PipeReader,
}

struct Finished {
    outcome: Outcome,
    stdout: String,
    stderr: String,
}

impl Runner {
    fn start() -> Self {
        Self::start_with(Command::new(RUNNER), 8)
    }

    fn start_with(command: Command, max_jails: u32) -> Self {
        Self::start_for(command, max_jails, Isolation::Namespaces)
    }

    fn start_for(command: Command, max_jails: u32, min_isolation: Isolation) -> Self {
        Self::start_keeping(0, command, max_jails, min_isolation)
    }

    /// One that makes jails ahead of time.
    fn start_keeping(parked_runs: u32, command: Command, max_jails: u32, min_isolation: Isolation) -> Self {
        let (server_pid, zygote) = (std::process::id(), ZygoteBounds::default());
        let init = Init { server_pid, max_jails, min_isolation, parked_runs, runs_code: false, zygote };
        Self::start_told(command, &init)
    }

    fn start_told(mut command: Command, init: &Init) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = command.env_clear().stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (sender, mut receiver) = split(ours, 1 << 20);
        let header = Header { kind: to_runner::INIT, ..Header::default() };
        sender.send(header, &serde_json::to_vec(init).unwrap(), &[]).unwrap();
        let frame = receiver.receive().unwrap().expect("an answer to the first message");
        assert_eq!(frame.header.kind, from_runner::HELLO);
        let hello = serde_json::from_slice(frame.payload).unwrap();
        Self { child, sender, receiver, hello }
    }

    fn send(&mut self, call: u64, request: Request) -> (PipeReader, PipeReader) {
        let (stdout, stdout_writer) = std::io::pipe().unwrap();
        let (stderr, stderr_writer) = std::io::pipe().unwrap();
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        fds.extend(request.stdin.as_ref().map(AsFd::as_fd));
        fds.extend([stdout_writer.as_fd(), stderr_writer.as_fd()]);
        fds.extend(request.job.as_ref().map(AsFd::as_fd));
        fds.extend(request.directories.iter().map(AsFd::as_fd));
        let header = Header { kind: to_runner::SPAWN, call, ..Header::default() };
        self.sender.send(header, &serde_json::to_vec(&request.spec).unwrap(), &fds).unwrap();
        (stdout, stderr)
    }

    fn spawn(&mut self, call: u64, request: Request) -> Result<Run, Refused> {
        let (stdout, stderr) = self.send(call, request);
        let frame = self.receiver.receive().unwrap().expect("an answer");
        assert_eq!(frame.header.call, call);
        match frame.header.kind {
            from_runner::STARTED => {
                let [pidfd] = <[OwnedFd; 1]>::try_from(frame.fds).expect("one descriptor");
                let waited = frame.header.code == PARKED;
                Ok(Run { call, waited, pidfd, stdout, stderr })
            }
            from_runner::REFUSED => Err(serde_json::from_slice(frame.payload).unwrap()),
            other => panic!("kind {other}"),
        }
    }

    fn finish(&mut self, mut run: Run) -> Finished {
        let frame = self.receiver.receive().unwrap().expect("the end of a run");
        assert_eq!((frame.header.kind, frame.header.call), (from_runner::EXITED, run.call));
        let outcome = serde_json::from_slice(frame.payload).unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        run.stdout.read_to_string(&mut stdout).unwrap();
        run.stderr.read_to_string(&mut stderr).unwrap();
        Finished { outcome, stdout, stderr }
    }

    fn run(&mut self, request: Request) -> Finished {
        let run = self.spawn(1, request).unwrap_or_else(|refused| panic!("{refused:?}"));
        self.finish(run)
    }

    fn refused(&mut self, request: Request) -> Refused {
        match self.spawn(1, request) {
            Ok(_) => panic!("this must not start"),
            Err(refused) => refused,
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // By its handle: this very child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(profile: Profile, program: Program, args: &[&str]) -> Request {
    let spec = Spec {
        profile,
        program,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        kit: None,
        binds: Vec::new(),
        system: Vec::new(),
        limits: Limits {
            wall_ms: 20_000,
            cpu_ms: 10_000,
            memory_bytes: 256 << 20,
            processes: 32,
            open_files: 64,
            file_bytes: 16 << 20,
            scratch_bytes: 16 << 20,
            scratch_inodes: 1024,
            workspace_bytes: 1 << 30,
        },
        stdin: false,
        job: false,
        terminal: None,
    };
    Request { spec, stdin: None, job: None, directories: Vec::new() }
}

fn shell(script: &str) -> Request {
    request(Profile::Workspace, Program::File("/bin/sh".into()), &["-c", script])
}

fn python(script: &str) -> Request {
    request(Profile::Code, Program::Engine("python".into()), &["-I", "-S", "-X", "utf8", "-c", script])
}

fn directory(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn it_says_what_it_can_do() {
    let runner = Runner::start();
    assert_eq!(runner.hello.pid, runner.child.id());
    assert_eq!(runner.hello.jails, Ok(Isolation::Namespaces));
    assert!(runner.hello.accounting.contains("rlimits + tree accounting"), "{}", runner.hello.accounting);
    let uid = rustix::process::geteuid();
    let wanted =
        if uid.is_root() { "64000 and up".to_owned() } else { format!("{}, llmc's own", uid.as_raw()) };
    assert!(runner.hello.payload_identity.contains(&wanted), "{}", runner.hello.payload_identity);
}

#[test]
fn it_keeps_little_itself() {
    let runner = Runner::start();
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", runner.child.id()));
    let status = file("status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!((field("CapBnd"), field("CapInh")), ("0000000000000000".into(), "0000000000000000".into()));
    assert_eq!(field("Threads"), "1");
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("Uid"), "63999\t63999\t63999\t63999");
        assert_eq!(file("environ").unwrap(), "");
        let fds = std::fs::read_dir(format!("/proc/{}/fd", runner.child.id())).unwrap().count();
        let of_groups = usize::from(runner.hello.accounting.starts_with("cgroups"));
        assert_eq!(fds, 4 + of_groups, "0, 1, 2 and the socket, and the group of its jails if it has one");
    } else {
        file("environ").expect_err("an undumpable process shows its environment to nobody");
    }
}

#[test]
fn commands_run_with_all_that_they_were_given() {
    let mut runner = Runner::start();
    let dir = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"typed").unwrap();
    drop(writer);
    let (job, mut other) = UnixStream::pair().unwrap();
    let mut request =
        shell("cat; cat /llmc/note; echo $GIVEN; pwd; echo made > made; echo told >&3; echo err >&2");
    request.spec.stdin = true;
    request.spec.job = true;
    request.spec.files = vec![File { name: "note".into(), contents: " noted ".into() }];
    request.spec.env = vec![("GIVEN".into(), "given".into())];
    request.spec.binds = vec![Bind { target: "/work".into(), writable: true }];
    request.spec.cwd = Some("/work".into());
    request.stdin = Some(reader.into());
    request.job = Some(job.into());
    request.directories = vec![directory(dir.path())];
    let done = runner.run(request);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("typed noted given\n/work\n", "err\n"));
    assert_eq!(done.outcome.status, Status::Exited(0));
    assert_eq!(done.outcome.limit, None);
    assert_eq!(std::fs::read_to_string(dir.path().join("made")).unwrap(), "made\n");
    let mut told = String::new();
    other.read_to_string(&mut told).unwrap();
    assert_eq!(told, "told\n");
}

#[test]
fn python_sees_itself_and_nothing_else() {
    let mut runner = Runner::start();
    let script = "import os, sys, json, ssl, sqlite3, ctypes, lzma, bz2, zoneinfo, decimal, unicodedata, asyncio\n\
                  def listing(p):\n    try: return sorted(os.listdir(p))\n    except OSError as e: return e.strerror\n\
                  print(listing('/'), '|', listing('/usr/bin'), '|', listing('/home'), '|', os.path.exists('/usr/bin/env'))\n\
                  print(os.getuid(), os.environ.get('HOME'), sys.version_info[:2] >= (3, 9))\n\
                  try: os.fork()\n\
                  except OSError as e: print('fork', e.strerror)\n\
                  try: os.posix_spawn(sys.executable, [sys.executable], {})\n\
                  except OSError as e: print('spawn', e.strerror)\n\
                  open('/tmp/x', 'w').write('x'); print(open('/tmp/x').read())\n";
    let done = runner.run(python(script));
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(done.outcome.status, Status::Exited(0), "{}", done.stderr);
    assert_eq!(lines[0], "Permission denied | Permission denied | No such file or directory | False");
    assert_eq!(lines[1], "1000 /tmp True");
    assert_eq!(lines[2..], ["fork Operation not permitted", "spawn Operation not permitted", "x"]);

    // The second time nothing is looked for.
    let started = Instant::now();
    assert_eq!(runner.run(python("print(6 * 7)")).stdout, "42\n");
    println!("python -c print in a jail: {:?}", started.elapsed());
}

#[test]
fn limits_are_named() {
    let mut runner = Runner::start();
    let limited = |mut request: Request, change: fn(&mut Limits)| {
        change(&mut request.spec.limits);
        request
    };
    let memory = limited(python("x = bytearray(1 << 20)\nwhile True: x += bytes(1 << 20)"), |limits| {
        limits.memory_bytes = 64 << 20;
    });
    assert_eq!(runner.run(memory).outcome.limit, Some(Limit::Memory));
    let cpu = limited(python("while True: pass"), |limits| limits.cpu_ms = 200);
    assert_eq!(runner.run(cpu).outcome.limit, Some(Limit::Cpu));
    let wall = limited(python("import time; time.sleep(1000)"), |limits| limits.wall_ms = 200);
    let outcome = runner.run(wall).outcome;
    assert_eq!((outcome.limit, outcome.status), (Some(Limit::Wall), Status::Signalled(9)));
}

#[test]
fn files_of_a_kit_are_told_once() {
    let mut runner = Runner::start();
    let with_kit = |kit: u64, contents: Option<&str>| {
        let mut request = shell("cat /llmc/file");
        request.spec.kit = Some(kit);
        let file = |contents: &str| File { name: "file".into(), contents: contents.into() };
        request.spec.files = contents.map(file).into_iter().collect();
        request
    };
    let refused = runner.refused(with_kit(1, None));
    assert_eq!((refused.layer.as_str(), refused.message.as_str()), ("request", "kit 1 is not known"));
    assert_eq!(runner.run(with_kit(1, Some("one"))).stdout, "one");
    assert_eq!(runner.run(with_kit(1, None)).stdout, "one");
    // The oldest one goes when there are too many.
    for kit in 2..=MAX_KITS as u64 + 1 {
        assert_eq!(runner.run(with_kit(kit, Some("more"))).stdout, "more");
    }
    runner.refused(with_kit(1, None));
    assert_eq!(runner.run(with_kit(2, None)).stdout, "more");
}

#[test]
fn refusals_say_why() {
    let mut runner = Runner::start();
    let engine = runner.refused(request(Profile::Code, Program::Engine("perl".into()), &[]));
    assert_eq!(engine.layer, "engine");
    assert!(engine.message.contains("`perl`") && engine.message.contains("`python`"), "{}", engine.message);
    let absent = runner.refused(request(Profile::Workspace, Program::File("/usr/bin/absent".into()), &[]));
    assert_eq!(absent.layer, "program");
    assert!(absent.message.contains("/usr/bin/absent"), "{}", absent.message);
    let mut short = shell("echo");
    short.spec.stdin = true;
    assert_eq!(runner.refused(short).layer, "request");
    let relative = runner.refused(request(Profile::Workspace, Program::File("sh".into()), &[]));
    assert_eq!(relative.layer, "request");
    assert_eq!(runner.run(shell("echo ok")).stdout, "ok\n");
}

#[test]
fn a_request_that_is_no_request_is_refused() {
    let mut runner = Runner::start();
    let header = Header { kind: to_runner::SPAWN, call: 7, ..Header::default() };
    runner.sender.send(header, b"{\"profile\":\"root\"}", &[]).unwrap();
    let frame = runner.receiver.receive().unwrap().unwrap();
    assert_eq!((frame.header.kind, frame.header.call), (from_runner::REFUSED, 7));
    assert_eq!(runner.run(shell("echo ok")).stdout, "ok\n");
}

#[test]
fn a_strange_message_ends_the_runner() {
    let mut runner = Runner::start();
    runner.sender.send(Header { kind: 77, ..Header::default() }, b"", &[]).unwrap();
    assert!(runner.receiver.receive().unwrap().is_none());
    assert!(!runner.child.wait().unwrap().success());
}

#[test]
fn jails_run_side_by_side_up_to_a_number() {
    let mut runner = Runner::start_with(Command::new(RUNNER), 2);
    let first = runner.spawn(1, shell("sleep 1000")).unwrap();
    // It lives until the other end of its stdin closes.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut request = shell("cat; echo second");
    request.spec.stdin = true;
    request.stdin = Some(reader.into());
    let second = runner.spawn(2, request).unwrap();
    assert_eq!(runner.spawn(3, shell("echo")).map(drop).unwrap_err().layer, "busy");
    drop(writer);
    assert_eq!(runner.finish(second).stdout, "second\n");
    let third = runner.spawn(3, shell("echo third")).unwrap();
    assert_eq!(runner.finish(third).stdout, "third\n");
    rustix::process::pidfd_send_signal(&first.pidfd, Signal::KILL).unwrap();
    let killed = runner.finish(first).outcome;
    assert_eq!((killed.limit, killed.status), (Some(Limit::Killed), Status::Signalled(9)));
}

/// Scheduling policies of the processes below process 1 of a jail: field 41 of proc_pid_stat(5).
fn policies(init: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    let children = children.split_ascii_whitespace().map(|number| number.parse::<u32>().unwrap());
    children
        .flat_map(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let own = fields.split_ascii_whitespace().nth(38).map(|policy| policy.parse().unwrap());
            own.into_iter().chain(policies(child))
        })
        .collect()
}

/// How many processors the children of a process may run on.
fn allowed(process: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_ascii_whitespace().filter_map(|child| Pid::from_raw(child.parse().unwrap()));
    pids.filter_map(|pid| Some(rustix::thread::sched_getaffinity(Some(pid)).ok()?.count()))
        .chain(children.split_ascii_whitespace().flat_map(|child| allowed(child.parse().unwrap())))
        .collect()
}

/// The shares of the sessions below a process, as the kernel tells them; none where it has no such shares.
fn shares(process: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let share = |child: &str| {
        let text = std::fs::read_to_string(format!("/proc/{child}/autogroup")).ok()?;
        Some(text.split_ascii_whitespace().next_back()?.to_owned())
    };
    let children = children.split_ascii_whitespace();
    children.flat_map(|child| share(child).into_iter().chain(shares(child.parse().unwrap()))).collect()
}

#[test]
fn a_tree_that_wants_many_more_processors_than_there_are_gives_way() {
    const IDLE: u32 = 5;
    let processors = std::thread::available_parallelism().unwrap().get();
    let crowd = 4 * processors + 8;
    if crowd > 60 {
        println!("not checked: {processors} processors are too many for the processes of one run");
        return;
    }
    let mut runner = Runner::start();
    let spinning = |count: usize| {
        let each =
            format!("i=0; while [ $i -lt {count} ]; do (while :; do :; done) & i=$((i+1)); done; wait");
        let mut request = shell(&each);
        request.spec.limits.processes = 64;
        request
    };
    // Process 1 of the jail that began last.
    let newest = |runner: &Runner| -> u32 {
        let id = runner.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_ascii_whitespace().next_back().unwrap().parse().unwrap()
    };
    let few = runner.spawn(1, spinning(2)).unwrap_or_else(|refused| panic!("{refused:?}"));
    let few_init = newest(&runner);
    let many = runner.spawn(2, spinning(crowd)).unwrap_or_else(|refused| panic!("{refused:?}"));
    let many_init = newest(&runner);
    let begun = Instant::now();
    while !policies(many_init).iter().filter(|policy| **policy == IDLE).count().gt(&crowd) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", policies(many_init));
        std::thread::sleep(Duration::from_millis(10));
    }
    let all = rustix::thread::sched_getaffinity(None).unwrap().count();
    let most = if all == 1 { 1 } else { all - (all / 8).max(1) };
    while allowed(many_init).iter().any(|count| *count > most) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", allowed(many_init));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(allowed(few_init), [all; 3]);
    if Path::new("/proc/self/autogroup").exists() {
        while shares(many_init).iter().filter(|share| *share == "19").count() <= crowd {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", shares(many_init));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(shares(few_init), ["0", "0", "0"]);
    } else {
        println!("not checked: this kernel gives sessions no shares of their own (CONFIG_SCHED_AUTOGROUP)");
    }
    // To count a crowd takes its process 1 long, so it does that where the crowd is.
    let own = |init: u32| {
        rustix::thread::sched_getaffinity(Pid::from_raw(init.cast_signed())).unwrap().count() as usize
    };
    assert_eq!((own(few_init), own(many_init)), (all as usize, most as usize));
    // Its neighbour is an ordinary one, and so are those that watch over both.
    assert_eq!(policies(few_init), [0, 0, 0]);
    let watching = policies(runner.child.id());
    assert_eq!(watching.iter().filter(|policy| **policy == 0).count(), 5, "{watching:?}");
    for run in [few, many] {
        rustix::process::pidfd_send_signal(&run.pidfd, Signal::KILL).unwrap();
        runner.finish(run);
    }
}

#[test]
fn everything_dies_with_the_server() {
    let mut runner = Runner::start();
    let mut run = runner.spawn(1, shell("(sleep 1000 &) ; echo up; sleep 1000")).unwrap();
    let mut up = [0; 3];
    run.stdout.read_exact(&mut up).unwrap();
    let (closed, mut rest) = (Instant::now(), String::new());
    // Nothing but the socket tells the runner.
    let (sender, receiver) = split(UnixStream::pair().unwrap().0, 1);
    drop((std::mem::replace(&mut runner.sender, sender), std::mem::replace(&mut runner.receiver, receiver)));
    run.stdout.read_to_string(&mut rest).unwrap();
    assert!(closed.elapsed() < Duration::from_secs(5));
    assert!(runner.child.wait().unwrap().success());
}

#[test]
fn everything_dies_with_the_runner() {
    let mut runner = Runner::start();
    let mut run = runner.spawn(1, shell("(sleep 1000 &) ; echo up; sleep 1000")).unwrap();
    let mut up = [0; 3];
    run.stdout.read_exact(&mut up).unwrap();
    let (killed, mut rest) = (Instant::now(), String::new());
    runner.child.kill().unwrap();
    run.stdout.read_to_string(&mut rest).unwrap();
    assert!(killed.elapsed() < Duration::from_secs(5));
}

#[test]
fn without_namespaces_it_refuses_and_says_so() {
    let unshare = ["/usr/bin/unshare", "/bin/unshare"].map(Path::new).into_iter().find(|path| path.exists());
    let unshare = unshare.expect("this test needs unshare(1) of util-linux");
    let mut command = Command::new(unshare);
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {RUNNER}");
    command.args(["--user", "--map-root-user", "/bin/sh", "-c", &script]);
    let mut runner = Runner::start_with(command, 2);
    let refused = runner.hello.jails.clone().unwrap_err();
    assert_eq!(refused.layer, "user namespace");
    assert!(refused.message.contains("user.max_user_namespaces"), "{}", refused.message);
    assert_eq!(runner.refused(shell("echo")), refused);
}

/// The findings that a command prints, and those among them that are not as expected.
fn findings(command: &mut Command) -> (Vec<Finding>, Vec<String>) {
    let output = command.env_clear().stdin(Stdio::null()).output().unwrap();
    let findings: Vec<Finding> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let wrong = findings.iter().filter(|finding| !finding.holds()).map(|finding| finding.probe.clone());
    let wrong = wrong.collect();
    (findings, wrong)
}

#[test]
fn the_self_test_finds_every_wall_in_place() {
    let (findings, wrong) = findings(Command::new(RUNNER).arg("--self-test"));
    assert_eq!(wrong, Vec::<String>::new());
    for (jail, at_least) in [("code", 60), ("workspace", 60), ("outside", 4)] {
        let count = findings.iter().filter(|finding| finding.jail == jail).count();
        assert!(count >= at_least, "{count} findings: {jail}");
    }
}

/// Makes a file two hours old.
fn make_old(path: &Path) {
    let then = std::time::SystemTime::now() - Duration::from_secs(7200);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn bait_of_a_killed_runner_is_removed_by_the_next() {
    let forgotten = format!("/tmp/llmc-trial-{}-1", u32::MAX);
    std::fs::create_dir_all(&forgotten).unwrap();
    std::fs::write(Path::new(&forgotten).join("file"), "bait").unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&forgotten, Some(63_999), Some(63_999)).unwrap();
    }
    // Young, it may belong to a runner in another container.
    findings(Command::new(RUNNER).arg("--self-test"));
    assert!(Path::new(&forgotten).exists());
    make_old(Path::new(&forgotten));
    findings(Command::new(RUNNER).arg("--self-test"));
    assert!(!Path::new(&forgotten).exists());
}

/// A probe that cannot fail proves nothing: without walls most of them find an open door. The namespaces around them
/// keep what they do from the machine.
#[test]
fn the_probes_of_the_self_test_notice_missing_walls() {
    let ground = r#"{"profile": "code", "isolation": "namespaces", "file": "/etc/passwd", "port": 9, "abstract_name": "no-such-listener", "socket": "/no-such-socket"}"#;
    // Writable is scratch space alone. The program may lie below it.
    let script = "exec 3< \"$0\" && for d in /usr /etc; do mount --rbind $d $d && mount -o remount,ro,bind $d || exit; done && mount -o remount,ro,bind / && \
                  mount -t tmpfs -o size=1m none /tmp && exec /proc/self/fd/3 --inside \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--ipc", "--uts", "--net", "--pid", "--fork"]);
    command.args(["--mount-proc", "/bin/sh", "-c", script, RUNNER, ground]);
    let (_, wrong) = findings(command.env("PATH", "/usr/bin:/bin"));
    for probe in [
        "own user",
        "mode of seccomp",
        "host name",
        "a file outside",
        "existence of a file outside",
        "/home",
        "/proc/sys",
        "Landlock: the closed file",
        "writing own memory",
        "unshare a user namespace",
        "memfd_create",
        "shmget",
        "setuid to root",
        "a unix socket",
        "an inet socket",
        "a child process",
        "clone3",
        "a program in scratch space",
        "more bytes than scratch space has",
    ] {
        assert!(wrong.iter().any(|wrong| wrong == probe), "`{probe}` noticed nothing: {wrong:?}");
    }
}

#[test]
fn by_hand_it_tells_what_it_is_for() {
    let output = Command::new(RUNNER).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("llmc starts this program"));
    let output = Command::new(RUNNER).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--survey"));
}

#[test]
fn the_survey_lists_every_layer() {
    let output = Command::new(RUNNER).arg("--survey").output().unwrap();
    let layers: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let status = |name: &str| {
        let layer = layers.iter().find(|layer| layer["name"] == name).unwrap_or_else(|| panic!("{name}"));
        layer["status"].clone()
    };
    for name in ["landlock", "seccomp", "no_new_privs", "user namespace", "mount namespace", "pid namespace"]
    {
        assert!(status(name)["active"]["detail"].is_string(), "{name}: {}", status(name));
    }
    let cgroups = status("cgroups");
    assert!(cgroups["missing"]["why"].is_string() || cgroups["active"]["detail"].is_string(), "{cgroups}");
}

#[test]
fn starting_takes_milliseconds() {
    let mut runner = Runner::start();
    let mut times: Vec<(Duration, Duration)> = (0..20)
        .map(|_| {
            let started = Instant::now();
            let run =
                runner.spawn(1, request(Profile::Workspace, Program::File("/bin/true".into()), &[])).unwrap();
            let up = started.elapsed();
            runner.finish(run);
            (up, started.elapsed())
        })
        .collect();
    times.sort();
    println!(
        "/bin/true in a jail, median of 20: started after {:?}, gone after {:?}",
        times[10].0, times[10].1
    );
    assert!(times[10].1 < Duration::from_secs(1));
}
