//! What the operator decided: `llmc.toml` and the flags of the command line, as data.
//!
//! Nothing here opens a root or starts a process; [`load`] turns text into [`Config`], and later steps have few
//! ways left to fail. Unknown keys are errors: a misspelt restriction must not be silently absent.

mod edit;
mod flags;
mod http;
mod listen;
mod load;
mod oauth;
mod programs;
mod shared_state;
pub(crate) mod syntax;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use edit::{Editor, GrantWord, no_plugin};
pub use flags::Flags;
pub(crate) use flags::{FS_TOOLS, parse_root};
pub use http::{Http, HttpAuth, HttpMetrics};
pub use listen::{Listen, ProxyHeader, Tls, TrustedProxy};
pub use load::{ConfigError, Loaded, load};
pub(crate) use load::{flag, is_name, is_path, parse, user_file};
pub use oauth::{Algorithm, OAuth};
pub use programs::Program;
pub(crate) use programs::{NO_RULES, header, is_narrow, name_of};
pub use shared_state::SharedState;
pub(crate) use shared_state::{Address, Place};
pub use telemetry::Telemetry;

/// 1,048,576 bytes.
const MIB: usize = 1 << 20;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The server itself.
    pub server: Server,
    /// Directories, by name; opened once at start-up and then used only by handle.
    pub roots: BTreeMap<String, Root>,
    /// Plugins and what each is granted, by name.
    pub plugins: BTreeMap<String, Plugin>,
    /// Settings of granted programs, by name.
    pub programs: BTreeMap<String, Program>,
    /// Secrets, by name; only the server reads them.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Public keys of minisign, by the names under which their signatures are shown. A library that carries a signature of
    /// one of them is refused once it does not fit.
    pub trusted_keys: BTreeMap<String, String>,
    /// Numbers that nothing may exceed.
    pub limits: Limits,
    /// Rules above all grants.
    pub policy: Policy,
    /// What is recorded.
    pub audit: Audit,
    /// Who is told how the server fares.
    pub telemetry: Telemetry,
    /// The file that this was read from; no key of it.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Config {
    /// What each plugin is granted.
    pub(crate) fn grants(&self) -> BTreeMap<String, Grants> {
        self.plugins.iter().map(|(name, plugin)| (name.clone(), plugin.grants.clone())).collect()
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Tools that clients see: `"all"`, `"code"` for `execute_code` and what finds tools, or a list of names. Those
    /// that code is granted stay callable from code.
    pub mode: Mode,
    /// Refuse to start where user and mount namespaces are missing for plugin hosts; without this they are
    /// jailed by Landlock and seccomp alone, and `llmc doctor` says so.
    pub require_namespaces: bool,
    /// Refuse to start without a lock beside the configuration file; see `llmc plugin lock`.
    pub require_lock: bool,
    /// Start only plugins whose library is signed, with minisign, by a key of `[trusted_keys]`.
    pub require_signature: bool,
    /// The weakest jail that will do for code: `"namespaces"`, or `"landlock"` to run code behind Landlock and seccomp
    /// alone where the kernel gives no user namespaces. Commands are not run there.
    pub min_isolation: MinIsolation,
    /// Folder that holds the folders of plugins with the grant `state`; `llmc` in the XDG state folder if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Take up changes of this file, of the lock and of libraries by themselves; without it at SIGHUP only.
    pub watch: bool,
    /// File with the key of what clients hand back between two rounds of a call (`requestState`): at least 32 bytes, its
    /// owner's alone. For several servers behind one address; without it each start makes its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_key: Option<PathBuf>,
    /// What several servers behind one address share: which `requestState` was used, and outputs for `read_more`. The
    /// path of an SQLite database, for one machine; or a Redis database, `redis://HOST:PORT/DB`, `rediss://HOST:PORT/DB`
    /// or `redis+unix:///PATH`, where llmc was built with the feature `redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_state: Option<SharedState>,
    /// Name of the secret that holds the password of that Redis database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_state_password: Option<String>,
    /// Certificates in PEM that a Redis database behind `rediss://` is known by, instead of those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_state_ca: Option<PathBuf>,
    /// Serve MCP over Streamable HTTP, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            require_namespaces: false,
            require_lock: false,
            require_signature: false,
            min_isolation: MinIsolation::default(),
            state: None,
            watch: true,
            state_key: None,
            shared_state: None,
            shared_state_password: None,
            shared_state_ca: None,
            http: None,
        }
    }
}

/// The weakest jail that will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MinIsolation {
    /// A whole one.
    #[default]
    Namespaces,
    /// One of Landlock and seccomp alone, for profile `code`.
    Landlock,
}

