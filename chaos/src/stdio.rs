//! A client over pipes that can fall silent, stop reading, or die, at any moment.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio as Std};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::answer::Answer;

pub(crate) const PROTOCOL: &str = "2025-11-25";

/// A write of so many bytes to a pipe that is ready never waits, see pipe(7).
const PIPE_BUF: usize = 4096;

/// Taken from a pipe at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How often it is looked whether the client has died meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// How long a slow reader waits for each byte.
pub(crate) const SLOW_BYTE: Duration = Duration::from_millis(50);

/// What may happen to a client.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Reads nothing while this is set.
    pub(crate) deaf: AtomicBool,
    /// Reads a byte now and then while this is set.
    pub(crate) slow: AtomicBool,
    /// Both pipes are closed at once, as the kernel does for a process that was killed.
    pub(crate) dead: AtomicBool,
}

/// A running server and the conversation with it.
pub(crate) struct Stdio {
    server: Child,
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<Value>,
    pub(crate) fate: Arc<Fate>,
    last_id: u64,
}

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Answer(u64, Answer),
    Nothing,
    /// The server has closed its side.
    End,
}

impl Stdio {
    /// Starts a server and shakes hands.
    pub(crate) fn start(command: &mut Command, patience: Duration) -> Result<Self> {
        let mut client = Self::spawn(command)?;
        match client.shake_hands(patience) {
            Ok(()) => Ok(client),
            Err(error) => {
                // It is not known to anybody else yet.
                let _ = client.server.kill();
                let _ = client.server.wait();
                Err(error)
            }
        }
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut server = command
            .stdin(Std::piped())
            .stdout(Std::piped())
            .spawn()
            .with_context(|| format!("failed to start `{}`", command.get_program().display()))?;
        let stdin = server.stdin.take().context("the server has no stdin")?;
        let stdout = server.stdout.take().context("the server has no stdout")?;
        let (requests, waiting) = channel();
        let (heard, lines) = channel();
        let fate = Arc::new(Fate::default());
        let (of_writer, of_reader) = (Arc::clone(&fate), Arc::clone(&fate));
        std::thread::spawn(move || write_all(stdin, &waiting, &of_writer));
        std::thread::spawn(move || read_all(stdout, &heard, &of_reader));
        Ok(Self { server, requests: Some(requests), lines, fate, last_id: 0 })
    }

