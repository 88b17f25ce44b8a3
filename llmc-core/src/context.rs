//! What a call can reach: its deadline, its caller and everything the operator granted.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llmc_abi::{code, op};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::host::Host;
use crate::manifest::GrantKind;
use crate::root::RootEntry;
use crate::run::{Run, RunRequest, TerminalRun, TerminalSize};
use crate::{Answers, Client, Elicited, Envelope, Questions, Root, Secret, ToolError, ToolResult};

/// Longest time that a deadline is counted in; stands for "none".
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Text goes to the server in pieces of this size: a request has a limit, and JSON can make six bytes of one.
const KEEP_PIECE_BYTES: usize = 512 << 10;

/// The surroundings of one call.
///
/// Cheap to clone, and every clone may be used from any thread. After the call has ended, requests are refused
/// and [`cancelled`](Self::cancelled) is true.
#[derive(Clone)]
pub struct Context {
    call: u64,
    deadline: Instant,
    host: Arc<dyn Host>,
    roots: Arc<OnceLock<Vec<Root>>>,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// Something happened.
    Info,
    /// Details for the author of the plugin.
    Debug,
    /// Everything.
    Trace,
}

/// A tool that a plugin may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallableTool {
    /// Its name.
    pub name: String,
    /// Its name for people.
    #[serde(default)]
    pub title: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its arguments.
    #[serde(default)]
    pub input_schema: Value,
    /// JSON Schema of its structured content, if it promises one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

impl Context {
    pub(crate) fn new(call: u64, time_left: Duration, host: Arc<dyn Host>) -> Self {
        let deadline = Instant::now() + time_left.min(FAR_AWAY);
        Self { call, deadline, host, roots: Arc::default() }
    }

    /// Identifies the call in logs.
    pub fn request_id(&self) -> u64 {
        self.call
    }

    /// When the answer has to be there. Later than a grace period after it, the process is ended.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time that is left; zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the caller no longer wants the answer. Cheap: ask it in every loop.
    pub fn cancelled(&self) -> bool {
        #[derive(Deserialize)]
        struct Answer {
            cancelled: bool,
        }
        // A host that cannot answer is about to end the process, or the call is over.
        self.request(op::CANCELLED, &json!({})).map_or(true, |answer: Answer| answer.cancelled)
    }

    /// Gives up when there is no reason to go on: `ctx.check()?` in every loop.
    ///
    /// # Errors
    /// If the call was cancelled or its deadline has passed.
    pub fn check(&self) -> ToolResult<()> {
        if self.remaining().is_zero() {
            return Err(ToolError::new(code::TIMED_OUT, "the deadline of the call has passed"));
        }
        if self.cancelled() {
            return Err(ToolError::new(code::CANCELLED, "the call was cancelled"));
        }
        Ok(())
    }

