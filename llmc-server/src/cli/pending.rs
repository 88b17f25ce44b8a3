//! `llmc pending`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::output::{Output, Paint};
use super::print;
use super::running::Running;
use crate::config::{self, Flags, Listen};

/// List calls that wait for an operator, and decide about them.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the calls that wait, the oldest first: tool, caller, arguments, and how long they still wait.
    List(List),
    /// Let a call run, with the arguments that were listed.
    Approve(Approve),
    /// Refuse a call.
    Deny(Deny),
}

/// Which server.
#[derive(Args)]
struct Server {
    /// Where the server serves HTTP, if not where the configuration says: an address and a port, or unix:/path.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<Listen>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Approve {
    /// What `llmc pending list` shows of the call.
    id: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(super) struct Deny {
    /// What `llmc pending list` shows of the call.
    id: String,
    /// Why; the caller, and so the model, is told.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    server: Server,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(List { server, output }) => {
                let (status, told) = server.ask("pending", None).await?;
                if status != StatusCode::OK {
                    anyhow::bail!("{}", problem(status, &told));
                }
                output.print(&told, &listed(&told))?;
            }
            Self::Approve(Approve { id, server }) => server.decide(id, true, None).await?,
            Self::Deny(Deny { id, reason, server }) => server.decide(id, false, reason).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Server {
    async fn ask(&self, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let config = config::load(&self.flags)?.config;
        let running = Running::find(&config, self.http.as_ref())?;
        let session = running.enter().await?;
        let answer = session.ask(path, body).await;
        session.leave().await;
        answer
    }

    async fn decide(&self, id: String, allow: bool, reason: Option<String>) -> anyhow::Result<()> {
        let body = json!({"id": id, "allow": allow, "reason": reason.unwrap_or_default()});
        let (status, told) = self.ask("decide", Some(&body)).await?;
        if status != StatusCode::OK {
            let hint = match status {
                StatusCode::NOT_FOUND => "; `llmc pending list` shows those that do",
                _ => "",
            };
            anyhow::bail!("call `{}`: {}{hint}", plain(&id), problem(status, &told));
        }
        print(&format!("{}\n", told["outcome"].as_str().unwrap_or_default()))
    }
}

fn problem(status: StatusCode, told: &Value) -> String {
    told["error"].as_str().map_or_else(|| format!("the server answers with status {status}"), plain)
}

fn listed(told: &Value) -> String {
    let waiting = told["waiting"].as_array().map(Vec::as_slice).unwrap_or_default();
    match waiting.is_empty() {
        true => "no call waits for an operator\n".to_owned(),
        false => waiting.iter().map(one).collect(),
    }
}

fn one(call: &Value) -> String {
    let paint = Paint::for_stdout();
    let text = |key: &str| plain(call[key].as_str().unwrap_or_default());
    let seconds = |key: &str| call[key].as_u64().unwrap_or_default() / 1000;
    let origin = call["for"].as_str().map_or(String::new(), |origin| format!(" for {}", plain(origin)));
    let shortened = if call["is_shortened"] == true { ", shortened here" } else { "" };
    let client = if call["asks_client"] == true { "; the client is asked as well" } else { "" };
    let arguments: String = text("arguments").lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "{}  {} of plugin {}, called by {}{origin}\n  waits {} s, for {} s more{client}\n  arguments, {} bytes{shortened}:\n{arguments}",
        paint.bold(&text("id")),
        paint.bold(&text("tool")),
        text("plugin"),
        text("caller"),
        seconds("waited_ms"),
        seconds("left_ms"),
        call["argument_bytes"],
    )
}

/// Text that does nothing to a terminal and looks like what it is; lines stay.
fn plain(text: &str) -> String {
    let odd = |letter: char| {
        letter != '\n'
            && (letter.is_control()
                || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'))
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match odd(letter) {
            true => shown.extend(letter.escape_unicode()),
            false => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\nd\u{200b}"), "a\\u{1b}[2Jb\\u{202e}c\nd\\u{200b}");
        let call = json!({"id": "0a", "tool": "x\u{1b}c", "arguments": "{\n  \"a\": \"\u{202e}\"\n}", "argument_bytes": 5, "is_shortened": true});
        let text = listed(&json!({"waiting": [call]}));
        assert!(text.contains("x\\u{1b}c") && text.contains("\\u{202e}"), "{text}");
        assert!(text.contains("5 bytes, shortened here") && !text.contains('\u{202e}'), "{text}");
        assert_eq!(listed(&json!({"waiting": []})), "no call waits for an operator\n");
    }
}
