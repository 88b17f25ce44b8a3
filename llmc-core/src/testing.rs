//! Calls a tool in a unit test: no server, no host, no jail.
//!
//! ```
//! # use llmc_core::prelude::*;
//! # /// Greets.
//! # #[arguments]
//! # struct Hello {
//! #     /// Who to greet.
//! #     name: String,
//! # }
//! # impl Tool for Hello {
//! #     const NAME: &'static str = "hello";
//! #     type Output = String;
//! #     fn call(self, _ctx: &Context) -> ToolResult<String> { Ok(format!("Hello, {}!", self.name)) }
//! # }
//! use llmc_core::testing::Harness;
//!
//! let answer = Harness::new().call::<Hello>(json!({"name": "Ada"})).unwrap();
//! assert_eq!(answer.all_text(), "Hello, Ada!");
//! ```
//!
//! Arguments are parsed as in a plugin, and panics are caught as in one. Not checked: schemas, grants and limits,
//! which are the server's business. With one word more they are, in the built library in a real host jail:
//!
//! ```ignore
//! let answer = Harness::new().in_jail::<Hello>().call::<Hello>(json!({"name": "Ada"})).unwrap();
//! ```

mod fake_host;
mod jail;
mod program;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::fake_host::FakeHost;
pub use self::jail::{Jail, Refused};
pub use self::program::ProgramIo;
use crate::ask::Question;
use crate::envelope::EmbeddedResource;
use crate::manifest::Item;
use crate::offer::Contents;
use crate::run::{RunRequest, RunStatus};
use crate::{
    Access, Client, Context, Envelope, Level, Messages, Prompt, Resource, Tool, ToolError, ToolResult,
    export, prompt, resource,
};

/// Serves a prompt or a resource.
type Offered = fn(&Context, &[u8]) -> ToolResult<Vec<u8>>;

/// A host made of plain values. Set it up, then call tools.
pub struct Harness {
    host: Arc<FakeHost>,
    time_left: Duration,
}

/// One progress report.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How much is done.
    pub done: f64,
    /// Of how much, if that is known.
    pub total: Option<f64>,
    /// What is being done; empty if not told.
    pub message: String,
}

