//! Start and end: what a service manager and a client that starts the server each expect.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Http, call, open, read_reply};
use crate::support::{PATIENCE, eventually};

fn signal(http: &Http, signal: Signal) {
    kill_process(Pid::from_raw(http.server.pid().cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn calls_under_way_end_before_the_server_does() {
    for how in [Signal::TERM, Signal::INT] {
        let mut http = Http::open();
        let mut working = http.connect();
        working.write_all(&http.request(&call("stress_sleep", json!({"ms": 1_500})), "")).unwrap();
        let idle = http.connect();
        http.works();
        std::thread::sleep(Duration::from_millis(200));
        signal(&http, how);
        eventually("nobody new is taken", || std::net::TcpStream::connect(http.address).is_err());
        let reply = read_reply(&mut working).unwrap();
        assert!(reply.text().contains("slept 1500"), "{reply:?}");
        assert!(http.server.wait_for_end().success());
        drop(idle);
    }
}

#[test]
fn calls_that_take_too_long_do_not_hold_up_the_end() {
    let mut http = Http::start(open("drain_ms = 300"));
    let mut working = http.connect();
    working.write_all(&http.request(&call("stress_sleep", json!({"ms": 600_000})), "")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    signal(&http, Signal::TERM);
    assert!(http.server.wait_for_end().success());
    assert!(begun.elapsed() < PATIENCE);
    http.server.log_until("server.http.drain_ms");
}

#[test]
fn a_service_without_stdin_stays_and_answers() {
    for (args, stdin) in [(&[][..], Stdio::null()), (&["--no-stdio"][..], Stdio::piped())] {
        let setup = open("");
        let mut command = setup.command("serve");
        command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // With `--no-stdio` even a pipe that ends does not end the server.
        drop(child.stdin.take());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line)
            .unwrap();
        let address = line.split("http://").nth(1).unwrap().split("/mcp").next().unwrap().parse().unwrap();
        let health = || {
            let mut stream = crate::client::connect(address);
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            read_reply(&mut stream).unwrap().status
        };
        eventually("ready", || health() == 200);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty(), "stdout belongs to the protocol");
    }
}

#[test]
fn an_address_that_is_taken_stops_the_start() {
    let http = Http::open();
    let text = format!("server = {{ http = {{ listen = '{}', auth = 'none' }} }}", http.address);
    let output = crate::support::Setup::new(&text).run("serve", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to listen on 127.0.0.1"));
    http.works();
    http.server.stop();
}

#[test]
fn flags_do_not_open_what_a_file_closes() {
    let setup = crate::client::configured("tokens = 'tokens.json'", "");
    let refused = |args: &[&str]| {
        let output = setup.run("serve", args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--http-auth", "none"]).contains("server.http.auth"));
    let without = crate::support::Setup::new("");
    let output = without.run("serve", &["--http", "0.0.0.0:0", "--http-auth", "none"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    for args in [&["--no-stdio"][..], &["--http-auth", "none"]] {
        assert_eq!(without.run("serve", args).status.code(), Some(2), "{args:?}");
    }
}
