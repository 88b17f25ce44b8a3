//! Consent and questions over HTTP: what a client is asked, and what it hands back that it was not given.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};

use crate::client::{Http, Reply, configured, create_token, message};
use crate::support::modern::{again, consent, with_meta};

const ELICITS: &str = r#"{"elicitation": {}}"#;

fn elicits() -> Value {
    serde_json::from_str(ELICITS).unwrap()
}

/// A server that asks before anything is destroyed. `rest` follows.
fn asking(rest: &str) -> Http {
    let policy = format!("[policy]\nconfirm = 'destructive'\n{rest}\n[audit]\npath = 'audit.jsonl'\n");
    let setup = configured("tokens = 'tokens.json'", &policy).writable();
    let token = create_token(&setup, &["good"]);
    Http { token: Some(token), ..Http::start(setup) }
}

/// What became of the first calls of a tool, as soon as so many are recorded.
fn outcomes(http: &Http, tool: &str, calls: usize) -> Vec<String> {
    let of_tool = |records: &[Value]| -> Vec<String> {
        let records = records.iter().filter(|record| record["tool"] == tool);
        records.map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
    };
    of_tool(&http.server.setup.records(|records| of_tool(records).len() >= calls))
}

pub(crate) fn delete(path: &str) -> Value {
    with_meta(json!({"name": "delete_path", "arguments": {"path": path}}), &elicits())
}

/// Sends a `tools/call` of the stateless revision.
pub(crate) fn call(http: &Http, params: &Value) -> Reply {
    http.raw(call_bytes(http, params)).unwrap()
}

pub(crate) fn call_bytes(http: &Http, params: &Value) -> Vec<u8> {
    let name = params["name"].as_str().unwrap();
    let headers =
        format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n");
    http.request(&message("tools/call", params.clone()), &headers)
}

#[track_caller]
pub(crate) fn state(reply: &Reply) -> Value {
    let result = &reply.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{reply:?}");
    assert_eq!(result["inputRequests"]["llmc/confirm"]["method"], "elicitation/create", "{reply:?}");
    result["requestState"].clone()
}

#[test]
fn a_tool_runs_after_a_yes_and_not_before() {
    let http = asking("");
    let params = delete("work:a.txt");
    let asked = call(&http, &params);
    let question = &asked.json()["result"]["inputRequests"]["llmc/confirm"]["params"]["message"];
    assert!(
        question.as_str().unwrap().contains("delete_path") && question.as_str().unwrap().contains("a.txt")
    );
    assert!(http.server.setup.work("a.txt").exists());
    let done = call(&http, &again(&params, consent(true), &state(&asked)));
    assert_eq!(done.json()["result"]["isError"], json!(false), "{done:?}");
    assert!(!http.server.setup.work("a.txt").exists());
    assert_eq!(outcomes(&http, "delete_path", 2), ["input_required", "ok"]);
    http.server.stop();
}

#[test]
fn a_no_is_a_no_and_is_recorded() {
    let http = asking("");
    for (answer, words) in [
        (consent(false), "declined"),
        (json!({"llmc/confirm": {"action": "decline"}}), "declined"),
        (json!({"llmc/confirm": {"action": "cancel"}}), "dismissed"),
    ] {
        let params = delete("work:a.txt");
        let refused = call(&http, &again(&params, answer, &state(&call(&http, &params))));
        assert_eq!(refused.json()["result"]["isError"], true, "{refused:?}");
        assert!(refused.text().contains(words), "{refused:?}");
    }
    assert!(http.server.setup.work("a.txt").exists());
    let outcomes = outcomes(&http, "delete_path", 6);
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "declined").count(), 3, "{outcomes:?}");
    http.works();
    http.server.stop();
}

