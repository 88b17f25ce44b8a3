//! Runs that are ended at any moment, and a runner that is killed again and again: no process, descriptor or slot is
//! lost, every call is answered, and the next run works.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::neighbour::hello;
use crate::observe::{Process, adopt_orphans, descendants, descriptors, orphans};
use crate::prerequisites::{is_root, not_checked};
use crate::support::canary::NO_AUDIT;
use crate::support::{Server, Setup, children, eventually};

/// Runs that may live at the same time.
const SLOTS: usize = 4;

/// Processes below the runner when `parked` jails wait: a zygote with its process 1, and as much for each of them.
const fn idle(parked: usize) -> usize {
    if parked == 0 { 0 } else { 2 + 2 * parked }
}

fn serve(parked: usize) -> Server {
    let config = format!(
        "[limits]\nconcurrent_runs = {SLOTS}\nparked_runs = {parked}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.hello]\nlibrary = 'hello'\n[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = {{ run = {{ profile = 'code' }} }}\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['sh'] }} }}\n\
         {NO_AUDIT}"
    );
    // Descriptors are counted, and a writer of records has one more at times.
    let mut server = Setup::new(&config).log_filter("info").serve();
    hello(&mut server);
    server
}

/// Numbers from 0 to 2^64, the same in every run of the test.
struct Dice(u64);

