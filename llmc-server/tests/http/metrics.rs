//! `/metrics`: true numbers for who may read them, and nothing for others.

use serde_json::json;

use crate::client::{Http, Reply, configured, create_token, open};
use crate::support::eventually;

const TOKENS: &str = "tokens = 'tokens.json'";

/// `GET /metrics` with this token.
fn metrics(http: &Http, token: Option<&str>) -> Reply {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    http.raw(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{token}\r\n")).unwrap()
}

/// The value of a series; 0 if there is none.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap_or_else(|error| panic!("{series}: {error}")))
}

#[test]
fn numbers_are_for_tokens_with_their_scope() {
    let setup = configured(TOKENS, "");
    let caller = create_token(&setup, &["caller"]);
    let scraper = create_token(&setup, &["scraper", "--scope", "metrics"]);
    let admin = create_token(&setup, &["admin", "--scope", "admin"]);
    let both = create_token(&setup, &["both", "--scope", "call,metrics"]);
    let mut http = Http { token: Some(caller.clone()), ..Http::start(setup) };
    http.works();
    assert_eq!(metrics(&http, None).status, 401);
    assert_eq!(metrics(&http, Some("llmc_wrong")).status, 401);
    assert_eq!(metrics(&http, Some(&caller)).status, 403);
    for token in [&scraper, &admin, &both] {
        let reply = metrics(&http, Some(token));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.contains("llmc_calls_total{tool=\"read_file\",outcome=\"ok\"} 1"), "{reply:?}");
    }
    for (token, status) in [(&scraper, 403), (&admin, 403), (&both, 200), (&caller, 200)] {
        http.token = Some(token.clone());
        assert_eq!(http.call("read_file", json!({"path": "work:a.txt"})).status, status);
    }
    let text = metrics(&http, Some(&scraper)).body;
    assert_eq!(value(&text, "llmc_auth_failures_total{reason=\"none\"}"), 1.0);
    assert_eq!(value(&text, "llmc_auth_failures_total{reason=\"unknown\"}"), 1.0);
    assert_eq!(value(&text, "llmc_auth_failures_total{reason=\"scope\"}"), 3.0);
    http.server.stop();
}

#[test]
fn without_tokens_numbers_are_there_only_if_they_are_public() {
    let http = Http::open();
    assert_eq!(metrics(&http, None).status, 403, "nobody has the scope");
    http.works();
    http.server.stop();

    let http = Http::start(open("metrics = 'public'"));
    let reply = metrics(&http, None);
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(reply.body.starts_with("# HELP ") && reply.body.ends_with("# EOF\n"), "{reply:?}");
    assert_eq!(http.status("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"), 405);
    assert_eq!(http.status("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    http.server.stop();
}

#[test]
fn what_happens_is_counted() {
    let setup = configured("auth = 'none', metrics = 'public'", "[policy]\nread_only = true\n");
    let http = Http::start(setup);
    let text = || metrics(&http, None).body;
    for _ in 0..3 {
        http.works();
    }
    http.call("read_file", json!({"path": "work:none.txt"}));
    http.call("read_file", json!({"wrong": 1}));
    http.call("write_file", json!({"path": "work:b.txt", "text": "no"}));
    for name in ["no_such_tool", "another\"} 1\nfake 2", "third"] {
        http.call(name, json!({}));
    }
    http.raw("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let text = text();
    let calls = |tool: &str, outcome: &str| {
        value(&text, &format!("llmc_calls_total{{tool=\"{tool}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!(calls("read_file", "ok"), 3.0, "{text}");
    assert_eq!(calls("read_file", "tool_error") + calls("read_file", "tool_failed"), 1.0, "{text}");
    assert_eq!(calls("read_file", "invalid_arguments"), 1.0);
    assert_eq!(calls("write_file", "denied"), 1.0);
    assert_eq!(calls("(unknown)", "unknown_tool"), 3.0);
    assert!(!text.contains("no_such_tool") && !text.contains("fake"), "callers make no labels: {text}");
    assert_eq!(value(&text, "llmc_call_duration_seconds_count{tool=\"read_file\"}"), 5.0);
    assert!(value(&text, "llmc_call_arguments_bytes_total{tool=\"read_file\"}") > 0.0);
    assert!(value(&text, "llmc_call_results_bytes_total{tool=\"read_file\"}") > 0.0);
    assert!(value(&text, "llmc_call_queue_seconds_count") >= 4.0);
    assert_eq!(value(&text, "llmc_host_starts_total{plugin=\"fs\"}"), 1.0);
    assert_eq!(value(&text, "llmc_http_answers_total{route=\"none\",status=\"404\"}"), 1.0);
    assert_eq!(value(&text, "llmc_calls_running"), 0.0);
    http.server.stop();
}

#[test]
fn ends_of_hosts_and_limits_are_counted() {
    let setup = configured(
        "auth = 'none', metrics = 'public'",
        "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = { run = { profile = 'code', limits = { wall_ms = 1500 } }, tools = ['read_file'] }\n\
         [limits]\nnested_calls = 2\n",
    );
    let http = Http::start(setup);
    let text = || metrics(&http, None).body;
    http.call("stress_abort", json!({}));
    http.works();
    eventually("a host takes the place of the one that ended", || {
        http.call("stress_sleep", json!({"ms": 1}));
        value(&text(), "llmc_host_restarts_total{plugin=\"stress\"}") == 1.0
    });
    let run = |code: &str| http.call("execute_code", json!({"code": code})).body;
    let many = run("from llmc import tools\nfor _ in range(5):\n    tools.read_file(path='work:a.txt')");
    assert!(many.contains("limits.nested_calls"), "{many}");
    run("while True: pass");
    let text = text();
    assert!(value(&text, "llmc_limits_hit_total{limit=\"nested_calls\"}") >= 1.0, "{text}");
    let ended = value(&text, "llmc_limits_hit_total{limit=\"run.wall\"}");
    assert_eq!(ended + value(&text, "llmc_limits_hit_total{limit=\"run.cpu\"}"), 1.0, "{text}");
    assert_eq!(value(&text, "llmc_runs_total{plugin=\"exec\"}"), 2.0);
    let starts = ["parked", "new"]
        .map(|start| value(&text, &format!("llmc_run_start_seconds_count{{start=\"{start}\"}}")));
    assert_eq!(starts.iter().sum::<f64>(), 2.0, "{text}");
    assert_eq!(value(&text, "llmc_run_places"), 32.0);
    eventually("no run is left", || value(&metrics(&http, None).body, "llmc_runs_live") == 0.0);
    http.server.stop();
}
