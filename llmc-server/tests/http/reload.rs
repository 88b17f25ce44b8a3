//! A new configuration while many clients call: no request fails, and those who listen are told.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Http, call, connect, create_token, message, open, read_reply};
use crate::support::{PATIENCE, eventually};

const HELLO: &str = "[plugins.hello]\nlibrary = 'hello'\n";

/// Changes the configuration and has it taken up.
fn reload(http: &Http, text: &str) {
    let taken = |http: &Http| http.server.log().matches("configuration reloaded").count();
    let before = taken(http);
    let new = http.server.setup.folder.path().join("llmc.toml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file(http.server.setup.folder.path())).unwrap();
    signal(http, Signal::HUP);
    eventually("reloaded", || taken(http) > before);
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("llmc.toml")
}

fn signal(http: &Http, signal: Signal) {
    kill_process(Pid::from_raw(http.server.pid().cast_signed()).unwrap(), signal).unwrap();
}

fn configured(http: &Http) -> String {
    std::fs::read_to_string(file(http.server.setup.folder.path())).unwrap()
}

#[test]
fn no_request_fails_while_everything_is_replaced() {
    let http = Http::start(open("requests_per_minute = 1000000").log_filter("info"));
    let text = configured(&http);
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (address, request) =
        (http.address, http.request(&call("read_file", json!({"path": "work:a.txt"})), ""));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut stream = connect(address);
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(&request).unwrap();
                    let reply = read_reply(&mut stream).unwrap();
                    assert!(reply.status == 200 && reply.text().contains("second"), "{reply:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..10 {
            reload(&http, &format!("{text}[limits]\ngrace_ms = {}\n", 900 + number));
            let seen = answered.load(Ordering::Relaxed);
            eventually("they go on", || answered.load(Ordering::Relaxed) > seen + 8);
        }
        over.store(true, Ordering::Relaxed);
    });
    http.works();
    eventually("old hosts are gone", || http.server.children("llmc-host").len() == 2);
    http.server.stop();
}

/// A request of the stateless revision with its headers.
fn stateless(http: &Http, method: &str, mut params: Value) -> Vec<u8> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n");
    http.request(&message(method, params), &headers)
}

/// Reads until what came contains a text.
fn read_until(stream: &mut std::net::TcpStream, wanted: &str) -> String {
    let (begun, mut seen, mut chunk) = (Instant::now(), Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        assert!(begun.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&seen));
        match stream.read(&mut chunk).unwrap() {
            0 => panic!("it ended: {}", String::from_utf8_lossy(&seen)),
            count => seen.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn who_listens_is_told_of_tools_that_his_token_opens() {
    let setup = crate::client::configured("tokens = 'tokens.json'", "");
    let narrow = create_token(&setup, &["narrow", "--tools", "read_file"]);
    let wide = create_token(&setup, &["wide"]);
    let mut http = Http { token: Some(wide), ..Http::start(setup) };
    let listen = |http: &Http| {
        let mut stream = http.connect();
        let filter = json!({"notifications": {"toolsListChanged": true}});
        stream.write_all(&stateless(http, "subscriptions/listen", filter)).unwrap();
        let head = read_until(&mut stream, "notifications/subscriptions/acknowledged");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        stream
    };
    let mut of_wide = listen(&http);
    let wide = http.token.replace(narrow);
    let mut of_narrow = listen(&http);
    http.token = wide;
    let text = configured(&http);
    reload(&http, &format!("{text}{HELLO}"));
    read_until(&mut of_wide, "notifications/tools/list_changed");
    assert!(http.tools().contains(&"hello".to_owned()));

    // Both are told that the server ends, and do not hold it up.
    let begun = Instant::now();
    signal(&http, Signal::TERM);
    let rest = read_until(&mut of_narrow, "\"result\"");
    assert!(!rest.contains("list_changed"), "what its token does not open is no news: {rest}");
    read_until(&mut of_wide, "\"result\"");
    assert!(http.server.wait_for_end().success());
    assert!(begun.elapsed() < Duration::from_secs(9), "nobody waited for `drain_ms`");
}

#[test]
fn listening_is_asked_for_in_both_places_and_has_an_end() {
    let http = Http::open();
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let request = String::from_utf8(stateless(&http, "subscriptions/listen", filter)).unwrap();
    let reply =
        http.raw(request.replace("Mcp-Method: subscriptions/listen", "Mcp-Method: tools/list")).unwrap();
    assert_eq!(reply.status, 400, "{reply:?}");
    // Those beyond the limit are told so, and everybody else is served.
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = http.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read_until(&mut stream, "acknowledged");
        streams.push(stream);
    }
    let mut late = http.connect();
    late.write_all(request.as_bytes()).unwrap();
    let refused = read_until(&mut late, "\"error\"");
    assert!(refused.contains("which is the limit"), "{refused}");
    http.works();
    drop(streams);
    eventually("places are given back", || {
        let mut stream = http.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let (mut seen, mut chunk) = (String::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        seen.contains("acknowledged") && !seen.contains("\"error\"")
    });
    http.server.stop();
}
