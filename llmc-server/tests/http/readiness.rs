//! `/healthz` says that the server runs, `/readyz` that hosts and runner answer.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Http, configured};
use crate::support::{PATIENCE, eventually};

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn ready_means_that_hosts_and_runner_answer() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n";
    let http = Http::start(configured("auth = 'none'", exec));
    let ready = || http.get("/readyz").status == 200;
    assert_eq!(http.get("/readyz").json(), json!({"status": "ready"}));
    let host = http.server.children("llmc-host")[0];
    let runner = http.server.children("llmc-runner")[0];
    for stopped in [host, runner] {
        signal(stopped, Signal::STOP);
        eventually("who does not answer is noticed", || !ready());
        let answer = http.get("/readyz");
        assert_eq!((answer.status, answer.json()), (503, json!({"status": "not ready"})));
        assert_eq!(http.get("/healthz").status, 200, "the server itself runs");
        signal(stopped, Signal::CONT);
        eventually("ready again", ready);
    }
    // Those that ended are started again by the question.
    for ended in [host, runner] {
        signal(ended, Signal::KILL);
        eventually("gone", || !crate::support::lives(ended));
        eventually("started again", ready);
        http.works();
    }
    let log = http.server.log();
    assert!(log.contains("not ready: no answer silent=[\"runner\"]") && log.contains("ready again"), "{log}");
    http.server.stop();
}

#[test]
fn who_asks_often_asks_nobody_else() {
    let http = Http::open();
    let host = http.server.children("llmc-host")[0];
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{host}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (before, begun) = (switches(), Instant::now());
    for _ in 0..500 {
        assert_eq!(http.get("/readyz").status, 200);
    }
    let seconds = begun.elapsed().as_secs() + 2;
    assert!(switches() - before <= 4 * seconds, "{} wake-ups in {seconds} s", switches() - before);
    // A whole crowd that asks while nobody answers waits together.
    signal(host, Signal::STOP);
    eventually("noticed", || http.get("/readyz").status == 503);
    let begun = Instant::now();
    let address = http.address;
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                use std::io::Write as _;
                let mut stream = crate::client::connect(address);
                stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                crate::client::read_reply(&mut stream).unwrap().status
            })
        })
        .collect();
    assert!(crowd.into_iter().all(|asked| asked.join().unwrap() == 503));
    assert!(begun.elapsed() < PATIENCE, "not one after the other");
    signal(host, Signal::CONT);
    eventually("ready", || http.get("/readyz").status == 200);
    std::thread::sleep(Duration::from_millis(10));
    http.works();
    http.server.stop();
}
