//! MCP over stdio, message by message.

use serde_json::{Value, json};

use crate::support::{PATIENCE, Setup};

const HELLO: &str = "[plugins.hello]\nlibrary = \"hello\"";

/// Client information that the 2026-07-28 revision wants in every request.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

#[test]
fn every_legacy_revision_is_agreed_on() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut server = Setup::new(HELLO).serve_raw();
        let answer = server.initialize(version);
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "llmc");
        assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
        assert!(server.stop().success());
    }
}

#[test]
fn the_stateless_revision_works_without_a_handshake() {
    let mut server = Setup::new(HELLO).serve_raw();
    let discovered = server.request("server/discover", json!({"_meta": meta()}));
    let versions = discovered["result"]["supportedVersions"].as_array().expect("versions");
    assert!(versions.contains(&json!("2026-07-28")), "{discovered}");

    let list = server.request("tools/list", json!({"_meta": meta()}));
    assert_eq!(list["result"]["resultType"], "complete", "{list}");
    assert!(list["result"]["ttlMs"].is_u64() && list["result"]["cacheScope"].is_string(), "{list}");

    let answer =
        server.request("tools/call", json!({"name": "hello", "arguments": {"name": "Ada"}, "_meta": meta()}));
    assert_eq!(answer["result"]["structuredContent"]["text"], "Hello, Ada!", "{answer}");
    server.stop();
}

#[test]
fn tools_are_listed_sorted_with_everything_a_client_needs() {
    let mut server = Setup::new(
        "[roots]\nwork = { path = '{work}' }\n[plugins.hello]\nlibrary = 'hello'\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }",
    )
    .serve();
    let list = server.request("tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let changing =
        ["append_file", "copy_path", "create_dir", "delete_path", "edit_file", "move_path", "write_file"];
    let looking = [
        "find_files",
        "hello",
        "list_dir",
        "read_file",
        "read_files",
        "read_more",
        "search_files",
        "stat",
        "tree",
    ];
    let mut all = [changing.as_slice(), looking.as_slice()].concat();
    all.sort_unstable();
    assert_eq!(names, all);
    for tool in tools {
        assert!(tool["description"].as_str().is_some_and(|text| !text.is_empty()), "{tool}");
        assert!(tool["title"].is_string(), "{tool}");
        let is_read_only = looking.contains(&tool["name"].as_str().unwrap());
        assert_eq!(tool["annotations"]["readOnlyHint"], is_read_only, "{tool}");
        let input = &tool["inputSchema"];
        assert_eq!(
            (&input["type"], &input["additionalProperties"]),
            (&json!("object"), &json!(false)),
            "{tool}"
        );
        assert!(!input["properties"].as_object().unwrap().values().any(Value::is_boolean), "{tool}");
    }
    assert_eq!(list, {
        let mut again = server.request("tools/list", json!({}));
        again["id"] = list["id"].clone();
        again
    });
    server.stop();
}

#[test]
fn an_unknown_tool_is_a_protocol_error_and_bad_arguments_are_a_tool_error() {
    let mut server = Setup::new(HELLO).serve();
    let unknown = server.call("helo", json!({})).0;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(unknown["error"]["message"].as_str().unwrap().contains("did you mean `hello`?"), "{unknown}");

    let text = server.call("hello", json!({"name": 5, "nmae": "x"})).error();
    assert!(text.contains("`/name`: value is not of type \"string\""), "{text}");
    assert!(text.contains("'nmae' was unexpected") && text.contains("did you mean `name`?"), "{text}");
    server.stop();
}

#[test]
fn a_line_over_the_limit_costs_itself_and_nothing_else() {
    let mut server =
        Setup::new("[limits]\nmax_message_bytes = 10000\n[plugins.hello]\nlibrary = 'hello'").serve();
    server.send_call("hello", json!({"name": "x".repeat(20_000)}));
    assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
    server.stop();
}

#[test]
fn lines_that_are_no_messages_do_not_end_the_session() {
    let mut server = Setup::new(HELLO).serve();
    for line in
        [&b"not json"[..], b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{\"jsonrpc\":\"2.0\"}", b"[[[[[[[["]
    {
        server.send_line(line);
    }
    server.send_line("[".repeat(100_000).as_bytes());
    assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
    server.stop();
}

#[test]
fn calls_run_side_by_side_and_answers_find_their_requests() {
    let mut server = Setup::new(HELLO).serve();
    let ids: Vec<u64> = (0..200).map(|n| server.send_call("hello", json!({"name": n.to_string()}))).collect();
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(server.called(id).ok()["text"], format!("Hello, {n}!"));
    }
    server.stop();
}

#[test]
fn the_server_ends_when_stdin_closes_and_takes_its_hosts_along() {
    let mut server = Setup::new(HELLO).serve();
    server.call("hello", json!({"name": "Ada"})).ok();
    let hosts = server.children("llmc-host");
    assert_eq!(hosts.len(), 1);
    assert!(server.stop().success());
    crate::support::eventually("the host ends", || !crate::support::lives(hosts[0]));
}

/// A server whose client has sent `count` calls and closed stdin.
fn asked_and_closed(setup: &Setup, count: usize) -> std::process::Child {
    use std::io::Write;
    use std::process::Stdio;

    let mut command = setup.command("serve");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for id in 0..count {
        let params =
            json!({"name": "hello", "arguments": {"name": format!("no. {id} {:900}", "")}, "_meta": meta()});
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        writeln!(stdin, "{message}").unwrap();
    }
    child
}

#[test]
fn answers_that_wait_for_others_are_written_before_the_server_ends() {
    use std::io::{BufRead, BufReader};

    let setup = Setup::new(HELLO);
    let mut child = asked_and_closed(&setup, 100);
    let answers = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let answered: std::collections::BTreeSet<u64> = answers
        .map(|line| serde_json::from_str::<Value>(&line).unwrap())
        .filter(|answer| {
            answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("no. "))
        })
        .map(|answer| answer["id"].as_u64().unwrap())
        .collect();
    assert_eq!(answered.len(), 100, "{answered:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_the_server() {
    let setup = Setup::new(HELLO);
    // More than a pipe holds, and than the server keeps.
    let mut child = asked_and_closed(&setup, 200);
    let unread = child.stdout.take();
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the server did not end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(unread);
}

#[test]
fn a_reader_of_the_log_that_left_does_not_end_the_server() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    let setup = Setup::new(HELLO);
    let mut command = setup.command("serve");
    command.args(["--log", "debug"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for id in 1..4 {
        let params = json!({"name": "hello", "arguments": {"name": "Ada"}, "_meta": meta()});
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        writeln!(stdin, "{message}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("Hello, Ada!"), "{line:?}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
