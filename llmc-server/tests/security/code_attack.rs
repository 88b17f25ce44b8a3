//! Code that a model wrote and that wants out: it is contained, the limit that ended it is named, and the server goes
//! on answering.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::neighbour::{PACE, call_beside_hello, hello};
use crate::observe::{descendants, kib};
use crate::prerequisites::not_checked;
use crate::support::{Called, Server, Setup, eventually, processes};

/// `exec` with small limits, and the neighbour.
fn config(limits: &str) -> String {
    format!(
        "[plugins.hello]\nlibrary = 'hello'\n[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = {{ run = {{ profile = 'code', limits = {{ {limits} }} }} }}"
    )
}

fn serve(limits: &str) -> Server {
    let mut server = Setup::new(&config(limits)).env("OPENAI_API_KEY", "sk-tell-nobody-77c1").serve();
    hello(&mut server);
    server
}

/// Runs code beside calls of `hello`; the whole structured answer, whether it succeeded or not.
fn run(server: &mut Server, code: &str) -> (Called, Value) {
    let arguments = json!({"code": code, "timeout_ms": 20_000});
    let (called, _) = call_beside_hello(server, "execute_code", arguments);
    let done = called.0["result"]["structuredContent"].clone();
    assert!(done.is_object(), "{called:?}");
    (called, done)
}

/// Runs a block of Python that builds `result`.
#[track_caller]
fn result_of(server: &mut Server, code: &str) -> Value {
    let (called, done) = run(server, code);
    assert!(!called.is_error(), "{done:#}");
    done["result"].clone()
}

