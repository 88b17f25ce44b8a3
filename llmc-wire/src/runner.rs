//! Server and runner.
//!
//! ```text
//! server                                  runner
//!   INIT {policy}                    ->
//!                                    <-   HELLO {what it can do}
//!   SPAWN run {spec} + descriptors   ->
//!                                    <-   STARTED run + pidfd    or   REFUSED run {layer, message}
//!   SIGNAL run, signal               ->
//!                                    <-   EXITED run {outcome}
//!   PING                             ->
//!                                    <-   PONG
//! ```
//!
//! The server ends a run by a signal through the pidfd: process 1 of the jail dies, and the kernel ends the rest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Message kinds that the server sends.
pub mod to_runner {
    kinds! {
        /// [`super::Init`] as JSON; the first message.
        pub const INIT: u8 = 129;
        /// [`super::Spec`] as JSON. Descriptors: [`super::Spec::descriptors`] tells their order.
        pub const SPAWN: u8 = 130;
        /// Signal `code`, 2 (`SIGINT`) or 15 (`SIGTERM`), to every process of the jail of `call`. No answer; a jail that
        /// has ended needs no signal.
        pub const SIGNAL: u8 = 131;
        /// Are you there?
        pub const PING: u8 = 132;
    }
}

/// Message kinds that the runner sends.
pub mod from_runner {
    kinds! {
        /// [`super::Hello`] as JSON; the answer to `INIT`.
        pub const HELLO: u8 = 193;
        /// The jail of `call` has started; its pidfd comes with the frame, and the other side of its terminal if it has one.
        /// `code` is [`super::PARKED`] for one that waited ready.
        pub const STARTED: u8 = 194;
        /// [`super::Refused`] as JSON: nothing of `call` was executed.
        pub const REFUSED: u8 = 195;
        /// [`super::Outcome`] as JSON: the jail of `call` is gone.
        pub const EXITED: u8 = 196;
        /// The answer to one `PING`.
        pub const PONG: u8 = 197;
    }
}

/// In [`from_runner::STARTED`]: the jail had been made ahead of time.
pub const PARKED: u16 = 1;

/// Largest [`Spec`] in bytes of JSON; the runner accepts no larger frame.
pub const MAX_SPEC_BYTES: usize = 8 << 20;

/// The first message to the runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Process id of the server, to notice that it died before the runner was ready.
    pub server_pid: u32,
    /// Jails that may live at the same time. The server lets further runs wait; the runner refuses them as busy.
    pub max_jails: u32,
    /// Interpreters to keep ready in jails that wait for a run; none when 0.
    pub parked_runs: u32,
    /// Whether code may be run, so that an interpreter is worth looking for at the start.
    pub runs_code: bool,
    /// The weakest jail that will do.
    pub min_isolation: Isolation,
    /// How long interpreters are forked from the same one.
    #[serde(default)]
    pub zygote: ZygoteBounds,
}

/// What a zygote reaches before it is replaced or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteBounds {
    /// Children after which it is replaced; at least one more than are kept ready.
    pub max_children: u32,
    /// Age at which it is replaced, in milliseconds.
    pub max_age_ms: u64,
    /// Time without a run after which it goes, in milliseconds.
    pub max_idle_ms: u64,
    /// Memory of its own beyond which it is given up, in bytes. It has no limit that the kernel keeps, because those are
    /// inherited by its children.
    pub max_memory_bytes: u64,
}

impl Default for ZygoteBounds {
    fn default() -> Self {
        Self {
            max_children: 2000,
            max_age_ms: 60 * 60 * 1000,
            max_idle_ms: 10 * 60 * 1000,
            // Some 13 MiB are usual.
            max_memory_bytes: 128 << 20,
        }
    }
}

/// How a jail is kept apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Own namespaces and an own root, with Landlock and seccomp behind them.
    Namespaces,
    /// Landlock and seccomp alone, where the kernel gives no user namespaces.
    Landlock,
}

/// Who counts what a tree uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accounting {
    /// Process 1 of the jail, fifty times a second.
    #[default]
    Tree,
    /// The kernel, too, in a control group of the jail's own.
    Cgroup,
}