impl From<MinIsolation> for llmc_wire::runner::Isolation {
    fn from(least: MinIsolation) -> Self {
        match least {
            MinIsolation::Namespaces => Self::Namespaces,
            MinIsolation::Landlock => Self::Landlock,
        }
    }
}

/// Which tools clients see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"all\", \"code\" or a list of tool names")]
pub enum Mode {
    /// A named set.
    Named(NamedMode),
    /// These tools.
    Listed(Vec<String>),
}

/// A named set of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NamedMode {
    /// Every tool of every plugin.
    All,
    /// `execute_code`, `search_tools`, `describe_tool`, `read_file` and `list_dir`.
    Code,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Named(NamedMode::All)
    }
}

/// `[roots]`: a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Where it is; a relative path counts from the folder of the configuration file.
    pub path: PathBuf,
    /// What may be done in it at most.
    #[serde(default)]
    pub access: Access,
}

/// What may be done in a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read.
    #[default]
    Ro,
    /// Read and write.
    Rw,
}

/// `[plugins.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Library: a name such as `llmc_tools_fs` for one that is installed, or a path to a `.so` file.
    pub library: String,
    /// Leave it out, as if it were not here; `llmc plugin enable` and `disable` change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// SHA-256 of the library in hexadecimal; any other file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Put before the name of every tool of this plugin, as in `prefix_tool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Which of its tools need the consent of a person; without this, `policy.confirm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// Who consents to its tools; without this, `policy.confirm_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<ConfirmBy>,
    /// What the plugin may reach.
    #[serde(default)]
    pub grants: Grants,
    /// The plugin's own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

/// What a plugin may reach; whatever is not listed is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Names of roots, each as in `[roots]`, or `name:ro` for less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
    /// Programs, through the runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunGrant>,
    /// Other tools that it may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Names of secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// A folder of its own, which stays from one start to the next.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state: bool,
}

impl Grants {
    /// The line of the configuration that would grant what `add` adds to this, and nothing else.
    pub(crate) fn line_with(&self, plugin: &str, add: impl FnOnce(&mut Self)) -> String {
        let mut grants = self.clone();
        add(&mut grants);
        let command = self.first_missing(&grants).map_or(String::new(), |(word, value)| {
            format!(" (`llmc grant add {plugin} {} {value}`)", word.word())
        });
        // Grants hold strings and numbers only; there is nothing that TOML could not write.
        let grants = toml::Value::try_from(grants).map(|value| value.to_string()).unwrap_or_default();
        format!("`[plugins.{plugin}] grants = {grants}`{command}")
    }

    /// The first thing that `other` has and this has not.
    fn first_missing(&self, other: &Self) -> Option<(GrantWord, String)> {
        GrantWord::value_variants().iter().find_map(|word| {
            let known = word.of(self);
            let added = word.of(other).into_iter().find(|value| !known.contains(value));
            added.map(|value| (*word, value))
        })
    }

    /// The run grant, or the least one for programs.
    pub(crate) fn run_mut(&mut self) -> &mut RunGrant {
        self.run.get_or_insert_with(|| RunGrant {
            profile: RunProfile::Workspace,
            programs: Vec::new(),
            packages: Vec::new(),
            env: Vec::new(),
            limits: RunLimits::default(),
        })
    }
}

/// What a plugin may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunGrant {
    /// Rules of the jail: `code` for an interpreter alone, `workspace` for programs over the granted roots.
    pub profile: RunProfile,
    /// Programs by name, found once at start-up, or `name=/absolute/path`. Only with `workspace`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Directories with Python packages, such as the `site-packages` of a virtual environment: absolute, read-only in
    /// the jail, looked at after the standard library. Only with `code`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PathBuf>,
    /// Names of environment variables that the plugin may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Limits of one run; what is absent comes from the profile.
    #[serde(default, skip_serializing_if = "RunLimits::is_empty")]
    pub limits: RunLimits,
}

/// Rules of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunProfile {
    /// An interpreter and its libraries; no further programs, no roots.
    Code,
    /// Programs over the granted roots.
    Workspace,
}

/// Limits of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Longest time by the clock in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// The same of a run that outlives its call, such as that of `start_process`; `wall_ms` where that is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detached_wall_ms: Option<u64>,
    /// Longest processor time of the whole tree in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Most memory of the whole tree in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Most open descriptors of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Largest file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Scratch space in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch_bytes: Option<u64>,
    /// Scratch files and directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch_inodes: Option<u64>,
    /// Growth of each file system that holds a writable root, in bytes. Only with `workspace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_bytes: Option<u64>,
}

