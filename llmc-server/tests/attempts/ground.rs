//! A server with both kinds of jails over one writable root, and what surrounds it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::call::NO_COMMANDS;
use crate::observe::{Process, descendants};
use crate::outside::Listeners;
use crate::row::Trial;
use crate::support::{Called, PATIENCE, Server, Setup, stage, stress_library};
use crate::without::{user_namespaces, without};

/// Stands in the server's environment and in a file beside the granted root; it must never be seen.
pub(crate) const CANARY: &str = "canary-5d1c0f7e-tell-nobody";

/// Programs that `run_command` may start, where the machine has them.
const PROGRAMS: [&str; 5] = ["python3", "sh", "git", "node", "cc"];

/// Text of a file that is a named pipe.
const PIPE: &str = "@PIPE@";

/// Interpreters that wait for code.
const PARKED: usize = 2;

/// Jails of JavaScript that wait.
const SPARES: usize = 2;

/// A number of processes that stays the same for so long has settled.
const SETTLED: Duration = Duration::from_millis(300);

/// Time that a run gets unless its row says otherwise, in milliseconds.
const TIMEOUT_MS: u64 = 30_000;

/// A running server and what is known of its surroundings.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) listeners: Listeners,
    /// Where the server is reached over HTTP, if it is.
    address: Option<String>,
    /// A token of that server, if it asks for one.
    token: Option<String>,
    /// What rows keep of one call for the next one.
    pub(crate) kept: BTreeMap<String, String>,
    /// Variables of the row, for commands beside the server.
    pub(crate) env: BTreeMap<String, String>,
    /// What rows put beside the granted root: files, and folders that are theirs as a whole.
    beside: Vec<PathBuf>,
    /// Processes below the server when nothing runs.
    idle: usize,
}

