//! Drives the built programs from outside, as a client would.
//!
//! The programs come from the stage folder that `cargo xtask build` (and so `cargo xtask test`) makes.

pub(crate) mod canary;
pub(crate) mod modern;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use canary::Nest;

/// Longest wait for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Holds a canary in the environment of every server; the name looks like that of a key.
pub(crate) const CANARY_VARIABLE: &str = "CANARY_API_KEY";

/// The staged installation.
pub(crate) fn stage() -> PathBuf {
    let stage = std::env::var_os("LLMC_STAGE").map_or_else(|| target().join("stage"), PathBuf::from);
    assert!(
        stage.join("bin/llmc").exists(),
        "`{}` holds no installation; run `cargo xtask test`, or `cargo xtask build` first",
        stage.display()
    );
    stage
}

/// The plugin that misbehaves on request; it is never part of an installation.
pub(crate) fn stress_library() -> PathBuf {
    test_library("libstress.so")
}

/// A plugin that only tests may load.
pub(crate) fn test_library(file: &str) -> PathBuf {
    let stage =
        std::env::var_os("LLMC_STAGE_TESTS").map_or_else(|| target().join("stage-tests"), PathBuf::from);
    let library = stage.join("plugins").join(file);
    assert!(library.exists(), "`{}` is missing; run `cargo xtask test`", library.display());
    library
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// What else happens to a command before it starts.
type Prepare = Box<dyn Fn(&mut Command)>;

/// A configuration in a folder of its own, beside an empty `work` root.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) nest: Nest,
    text: String,
    env: Vec<(String, String)>,
    args: Vec<String>,
    log_filter: String,
    prepare: Option<Prepare>,
}

