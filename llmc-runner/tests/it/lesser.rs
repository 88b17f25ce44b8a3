//! Where the kernel gives no user namespaces. They are taken away in a throw-away user namespace, whose settings are
//! its own.

use super::*;

/// The runner without user namespaces, as an ordinary user.
fn without_user_namespaces() -> (Command, tempfile::TempDir) {
    // Below /tmp everybody gets to it.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("llmc-runner");
    std::fs::copy(RUNNER, &program).unwrap();
    open_to_all(dir.path());
    open_to_all(&program);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\"";
    let in_own = ["unshare", "--user", "--map-root-user", "/bin/sh", "-c", script];
    let as_user = ["setpriv", "--reuid", "64123", "--regid", "64123", "--clear-groups"];
    let is_root = rustix::process::geteuid().is_root();
    let words: Vec<&str> = as_user.into_iter().filter(|_| is_root).chain(in_own).collect();
    let mut command = Command::new(format!("/usr/bin/{}", words[0]));
    command.args(&words[1..]).arg(&program);
    (command, dir)
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn lesser() -> (Runner, tempfile::TempDir) {
    let (command, dir) = without_user_namespaces();
    let runner = Runner::start_for(command, 4, Isolation::Landlock);
    assert_eq!(runner.hello.jails, Ok(Isolation::Landlock));
    (runner, dir)
}

/// What lies in /tmp of runs of a runner of this number.
fn left_behind(pid: u32) -> Vec<String> {
    let prefix = format!("llmc-run-{pid}-");
    let names = std::fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix)).collect()
}

#[test]
fn whole_jails_are_required_unless_said_otherwise() {
    let (command, _dir) = without_user_namespaces();
    let mut runner = Runner::start_for(command, 2, Isolation::Namespaces);
    let refused = runner.hello.jails.clone().unwrap_err();
    assert_eq!(refused.layer, "user namespace");
    assert_eq!(runner.refused(python("print(1)")), refused);
}

#[test]
fn whole_jails_are_made_where_they_can_be() {
    let mut runner = Runner::start_for(Command::new(RUNNER), 2, Isolation::Landlock);
    assert_eq!(runner.hello.jails, Ok(Isolation::Namespaces));
    assert_eq!(runner.run(shell("echo ok")).stdout, "ok\n");
}

#[test]
fn code_runs_with_all_that_it_was_given() {
    let (mut runner, _dir) = lesser();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"typed").unwrap();
    drop(writer);
    let (job, mut other) = UnixStream::pair().unwrap();
    let mut request = request(
        Profile::Code,
        Program::Engine("python".into()),
        &["-I", "-S", "-X", "utf8", "/llmc/boot.py", "plain /llmc/x"],
    );
    let code = "import sys, os, json, sqlite3, asyncio, threading, decimal\n\
                here = __file__.rpartition('/')[0]\n\
                print(sys.stdin.read(), open(here + '/note').read(), os.environ['GIVEN'], sys.argv[1])\n\
                os.write(3, b'told'); open('/dev/null', 'w').write('x')\n\
                async def f(): return await asyncio.to_thread(lambda: 42)\n\
                print(asyncio.run(f()), sqlite3.connect(':memory:').execute('select 1').fetchall())\n\
                print('err', file=sys.stderr)\n";
    request.spec.files = vec![
        File { name: "boot.py".into(), contents: code.into() },
        File { name: "note".into(), contents: "noted".into() },
    ];
    request.spec.env = vec![("GIVEN".into(), "given".into())];
    (request.spec.stdin, request.spec.job) = (true, true);
    (request.stdin, request.job) = (Some(reader.into()), Some(job.into()));
    let done = runner.run(request);
    assert_eq!(done.outcome.status, Status::Exited(0), "{}", done.stderr);
    assert_eq!(done.stdout, "typed noted given plain /llmc/x\n42 [(1,)]\n");
    assert_eq!((done.stderr.as_str(), done.outcome.limit), ("err\n", None));
    let mut told = String::new();
    other.read_to_string(&mut told).unwrap();
    assert_eq!(told, "told");
    assert_eq!(left_behind(runner.child.id()), [""; 0], "its files are gone with it");
}

