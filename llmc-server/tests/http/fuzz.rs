//! Thousands of malformed requests, the same in every run: no crash, no leak, no answer that was not meant.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use serde_json::json;

use crate::client::{Http, call, configured, create_token};
use crate::random::Random;

/// Requests of an ordinary run; `LLMC_HTTP_FUZZ` asks for more.
const REQUESTS: usize = 10_000;

/// What the memory of the server may grow by while it is at it.
const MAX_GROWTH_KIB: u64 = 32 << 10;

/// Pieces that a request is broken with.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\r\n\r\n",
    b"Host: evil.example\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 4294967296\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Authorization: Bearer x\r\n",
    b"\xff\xfe",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET ",
    b"OPTIONS ",
    b"Expect: 100-continue\r\n",
    b"{{{{{{{{",
    b"[[[[[[[[",
    b"\"",
    b"%00",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
];

/// A good request with some damage.
fn damaged(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1)).min(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, random.pick(&PIECES).iter().copied())),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = u8::try_from(at % 256).unwrap()),
            3 => {
                let end = (at + random.below(40)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            4 => {
                let end = (at + random.below(60)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 => {
                let noise: Vec<u8> =
                    (0..random.below(50)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
                drop(bytes.splice(at..at, noise));
            }
            _ => {
                let line: Vec<u8> = b"X: ".iter().chain(&vec![b'a'; random.below(20_000)]).copied().collect();
                drop(bytes.splice(at..at, line));
            }
        }
    }
    bytes
}

/// A good head before another body.
fn with_body(http: &Http, body: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(http.request(&json!(0), "")).unwrap();
    let (head, _) = request.split_once("Content-Length").unwrap();
    [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// The statuses of all answers to bytes after which nothing more is sent.
fn answers(http: &Http, bytes: &[u8]) -> Vec<u16> {
    let mut stream = http.connect();
    // The server may close before everything is written; what it said until then counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut text = Vec::new();
    let mut chunk = [0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&text);
    text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn malformed_requests_do_no_harm() {
    let requests = std::env::var("LLMC_HTTP_FUZZ").map_or(REQUESTS, |count| count.parse().unwrap());
    let setup = configured(
        "tokens = 'tokens.json', requests_per_minute = 4000000, failures_per_minute = 4000000, client_timeout_ms = 500",
        "",
    )
    .log_filter("warn");
    let token = create_token(&setup, &["good"]);
    let http = Http { token: Some(token), ..Http::start(setup) };
    let message = call("stat", json!({"path": "work:a.txt"}));
    let good = http.request(&message, "MCP-Protocol-Version: 2025-11-25\r\n");
    let body = message.to_string().into_bytes();
    let mut random = Random::new(76);
    let mut seen = std::collections::BTreeMap::new();
    let mut before = 0;
    for number in 0..requests {
        // Half of them keep a head that is in order, or hardly anything would get to the body.
        let bytes = match random.percent(50) {
            true => damaged(&mut random, &good),
            false => with_body(&http, &damaged(&mut random, &body)),
        };
        for status in answers(&http, &bytes) {
            let meant =
                matches!(status, 100 | 200 | 202 | 400 | 401 | 403..=406 | 408 | 411 | 413..=415 | 431 | 505);
            assert!(meant, "{status} to {:?}", String::from_utf8_lossy(&bytes));
            *seen.entry(status).or_insert(0_usize) += 1;
        }
        if number % 500 == 0 {
            http.works();
        }
        if number == requests / 5 {
            before = memory_kib(http.server.pid());
        }
    }
    http.works();
    let after = memory_kib(http.server.pid());
    println!("{requests} requests, answered {seen:?}; memory {before} KiB, then {after} KiB");
    for status in [200, 400, 401, 403, 404] {
        assert!(seen.contains_key(&status), "no {status} among {seen:?}");
    }
    assert!(after < before + MAX_GROWTH_KIB, "memory grew from {before} to {after} KiB");
    http.server.stop();
}
