//! What the tools answer about one process.

use std::time::Duration;

use llmc_core::prelude::*;
use llmc_core::run::RunStatus;
use llmc_core::schema;
use llmc_tools_watch::words;

use super::session::{Ended, Look};
use super::transcript::Excerpt;
use crate::limits::{DEFAULT_READ_BYTES, MAX_READ_BYTES, MAX_WAIT_MS, MIN_READ_BYTES};

/// An answer comes this long before the deadline of its call.
const DEADLINE_MARGIN: Duration = Duration::from_millis(250);

/// What a process has printed, and whether it runs.
#[output(custom_text)]
pub struct Seen {
    /// Its handle.
    process: String,
    /// New output: both streams in order of arrival, or what its terminal was sent.
    text: String,
    /// Where `text` ends; the next read goes on there.
    cursor: u64,
    /// Output before `text` that is lost because nobody read it in time.
    omitted_bytes: u64,
    /// Output after `text`.
    unread_bytes: u64,
    /// Which bytes of `text` came from which stream, in order; absent when all is stdout or the terminal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<Piece>,
    /// Whether output was not UTF-8; the wrong bytes became `U+FFFD`.
    lossy: bool,
    /// Whether it runs.
    running: bool,
    /// Exit code, if it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// The limit that ended it: idle, wall, cpu, memory, workspace, file_size, killed or runner_lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
}

/// A part of the output.
#[output]
pub struct Piece {
    /// stdout or stderr.
    stream: &'static str,
    /// Its length in bytes of `text`.
    bytes: usize,
}

impl Look {
    /// What the arguments of a call say, within limits.
    pub(crate) fn new(ctx: &Context, cursor: Option<u64>, max_bytes: Option<u32>, wait_ms: u64) -> Self {
        let max_bytes = max_bytes.unwrap_or(DEFAULT_READ_BYTES).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        let wait = Duration::from_millis(wait_ms.min(MAX_WAIT_MS));
        let wait = wait.min(ctx.remaining().saturating_sub(DEADLINE_MARGIN));
        Self { cursor, max_bytes: max_bytes as usize, wait }
    }
}

impl Seen {
    pub(super) fn new(handle: &str, excerpt: Excerpt, ended: Option<Ended>) -> Self {
        let (exit_code, signal) = match ended.map(|ended| ended.status) {
            None => (None, None),
            Some(RunStatus::Exited(code)) => (Some(code), None),
            Some(RunStatus::Signalled(number)) => (None, Some(words::signal(number))),
        };
        let Excerpt { text, pieces, cursor, omitted_bytes, unread_bytes, lossy } = excerpt;
        let has_stderr = pieces.iter().any(|(stream, _)| *stream == "stderr");
        let streams = if has_stderr { pieces } else { Vec::new() };
        Self {
            process: handle.to_owned(),
            text,
            cursor,
            omitted_bytes,
            unread_bytes,
            streams: streams.into_iter().map(|(stream, bytes)| Piece { stream, bytes }).collect(),
            lossy,
            running: ended.is_none(),
            exit_code,
            signal,
            limit: ended.and_then(|ended| ended.limit),
        }
    }

    /// What is certain comes first: the output of a process could look like anything.
    fn text(&self) -> String {
        let Self { process, text, cursor, omitted_bytes, unread_bytes, .. } = self;
        let mut line = format!("process {process}: {}, cursor {cursor}", self.state());
        if *omitted_bytes > 0 {
            line += &format!(", {omitted_bytes} bytes lost before this");
        }
        if *unread_bytes > 0 {
            line += &format!(", {unread_bytes} bytes more to read");
        }
        if text.is_empty() { line + ", no new output" } else { format!("{line}\n{text}") }
    }

    fn state(&self) -> String {
        state(self.running, self.exit_code, self.signal.as_deref(), self.limit)
    }
}

/// `running`, `exit code 3` or `ended by SIGKILL (limit: idle)`.
pub(crate) fn state(
    running: bool,
    exit_code: Option<i32>,
    signal: Option<&str>,
    limit: Option<&str>,
) -> String {
    let state = match (running, exit_code) {
        (true, _) => "running".to_owned(),
        (false, Some(code)) => format!("exit code {code}"),
        (false, None) => format!("ended by {}", signal.unwrap_or("a signal")),
    };
    limit.map_or(state.clone(), |limit| format!("{state} (limit: {limit})"))
}

impl Output for Seen {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<Self>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Envelope::structured(&self, self.text())
    }
}
