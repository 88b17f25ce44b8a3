//! Consent of a person, over stdio.

use serde_json::{Value, json};

use crate::support::modern::{again, consent, with_meta};
use crate::support::{Server, Setup};

const ASKING: &str = "[policy]\nconfirm = 'destructive'\n[audit]\npath = 'audit.jsonl'\n\
    [roots]\nwork = { path = '{work}' }\n\
    [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n\
    [plugins.stress]\nlibrary = '{stress}'\ngrants = { tools = ['delete_path'] }\n";

fn server(version: &str, capabilities: Value) -> Server {
    let mut server = Setup::new(ASKING).writable().file("a.txt", "first").serve_raw();
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": client});
    server.request("initialize", params);
    server.notify("notifications/initialized", json!({}));
    server
}

fn outcomes(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.setup.folder.path().join("audit.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| record["tool"] == "delete_path")
        .map(|record| record["outcome"].as_str().unwrap().to_owned())
        .collect()
}

/// Answers the next question.
fn answer(server: &mut Server, answer: &Value) {
    let question = server.notification("elicitation/create");
    assert!(question["params"]["message"].as_str().unwrap().contains("delete_path"), "{question}");
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
    server.send_line(answer.to_string().as_bytes());
}

fn yes() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

#[test]
fn a_person_is_asked_while_the_call_waits() {
    let mut server = server("2025-11-25", json!({"elicitation": {}}));
    let arguments = json!({"path": "work:a.txt"});
    let call = server.send_call("delete_path", arguments.clone());
    answer(&mut server, &json!({"action": "decline"}));
    assert!(server.called(call).error().contains("declined"));
    assert!(server.setup.work("a.txt").exists());

    let call = server.send_call("delete_path", arguments);
    answer(&mut server, &yes());
    server.called(call).ok();
    assert!(!server.setup.work("a.txt").exists());
    assert_eq!(outcomes(&server), ["declined", "ok"]);
    // What only reads needs no consent.
    server.call("list_dir", json!({"path": "work:"})).ok();
    server.stop();
}

#[test]
fn a_call_below_another_one_waits_too() {
    let mut server = server("2025-06-18", json!({"elicitation": {}}));
    let nested = json!({"tool": "delete_path", "arguments": {"path": "work:a.txt"}});
    let call = server.send_call("stress_nested", nested);
    answer(&mut server, &yes());
    server.called(call);
    assert!(!server.setup.work("a.txt").exists());
    assert_eq!(outcomes(&server), ["ok"]);
    server.stop();
}

#[test]
fn clients_without_elicitation_are_refused_with_the_line_that_helps() {
    for (version, capabilities) in [
        ("2025-11-25", json!({})),
        ("2025-11-25", json!({"elicitation": {"url": {}}})),
        // There was none yet.
        ("2025-03-26", json!({"elicitation": {}})),
    ] {
        let mut server = server(version, capabilities);
        let refused = server.call("delete_path", json!({"path": "work:a.txt"})).error();
        assert!(refused.contains("confirm_tools = { delete_path = \"never\" }"), "{version}: {refused}");
        assert!(server.setup.work("a.txt").exists());
        assert_eq!(outcomes(&server), ["unconfirmed"]);
        server.stop();
    }
}

#[test]
fn the_stateless_revision_asks_in_rounds() {
    let mut server = Setup::new(ASKING).writable().file("a.txt", "first").serve_raw();
    let arguments = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let params = with_meta(arguments, &json!({"elicitation": {}}));
    let asked = server.request("tools/call", params.clone());
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let forged = server.request("tools/call", again(&params, consent(true), &json!("forged.state")));
    assert_eq!(forged["error"]["code"], -32602, "{forged}");
    assert!(server.setup.work("a.txt").exists());
    let state = &asked["result"]["requestState"];
    let done = server.request("tools/call", again(&params, consent(true), state));
    assert_eq!(done["result"]["isError"], json!(false), "{done}");
    assert!(!server.setup.work("a.txt").exists());
    let replayed = server.request("tools/call", again(&params, consent(true), state));
    assert_eq!(replayed["error"]["code"], -32602, "{replayed}");
    server.stop();
}

#[test]
fn a_person_at_the_command_line_has_consented() {
    let setup = Setup::new(ASKING).writable().file("a.txt", "first");
    let output = setup.run("call", &["delete_path", r#"{"path": "work:a.txt"}"#]);
    assert!(output.status.success(), "{output:?}");
    assert!(!setup.work("a.txt").exists());
}

#[test]
fn a_rule_for_a_tool_that_does_not_exist_stops_the_start() {
    let setup =
        Setup::new("[plugins.hello]\nlibrary = 'hello'\n[policy]\nconfirm_tools = { helo = 'always' }");
    let output = setup.run("serve", &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("did you mean `hello`?"), "{error}");
}