impl Dice {
    /// Xorshift, Marsaglia 2003.
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// As many runs as may live, at the same time: every slot is free again, and each answer is the right one.
fn fill_all_slots(server: &mut Server) {
    let ids: Vec<(usize, u64)> = (0..SLOTS)
        .map(|n| {
            let code = format!("import time\ntime.sleep(0.2)\n'run {n}'");
            (n, server.send_call("execute_code", json!({"code": code})))
        })
        .collect();
    for (n, id) in ids {
        assert_eq!(server.called(id).ok()["result"], format!("run {n}"));
    }
}

/// The server, its hosts and its runner, each with the descriptors that it has open.
fn open_descriptors(server: &Server) -> BTreeMap<u32, usize> {
    let mut own = children(server.pid());
    own.push(server.pid());
    own.into_iter().map(|pid| (pid, descriptors(pid).len())).collect()
}

#[test]
fn two_hundred_cancelled_runs_leave_nothing() {
    cancel_two_hundred_runs(0);
}

#[test]
fn two_hundred_cancelled_runs_leave_nothing_but_jails_that_wait() {
    cancel_two_hundred_runs(2);
}

/// A process that is stopped, and goes on when this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// Who withdraws does not wait for the runner, which tells of the ends of jails one after the other: with this one, which
/// tells of none, every call would last longer than its grace and cost its host.
#[test]
fn two_hundred_commands_that_are_withdrawn_at_once_cost_no_host() {
    let config = "[limits]\nconcurrent_runs = 32\nworkers_per_plugin = 64\nconcurrent_calls = 256\ngrace_ms = 5000\n\
                  [audit]\npath = 'audit.jsonl'\n[roots]\nwork = { path = '{work}', access = 'rw' }\n\
                  [plugins.hello]\nlibrary = 'hello'\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
                  grants = { roots = ['work'], run = { profile = 'workspace', programs = ['sleep', 'true'] } }";
    let mut server = Setup::new(config).log_filter("info").serve();
    hello(&mut server);
    let (hosts, runner) = (server.children("llmc-host"), server.children("llmc-runner")[0]);
    let sleeping = || descendants(runner).iter().filter(|process| process.name == "sleep").count();
    let send = |server: &mut Server, count: usize| -> Vec<u64> {
        (0..count).map(|_| server.send_call("run_command", json!({"argv": ["sleep", "600"]}))).collect()
    };
    let mut ids = send(&mut server, 24);
    eventually("the first commands run", || sleeping() == 24);
    let stopped = Stopped::new(runner);
    // Some of these wait for their jail, others for a place or a worker.
    ids.extend(send(&mut server, 176));
    hello(&mut server);
    for id in &ids {
        server.notify("notifications/cancelled", json!({"requestId": id}));
    }
    let is_withdrawn = |record: &&Value| record["event"] == "call" && record["outcome"] == "cancelled";
    server.setup.records(|records| records.iter().filter(is_withdrawn).count() == ids.len());
    assert_eq!(server.children("llmc-host"), hosts, "a host was ended");
    drop(stopped);

    let called = server.call("run_command", json!({"argv": ["true"]}));
    assert_eq!(called.ok()["exit_code"], 0, "{}", called.text());
    eventually("all of them ended", || sleeping() == 0);
}

fn cancel_two_hundred_runs(parked: usize) {
    let mut server = serve(parked);
    // What is made once, for each slot even, is there by now.
    fill_all_slots(&mut server);
    all_end(&server, parked);
    let script = json!({"argv": ["sh", "-c", "sleep 0.2"]});
    let ids: Vec<u64> = (0..SLOTS).map(|_| server.send_call("run_command", script.clone())).collect();
    for id in ids {
        server.called(id).ok();
    }
    all_end(&server, parked);
    let below = descendants(server.pid()).len();
    let before = is_root().then(|| open_descriptors(&server));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..50 {
        let ids: Vec<u64> = (0..SLOTS)
            .map(|n| match (round + n) % 3 {
                0 => server.send_call("execute_code", json!({"code": "while True: pass"})),
                1 => server.send_call(
                    "execute_code",
                    json!({"code": "print('x' * 100_000)\nimport time\ntime.sleep(600)"}),
                ),
                _ => {
                    let script =
                        "trap '' TERM HUP INT; for i in 1 2 3; do (sleep 600 &) ; done; echo up; sleep 600";
                    server.send_call("run_command", json!({"argv": ["sh", "-c", script]}))
                }
            })
            .collect();
        for id in ids {
            std::thread::sleep(Duration::from_micros(dice.roll(15_000)));
            server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
        }
    }
    fill_when_free(&mut server, parked);
    all_end(&server, parked);
    hello(&mut server);
    eventually("every process of a cancelled run ends", || descendants(server.pid()).len() <= below);
    match before {
        Some(before) => eventually("every descriptor is closed", || {
            let now = open_descriptors(&server);
            now.keys().eq(before.keys()) && now.iter().all(|(pid, count)| *count <= before[pid])
        }),
        None => not_checked("descriptors of the server, which only root may count"),
    }
    server.stop();
}

/// The last cancelled runs may still be on their way out.
fn fill_when_free(server: &mut Server, parked: usize) {
    eventually("a slot is free again", || !server.call("execute_code", json!({"code": "1"})).is_error());
    all_end(server, parked);
    fill_all_slots(server);
}

fn all_end(server: &Server, parked: usize) {
    eventually("jails end, and those that wait are there", || {
        let [runner] = server.children("llmc-runner")[..] else { return false };
        descendants(runner).len() == idle(parked)
    });
}

#[test]
fn a_runner_that_is_killed_again_and_again_is_started_again() {
    adopt_orphans();
    let mut server = serve(2);
    for round in 0..4 {
        let ids: Vec<u64> = (0..SLOTS)
            .map(|n| match n % 2 {
                0 => server.send_call("execute_code", json!({"code": "import time\ntime.sleep(600)"})),
                _ => server.send_call("run_command", json!({"argv": ["sh", "-c", "sleep 600"]})),
            })
            .collect();
        let runner = |server: &Server| match server.children("llmc-runner")[..] {
            [runner] => Some(runner),
            _ => None,
        };
        if round % 2 == 0 {
            eventually("the jails run", || {
                runner(&server).is_some_and(|it| descendants(it).len() >= 2 * SLOTS)
            });
        }
        let runner = runner(&server).expect("one runner");
        let jails: Vec<Process> = descendants(runner).into_iter().collect();
        kill_process(Pid::from_raw(i32::try_from(runner).unwrap()).unwrap(), Signal::KILL).unwrap();
        for id in ids {
            let called = server.called(id);
            assert!(called.is_error(), "round {round}: {called:?}");
            assert!(called.text().contains("runner"), "round {round}: {called:?}");
        }
        eventually("its jails end", || jails.iter().all(|process| !process.lives()));
        hello(&mut server);
        assert_eq!(server.call("execute_code", json!({"code": "6 * 7"})).ok()["result"], 42);
    }
    fill_all_slots(&mut server);
    server.stop();
    eventually("no orphan is left", || orphans().is_empty());
}
