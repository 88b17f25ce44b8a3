//! Traces in the log, and what models are told of the server.

use serde_json::{Value, json};

use crate::support::Setup;

const FS: &str = "[roots]\nwork = { path = '{work}' }\n\
    [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_call_and_the_calls_of_its_code_belong_to_the_trace_of_the_client() {
    let setup = Setup::new(&format!(
        "{FS}[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = {{ run = {{ profile = 'code' }}, tools = ['stat'] }}\n"
    ));
    let mut server = setup.serve();
    let code = "from llmc import tools\ntools.stat(path='work:')['kind']";
    let params = json!({
        "name": "execute_code",
        "arguments": {"code": code},
        "_meta": {"traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01")},
    });
    let answer = server.request("tools/call", params);
    assert!(answer.to_string().contains("dir"), "{answer}");
    let log = server.log_until("tool=\"stat\"");
    let of_trace = |tool: &str| {
        let (tool, trace) = (format!("tool=\"{tool}\""), format!("trace=\"{TRACE}\""));
        log.lines().any(|line| line.contains(&tool) && line.contains(&trace))
    };
    assert!(of_trace("execute_code") && of_trace("stat"), "{log}");
    server.call("stat", json!({"path": "work:"})).ok();
    let log = server.log();
    let own = log.lines().rfind(|line| line.contains("tool=\"stat\"")).unwrap();
    assert!(own.contains("trace=\"") && !own.contains(TRACE), "a trace of its own: {own}");
    server.stop();
}

#[test]
fn what_is_no_traceparent_is_not_believed() {
    let mut server = Setup::new(FS).serve();
    for traceparent in ["nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-\"}\n-1-1"]
    {
        let params = json!({
            "name": "stat",
            "arguments": {"path": "work:"},
            "_meta": {"traceparent": traceparent},
        });
        let answer = server.request("tools/call", params);
        assert!(answer.to_string().contains("dir"), "{answer}");
    }
    assert!(!server.log().contains("nonsense"));
    server.stop();
}

#[test]
fn models_see_metrics_only_if_the_operator_wants_it() {
    let mut server = Setup::new(FS).serve();
    let names = |tools: &Value| -> Vec<String> {
        let tools = tools["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(!names(&server.request("tools/list", json!({}))).contains(&"get_metrics".to_owned()));
    let refused = server.request("tools/call", json!({"name": "get_metrics", "arguments": {}}));
    assert!(refused["error"].is_object(), "{refused}");
    server.stop();

    let mut server = Setup::new(&format!("{FS}[telemetry]\nget_metrics = true\n")).serve();
    assert!(names(&server.request("tools/list", json!({}))).contains(&"get_metrics".to_owned()));
    server.call("stat", json!({"path": "work:"})).ok();
    server.call("stat", json!({"path": 7}));
    let told = server.call("get_metrics", json!({})).ok().clone();
    assert_eq!(told["tools"]["stat"]["calls"], json!({"ok": 1, "invalid_arguments": 1}), "{told}");
    assert!(told["tools"]["stat"]["p50_ms"].as_f64().unwrap() > 0.0, "{told}");
    assert!(told["tools"]["read_file"].is_null(), "what was not called is not worth a word: {told}");
    server.stop();
}

#[test]
fn spans_are_not_promised_where_they_cannot_be_sent() {
    let setup = Setup::new(&format!("{FS}[telemetry]\notlp = 'http://127.0.0.1:1'\n"));
    let output = setup.run("serve", &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("telemetry.otlp") && error.contains("--features otlp"), "{error}");
}