impl RunLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `[secrets]`: where the server finds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file; one trailing newline is not part of the secret.
    File(PathBuf),
    /// A variable in the environment of the server.
    Env(String),
    /// A program, by its absolute path, and its arguments: what it prints, without one trailing newline. The server runs
    /// it at start-up, without a shell and with an empty environment.
    Command(Vec<String>),
}

/// `[limits]`: numbers for the server and its plugin hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest time of one call in milliseconds.
    pub call_timeout_ms: u64,
    /// A call that takes longer goes on as a task, for clients that offer to wait for one, in milliseconds.
    pub task_after_ms: u64,
    /// How long a cancelled or overdue call may take to end before its host is killed, in milliseconds.
    pub grace_ms: u64,
    /// Longest wait for a free worker of a plugin in milliseconds; after that the plugin is busy.
    pub queue_timeout_ms: u64,
    /// Calls of all plugins together that may run or wait at the same time.
    pub concurrent_calls: usize,
    /// Calls that one plugin runs at the same time; for calls below calls as many again at each depth.
    pub workers_per_plugin: u32,
    /// How deep tools may call tools.
    pub call_depth: u8,
    /// Calls that tools, and code, may make below one call.
    pub nested_calls: u32,
    /// Bytes of arguments and results that calls below one call may move.
    pub nested_bytes: u64,
    /// Bytes of all outputs together that are kept for `read_more`, on disk; the oldest go first.
    pub kept_bytes: u64,
    /// How long an output is kept for `read_more`, in milliseconds.
    pub kept_ms: u64,
    /// Largest line that a client may send, in bytes.
    pub max_message_bytes: usize,
    /// Largest result of a tool in bytes.
    pub max_result_bytes: usize,
    /// Address space of one plugin host in bytes.
    pub host_memory_bytes: u64,
    /// Open descriptors of one plugin host.
    pub host_open_files: u64,
    /// Largest file in bytes that a plugin host may write.
    pub host_file_bytes: u64,
    /// Longest time for a plugin to load in milliseconds.
    pub load_timeout_ms: u64,
    /// Jails that may live for a call at the same time.
    pub concurrent_runs: u32,
    /// Jails that may outlive their call at the same time, beside those; 0 for none.
    pub detached_runs: u32,
    /// Interpreters to keep ready in jails that wait for code; 0 starts one for each run.
    pub parked_runs: u32,
    /// Log lines that a plugin may write per second; more are dropped and counted.
    pub plugin_log_lines_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout_ms: 120_000,
            task_after_ms: 5_000,
            grace_ms: 1_000,
            queue_timeout_ms: 10_000,
            concurrent_calls: 128,
            workers_per_plugin: 8,
            call_depth: 4,
            nested_calls: 1000,
            nested_bytes: 256 * MIB as u64,
            kept_bytes: 256 * MIB as u64,
            kept_ms: 1_800_000,
            max_message_bytes: 4 * MIB,
            max_result_bytes: 4 * MIB,
            host_memory_bytes: 1024 * MIB as u64,
            host_open_files: 256,
            host_file_bytes: 1024 * MIB as u64,
            load_timeout_ms: 10_000,
            concurrent_runs: 16,
            detached_runs: 16,
            parked_runs: 4,
            plugin_log_lines_per_second: 100,
        }
    }
}

/// `[policy]`: rules above all grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Offer only tools that say that they change nothing, and open every root read-only.
    pub read_only: bool,
    /// Names of tools that nobody may call.
    pub deny: Vec<String>,
    /// Which tools a person has to consent to before each call: `"never"`, `"destructive"` or `"always"`.
    /// `[plugins.NAME] confirm` and `confirm_tools` say more of some.
    pub confirm: Confirm,
    /// The same for single tools, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub confirm_tools: BTreeMap<String, Confirm>,
    /// Who consents: `"client"` for the person in front of the client (elicitation), `"console"` for an operator
    /// (`llmc console`, `llmc pending`), or `"either"`, whoever of them is first. `[plugins.NAME] confirm_by` and
    /// `confirm_by_tools` say more of some.
    pub confirm_by: ConfirmBy,
    /// The same for single tools, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub confirm_by_tools: BTreeMap<String, ConfirmBy>,
    /// How long a person may take to consent, and a client to come back with answers, in milliseconds.
    pub confirm_timeout_ms: u64,
    /// Paths that file tools leave alone inside writable roots, because other programs execute or obey them. An entry
    /// fits at any depth, whatever the letter case, and covers what is below it.
    pub protected_paths: Vec<String>,
}

/// Which tools need the consent of a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// None.
    #[default]
    Never,
    /// Those that may destroy or overwrite something, by their own word.
    Destructive,
    /// All.
    Always,
}

