//! However the server ends, nothing of it stays: no host, no runner, no jail, not even busy ones.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::neighbour::{PACE, config, hello};
use crate::observe::{Process, adopt_orphans, descendants, orphans};
use crate::support::canary::NO_AUDIT;
use crate::support::{Server, Setup, eventually};

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client closes its side.
    InputClosed,
    /// `SIGTERM`, as from a service manager.
    Asked,
    /// `SIGKILL`: the server can do nothing any more.
    Killed,
}

impl End {
    fn apply(self, mut server: Server) {
        match self {
            Self::InputClosed => {
                server.stop();
            }
            Self::Asked => {
                let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
                kill_process(pid, Signal::TERM).unwrap();
                server.wait_for_end();
            }
            Self::Killed => server.kill(),
        }
    }
}

/// Ends a server; everything that was below it must go, and nothing may stay that was not seen.
#[track_caller]
fn leaves_nothing(server: Server, end: End) {
    let below = descendants(server.pid());
    assert!(!below.is_empty());
    end.apply(server);
    eventually(&format!("{end:?}: everything below the server ends, {below:?}"), || {
        below.iter().all(|process| !process.lives())
    });
    eventually("no orphan is left", || orphans().is_empty());
}

const ENDS: [End; 3] = [End::InputClosed, End::Asked, End::Killed];

#[test]
fn idle_hosts_end_with_the_server() {
    for end in ENDS {
        adopt_orphans();
        let mut server = Setup::new(&config("")).serve();
        hello(&mut server);
        assert_eq!(server.children("llmc-host").len(), 2);
        leaves_nothing(server, end);
    }
}

#[test]
fn a_plugin_in_an_endless_loop_ends_with_the_server() {
    for end in ENDS {
        adopt_orphans();
        let mut server = Setup::new(&config("")).serve();
        for _ in 0..3 {
            server.send_call("stress_spin", json!({}));
        }
        let hosts = server.children("llmc-host");
        eventually("the plugin is busy", || hosts.iter().any(|&host| cpu_ticks(host) > 10));
        hello(&mut server);
        leaves_nothing(server, end);
    }
}

/// User time of a process in ticks of the clock.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).unwrap_or_default();
    fields.split(' ').nth(11).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Waits until there is a process below the server that was not there before.
fn new_processes(server: &Server, before: &BTreeSet<Process>, count: usize) {
    eventually("a jail runs", || descendants(server.pid()).difference(before).count() >= count);
}

#[test]
fn running_code_ends_with_the_server() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    for end in ENDS {
        for code in [
            "while True: pass",
            "import time\ntime.sleep(600)",
            "import sys, time\nsys.stdin.read()\nwhile True:\n    print('x' * 65536)\n    time.sleep(0.05)",
        ] {
            adopt_orphans();
            let mut server = Setup::new(&config(exec)).serve();
            hello(&mut server);
            let id = server.send_call("execute_code", json!({"code": code}));
            server.log_until("run started");
            hello(&mut server);
            assert!(!server.is_answered_within(id, PACE), "the code runs: {:?}", server.called(id));
            leaves_nothing(server, end);
        }
    }
}

#[test]
fn a_running_command_and_its_children_end_with_the_server() {
    let cmd = "[roots]\nwork = { path = '{work}' }\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
               grants = { roots = ['work'], run = { profile = 'workspace', programs = ['sh', 'sleep', 'setsid'] } }";
    for end in ENDS {
        adopt_orphans();
        let mut server = Setup::new(&config(cmd)).serve();
        hello(&mut server);
        let before = descendants(server.pid());
        // Children in sessions of their own, deaf to signals.
        let script =
            "trap '' TERM HUP INT; setsid sleep 600 & setsid sleep 600 & (setsid sleep 600 &) ; wait";
        server.send_call("run_command", json!({"argv": ["sh", "-c", script]}));
        new_processes(&server, &before, 4);
        leaves_nothing(server, end);
    }
}

#[test]
fn a_jail_ends_with_its_call() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    let mut server = Setup::new(&format!("{}\n{NO_AUDIT}", config(exec))).serve();
    hello(&mut server);
    let before = descendants(server.pid());
    let id = server.send_call("execute_code", json!({"code": "import time\ntime.sleep(600)"}));
    server.log_until("run started");
    let running: Vec<Process> = descendants(server.pid()).difference(&before).cloned().collect();
    server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
    // Prepared jails may wait for the next call; those that ran this one are gone.
    server.log_until("outcome=\"cancelled\"");
    eventually(&format!("the cancelled jail ends: {running:?}"), || {
        running.iter().any(|process| !process.lives())
    });
    hello(&mut server);
    server.stop();
}

#[test]
fn a_host_that_still_loads_ends_with_the_server() {
    let library = crate::loading::spinning_library();
    let text =
        format!("[limits]\nload_timeout_ms = 600000\n[plugins.slow]\nlibrary = '{}'", library.display());
    for end in [End::Asked, End::Killed] {
        adopt_orphans();
        let server = Setup::new(&text).serve_raw();
        eventually("the constructor spins", || {
            server.children("llmc-host").iter().any(|&host| cpu_ticks(host) > 10)
        });
        leaves_nothing(server, end);
    }
}

#[test]
fn jails_end_with_the_runner_and_it_is_started_again() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    adopt_orphans();
    let mut server = Setup::new(&config(exec)).serve();
    hello(&mut server);
    let id = server.send_call("execute_code", json!({"code": "import time\ntime.sleep(600)"}));
    server.log_until("run started");
    let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
    let below = descendants(runner);
    kill_process(Pid::from_raw(i32::try_from(runner).unwrap()).unwrap(), Signal::KILL).unwrap();
    let called = server.called(id);
    assert!(called.is_error(), "{called:?}");
    assert!(called.text().contains("runner"), "{called:?}");
    eventually(&format!("its jails end: {below:?}"), || below.iter().all(|process| !process.lives()));
    hello(&mut server);
    assert_eq!(server.call("execute_code", json!({"code": "6 * 7"})).ok()["result"], 42);
    leaves_nothing(server, End::InputClosed);
}