/// How a tool appears in the manifest: for tests of its texts and schemas.
pub fn item<T: Tool>() -> Item {
    export::item_of::<T>()
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// No roots, no secrets, no tools, no programs, and a minute of time.
    pub fn new() -> Self {
        Self { host: Arc::default(), time_left: Duration::from_secs(60) }
    }

    /// Grants a directory. It stays open until the test process ends.
    ///
    /// # Panics
    /// If the directory cannot be opened.
    #[must_use]
    pub fn root(mut self, name: &str, path: impl AsRef<Path>, access: Access) -> Self {
        let path = path.as_ref();
        let dir =
            File::open(path).unwrap_or_else(|error| panic!("failed to open {}: {error}", path.display()));
        self.set_up().add_root(name, path, access, dir);
        self
    }

    /// Makes paths such as `.git` read-only in all roots granted so far, as `policy.protected_paths` does.
    #[must_use]
    pub fn protect(mut self, entries: &[&str]) -> Self {
        self.set_up().protect(entries);
        self
    }

    /// Grants a state folder.
    #[must_use]
    pub fn state(mut self, path: impl AsRef<Path>) -> Self {
        self.set_up().state = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the configuration of the plugin.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.set_up().config = config;
        self
    }

    /// Grants a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.set_up().secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Grants another tool, played by a closure.
    #[must_use]
    pub fn tool(
        mut self,
        name: &str,
        play: impl Fn(Value) -> ToolResult<Envelope> + Send + Sync + 'static,
    ) -> Self {
        self.set_up().tools.insert(name.to_owned(), Box::new(play));
        self
    }

    /// Grants a program, played by a closure on a thread of its own.
    #[must_use]
    pub fn program(
        mut self,
        name: &str,
        play: impl Fn(RunRequest, ProgramIo) -> RunStatus + Send + Sync + 'static,
    ) -> Self {
        self.set_up().programs.insert(name.to_owned(), Arc::new(play));
        self
    }

    /// Gives the calls a client that can be asked everything and has answered `key` so, as in the protocol. What is
    /// asked without such an answer ends the call with [`code::INPUT_REQUIRED`](crate::code::INPUT_REQUIRED).
    #[must_use]
    pub fn answer(mut self, key: &str, answer: Value) -> Self {
        let host = self.set_up();
        host.client = Client { elicitation: true, sampling: true, roots: true };
        host.answers.insert(key.to_owned(), answer);
        self
    }

    /// What the tools asked so far, by key.
    pub fn asked(&self) -> BTreeMap<String, Question> {
        self.host.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gets the messages of a prompt.
    ///
    /// # Errors
    /// Those of the prompt, arguments that do not fit, and panics.
    pub fn prompt<T: Prompt>(&self, arguments: Value) -> ToolResult<Messages> {
        self.offer(prompt::call_of::<T>, &json!({"get": {"arguments": arguments}}))
    }

    /// Reads a resource. The variables of its address are what the server would find by the template.
    ///
    /// # Errors
    /// Those of the resource, and panics.
    pub fn read<T: Resource>(
        &self,
        uri: &str,
        variables: &[(&str, &str)],
    ) -> ToolResult<Vec<EmbeddedResource>> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let wanted = json!({"read": {"uri": uri, "variables": variables}});
        self.offer(resource::call_of::<T>, &wanted).map(|contents: Contents| contents.contents)
    }

    fn offer<T: DeserializeOwned>(&self, call: Offered, wanted: &Value) -> ToolResult<T> {
        let answer = call(&self.context(), wanted.to_string().as_bytes())?;
        let envelope: Envelope = serde_json::from_slice(&answer)?;
        Ok(serde_json::from_value(envelope.structured.unwrap_or_default())?)
    }

    /// Makes the calls that follow those of another caller; at first the caller is the empty text.
    pub fn set_caller(&self, caller: &str) {
        caller.clone_into(&mut self.host.caller.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sets the time until the deadline of the calls that follow.
    #[must_use]
    pub fn time_left(mut self, time_left: Duration) -> Self {
        self.time_left = time_left;
        self
    }

    /// Cancels all calls, those that are running too.
    pub fn cancel(&self) {
        self.host.cancel();
    }

    /// A context, to test what takes one without a tool around it.
    pub fn context(&self) -> Context {
        Context::new(self.host.next_call(), self.time_left, self.host.clone())
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// Those of the tool, arguments that do not fit, and panics.
    pub fn call<T: Tool>(&self, arguments: Value) -> ToolResult<Envelope> {
        let answer = export::call_of::<T>(&self.context(), arguments.to_string().as_bytes())?;
        serde_json::from_slice(&answer)
            .map_err(|error| ToolError::protocol(format!("not an envelope: {error}")))
    }

    /// Puts the plugin that exports `T` into a real host jail, with the roots, protected paths, secrets, configuration
    /// and state of this harness (a new, empty state folder). The program `llmc` is the one that the environment
    /// variable `LLMC` names, or that on `PATH`; the library is the one that cargo built beside the test, which it
    /// does for tests in `tests/`, and with `cargo build` for others.
    ///
    /// # Panics
    /// If the library is not there, or the harness has played tools or programs, which a jail cannot have.
    pub fn in_jail<T: Tool>(&self) -> Jail {
        Jail::new::<T>(&self.host).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the tools logged so far.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.host.logs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The progress that the tools reported so far.
    pub fn progress(&self) -> Vec<Progress> {
        self.host.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the tools kept so far ([`Context::keep`]); handles are places in this list.
    pub fn kept(&self) -> Vec<String> {
        self.host.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_up(&mut self) -> &mut FakeHost {
        Arc::get_mut(&mut self.host).expect("the harness is set up before its first call")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::code;
    use crate::run::{RunLimit, RunSignal, TerminalSize};

    #[test]
    fn roots_are_open_directories() {
        let harness = Harness::new().root("src", concat!(env!("CARGO_MANIFEST_DIR"), "/src"), Access::Ro);
        let ctx = harness.context();
        let root = ctx.root("src").unwrap();
        assert!(root.path.ends_with("src"));
        assert!(!root.access.is_writable());
        let names =
            std::fs::read_dir(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root.dir)));
        assert!(names.unwrap().any(|entry| entry.unwrap().file_name() == "testing.rs"));
        let error = ctx.root("work").unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (code::DENIED, "no root `work` is granted (granted: `src`)")
        );
    }

    #[test]
    fn a_state_folder_is_there_or_its_grant_is_named() {
        assert_eq!(Harness::new().state("/a/b").context().state_dir().unwrap(), Path::new("/a/b"));
        let error = Harness::new().context().state_dir().unwrap_err();
        assert_eq!((error.code(), error.data()), (code::DENIED, Some(&json!({"missing_grant": "state"}))));
    }

    #[test]
    fn config_names_the_field_and_may_be_absent() {
        #[derive(serde::Deserialize, Default, PartialEq, Debug)]
        #[serde(default)]
        struct Config {
            depth: u8,
        }
        let config = |json| Harness::new().config(json).context().config::<Config>();
        assert_eq!(config(json!({"depth": 3})).unwrap(), Config { depth: 3 });
        assert_eq!(Harness::new().context().config::<Config>().unwrap(), Config::default());
        let error = config(json!({"depth": "x"})).unwrap_err();
        assert!(
            error.message().starts_with("the configuration is wrong at `depth`: invalid type"),
            "{error}"
        );
    }

    #[test]
    fn tools_and_secrets_are_answered_or_denied() {
        let harness = Harness::new()
            .secret("KEY", "hush")
            .tool("double", |args| Ok(Envelope::text((args["n"].as_i64().unwrap() * 2).to_string())));
        let ctx = harness.context();
        assert_eq!(ctx.call_tool("double", &json!({"n": 4})).unwrap().all_text(), "8");
        assert_eq!(ctx.call_tool("triple", &json!({})).unwrap_err().code(), code::DENIED);
        assert_eq!(ctx.call_tool_raw("double", b"{").unwrap_err().code(), code::INVALID_ARGUMENTS);
        let secret = ctx.secret("KEY").unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hush", "[secret]"));
        assert_eq!(ctx.secret("OTHER").unwrap_err().code(), code::DENIED);
        assert_eq!(ctx.request::<Value>(999, &json!({})).unwrap_err().code(), code::UNSUPPORTED);
    }

    #[test]
    fn logs_and_progress_are_recorded() {
        let harness = Harness::new();
        let ctx = harness.context();
        ctx.warn(format_args!("{} left", 3));
        ctx.progress(1.0, Some(4.0), "reading");
        ctx.progress(2.0, None, "");
        assert_eq!(harness.logs(), [(Level::Warn, "3 left".to_owned())]);
        let reading = Progress { done: 1.0, total: Some(4.0), message: "reading".into() };
        assert_eq!(
            harness.progress(),
            [reading, Progress { done: 2.0, total: None, message: String::new() }]
        );
    }

    #[test]
    fn cancellation_and_deadline_are_seen() {
        let harness = Harness::new();
        let ctx = harness.context();
        assert!(ctx.check().is_ok());
        harness.cancel();
        assert!(ctx.cancelled());
        assert_eq!(ctx.check().unwrap_err().code(), code::CANCELLED);
        let late = Harness::new().time_left(Duration::ZERO).context();
        assert_eq!(late.check().unwrap_err().code(), code::TIMED_OUT);
    }

    #[test]
    fn a_played_program_has_real_pipes() {
        let harness = Harness::new().program("wc", |request, mut io| {
            let mut input = String::new();
            io.stdin.take().unwrap().read_to_string(&mut input).unwrap();
            write!(io.stdout, "{} {}", request.args.join(" "), input.len()).unwrap();
            write!(io.stderr, "done").unwrap();
            RunStatus::Exited(0)
        });
        let request = RunRequest { stdin: true, ..RunRequest::new("wc", ["-c"]) };
        let mut run = harness.context().run(&request).unwrap();
        run.stdin.take().unwrap().write_all(b"12345").unwrap();
        let output = run.output(4).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"-c 5"[..], &b"done"[..]));
        assert!(!output.truncated && output.outcome.success());
        assert_eq!(harness.context().run(&RunRequest::new("rm", ["x"])).unwrap_err().code(), code::DENIED);
    }

    #[test]
    fn every_run_has_the_files_of_its_kit() {
        let harness = Harness::new().program("cat", |request, mut io| {
            let contents: Vec<_> = request.files.iter().map(|file| file.contents.as_str()).collect();
            write!(io.stdout, "{}", contents.join(" ")).unwrap();
            RunStatus::Exited(0)
        });
        for contents in ["one", "one", "two", "two"] {
            let request = RunRequest::new("cat", [""; 0]).file("a", contents).file("b", "more");
            let request = RunRequest { kit: Some(contents.into()), ..request };
            let output = harness.context().run(&request).unwrap().output(100).unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{contents} more"));
        }
    }

    #[test]
    fn a_run_ends_when_it_is_dropped_unless_detached() {
        let harness = Harness::new().program("wait", |_, io| {
            while !io.killed() {
                std::thread::sleep(Duration::from_millis(1));
            }
            RunStatus::Exited(0)
        });
        let ctx = harness.context();
        drop(ctx.run(&RunRequest::new("wait", [""])).unwrap());
        let outcome = ctx.request::<crate::run::RunOutcome>(crate::op::RUN_WAIT, &json!({"run": 0})).unwrap();
        assert_eq!(outcome.limit, Some(RunLimit::Killed));
        let detached = RunRequest { detached: true, ..RunRequest::new("wait", [""]) };
        drop(ctx.run(&detached).unwrap());
        ctx.request::<Value>(crate::op::RUN_KILL, &json!({"run": 1})).unwrap();
    }

    #[test]
    fn a_call_has_a_caller() {
        let harness = Harness::new();
        let before = harness.context();
        assert_eq!(before.caller().unwrap(), "");
        harness.set_caller("client 7");
        assert_eq!(harness.context().caller().unwrap(), "client 7");
    }

    #[test]
    fn a_terminal_takes_the_place_of_the_streams_and_signals_arrive() {
        let harness = Harness::new().program("top", |request, mut io| {
            let size = request.pty.unwrap();
            let mut terminal = io.terminal.take().unwrap();
            write!(terminal, "{} rows", size.rows).unwrap();
            loop {
                match io.signals()[..] {
                    [] => std::thread::sleep(Duration::from_millis(1)),
                    [RunSignal::Term] => return RunStatus::Exited(15),
                    ref others => panic!("{others:?}"),
                }
            }
        });
        let size = TerminalSize { rows: 24, cols: 80 };
        let mut run = harness.context().run_in_terminal(&RunRequest::new("top", [""; 0]), size).unwrap();
        run.handle.signal(RunSignal::Term).unwrap();
        let mut shown = String::new();
        run.terminal.read_to_string(&mut shown).unwrap();
        assert_eq!(shown, "24 rows");
        assert_eq!(run.handle.wait().unwrap().status, RunStatus::Exited(15));
    }

    #[test]
    fn a_job_socket_joins_both_sides() {
        let harness = Harness::new().program("python", |_, mut io| {
            let mut job = io.job.take().unwrap();
            let mut line = [0; 4];
            job.read_exact(&mut line).unwrap();
            job.write_all(&line).unwrap();
            RunStatus::Exited(line[0].into())
        });
        let mut run =
            harness.context().run(&RunRequest { job: true, ..RunRequest::new("python", [""]) }).unwrap();
        let job = run.job.as_mut().unwrap();
        job.write_all(b"\x03abc").unwrap();
        let mut echo = String::new();
        job.read_to_string(&mut echo).unwrap();
        assert_eq!(echo, "\x03abc");
        assert_eq!(run.wait().unwrap().status, RunStatus::Exited(3));
    }
}