/// What a runner leaves that is killed, the next one removes.
#[test]
fn files_of_a_killed_runner_are_removed_by_the_next() {
    let with_file = |code: &str| {
        let mut request = python("");
        request.spec.args = ["-I", "-S", "/llmc/boot.py"].map(str::to_owned).into();
        request.spec.files = vec![File { name: "boot.py".into(), contents: code.into() }];
        request
    };
    let (mut first, _first_dir) = lesser();
    assert_eq!(first.run(with_file("print(6 * 7)")).stdout, "42\n");
    let pid = first.child.id();
    assert_eq!(left_behind(pid), [""; 0]);
    let mut run =
        first.spawn(1, with_file("print('up', flush=True)\nimport time; time.sleep(1000)")).unwrap();
    run.stdout.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(left_behind(pid).len(), 1);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let [left] = &left_behind(pid)[..] else { panic!("one directory: {:?}", left_behind(pid)) };
    make_old(&Path::new("/tmp").join(left));
    let (mut second, _second_dir) = lesser();
    assert_eq!(second.run(with_file("print(6 * 7)")).stdout, "42\n");
    assert_eq!(left_behind(pid), [""; 0]);
}

#[test]
fn code_reads_nothing_of_the_machine_and_changes_nothing() {
    let bait = tempfile::tempdir_in("/tmp").unwrap();
    open_to_all(bait.path());
    let file = bait.path().join("file");
    std::fs::write(&file, "bait").unwrap();
    if rustix::process::geteuid().is_root() {
        // The payload's own file: only the walls protect it.
        std::os::unix::fs::chown(&file, Some(64123), Some(64123)).unwrap();
        std::os::unix::fs::chown(bait.path(), Some(64123), Some(64123)).unwrap();
    }
    let before = std::fs::metadata(&file).unwrap();
    let (mut runner, _dir) = lesser();
    let script = format!(
        r#"
import os, errno, signal, socket, subprocess, ctypes
file, folder, parent = {file:?}, {folder:?}, os.getppid()
def attempt(f):
    try: f(); return 'POSSIBLE'
    except OSError as e: return errno.errorcode[e.errno]
for name, f in dict(
    read=lambda: open(file), write=lambda: open(file, 'w'), append=lambda: open(file, 'a'), make=lambda: open(folder + '/new', 'x'),
    temporary=lambda: open('/tmp/llmc-{pid}', 'x'), directory=lambda: os.mkdir(folder + '/d'), remove=lambda: os.remove(file),
    rename=lambda: os.rename(file, file + '2'), link=lambda: os.link(file, file + '2'), symlink=lambda: os.symlink(file, folder + '/l'),
    chmod=lambda: os.chmod(file, 0o777), chown=lambda: os.chown(file, 64123, 64123), utime=lambda: os.utime(file, (1, 1)),
    truncate=lambda: os.truncate(file, 1), xattr=lambda: os.setxattr(file, 'user.x', b'x'), listing=lambda: os.listdir(folder),
    root=lambda: os.listdir('/'), proc=lambda: os.listdir('/proc'), status=lambda: open('/proc/%d/status' % parent),
    environ=lambda: open('/proc/self/environ'), net=lambda: open('/proc/self/net/tcp'), fork=os.fork,
    spawn=lambda: os.posix_spawn('/bin/true', ['true'], dict()), execute=lambda: os.execv('/bin/true', ['true']),
    kill=lambda: os.kill(parent, 0), kill_all=lambda: os.kill(-1, 0), kill_group=lambda: os.killpg(0, 0), one=lambda: os.kill(1, 0),
    inet=lambda: socket.socket(), unix=lambda: socket.socket(socket.AF_UNIX), dgram=lambda: socket.socketpair(type=socket.SOCK_DGRAM),
    fifo=lambda: os.mkfifo(folder + '/f'), chdir=lambda: os.chdir('/tmp'), memfd=lambda: os.memfd_create('x'),
    death=lambda: ctypes.CDLL(None, use_errno=True).prctl(1, 0) == 0 or exec('raise OSError(ctypes.get_errno(), "")'),
    nice=lambda: os.setpriority(os.PRIO_PROCESS, 0, 5), schedule=lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
).items(): print(name, attempt(f))
print('self', attempt(lambda: os.kill(os.getpid(), 0)), 'pair', attempt(socket.socketpair), os.getpid() != 2)
"#,
        file = file.to_str().unwrap(),
        folder = bait.path().to_str().unwrap(),
        pid = std::process::id(),
    );
    let done = runner.run(python(&script));
    assert_eq!(done.outcome.status, Status::Exited(0), "{}", done.stderr);
    let (last, attempts) = done.stdout.trim().rsplit_once('\n').unwrap();
    assert_eq!(attempts, "self POSSIBLE pair POSSIBLE True");
    for line in last.lines() {
        let (name, outcome) = line.split_once(' ').unwrap();
        assert!(["EACCES", "EPERM", "ENOSYS", "EXDEV"].contains(&outcome), "{name}: {outcome}");
    }
    assert_eq!(last.lines().count(), 37, "{last}");
    let after = std::fs::metadata(&file).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "bait");
    assert_eq!(std::fs::read_dir(bait.path()).unwrap().count(), 1);
}

