//! One job over its socket: hands it over, has its calls answered, hears its end.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use llmc_core::CallableTool;
use llmc_core::prelude::*;
use llmc_core::serde::Serialize;
use llmc_tools_watch::{Companion, Step};
use rustix::event::PollFd;

use crate::crew::{CallRecord, Crew, Interest, Tracked};
use crate::files::{Inbox, InputFile, ReturnedFile, Wanted};
use crate::frame::{Kind, encode};
use crate::limits::{CLOSED_GRACE_MS, EXIT_GRACE_MS, MAX_CALL_RECORDS, MAX_CALLS, MAX_OPEN_CALLS};
use crate::line::{End, Line};
use crate::progress::Reporter;

/// The job, as `boot.py` reads it.
#[derive(Serialize)]
#[serde(crate = "llmc_core::serde")]
struct Job<'a> {
    code: &'a str,
    /// JSON in a string: parsed by code that calls a tool, and by no other.
    tools: Option<String>,
    max_calls: u64,
    max_open: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [InputFile],
    #[serde(skip_serializing_if = "Option::is_none")]
    returns: Option<Wanted<'a>>,
}

/// The frame that hands over the job. Without a list of tools, code may try any name.
pub(crate) fn job_frame(
    code: &str,
    tools: Option<&[CallableTool]>,
    files: &[InputFile],
    return_files: &[String],
) -> ToolResult<Vec<u8>> {
    let tools = tools.map(serde_json::to_string).transpose()?;
    let returns = Wanted::new(return_files);
    let job = Job { code, tools, max_calls: MAX_CALLS, max_open: MAX_OPEN_CALLS, files, returns };
    Ok(encode(Kind::Job, &serde_json::to_vec(&job)?))
}

/// What was heard over the socket.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The interpreter, by its own word.
    pub(crate) engine: Option<String>,
    /// How it ended.
    pub(crate) end: End,
    /// The calls that were made, up to [`MAX_CALL_RECORDS`].
    pub(crate) calls: Vec<CallRecord>,
    /// How many calls there were.
    pub(crate) calls_made: usize,
    /// How many of them have failed.
    pub(crate) calls_failed: usize,
    /// Result files.
    pub(crate) files: Vec<ReturnedFile>,
}

/// What a job is allowed and expected to say.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The only tools that the code may call, however many the plugin is granted.
    pub(crate) within: Option<Vec<String>>,
    /// Globs of the files that it shall send.
    pub(crate) return_files: Vec<String>,
    /// Whether the code will probably tell its progress by itself.
    pub(crate) tells_progress: bool,
}

/// The plugin's side of a job.
pub(crate) struct Session {
    crew: Arc<Crew>,
    /// What was waited for last: the bell or not, and how long.
    waited: Cell<(bool, Option<Duration>)>,
}

impl Session {
    /// # Errors
    /// If the kernel refuses a descriptor.
    pub(crate) fn new(ctx: &Context, socket: UnixStream, job: Vec<u8>, terms: Terms) -> ToolResult<Self> {
        let inbox = Inbox::new(&terms.return_files);
        let line = Line::new(inbox, Reporter::new(ctx.clone(), terms.tells_progress));
        let crew = Crew::new(ctx.clone(), socket, terms.within, line)?;
        // The interpreter finds it when it is ready, and nobody has to be woken for that.
        crew.hand_over(job);
        Ok(Self { crew, waited: Cell::default() })
    }

    /// Call after the run is over.
    pub(crate) fn finish(self) -> Heard {
        self.crew.dismiss();
        let mut line = self.crew.line();
        let (end, engine) = (line.end.take().unwrap_or(End::Silent), line.engine.take());
        let files = std::mem::take(&mut line.inbox).into_files();
        drop(line);
        let board = self.crew.board();
        let calls = board.calls.iter().take(MAX_CALL_RECORDS).map(Tracked::record).collect();
        let calls_made = board.calls.len();
        let calls_failed = board.calls.iter().filter(|call| !call.record().ok).count();
        Heard { engine, end, calls, calls_made, calls_failed, files }
    }
}

impl Companion for Session {
    fn interest(&self) -> Option<PollFd<'_>> {
        if self.crew.line().end.is_some() {
            return None;
        }
        let Interest { descriptor, is_bell, patience } = self.crew.interest();
        self.waited.set((is_bell, patience));
        Some(descriptor)
    }

    fn patience(&self) -> Option<Duration> {
        self.waited.get().1
    }

    fn step(&mut self) -> Step {
        if self.waited.take().0 {
            self.crew.hush();
        }
        self.crew.look();
        let mut line = self.crew.line();
        let is_over = line.end.is_some();
        line.reporter.tell(is_over);
        match &line.end {
            None => Step::GoOn,
            Some(End::Done(_)) => Step::EndsWithin(Duration::from_millis(EXIT_GRACE_MS)),
            Some(End::Silent) => Step::EndsWithin(Duration::from_millis(CLOSED_GRACE_MS)),
            Some(End::Violated(_)) => Step::EndsWithin(Duration::ZERO),
        }
    }

    fn tells_progress(&self) -> bool {
        self.crew.line().reporter.speaks
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.crew.dismiss();
    }
}