#[test]
fn what_the_server_knows_is_out_of_reach() {
    let mut server = serve("");
    let code = r#"
import os
def attempt(act):
    try:
        return repr(act())[:200]
    except BaseException as error:
        return type(error).__name__
def read(path):
    with open(path, "rb") as file:
        return file.read(200)
{
    "environ": str(dict(os.environ)),
    **{path: attempt(lambda: read(path)) for path in (
        "/proc/1/environ", f"/proc/SERVER/environ", "/proc/SERVER/mem", "/proc/SERVER/cmdline", "/proc/SERVER/root/etc/hostname",
        f"/proc/{os.getppid()}/environ", "/etc/shadow", "/root/.ssh/id_rsa", "/etc/passwd", "/proc/kcore", "/proc/keys",
        "/dev/mem", "/dev/sda", "/dev/vda", "/run/docker.sock", "/var/run/secrets", "CONFIG")},
    "root": attempt(lambda: os.listdir("/root")),
    "home": attempt(lambda: os.listdir("/home")),
    "sys": attempt(lambda: os.listdir("/sys")),
    "pids": [name for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else [],
}
"#;
    let file = server.setup.folder.path().join("llmc.toml");
    let code = code.replace("SERVER", &server.pid().to_string()).replace("CONFIG", file.to_str().unwrap());
    let mut result = result_of(&mut server, &code);
    assert!(!result.to_string().contains("tell-nobody"), "{result:#}");
    let pids = result["pids"].take();
    assert!(pids.as_array().unwrap().len() <= 4, "only its own tree is visible: {pids}");
    result.as_object_mut().unwrap().retain(|name, _| !["environ", "pids"].contains(&name.as_str()));
    let errors = ["FileNotFoundError", "PermissionError", "NotADirectoryError", "ProcessLookupError"];
    // What is empty says nothing either.
    let harmless = |text: &str| errors.contains(&text) || text == "b''" || text == "[]";
    // A name list that the interpreter may need; it must be its own and not the host's.
    let host_users = std::fs::read_to_string("/etc/passwd").unwrap();
    for (path, outcome) in result.as_object().unwrap() {
        let outcome = outcome.as_str().unwrap();
        let own_names = path == "/etc/passwd"
            && !host_users.starts_with(outcome.trim_start_matches("b'").split("\\n").next().unwrap());
        assert!(harmless(outcome) || own_names, "{path}: {outcome}");
    }
    server.stop();
}

#[test]
fn nothing_is_written_but_scratch_and_that_is_gone_with_the_run() {
    let mut server = serve("");
    let code = r#"
import os, tempfile
written = []
for folder in ("/", "/etc", "/usr", "/usr/lib", "/llmc", "/proc", "/dev", "/root", "/home", "/var/tmp", "/run", "/work", "/dev/shm", os.getcwd(),
               os.path.dirname(os.__file__), "FOLDER"):
    try:
        with open(os.path.join(folder, "llmc-escape-test"), "x") as file:
            file.write("escaped")
        written.append(folder)
    except OSError:
        pass
seen = [name for name in os.listdir("/tmp")]
open("/tmp/mark", "w").write("left by the first run")
{"written": written, "seen": seen, "cwd": os.getcwd()}
"#;
    let folder = server.setup.folder.path().to_owned();
    let code = code.replace("FOLDER", folder.to_str().unwrap());
    for _ in 0..2 {
        let result = result_of(&mut server, &code);
        let scratch = ["/tmp", result["cwd"].as_str().unwrap(), "/dev/shm"];
        for place in result["written"].as_array().unwrap() {
            assert!(scratch.contains(&place.as_str().unwrap()), "{result:#}");
        }
        assert!(!result["seen"].to_string().contains("mark"), "a run sees what another left: {result:#}");
    }
    for place in ["/", "/etc", "/usr", "/tmp", "/var/tmp", "/dev/shm", folder.to_str().unwrap()] {
        assert!(!std::path::Path::new(place).join("llmc-escape-test").exists(), "{place}");
    }
    server.stop();
}

/// Runs a block of Python as code and as a command, the two kinds of jail; `result` is what it builds.
fn in_both_jails(setup: Setup, code: &str, mut check: impl FnMut(&Value)) {
    let mut server = setup.serve();
    check(&result_of(&mut server, code));
    let printing = "import ast, json, sys\ntree = ast.parse(sys.stdin.read())\nlast = ast.Expression(tree.body.pop().value)\n\
                    names = {}\nexec(compile(tree, 'code', 'exec'), names)\n\
                    print(json.dumps(eval(compile(last, 'code', 'eval'), names)))";
    let arguments = json!({"argv": ["python3", "-I", "-S", "-c", printing], "stdin": code});
    let called = server.call("run_command", arguments);
    assert_eq!(called.ok()["exit_code"], 0, "{called:?}");
    check(&serde_json::from_str(called.ok()["stdout"].as_str().unwrap()).unwrap());
    hello(&mut server);
    server.stop();
}

/// Both kinds of jail, and the neighbour.
const BOTH: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\n[plugins.hello]\nlibrary = 'hello'\n\
                    [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n\
                    [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
                    grants = { roots = ['work'], run = { profile = 'workspace', programs = ['python3'] } }\n\
                    [programs.python3]\nrules = 'none'";

#[test]
fn no_listener_of_this_machine_is_reached() {
    let setup = Setup::new(BOTH);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp6 = TcpListener::bind("[::1]:0").ok();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // In the granted root, so that its file is in sight of the command.
    let path = setup.work("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let name = format!("llmc-security-test-{}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    unix.set_nonblocking(true).unwrap();
    hidden.set_nonblocking(true).unwrap();

    let code = format!(
        r#"
import socket, errno
def attempt(family, kind, address):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.connect(address)
            s.send(b"x")
            return "reached"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
[
    attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {tcp})),
    attempt(socket.AF_INET6, socket.SOCK_STREAM, ("::1", {tcp6})),
    attempt(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {udp})),
    attempt(socket.AF_UNIX, socket.SOCK_STREAM, {path:?}),
    attempt(socket.AF_UNIX, socket.SOCK_STREAM, "/work/socket"),
    attempt(socket.AF_UNIX, socket.SOCK_DGRAM, "/work/socket"),
    attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\0{name}"),
    attempt(socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)),
]
"#,
        tcp = tcp.local_addr().unwrap().port(),
        tcp6 = tcp6.as_ref().map_or(9, |listener| listener.local_addr().unwrap().port()),
        udp = udp.local_addr().unwrap().port(),
    );
    in_both_jails(setup, &code, |result| {
        assert_eq!(result.as_array().unwrap().len(), 8);
        assert!(!result.to_string().contains("reached"), "{result:#}");
        assert!(tcp.accept().is_err() && unix.accept().is_err() && hidden.accept().is_err());
        assert!(udp.recv(&mut [0; 8]).is_err());
        // The control: the listeners do listen.
        std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        tcp.accept().unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        unix.accept().unwrap();
    });
}

