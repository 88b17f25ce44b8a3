//! A session with a real MCP client, and the account that it gives.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{Peer, RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use serde_json::Value;
use tokio::process::Command;

use crate::CANARY;

/// The client, and what it has seen so far.
pub(crate) struct Session {
    client: RunningService<RoleClient, ()>,
    held: u32,
    failed: u32,
    skipped: u32,
}

/// The answer to a call.
pub(crate) struct Answer {
    pub(crate) result: CallToolResult,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn is_error(&self) -> bool {
        self.result.is_error == Some(true)
    }

    /// All text, as a model would read it.
    pub(crate) fn text(&self) -> String {
        let texts =
            self.result.content.iter().filter_map(|block| block.as_text().map(|text| text.text.as_str()));
        texts.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn structured(&self) -> &Value {
        self.result.structured_content.as_ref().unwrap_or(&Value::Null)
    }

    /// Everything that the client received, for the search for what must not be there.
    pub(crate) fn everything(&self) -> String {
        serde_json::to_string(&self.result).unwrap_or_default()
    }
}

impl Session {
    pub(crate) async fn start(stage: &Path, workspace: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(stage.join("bin/llmc"));
        command
            .arg("serve")
            .arg("--root")
            .arg(format!("work={}:rw", workspace.display()))
            .args(["--program", "wc", "--program", "cat", "--program", "head", "--program", "touch"])
            .args(["--log", "error"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("OPENAI_API_KEY", CANARY);
        let begun = Instant::now();
        let client = ().serve(TokioChildProcess::new(command)?).await.context("the server did not start")?;
        println!("connected in {}", shown(begun.elapsed()));
        if let Some(info) = client.peer_info() {
            println!(
                "  protocol {}, {}",
                info.protocol_version,
                info.instructions.clone().unwrap_or_default()
            );
        }
        Ok(Self { client, held: 0, failed: 0, skipped: 0 })
    }

    pub(crate) fn peer(&self) -> Peer<RoleClient> {
        self.client.peer().clone()
    }

    pub(crate) async fn call(&self, tool: &'static str, arguments: Value) -> anyhow::Result<Answer> {
        call(&self.peer(), tool, arguments).await
    }

    /// Whether there is a whole Python, by the interpreter that a result names. That code does not run at all is no
    /// reason to leave out what attacks with it.
    pub(crate) async fn has_python(&mut self) -> anyhow::Result<bool> {
        let answer = self.call("execute_code", serde_json::json!({"code": "6 * 7"})).await?;
        let engine = answer.structured()["engine"].as_str().unwrap_or("no interpreter");
        let (whole, subset) = (engine.starts_with("CPython "), engine.starts_with("monty "));
        let runs = !answer.is_error() && answer.structured()["result"] == 42 && (whole || subset);
        if !runs {
            self.show(&answer.text());
        }
        self.check(runs, &format!("Python runs code: {engine}"), answer.took);
        Ok(whole || !subset)
    }

    /// Begins a part.
    pub(crate) fn part(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Shows something as the client saw it.
    pub(crate) fn show(&self, text: &str) {
        for line in text.lines() {
            println!("   | {line}");
        }
    }

    /// States something that has to hold.
    pub(crate) fn check(&mut self, held: bool, what: &str, took: Duration) {
        let (word, count) = if held { ("ok  ", &mut self.held) } else { ("FAIL", &mut self.failed) };
        *count += 1;
        println!("   {word} {what} ({})", shown(took));
    }

    /// Says plainly what was not shown.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        println!("\n   SKIPPED {what}: {why}");
    }

    /// Closes the connection and gives the verdict.
    pub(crate) async fn finish(self) -> ExitCode {
        let closed = self.client.cancel().await.is_ok();
        println!("\n{} held, {} failed, {} skipped", self.held, self.failed, self.skipped);
        if self.failed == 0 && self.held > 0 && closed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Calls a tool over the wire.
pub(crate) async fn call(
    peer: &Peer<RoleClient>,
    tool: &'static str,
    arguments: Value,
) -> anyhow::Result<Answer> {
    let arguments = arguments.as_object().context("arguments are an object")?.clone();
    let begun = Instant::now();
    let result = peer.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    Ok(Answer { result, took: begun.elapsed() })
}

fn shown(time: Duration) -> String {
    if time < Duration::from_millis(10) {
        format!("{:.2} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.0} ms", time.as_secs_f64() * 1e3)
    }
}