#[test]
fn limits_hold_and_are_named() {
    let (mut runner, _dir) = lesser();
    let limited = |script: &str, change: fn(&mut Limits)| {
        let mut request = python(script);
        change(&mut request.spec.limits);
        request
    };
    let memory = "x = bytearray(1 << 20)\nwhile True: x += bytes(1 << 20)";
    let memory = limited(memory, |limits| limits.memory_bytes = 64 << 20);
    assert_eq!(runner.run(memory).outcome.limit, Some(Limit::Memory));
    let cpu = limited("while True: pass", |limits| limits.cpu_ms = 200);
    assert_eq!(runner.run(cpu).outcome.limit, Some(Limit::Cpu));
    let wall =
        limited("print('begun', flush=True)\nimport time; time.sleep(1000)", |limits| limits.wall_ms = 200);
    let wall = runner.run(wall);
    assert_eq!((wall.outcome.limit, wall.stdout.as_str()), (Some(Limit::Wall), "begun\n"));
    let threads = "import threading, time\n\
                   for _ in range(100): threading.Thread(target=time.sleep, args=(5,)).start()";
    let threads = limited(threads, |limits| limits.processes = 8);
    assert_eq!(runner.run(threads).outcome.limit, Some(Limit::Processes));
    let few = "import threading\n\
               t = [threading.Thread(target=print, args=(n,)) for n in range(4)]\n\
               for x in t: x.start()\nfor x in t: x.join()";
    let few = runner.run(limited(few, |limits| limits.processes = 8));
    assert_eq!((few.outcome.limit, few.stdout.lines().count()), (None, 4));
}

#[test]
fn commands_are_refused_and_say_why() {
    let (mut runner, _dir) = lesser();
    let refused = runner.refused(shell("echo"));
    assert_eq!(refused.layer, "user namespace");
    assert!(refused.message.contains("`workspace` is not run without namespaces"), "{}", refused.message);
    assert_eq!(runner.run(python("print(6 * 7)")).stdout, "42\n");
}

#[test]
fn a_killed_run_leaves_no_process() {
    let (mut runner, _dir) = lesser();
    let script = "import os, signal, time\n\
                  for s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n\
                  print(os.getpid(), flush=True)\ntime.sleep(1000)";
    for end in ["the guardian by its handle", "the runner"] {
        let mut run = runner.spawn(1, python(script)).unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while byte != [b'\n'] {
            run.stdout.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let payload = String::from_utf8(line).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&payload).exists());
        match end {
            "the runner" => runner.child.kill().unwrap(),
            _ => {
                rustix::process::pidfd_send_signal(&run.pidfd, Signal::KILL).unwrap();
            }
        }
        let mut rest = String::new();
        run.stdout.read_to_string(&mut rest).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Path::new("/proc").join(&payload).exists() {
            assert!(Instant::now() < deadline, "the payload outlives {end}");
            std::thread::sleep(Duration::from_millis(5));
        }
        if end != "the runner" {
            assert_eq!(runner.finish(run).outcome.limit, Some(Limit::Killed));
        }
    }
}

/// A payload must never be root of the machine, not even without capabilities.
#[test]
fn root_that_cannot_become_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can be root here; then payloads run as that user, as the other tests show.
        return;
    }
    let mut command = Command::new("/usr/bin/unshare");
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {RUNNER}");
    command.args(["--user", "--map-root-user", "/bin/sh", "-c", &script]);
    let runner = Runner::start_for(command, 2, Isolation::Landlock);
    assert_eq!(runner.hello.jails.clone().unwrap_err().layer, "identity");
}
