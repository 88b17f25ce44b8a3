//! Invariant 8: stdout belongs to the protocol, whatever plugins write, however hosts end, however much is logged.

use serde_json::json;

use crate::neighbour::{config, hello};
use crate::support::{Server, Setup};

fn serve(filter: &str) -> Server {
    let mut server =
        Setup::new(&config("[limits]\ncall_timeout_ms = 2000\ngrace_ms = 200")).log_filter(filter).serve();
    hello(&mut server);
    server
}

#[test]
fn floods_and_crashes_leave_stdout_to_the_protocol() {
    let mut server = serve("trace");
    let attacks = [
        ("stress_log_spam", json!({"lines": 2000})),
        ("stress_progress_spam", json!({"count": 2000})),
        ("stress_stderr_spam", json!({"lines": 2000})),
        ("stress_panic", json!({})),
        ("stress_abort", json!({})),
        ("stress_segfault", json!({})),
        ("stress_overflow", json!({})),
        ("stress_exit", json!({"code": 7})),
        ("stress_bad_json", json!({})),
        // It writes to descriptors 0 and 1, too.
        ("stress_attack", json!({})),
    ];
    for (tool, arguments) in attacks {
        let id = server.send_call(tool, arguments);
        hello(&mut server);
        server.called(id);
    }
    hello(&mut server);
    assert!(server.log().contains("TRACE"), "the log was as loud as it gets");
    // Checks every line of stdout.
    assert!(server.stop().success());
}

#[test]
fn a_constructor_that_writes_to_stdout_does_not_reach_the_client() {
    let mut server = serve("debug");
    let report = server.call("stress_constructor_report", json!({})).ok().clone();
    let attempts = report["attempts"].as_array().unwrap();
    let wrote = attempts.iter().find(|attempt| attempt["name"] == "write_stdout").unwrap();
    assert_eq!(wrote["outcome"], "OK", "it did write");
    assert!(server.stop().success());
}

#[test]
fn a_refused_start_says_nothing_on_stdout() {
    for text in [
        "[plugins.x]\nlibrary = 'no_such_plugin'",
        "not toml at all",
        "[roots]\nwork = { path = '/no/such' }",
    ] {
        let output = Setup::new(text).run("serve", &["--log", "trace"]);
        assert!(!output.status.success());
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn what_a_client_sends_wrongly_is_answered_in_the_protocol() {
    let mut server = serve("trace");
    for line in [
        &b"\x00\x01\x02"[..],
        b"{\"jsonrpc\": \"2.0\", \"id\": 900, \"method\": \"no/such\"}",
        b"{",
        b"\"text\"",
    ] {
        server.send_line(line);
    }
    hello(&mut server);
    assert!(server.stop().success());
}
