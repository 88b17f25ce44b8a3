//! Jails forked ahead of time: the same walls as a cold start, nothing shared between runs, nothing left behind.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::observe::{Process, adopt_orphans, descendants, orphans};
use crate::support::{Server, Setup, children, comm, eventually};

const EXEC: &str = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n";

/// Tells from inside whether this interpreter was forked from one that had imported the usual modules.
const IS_PARKED: &str = "import sys; result = 'asyncio' in sys.modules";

fn run(server: &mut Server, code: &str) -> Value {
    server.call("execute_code", json!({"code": code})).ok()["result"].clone()
}

/// Runs code until the runs begin in jails that waited.
fn warm(server: &mut Server) {
    eventually("runs begin in jails that waited", || run(server, IS_PARKED) == json!(true));
}

fn warm_server(limits: &str) -> Server {
    let mut server = Setup::new(&format!("{EXEC}{limits}")).serve();
    warm(&mut server);
    server
}

/// The interpreter from which jails are forked: the runner's jail (process 1) has it as its child.
fn zygote(server: &Server) -> u32 {
    let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
    let below = descendants(runner);
    // What it forks is a process 1 with a child each.
    let has_grandchildren = |process: &&Process| {
        comm(process.pid).is_some_and(|name| name.starts_with("python"))
            && children(process.pid).into_iter().any(|child| !children(child).is_empty())
    };
    let zygotes: Vec<_> = below.iter().filter(has_grandchildren).map(|process| process.pid).collect();
    let [zygote] = zygotes[..] else { panic!("one zygote: {zygotes:?}") };
    zygote
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Everything that a jail shows of its walls.
const WALLS: &str = r#"
import os, sys, socket, resource, signal, stat
def outcome(action):
    try:
        return repr(action())
    except BaseException as error:
        return "%s %s" % (type(error).__name__, getattr(error, "errno", ""))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
wanted = "Uid Gid Groups NSpid CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp SigBlk".split()
result = {name: status[name].split() for name in wanted}
result["limits"] = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
result["mounts"] = sorted({(line.split()[1], line.split()[2]) for line in open("/proc/self/mounts")})
# A mount that covers another hides it; what counts is the last one at a place.
result["flags"] = {line.split()[1]: sorted(set(line.split()[3].split(",")) & {"ro", "rw", "nosuid", "nodev", "noexec"}) for line in open("/proc/self/mounts")}
result["fds"] = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:4]
result["types"] = [stat.S_IFMT(os.fstat(fd).st_mode) for fd in range(4)]
result["proc"] = sorted(name for name in os.listdir("/proc") if not name.isdigit())
result["pids"] = sorted(name for name in os.listdir("/proc") if name.isdigit())
result["env"] = sorted(os.environ.items())
result["cwd"], result["scratch"], result["host"] = os.getcwd(), os.listdir("/tmp"), socket.gethostname()
result["space"] = [getattr(os.statvfs("/tmp"), name) for name in ("f_blocks", "f_bfree", "f_files", "f_ffree")]
result["umask"] = os.umask(0o022)
result["ids"] = os.getpid(), os.getppid(), os.getsid(0), os.getpgrp()
result["argv"], result["path"], result["flags of python"] = sys.argv, sys.path, str(sys.flags)
result["streams"] = [(s.name, s.encoding, s.errors, s.line_buffering, s.isatty()) for s in (sys.stdin, sys.stdout, sys.stderr)]
result["signals"] = [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM)]
result["main"] = sorted(name for name in dir(sys.modules["__main__"]) if name not in globals()), __name__
result["attempts"] = {
    "list /": outcome(lambda: os.listdir("/")),
    "canary": outcome(lambda: open("/.llmc-canary").read()),
    "write /": outcome(lambda: open("/x", "w")),
    "write /llmc": outcome(lambda: open("/llmc/x", "w")),
    "socket": outcome(lambda: socket.socket()),
    "fork": outcome(os.fork),
    "process 1": outcome(lambda: os.listdir("/proc/1")),
    "settings": outcome(lambda: open("/proc/sys/kernel/core_pattern").read()),
    "own environment": outcome(lambda: open("/proc/self/environ", "rb").read()),
    "own use of disks": outcome(lambda: open("/proc/self/io").read().count("\n")),
    "where llmc is installed": [line for line in open("/proc/self/maps") if "libexec" in line],
    "becoming a subreaper": outcome(lambda: __import__("ctypes").CDLL(None).prctl(36, 1, 0, 0, 0)),
    "the kind of filter": outcome(lambda: __import__("ctypes").CDLL(None).prctl(21, 0, 0, 0, 0)),
    "network": outcome(lambda: open("/proc/net/dev").read()),
    "unshare": outcome(lambda: __import__("ctypes").CDLL(None).unshare(0x10000000)),
    "mount": outcome(lambda: __import__("ctypes").CDLL(None).mount(b"x", b"/tmp", b"tmpfs", 0, None)),
    "umount": outcome(lambda: __import__("ctypes").CDLL(None).umount2(b"/tmp", 2)),
    "setuid": outcome(lambda: os.setuid(0)),
    "raise a limit": outcome(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10**6, 10**6))),
}
"#;