#[test]
fn an_endless_loop_ends_and_its_limit_is_named() {
    let mut server = serve("wall_ms = 1500");
    let (called, done) = run(&mut server, "while True:\n    pass");
    assert!(called.is_error());
    assert_eq!((&done["limit"], &done["timed_out"]), (&json!("wall"), &json!(true)), "{done:#}");
    assert!(done["usage"]["wall_ms"].as_u64().unwrap() < 6000, "{done:#}");

    let (_, done) = run(&mut server, "import time\ntime.sleep(600)");
    assert_eq!(done["limit"], "wall", "{done:#}");
    // Deaf to everything that can be ignored.
    let code = "import signal, time\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n    \
                except (OSError, ValueError):\n        pass\nwhile True:\n    try:\n        time.sleep(600)\n    except BaseException:\n        pass";
    let (_, done) = run(&mut server, code);
    assert_eq!(done["limit"], "wall", "{done:#}");
    assert_eq!(run(&mut server, "6 * 7").1["result"], 42);
    server.stop();
}

#[test]
fn processor_time_ends_and_its_limit_is_named() {
    let mut server = serve("cpu_ms = 1000");
    let (called, done) = run(&mut server, "while True:\n    pass");
    assert!(called.is_error());
    assert_eq!(done["limit"], "cpu", "{done:#}");
    assert!(done["usage"]["wall_ms"].as_u64().unwrap() < 15_000, "{done:#}");
    server.stop();
}

