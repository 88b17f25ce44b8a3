//! What a record says, and its text.
//!
//! Records name what was called, by whom, what was decided and what came of it. Of arguments the shape and a keyed hash
//! appear, because arguments often hold secrets.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tracing::{debug, info};

use super::arguments::Arguments;
use super::chain::hex;
use super::key::Key;
use super::now_ms;
use crate::config::ArgumentsIn;
use crate::secret::Secrets;

/// Longest text of a field that a caller chose, in bytes.
const MAX_CHOSEN_BYTES: usize = 256;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A tool was called.
    Call(Box<Call>),
    /// Anything else.
    Event(Event),
}

/// One call.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The call, unique while the server runs.
    pub(crate) call: u64,
    /// The call that made this one, if code or a plugin did.
    pub(crate) parent: Option<u64>,
    /// Who called: `client`, `token NAME`, `http`, `command line` or `plugin NAME`.
    pub(crate) caller: String,
    /// How the call came in: `stdio`, `http`, `command line`, or `plugin` for one below another.
    pub(crate) transport: &'static str,
    /// For whom it was made, see [`crate::call::Request::origin`].
    pub(crate) origin: Option<Arc<str>>,
    /// Of JSON-RPC, as the client chose it.
    pub(crate) request_id: Option<Arc<str>>,
    /// Of W3C trace context.
    pub(crate) trace_id: Option<Arc<str>>,
    pub(crate) tool: String,
    pub(crate) plugin: Option<Arc<str>>,
    /// SHA-256 of the plugin's library.
    pub(crate) plugin_sha256: Option<String>,
    pub(crate) arguments: Arguments,
    /// `ok`, `tool_error`, or the kind of refusal or failure.
    pub(crate) outcome: &'static str,
    /// What refused it: a key of the configuration, or a part of the server.
    pub(crate) rule: Option<Cow<'static, str>>,
    pub(crate) reason: Option<String>,
    /// Limits that the runs of this call reached.
    pub(crate) limits: Vec<String>,
    pub(crate) result_bytes: usize,
    pub(crate) duration_us: u64,
}

/// What happens beside calls. Texts that others chose are masked where they are made.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A process was started: `server`, `host` or `runner`.
    Start {
        process: &'static str,
        pid: u32,
        /// The program; its SHA-256 is added by the writer.
        program: PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin: Option<Arc<str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin_sha256: Option<String>,
    },
    /// What the operator decided: loaded by a server, taken up or refused while it ran, or changed by a command.
    Configuration {
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
        /// Of all that it says, with defaults and flags.
        sha256: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        change: Option<String>,
        /// Why it was not taken up.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        by: String,
    },
    /// A token was made or revoked.
    Token { outcome: &'static str, token: String, by: String },
    /// A client was not let in.
    Rejected { outcome: &'static str, address: String, reason: String },
    /// A plugin was pinned, accepted or taken out of the lock, or was stopped because it drifted.
    Plugin {
        outcome: &'static str,
        plugin: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin_sha256: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        by: String,
    },
    /// A plugin, or code that it runs, asked for a secret.
    Secret {
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u64>,
        plugin: String,
        secret: String,
    },
    /// A plugin had something run in a jail.
    Run {
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u64>,
        plugin: String,
        program: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A call that waited for an operator was allowed or denied, or ended before anybody decided.
    Consent {
        outcome: &'static str,
        call: u64,
        tool: String,
        plugin: String,
        caller: String,
        /// Who decided; nobody if the call ended before.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        waited_ms: u64,
    },
    /// Records were taken out, oldest first, because they were too old or too many.
    Pruned { records: u64, before_seq: u64 },
    /// The chain did not end where it was left: records after `found_seq` are gone, or others stand in their place.
    Cut { expected_seq: u64, expected_hash: String, found_seq: u64 },
    /// There was no room for this many records.
    Lost { records: u64 },
}

/// Who gave a command: user name and number are the operator's own word, the number is the kernel's.
pub(crate) fn by() -> String {
    format!("user {}", rustix::process::getuid().as_raw())
}

impl Entry {
    /// What goes well is seldom worth a line of the log; what was refused or failed is.
    pub(super) fn log(&self) {
        match self {
            Self::Call(call) => call.log(),
            Self::Event(event) => event.log(),
        }
    }
}

impl Call {
    fn log(&self) {
        let Self { call, parent, caller, tool, outcome, reason, result_bytes, duration_us, .. } = self;
        let (reason, rule) = (reason.as_deref(), self.rule.as_deref());
        if *outcome == "ok" {
            debug!(target: "audit", call, parent, caller, tool, outcome, result_bytes, duration_us);
        } else {
            info!(target: "audit", call, parent, caller, tool, outcome, rule, reason, result_bytes, duration_us);
        }
    }
}

impl Event {
    fn log(&self) {
        let text = serde_json::to_string(self).unwrap_or_default();
        match self.outcome() {
            Some("denied" | "refused" | "failed" | "unauthorised" | "drifted") | None => {
                info!(target: "audit", "{text}");
            }
            _ => debug!(target: "audit", "{text}"),
        }
    }

    fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Start { .. } => Some("started"),
            Self::Configuration { outcome, .. }
            | Self::Token { outcome, .. }
            | Self::Rejected { outcome, .. }
            | Self::Plugin { outcome, .. }
            | Self::Secret { outcome, .. }
            | Self::Consent { outcome, .. }
            | Self::Run { outcome, .. } => Some(outcome),
            Self::Pruned { .. } => Some("pruned"),
            Self::Cut { .. } | Self::Lost { .. } => None,
        }
    }
}

