//! Processes that outlive their call: nobody else reaches them, nothing of them outlives what it should, and a terminal
//! leads nowhere.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::neighbour::{config, hello};
use crate::observe::{Process, adopt_orphans, descendants, descriptors, kib, orphans};
use crate::prerequisites::{is_root, not_checked};
use crate::support::{Server, Setup, eventually};

/// Longest wait for output in one call; an answer comes as soon as there is something to tell.
const LONG_MS: u64 = 20_000;

/// `cmd` with these programs and this configuration, beside `hello`.
fn cmd(programs: &str, settings: &str) -> Setup {
    // Python runs code of the test, which its shipped rules refuse.
    let rules = if programs.contains("python3") { "[programs.python3]\nrules = 'none'" } else { "" };
    Setup::new(&config(&format!(
        "{rules}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.cmd]\n\
         library = 'llmc_tools_cmd'\nconfig = {{ {settings} }}\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = [{programs}] }} }}"
    )))
}

#[track_caller]
fn start(server: &mut Server, arguments: Value) -> String {
    server.call("start_process", arguments).ok()["process"].as_str().unwrap().to_owned()
}

/// Reads until a text has come or the process has ended; returns all of its output.
#[track_caller]
fn read_until(server: &mut Server, process: &str, wanted: &str) -> String {
    let (mut cursor, mut text) = (0, String::new());
    loop {
        let arguments = json!({"process": process, "cursor": cursor, "wait_ms": LONG_MS});
        let seen = server.call("read_output", arguments).ok().clone();
        text += seen["text"].as_str().unwrap();
        cursor = seen["cursor"].as_u64().unwrap();
        if text.contains(wanted) || (seen["running"] == false && seen["unread_bytes"] == 0) {
            return text;
        }
    }
}

