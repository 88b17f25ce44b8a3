//! Handles and statistics across processes and clients.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ground, header, stage};

/// A client over stdio.
struct Client {
    server: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    next: u64,
}

impl Client {
    fn start(ground: &Ground) -> Self {
        let mut server = Command::new(stage().join("bin/llmc"))
            .arg("serve")
            .arg("--config")
            .arg(ground.path("llmc.toml"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut client = Self { server, lines, next: 0 };
        let about = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        client.request("initialize", &about);
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.server.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
            if message["id"] == id {
                return message["result"].clone();
            }
        }
    }

    /// The text of a result, and whether it is an error.
    fn te_run(&mut self, arguments: &Value) -> (String, bool) {
        let result = self.request("tools/call", &json!({"name": "te_run", "arguments": arguments}));
        (result["content"][0]["text"].as_str().unwrap_or_default().to_owned(), result["isError"] == true)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        self.server.wait().unwrap();
    }
}

fn ground() -> Ground {
    let lines: String = (0..50).map(|n| format!("needle {n}\n")).collect();
    Ground::new("'git'").file("a.txt", lines)
}

#[test]
fn handles_belong_to_their_caller() {
    let ground = ground();
    let (mut one, mut other) = (Client::start(&ground), Client::start(&ground));
    let (text, is_error) = one.te_run(&json!({"argv": ["grep", "needle"]}));
    assert!(!is_error);
    let handle = header(&text)["handle"].as_str().unwrap().to_owned();
    let (text, is_error) = one.te_run(&json!({"handle": handle}));
    assert!(!is_error && text.contains("needle 49"), "{text}");
    let never = format!("res_{}", "0".repeat(32));
    let refused = |handle: &str, other: &mut Client| {
        let (text, is_error) = other.te_run(&json!({"handle": handle}));
        assert!(is_error && !text.contains("needle 49"), "{text}");
        header(&text)["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&handle, &mut other), refused(&never, &mut other), "the answer tells nothing");
    assert!(refused("../telemetry.db", &mut other).contains("hexadecimal"));
    // Nor does the command line of the operator's own user read a client's.
    ground.te(&["--handle", &handle]).with_code(1);
    let (list, _) = other.te_run(&json!({"argv": ["handles"]}));
    assert!(list.contains("no handles") && !list.contains(&handle), "{list}");
}

#[test]
fn the_tool_is_described_in_few_tokens() {
    let ground = ground();
    let mut client = Client::start(&ground);
    let listed = client.request("tools/list", &json!({}));
    let tool = listed["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "te_run").unwrap();
    let tokens = tiktoken_rs::o200k_base().unwrap().encode_ordinary(&tool.to_string()).len();
    assert!(tokens <= 450, "{tokens}: {tool}");
}

#[test]
fn statistics_hold_no_arguments() {
    let ground = ground();
    for args in
        [&["grep", "hunter2"][..], &["grep", "needle"], &["git", "log", "--author=hunter2"], &["hunter2"]]
    {
        ground.te(args);
    }
    let said = ground.te(&["stats"]).with_code(0);
    assert!(said.lines().iter().any(|line| line.starts_with("grep ") && line.contains(" 2 ")), "{said:?}");
    assert!(said.body().contains("git log") && !said.body().contains("hunter2"), "{said:?}");
    assert!(ground.te(&["--stats"]).with_code(0).body().contains("enriched"));
    let mut waiting = vec![ground.path("state")];
    let mut files = 0;
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files += 1;
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "{}", path.display());
            }
        }
    }
    assert!(files >= 2, "a database and a kept output");
}

#[test]
fn without_a_grant_the_rest_still_works() {
    let ground = ground();
    let file = ground.path("llmc.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("state = true\n", "")).unwrap();
    let said = ground.te(&["grep", "needle"]).with_code(0);
    assert_eq!((said.header()["truncated"] == true, said.header().get("handle")), (true, None), "{said:?}");
    assert!(ground.te(&["stats"]).with_code(1).error().contains("state"));
    std::fs::write(&file, text.replace("'search_files', ", "")).unwrap();
    let said = ground.te(&["grep", "needle"]).with_code(2);
    assert!(said.error().contains("search_files"), "{said:?}");
    assert_eq!(ground.te(&["ls"]).with_code(0).lines(), ["a.txt"]);
    // Not switched on at all.
    std::fs::write(&file, "[roots]\n").unwrap();
    let said = ground.te(&["ls"]).with_code(126);
    assert!(said.error().contains("te_run") && said.error().contains("`llmc plugin add te`"), "{said:?}");
}