#[test]
fn a_jail_that_waited_has_the_walls_of_a_cold_one() {
    let mut cold = Setup::new(&format!("{EXEC}[limits]\nparked_runs = 0\n")).serve();
    let cold_walls = run(&mut cold, WALLS);
    assert_eq!(run(&mut cold, IS_PARKED), json!(false), "without parked runs every start is cold");
    let mut server = warm_server("");
    let walls = run(&mut server, WALLS);
    let (cold_walls, walls) = (cold_walls.as_object().unwrap(), walls.as_object().unwrap());
    assert_eq!(cold_walls.len(), walls.len());
    for (name, expected) in cold_walls {
        if name == "mounts" {
            // A zygote's own /proc and scratch space lie below, and the two libraries that fork have a place.
            continue;
        }
        if name == "fds" {
            // Beyond the job's there is one, through which the interpreter says its exit code.
            assert_eq!(walls[name], json!([0, 1, 2, 3]));
            continue;
        }
        if name == "flags" {
            for (place, flags) in expected.as_object().unwrap() {
                assert_eq!(&walls[name][place], flags, "{place}");
            }
            continue;
        }
        assert_eq!(&walls[name], expected, "{name}");
    }
    let attempts = walls["attempts"].as_object().unwrap();
    assert!(attempts.iter().all(|(_, seen)| seen != "None"), "{attempts:?}");
    // Two filters stand on it, the zygote's and its own.
    assert_eq!(walls["Seccomp"], json!(["2"]));
}

#[test]
fn nothing_of_a_run_is_there_in_the_next() {
    let mut server = warm_server("");
    let leave = "import sys, os, json, builtins\nbuiltins.left = sys.left = json.left = 1\n\
                 open('/tmp/left', 'w').write('x')\nos.environ['LEFT'] = '1'\nx = 1\nresult = os.listdir('/tmp')";
    let look = "import sys, os, json, builtins\n\
                result = [hasattr(m, 'left') for m in (builtins, sys, json)] + [os.listdir('/tmp'), 'LEFT' in os.environ, 'x' in globals()]";
    for _ in 0..10 {
        assert_eq!(run(&mut server, leave), json!(["left"]));
        assert_eq!(run(&mut server, look), json!([false, false, false, [], false, false]));
    }
    let draw =
        "import random, secrets, uuid\nresult = [random.random(), secrets.token_hex(), str(uuid.uuid4())]";
    let drawn: BTreeSet<String> = (0..20).map(|_| run(&mut server, draw).to_string()).collect();
    assert_eq!(drawn.len(), 20, "random numbers are drawn anew");
}

