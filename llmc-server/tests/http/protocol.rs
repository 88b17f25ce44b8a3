//! What works: the revisions of the protocol, results, progress, cancellation.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Http, call, message};
use crate::support::{Setup, eventually};

fn initialize(version: &str) -> Value {
    let client = json!({"name": "test", "version": "0"});
    message("initialize", json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client}))
}

/// What the stateless revision wants in each request.
fn with_meta(mut message: Value) -> Value {
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    message
}

#[test]
fn earlier_revisions_shake_hands_and_call() {
    let http = Http::open();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let reply = http.raw(http.request(&initialize(version), "")).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["result"]["protocolVersion"], version);
        // It says what the client said, and nothing depends on it.
        assert!(reply.header("mcp-session-id").is_some());
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let header = format!("MCP-Protocol-Version: {version}\r\n");
        assert_eq!(http.status(http.request(&initialized, &header)), 202);
        let read = call("read_file", json!({"path": "work:a.txt"}));
        let reply = http.raw(http.request(&read, &header)).unwrap();
        assert!(reply.text().contains("second"), "{reply:?}");
    }
    assert!(http.tools().contains(&"read_file".to_owned()));
    http.server.stop();
}

#[test]
fn the_stateless_revision_discovers_and_calls() {
    let http = Http::open();
    let headers = |method: &str, name: &str| {
        let name = if name.is_empty() { String::new() } else { format!("Mcp-Name: {name}\r\n") };
        format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}")
    };
    let discover = with_meta(message("server/discover", json!({})));
    let reply = http.raw(http.request(&discover, &headers("server/discover", ""))).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let versions = reply.json()["result"]["supportedVersions"].clone();
    assert!(versions.as_array().unwrap().contains(&json!("2026-07-28")), "{reply:?}");

    let read = with_meta(call("read_file", json!({"path": "work:a.txt"})));
    let reply = http.raw(http.request(&read, &headers("tools/call", "read_file"))).unwrap();
    assert!(reply.text().contains("second"), "{reply:?}");

    // Header and body must say the same: who routes or filters by headers must not be deceived.
    for wrong in
        [headers("tools/list", "read_file"), headers("tools/call", "stat"), headers("tools/call", "")]
    {
        let reply = http.raw(http.request(&read, &wrong)).unwrap();
        assert_eq!(reply.status, 400, "{wrong:?}: {reply:?}");
    }
    http.works();
    http.server.stop();
}

#[test]
fn a_client_that_leaves_cancels_its_call() {
    let http = Http::open();
    let mut stream = http.connect();
    stream.write_all(&http.request(&call("stress_sleep", json!({"ms": 60_000})), "")).unwrap();
    // The call is under way once its plugin has it.
    std::thread::sleep(Duration::from_millis(300));
    drop(stream);
    let is_over = |line: &str| {
        line.contains("stress_sleep")
            && ["outcome=\"cancelled\"", "outcome=\"abandoned\""].iter().any(|end| line.contains(end))
    };
    eventually("the call is cancelled", || http.server.log().lines().any(is_over));
    http.works();
    http.server.stop();
}

#[test]
fn progress_comes_before_the_result() {
    let http = Http::open();
    let mut spam = call("stress_progress_spam", json!({"count": 20_000}));
    spam["params"]["_meta"] = json!({"progressToken": "p"});
    let reply = http.raw(http.request(&spam, "Connection: close\r\n")).unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{reply:?}");
    let messages: Vec<Value> = reply
        .body
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok())
        .collect();
    let (last, before) = messages.split_last().unwrap();
    assert!(last["result"].is_object(), "{reply:?}");
    assert!(
        !before.is_empty() && before.iter().all(|message| message["method"] == "notifications/progress"),
        "{reply:?}"
    );
    http.server.stop();
}

#[test]
fn stdio_and_http_are_served_together() {
    let mut http = Http::open();
    http.server.initialize("2025-11-25");
    let called = http.server.call("read_file", json!({"path": "work:a.txt"}));
    assert!(called.text().contains("second"), "{called:?}");
    http.works();
    assert!(http.server.stop().success(), "the client on stdio owns the process");
}

#[test]
fn errors_of_tools_and_of_the_protocol_are_told_apart() {
    let http = Http::open();
    let missing = http.call("read_file", json!({"path": "work:no-such-file"}));
    assert_eq!((missing.status, &missing.json()["result"]["isError"]), (200, &json!(true)), "{missing:?}");
    let unknown = http.call("no_such_tool", json!({}));
    assert_eq!(unknown.json()["error"]["code"], -32602, "{unknown:?}");
    let method = http.raw(http.request(&message("no/such/method", json!({})), "")).unwrap();
    assert_eq!(method.json()["error"]["code"], -32601, "{method:?}");
    http.server.stop();
}

#[test]
fn a_listener_that_would_let_everybody_in_is_refused() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8765"] {
        let text = format!("server = {{ http = {{ listen = '{listen}', auth = 'none' }} }}");
        let output = Setup::new(&text).run("serve", &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{listen}: {error}");
        assert!(error.contains("llmc token create"), "{error}");
    }
}
