//! Bodies that are meant to hurt whoever parses them.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Http, call, configured, is_closed_within, open, read_reply};

/// A request with this body and honest headers.
fn post(http: &Http, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        http.address,
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn message(params: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/call\", \"params\": {params}}}")
        .into_bytes()
}

#[test]
fn what_is_no_message_is_refused() {
    let http = Http::open();
    let deep =
        |open: &str, close: &str, levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let arguments =
        |value: &str| message(&format!("{{\"name\": \"stat\", \"arguments\": {{\"path\": {value}}}}}"));
    for (what, body) in [
        ("nothing", Vec::new()),
        ("no JSON", b"hello".to_vec()),
        ("a number", b"1".to_vec()),
        ("a batch", [b"[".to_vec(), message("{}"), b"]".to_vec()].concat()),
        ("100,000 arrays", arguments(&deep("[", "]", 100_000))),
        ("100,000 objects", arguments(&deep("{\"a\":", "}", 100_000))),
        ("100,000 that are never closed", "{\"a\":".repeat(100_000).into_bytes()),
        ("65 levels", deep("{\"a\":", "}", 65).into_bytes()),
        ("an object cut off", b"{\"jsonrpc\": \"2.0\"".to_vec()),
        ("two objects", [message("{}"), message("{}")].concat()),
        ("not UTF-8", [&message("{\"name\": \"")[..30], b"\xff\xfe\"}"].concat()),
        ("half a surrogate", arguments("\"\\ud800\"")),
        ("a control character", arguments("\"a\nb\"")),
        ("a byte order mark", [b"\xEF\xBB\xBF".to_vec(), message("{}")].concat()),
        ("an infinite number", arguments("1e999999")),
        ("no number", arguments("NaN")),
        ("a comment", arguments("1 /* x */")),
        ("another version", b"{\"jsonrpc\": \"1.0\", \"id\": 1, \"method\": \"ping\"}".to_vec()),
        ("an answer", b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {}}".to_vec()),
    ] {
        let reply = http.raw(post(&http, &body)).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
        http.works();
    }
    http.server.stop();
}

#[test]
fn odd_arguments_reach_the_schema_and_no_further() {
    let http = Http::open();
    for value in [
        Value::from(u64::MAX),
        Value::from(i64::MIN),
        Value::from(1e308),
        json!("a".repeat(1 << 20)),
        json!("\u{0}"),
        json!(["a"]),
        Value::Null,
        // As deep as a body may be, with the levels around it.
        (0..60).fold(json!(1), |inner, _| json!([inner])),
    ] {
        let reply = http.raw(http.request(&call("stat", json!({"path": value})), "")).unwrap();
        assert_eq!((reply.status, &reply.json()["result"]["isError"]), (200, &json!(true)), "{}", reply.body);
        http.works();
    }
    let digits = "9".repeat(100_000);
    let body = message(&format!(
        "{{\"name\": \"read_file\", \"arguments\": {{\"path\": \"work:a.txt\", \"offset\": {digits}}}}}"
    ));
    let reply = http.raw(post(&http, &body)).unwrap();
    assert!(matches!(reply.status, 200 | 400), "{reply:?}");
    assert!(reply.status == 400 || reply.json()["result"]["isError"] == true, "{reply:?}");
    http.works();
    http.server.stop();
}

#[test]
fn a_key_that_comes_twice_means_one_thing() {
    let http = Http::open();
    let body =
        message("{\"name\": \"stat\", \"arguments\": {\"path\": \"work:a.txt\", \"path\": \"work:b.txt\"}}");
    let reply = http.raw(post(&http, &body)).unwrap();
    // What is checked is what the plugin gets: the last one, which does not exist.
    assert!(reply.status == 400 || reply.json()["result"]["isError"] == true, "{reply:?}");
    http.works();
    http.server.stop();
}

#[test]
fn bodies_are_bounded() {
    let http = Http::start(configured("auth = 'none'", "[limits]\nmax_message_bytes = 100000\n"));
    let body = |bytes: usize| {
        let path = "a".repeat(bytes);
        call("stat", json!({"path": path})).to_string().into_bytes()
    };
    let fits = body(90_000);
    assert_eq!(http.status(post(&http, &fits)), 200);
    for bytes in [100_000, 500_000] {
        assert_eq!(http.status(post(&http, &body(bytes))), 413, "{bytes}");
    }
    // The length alone is enough; nobody waits for what will not be taken.
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(http.status(head), 413);
    http.works();
    http.server.stop();
}

#[test]
fn media_types_are_those_of_the_protocol() {
    let http = Http::open();
    let request = String::from_utf8(http.request(&call("stat", json!({"path": "work:a.txt"})), "")).unwrap();
    assert_eq!(http.status(&request), 200);
    for (from, to, status) in [
        ("Content-Type: application/json", "Content-Type: text/plain", 415),
        ("Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded", 415),
        ("Content-Type: application/json", "X-None: 1", 415),
        ("Accept: application/json, text/event-stream", "Accept: text/html", 406),
    ] {
        assert_eq!(http.status(request.replacen(from, to, 1)), status, "{to}");
    }
    http.server.stop();
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let http = Http::start(open("client_timeout_ms = 500"));
    let whole = post(&http, call("stat", json!({"path": "work:a.txt"})).to_string().as_bytes());
    let mut slow = http.connect();
    slow.write_all(&whole[..whole.len() - 3]).unwrap();
    http.works();
    assert_eq!(read_reply(&mut slow).unwrap().status, 408);
    assert!(is_closed_within(&mut slow, Duration::from_secs(10)));
    // A client that closes in the middle costs nothing either.
    let mut gone = http.connect();
    gone.write_all(&whole[..whole.len() - 3]).unwrap();
    drop(gone);
    http.works();
    http.server.stop();
}
