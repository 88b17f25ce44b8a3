//! Clients that hold what they do not use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use crate::client::{Http, call, is_closed_within, open, read_reply};
use crate::support::PATIENCE;

#[test]
fn idle_connections_keep_nobody_out() {
    let http = Http::start(open("connections = 64"));
    // What this process may open, less what it and its neighbours need.
    let possible = getrlimit(Resource::Nofile).current.unwrap_or(10_000).saturating_sub(150);
    let many = usize::try_from(possible.min(4_000)).unwrap();
    assert!(many > 10 * 64, "this test needs a limit on open files of 1,000 at least");
    let mut idle = Vec::new();
    for index in 0..many {
        idle.push(http.connect());
        if index % 200 == 0 {
            http.works();
        }
    }
    http.works();
    let open = std::fs::read_dir(format!("/proc/{}/fd", http.server.pid())).unwrap().count();
    assert!(open < 64 + 150, "{open} descriptors for 64 connections");
    let mut first = idle.remove(0);
    assert!(is_closed_within(&mut first, PATIENCE), "the oldest made room");
    let mut last = idle.pop().unwrap();
    last.write_all(&http.request(&call("stat", json!({"path": "work:a.txt"})), "")).unwrap();
    assert_eq!(read_reply(&mut last).unwrap().status, 200, "the newest is still served");
    drop(idle);
    http.works();
    http.server.stop();
}

#[test]
fn connections_that_work_are_not_sent_away() {
    let http = Http::start(open("connections = 2"));
    let mut working = http.connect();
    working.write_all(&http.request(&call("stress_sleep", json!({"ms": 2_000})), "")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let idle: Vec<TcpStream> = (0..50).map(|_| http.connect()).collect();
    http.works();
    let reply = read_reply(&mut working).unwrap();
    assert!(reply.text().contains("slept"), "{reply:?}");
    drop(idle);
    http.server.stop();
}

#[test]
fn who_sends_a_head_for_ever_is_left() {
    let http = Http::start(open("client_timeout_ms = 700"));
    let mut slow: Vec<TcpStream> = (0..100).map(|_| http.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    }
    let begun = Instant::now();
    // Each has something to say again and again, as slowloris does.
    while begun.elapsed() < Duration::from_millis(2_000) {
        for stream in &mut slow {
            // Those that were left may fail.
            let _ = stream.write_all(b"X-More: 1\r\n");
        }
        http.works();
        std::thread::sleep(Duration::from_millis(100));
    }
    for mut stream in slow {
        assert!(is_closed_within(&mut stream, PATIENCE));
    }
    http.works();
    http.server.stop();
}

#[test]
fn who_does_not_read_is_left() {
    let http =
        Http::start(open("client_timeout_ms = 700").file("big.txt", "0123456789abcde\n".repeat(60_000)));
    let mut deaf = http.connect();
    sockopt::set_socket_recv_buffer_size(&deaf, 4 << 10).unwrap();
    let request = http.request(&call("read_file", json!({"path": "work:big.txt", "max_bytes": 1 << 20})), "");
    // More answers than all buffers between here and there can hold.
    let requests = 40;
    let mut writer = deaf.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for _ in 0..requests {
            if writer.write_all(&request).is_err() {
                break;
            }
        }
    });
    crate::support::eventually("the server left", || http.server.log().contains("the client does not read"));
    http.works();
    let mut taken = Vec::new();
    // Ends with a reset or without.
    let _ = deaf.read_to_end(&mut taken);
    assert!(taken.len() < requests * (900 << 10), "{} bytes", taken.len());
    writing.join().unwrap();
    http.server.stop();
}

#[test]
fn several_requests_share_a_connection() {
    let http = Http::open();
    let mut stream = http.connect();
    let request = http.request(&call("stat", json!({"path": "work:a.txt"})), "");
    for _ in 0..5 {
        stream.write_all(&request).unwrap();
        assert_eq!(read_reply(&mut stream).unwrap().status, 200);
    }
    // Sent ahead, answered in order.
    stream.write_all(&request.repeat(5)).unwrap();
    for _ in 0..5 {
        assert_eq!(read_reply(&mut stream).unwrap().status, 200);
    }
    http.server.stop();
}
