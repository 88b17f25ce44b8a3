//! Programs in jails: what a plugin asks for, what the server answers, and the [`Run`] in between.

mod handle;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use llmc_abi::{code, op};
use serde::{Deserialize, Serialize};

pub use self::handle::{RunHandle, RunSignal};
use crate::{Context, ToolError, ToolResult, fd};

/// What to run. Everything but `program` may be left out.
///
/// A field that the server does not know is an error: a restriction must not get lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// A name that the grant lists, such as `git`; never a path.
    pub program: String,
    /// Its arguments, without the program itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Where it starts; the scratch directory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<RunDir>,
    /// Whether the plugin writes to its standard input; `/dev/null` otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdin: bool,
    /// Whether its standard error goes into the pipe of its standard output, so that the order of both is kept. The
    /// other pipe is at its end from the beginning.
    #[serde(default, skip_serializing_if = "is_false")]
    pub merge_stderr: bool,
    /// Whether it gets one end of a socket pair as descriptor 3, and the plugin the other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub job: bool,
    /// Whether it may outlive the call that started it. Otherwise it is ended with the call.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detached: bool,
    /// Whether it gets a terminal of this size in place of the standard streams. See [`Context::run_in_terminal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<TerminalSize>,
    /// Files put under `/llmc/` in the jail, read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<RunFile>,
    /// Name of `files`, where many runs bring along the same: they are sent once, and the server keeps them, the last
    /// ones of each plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kit: Option<String>,
    /// Environment variables; only names that the grant allows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Longest time it may take, start included; can only shorten what is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Limits; can only lower what is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RunLimits>,
}

impl RunRequest {
    /// A request for `program` with `args`.
    pub fn new(program: impl Into<String>, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self { program: program.into(), args, ..Self::default() }
    }

    /// Starts in a directory of a root.
    #[must_use]
    pub fn cwd(mut self, root: impl Into<String>, path: impl Into<String>) -> Self {
        self.cwd = Some(RunDir { root: root.into(), path: path.into() });
        self
    }

    /// Adds a file under `/llmc/`.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<String>) -> Self {
        self.files.push(RunFile { path: path.into(), contents: contents.into() });
        self
    }
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// A directory in a root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDir {
    /// Name of the root.
    pub root: String,
    /// Path from there; empty for the root itself.
    #[serde(default)]
    pub path: String,
}

/// A file for the jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// Path below `/llmc/`.
    pub path: String,
    /// What it holds.
    pub contents: String,
}

/// Limits of a run. In a request, what is absent stays as granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// Time from start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Processor time of all processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Memory of all processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Size of each file written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Size of everything in the scratch directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch_bytes: Option<u64>,
    /// Number of files in the scratch directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch_inodes: Option<u64>,
    /// Growth of each file system that holds a writable root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_bytes: Option<u64>,
}

/// The answer to [`op::RUN`].
///
/// Between server and host the numbers are places in the list of descriptors that come along; the host puts
/// its own numbers there before the plugin sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Identifies the run.
    pub run: u64,
    /// Write end of its standard input, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<RawFd>,
    /// Read end of its standard output; absent with a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<RawFd>,
    /// Read end of its standard error; absent with a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<RawFd>,
    /// The plugin's side of its terminal, to be read and written, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<RawFd>,
    /// The plugin's end of the socket pair, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RawFd>,
    /// How it is jailed.
    pub isolation: Isolation,
    /// The wall time that it really has.
    pub wall_ms: u64,
}

/// How a run is kept apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Own namespaces and an own root directory, with Landlock and seccomp behind them.
    Namespaces,
    /// Landlock and seccomp alone, where the kernel gives no user namespaces.
    Landlock,
}

/// Who counts what all processes of a run use, and keeps its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accounting {
    /// A process beside the program, fifty times a second.
    #[default]
    Tree,
    /// The kernel, too: the run has a control group of its own.
    Cgroup,
}

/// The answer to [`op::RUN_WAIT`]: what the host observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// How it ended.
    pub status: RunStatus,
    /// The limit that ended it, if one did.
    #[serde(default)]
    pub limit: Option<RunLimit>,
    /// Limits that it was seen at, whether or not one ended it. It is looked at about fifty times a second: what it
    /// reached in between, nobody saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits_reached: Vec<RunLimit>,
    /// Time from start to end.
    pub wall_ms: u64,
    /// Processor time of all processes together.
    pub cpu_ms: u64,
    /// Most memory that was in use at a time.
    pub peak_memory_bytes: u64,
    /// How it was jailed.
    pub isolation: Isolation,
    /// Who counted.
    #[serde(default)]
    pub accounting: Accounting,
}

