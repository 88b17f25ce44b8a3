//! `run_command`.

use std::collections::BTreeMap;
use std::time::Duration;

use llmc_core::prelude::*;
use llmc_core::run::{RunRequest, RunStatus};
use llmc_core::schema;
use llmc_tools_watch::{Alone, Limits, Watched, watch, words};

use crate::argv;
use crate::limits::{
    DEFAULT_OUTPUT_BYTES, DEFAULT_TIMEOUT_MS, HARD_OUTPUT_BYTES, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS,
    MAX_OUTPUT_BYTES, MAX_STDIN_BYTES, MIN_OUTPUT_BYTES,
};

/// Runs a program in a jail without network and returns its exit code and output. Give `argv`, or `command`. There is
/// no shell: in `argv`, `|`, `>`, `*`, `$X` and `&&` are plain text; in `command` they are refused. Only programs that
/// the operator granted can run. An exit code other than 0 is a result, not an error.
#[arguments]
pub struct RunCommand {
    /// The program's name and its arguments, one string each: ["git", "log", "-3"].
    #[schemars(length(min = 1, max = MAX_ARGUMENTS))]
    argv: Option<Vec<String>>,
    /// The same in one string, split into words as by a shell: "git log -3 'a file'".
    #[schemars(length(max = MAX_ARGUMENT_BYTES))]
    command: Option<String>,
    /// Directory to start in: `root:sub/dir`, or relative to the first root. Default: the top of the first root.
    cwd: Option<String>,
    /// Text for its standard input. Default: none.
    stdin: Option<String>,
    /// Environment variables; only names that the operator granted.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Longest time in milliseconds. Default: 60000. Cut to what the operator allows.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
    /// Whether stderr goes into stdout, in the order of arrival. Default: false.
    #[serde(default)]
    merge_stderr: bool,
    /// Bytes to show of stdout and of stderr, 1024 to 1048576. Default: 65536. Beyond it the middle is left out, for
    /// `read_more`.
    #[schemars(range(min = MIN_OUTPUT_BYTES, max = MAX_OUTPUT_BYTES))]
    max_output_bytes: Option<u32>,
}

/// How a command ended and what it printed.
#[output(custom_text)]
pub struct Finished {
    /// Exit code, if it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGSEGV`.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// Standard output.
    stdout: String,
    /// Standard error.
    stderr: String,
    /// Whether the middle of an output is left out.
    truncated: bool,
    /// Length of the whole standard output.
    stdout_bytes: u64,
    /// Length of the whole standard error.
    stderr_bytes: u64,
    /// Bytes of the standard output that are left out.
    stdout_omitted_bytes: u64,
    /// Bytes of the standard error that are left out.
    stderr_omitted_bytes: u64,
    /// For `read_more`, if a part of the standard output is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_handle: Option<String>,
    /// For `read_more`, if a part of the standard error is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_handle: Option<String>,
    /// Whether output was not UTF-8; the wrong bytes became `U+FFFD`.
    lossy: bool,
    /// The limit that ended it: wall, cpu, memory, workspace, file_size, output, cancelled, killed or runner_lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    /// Limits that it was seen at: processes, open_files, scratch_bytes, scratch_inodes or workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits_reached: Vec<&'static str>,
    /// Whether its time was over.
    timed_out: bool,
    /// The time that it was given.
    timeout_ms: u64,
    /// The time that it took.
    duration_ms: u64,
    /// Processor time of all its processes.
    cpu_ms: u64,
    /// Most memory in use at a time.
    peak_memory_bytes: u64,
    /// How it was jailed: namespaces or landlock.
    isolation: &'static str,
    /// Who kept its limits: tree or cgroup.
    accounting: &'static str,
}

impl Tool for RunCommand {
    const NAME: &'static str = "run_command";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Finished;