#[test]
fn runs_side_by_side_do_not_mix_or_see_each_other() {
    let mut server = warm_server("");
    let code = |number: usize| {
        format!(
            "import os, time\nopen('/tmp/mine', 'x').write('{number}')\nprint('out {number} ' * 50)\ntime.sleep(0.002)\n\
             pids = [name for name in os.listdir('/proc') if name.isdigit()]\n\
             result = [{number}, open('/tmp/mine').read(), pids]"
        )
    };
    let mut open = std::collections::VecDeque::new();
    for number in 0..200 {
        open.push_back((number, server.send_call("execute_code", json!({"code": code(number)}))));
        if open.len() == 4 || number == 199 {
            let keep = if number == 199 { 0 } else { 3 };
            while open.len() > keep {
                let (number, id) = open.pop_front().unwrap();
                let called = server.called(id);
                assert_eq!(called.ok()["result"], json!([number, number.to_string(), ["2"]]));
                assert_eq!(called.ok()["stdout"], format!("{}\n", format!("out {number} ").repeat(50)));
            }
        }
    }
}

#[test]
fn limits_of_a_waiting_jail_are_those_of_its_run() {
    let mut server = warm_server("");
    let timed = json!({"code": "while True: pass", "timeout_ms": 300});
    let called = server.call("execute_code", timed);
    assert!(called.is_error());
    assert_eq!(called.0["result"]["structuredContent"]["limit"], "wall");
    let absurd = "try:\n    bytearray(2 << 30)\nexcept MemoryError:\n    result = 'refused'";
    assert_eq!(run(&mut server, absurd), "refused");
    let called = server.call("execute_code", json!({"code": "print('kept')\nx = bytearray(600 << 20)"}));
    let seen = &called.0["result"]["structuredContent"];
    assert_eq!((&seen["limit"], &seen["stdout"]), (&json!("memory"), &json!("kept\n")));
    let full =
        "try:\n    open('/tmp/x', 'wb').write(b'x' * (32 << 20))\nexcept OSError as e:\n    result = e.errno";
    assert!([json!(27), json!(28)].contains(&run(&mut server, full)));
    assert_eq!(run(&mut server, "6 * 7"), 42);
}

#[test]
fn code_that_takes_over_the_descriptor_of_the_exit_code_is_accounted_for_all_the_same() {
    let mut server = warm_server("");
    let burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n";
    for take_over in [
        "os.closerange(4, 64)\nkept = [open('/tmp/%d' % n, 'w') for n in range(20)]",
        "other = os.open('/tmp/z', os.O_RDWR | os.O_CREAT)\nfor fd in range(10, 40):\n    os.dup2(other, fd)",
    ] {
        let code = format!("import os\n{burn}{take_over}\nresult = 5");
        let called = server.call("execute_code", json!({"code": code}));
        assert_eq!(called.ok()["result"], 5);
        let usage = &called.ok()["usage"];
        assert!(usage["cpu_ms"].as_u64() >= Some(200), "{usage}");
        assert!(usage["peak_memory_bytes"].as_u64() > Some(1 << 20), "{usage}");
    }
}

#[test]
fn code_that_says_an_exit_code_itself_ends_its_own_run_only() {
    let mut server = warm_server("");
    let other = server.send_call("execute_code", json!({"code": "import time; time.sleep(0.5); result = 7"}));
    let early = "import os, time\nfor fd in range(4, 64):\n    try:\n        os.write(fd, b'\\x05')\n    except OSError:\n        \
                 pass\ntime.sleep(30)";
    let called = server.call("execute_code", json!({"code": early}));
    let error = &called.0["result"]["structuredContent"]["error"];
    assert_eq!((&error["kind"], called.is_error()), (&json!("died"), true));
    assert!(error["message"].as_str().unwrap().contains("exit code 5"), "{error}");
    assert_eq!(server.called(other).ok()["result"], 7);
    assert_eq!(run(&mut server, "6 * 7"), 42);
}

