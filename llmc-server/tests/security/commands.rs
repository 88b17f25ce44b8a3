//! Commands: nothing that a shell would do is done, nothing starts that was not granted, and nothing gets away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::neighbour::hello;
use crate::observe::{adopt_orphans, descendants, descriptors, orphans};
use crate::prerequisites::{is_root, not_checked};
use crate::support::{Server, Setup, children, eventually};

const CONFIG: &str = "[limits]\nconcurrent_runs = 48\nworkers_per_plugin = 48\nconcurrent_calls = 300\n\
                      queue_timeout_ms = 60000\ngrace_ms = 20000\nparked_runs = 0\n[roots]\nwork = { path = '{work}', access = 'rw' }\n\
                      [plugins.hello]\nlibrary = 'hello'\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
                      grants = { roots = ['work'], run = { profile = 'workspace', programs = ['echo', 'sh', 'sleep', 'ls'] } }";

fn serve() -> Server {
    Setup::new(CONFIG).log_filter("info").serve()
}

fn entries(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.setup.work("")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_a_shell_would_do_is_not_done() {
    let mut server = serve();
    let tricks = [
        "safe; touch X",
        "A && touch X",
        "$(touch X)",
        "`touch X`",
        "| touch X",
        "> X",
        "$HOME",
        "a\ntouch X",
    ];
    for trick in tricks {
        let called = server.call("run_command", json!({"argv": ["echo", trick]}));
        assert_eq!(called.ok()["stdout"], format!("{trick}\n"));
        let refused = server.call("run_command", json!({"command": format!("echo {trick}")})).error();
        assert!(refused.contains("there is no shell here"), "{trick}: {refused}");
        let quoted = server.call("run_command", json!({"command": format!("echo '{trick}'")}));
        assert_eq!(quoted.ok()["stdout"], format!("{trick}\n"), "its honest neighbour, in quotes");
    }
    for (arguments, words) in [
        (json!({"command": ""}), "the command is empty"),
        (json!({"command": "  "}), "the command is empty"),
        (json!({"argv": [""]}), "the command is empty"),
        (json!({"command": "echo 'open"}), "not closed"),
        (json!({"argv": ["/usr/bin/echo"]}), "not by a path"),
        (json!({"command": "../echo"}), "not by a path"),
        (json!({"argv": ["ec*o", "x"]}), "not granted program `ec*o`"),
        (json!({"argv": ["whoami"]}), "not granted program `whoami`"),
        (json!({"argv": ["bash", "-c", "node x"]}), "not granted program `bash`"),
        (json!({"argv": ["env", "ls"]}), "not granted program `env`"),
        (json!({"argv": ["ECHO"]}), "not granted program `ECHO`"),
        (json!({"argv": ["echo\0x"]}), "NUL"),
        (json!({"argv": ["echo"], "env": {"LD_PRELOAD": "/work/x.so"}}), "may not set variable `LD_PRELOAD`"),
        (json!({"argv": ["echo"], "cwd": "/etc"}), "outside the granted roots"),
        (json!({"argv": ["echo"], "cwd": "work:../.."}), "outside the granted roots"),
    ] {
        let refused = server.call("run_command", arguments.clone()).error();
        assert!(refused.contains(words), "{arguments}: {refused}");
    }
    assert_eq!(entries(&server), Vec::<String>::new(), "nothing was created");
    server.stop();
}

#[test]
fn a_timeout_ends_the_tree_and_keeps_what_was_printed() {
    let mut server = serve();
    let begun = Instant::now();
    let script = "echo partial; (setsid sh -c 'trap \"\" TERM HUP INT; sleep 600' &); sleep 600";
    let called = server.call("run_command", json!({"argv": ["sh", "-c", script], "timeout_ms": 1000}));
    assert!(called.is_error() && begun.elapsed() < Duration::from_secs(10));
    let result = &called.0["result"]["structuredContent"];
    assert_eq!((&result["timed_out"], &result["limit"]), (&json!(true), &json!("wall")));
    assert_eq!(result["stdout"], "partial\n");
    assert!(called.text().starts_with("timed out after 1."), "{}", called.text());
    eventually("its grandchildren are gone", || jailed(&server) == 0);
    // Longer than is granted is cut, and said.
    let called = server.call("run_command", json!({"argv": ["echo"], "timeout_ms": 86_400_000}));
    assert!(called.ok()["timeout_ms"].as_u64().unwrap() <= 120_000);
    server.stop();
}

/// Processes below the runner.
fn jailed(server: &Server) -> usize {
    server.children("llmc-runner").into_iter().map(|runner| descendants(runner).len()).sum()
}

/// The server and what belongs to it, each with the descriptors that it has open.
fn open_descriptors(server: &Server) -> BTreeMap<u32, usize> {
    let mut own = children(server.pid());
    own.push(server.pid());
    own.into_iter().map(|pid| (pid, descriptors(pid).len())).collect()
}

fn mounts(pid: u32) -> usize {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().lines().count()
}

#[test]
fn two_hundred_commands_at_once_leave_nothing() {
    adopt_orphans();
    let temporary = tempfile::tempdir().unwrap();
    let setup = Setup::new(CONFIG).log_filter("info").env("TMPDIR", temporary.path().to_str().unwrap());
    let mut server = setup.serve();
    hello(&mut server);
    // What is made once, for each place even, is there by now.
    crowd(&mut server, 48, |_| (json!({"argv": ["sleep", "0.3"]}), Fate::Ends));
    eventually("the first commands are gone", || jailed(&server) == 0);
    let before = is_root().then(|| (open_descriptors(&server), mounts(server.children("llmc-runner")[0])));
    let below = descendants(server.pid()).len();

    crowd(&mut server, 200, |n| match n % 5 {
        0 => (json!({"argv": ["echo", n.to_string()]}), Fate::Ends),
        1 => (json!({"argv": ["sh", "-c", "sleep 600 & sleep 600"], "timeout_ms": 200 + n}), Fate::TimesOut),
        2 => {
            let script =
                "trap '' TERM HUP INT; for i in 1 2 3; do (setsid sleep 600 &) ; done; echo up; sleep 600";
            (json!({"argv": ["sh", "-c", script]}), Fate::Cancelled)
        }
        3 => {
            let script = "echo text > /tmp/file; mkdir /tmp/dir; dd if=/dev/zero bs=1024 count=300; exit 3";
            (json!({"argv": ["sh", "-c", script], "max_output_bytes": 1024}), Fate::Ends)
        }
        _ => (json!({"argv": ["whoami"]}), Fate::Refused),
    });

    eventually("every process is gone", || jailed(&server) == 0 && descendants(server.pid()).len() <= below);
    assert_eq!(
        std::fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "no temporary file is left, kept outputs too"
    );
    assert_eq!(entries(&server), Vec::<String>::new());
    match before {
        // Kept outputs take a descriptor each, of 64 at most; they are nameless files.
        Some((descriptors, mounted)) => {
            eventually("every descriptor is closed", || {
                let now = open_descriptors(&server);
                let room = |pid: &u32| if *pid == server.pid() { 64 } else { 0 };
                now.keys().eq(descriptors.keys())
                    && now.iter().all(|(pid, count)| *count <= descriptors[pid] + room(pid))
            });
            assert_eq!(mounts(server.children("llmc-runner")[0]), mounted);
        }
        None => not_checked("descriptors and mounts of the server and the runner, which only root may count"),
    }
    hello(&mut server);
    server.stop();
    eventually("nothing outlives the server", || orphans().is_empty());
}

/// How a command must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ends,
    TimesOut,
    Cancelled,
    Refused,
}

/// Starts all commands at once, cancels those that are to be cancelled while they run, and checks every answer.
fn crowd(server: &mut Server, count: usize, command: impl Fn(usize) -> (Value, Fate)) {
    let calls: Vec<(u64, Value, Fate)> = (0..count)
        .map(|n| {
            let (arguments, fate) = command(n);
            (server.send_call("run_command", arguments.clone()), arguments, fate)
        })
        .collect();
    for (at, (id, ..)) in calls.iter().filter(|(.., fate)| *fate == Fate::Cancelled).enumerate() {
        std::thread::sleep(Duration::from_millis(at as u64 * 7 % 40));
        server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
    }
    for (id, arguments, fate) in calls {
        if fate == Fate::Cancelled {
            continue;
        }
        let called = server.called(id);
        let result = &called.0["result"]["structuredContent"];
        match fate {
            Fate::Ends => {
                assert!(result["exit_code"].is_number() && !called.is_error(), "{arguments}: {}", called.0)
            }
            Fate::TimesOut => assert_eq!(result["timed_out"], true, "{arguments}: {}", called.0),
            Fate::Refused => assert!(called.error().contains("not granted"), "{arguments}: {}", called.0),
            Fate::Cancelled => {}
        }
    }
}