/// Probes that harm nobody wherever they run; the fork bomb runs only where they are satisfied.
const IS_A_JAIL: &str = r#"
import os
own_pid_namespace = os.getpid() < 20
visible = [name for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []
is_a_jail = own_pid_namespace and os.getuid() != 0 and os.geteuid() != 0 and len(visible) < 20 and not os.path.exists("/etc/shadow")
"#;

/// At most this many processes are ever asked for: enough to pass any limit, too few to hurt.
const BOMB: &str = r#"
import errno, time
started, refused = 0, None
if is_a_jail:
    for _ in range(300):
        try:
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            started += 1
        except OSError as error:
            refused = errno.errorcode[error.errno]
            break
"#;

#[test]
fn code_cannot_fork_at_all() {
    let mut server = serve("");
    let result = result_of(&mut server, &format!("{IS_A_JAIL}\nis_a_jail"));
    assert_eq!(result, true, "this is no jail: no fork bomb is tried");
    let before = processes().len();
    let result = result_of(&mut server, &format!("{IS_A_JAIL}{BOMB}\n[started, refused]"));
    assert_eq!(result[0], 0, "{result:#}");
    assert!(["EPERM", "EAGAIN", "ENOSYS"].contains(&result[1].as_str().unwrap()), "{result:#}");
    assert!(processes().len() < before + 50);
    server.stop();
}

#[test]
fn a_thread_bomb_ends_at_the_limit_of_processes() {
    let mut server = serve("processes = 12");
    assert_eq!(result_of(&mut server, &format!("{IS_A_JAIL}\nis_a_jail")), true, "this is no jail");
    let code = r#"
import threading
gate, started, refused = threading.Event(), 0, None
for _ in range(300):
    try:
        threading.Thread(target=gate.wait, daemon=True).start()
        started += 1
    except RuntimeError as error:
        refused = str(error)
        break
gate.set()
[started, refused]
"#;
    let result = result_of(&mut server, code);
    assert!(result[0].as_u64().unwrap() < 12, "{result:#}");
    assert!(result[1].is_string(), "{result:#}");
    server.stop();
}

#[test]
fn a_fork_bomb_in_a_command_ends_at_the_limit_of_processes() {
    let cmd = "[roots]\nwork = { path = '{work}', access = 'rw' }\n[plugins.hello]\nlibrary = 'hello'\n\
               [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\ngrants = { roots = ['work'], \
               run = { profile = 'workspace', programs = ['python3'], limits = { processes = 20, wall_ms = 20000 } } }\n\
               [programs.python3]\nrules = 'none'";
    let mut server = Setup::new(cmd).serve();
    let python = |code: &str| json!({"argv": ["python3", "-I", "-S", "-c", code]});
    // Harmless probes first, in a jail of the same grant.
    let probe = server.call("run_command", python(&format!("{IS_A_JAIL}\nprint(is_a_jail)")));
    assert_eq!(probe.ok()["stdout"], "True\n", "this is no jail: no fork bomb is tried");

    let below = descendants(server.pid());
    let bomb = format!("{IS_A_JAIL}{BOMB}\nprint(started, refused, flush=True)\ntime.sleep(1)");
    let id = server.send_call("run_command", python(&bomb));
    let mut most = 0;
    while !server.is_answered_within(id, PACE) {
        hello(&mut server);
        most = most.max(descendants(server.pid()).difference(&below).count());
    }
    let called = server.called(id);
    let stdout = called.ok()["stdout"].as_str().unwrap().to_owned();
    let (started, refused) = stdout.trim().split_once(' ').unwrap();
    assert!((5..20).contains(&started.parse::<u32>().unwrap()), "{called:?}");
    assert_eq!(refused, "EAGAIN", "{called:?}");
    // The jail's own first process and the runner's part in it come on top.
    assert!((5..25).contains(&most), "{most} processes at a time: {called:?}");
    eventually("the tree ends with the call", || descendants(server.pid()).difference(&below).count() == 0);
    server.stop();
}

#[test]
fn a_memory_bomb_ends_at_its_limit() {
    let mut server = serve("memory_bytes = 134217728");
    let memory = kib(server.pid(), "VmHWM");
    let bombs = [
        "x = []\nwhile True:\n    x.append(bytearray(1 << 20))",
        "x = 'a' * (1 << 40)",
        "open('/tmp/file', 'wb').write(bytes(1 << 30))",
        "x = 10 ** (10 ** 10)",
    ];
    for bomb in bombs {
        let (called, done) = run(&mut server, bomb);
        assert!(called.is_error(), "{bomb}: {done:#}");
        let named = done["limit"].is_string()
            || ["MemoryError", "OSError", "OverflowError"]
                .contains(&done["error"]["type"].as_str().unwrap_or_default());
        assert!(named, "{bomb}: {done:#}");
        assert!(done["usage"]["peak_memory_bytes"].as_u64().unwrap() < 256 << 20, "{bomb}: {done:#}");
    }
    // One that does not give in.
    let (called, done) = run(
        &mut server,
        "x = []\nwhile True:\n    try:\n        x.append(bytearray(1 << 20))\n    except MemoryError:\n        pass",
    );
    assert!(called.is_error() && done["limit"].is_string(), "{done:#}");
    assert!(kib(server.pid(), "VmHWM") - memory < 64 << 10, "the server does not grow with the bomb");
    assert_eq!(run(&mut server, "6 * 7").1["result"], 42);
    server.stop();
}

#[test]
fn endless_output_is_cut_and_named() {
    let mut server = serve("");
    let memory = kib(server.pid(), "VmHWM");
    let begun = Instant::now();
    // 10 GB, if nobody stops it.
    let (called, done) = run(&mut server, "line = 'x' * 99999\nfor _ in range(100_000):\n    print(line)");
    assert!(called.is_error(), "{done:#}");
    assert!(done["limit"].is_string(), "{}", done["limit"]);
    assert_eq!(done["truncated"], true);
    assert!(done["stdout"].as_str().unwrap().len() < 200_000);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(kib(server.pid(), "VmHWM") - memory < 64 << 10, "the server does not grow with the output");
    server.stop();
}

#[test]
fn a_deep_recursion_and_a_crash_of_the_interpreter_are_named() {
    let mut server = serve("");
    let (called, done) = run(
        &mut server,
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n):\n    return f(n + 1) + 1\nf(0)",
    );
    assert!(called.is_error() && !done["error"]["message"].as_str().unwrap().is_empty(), "{done:#}");
    let (called, done) = run(&mut server, "import ctypes\nctypes.string_at(8)");
    assert!(called.is_error(), "{done:#}");
    assert!(done["error"]["message"].as_str().unwrap().contains("SIGSEGV"), "{done:#}");
    assert_eq!(run(&mut server, "6 * 7").1["result"], 42);
    server.stop();
}

