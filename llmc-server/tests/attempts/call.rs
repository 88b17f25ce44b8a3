//! One thing that a client, an operator or somebody outside does in a row, and what is expected of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::row::{Profile, overlaid};

/// What a command is told in the lesser tier.
pub(crate) const NO_COMMANDS: &str = "`workspace` is not run without namespaces";

/// A tool call, or one of the other things that a client or an operator does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) tool: Option<String>,
    #[serde(default)]
    pub(crate) arguments: Value,
    /// Another request of the protocol; its whole answer is seen.
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) params: Value,
    /// A line as it is; seen are `messages` that came until an honest call was answered, and its text, `next`.
    pub(crate) line: Option<String>,
    /// A request over HTTP as it is; seen are `status` (nothing, if the server says none), `headers` and `body`.
    pub(crate) http: Option<Http>,
    /// A command `llmc ...` with the configuration of the server; seen are `exit_code`, `stdout` and `stderr`.
    pub(crate) llmc: Option<Vec<String>>,
    /// A file below the folder around the granted root; seen is its `text`, if it is there.
    pub(crate) file: Option<String>,
    /// Somebody outside changes a file; nothing is seen.
    pub(crate) change: Option<Change>,
    /// Tool calls and commands that are made at the same moment; seen are `successes`, `refusals` and their `texts`.
    #[serde(default)]
    pub(crate) together: Vec<Call>,
    /// What the server wrote to its log; seen is its `text`, as soon as this stands in it.
    pub(crate) log: Option<String>,
    /// How often it is done; the last time is seen.
    pub(crate) times: Option<u32>,
    /// Whether the server drops the message: then `answered` and the text of a `next` call are seen.
    #[serde(default)]
    pub(crate) unanswered: bool,
    /// Of what is seen, what later calls of the row say as `@NAME@`.
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) expected: Map<String, Value>,
    /// The same for one profile, where they differ.
    #[serde(default)]
    pub(crate) expected_in: BTreeMap<String, Map<String, Value>>,
}

/// A request over HTTP. `@LENGTH@` in a line stands for the length of the body, `@ADDRESS@` for host and port.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) lines: Vec<String>,
    #[serde(default)]
    pub(crate) body: String,
}

/// A file below the folder around the granted root that becomes another one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) file: String,
    /// What is replaced in it, which must be there; the whole file without it.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// A file of the machine that takes its place instead.
    pub(crate) copy: Option<String>,
}

/// What a call does.
pub(crate) enum Deed<'a> {
    Tool(&'a str),
    Method(&'a str),
    Line(&'a str),
    Http(&'a Http),
    Llmc(&'a [String]),
    File(&'a str),
    Change(&'a Change),
    Together(&'a [Call]),
    Log(&'a str),
}

impl Call {
    /// What must be seen. In the lesser tier commands are refused, whatever they are.
    pub(crate) fn expected(&self, profile: Profile) -> Map<String, Value> {
        let expected = overlaid(&self.expected, &self.expected_in, profile);
        let is_command = self.tool.as_deref() == Some("run_command");
        if profile != Profile::Landlock || !is_command || expected.get("is_error") == Some(&true.into()) {
            return expected;
        }
        Map::from_iter([
            ("is_error".to_owned(), true.into()),
            ("text".to_owned(), json!({"pattern": NO_COMMANDS})),
        ])
    }

    /// The one thing that it does.
    pub(crate) fn deed(&self) -> Deed<'_> {
        let deeds = [
            self.tool.as_deref().map(Deed::Tool),
            self.method.as_deref().map(Deed::Method),
            self.line.as_deref().map(Deed::Line),
            self.http.as_ref().map(Deed::Http),
            self.llmc.as_deref().map(Deed::Llmc),
            self.file.as_deref().map(Deed::File),
            self.change.as_ref().map(Deed::Change),
            (!self.together.is_empty()).then_some(Deed::Together(&self.together)),
            self.log.as_deref().map(Deed::Log),
        ];
        let mut deeds = deeds.into_iter().flatten();
        let deed = deeds.next().unwrap_or_else(|| panic!("a call that does nothing: {self:?}"));
        assert!(deeds.next().is_none(), "a call that does two things: {self:?}");
        deed
    }

    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        match self.deed() {
            Deed::Tool(name) | Deed::Method(name) => name.to_owned(),
            Deed::Line(_) => "line".into(),
            Deed::Http(_) => "http".into(),
            Deed::Llmc(args) => format!("llmc {}", args.first().map_or("", String::as_str)),
            Deed::File(name) => format!("file {name}"),
            Deed::Change(change) => format!("change {}", change.file),
            Deed::Together(calls) => format!("{} at a time", calls.len()),
            Deed::Log(_) => "log".into(),
        }
    }

    /// What is sent, for tables.
    pub(crate) fn sent(&self) -> Value {
        match self.deed() {
            Deed::Tool(name) => json!({"tool": name, "arguments": self.arguments}),
            Deed::Method(name) => json!({"method": name, "params": self.params}),
            Deed::Line(line) => line.into(),
            Deed::Http(http) => json!({"http": http.lines, "body": http.body}),
            Deed::Llmc(args) => format!("llmc {}", args.join(" ")).into(),
            Deed::File(name) => json!({"file": name}),
            Deed::Change(change) => json!({"change": change}),
            Deed::Together(calls) => calls.iter().map(Self::sent).collect(),
            Deed::Log(text) => json!({"log": text}),
        }
    }
}