impl Ground {
    /// Starts a server with the configuration of this name, or with both kinds of jails, whose runs have these limits;
    /// with these variables in its environment. In the lesser tier the kernel gives it no user namespaces.
    pub(crate) fn new(
        name: Option<&str>,
        is_lesser: bool,
        limits: &BTreeMap<String, u64>,
        env: &BTreeMap<String, String>,
    ) -> Self {
        let setup = match name {
            Some(name) => named(name),
            None if is_lesser => {
                Setup::new(&format!("[server]\nmin_isolation = 'landlock'\n{}", config(limits)))
                    .prepare(without(&user_namespaces()))
            }
            None => Setup::new(&config(limits)),
        };
        let setup = setup.env("OPENAI_API_KEY", CANARY).log_filter("warn");
        std::fs::write(setup.folder.path().join("canary"), CANARY).unwrap();
        let listeners = Listeners::open(setup.folder.path());
        let names = listeners.names();
        let filled = |value: &String| {
            names.iter().fold(value.clone(), |value, (name, place)| value.replace(name, place))
        };
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| (name.clone(), filled(value))).collect();
        let setup = env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let token = token(&setup);
        let mut server = setup.serve();
        let warm_up = [
            ("execute_code", json!({"code": "1"})),
            ("execute_code", json!({"code": "1", "language": "javascript"})),
            ("run_command", json!({"argv": ["python3", "-V"]})),
        ];
        let runs = warm_up.map(|(tool, arguments)| {
            let called = server.call(tool, arguments);
            if is_lesser && tool == "run_command" {
                assert!(called.error().contains(NO_COMMANDS), "{called:?}");
            } else {
                assert!(name.is_some() || !called.is_error(), "{called:?}");
            }
            if is_lesser && !called.is_error() {
                assert_eq!(called.ok()["isolation"], "landlock", "{called:?}");
            }
            !called.is_error()
        });
        let mut ground = Self {
            server,
            listeners,
            address: None,
            token,
            kept: BTreeMap::new(),
            env,
            beside: Vec::new(),
            idle: 0,
        };
        ground.address = address(&ground.server);
        ground.idle = ground.settled(ground.all_wait(runs, is_lesser));
        ground
    }

    pub(crate) fn folder(&self) -> &Path {
        self.server.setup.folder.path()
    }

    /// Host and port of the server.
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().expect("the ground of this row serves HTTP")
    }

    fn work(&self) -> PathBuf {
        self.folder().join("work")
    }

    /// Puts the files and links of a trial, and nothing else, into the granted root and beside it.
    pub(crate) fn prepare(&mut self, trial: &Trial) {
        self.kept.clear();
        let inside = std::fs::read_dir(self.work()).unwrap().map(|entry| entry.unwrap().path());
        for path in self.beside.drain(..).chain(inside) {
            remove(&path);
        }
        let folder = self.folder().to_owned();
        self.listeners.renew(&folder);
        for (name, text) in &trial.files {
            let file = self.made(&self.work(), name);
            match text.as_str() {
                PIPE => mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
                text => std::fs::write(file, repeated(&self.fill(text))).unwrap(),
            }
        }
        for (name, target) in &trial.links {
            symlink(self.fill(target), self.made(&self.work(), name)).unwrap();
        }
        for (name, text) in &trial.beside {
            let text = repeated(&self.fill(text));
            std::fs::write(self.made_beside(name), text).unwrap();
        }
        for (name, from) in &trial.copies {
            let from = self.fill(from);
            std::fs::copy(from, self.made_beside(name)).unwrap();
        }
    }

    /// The path of a file beside the granted root, which goes after the trial with what is made beside it.
    fn made_beside(&mut self, name: &str) -> PathBuf {
        let top = self.folder().join(name.split('/').next().unwrap_or_default());
        let is_theirs = !top.exists() && top != self.folder().join(name);
        let file = self.made(self.folder(), name);
        if !self.beside.contains(&top) {
            self.beside.push(if is_theirs { top } else { file.clone() });
        }
        file
    }

    /// The path of a file whose folders are there.
    fn made(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    /// Names of this ground in a text of a row.
    pub(crate) fn fill(&self, text: &str) -> String {
        let runner = stage().join("libexec/llmc/llmc-runner").to_string_lossy().into_owned();
        let names = [
            ("@SERVER@", self.server.pid().to_string()),
            ("@RUNNER@", runner),
            ("@PLUGINS@", stage().join("lib/llmc/plugins").to_string_lossy().into_owned()),
            ("@FOLDER@", self.folder().to_string_lossy().into_owned()),
            ("@ADDRESS@", self.address.clone().unwrap_or_default()),
            ("@TOKEN@", self.token.clone().unwrap_or_default()),
        ];
        let names = names.into_iter().chain(self.listeners.names());
        let names = names.map(|(name, value)| (name.to_owned(), value));
        let kept = self.kept.iter().map(|(name, value)| (format!("@{name}@"), value.clone()));
        names.chain(kept).fold(text.to_owned(), |text, (name, value)| text.replace(&name, &value))
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

    /// Processes below the server when its interpreters wait: hosts, the runner, the interpreter that is forked, and those
    /// that wait, each of these with a process 1 of its jail. `runs` tells whether Python, JavaScript and commands run.
    /// In the lesser tier none wait.
    fn all_wait(&self, [python, javascript, command]: [bool; 3], is_lesser: bool) -> usize {
        let text = std::fs::read_to_string(self.folder().join("llmc.toml")).unwrap();
        let is_plugin = |line: &&str| line.starts_with("[plugins.") && line.matches('.').count() == 1;
        let runner = usize::from(python || javascript || command);
        let jails = usize::from(python) * (1 + PARKED) + usize::from(javascript) * SPARES;
        let jails = if is_lesser { 0 } else { jails };
        text.lines().filter(is_plugin).count() + runner + 2 * jails
    }

    /// The number of processes below the server once all wait, and go on to; a busy machine takes its time to fork them.
    fn settled(&self, all_wait: usize) -> usize {
        let begun = Instant::now();
        let mut seen = descendants(self.server.pid()).len();
        let mut since = Instant::now();
        while (seen != all_wait || since.elapsed() < SETTLED) && begun.elapsed() < 3 * PATIENCE {
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

fn remove(path: &Path) {
    let is_folder = path.symlink_metadata().unwrap().is_dir();
    let remove = if is_folder { std::fs::remove_dir_all::<&Path> } else { std::fs::remove_file };
    remove(path).unwrap();
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

/// The configuration of a file in `grounds`: `{work}` stands for the granted root, `{folder}` for what is around it, with
/// `docs`, `packages` and `operator` in it, and `{granted}` for a file with a secret.
fn named(name: &str) -> Setup {
    let file = crate::folder().join("grounds").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let setup = Setup::new("");
    for folder in ["docs", "packages", "operator"] {
        std::fs::create_dir(setup.folder.path().join(folder)).unwrap();
    }
    let places = [
        ("{work}", setup.work("")),
        ("{folder}", setup.folder.path().to_owned()),
        ("{granted}", setup.nest.path("granted")),
    ];
    let text = places
        .iter()
        .fold(text, |text, (name, path)| text.replace(*name, path.to_str().unwrap().trim_end_matches('/')));
    let text = if text.contains("{stress}") {
        text.replace("{stress}", stress_library().to_str().unwrap())
    } else {
        text
    };
    setup.with_text(&text)
}

/// Makes a token, if the configuration wants some: without one it would not start.
fn token(setup: &Setup) -> Option<String> {
    // Writes the configuration.
    drop(setup.command("serve"));
    let config = setup.folder.path().join("llmc.toml");
    if !std::fs::read_to_string(&config).unwrap().contains("tokens =") {
        return None;
    }
    let mut command = Command::new(stage().join("bin/llmc"));
    let output =
        command.args(["token", "create", "ground", "--config"]).arg(config).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// Host and port, as the server tells them at its start.
fn address(server: &Server) -> Option<String> {
    let is_served =
        std::fs::read_to_string(server.setup.folder.path().join("llmc.toml")).unwrap().contains("listen");
    let log = is_served.then(|| server.log_until("/mcp\n"))?;
    Some(log.split("http://").nth(1).unwrap().split("/mcp").next().unwrap().to_owned())
}

/// `@REPEAT:TEXT:COUNT@` written out.
pub(crate) fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("@REPEAT:") else { return text.to_owned() };
    let (inside, after) = rest.split_once('@').unwrap();
    let (piece, count) = inside.rsplit_once(':').unwrap();
    format!("{before}{}{}", piece.repeat(count.parse().unwrap()), repeated(after))
}
