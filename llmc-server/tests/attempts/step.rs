//! The calls of a row, one by one: of tools, of the protocol as it is, over HTTP, and of the command line.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::call::{Call, Change, Deed, Http};
use crate::ground::{Ground, repeated};
use crate::pattern::lookup;
use crate::support::{PATIENCE, stage};
use crate::trial::answer;

/// Makes a call and tells what was seen; keeps of it what later ones need.
pub(crate) fn take(ground: &mut Ground, call: &Call) -> Value {
    let times = call.times.unwrap_or(1);
    let found = (0..times).map(|_| once(ground, call)).last().unwrap_or_default();
    for (name, key) in &call.keep {
        let value = lookup(&found, key);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert!(!value.is_null(), "`{key}` is not there to be kept: {found}");
        ground.kept.insert(name.clone(), text);
    }
    found
}

fn once(ground: &mut Ground, call: &Call) -> Value {
    match call.deed() {
        Deed::Tool(tool) if call.unanswered => unanswered(ground, tool, call),
        Deed::Tool(tool) => answer(&ground.call(tool, &call.arguments)),
        Deed::Method(method) => {
            let params = if call.params.is_null() { json!({}) } else { ground.fill_value(&call.params) };
            ground.server.request(method, params)
        }
        Deed::Line(line) => say(ground, line),
        Deed::Http(http) => request(ground, http),
        Deed::Llmc(args) => told(&command(ground, args).wait_with_output().unwrap()),
        Deed::File(name) => {
            json!({"text": std::fs::read_to_string(ground.folder().join(name)).ok()})
        }
        Deed::Change(change) => {
            alter(ground, change);
            Value::Null
        }
        Deed::Together(calls) => together(ground, calls),
        Deed::Log(text) => json!({"text": ground.server.log_until(&ground.fill(text))}),
    }
}

/// Makes all calls before it waits for the first answer.
fn together(ground: &mut Ground, calls: &[Call]) -> Value {
    let (mut commands, mut ids) = (Vec::new(), Vec::new());
    for call in calls {
        match call.deed() {
            Deed::Llmc(args) => commands.push(command(ground, args)),
            Deed::Tool(tool) => {
                let arguments = ground.fill_value(&call.arguments);
                ids.push(ground.server.send_call(tool, arguments));
            }
            _ => panic!("only tool calls and commands are made at the same moment: {call:?}"),
        }
    }
    let mut answers: Vec<(bool, String)> = Vec::new();
    for id in ids {
        let called = ground.server.called(id);
        answers.push((!called.is_error(), called.text()));
    }
    for command in commands {
        let output = command.wait_with_output().unwrap();
        answers.push((output.status.success(), told(&output).to_string()));
    }
    let successes = answers.iter().filter(|(is_success, _)| *is_success).count();
    let texts: Vec<String> = answers.iter().map(|(_, text)| text.clone()).collect();
    json!({"successes": successes, "refusals": answers.len() - successes, "texts": texts})
}

/// Does to a file what somebody does who may: an operator, an updater, a thief of his account.
fn alter(ground: &Ground, change: &Change) {
    let file = ground.folder().join(&change.file);
    if let Some(from) = &change.copy {
        std::fs::copy(ground.fill(from), file).unwrap();
        return;
    }
    let to = ground.fill(change.to.as_deref().unwrap_or_default()).into_bytes();
    let Some(from) = &change.from else { return std::fs::write(file, to).unwrap() };
    let from = ground.fill(from).into_bytes();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from);
    let at = at.unwrap_or_else(|| panic!("{change:?}: it does not stand there"));
    bytes.splice(at..at + from.len(), to);
    std::fs::write(file, bytes).unwrap();
}

/// Makes a call that the server drops, and an honest one after it.
fn unanswered(ground: &mut Ground, tool: &str, call: &Call) -> Value {
    let arguments = ground.fill_value(&call.arguments);
    let id = ground.server.send_call(tool, arguments);
    let next = honest(ground);
    json!({"answered": ground.server.is_answered_within(id, Duration::ZERO), "next": next})
}

fn honest(ground: &mut Ground) -> String {
    ground.call("hello", &json!({"name": "Ada"})).text()
}

/// Says a line, then makes an honest call; the messages until its answer are those that the line may have brought.
fn say(ground: &mut Ground, line: &str) -> Value {
    ground.server.notifications.clear();
    let line = repeated(&ground.fill(line));
    ground.server.send_line(line.as_bytes());
    let next = honest(ground);
    let mut messages = std::mem::take(&mut ground.server.notifications);
    let id = serde_json::from_str::<Value>(&line).ok().and_then(|message| message["id"].as_u64());
    if let Some(id) = id.filter(|id| ground.server.is_answered_within(*id, PATIENCE)) {
        messages.push(ground.server.answer(id));
    }
    json!({"messages": messages, "next": next})
}

/// Sends a request and reads what the server says until it closes or has said all.
fn request(ground: &Ground, http: &Http) -> Value {
    let body = repeated(&ground.fill(&http.body));
    let length = body.len().to_string();
    let head: Vec<String> =
        http.lines.iter().map(|line| repeated(&ground.fill(line)).replace("@LENGTH@", &length)).collect();
    let mut stream = TcpStream::connect(ground.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses may close before everything is written.
    let _ = stream.write_all(format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes());
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while !is_whole(&said) {
        match stream.read(&mut piece) {
            Ok(count @ 1..) => said.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    parsed(&String::from_utf8_lossy(&said))
}

fn is_whole(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn parsed(said: &str) -> Value {
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((said, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
    let headers: Map<String, Value> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.into()))
        .collect();
    json!({"status": status, "headers": headers, "body": body})
}

/// Starts the command line beside the server.
fn command(ground: &Ground, args: &[String]) -> Child {
    let mut command = Command::new(stage().join("bin/llmc"));
    command.args(args.iter().map(|arg| ground.fill(arg)));
    if !args.iter().any(|arg| arg == "--config") {
        command.arg("--config").arg(ground.folder().join("llmc.toml"));
    }
    command.env_clear().env("PATH", "/usr/bin:/bin").envs(&ground.env).current_dir(ground.folder());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn told(output: &Output) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    json!({"exit_code": output.status.code(), "stdout": text(&output.stdout), "stderr": text(&output.stderr)})
}
