//! One job: taken from the socket, run by an engine, reported.

use std::cell::{Cell, OnceCell};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::channel::{Channel, Interrupted, MAX_SENT_BYTES, read_to_end};
use crate::clock::Clock;
use crate::output::Output;
use crate::report::{Raised, Report};
use crate::{Ending, Limits, Streams};

/// Version of the frames.
const VERSION: u32 = 1;

/// Reports of progress that come sooner than this after another are dropped, but for the last one of a total.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Longest text of a report, in characters.
const MAX_PROGRESS_CHARS: usize = 1000;

/// What code finds around it.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) limits: Limits,
    channel: Channel,
    stdin: Box<dyn AsFd>,
    input: OnceCell<String>,
    calls: Cell<u64>,
    max_calls: Cell<u64>,
    /// When the last report of progress went out.
    told: Cell<Option<Instant>>,
}

/// The job.
#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) code: String,
    /// The tools that may be called, as JSON; any name may be tried when absent.
    pub(crate) tools: Option<String>,
    max_calls: u64,
    /// Files to place first, and files to return. There is nowhere to do so.
    #[serde(default)]
    files: Option<Box<RawValue>>,
    #[serde(default)]
    returns: Option<Box<RawValue>>,
}

/// Why a call has no value.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The tool refused or failed; the server says so.
    Tool(Box<ToolFailure>),
    /// It was not made: too many calls, or too much in one.
    NotMade(String),
    /// The run is over.
    Over,
}

/// What a tool said.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ToolFailure {
    #[serde(default)]
    pub(crate) kind: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Ready<'a> {
    v: u32,
    engine: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    id: u64,
    name: &'a str,
    arguments: &'a RawValue,
}

#[derive(Serialize)]
struct Progress {
    done: f64,
    total: Option<f64>,
    message: String,
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    #[serde(default)]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Box<ToolFailure>>,
}

/// Takes a job, runs it and reports.
pub(crate) fn run(
    engine: &str,
    streams: Streams,
    limits: Limits,
    execute: impl FnOnce(&Rc<Host>, &Job) -> Report,
) -> Ending {
    let host = Rc::new(Host {
        clock: Clock::start(&limits),
        stdout: Output::new(streams.stdout),
        stderr: Output::new(streams.stderr),
        limits,
        channel: Channel::new(streams.job),
        stdin: streams.stdin,
        input: OnceCell::new(),
        calls: Cell::new(0),
        max_calls: Cell::new(0),
        told: Cell::new(None),
    });
    let Ok(job) = host.take_job(engine) else { return Ending::Broken };
    let report = match job.files.is_some() || job.returns.is_some() {
        true => without_files(engine),
        false => catch_unwind(AssertUnwindSafe(|| execute(&host, &job))).unwrap_or_else(|_| broken(engine)),
    };
    host.stdout.flush();
    host.stderr.flush();
    host.finish(report)
}

/// The job is about files.
fn without_files(engine: &str) -> Report {
    let message = format!(
        "`files` and `return_files` need an interpreter with a file system, which {engine} has not; install CPython 3.9 \
         or newer, or pass the contents in the code"
    );
    Report { error: Some(Raised::new("UnsupportedError", &message, None, None)), ..Report::default() }
}

/// The interpreter itself failed.
fn broken(engine: &str) -> Report {
    let message = format!("the interpreter ({engine}) met an error of its own; change the code");
    Report { error: Some(Raised::new("InterpreterError", &message, None, None)), ..Report::default() }
}

impl Host {
    fn take_job(&self, engine: &str) -> Result<Job, Interrupted> {
        self.channel.send(b'r', &to_json(&Ready { v: VERSION, engine }))?;
        let body = self.channel.receive(b'J', &self.clock)?;
        let job: Job = serde_json::from_slice(&body).map_err(|_| Interrupted::Closed)?;
        self.max_calls.set(job.max_calls);
        Ok(job)
    }

    fn finish(&self, mut report: Report) -> Ending {
        let spent = self.clock.spent();
        report.limit = spent.is_some();
        let sent = self.channel.send(b'D', &to_json(&report));
        match (sent, spent) {
            (Err(_), _) => Ending::Broken,
            (Ok(()), Some(spent)) => Ending::Limit(spent),
            (Ok(()), None) if report.error.is_some() => Ending::Failed,
            (Ok(()), None) => Ending::Done,
        }
    }

    /// Calls a tool; `arguments` is JSON. Returns the value as JSON, `null` if there is none.
    pub(crate) fn call(&self, name: &str, arguments: &str) -> Result<String, CallError> {
        if self.clock.check().is_some() {
            return Err(CallError::Over);
        }
        let most = self.max_calls.get();
        if self.calls.get() >= most {
            return Err(CallError::NotMade(format!("more than {most} tool calls in one run")));
        }
        let arguments: &RawValue = serde_json::from_str(arguments)
            .map_err(|_| CallError::NotMade("the arguments cannot be written as JSON".to_owned()))?;
        let id = self.calls.get() + 1;
        let body = to_json(&Call { id, name, arguments });
        if body.len() > MAX_SENT_BYTES {
            let length = body.len();
            return Err(CallError::NotMade(format!(
                "{length} bytes of JSON, at most {MAX_SENT_BYTES} are allowed"
            )));
        }
        self.calls.set(id);
        let reply = self.channel.send(b'C', &body).and_then(|()| self.channel.receive(b'R', &self.clock));
        let reply = reply.map_err(|_| CallError::Over)?;
        let reply: Reply = serde_json::from_slice(&reply).map_err(|_| CallError::Over)?;
        match reply {
            Reply { id: other, .. } if other != id => Err(CallError::Over),
            Reply { error: Some(error), .. } => Err(CallError::Tool(error)),
            Reply { value, .. } => {
                Ok(value.map_or_else(|| "null".to_owned(), |value| value.get().to_owned()))
            }
        }
    }

    /// Tells how far the code is; `done` and `total` are finite.
    pub(crate) fn progress(&self, done: f64, total: Option<f64>, message: &str) -> Result<(), Interrupted> {
        let is_early = self.told.get().is_some_and(|told| told.elapsed() < PROGRESS_INTERVAL);
        if is_early && total != Some(done) {
            return Ok(());
        }
        self.told.set(Some(Instant::now()));
        let message = message.chars().take(MAX_PROGRESS_CHARS).collect();
        self.channel.send(b'P', &to_json(&Progress { done, total, message }))
    }

    /// All of standard input, read at the first question.
    pub(crate) fn input(&self) -> &str {
        self.input.get_or_init(|| {
            let (bytes, spent) = read_to_end(self.stdin.as_fd(), &self.clock);
            spent.inspect(|spent| self.clock.note(*spent));
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        })
    }
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    // These types have string keys only and cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}
