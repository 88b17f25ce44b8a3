//! Runs a program in a jail of its own. What may run, with which arguments, the server decides.

use std::io::Write;

use llmc_core::prelude::*;
use llmc_core::run::{RunLimit, RunRequest, RunStatus};

use crate::commands::Asked;
use crate::limits::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_STREAM_BYTES};

/// Exit codes as `timeout` and shells use them.
const TIMED_OUT: i32 = 124;
const ENDED: i32 = 125;
const SIGNALLED: i32 = 128;

/// What a program printed and how it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: i32,
    /// Whether not all of the output was kept.
    pub(crate) cut: bool,
    /// Whether the output was not UTF-8.
    pub(crate) lossy: bool,
    /// Why it did not end by itself.
    pub(crate) error: Option<String>,
}

/// Runs words as they are: there is no shell.
pub(crate) fn run(asked: &Asked<'_>, argv: &[String]) -> ToolResult<Ran> {
    check(argv)?;
    let (program, arguments) = argv.split_first().map_or(("", argv), |(program, rest)| (&**program, rest));
    let request = RunRequest {
        cwd: Some(asked.here.run_dir()),
        stdin: asked.stdin.is_some(),
        timeout_ms: Some(asked.timeout_ms),
        ..RunRequest::new(program, arguments)
    };
    let mut run = asked.ctx.run(&request)?;
    let wall_ms = run.wall_ms();
    let stdin = run.stdin.take();
    let output = std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(text)) = (stdin, asked.stdin) {
            // A program that does not read all of it is none of our business.
            scope.spawn(move || drop(stdin.write_all(text.as_bytes())));
        }
        run.output(MAX_STREAM_BYTES)
    })?;
    let (exit, error) = match (output.outcome.limit, output.outcome.status) {
        (Some(RunLimit::Wall), _) => (TIMED_OUT, Some(format!("timed out after {wall_ms} ms"))),
        (Some(limit), _) => (ENDED, Some(format!("ended by its limit: {limit:?}"))),
        (None, RunStatus::Exited(code)) => (code, None),
        (None, RunStatus::Signalled(signal)) => (SIGNALLED + signal, None),
    };
    let (stdout, lossy) = text_of(output.stdout);
    let (stderr, lossy_too) = text_of(output.stderr);
    Ok(Ran { stdout, stderr, exit, cut: output.truncated, lossy: lossy || lossy_too, error })
}

/// What no grant could make right.
fn check(argv: &[String]) -> ToolResult<()> {
    let program = argv.first().map_or("", String::as_str);
    if program.trim().is_empty() {
        return Err(ToolError::invalid("the command is empty"));
    }
    if program.contains('/') {
        return Err(ToolError::invalid(
            "a program is given by its name, not by a path: `git`, not `/usr/bin/git`",
        ));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(ToolError::invalid("the command contains a NUL character"));
    }
    if argv.len() > MAX_ARGUMENTS || argv.iter().map(String::len).sum::<usize>() > MAX_ARGUMENT_BYTES {
        return Err(ToolError::invalid(format!(
            "the command is too long: at most {MAX_ARGUMENTS} words and {MAX_ARGUMENT_BYTES} bytes"
        )));
    }
    Ok(())
}

fn text_of(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    }
}
