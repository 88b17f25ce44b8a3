//! Heads of requests that two programs could read in two ways, or that are too much.

use serde_json::json;

use crate::client::{Http, call};

/// A good request with other lines in its head.
fn with(http: &Http, lines: &str) -> Vec<u8> {
    http.request(&call("stat", json!({"path": "work:a.txt"})), lines)
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let http = Http::open();
    for (lines, status) in [
        ("X-Good: 1\r\n", 200),
        ("Host: localhost\r\n", 400),
        ("Host: evil.example\r\n", 400),
        ("Content-Type: application/json\r\n", 400),
        ("Content-Length: 1\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Transfer-Encoding: gzip, chunked\r\n", 411),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Content-Encoding: gzip\r\n", 415),
        // Folded, as HTTP/1.0 allowed.
        ("X-Folded: 1\r\n 2\r\n", 400),
        (" X-First: 1\r\n", 400),
        // Lines that end in other ways, and bytes that end strings elsewhere.
        ("X-Bare: 1\rX-More: 2\r\n", 400),
        ("X-Nul: 1\0 2\r\n", 400),
        ("X-Name\0: 1\r\n", 400),
        ("X Name: 1\r\n", 400),
        (": no name\r\n", 400),
        ("no colon\r\n", 400),
    ] {
        assert_eq!(http.status(with(&http, lines)), status, "{lines:?}");
        http.works();
    }
    http.server.stop();
}

#[test]
fn a_body_is_one_request_and_never_two() {
    let http = Http::open();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "",
    ] {
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{lengths}\r\n0\r\n\r\n{smuggled}"
        );
        let mut stream = http.connect();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answers = Vec::new();
        // A reset may follow the answer; what came until then counts.
        let _ = std::io::Read::read_to_end(&mut stream, &mut answers);
        let answers = String::from_utf8(answers).unwrap();
        assert!(answers.starts_with("HTTP/1.1 4"), "{lengths:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{lengths:?}: {answers}");
        http.works();
    }
    http.server.stop();
}

#[test]
fn heads_are_bounded() {
    let http = Http::open();
    let long = |bytes: usize| format!("X-Long: {}\r\n", "a".repeat(bytes));
    assert_eq!(http.status(with(&http, &long(8 << 10))), 200);
    assert_eq!(http.status(with(&http, &long(20 << 10))), 431);
    assert_eq!(http.status(with(&http, &"X-Many: 1\r\n".repeat(50))), 200);
    assert_eq!(http.status(with(&http, &"X-Many: 1\r\n".repeat(80))), 431);
    let path = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(bytes));
    assert_eq!(http.status(path(100)), 404);
    assert_eq!(http.status(path(1_000)), 414);
    assert!(matches!(http.status(path(100_000)), 414 | 431));
    http.works();
    http.server.stop();
}

#[test]
fn only_whole_paths_lead_somewhere() {
    let http = Http::open();
    let get = |path: &str| http.status(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!((get("/healthz"), get("/readyz")), (200, 200));
    assert_eq!(get("http://localhost/healthz"), 200);
    for path in [
        "/",
        "/x/healthz",
        "/healthz/",
        "/mcp/../healthz",
        "/./healthz",
        "//healthz",
        "/healthz%00",
        "/%68ealthz",
        "/healthz;x",
        "/HEALTHZ",
        "/metrics/",
        "/sse",
        "/.well-known/oauth-protected-resource",
        "/../../etc/passwd",
        "/mcp/",
        "/mcp/x",
    ] {
        assert_eq!(get(path), 404, "{path}");
    }
    for target in ["http://evil.example/healthz", "/healthz?x=1", "/healthz?", "healthz", "*"] {
        assert!(matches!(get(target), 400 | 404), "{target}");
    }
    for method in ["GET", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE"] {
        let request = format!("{method} /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = http.connect();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 405", "{method}");
    }
    http.works();
    http.server.stop();
}

#[test]
fn other_protocols_are_not_spoken() {
    let http = Http::open();
    assert_eq!(http.status("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"), 505);
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz\r\n",
        b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\n\r\n\xff\xfe\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}\n",
    ] {
        let status = http.raw(bytes).map(|reply| reply.status);
        assert!(matches!(status, None | Some(400 | 505)), "{status:?}: {:?}", String::from_utf8_lossy(bytes));
        http.works();
    }
    http.server.stop();
}
