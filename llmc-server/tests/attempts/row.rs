//! A row of a section: an attempt and its honest neighbour, as data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::checks;

/// A file of rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// Its heading.
    pub(crate) name: String,
    pub(crate) row: Vec<Row>,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) title: String,
    /// Where the attempt is known from: a public id, or a project that tests it.
    pub(crate) source: Option<String>,
    /// What stops it, or why it does no harm.
    #[serde(default)]
    pub(crate) wall: String,
    /// The configuration of the server: a file in `tests/attacks/grounds`; without one, the one with both kinds of jails.
    pub(crate) ground: Option<String>,
    /// In which jails it is tried.
    #[serde(default = "in_code")]
    pub(crate) profiles: Vec<Profile>,
    /// What the machine must have.
    #[serde(default)]
    pub(crate) needs: Vec<Need>,
    /// Limits of a run instead of the profile's.
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, u64>,
    /// Variables in the environment of the server.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Whether the probe may run only where harmless probes proved that it is in a jail.
    #[serde(default)]
    pub(crate) dangerous: bool,
    /// What is watched from outside beside what always is.
    #[serde(default)]
    pub(crate) host: Vec<Watch>,
    pub(crate) attempt: Option<Trial>,
    pub(crate) neighbour: Option<Trial>,
    /// In place of both: the name of a function in `checks.rs`, for what concerns the programs around the jail.
    pub(crate) check: Option<String>,
}

/// A jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// `execute_code`.
    Code,
    /// `run_command` with a granted root.
    Workspace,
    /// Tools alone, called by the client.
    Tools,
    /// The jail of a plugin host, or the programs around the jails.
    Host,
}

/// What a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Need {
    #[serde(rename = "x86_64")]
    X8664,
    Cc,
    Ipv6,
    Root,
}

/// What is watched from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Watch {
    /// Nobody reaches the listeners of the test, which do listen.
    Listeners,
    /// The tree stays small.
    Processes,
    /// The server does not grow.
    ServerMemory,
}

/// A probe and what it must show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// Python that sets `result`; the helpers of `prelude.py` are there.
    pub(crate) code: Option<String>,
    /// The same as a model would write it: without helpers, its value is its last expression. Only in profile `code`.
    pub(crate) plain: Option<String>,
    /// Files that the test puts into the granted root first.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Links that the test puts there: where each leads.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, String>,
    /// Files beside the granted root.
    #[serde(default)]
    pub(crate) beside: BTreeMap<String, String>,
    /// What must be seen: see `pattern.rs`.
    #[serde(default)]
    pub(crate) expected: Map<String, Value>,
    /// The same for one profile, where they differ.
    #[serde(default)]
    pub(crate) expected_in: BTreeMap<String, Map<String, Value>>,
    /// A call that is made again and again while the code runs. The code goes on until `/work/stop` is there.
    pub(crate) meanwhile: Option<Call>,
    /// Calls afterwards, or instead of code.
    #[serde(default)]
    pub(crate) then: Vec<Call>,
}

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
    /// Whether the server drops the message: then `answered` and the text of a `next` call are seen.
    #[serde(default)]
    pub(crate) unanswered: bool,
    /// Of what is seen, what later calls of the row say as `@NAME@`.
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) expected: Map<String, Value>,
}

/// A request over HTTP. `@LENGTH@` in a line stands for the length of the body, `@ADDRESS@` for host and port.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) lines: Vec<String>,
    #[serde(default)]
    pub(crate) body: String,
}

/// What a call does.
pub(crate) enum Deed<'a> {
    Tool(&'a str),
    Method(&'a str),
    Line(&'a str),
    Http(&'a Http),
    Llmc(&'a [String]),
    File(&'a str),
}

impl Call {
    /// The one thing that it does.
    pub(crate) fn deed(&self) -> Deed<'_> {
        let deeds = [
            self.tool.as_deref().map(Deed::Tool),
            self.method.as_deref().map(Deed::Method),
            self.line.as_deref().map(Deed::Line),
            self.http.as_ref().map(Deed::Http),
            self.llmc.as_deref().map(Deed::Llmc),
            self.file.as_deref().map(Deed::File),
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
        }
    }
}

impl Trial {
    /// What is tried, for tables.
    pub(crate) fn tried(&self) -> Value {
        let code = self.code.as_ref().or(self.plain.as_ref()).map(|code| code.trim());
        let calls: Vec<Value> = self.meanwhile.iter().chain(&self.then).map(Call::sent).collect();
        match (code, calls.is_empty()) {
            (Some(code), true) => json!({"code": code}),
            (Some(code), false) => json!({"code": code, "calls": calls}),
            (None, _) => calls.into(),
        }
    }
}

impl Section {
    pub(crate) fn read(text: &str) -> Self {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.row.iter().map(|row| row.number)
    }
}

impl Row {
    /// A row without a neighbour, or one that expects nothing, would prove nothing.
    pub(crate) fn check(&self) {
        let Self { number, check, attempt, neighbour, .. } = self;
        assert!(!self.profiles.is_empty(), "row {number}");
        assert!(attempt.is_none() || !self.wall.is_empty(), "row {number} does not say what stops it");
        if let Some(check) = check {
            assert!(checks::find(check).is_some(), "row {number}: no check is called `{check}`");
            assert!(attempt.is_none() && neighbour.is_none(), "row {number}: a check replaces both");
            return;
        }
        assert!(attempt.is_some() || neighbour.is_some(), "row {number} does nothing");
        for trial in attempt.iter().chain(neighbour) {
            let expects = |call: &Call| {
                call.deed();
                !call.expected.is_empty() || !call.keep.is_empty()
            };
            let in_tools = self.profiles.contains(&Profile::Tools);
            assert!(!in_tools || trial.code.is_none(), "row {number} has code and no jail for it");
            assert!(in_tools || self.ground.is_none(), "row {number}: another ground has profile `tools`");
            assert!(!in_tools || neighbour.is_some(), "row {number} has no neighbour");
            let is_code = self.profiles == [Profile::Code];
            assert!(trial.plain.is_none() || trial.code.is_none() && is_code, "row {number}");
            let runs = trial.code.is_some() || trial.plain.is_some();
            let of_code = !runs
                || !trial.expected.is_empty()
                || self.profiles.iter().all(|profile| trial.expected_in.contains_key(profile.name()));
            assert!(of_code && trial.then.iter().all(expects), "row {number} expects nothing");
            assert!(runs || !trial.then.is_empty(), "row {number} does nothing");
        }
    }
}

fn in_code() -> Vec<Profile> {
    vec![Profile::Code]
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Workspace => "workspace",
            Self::Tools => "tools",
            Self::Host => "host",
        }
    }
}

impl Need {
    /// Why a row that needs this cannot be run here, if it cannot.
    pub(crate) fn lacking(self) -> Option<&'static str> {
        let there = |path: &str| Path::new(path).exists();
        let (is_there, what) = match self {
            Self::X8664 => (cfg!(target_arch = "x86_64"), "the calls are those of x86-64"),
            Self::Cc => (there("/usr/bin/cc"), "there is no C compiler"),
            Self::Ipv6 => {
                (std::net::TcpListener::bind("[::1]:0").is_ok(), "this machine has no IPv6 loopback")
            }
            Self::Root => (crate::prerequisites::is_root(), "only root may look"),
        };
        (!is_there).then_some(what)
    }
}