#[test]
fn nothing_but_the_state_that_was_given_opens_anything() {
    let http = asking("");
    let other = create_token(&http.server.setup, &["other"]);
    let params = delete("work:a.txt");
    let sealed = state(&call(&http, &params));
    let text = sealed.as_str().unwrap();
    let (payload, tag) = text.split_once('.').unwrap();
    let file = http.server.setup.work("a.txt");
    let refused = |reply: Reply, what: &str| {
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["code"]), (200, &json!(-32602)), "{what}: {reply:?}");
        assert!(file.exists(), "{what}");
    };
    for forged in [
        format!("{text}-TAMPERED"),
        format!("{payload}.{}", tag.chars().rev().collect::<String>()),
        format!("{}{}.{tag}", &payload[..payload.len() - 1], if payload.ends_with('A') { 'B' } else { 'A' }),
        payload.to_owned(),
        "x".repeat(300_000),
        ".".into(),
    ] {
        refused(call(&http, &again(&params, consent(true), &json!(forged))), &forged[..forged.len().min(40)]);
    }
    let elsewhere = delete("work:b.txt");
    refused(call(&http, &again(&elsewhere, consent(true), &sealed)), "other arguments");
    let mut as_other = params.clone();
    as_other["name"] = json!("move_path");
    as_other["arguments"] = json!({"from": "work:a.txt", "to": "work:b.txt"});
    let moved = call(&http, &again(&as_other, consent(true), &sealed));
    assert!(moved.json().get("error").is_some() || moved.json()["result"]["isError"] == true, "{moved:?}");
    let by_other = Http { token: Some(other), ..http };
    refused(call(&by_other, &again(&params, consent(true), &sealed)), "another caller");
    let http = Http { token: None, ..by_other };
    let token = create_token(&http.server.setup, &["third"]);
    let http = Http { token: Some(token), ..http };

    // An answer without the state is none: who calls could consent for himself.
    let sealed = state(&call(&http, &again(&params, consent(true), &Value::Null)));
    assert!(http.server.setup.work("a.txt").exists());
    // And the state is good once.
    let done = call(&http, &again(&params, consent(true), &sealed));
    assert_eq!(done.json()["result"]["isError"], json!(false), "{done:?}");
    std::fs::write(http.server.setup.work("a.txt"), "again").unwrap();
    let replayed = call(&http, &again(&params, consent(true), &sealed));
    assert_eq!(replayed.json()["error"]["code"], -32602, "{replayed:?}");
    assert!(http.server.setup.work("a.txt").exists());
    // Six forged ones, other arguments, another caller, a replay; and what was asked and done between them.
    let outcomes = outcomes(&http, "delete_path", 12);
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "invalid_state").count(), 9, "{outcomes:?}");
    http.server.stop();
}

#[test]
fn a_state_expires() {
    let http = asking("confirm_timeout_ms = 1");
    let params = delete("work:a.txt");
    let sealed = state(&call(&http, &params));
    // Longer than it is good for, however slow the machine is.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let late = call(&http, &again(&params, consent(true), &sealed));
    assert_eq!(late.json()["error"]["code"], -32602, "{late:?}");
    assert!(late.json()["error"]["message"].as_str().unwrap().contains("expired"), "{late:?}");
    assert!(http.server.setup.work("a.txt").exists());
    http.server.stop();
}

#[test]
fn a_client_that_cannot_ask_learns_what_to_configure() {
    let http = asking("");
    let params = with_meta(json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}}), &json!({}));
    let refused = call(&http, &params);
    assert!(refused.text().contains("confirm_tools = { delete_path = \"never\" }"), "{refused:?}");
    assert!(http.server.setup.work("a.txt").exists());
    assert_eq!(outcomes(&http, "delete_path", 1), ["unconfirmed"]);
    http.works();
    http.server.stop();

    let free = asking("confirm_tools = { delete_path = 'never' }");
    let done = call(&free, &params);
    assert_eq!(done.json()["result"]["isError"], json!(false), "the neighbour: {done:?}");
    free.server.stop();
}