/// A record as it is kept: the text that the chain covers, and the fields that are searched, which repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) text: String,
    pub(crate) fields: Fields,
}

/// The fields that are searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) time_ms: u64,
    pub(crate) event: String,
    pub(crate) caller: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) outcome: Option<String>,
}

impl Fields {
    /// The fields of a record's text; `None` where it is none.
    pub(crate) fn of(record: &Value) -> Option<Self> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            time_ms: record.get("time_ms")?.as_u64()?,
            event: text("event")?,
            caller: text("caller"),
            tool: text("tool"),
            plugin: text("plugin"),
            outcome: text("outcome"),
        })
    }
}

/// What the writer needs to turn entries into texts.
pub(super) struct Scribe {
    pub(super) key: Arc<Key>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) arguments: ArgumentsIn,
    pub(super) programs: super::programs::Programs,
}

/// The text of a call.
#[derive(Serialize)]
struct CallText<'a> {
    time_ms: u64,
    event: &'static str,
    call: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    caller: &'a str,
    transport: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_sha256: Option<&'a str>,
    argument_bytes: usize,
    arguments_hmac: String,
    arguments: Value,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    limits: &'a [String],
    result_bytes: usize,
    duration_us: u64,
}

#[derive(Serialize)]
struct EventText<'a> {
    time_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

impl Scribe {
    /// Writes one down.
    ///
    /// # Errors
    ///
    /// When it has no form in JSON.
    pub(super) fn body(&mut self, time_ms: u64, entry: &Entry) -> serde_json::Result<Body> {
        match entry {
            Entry::Call(call) => self.call(time_ms, call),
            Entry::Event(event) => self.event(time_ms, event),
        }
    }

    fn call(&self, time_ms: u64, call: &Call) -> serde_json::Result<Body> {
        let chosen = |text: &Arc<str>| self.secrets.mask_and_cut(text.to_string(), MAX_CHOSEN_BYTES);
        let told = call.arguments.told(&self.key, &self.secrets, self.arguments);
        let text = serde_json::to_string(&CallText {
            time_ms,
            event: "call",
            call: call.call,
            parent: call.parent,
            caller: &call.caller,
            transport: call.transport,
            origin: call.origin.as_deref().filter(|origin| *origin != call.caller),
            request_id: call.request_id.as_ref().map(chosen),
            trace_id: call.trace_id.as_ref().map(chosen),
            tool: &call.tool,
            plugin: call.plugin.as_deref(),
            plugin_sha256: call.plugin_sha256.as_deref(),
            argument_bytes: told.bytes,
            arguments_hmac: hex(&told.hmac),
            arguments: told.shown,
            outcome: call.outcome,
            rule: call.rule.as_deref(),
            reason: call.reason.as_deref(),
            limits: &call.limits,
            result_bytes: call.result_bytes,
            duration_us: call.duration_us,
        })?;
        let fields = Fields {
            time_ms,
            event: "call".into(),
            caller: Some(call.caller.clone()),
            tool: Some(call.tool.clone()),
            plugin: call.plugin.as_deref().map(str::to_owned),
            outcome: Some(call.outcome.into()),
        };
        Ok(Body { text, fields })
    }

    fn event(&mut self, time_ms: u64, event: &Event) -> serde_json::Result<Body> {
        let (program_sha256, version) = match event {
            Event::Start { program, process, .. } => {
                let is_server = *process == "server";
                (self.programs.sha256(program), is_server.then_some(env!("CARGO_PKG_VERSION")))
            }
            _ => (None, None),
        };
        let value = serde_json::to_value(EventText { time_ms, event, program_sha256, version })?;
        let fields = Fields::of(&value).unwrap_or_default();
        Ok(Body { text: value.to_string(), fields })
    }
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// An entry with the moment in which it happened.
pub(super) fn stamped(entry: Entry) -> (u64, Entry) {
    (now_ms(), entry)
}