    fn shake_hands(&mut self, patience: Duration) -> Result<()> {
        let about = json!({"name": "llmc-chaos", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": about});
        let id = self.request("initialize", &params);
        match self.wait_for(id, patience)? {
            Answer::Done(_) => {}
            other => bail!("`initialize` was answered with {}", other.shown()),
        }
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        Ok(())
    }

    /// Id of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Makes a call without waiting for its answer, and returns its id.
    pub(crate) fn send(&mut self, tool: &str, arguments: &Value, trace: Option<&str>) -> u64 {
        self.request("tools/call", &call_params(tool, arguments, trace))
    }

    /// Makes a call and waits for its answer.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value, patience: Duration) -> Result<Answer> {
        let id = self.send(tool, arguments, None);
        self.wait_for(id, patience)
    }

    fn wait_for(&mut self, id: u64, patience: Duration) -> Result<Answer> {
        let until = Instant::now() + patience;
        loop {
            match self.hear(until.saturating_duration_since(Instant::now())) {
                Heard::Answer(answered, answer) if answered == id => return Ok(answer),
                Heard::Answer(..) => {}
                Heard::Nothing => bail!("no answer within {patience:?}"),
                Heard::End => bail!("the server has left"),
            }
        }
    }

    /// Takes the next answer to any call.
    pub(crate) fn hear(&mut self, patience: Duration) -> Heard {
        let until = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => {
                    if let Some(id) = message["id"].as_u64().filter(|_| message.get("method").is_none()) {
                        return Heard::Answer(id, Answer::of(message));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Heard::Nothing,
                Err(RecvTimeoutError::Disconnected) => return Heard::End,
            }
        }
    }

    /// Cancels a call.
    pub(crate) fn cancel(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "chance"});
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    }

    /// Says a part of a message, and nothing more.
    pub(crate) fn say_half(&mut self) {
        self.put(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/ca".to_vec());
    }

    fn request(&mut self, method: &str, params: &Value) -> u64 {
        self.last_id += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}));
        self.last_id
    }

    fn say(&mut self, message: &Value) {
        self.put(format!("{message}\n").into_bytes());
    }

    fn put(&mut self, bytes: Vec<u8>) {
        // Nobody takes it any more once the server has left, which is then heard.
        let _ = self.requests.as_ref().map(|requests| requests.send(bytes));
    }

    /// Dies: both pipes are closed, whatever was being said.
    pub(crate) fn die(&mut self) {
        self.fate.dead.store(true, Ordering::Relaxed);
        self.requests = None;
    }

    /// Closes stdin and waits for the server to end; kills it if it does not.
    pub(crate) fn leave(mut self, patience: Duration) -> Result<ExitStatus> {
        self.requests = None;
        self.ended(patience)
    }

    /// Waits for the server to end; kills it if it does not.
    pub(crate) fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.server.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.server.kill()?;
        self.server.wait()?;
        bail!("the server did not end within {patience:?} after its client had left");
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        self.die();
        if !matches!(self.server.try_wait(), Ok(Some(_))) {
            // Nothing more can be done about a process that does not die.
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// Starts a server and makes sure that it answers a first call.
pub(crate) fn start_ready(command: &mut Command, patience: Duration) -> Result<Stdio> {
    let mut client = Stdio::start(command, patience)?;
    let answer = client.call("hello", &json!({"name": "Ada"}), patience)?;
    ensure!(matches!(answer, Answer::Done(_)), "`hello` was answered with {}", answer.shown());
    Ok(client)
}

/// Parameters of a call; `trace` names the call in the audit.
pub(crate) fn call_params(tool: &str, arguments: &Value, trace: Option<&str>) -> Value {
    let mut params = json!({"name": tool, "arguments": arguments});
    if let Some(trace) = trace {
        params["_meta"] = json!({"traceparent": format!("00-{trace}-00f067aa0ba902b7-00")});
    }
    params
}

fn write_all(mut stdin: ChildStdin, waiting: &Receiver<Vec<u8>>, fate: &Fate) {
    for bytes in waiting {
        for part in bytes.chunks(PIPE_BUF) {
            while !is_ready(stdin.as_fd(), PollFlags::OUT) {
                if fate.dead.load(Ordering::Relaxed) {
                    return;
                }
            }
            if fate.dead.load(Ordering::Relaxed) || stdin.write_all(part).is_err() {
                return;
            }
        }
    }
}

fn read_all(mut stdout: ChildStdout, heard: &Sender<Value>, fate: &Fate) {
    let (mut chunk, mut line) = (vec![0; CHUNK_BYTES], Vec::new());
    loop {
        while fate.deaf.load(Ordering::Relaxed) && !fate.dead.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        if fate.dead.load(Ordering::Relaxed) {
            return;
        }
        if !is_ready(stdout.as_fd(), PollFlags::IN) {
            continue;
        }
        let mut most = chunk.len();
        if fate.slow.load(Ordering::Relaxed) {
            std::thread::sleep(SLOW_BYTE);
            most = 1;
        }
        let Ok(count @ 1..) = stdout.read(&mut chunk[..most]) else { return };
        for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                let message = serde_json::from_slice(&line);
                line.clear();
                // What is no JSON is an answer to nothing, and missed as that.
                if message.is_ok_and(|message| heard.send(message).is_err()) {
                    return;
                }
            }
        }
    }
}

/// Waits a little for a pipe; an end or an error counts as ready, since it is told at once.
fn is_ready(pipe: BorrowedFd<'_>, what: PollFlags) -> bool {
    let patience = Timespec::try_from(LOOK).ok();
    let mut polled = [PollFd::from_borrowed_fd(pipe, what)];
    matches!(poll(&mut polled, patience.as_ref()), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `initialize`, then every request with its own line.
    const SERVER: &str = r#"while read -r line; do
        id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
        [ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id"
    done; exit 7"#;

    fn client() -> Stdio {
        Stdio::start(Command::new("sh").args(["-c", SERVER]), Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn it_talks_and_leaves() {
        let mut client = client();
        let answer = client.call("x", &json!({}), Duration::from_secs(20)).unwrap();
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        assert_eq!(client.leave(Duration::from_secs(20)).unwrap().code(), Some(7));
    }

    #[test]
    fn a_deaf_client_hears_later_and_a_dead_one_ends_its_server() {
        let mut client = client();
        client.fate.deaf.store(true, Ordering::Relaxed);
        // What was being waited for may still be read.
        client.call("x", &json!({}), Duration::from_millis(200)).ok();
        client.send("x", &json!({}), None);
        assert!(matches!(client.hear(Duration::from_millis(100)), Heard::Nothing));
        client.fate.deaf.store(false, Ordering::Relaxed);
        assert!(matches!(client.hear(Duration::from_secs(20)), Heard::Answer(..)));
        client.die();
        assert!(client.ended(Duration::from_secs(20)).is_ok());
    }
}
