//! The client that drives both servers: blocking, over pipes, one line per message, no MCP library.
//!
//! It costs about as much as the pipes themselves, so what it measures is the server. Every answer is compared
//! byte by byte with the first one of its kind, which was parsed and looked at.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

const PROTOCOL: &str = "2025-11-25";

/// What every list of tools has.
const TOOLS_KEY: &[u8] = b"\"tools\":[{";

/// What a pipe holds.
pub(crate) const PIPE_BYTES: usize = 64 << 10;

/// How long a server may take to leave once its stdin is closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running server and the conversation with it.
pub(crate) struct Client {
    server: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    last_id: u64,
    /// The last line that was read, without its end.
    line: Vec<u8>,
}

/// A tool call that can be repeated: everything of it and of its answer but the id.
pub(crate) struct Call {
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    answer_before_id: Vec<u8>,
    answer_after_id: Vec<u8>,
}

impl Client {
    /// Starts a server and shakes hands with it.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start `{}`", command.get_program().display()))?;
        let requests = server.stdin.take();
        let stdout = server.stdout.take().context("server has no stdout")?;
        let answers = BufReader::with_capacity(PIPE_BYTES, stdout);
        let mut client = Self { server, requests, answers, last_id: 0, line: Vec::new() };
        client.shake_hands().with_context(|| format!("`{}`", command.get_program().display()))?;
        Ok(client)
    }

    fn shake_hands(&mut self) -> Result<()> {
        let about = json!({"name": "llmc-bench", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": about});
        let result = self.request("initialize", &params)?;
        ensure!(result["protocolVersion"] == PROTOCOL, "server speaks {}", result["protocolVersion"]);
        self.write(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")
    }

    /// Id of the server's process.
    pub(crate) fn process(&self) -> u32 {
        self.server.id()
    }

    /// The tools as the server lists them.
    pub(crate) fn tools(&mut self) -> Result<Vec<Value>> {
        let mut result = self.request("tools/list", &json!({}))?;
        match result["tools"].take() {
            Value::Array(tools) => Ok(tools),
            other => bail!("`tools/list` was answered with {other}"),
        }
    }

    /// Lists the tools again: how long the answer took, and its bytes.
    pub(crate) fn list(&mut self) -> Result<(Duration, usize)> {
        let request = json!({"jsonrpc": "2.0", "id": self.next_id(), "method": "tools/list", "params": {}});
        let request = format!("{request}\n").into_bytes();
        let begun = Instant::now();
        self.write(&request)?;
        self.read()?;
        let took = begun.elapsed();
        let has_tools = self.line.windows(TOOLS_KEY.len()).any(|part| part == TOOLS_KEY);
        ensure!(has_tools, "`tools/list` was answered with {}", String::from_utf8_lossy(&self.line));
        Ok((took, self.line.len()))
    }

    /// Makes a call for the first time and looks at the answer, which must hold `expected` and be no error.
    pub(crate) fn prepare(&mut self, tool: &str, arguments: &Value, expected: &str) -> Result<(Call, Value)> {
        let params = params(tool, arguments);
        let result = self.request("tools/call", &params)?;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        ensure!(result["isError"] != true && text.contains(expected), "`{tool}` answered {result}");
        let id = format!("\"id\":{}", self.last_id);
        let at = self.line.windows(id.len()).position(|part| part == id.as_bytes());
        let at = at.context("the answer has its id in an unexpected form")?;
        let call = Call {
            before_id: b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec(),
            after_id: format!(",\"method\":\"tools/call\",\"params\":{params}}}\n").into_bytes(),
            answer_before_id: self.line[..at + "\"id\":".len()].to_vec(),
            answer_after_id: self.line[at + id.len()..].to_vec(),
        };
        Ok((call, result))
    }

    /// Makes a call that is not repeated and returns the parsed result, an error of the tool included.
    pub(crate) fn ask(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        self.request("tools/call", &params(tool, arguments))
    }

    /// Makes one call and tells how long its answer took.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Duration> {
        let mut request = Vec::with_capacity(256);
        let id = self.next_id();
        call.request(id, &mut request);
        let begun = Instant::now();
        self.write(&request)?;
        self.read()?;
        let took = begun.elapsed();
        ensure!(call.answered(&self.line)? == id, "an answer came with the id of another call");
        Ok(took)
    }

    /// Makes one call and tells how long its answer took; answers to other calls that come before it are dropped.
    pub(crate) fn timed(&mut self, tool: &str, arguments: &Value) -> Result<(Duration, Value)> {
        let (id, request) = self.call_line(tool, arguments);
        let begun = Instant::now();
        self.write(&request)?;
        loop {
            self.read()?;
            let took = begun.elapsed();
            let (answered, result) = self.answer()?;
            if answered == id {
                return Ok((took, result));
            }
        }
    }

    /// Makes a call without waiting for its answer, and returns its id.
    pub(crate) fn send(&mut self, tool: &str, arguments: &Value) -> Result<u64> {
        let (id, request) = self.call_line(tool, arguments);
        self.write(&request)?;
        Ok(id)
    }

    /// Waits for the answer to any call: its id, and the result.
    pub(crate) fn next_answer(&mut self) -> Result<(u64, Value)> {
        self.read()?;
        self.answer()
    }

    /// Cancels a call.
    pub(crate) fn cancel(&mut self, id: u64) -> Result<()> {
        let params = json!({"requestId": id});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        self.write(format!("{note}\n").as_bytes())
    }

    fn call_line(&mut self, tool: &str, arguments: &Value) -> (u64, Vec<u8>) {
        let id = self.next_id();
        let params = params(tool, arguments);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        (id, format!("{request}\n").into_bytes())
    }

    /// What the last line says: an answer with its id, and a result or the error that came instead.
    fn answer(&self) -> Result<(u64, Value)> {
        let mut answer: Value = serde_json::from_slice(&self.line)?;
        let id = answer["id"].as_u64().with_context(|| format!("no answer, but {answer}"))?;
        let failed = answer["error"].is_object();
        Ok((id, answer[if failed { "error" } else { "result" }].take()))
    }

    /// Keeps `in_flight` calls under way for `time` and returns the calls per second.
    pub(crate) fn flood(&mut self, call: &Call, in_flight: usize, time: Duration) -> Result<f64> {
        let begun = Instant::now();
        let mut requests = Vec::new();
        let mut waiting: Vec<u64> = Vec::new();
        let mut done = 0_u32;
        loop {
            requests.clear();
            while begun.elapsed() < time && waiting.len() < in_flight {
                waiting.push(self.next_id());
                call.request(self.last_id, &mut requests);
            }
            if waiting.is_empty() {
                return Ok(f64::from(done) / begun.elapsed().as_secs_f64());
            }
            self.write(&requests)?;
            // One answer is waited for; what else has arrived is taken with it.
            while {
                self.read()?;
                let id = call.answered(&self.line)?;
                let place = waiting.iter().position(|waiting| *waiting == id);
                waiting.swap_remove(place.context("a call was answered twice, or never made")?);
                done += 1;
                self.answers.buffer().contains(&b'\n')
            } {}
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        let id = self.next_id();
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(format!("{request}\n").as_bytes())?;
        self.read()?;
        let mut answer: Value = serde_json::from_slice(&self.line)?;
        ensure!(answer["id"] == id && answer["result"].is_object(), "`{method}` was answered with {answer}");
        Ok(answer["result"].take())
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let requests = self.requests.as_mut().context("the conversation is over")?;
        requests.write_all(bytes).context("the server no longer reads")
    }

    fn read(&mut self) -> Result<()> {
        self.line.clear();
        self.answers.read_until(b'\n', &mut self.line)?;
        ensure!(self.line.pop() == Some(b'\n'), "the server closed its stdout");
        Ok(())
    }
}

fn params(tool: &str, arguments: &Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

impl Drop for Client {
    /// Asks the server to leave by closing its stdin, and insists if it does not.
    fn drop(&mut self) {
        self.requests = None;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        // Nothing more can be done about a process that neither leaves nor dies.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Call {
    fn request(&self, id: u64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.before_id);
        bytes.extend_from_slice(id.to_string().as_bytes());
        bytes.extend_from_slice(&self.after_id);
    }

    /// The id of the call that `line` answers, after a check of everything else in it.
    fn answered(&self, line: &[u8]) -> Result<u64> {
        let digits = line
            .strip_prefix(self.answer_before_id.as_slice())
            .and_then(|rest| rest.strip_suffix(self.answer_after_id.as_slice()));
        let id = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        id.with_context(|| format!("the answer changed: {}", String::from_utf8_lossy(line)))
    }
}