/// What the runner can do here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Its process id.
    pub pid: u32,
    /// How strong its jails are, each tried; or why there are none.
    pub jails: Result<Isolation, Refused>,
    /// Whom payloads run as, a sentence for the reader.
    pub payload_identity: String,
    /// How the resources of a whole tree are counted, for the reader.
    pub accounting: String,
}

/// A named set of rules for a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Model-written code: an interpreter and its libraries, no further programs.
    Code,
    /// A command over granted roots.
    Workspace,
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// An interpreter that the runner knows, such as `python`.
    Engine(String),
    /// An absolute file on the machine.
    File(PathBuf),
}

/// One jail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Rules of the jail.
    pub profile: Profile,
    /// What runs in it.
    pub program: Program,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Absolute working directory as seen inside; scratch when absent.
    pub cwd: Option<PathBuf>,
    /// Environment beside the fixed allow-list.
    pub env: Vec<(String, String)>,
    /// Small read-only files under `/llmc`.
    pub files: Vec<File>,
    /// Number of `files`, if they are the same in many runs. A runner that was told them once has them, until
    /// [`MAX_KITS`] newer ones came; then they are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kit: Option<u64>,
    /// Granted directories.
    pub binds: Vec<Bind>,
    /// Files and directories of the machine that the program needs beside the profile's own, read-only, same path.
    /// For an engine: the directories of packages that the operator grants.
    pub system: Vec<PathBuf>,
    /// Limits of the whole tree.
    pub limits: Limits,
    /// A descriptor for stdin is passed; otherwise stdin is `/dev/null`.
    pub stdin: bool,
    /// A job socket is passed and becomes descriptor 3.
    pub job: bool,
    /// A terminal of this size is made for it in place of stdin, stdout and stderr, none of which is passed.
    pub terminal: Option<TerminalSize>,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

impl Spec {
    /// How many descriptors travel with this spec: `[stdin], stdout, stderr, [job], one directory per bind`; with a
    /// terminal `[job], one directory per bind`.
    pub fn descriptors(&self) -> usize {
        let streams = if self.terminal.is_some() { 0 } else { usize::from(self.stdin) + 2 };
        streams + usize::from(self.job) + self.binds.len()
    }
}

/// Kits that a runner keeps; those with the smallest numbers go first.
pub const MAX_KITS: usize = 16;

/// A small file put into the jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// One path component under `/llmc`.
    pub name: String,
    /// Its text.
    pub contents: String,
}

/// A granted directory bound into the jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it appears: `/<root name>`.
    pub target: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

/// Limits of a jail; all of them hold for the whole tree unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time by the clock in milliseconds.
    pub wall_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Open descriptors of each process.
    pub open_files: u32,
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Scratch space in bytes.
    pub scratch_bytes: u64,
    /// Scratch files and directories.
    pub scratch_inodes: u64,
    /// Growth of each file system with a writable bind in bytes.
    pub workspace_bytes: u64,
}

/// Why nothing was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The layer or step that failed, such as `user namespace`, or `busy`, `engine`, `program`.
    pub layer: String,
    /// What happened and what to do.
    pub message: String,
}

/// How a payload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It exited with this code.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
}

/// A limit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Time by the clock.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Somebody outside ended the run.
    Killed,
    /// Growth of the file systems of writable binds.
    Workspace,
    /// Size of one file.
    FileSize,
    /// Processes and threads; the end of a run without namespaces only, else seen.
    Processes,
    /// Open descriptors of one process; seen, never the end of a run.
    OpenFiles,
    /// Bytes of scratch space; seen, never the end of a run.
    ScratchBytes,
    /// Files in scratch space; seen, never the end of a run.
    ScratchInodes,
}

/// What the runner saw of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the payload ended.
    pub status: Status,
    /// The limit that ended it.
    pub limit: Option<Limit>,
    /// Limits that its tree was seen at, at one of the looks that are taken about fifty times a second.
    pub limits_reached: Vec<Limit>,
    /// Duration in milliseconds.
    pub wall_ms: u64,
    /// Processor time of the tree in milliseconds.
    pub cpu_ms: u64,
    /// Highest memory use seen of the tree in bytes.
    pub peak_memory_bytes: u64,
    /// Who counted.
    #[serde(default)]
    pub accounting: Accounting,
}
