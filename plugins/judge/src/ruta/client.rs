//! An MCP client over the stdin and stdout of a server: one request at a time.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::ServerError;

/// The revision of MCP that `ruta` speaks.
const PROTOCOL_VERSION: &str = "2025-11-25";
/// Longest line of a server.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Lines that wait to be read; more keep the server waiting.
const MAX_WAITING_LINES: usize = 16;
/// What is kept of stderr, to be told when the server fails.
const MAX_LOG_BYTES: usize = 4 << 10;
/// How long a server may take to end once its stdin is closed.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// A server and its pipes. It ends with this.
pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: Arc<Mutex<VecDeque<u8>>>,
    next_id: u64,
    patience: Duration,
}

/// What a server answered to a call.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Whether the tool says that it worked.
    pub(crate) success: bool,
    /// Kind of refusal or failure, as in the audit.
    pub(crate) outcome: Option<String>,
    /// All text of it.
    pub(crate) text: String,
    /// Its data; null if there is none.
    pub(crate) structured: Value,
    /// Between the request and the answer.
    pub(crate) latency: Duration,
}

impl Client {
    /// Starts a server and shakes hands; each of its answers has to come within `patience`.
    pub(crate) fn start(mut command: Command, patience: Duration) -> Result<Self, ServerError> {
        let program = command.get_program().display().to_string();
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| {
            ServerError(format!("failed to start `{program}`: {error}; name the program with --llmc"))
        })?;
        let (sender, lines) = sync_channel(MAX_WAITING_LINES);
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                while let Some(line) = read_line(&mut stdout) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let log = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || keep_tail(stderr, &log));
        }
        let stdin = child.stdin.take();
        let mut client = Self { child, stdin, lines, log, next_id: 1, patience };
        client.shake_hands()?;
        Ok(client)
    }

    fn shake_hands(&mut self) -> Result<(), ServerError> {
        let about = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "ruta", "version": env!("CARGO_PKG_VERSION")},
        });
        let answer = self.request("initialize", about)?;
        if let Some(error) = answer.get("error") {
            return Err(self.failed(format!("the server refuses to begin: {error}")));
        }
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    }

    /// Calls a tool.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Map<String, Value>) -> Result<Answer, ServerError> {
        let begun = Instant::now();
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments}))?;
        let latency = begun.elapsed();
        if let Some(error) = answer.get("error") {
            let text = error["message"].as_str().unwrap_or_default().to_owned();
            return Ok(Answer { success: false, outcome: None, text, structured: Value::Null, latency });
        }
        let result = &answer["result"];
        let success = result["isError"] != true;
        let usual = if success { "ok" } else { "tool_error" };
        let blocks = result["content"].as_array();
        let texts = blocks.into_iter().flatten().filter_map(|block| block["text"].as_str());
        Ok(Answer {
            success,
            outcome: Some(result["_meta"]["llmc/error"].as_str().unwrap_or(usual).to_owned()),
            text: texts.collect::<Vec<_>>().join("\n"),
            structured: result["structuredContent"].clone(),
            latency,
        })
    }

    fn request(&mut self, method: &str, params: Value) -> Result<Value, ServerError> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        let deadline = Instant::now() + self.patience;
        loop {
            let message = self.receive(method, deadline)?;
            if message["id"] == id && message.get("method").is_none() {
                return Ok(message);
            }
            self.answer(&message)?;
        }
    }

    /// Answers a request of the server; this client offers nothing. Notifications need no answer.
    fn answer(&mut self, message: &Value) -> Result<(), ServerError> {
        let (Some(id), Some(method)) = (message.get("id"), message["method"].as_str()) else { return Ok(()) };
        if method == "ping" {
            return self.send(&json!({"jsonrpc": "2.0", "id": id, "result": {}}));
        }
        let error = json!({"code": -32601, "message": "this client offers no methods"});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    fn send(&mut self, message: &Value) -> Result<(), ServerError> {
        let sent = match &mut self.stdin {
            Some(stdin) => stdin.write_all(format!("{message}\n").as_bytes()).and_then(|()| stdin.flush()),
            None => return Err(ServerError("the server was told to end already".to_owned())),
        };
        sent.map_err(|error| self.failed(format!("the server takes no more requests: {error}")))
    }

    fn receive(&mut self, method: &str, deadline: Instant) -> Result<Value, ServerError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => self.failed(format!(
                "no answer to `{method}` within {} s (--timeout-s)",
                self.patience.as_secs()
            )),
            RecvTimeoutError::Disconnected => {
                self.failed(format!("the server ended before it answered `{method}`"))
            }
        })?;
        serde_json::from_str(&line)
            .map_err(|error| self.failed(format!("the server wrote what is no JSON: {error}")))
    }

    /// The error, with what the server said last.
    fn failed(&self, message: String) -> ServerError {
        // What it says when it ends may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = log.iter().copied().collect();
        let log = String::from_utf8_lossy(&bytes);
        let log = log.trim();
        ServerError(if log.is_empty() { message } else { format!("{message}; it said: {log}") })
    }

    /// Has the server end, so that its audit is complete.
    pub(crate) fn end(mut self) -> Result<(), ServerError> {
        drop(self.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < END_PATIENCE {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(format!("the server ended with {status}"))),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(self.failed(format!("failed to wait for the server: {error}"))),
            }
        }
        Err(self.failed(format!("the server did not end within {} s", END_PATIENCE.as_secs())))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // One that ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line, unless the pipe is closed or the line too long.
fn read_line(stdout: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let count = stdout.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).ok()?;
    (count > 0 && line.ends_with(b"\n")).then(|| String::from_utf8_lossy(&line).into_owned())
}

/// Drains a pipe and keeps its end.
fn keep_tail(mut pipe: impl Read, tail: &Mutex<VecDeque<u8>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&chunk[..count]);
        let surplus = tail.len().saturating_sub(MAX_LOG_BYTES);
        tail.drain(..surplus);
    }
}
