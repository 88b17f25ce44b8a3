//! Web pages: a browser sends what a page tells it to, to this machine too, under the name that the page chose.

use serde_json::json;

use crate::client::{Http, call, open};

fn with_host(http: &Http, host: &str, more: &str) -> u16 {
    let request =
        String::from_utf8(http.request(&call("stat", json!({"path": "work:a.txt"})), more)).unwrap();
    http.status(request.replacen(&format!("Host: {}", http.address), &format!("Host: {host}"), 1))
}

#[test]
fn a_page_under_another_name_gets_nowhere() {
    let http = Http::open();
    let port = http.address.port();
    for host in ["localhost", "127.0.0.1", "[::1]:80", "LOCALHOST:1", &format!("localhost:{port}")] {
        assert_eq!(with_host(&http, host, ""), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8765",
        "localhost@evil.example",
        "evil.example#localhost",
        "0.0.0.0",
        "192.0.2.1",
        "2130706433",
        "localhost:99999",
        "localhost evil.example",
        "",
    ] {
        assert_eq!(with_host(&http, host, ""), 403, "{host}");
        let health = http.status(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(health, 403, "{host}");
    }
    assert_eq!(http.status("GET /healthz HTTP/1.1\r\n\r\n"), 400, "no host at all");
    http.server.log_until("server.http.hosts");
    http.works();
    http.server.stop();
}

#[test]
fn a_page_of_another_origin_gets_nowhere() {
    let http = Http::open();
    let port = http.address.port();
    for origin in [
        "http://evil.example",
        "null",
        "https://localhost",
        "file://",
        "",
        &format!("http://127.0.0.1:{port}"),
    ] {
        assert_eq!(with_host(&http, "localhost", &format!("Origin: {origin}\r\n")), 403, "{origin:?}");
    }
    let preflight = "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let refused = http.raw(preflight).unwrap();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    assert!(!refused.body.contains("evil"), "{refused:?}");
    http.server.log_until("server.http.origins");
    http.works();
    http.server.stop();
}

#[test]
fn a_page_that_the_operator_names_may_call() {
    let http = Http::start(open("origins = ['https://app.example.org'], hosts = ['llmc.example.org']"));
    let preflight = http
        .raw(
            "OPTIONS /mcp HTTP/1.1\r\nHost: llmc.example.org\r\nOrigin: https://app.example.org\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
        )
        .unwrap();
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example.org"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("content-type"));
    let origin = "Origin: https://app.example.org\r\n";
    assert_eq!(with_host(&http, "llmc.example.org", origin), 200);
    assert_eq!(with_host(&http, "llmc.example.org", "Origin: http://app.example.org\r\n"), 403);
    assert_eq!(with_host(&http, "evil.example", origin), 403);
    http.works();
    http.server.stop();
}

#[test]
fn browsers_are_told_to_keep_and_guess_nothing() {
    let http = Http::open();
    let call = http.call("stat", json!({"path": "work:a.txt"}));
    for reply in [call, http.get("/healthz"), http.get("/nothing")] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("vary", "origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{reply:?}");
        }
        assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
        assert_eq!(reply.header("server"), None);
    }
    http.server.stop();
}