impl RunOutcome {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.status == RunStatus::Exited(0) && self.limit.is_none()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// A limit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLimit {
    /// Wall time.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Number of processes and threads; the end of a run without namespaces only, else seen.
    Processes,
    /// Open files of one process; seen, never the end of a run.
    OpenFiles,
    /// Size of one file.
    FileSize,
    /// Bytes in the scratch directory; seen, never the end of a run.
    ScratchBytes,
    /// Files in the scratch directory; seen, never the end of a run.
    ScratchInodes,
    /// Growth of the file systems of writable roots.
    Workspace,
    /// Bytes of output.
    Output,
    /// It was ended on request.
    Killed,
    /// The runner died and took it along.
    RunnerLost,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// A running program. Dropping it ends the program, unless it was waited for or is `detached`.
#[derive(Debug)]
pub struct Run {
    /// Write end of its standard input, if asked for; drop it to signal the end.
    pub stdin: Option<File>,
    /// Read end of its standard output.
    pub stdout: File,
    /// Read end of its standard error.
    pub stderr: File,
    /// Socket to descriptor 3 of the program, if asked for.
    pub job: Option<UnixStream>,
    /// What is left when the streams are taken.
    pub handle: RunHandle,
}

/// A running program with a terminal of its own, for which the same holds as for [`Run`].
#[derive(Debug)]
pub struct TerminalRun {
    /// The other side of the terminal: what is written is typed, what is read was shown. Reading fails with `EIO` once
    /// nobody has the terminal open any more.
    pub terminal: File,
    /// The run itself.
    pub handle: RunHandle,
}

impl TerminalRun {
    pub(crate) fn start(ctx: Context, request: &RunRequest, size: TerminalSize) -> ToolResult<Self> {
        let request = RunRequest { pty: Some(size), ..request.clone() };
        let started: RunStarted = ctx.request(op::RUN, &request)?;
        let terminal = started.pty;
        let handle = RunHandle::new(ctx, started, request.detached);
        Ok(Self { terminal: fd::own(there(terminal, "pty")?)?.into(), handle })
    }
}

/// A descriptor that has to be in the answer.
fn there(number: Option<RawFd>, name: &str) -> ToolResult<RawFd> {
    number.ok_or_else(|| ToolError::protocol(format!("the host answered without `{name}`")))
}

/// What a finished run printed and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutput {
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// Whether there was more of either.
    pub truncated: bool,
    /// How it ended.
    pub outcome: RunOutcome,
}

impl Run {
    pub(crate) fn start(ctx: Context, request: &RunRequest) -> ToolResult<Self> {
        let started = Self::ask(&ctx, request)?;
        let RunStarted { stdin, stdout, stderr, job, .. } = started;
        let handle = RunHandle::new(ctx, started, request.detached);
        Ok(Self {
            stdin: stdin.map(fd::own).transpose()?.map(File::from),
            stdout: fd::own(there(stdout, "stdout")?)?.into(),
            stderr: fd::own(there(stderr, "stderr")?)?.into(),
            job: job.map(fd::own).transpose()?.map(UnixStream::from),
            handle,
        })
    }

    /// Asks without the files of a kit first, which the server usually has.
    fn ask(ctx: &Context, request: &RunRequest) -> ToolResult<RunStarted> {
        if request.kit.is_some() && !request.files.is_empty() {
            let short = RunRequest { files: Vec::new(), ..request.clone() };
            match ctx.request(op::RUN, &short) {
                Err(error) if error.code() == code::UNKNOWN_ITEM => {}
                answered => return answered,
            }
        }
        ctx.request(op::RUN, request)
    }

    /// How the program is jailed.
    pub fn isolation(&self) -> Isolation {
        self.handle.isolation()
    }

    /// The wall time that the program really has, in milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.handle.wall_ms()
    }

    /// Waits for the end. Works from any thread; read the output meanwhile, or the program blocks.
    ///
    /// # Errors
    /// If the call is over (unless the run is `detached`) or the server lost track of the run.
    pub fn wait(&self) -> ToolResult<RunOutcome> {
        self.handle.wait()
    }

    /// Ends the program and everything it started.
    ///
    /// # Errors
    /// If the call is over (unless the run is `detached`). A run that has ended already is no error.
    pub fn kill(&self) -> ToolResult<()> {
        self.handle.kill()
    }

    /// Reads all output and waits for the end, keeping at most `max_bytes` of each stream.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), or if reading fails.
    pub fn output(mut self, max_bytes: usize) -> ToolResult<RunOutput> {
        drop(self.stdin.take());
        let (stdout, stderr) = thread::scope(|scope| {
            let stderr = scope.spawn(|| read_capped(&self.stderr, max_bytes));
            let stdout = read_capped(&self.stdout, max_bytes);
            let stderr =
                stderr.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")));
            (stdout, stderr)
        });
        let ((stdout, more_stdout), (stderr, more_stderr)) = (stdout?, stderr?);
        let outcome = self.wait()?;
        Ok(RunOutput { stdout, stderr, truncated: more_stdout || more_stderr, outcome })
    }
}

/// Reads to the end, keeps the beginning, and tells whether there was more.
fn read_capped(mut from: impl Read, max_bytes: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    from.by_ref().take(max_bytes as u64).read_to_end(&mut kept)?;
    let more = io::copy(&mut from, &mut io::sink())?;
    Ok((kept, more > 0))
}

fn is_false(value: &bool) -> bool {
    !value
}

impl From<RunLimit> for ToolError {
    /// For tools that treat a limit as their own failure.
    fn from(limit: RunLimit) -> Self {
        let text = match limit {
            RunLimit::Wall => "it took too long",
            RunLimit::Cpu => "it used too much processor time",
            RunLimit::Memory => "it used too much memory",
            RunLimit::Processes => "it started too many processes",
            RunLimit::OpenFiles => "it opened too many files",
            RunLimit::FileSize => "it wrote too large a file",
            RunLimit::ScratchBytes | RunLimit::ScratchInodes => "it filled its scratch directory",
            RunLimit::Workspace => "it added too much to a writable root",
            RunLimit::Output => "it printed too much",
            RunLimit::Killed => "it was ended on request",
            RunLimit::RunnerLost => "the runner died",
            RunLimit::Unknown => "it hit a limit",
        };
        Self::new(code::LIMIT, text)
    }
}