/// What runs below the server and was not there before.
fn newer(server: &Server, before: &std::collections::BTreeSet<Process>) -> Vec<Process> {
    descendants(server.pid()).difference(before).cloned().collect()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Children in sessions of their own, deaf to signals; says so when all of them are there.
const DEAF_TREE: &str = "trap '' TERM HUP INT; setsid sleep 600 & (setsid sh -c 'sleep 600; true' &) ; \
    sleep 600 & until [ $(cat /proc/[1-9]*/comm 2>/dev/null | grep -c '^sleep$') -ge 3 ]; do :; done; echo ready; wait";

#[test]
fn stopping_ends_the_whole_tree_and_nothing_else() {
    let mut server = cmd("'sh', 'cat'", "").serve();
    let neighbour = start(&mut server, json!({"argv": ["cat"], "wait_ms": 0}));
    for pty in [false, true] {
        let before = descendants(server.pid());
        let process = start(&mut server, json!({"argv": ["sh", "-c", DEAF_TREE], "pty": pty, "wait_ms": 0}));
        read_until(&mut server, &process, "ready");
        let tree = newer(&server, &before);
        assert!(tree.len() >= 5, "{tree:?}");
        let stopped = server.call("stop_process", json!({"process": process, "grace_ms": 200})).ok().clone();
        assert_eq!((&stopped["running"], &stopped["signal"]), (&json!(false), &json!("SIGKILL")));
        eventually(&format!("the tree ends: {tree:?}"), || tree.iter().all(|process| !process.lives()));
        let again = server.call("stop_process", json!({"process": process})).ok().clone();
        assert_eq!(again["running"], false, "once more is no error");
    }
    let arguments = json!({"process": neighbour, "text": "still here\n", "wait_ms": LONG_MS});
    assert_eq!(server.call("send_input", arguments).ok()["text"], "still here\n");
    hello(&mut server);
    server.stop();
}

/// What makes processes end that nobody stopped.
#[derive(Clone, Copy, Debug)]
enum Loss {
    ServerKilled,
    InputClosed,
    HostKilled,
    RunnerKilled,
}

#[test]
fn processes_die_with_server_host_and_runner() {
    for loss in [Loss::ServerKilled, Loss::InputClosed, Loss::HostKilled, Loss::RunnerKilled] {
        adopt_orphans();
        let mut server = cmd("'sh', 'cat'", "").serve();
        hello(&mut server);
        // The hosts of `hello` and `stress` are other ones.
        let hosts = server.children("llmc-host");
        let before = descendants(server.pid());
        let mut running = Vec::new();
        for pty in [false, true] {
            let process =
                start(&mut server, json!({"argv": ["sh", "-c", DEAF_TREE], "pty": pty, "wait_ms": 0}));
            read_until(&mut server, &process, "ready");
            running.push(process);
        }
        let trees = newer(&server, &before);
        assert!(trees.len() >= 10, "{trees:?}");
        let are_gone = || trees.iter().all(|process| !process.lives());
        let gone = format!("{loss:?}: {trees:?}");
        match loss {
            Loss::ServerKilled => server.kill(),
            Loss::InputClosed => {
                server.stop();
                eventually(&gone, are_gone);
                continue;
            }
            Loss::HostKilled => {
                hosts.into_iter().for_each(kill);
                eventually(&gone, are_gone);
                let lost = server.call("read_output", json!({"process": running[0]})).error();
                assert!(lost.contains("no such process"), "{lost}");
            }
            Loss::RunnerKilled => {
                let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
                kill(runner);
                eventually(&gone, are_gone);
                for process in &running {
                    read_until(&mut server, process, "\0 never printed");
                    let seen = server.call("read_output", json!({"process": process})).ok().clone();
                    assert_eq!((&seen["limit"], &seen["running"]), (&json!("runner_lost"), &json!(false)));
                }
            }
        }
        eventually(&gone, are_gone);
        if !matches!(loss, Loss::ServerKilled) {
            // What was lost is there again.
            let next = start(&mut server, json!({"argv": ["cat"], "wait_ms": 0}));
            server.call("stop_process", json!({"process": next})).ok();
            server.stop();
        }
        eventually("no orphan is left", || orphans().is_empty());
    }
}

#[test]
fn a_guessed_handle_opens_nothing() {
    let mut server = cmd("'cat'", "").serve();
    let process = start(&mut server, json!({"argv": ["cat"], "wait_ms": 0}));
    let mut near = process.clone().into_bytes();
    near[31] = if near[31] == b'0' { b'1' } else { b'0' };
    let guesses = [
        String::from_utf8(near).unwrap(),
        process[..31].to_owned(),
        process.to_uppercase() + " ",
        "0".repeat(32),
        String::new(),
        "../".to_owned() + &process,
    ];
    let answers: Vec<String> = guesses
        .iter()
        .flat_map(|guess| {
            ["read_output", "send_input", "stop_process"]
                .map(|tool| server.call(tool, json!({"process": guess})).error())
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(!answers[0].contains(&process));
    let arguments = json!({"process": process, "text": "mine\n", "wait_ms": LONG_MS});
    assert_eq!(server.call("send_input", arguments).ok()["text"], "mine\n");
    server.stop();
}

#[test]
fn processes_that_nobody_asks_about_are_gone() {
    let mut server = cmd("'sh', 'cat'", "idle_ms = 3000").serve();
    hello(&mut server);
    let before = descendants(server.pid());
    let idle = start(&mut server, json!({"argv": ["sh", "-c", DEAF_TREE], "pty": true}));
    let trees = newer(&server, &before);
    let asked = start(&mut server, json!({"argv": ["cat"], "wait_ms": 0}));
    eventually(&format!("the idle tree ends: {trees:?}"), || {
        assert_eq!(
            server.call("read_output", json!({"process": asked, "wait_ms": 50})).ok()["running"],
            true
        );
        trees.iter().all(|process| !process.lives())
    });
    let seen = server.call("read_output", json!({"process": idle})).ok().clone();
    assert_eq!((&seen["limit"], &seen["running"]), (&json!("idle"), &json!(false)));
    server.stop();
}

#[test]
fn floods_take_bounded_memory_and_stop_nobody() {
    let mut server = cmd("'yes', 'cat', 'sleep'", "").serve();
    let hosts = server.children("llmc-host");
    let flood = start(&mut server, json!({"argv": ["yes", "flood"], "wait_ms": 0}));
    let deaf = start(&mut server, json!({"argv": ["sleep", "600"], "wait_ms": 0}));
    let text = "x".repeat(64 * 1024);
    let sends =
        (0..30).map(|_| server.call("send_input", json!({"process": deaf, "text": text, "wait_ms": 0})));
    let refused = sends.filter(super::support::Called::is_error).count();
    assert!(refused >= 20, "{refused} of 30 were refused");
    let mut cursor = 0;
    // What is read is the last mebibyte, however much there was.
    while cursor < 64 << 20 {
        let seen = server.call("read_output", json!({"process": flood, "max_bytes": 1024})).ok().clone();
        let (next, omitted) = (seen["cursor"].as_u64().unwrap(), seen["omitted_bytes"].as_u64().unwrap());
        assert_eq!(next, cursor + omitted + seen["text"].as_str().unwrap().len() as u64);
        cursor = next;
        hello(&mut server);
    }
    for host in hosts {
        let peak = kib(host, "VmHWM");
        assert!(peak < 64 << 10, "a host took {peak} KiB");
    }
    for process in [flood, deaf] {
        let stopped = server.call("stop_process", json!({"process": process})).ok().clone();
        assert_eq!(stopped["running"], false);
    }
    server.stop();
}

#[test]
fn many_processes_leave_no_descriptor_behind() {
    let mut server = cmd("'cat', 'true'", "").serve();
    let round = |server: &mut Server| {
        for pty in [false, true] {
            let ended = start(server, json!({"argv": ["true"], "pty": pty}));
            read_until(server, &ended, "\0 never printed");
            let stopped = start(server, json!({"argv": ["cat"], "pty": pty, "wait_ms": 0}));
            server.call("stop_process", json!({"process": stopped, "grace_ms": 0})).ok();
        }
    };
    round(&mut server);
    if !is_root() {
        round(&mut server);
        not_checked("descriptors of hosts and runner, because only root may look");
        return;
    }
    let watched: Vec<u32> =
        [server.children("llmc-host"), server.children("llmc-runner"), vec![server.pid()]].concat();
    let open = || watched.iter().map(|&pid| descriptors(pid).len()).collect::<Vec<_>>();
    let before = open();
    (0..4).for_each(|_| round(&mut server));
    eventually("every descriptor is closed", || open().iter().zip(&before).all(|(now, then)| now <= then));
    server.stop();
}

/// Tries what a terminal could be good for, and honest work beside it. A line for each: name and outcome.
const ATTACK: &str = r#"
import errno, fcntl, os, struct, sys, termios

def outcome(name, what):
    try:
        print(name + '=' + str(what()))
    except OSError as error:
        print(name + '=' + errno.errorcode.get(error.errno, str(error.errno)))
    except Exception as error:
        print(name + '=' + type(error).__name__)

def command(number, argument=b'\0' * 64):
    return lambda: fcntl.ioctl(0, number, argument) and 'DONE'

def opening(path, flags=os.O_RDWR | os.O_NOCTTY):
    def attempt():
        os.close(os.open(path, flags))
        return 'OPENED'
    return attempt

# Input for whoever reads this terminal next, also with bits that the kernel ignores.
outcome('sti', command(0x5412, b'x'))
outcome('linux', command(0x541C, b'\x03'))
outcome('setd', command(0x5423, struct.pack('i', 2)))
outcome('cons', command(0x541D))
outcome('sctty', command(0x540E))
outcome('vhangup', command(0x5437))
outcome('ptpeer', command(0x5441, b'\0'))
outcome('kd', command(0x4B33))
# Other terminals.
for name in ['/dev/ptmx', '/dev/pts/ptmx', '/dev/pts/1', '/dev/tty0', '/dev/tty1', '/dev/console', '/dev/ttyS0']:
    outcome(name, opening(name))
outcome('chmod', lambda: os.chmod('/dev/pts/ptmx', 0o666) or 'DONE')
outcome('openpty', lambda: os.openpty() and 'OPENED')
# The other side of this one.
outcome('masters', lambda: sum('ptmx' in os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + fd)))
outcome('process_1', lambda: os.listdir('/proc/1/fd'))
outcome('descriptors', lambda: sorted(os.listdir('/proc/self/fd'))[:4])
# Honest neighbours.
outcome('name', lambda: os.ttyname(0))
outcome('control', opening('/dev/tty'))
outcome('again', opening('/dev/pts/0'))
outcome('front', lambda: os.tcgetpgrp(0) == os.getpgrp())
def modes():
    old = termios.tcgetattr(0)
    new = termios.tcgetattr(0)
    new[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSADRAIN, new)
    changed = termios.tcgetattr(0)[3] & termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, old)
    return changed
outcome('modes', modes)
outcome('size', lambda: tuple(os.get_terminal_size(0)))
print('finished')
"#;

/// The outcomes of [`ATTACK`].
fn outcomes(text: &str) -> std::collections::BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.trim_end().split_once('=')).collect()
}

