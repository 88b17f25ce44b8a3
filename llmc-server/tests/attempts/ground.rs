//! A server with both kinds of jails over one writable root, and what surrounds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::observe::{Process, descendants};
use crate::outside::Listeners;
use crate::support::{Called, PATIENCE, Server, Setup, stage};

/// Stands in the server's environment and in a file beside the granted root; it must never be seen.
pub(crate) const CANARY: &str = "canary-5d1c0f7e-tell-nobody";

/// Programs that `run_command` may start, where the machine has them.
const PROGRAMS: [&str; 5] = ["python3", "sh", "git", "node", "cc"];

/// Text of a file that is a named pipe.
const PIPE: &str = "@PIPE@";

/// Interpreters that wait for code.
const PARKED: usize = 2;

/// Processes below a server whose interpreters wait: four hosts, the runner, the interpreter that is forked, and those
/// that wait, each of these with a process 1 of its jail.
const ALL_WAIT: usize = 4 + 1 + 2 + 2 * PARKED;

/// Time that a run gets unless its row says otherwise, in milliseconds.
const TIMEOUT_MS: u64 = 30_000;

/// A running server and what is known of its surroundings.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) listeners: Listeners,
    /// Processes below the server when nothing runs.
    idle: usize,
}

impl Ground {
    /// Starts a server whose runs have these limits, with these variables in its environment.
    pub(crate) fn new(limits: &BTreeMap<String, u64>, env: &BTreeMap<String, String>) -> Self {
        let setup = Setup::new(&config(limits)).env("OPENAI_API_KEY", CANARY).log_filter("warn");
        let setup = env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        std::fs::write(setup.folder.path().join("canary"), CANARY).unwrap();
        let listeners = Listeners::open(setup.folder.path());
        let mut server = setup.serve();
        for (tool, arguments) in
            [("execute_code", json!({"code": "1"})), ("run_command", json!({"argv": ["python3", "-V"]}))]
        {
            server.call(tool, arguments).ok();
        }
        let mut ground = Self { server, listeners, idle: 0 };
        ground.idle = ground.settled();
        ground
    }

    pub(crate) fn folder(&self) -> &Path {
        self.server.setup.folder.path()
    }

    fn work(&self) -> PathBuf {
        self.folder().join("work")
    }

    /// Puts these files, and nothing else, into the granted root.
    pub(crate) fn prepare(&mut self, files: &BTreeMap<String, String>) {
        for entry in std::fs::read_dir(self.work()).unwrap().flatten() {
            let is_folder = entry.file_type().unwrap().is_dir();
            let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file };
            remove(entry.path()).unwrap();
        }
        self.listeners = Listeners::open(self.folder());
        for (name, text) in files {
            let file = self.work().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            match text.as_str() {
                PIPE => mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
                text => std::fs::write(file, self.fill(text)).unwrap(),
            }
        }
    }

    /// Names of this ground in a text of a row.
    pub(crate) fn fill(&self, text: &str) -> String {
        let runner = stage().join("libexec/llmc/llmc-runner").to_string_lossy().into_owned();
        let names = [
            ("@SERVER@", self.server.pid().to_string()),
            ("@RUNNER@", runner),
            ("@FOLDER@", self.folder().to_string_lossy().into_owned()),
        ];
        let names = names.into_iter().chain(self.listeners.names());
        names.fold(text.to_owned(), |text, (name, value)| text.replace(name, &value))
    }

    /// [`Ground::fill`] for all strings of a value; `@REPEAT:TEXT:COUNT@` stands for as much text.
    pub(crate) fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(repeated(&self.fill(text))),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, field)| (name.clone(), self.fill_value(field))).collect()
            }
            other => other.clone(),
        }
    }

    /// What is below the server beyond what is there when nothing runs.
    pub(crate) fn busy(&self) -> usize {
        descendants(self.server.pid()).len().saturating_sub(self.idle)
    }

    /// Waits until nothing is left of a run, or tells what is.
    pub(crate) fn left_over(&self) -> Option<BTreeSet<Process>> {
        let begun = Instant::now();
        while self.busy() > 0 {
            if begun.elapsed() > PATIENCE {
                return Some(descendants(self.server.pid()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// The number of processes below the server once it stays the same: soon when all interpreters wait, else after
    /// long enough for a busy machine to fork another one.
    fn settled(&self) -> usize {
        let begun = Instant::now();
        let mut seen = descendants(self.server.pid()).len();
        let mut since = Instant::now();
        let enough = |seen| Duration::from_millis(if seen == ALL_WAIT { 300 } else { 3000 });
        while since.elapsed() < enough(seen) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
            let now = descendants(self.server.pid()).len();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        seen
    }

    /// A call by name; nothing of it may show the canary.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Called {
        let arguments = self.fill_value(arguments);
        self.server.call(tool, arguments)
    }
}

/// The time that a call of a run asks for.
pub(crate) fn timeout_ms(limits: &BTreeMap<String, u64>) -> u64 {
    limits.get("wall_ms").map_or(TIMEOUT_MS, |wall_ms| wall_ms + 1000)
}

fn config(limits: &BTreeMap<String, u64>) -> String {
    let there = |program: &&str| {
        ["/usr/bin", "/usr/local/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
    };
    let programs: Vec<&str> = PROGRAMS.into_iter().filter(there).collect();
    let limits: Vec<String> = limits.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let limits = limits.join(", ");
    // These rows try what a jail holds; rules would refuse it before.
    let python = if programs.contains(&"python3") { "[programs.python3]\nrules = 'none'\n" } else { "" };
    format!(
        "[limits]\nparked_runs = {PARKED}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.hello]\nlibrary = 'hello'\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\ngrants = {{ roots = ['work'], \
         run = {{ profile = 'workspace', programs = {programs:?}, limits = {{ {limits} }} }} }}\n\
         [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ tools = ['read_file', 'list_dir', 'stat', 'hello'], \
         run = {{ profile = 'code', limits = {{ {limits} }} }} }}\n{python}"
    )
}

/// `@REPEAT:TEXT:COUNT@` written out.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("@REPEAT:") else { return text.to_owned() };
    let (inside, after) = rest.split_once('@').unwrap();
    let (piece, count) = inside.rsplit_once(':').unwrap();
    format!("{before}{}{after}", piece.repeat(count.parse().unwrap()))
}