impl Setup {
    /// `{work}` in the text stands for the root, `{stress}` and `{fixtures}` for the libraries of these plugins.
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let text = text.replace("{work}", folder.path().join("work").to_str().unwrap()).replace(
            "{stress}",
            if text.contains("{stress}") { stress_library() } else { PathBuf::new() }.to_str().unwrap(),
        );
        let text = match text.contains("{fixtures}") {
            true => text.replace("{fixtures}", test_library("libfixtures.so").to_str().unwrap()),
            false => text,
        };
        Self {
            folder,
            nest: Nest::new(),
            text,
            env: Vec::new(),
            args: Vec::new(),
            log_filter: "debug".into(),
            prepare: None,
        }
    }

    /// Takes another text, for what the folder must be known for.
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// Makes the `work` root writable.
    pub(crate) fn writable(mut self) -> Self {
        let root = format!("work = {{ path = '{}' }}", self.folder.path().join("work").display());
        assert!(self.text.contains(&root), "no root to make writable");
        self.text = self.text.replace(&root, &root.replace(" }", ", access = 'rw' }"));
        self
    }

    /// Path of a file in the `work` root.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Writes a file into the `work` root.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let file = self.work(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    /// Where an audit with `path = 'audit.jsonl'` is.
    pub(crate) fn audit(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// The calls that such an audit with `durability = 'call'` has recorded.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let mut records = self.records(|_| true);
        records.retain(|record| record["event"] == "call");
        records
    }

    /// Records of that audit, as soon as there are those that are waited for: they are written a little after the calls.
    pub(crate) fn records(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.audit()).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let records = whole.lines().map(|line| serde_json::from_str(line).unwrap());
            let records: Vec<Value> = records.filter(|record: &Value| record.get("seq").is_some()).collect();
            if enough(&records) {
                return records;
            }
            assert!(begun.elapsed() < PATIENCE, "not the records that were waited for: {records:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sets a variable in the environment of the server.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds an argument after `--config FILE`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets what `serve` logs; `debug` by default.
    pub(crate) fn log_filter(mut self, filter: &str) -> Self {
        self.log_filter = filter.into();
        self
    }

    /// Has something done to every command before it starts, such as closing a door to the kernel.
    pub(crate) fn prepare(mut self, prepare: impl Fn(&mut Command) + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// The command `llmc VERB` with this configuration.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let file = self.folder.path().join("llmc.toml");
        // What is prepared, such as another user, may keep the server out of there.
        let is_plain = verb == "serve" && self.prepare.is_none();
        let text = if is_plain { self.nest.configured(&self.text) } else { self.text.clone() };
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(stage().join("bin/llmc"));
        command.arg(verb).arg("--config").arg(&file).args(&self.args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env(CANARY_VARIABLE, canary::value("environment"));
        command.envs(self.env.iter().cloned());
        command.current_dir(self.folder.path());
        if let Some(prepare) = &self.prepare {
            prepare(&mut command);
        }
        command
    }

    /// Runs `llmc VERB ARGS` to its end, which must come soon.
    pub(crate) fn run(&self, verb: &str, args: &[&str]) -> Output {
        let mut command = self.command(verb);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (sender, output) = channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let output = output.recv_timeout(PATIENCE).map(Result::unwrap).unwrap_or_else(|_| {
            // Nobody has waited for it, so its number is still its own.
            let _ = kill_process(pid, Signal::KILL);
            panic!("`llmc {verb}` did not end within {PATIENCE:?}")
        });
        canary::check("stdout", &output.stdout);
        canary::check("stderr", &output.stderr);
        output
    }

    /// Starts `llmc serve`, shakes hands, and waits for its hosts and runner to start.
    pub(crate) fn serve(self) -> Server {
        let mut server = self.serve_raw();
        server.initialize("2025-11-25");
        server.wait_for_processes();
        server
    }

    /// Starts `llmc serve` and says nothing yet.
    pub(crate) fn serve_raw(self) -> Server {
        Server::start(self)
    }
}

/// A running `llmc serve`.
pub(crate) struct Server {
    pub(crate) setup: Setup,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    answers: HashMap<u64, Value>,
    /// Messages that answer nothing, such as notifications.
    pub(crate) notifications: Vec<Value>,
    /// Lines on stdout that are no JSON-RPC message: there must never be one.
    garbage: Vec<String>,
    stderr: Arc<Mutex<String>>,
    /// Where a canary was found in stdout.
    sung: Arc<Mutex<bool>>,
    next_id: u64,
}

impl Server {
    fn start(setup: Setup) -> Self {
        let mut command = setup.command("serve");
        command.args(["--log", &setup.log_filter]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        let sung: Arc<Mutex<bool>> = Arc::default();
        let heard = Arc::clone(&sung);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if canary::sings(&line) {
                    *heard.lock().unwrap() = true;
                }
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut pipe, text) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        let stdin = child.stdin.take();
        let (answers, notifications, garbage) = Default::default();
        Self { setup, child, stdin, lines, answers, notifications, garbage, stderr, sung, next_id: 1 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Records of calls, as soon as there are so many; see [`Setup::records`].
    pub(crate) fn recorded_calls(&self, count: usize) -> Vec<Value> {
        let is_call = |record: &&Value| record["event"] == "call";
        let records = self.setup.records(|records| records.iter().filter(is_call).count() >= count);
        records.into_iter().filter(|record| record["event"] == "call").collect()
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until the log contains a text.
    pub(crate) fn log_until(&self, text: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the log never said {text:?}:\n{}", self.log());
    }

    pub(crate) fn initialize(&mut self, version: &str) -> Value {
        let answer = self.request(
            "initialize",
            json!({
                "protocolVersion": version,
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "0"},
            }),
        );
        self.notify("notifications/initialized", json!({}));
        answer
    }

    /// Waits for hosts and runner, which start a moment after the handshake: until the server tells that they have, or
    /// that something is there where it tells less than that; not long, since some servers have none.
    fn wait_for_processes(&mut self) {
        let tells = ["trace", "debug", "info"].contains(&self.setup.log_filter.as_str());
        let patience = Duration::from_millis(if tells { 5000 } else { 300 });
        let begun = Instant::now();
        while begun.elapsed() < patience && matches!(self.child.try_wait(), Ok(None)) {
            let is_there =
                || ["llmc-host", "llmc-runner"].iter().any(|program| !self.children(program).is_empty());
            let have_started = if tells { self.log().contains(" ready plugins=") } else { is_there() };
            if have_started {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if !tells {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends one line as it is.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send_line(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().as_bytes());
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_line(message.to_string().as_bytes());
        id
    }

    /// Starts a tool call without waiting for the answer.
    pub(crate) fn send_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Waits for the answer to a request: the whole JSON-RPC message.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            assert!(self.pump(deadline), "no answer to request {id}; log:\n{}", self.log());
        }
    }

    /// Waits for a notification of this method.
    pub(crate) fn notification(&mut self, method: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_wanted = |message: &Value| message["method"] == method;
            if let Some(at) = self.notifications.iter().position(is_wanted) {
                return self.notifications.remove(at);
            }
            assert!(self.pump(deadline), "no {method}; log:\n{}", self.log());
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Calls a tool and waits for its result.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Called {
        let id = self.send_call(tool, arguments);
        Called(self.answer(id))
    }

    /// The result of a call that was started with [`Server::send_call`].
    pub(crate) fn called(&mut self, id: u64) -> Called {
        Called(self.answer(id))
    }

    /// Waits for the answer to a request, at most so long; tells whether it is there.
    pub(crate) fn is_answered_within(&mut self, id: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.answers.contains_key(&id) && self.pump(deadline) {}
        self.answers.contains_key(&id)
    }

    /// Takes one message; `false` when the time is over or the server is gone.
    fn pump(&mut self, deadline: Instant) -> bool {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.sort(line);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    fn sort(&mut self, line: String) {
        match serde_json::from_str::<Value>(&line) {
            Ok(message) if message["jsonrpc"] == "2.0" => {
                match message["id"].as_u64().inspect(|_| self.setup.nest.hear(&message)) {
                    Some(id) if message.get("method").is_none() => {
                        self.answers.insert(id, message);
                    }
                    _ => self.notifications.push(message),
                }
            }
            _ => self.garbage.push(line),
        }
    }

    /// Children of the server whose program has this name.
    pub(crate) fn children(&self, program: &str) -> Vec<u32> {
        children(self.pid())
            .into_iter()
            .filter(|&pid| comm(pid).is_some_and(|name| name.split(':').next() == Some(program)))
            .collect()
    }

    /// Closes stdin and waits for the server to end; checks that stdout carried nothing but the protocol.
    pub(crate) fn stop(mut self) -> std::process::ExitStatus {
        drop(self.stdin.take());
        let status = self.wait_for_end();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(200)) {
            self.sort(line);
        }
        assert_eq!(self.garbage, Vec::<String>::new(), "stdout belongs to the protocol");
        self.setup.nest.check_refusals();
        status
    }

    /// Kills the server without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the server to end by itself.
    pub(crate) fn wait_for_end(&mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        panic!("the server did not end; log:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            if !canary::sings(self.log().as_bytes()) {
                eprintln!("--- log of the server ---\n{}", self.log());
            }
            return;
        }
        assert!(!*self.sung.lock().unwrap(), "a canary is in stdout");
        canary::check("stderr", self.log());
        self.setup.nest.check_files(self.setup.folder.path());
    }
}

/// The answer to a tool call.
#[derive(Debug)]
pub(crate) struct Called(pub(crate) Value);

impl Called {
    /// Whether the tool, or the server in its place, reported an error.
    pub(crate) fn is_error(&self) -> bool {
        self.0["result"]["isError"] == true
    }

    /// All text of the result.
    pub(crate) fn text(&self) -> String {
        let blocks = self.0["result"]["content"].as_array();
        blocks.into_iter().flatten().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The structured content of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> &Value {
        assert!(self.0.get("result").is_some() && !self.is_error(), "expected a success: {}", self.0);
        &self.0["result"]["structuredContent"]
    }

    /// The text of a failure.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        assert!(self.is_error(), "expected an error: {}", self.0);
        self.text()
    }
}

/// Direct children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| stat_field(*pid, 1).and_then(|field| field.parse().ok()) == Some(parent);
    processes().into_iter().filter(is_child).collect()
}

/// Every process id.
pub(crate) fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The program name of a process.
pub(crate) fn comm(pid: u32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// Whether a process lives: exists and is no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Field of `/proc/PID/stat` after the name: 0 is the state, 1 the parent, see `proc_pid_stat(5)`.
fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index).map(str::to_owned)
}