    /// Tells the caller how far the work is: `done` of `total`, and a short message (empty for none).
    ///
    /// `done` should only grow. Updates that come too fast are dropped.
    pub fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        let mut body = json!({"done": done});
        if let Some(total) = total {
            body["total"] = json!(total);
        }
        if !message.is_empty() {
            body["message"] = json!(message);
        }
        self.tell(op::PROGRESS, &body);
    }

    /// Writes a line to the log of the server.
    pub fn log(&self, level: Level, message: impl fmt::Display) {
        self.tell(op::LOG, &json!({"level": level, "message": message.to_string()}));
    }

    /// Logs at [`Level::Error`].
    pub fn error(&self, message: impl fmt::Display) {
        self.log(Level::Error, message);
    }

    /// Logs at [`Level::Warn`].
    pub fn warn(&self, message: impl fmt::Display) {
        self.log(Level::Warn, message);
    }

    /// Logs at [`Level::Info`].
    pub fn info(&self, message: impl fmt::Display) {
        self.log(Level::Info, message);
    }

    /// Logs at [`Level::Debug`].
    pub fn debug(&self, message: impl fmt::Display) {
        self.log(Level::Debug, message);
    }

    /// Logs at [`Level::Trace`].
    pub fn trace(&self, message: impl fmt::Display) {
        self.log(Level::Trace, message);
    }

    /// For whom the call is made, as an opaque text: the same for all calls of one client, and for what code or other
    /// plugins call on the way. What outlives a call belongs to its caller: find it by this, and by nothing that a
    /// caller could say itself.
    ///
    /// # Errors
    /// If the call is over, or the host does not tell.
    pub fn caller(&self) -> ToolResult<String> {
        #[derive(Deserialize)]
        struct Answer {
            caller: String,
        }
        self.request(op::CALLER, &json!({})).map(|answer: Answer| answer.caller)
    }

    /// The W3C trace that the call belongs to, 32 hexadecimal digits: what logs and spans of all calls of one request
    /// have in common. `None` from a server that does not tell.
    ///
    /// # Errors
    /// If the call is over, or the host does not tell.
    pub fn trace_id(&self) -> ToolResult<Option<String>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            trace_id: Option<String>,
        }
        self.request(op::CALLER, &json!({})).map(|answer: Answer| answer.trace_id)
    }

    /// What the client can be asked. Nothing, where nobody is there to answer.
    ///
    /// # Errors
    /// If the call is over, or the host does not tell.
    pub fn client(&self) -> ToolResult<Client> {
        self.request(op::CLIENT, &json!({}))
    }

    /// Asks the client, or the person in front of it, and waits for all answers.
    ///
    /// Newer clients are asked by ending this call; it is then made again, from its start, with the answers. So ask
    /// before anything is changed, and hand the error on (`?`): it ends the call.
    ///
    /// # Errors
    /// [`code::CLIENT_LACKS`] if the client cannot be asked, [`code::INPUT_REQUIRED`] if the answers come with another
    /// call.
    pub fn ask(&self, questions: &Questions) -> ToolResult<Answers> {
        self.request(op::ASK, questions)
    }

    /// Asks the person in front of the client to fill in a form: [`ask`](Self::ask) for one question. `message` is its
    /// key, too.
    ///
    /// # Errors
    /// As for `ask`.
    pub fn elicit(&self, message: &str, fields: Value, required: &[&str]) -> ToolResult<Elicited> {
        self.ask(&Questions::new().elicit(message, message, fields, required))?.elicited(message)
    }

    /// Calls another tool with the rights of this plugin. `arguments` must be a JSON object.
    ///
    /// A tool that ran and reports a failure is `Ok` with [`Envelope::is_error`] set.
    ///
    /// # Errors
    /// If the tool is not granted, does not exist, is not reached for other reasons, or its arguments are invalid.
    pub fn call_tool(&self, name: &str, arguments: &impl Serialize) -> ToolResult<Envelope> {
        let arguments = serde_json::to_vec(arguments)?;
        parse_answer(&self.call_tool_raw(name, &arguments)?)
    }

    /// Like [`call_tool`](Self::call_tool), with the JSON of the arguments and of the answer as bytes.
    ///
    /// # Errors
    /// As for `call_tool`; also if `arguments` is not JSON.
    pub fn call_tool_raw(&self, name: &str, arguments: &[u8]) -> ToolResult<Vec<u8>> {
        self.call_tool_within(name, arguments, None)
    }

    /// Like [`call_tool_raw`](Self::call_tool_raw) for code that shall reach fewer tools than the plugin may: with a
    /// list, the server refuses this plugin every other tool, in this call and in all that follow from it.
    ///
    /// # Errors
    /// As for `call_tool_raw`.
    pub fn call_tool_within(
        &self,
        name: &str,
        arguments: &[u8],
        within: Option<&[String]>,
    ) -> ToolResult<Vec<u8>> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
            arguments: Value,
            #[serde(skip_serializing_if = "Option::is_none")]
            within: Option<&'a [String]>,
        }
        let arguments = serde_json::from_slice(arguments).map_err(|error| {
            ToolError::invalid(format!("the arguments for `{name}` are not JSON: {error}"))
        })?;
        self.request_raw(op::CALL_TOOL, &Body { name, arguments, within })
    }

    /// The tools that this plugin may call, sorted by name.
    ///
    /// # Errors
    /// If the host does not answer as it should.
    pub fn tools(&self) -> ToolResult<Vec<CallableTool>> {
        self.request(op::TOOLS, &json!({}))
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// If the secret is not granted or does not exist; which of the two is not told.
    pub fn secret(&self, name: &str) -> ToolResult<Secret> {
        #[derive(Deserialize)]
        struct Answer {
            value: String,
        }
        self.request(op::SECRET, &json!({"name": name})).map(|answer: Answer| Secret::new(answer.value))
    }

    /// All granted directories, in the operator's order.
    ///
    /// # Errors
    /// If the host does not answer as it should.
    pub fn roots(&self) -> ToolResult<&[Root]> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let entries: Vec<RootEntry> = self.request(op::ROOTS, &json!({}))?;
        let roots = entries.into_iter().map(RootEntry::open).collect::<ToolResult<Vec<_>>>()?;
        Ok(self.roots.get_or_init(|| roots))
    }

    /// The granted directory with that name.
    ///
    /// # Errors
    /// If there is none; the text names those that there are.
    pub fn root(&self, name: &str) -> ToolResult<&Root> {
        let roots = self.roots()?;
        roots.iter().find(|root| root.name == name).ok_or_else(|| {
            let granted: Vec<_> = roots.iter().map(|root| format!("`{}`", root.name)).collect();
            let granted = if granted.is_empty() { "none".to_owned() } else { granted.join(", ") };
            ToolError::not_granted(
                GrantKind::Roots,
                format!("no root `{name}` is granted (granted: {granted})"),
            )
        })
    }

    /// The plugin's own folder: what it writes there is still there after a restart, for the same granted roots. The
    /// path is good for opening files in it, and for libraries that want paths, such as databases.
    ///
    /// # Errors
    /// If no folder is granted, or the host is too old to know of them.
    pub fn state_dir(&self) -> ToolResult<PathBuf> {
        #[derive(Deserialize)]
        struct Answer {
            path: PathBuf,
        }
        match self.request(op::STATE, &json!({}))? {
            Some(Answer { path }) => Ok(path),
            None => {
                Err(ToolError::not_granted(GrantKind::State, "no state folder is granted to this plugin"))
            }
        }
    }

    /// The configuration of the plugin, as the operator wrote it; `{}` if there is none.
    ///
    /// # Errors
    /// If it does not fit `T`; the text names the field.
    pub fn config<T: DeserializeOwned>(&self) -> ToolResult<T> {
        let config = match self.request(op::CONFIG, &json!({}))? {
            Value::Null => json!({}),
            config => config,
        };
        serde_path_to_error::deserialize(config)
            .map_err(|error| ToolError::failed(format!("the configuration is wrong{}", at_field(&error))))
    }

    /// Keeps text that is too long for a result, and returns the handle with which the caller reads it by `read_more`.
    ///
    /// It is kept for some time only, and the oldest goes first when there is too much.
    ///
    /// # Errors
    /// If the text is longer than the server keeps, or it can keep nothing.
    pub fn keep(&self, text: &str) -> ToolResult<String> {
        #[derive(Deserialize)]
        struct Answer {
            kept: Option<String>,
        }
        let mut rest = text;
        loop {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(KEEP_PIECE_BYTES));
            rest = after;
            let body = json!({"text": piece, "last": rest.is_empty()});
            let Answer { kept } = self.request(op::KEEP, &body)?;
            if rest.is_empty() {
                return kept.ok_or_else(|| ToolError::protocol("the server named no handle"));
            }
        }
    }

    /// Starts a program in a jail of its own.
    ///
    /// # Errors
    /// If the grant does not cover the request, or the jail cannot be built.
    pub fn run(&self, request: &RunRequest) -> ToolResult<Run> {
        Run::start(self.clone(), request)
    }

    /// Starts a program in a jail of its own, with a terminal in place of the standard streams.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_in_terminal(&self, request: &RunRequest, size: TerminalSize) -> ToolResult<TerminalRun> {
        TerminalRun::start(self.clone(), request, size)
    }

    /// Asks the host for an operation that this crate has no method for.
    ///
    /// # Errors
    /// What the host answers; [`code::UNSUPPORTED`] if it does not know `op`.
    pub fn request<T: DeserializeOwned>(&self, op: u32, body: &impl Serialize) -> ToolResult<T> {
        parse_answer(&self.request_raw(op, body)?)
    }

    fn request_raw(&self, op: u32, body: &impl Serialize) -> ToolResult<Vec<u8>> {
        self.host.request(self.call, op, &serde_json::to_vec(body)?)
    }

    /// A request whose answer does not matter: a lost log line must not fail a call.
    fn tell(&self, op: u32, body: &Value) {
        let _ = self.request_raw(op, body);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("call", &self.call)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// `` at `globs[1]`: expected a string ``, or `: missing field` when it is about the whole.
pub(crate) fn at_field<E: fmt::Display>(error: &serde_path_to_error::Error<E>) -> String {
    let path = error.path().to_string();
    if path == "." { format!(": {}", error.inner()) } else { format!(" at `{path}`: {}", error.inner()) }
}

fn parse_answer<T: DeserializeOwned>(answer: &[u8]) -> ToolResult<T> {
    serde_json::from_slice(answer)
        .map_err(|error| ToolError::protocol(format!("the answer of the host is not as expected: {error}")))
}
