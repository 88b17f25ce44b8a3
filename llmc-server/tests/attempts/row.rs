//! A row of a section: an attempt and its honest neighbour, as data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::call::{Call, Deed};
use crate::checks;

/// A file of rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// Its heading.
    pub(crate) name: String,
    /// Where its attempts come from, for those that name no other source.
    #[serde(default)]
    pub(crate) origin: String,
    /// What is no row, because another test holds it.
    #[serde(default)]
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(crate) row: Vec<Row>,
}

/// A known attempt that takes more than a row can say.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Elsewhere {
    /// What is attacked.
    pub(crate) title: String,
    /// Where it is known from.
    pub(crate) source: String,
    /// `PATH::NAME` of the test, the path from the top of the workspace.
    pub(crate) test: String,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) title: String,
    /// Where the attempt is known from: a public id, or a project that tests it; else where its section comes from.
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
    /// Variables in the environment of the server, and of commands.
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
    /// `execute_code` in the lesser tier: where the kernel gives no user namespaces.
    Landlock,
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
    /// Other code for one profile, where the same would try something else there, or would be dangerous.
    #[serde(default)]
    pub(crate) code_in: BTreeMap<String, String>,
    /// Files that the test puts into the granted root first.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Links that the test puts there: where each leads.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, String>,
    /// Files beside the granted root.
    #[serde(default)]
    pub(crate) beside: BTreeMap<String, String>,
    /// Copies of files of the machine, beside the granted root: where each is from.
    #[serde(default)]
    pub(crate) copies: BTreeMap<String, String>,
    /// What must be seen: see `pattern.rs`.
    #[serde(default)]
    pub(crate) expected: Map<String, Value>,
    /// The same for one profile, where they differ.
    #[serde(default)]
    pub(crate) expected_in: BTreeMap<String, Map<String, Value>>,
    /// Calls that are made in turn, again and again, while the code runs. The code goes on until `/work/stop` is there.
    #[serde(default)]
    pub(crate) meanwhile: Vec<Call>,
    /// Calls afterwards, or instead of code.
    #[serde(default)]
    pub(crate) then: Vec<Call>,
}

impl Trial {
    /// The code with helpers that runs in this profile.
    pub(crate) fn code(&self, profile: Profile) -> Option<&String> {
        self.code_in.get(profile.name()).or(self.code.as_ref())
    }

    /// What must be seen of that.
    pub(crate) fn expected(&self, profile: Profile) -> Map<String, Value> {
        overlaid(&self.expected, &self.expected_in, profile)
    }

    /// What is tried, for tables.
    pub(crate) fn tried(&self, profile: Profile) -> Value {
        let code = self.code(profile).or(self.plain.as_ref()).map(|code| code.trim());
        let calls: Vec<Value> = self.meanwhile.iter().chain(&self.then).map(Call::sent).collect();
        match (code, calls.is_empty()) {
            (Some(code), true) => json!({"code": code}),
            (Some(code), false) => json!({"code": code, "calls": calls}),
            (None, _) => calls.into(),
        }
    }
}

/// What is expected, with what is expected in one profile in its place.
pub(crate) fn overlaid(
    expected: &Map<String, Value>,
    expected_in: &BTreeMap<String, Map<String, Value>>,
    profile: Profile,
) -> Map<String, Value> {
    let own = expected_in.get(profile.name()).into_iter().flatten();
    expected.iter().chain(own).map(|(key, value)| (key.clone(), value.clone())).collect()
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
        assert!(attempt.is_none() || neighbour.is_some(), "row {number} has no neighbour");
        self.check_tiers();
        for trial in attempt.iter().chain(neighbour) {
            let says_nothing =
                |expected: &Value| matches!(expected["pattern"].as_str(), Some("" | "." | ".*" | ".+"));
            let expects = |call: &Call| {
                assert!(!call.expected.values().any(says_nothing), "row {number}: any text would do");
                let only_prepares = matches!(call.deed(), Deed::Change(_));
                only_prepares || !call.expected.is_empty() || !call.keep.is_empty()
            };
            let in_tools = self.profiles.contains(&Profile::Tools);
            assert!(!in_tools || trial.code.is_none(), "row {number} has code and no jail for it");
            let is_code = self.profiles == [Profile::Code];
            assert!(trial.plain.is_none() || trial.code.is_none() && is_code, "row {number}");
            let runs = trial.code.is_some() || trial.plain.is_some();
            let of_code = !runs
                || !trial.expected.is_empty()
                || self.profiles.iter().all(|profile| trial.expected_in.contains_key(profile.name()));
            assert!(of_code && trial.then.iter().all(expects), "row {number} expects nothing");
            let shows = trial.then.iter().any(|call| !call.expected.is_empty());
            assert!(runs || shows, "row {number} shows nothing");
        }
    }
}

impl Row {
    /// A known escape from code jails is tried in both tiers, and a name of a profile that is not tried is a mistake.
    fn check_tiers(&self) {
        let Self { number, profiles, .. } = self;
        let [in_code, in_landlock] =
            [Profile::Code, Profile::Landlock].map(|profile| profiles.contains(&profile));
        let is_known = self.attempt.is_some() && *number <= crate::coverage::KNOWN_ESCAPES;
        assert!(!is_known || in_code == in_landlock, "row {number} is tried in one tier alone");
        assert!(!in_landlock || self.ground.is_none(), "row {number}: no ground has the lesser tier");
        for trial in self.attempt.iter().chain(&self.neighbour) {
            let calls = trial.then.iter().flat_map(|call| call.expected_in.keys());
            let mut names = trial.code_in.keys().chain(trial.expected_in.keys()).chain(calls);
            let is_tried = |name: &String| profiles.iter().any(|profile| profile.name() == name);
            assert!(names.all(is_tried), "row {number} speaks of a profile in which it is not tried");
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
            Self::Landlock => "landlock",
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