#[test]
fn code_sees_no_descriptor_that_it_does_not_need() {
    let mut server = serve("");
    let code = "import os\nopen_ones = {}\nfor n in range(256):\n    try:\n        os.fstat(n)\n        open_ones[n] = 1\n    \
                except OSError:\n        pass\nsorted(open_ones)";
    let result = result_of(&mut server, code);
    let numbers: BTreeSet<u64> =
        result.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect();
    // Standard streams and the job's socket.
    assert!(numbers.is_subset(&BTreeSet::from([0, 1, 2, 3])), "{result}");
    server.stop();
}

#[test]
fn code_cannot_reach_parts_of_the_kernel_that_it_does_not_need() {
    if cfg!(not(target_arch = "x86_64")) {
        return not_checked("system calls by number from code, which are those of x86-64");
    }
    let code = r#"
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def attempt(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return "OK" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))
CALLS = dict(
    unshare=(272, 0x10000000), mount=(165, 0, b"/", b"tmpfs", 0, 0), chroot=(161, b"/"), setns=(308, 0, 0), ptrace=(101, 0, 0, 0, 0),
    io_uring_setup=(425, 1, 0), bpf=(321, 0, 0, 0), keyctl=(250, 0, -3, 0), userfaultfd=(323, 1), perf_event_open=(298, 0, 0, -1, -1, 0),
    memfd_create=(319, b"x", 0), inotify_init1=(294, 0), pidfd_getfd=(438, 0, 0, 0), process_vm_readv=(310, 1, 0, 0, 0, 0, 0),
    open_by_handle_at=(304, -100, 0, 0), kexec_load=(246, 0, 0, 0, 0), swapon=(167, b"/x", 0), syslog=(103, 3, 0, 0), reboot=(169, 0, 0, 0, 0),
    add_key=(248, b"user", b"x", b"y", 1, -3), shmget=(29, 0, 4096, 0o1600), personality=(135, 0x0400000), socket_netlink=(41, 16, 3, 0),
    socket_vsock=(41, 40, 1, 0), socket_alg=(41, 38, 5, 0), socket_packet=(41, 17, 3, 0),
)
{name: attempt(*call) for name, call in CALLS.items()}
"#;
    in_both_jails(Setup::new(BOTH), code, |result| {
        for (call, outcome) in result.as_object().unwrap() {
            let outcome = outcome.as_str().unwrap();
            assert!(["EPERM", "ENOSYS", "EACCES", "EAFNOSUPPORT"].contains(&outcome), "{call}: {outcome}");
        }
    });
}