/// Who consents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmBy {
    /// The person in front of the client.
    #[default]
    Client,
    /// An operator, in the console or by `llmc pending`.
    Console,
    /// Whoever of the two is first.
    Either,
}

impl Config {
    /// Whether consent is to come from an operator for anything.
    pub(crate) fn needs_operator(&self) -> bool {
        let of_plugins = self.plugins.values().filter_map(|plugin| plugin.confirm_by);
        let of_tools = self.policy.confirm_by_tools.values().copied();
        let mut all = of_plugins.chain(of_tools).chain([self.policy.confirm_by]);
        all.any(|by| by == ConfirmBy::Console)
    }
}

/// Repositories (hooks, configuration), what shells and editors run, and what grants tools to agents: CVE-2025-54135
/// and CVE-2025-54136 are a file tool writing one of the last.
const PROTECTED_PATHS: [&str; 32] = [
    ".git",
    ".gitconfig",
    ".gitmodules",
    ".hg",
    ".svn",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".config/fish",
    ".config/llmc",
    ".envrc",
    ".ripgreprc",
    ".ssh",
    ".gnupg",
    ".cargo/config",
    ".cargo/config.toml",
    ".mcp.json",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".idea",
    ".vscode",
    ".windsurf",
    "llmc.lock",
    "llmc.toml",
];

impl Default for Policy {
    fn default() -> Self {
        let protected_paths = PROTECTED_PATHS.map(str::to_owned).to_vec();
        Self {
            read_only: false,
            deny: Vec::new(),
            confirm: Confirm::Never,
            confirm_tools: BTreeMap::new(),
            confirm_by: ConfirmBy::Client,
            confirm_by_tools: BTreeMap::new(),
            confirm_timeout_ms: 300_000,
            protected_paths,
        }
    }
}

/// `[audit]`: one record per call, refused or not, and one for each start, change, run and use of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// File for the records; without it they go to the log. Beside it lie its key (`.key`) and its end (`.head`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Form of the file; `jsonl` where its name ends so, else `sqlite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<AuditFormat>,
    /// What is recorded of arguments, beside a keyed hash.
    pub arguments: ArgumentsIn,
    /// When a call is answered.
    pub durability: Durability,
    /// Longest time in milliseconds that records wait to be written together.
    pub commit_ms: u64,
    /// Records older than this many days are taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// With more bytes than this the oldest records are taken out.
    pub max_bytes: u64,
    /// What happens when a record cannot be written.
    pub on_failure: OnFailure,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            path: None,
            format: None,
            arguments: ArgumentsIn::default(),
            durability: Durability::default(),
            commit_ms: 50,
            keep_days: None,
            max_bytes: 1024 * MIB as u64,
            on_failure: OnFailure::default(),
        }
    }
}

/// Form of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AuditFormat {
    /// An SQLite database.
    Sqlite,
    /// A JSON object a line.
    Jsonl,
}

/// What is recorded of arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArgumentsIn {
    /// Keys and types.
    #[default]
    Shape,
    /// Values, too: long ones cut, secrets and what stands under names such as `password` left out.
    Redacted,
}

/// When a call is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// At once; its record is on the disk within `commit_ms`, and a kill of the server in between loses it.
    #[default]
    Batch,
    /// When its record is on the disk.
    Call,
}

/// What happens when the audit fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Calls are refused until records can be written again.
    #[default]
    Refuse,
    /// The log says so and calls go on.
    Warn,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of the schema is described, so that the page cannot fall behind the types.
    #[test]
    fn every_key_is_documented() {
        let page = include_str!("../../../docs/configuration.md");
        let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
        let mut objects = vec![&schema];
        objects.extend(schema["$defs"].as_object().unwrap().values());
        let keys =
            objects.iter().filter_map(|object| object["properties"].as_object()).flat_map(|keys| keys.keys());
        let missing: Vec<&String> = keys
            .filter(|key| !page.contains(&format!("`{key}`")) && !page.contains(&format!("`[{key}")))
            .collect();
        assert!(missing.is_empty(), "docs/configuration.md does not mention {missing:?}");
    }

    #[test]
    fn the_documented_defaults_of_limits_are_the_real_ones() {
        let page = include_str!("../../../docs/configuration.md");
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for (key, value) in limits.as_object().unwrap() {
            let value = value.as_u64().unwrap();
            let mib = MIB as u64;
            let shown = match value {
                _ if value % (1024 * mib) == 0 => format!("{} GiB", value / (1024 * mib)),
                _ if value % mib == 0 => format!("{} MiB", value / mib),
                _ => value.to_string(),
            };
            assert!(
                page.contains(&format!("| `{key}` | {shown} |")),
                "docs/configuration.md: `{key}` is {shown}"
            );
        }
    }
}