#[test]
fn a_zygote_has_no_limits_of_its_own() {
    let server = warm_server("");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", zygote(&server))).unwrap();
    for name in ["Max cpu time", "Max address space", "Max file size"] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.matches("unlimited").count(), 2, "{line}");
    }
    server.stop();
}

#[test]
fn a_zygote_that_is_killed_is_not_missed() {
    adopt_orphans();
    let mut server = warm_server("");
    let first = zygote(&server);
    let below = descendants(first);
    kill(first);
    eventually("what it forked ends with it", || below.iter().all(|process| !process.lives()));
    for number in 0..5 {
        assert_eq!(run(&mut server, &format!("{number} * 2")), number * 2);
    }
    server.stop();
    eventually("no orphan is left", || orphans().is_empty());
}

#[test]
fn cancelling_the_request_ends_the_jail_that_had_waited() {
    let mut server = warm_server("");
    eventually("all of them wait", || descendants(zygote(&server)).len() == 8);
    let waiting = descendants(zygote(&server));
    let id = server.send_call("execute_code", json!({"code": "while True: pass"}));
    eventually("one of them runs", || server.log().contains("run started") && busy(&waiting));
    server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
    eventually("process 1 and payload are gone", || {
        waiting.iter().filter(|process| !process.lives()).count() == 2
    });
    assert_eq!(run(&mut server, "6 * 7"), 42);
}

/// Whether one of these has used a tenth of a second of processor time.
fn busy(processes: &BTreeSet<Process>) -> bool {
    processes.iter().any(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
        let ticks = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(11)?.parse::<u64>().ok());
        ticks.is_some_and(|ticks| ticks >= 10)
    })
}

#[test]
fn waiting_jails_end_with_the_runner() {
    adopt_orphans();
    let mut server = warm_server("");
    let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
    eventually("all of them wait", || descendants(zygote(&server)).len() == 8);
    let below = descendants(runner);
    kill(runner);
    eventually("all jails end", || below.iter().all(|process| !process.lives()));
    assert_eq!(run(&mut server, "6 * 7"), 42);
    server.stop();
    eventually("no orphan is left", || orphans().is_empty());
}

#[test]
fn a_run_that_cannot_be_taken_over_starts_cold() {
    let mut server = warm_server("");
    // More at a time than wait: some are forked while others run.
    let ids: Vec<_> = (0..12)
        .map(|number| {
            server.send_call(
                "execute_code",
                json!({"code": format!("import time; time.sleep(0.05); {number}")}),
            )
        })
        .collect();
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(server.called(id).ok()["result"], json!(number));
    }
}

#[test]
fn more_runs_than_places_wait_and_are_told_when_it_takes_too_long() {
    let limits = "[limits]\nconcurrent_runs = 2\nqueue_timeout_ms = 1500\n";
    let mut server = warm_server(limits);
    let quick = json!({"code": "import time; time.sleep(0.2); result = 1"});
    let ids: Vec<_> = (0..5).map(|_| server.send_call("execute_code", quick.clone())).collect();
    for id in ids {
        assert_eq!(server.called(id).ok()["result"], 1, "three of them had to wait");
    }
    let started = server.log().matches("run started").count();
    let slow = json!({"code": "import time; time.sleep(60)"});
    let busy: Vec<_> = (0..2).map(|_| server.send_call("execute_code", slow.clone())).collect();
    eventually("both run", || server.log().matches("run started").count() == started + 2);
    let refused = server.call("execute_code", quick.clone()).error();
    assert!(refused.contains("limits.concurrent_runs"), "{refused}");
    for id in busy {
        server.notify("notifications/cancelled", json!({"requestId": id}));
    }
    eventually("places are free again", || !server.call("execute_code", quick.clone()).is_error());
}