    fn call(self, ctx: &Context) -> ToolResult<Finished> {
        let (request, input, limits) = self.into_request(ctx)?;
        let mut run = ctx.run(&request)?;
        let watched = watch(ctx, &mut run, input, limits, &mut Alone)?;
        Ok(Finished::new(watched, run.wall_ms()))
    }
}

impl RunCommand {
    fn into_request(self, ctx: &Context) -> ToolResult<(RunRequest, String, Limits)> {
        if self.stdin.as_ref().is_some_and(|input| input.len() > MAX_STDIN_BYTES) {
            return Err(ToolError::invalid(format!("`stdin` is longer than {MAX_STDIN_BYTES} bytes")));
        }
        let argv = argv::words(self.argv, self.command.as_deref())?;
        let request = RunRequest {
            stdin: self.stdin.as_ref().is_some_and(|input| !input.is_empty()),
            merge_stderr: self.merge_stderr,
            timeout_ms: Some(
                self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS).min(milliseconds(ctx.remaining())),
            ),
            ..argv::request(ctx, &argv, self.cwd.as_deref(), self.env)?
        };
        let keep_bytes = self.max_output_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES);
        let keep_bytes = keep_bytes.clamp(MIN_OUTPUT_BYTES, MAX_OUTPUT_BYTES) as usize;
        let limits = Limits { keep_bytes, output_bytes: HARD_OUTPUT_BYTES };
        Ok((request, self.stdin.unwrap_or_default(), limits))
    }
}

impl Finished {
    fn new(watched: Watched, timeout_ms: u64) -> Self {
        let limit = words::limit(&watched);
        let limits_reached = words::limits_reached(&watched);
        let Watched { stdout, stderr, outcome, .. } = watched;
        let (exit_code, signal) = match outcome.status {
            RunStatus::Exited(code) => (Some(code), None),
            RunStatus::Signalled(number) => (None, Some(words::signal(number))),
        };
        Self {
            exit_code,
            signal,
            truncated: stdout.omitted_bytes + stderr.omitted_bytes > 0,
            stdout_bytes: stdout.bytes,
            stderr_bytes: stderr.bytes,
            stdout_omitted_bytes: stdout.omitted_bytes,
            stderr_omitted_bytes: stderr.omitted_bytes,
            lossy: stdout.lossy || stderr.lossy,
            stdout_handle: stdout.handle,
            stderr_handle: stderr.handle,
            stdout: stdout.text,
            stderr: stderr.text,
            limit,
            limits_reached,
            timed_out: limit == Some("wall"),
            timeout_ms,
            duration_ms: outcome.wall_ms,
            cpu_ms: outcome.cpu_ms,
            peak_memory_bytes: outcome.peak_memory_bytes,
            isolation: words::isolation(outcome.isolation),
            accounting: words::accounting(outcome.accounting),
        }
    }

    /// What is certain comes first: the output of a command could look like anything.
    fn text(&self) -> String {
        let mut text = self.ending();
        if self.stdout.is_empty() && self.stderr.is_empty() {
            return text + ", no output";
        }
        for (name, stream) in [("", &self.stdout), ("stderr:\n", &self.stderr)] {
            if !stream.is_empty() {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(name);
                text.push_str(stream);
            }
        }
        text
    }

    fn ending(&self) -> String {
        let duration = words::duration(self.duration_ms);
        let ending = match (self.limit, self.exit_code, &self.signal) {
            (Some(limit), ..) => words::ending(limit, self.duration_ms),
            (None, Some(code), _) => format!("exit code {code}, {duration}"),
            (None, None, signal) => {
                format!("ended by {}, {duration}", signal.as_deref().unwrap_or("a signal"))
            }
        };
        ending + &words::at_limits(&self.limits_reached)
    }
}

impl Output for Finished {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<Self>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        let envelope = Envelope::structured(&self, self.text())?;
        Ok(if self.limit.is_some() { envelope.as_error() } else { envelope })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "run_command_tests.rs"]
mod tests;