#[test]
fn a_terminal_leads_nowhere() {
    let mut server = cmd("'python3'", "").file("attack.py", ATTACK).serve();
    // A second one lives at the same time: it must not be there for the first.
    let other = start(&mut server, json!({"argv": ["python3", "-i", "-q"], "pty": true}));
    let process = start(&mut server, json!({"argv": ["python3", "attack.py"], "pty": true}));
    let text = read_until(&mut server, &process, "finished");
    let found = outcomes(&text);
    let refused = ["EPERM", "ENOSYS", "EACCES", "ENOENT"];
    for attack in [
        "sti",
        "linux",
        "setd",
        "cons",
        "sctty",
        "vhangup",
        "ptpeer",
        "kd",
        "/dev/ptmx",
        "/dev/pts/ptmx",
        "/dev/pts/1",
        "/dev/tty0",
        "/dev/tty1",
        "/dev/console",
        "/dev/ttyS0",
        "process_1",
        "openpty",
    ] {
        assert!(refused.contains(&found[attack]), "{attack}: {text}");
    }
    assert!(["EPERM", "EROFS", "EACCES"].contains(&found["chmod"]), "{text}");
    assert_eq!(found["masters"], "0", "{text}");
    assert_eq!(found["descriptors"], "['0', '1', '2', '3']", "{text}");
    for (honest, outcome) in [
        ("name", "/dev/pts/0"),
        ("control", "OPENED"),
        ("again", "OPENED"),
        ("front", "True"),
        ("modes", "0"),
        ("size", "(80, 24)"),
    ] {
        assert_eq!(found[honest], outcome, "{text}");
    }
    let arguments = json!({"process": other, "text": "6 * 7\n", "wait_ms": LONG_MS});
    server.call("send_input", arguments).ok();
    let shown = read_until(&mut server, &other, "42");
    assert!(shown.contains("42") && !shown.contains("finished"), "{shown}");
    server.stop();
}

#[test]
fn without_a_terminal_nothing_of_one_is_there() {
    let mut server = cmd("'python3'", "").file("attack.py", ATTACK).serve();
    let process = start(&mut server, json!({"argv": ["python3", "attack.py"]}));
    let text = read_until(&mut server, &process, "finished");
    let found = outcomes(&text);
    for path in ["/dev/ptmx", "/dev/pts/ptmx", "/dev/tty1"] {
        assert_eq!(found[path], "ENOENT", "{text}");
    }
    assert_eq!(found["control"], "ENOENT", "{text}");
    for command in ["sti", "linux", "setd", "sctty"] {
        assert!(
            ["EPERM", "ENOSYS"].contains(&found[command]),
            "refused before the kernel looks: {command}: {text}"
        );
    }
    assert!(text.contains("finished"));
    server.stop();
}