#[test]
fn a_call_below_another_one_is_not_made_twice_to_ask() {
    let http = asking("[plugins.stress.grants]\ntools = ['delete_path']");
    let nested = json!({"tool": "delete_path", "arguments": {"path": "work:a.txt"}});
    let params = with_meta(json!({"name": "stress_nested", "arguments": nested}), &elicits());
    let refused = call(&http, &params);
    assert!(refused.body.contains("call the tool directly"), "{refused:?}");
    assert!(http.server.setup.work("a.txt").exists());
    http.server.stop();
}

/// A client of an earlier revision: it shakes hands, and is asked on the stream of its call.
#[test]
fn earlier_revisions_are_asked_on_the_stream_of_the_call() {
    let http = asking("");
    let other = create_token(&http.server.setup, &["other"]);
    let client = json!({"name": "test", "version": "0"});
    let initialize =
        json!({"protocolVersion": "2025-11-25", "capabilities": elicits(), "clientInfo": client});
    let reply = http.raw(http.request(&message("initialize", initialize), "")).unwrap();
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    let headers = format!("MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n");
    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});

    for (yes, remains) in [(false, true), (true, false)] {
        let mut stream = http.connect();
        stream.write_all(&http.request(&message("tools/call", params.clone()), &headers)).unwrap();
        let mut events = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let question = events.next().unwrap();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert!(http.server.setup.work("a.txt").exists());
        let answer = |id: Value| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"confirm": yes}}});
        // Guessed, and somebody else's: neither reaches the call.
        assert_eq!(http.status(http.request(&answer(json!(0)), &headers)), 400);
        assert_eq!(http.status(http.request(&answer(json!("0123")), &headers)), 400);
        let stolen = http.request(&answer(question["id"].clone()), "MCP-Protocol-Version: 2025-11-25\r\n");
        let good = http.token.as_deref().unwrap();
        let stolen = String::from_utf8(stolen).unwrap().replace(good, &other);
        assert_eq!(http.status(stolen), 400);
        assert_eq!(http.status(http.request(&answer(question["id"].clone()), &headers)), 202);
        let result = events.next().unwrap();
        assert_eq!(result["result"]["isError"], json!(!yes), "{result}");
        assert_eq!(http.server.setup.work("a.txt").exists(), remains);
    }
    // A session that was not given, or to somebody else, is none.
    let wrong = format!("Mcp-Session-Id: {session}x\r\n");
    assert_eq!(http.status(http.request(&message("ping", json!({})), &wrong)), 404);
    let mine = format!("Mcp-Session-Id: {session}\r\n");
    assert_eq!(http.status(http.request(&message("ping", json!({})), &mine)), 200);
    let http = Http { token: Some(other), ..http };
    assert_eq!(http.status(http.request(&message("ping", json!({})), &mine)), 404);
    http.server.stop();
}

/// A client of an earlier revision that said it cannot be asked, or leaves while it is.
#[test]
fn earlier_clients_that_cannot_answer_are_refused_or_leave() {
    let http = asking("");
    let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
    let reply = http.raw(http.request(&message("initialize", initialize), "")).unwrap();
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    let headers = format!("MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n");
    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let refused = http.raw(http.request(&message("tools/call", params.clone()), &headers)).unwrap();
    assert!(refused.text().contains("confirm_tools"), "{refused:?}");

    // Without its session nobody knows, so it is asked; leaving ends the call.
    let mut stream = http.connect();
    let version = "MCP-Protocol-Version: 2025-11-25\r\n";
    stream.write_all(&http.request(&message("tools/call", params), version)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("elicitation/create")));
    drop((lines, stream));
    let is_over = |outcome: &String| outcome == "cancelled" || outcome == "abandoned";
    assert!(outcomes(&http, "delete_path", 2).iter().any(is_over));
    assert!(http.server.setup.work("a.txt").exists());
    http.works();
    http.server.stop();
}
