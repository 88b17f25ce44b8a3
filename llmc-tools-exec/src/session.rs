//! One job over its socket: hands it over, answers its calls, hears its end.
//!
//! Reading never waits and happens in the loop that also moves the standard streams. Calls run on threads of their
//! own, which write the answers: code that does not read them keeps one of these waiting and nothing else. The
//! threads are not joined, since a tool may take longer than the code that called it is allowed to live.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::prelude::*;
use llmc_core::schemars::JsonSchema;
use llmc_core::serde::{Deserialize, Serialize};
use llmc_core::{CallableTool, code, schemars};
use llmc_tools_watch::{Companion, Step};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::files::{Inbox, InputFile, ReturnedFile, Wanted};
use crate::frame::{Decoder, Kind, encode};
use crate::limits::{
    CLOSED_GRACE_MS, EXIT_GRACE_MS, MAX_CALL_RECORDS, MAX_CALLS, MAX_OPEN_CALLS, MAX_PROGRESS_CHARS,
    MAX_REPLY_BYTES, PROGRESS_INTERVAL_MS,
};
use crate::protocol::{Call, Event, Progress, Protocol, Violation};
use crate::report::Report;

const CHUNK_BYTES: usize = 64 * 1024;
/// From so many bytes on a text goes beside its answer: to escape it here and to read that there takes longer than
/// everything else about an answer.
const LONG_TEXT_BYTES: usize = 512;
/// Bytes that are read before the clock is looked at again: code that floods the socket gets no more.
const BYTES_PER_STEP: usize = 4 * 1024 * 1024;
/// What code calls to get a secret; no tool can have this name.
const SECRET: &str = "llmc.secret";
/// Longest name of a tool.
const MAX_NAME_BYTES: usize = 64;

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

/// How the conversation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With a report.
    Done(Box<Report>),
    /// Without one.
    Silent,
    /// By a breach of the protocol.
    Violated(Violation),
}

/// A tool call, as it was observed here.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(crate = "llmc_core::serde")]
#[schemars(crate = "schemars")]
pub(crate) struct CallRecord {
    /// Name of the tool.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) ms: u64,
    /// Whether it succeeded.
    pub(crate) ok: bool,
}

/// The plugin's side of a job.
pub(crate) struct Session {
    socket: Arc<UnixStream>,
    decoder: Decoder,
    protocol: Protocol,
    crew: Arc<Crew>,
    engine: Option<String>,
    end: Option<End>,
    inbox: Inbox,
    reporter: Reporter,
    chunk: Vec<u8>,
}

impl Session {
    pub(crate) fn new(ctx: &Context, socket: UnixStream, job: Vec<u8>, terms: Terms) -> Self {
        let socket = Arc::new(socket);
        let crew = Arc::new(Crew::new(ctx.clone(), socket.clone(), terms.within));
        // The interpreter finds it when it is ready, and nobody has to be woken for that.
        crew.hand_over(job);
        Self {
            socket,
            decoder: Decoder::default(),
            protocol: Protocol::default(),
            crew,
            engine: None,
            end: None,
            inbox: Inbox::new(&terms.return_files),
            reporter: Reporter::new(ctx.clone(), terms.tells_progress),
            chunk: vec![0; CHUNK_BYTES],
        }
    }

    /// Call after the run is over.
    pub(crate) fn finish(mut self) -> Heard {
        self.crew.dismiss();
        let board = self.crew.board();
        let calls = board.calls.iter().take(MAX_CALL_RECORDS).map(Tracked::record).collect();
        let calls_made = board.calls.len();
        let calls_failed = board.calls.iter().filter(|call| !call.record().ok).count();
        drop(board);
        let end = self.end.take().unwrap_or(End::Silent);
        let files = std::mem::take(&mut self.inbox).into_files();
        Heard { engine: self.engine.take(), end, calls, calls_made, calls_failed, files }
    }

    /// Reads what there is. `Ok(false)`: there will be no more.
    fn read(&mut self) -> Result<bool, Violation> {
        for _ in 0..BYTES_PER_STEP / CHUNK_BYTES {
            let was_all = match recv(&*self.socket, &mut self.chunk, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(false),
                Ok((_, count)) => {
                    self.decoder.push(&self.chunk[..count]);
                    count < CHUNK_BYTES
                }
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => continue,
                // The other side is gone with answers unread.
                Err(_) => return Ok(false),
            };
            while let Some(frame) = self.decoder.next()? {
                match self.protocol.accept(&frame, self.crew.open())? {
                    Event::Ready(ready) => {
                        self.engine = Some(ready.engine);
                        self.crew.texts.store(ready.texts, Ordering::Relaxed);
                    }
                    Event::Call(call) => self.crew.call(call),
                    Event::Progress(progress) => self.reporter.take(progress),
                    Event::File(file) => self.inbox.take(file).map_err(Violation::File)?,
                    Event::Done(report) => {
                        self.end = Some(End::Done(report));
                        return Ok(false);
                    }
                }
            }
            if was_all {
                break;
            }
        }
        Ok(true)
    }
}

impl Companion for Session {
    fn interest(&self) -> Option<PollFd<'_>> {
        self.end.is_none().then(|| PollFd::new(&*self.socket, PollFlags::IN))
    }

    fn step(&mut self) -> Step {
        if self.end.is_none() {
            match self.read() {
                Ok(true) => {}
                Ok(false) => drop(self.end.get_or_insert(End::Silent)),
                Err(violation) => self.end = Some(End::Violated(violation)),
            }
        }
        self.reporter.tell(self.end.is_some());
        match &self.end {
            None => Step::GoOn,
            Some(End::Done(_)) => Step::EndsWithin(Duration::from_millis(EXIT_GRACE_MS)),
            Some(End::Silent) => Step::EndsWithin(Duration::from_millis(CLOSED_GRACE_MS)),
            Some(End::Violated(_)) => Step::EndsWithin(Duration::ZERO),
        }
    }

    fn tells_progress(&self) -> bool {
        self.reporter.speaks
    }
}

/// Passes on what the code says of its progress, at a rate that everybody can bear.
struct Reporter {
    ctx: Context,
    /// Whether the code speaks for itself.
    speaks: bool,
    waiting: Option<Progress>,
    told: Option<Instant>,
}

impl Reporter {
    fn new(ctx: Context, speaks: bool) -> Self {
        Self { ctx, speaks, waiting: None, told: None }
    }

    fn take(&mut self, progress: Progress) {
        self.speaks = true;
        self.waiting = Some(progress);
    }

    /// Tells the newest report, if it is time; the last one always.
    fn tell(&mut self, last: bool) {
        let interval = Duration::from_millis(PROGRESS_INTERVAL_MS);
        if !last && self.told.is_some_and(|told| told.elapsed() < interval) {
            return;
        }
        if let Some(Progress { done, total, message }) = self.waiting.take() {
            let message: String = message.chars().take(MAX_PROGRESS_CHARS).collect();
            self.ctx.progress(done, total, &message);
            self.told = Some(Instant::now());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.crew.dismiss();
    }
}

/// Threads that do what could take time. There are as many as were needed at once.
struct Crew {
    ctx: Context,
    socket: Arc<UnixStream>,
    within: Option<Vec<String>>,
    /// Whether long texts may go beside their answers.
    texts: AtomicBool,
    /// Held while frames are written.
    turn: Mutex<()>,
    board: Mutex<Board>,
    news: Condvar,
}

#[derive(Default)]
struct Board {
    tasks: VecDeque<Task>,
    idle: usize,
    calls: Vec<Tracked>,
    open: usize,
    dismissed: bool,
}

enum Task {
    Send(Vec<u8>),
    Call { place: usize, call: Call },
}

struct Tracked {
    name: String,
    since: Instant,
    /// Duration and success, once there is an answer.
    answered: Option<(Duration, bool)>,
}

impl Tracked {
    fn record(&self) -> CallRecord {
        let (time, ok) = self.answered.unwrap_or_else(|| (self.since.elapsed(), false));
        CallRecord { name: self.name.clone(), ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX), ok }
    }
}

impl Crew {
    fn new(ctx: Context, socket: Arc<UnixStream>, within: Option<Vec<String>>) -> Self {
        Self {
            ctx,
            socket,
            within,
            texts: AtomicBool::new(false),
            turn: Mutex::default(),
            board: Mutex::default(),
            news: Condvar::new(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the job: as much as the socket has room for at once, which is nearly always all; a thread sends the rest.
    fn hand_over(self: &Arc<Self>, mut job: Vec<u8>) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = send(&*self.socket, &job, flags).unwrap_or(0);
        if sent < job.len() {
            job.drain(..sent);
            self.take_on(Task::Send(job));
        }
    }

    /// Calls without an answer.
    fn open(&self) -> usize {
        self.board().open
    }

    fn call(self: &Arc<Self>, call: Call) {
        let mut board = self.board();
        let name = call.name.chars().take(MAX_NAME_BYTES).collect();
        board.calls.push(Tracked { name, since: Instant::now(), answered: None });
        board.open += 1;
        let place = board.calls.len() - 1;
        drop(board);
        self.take_on(Task::Call { place, call });
    }

    fn take_on(self: &Arc<Self>, task: Task) {
        let mut board = self.board();
        board.tasks.push_back(task);
        if board.idle >= board.tasks.len() {
            self.news.notify_one();
            return;
        }
        drop(board);
        let crew = self.clone();
        let hired = thread::Builder::new().name("tool call".into()).spawn(move || crew.work());
        if let Err(error) = hired {
            // Whoever gets free will take the task; without anybody the run ends at its time limit.
            self.ctx.warn(format!("failed to start a thread for a tool call: {error}"));
        }
    }

    fn work(&self) {
        while let Some(task) = self.next_task() {
            match task {
                Task::Send(frame) => self.send(&frame),
                Task::Call { place, call } => {
                    let texts = self.texts.load(Ordering::Relaxed);
                    let (frames, ok) = answer(&self.ctx, &call, self.within.as_deref(), texts);
                    let mut board = self.board();
                    board.open -= 1;
                    let tracked = &mut board.calls[place];
                    tracked.answered = Some((tracked.since.elapsed(), ok));
                    drop(board);
                    self.send(&frames);
                }
            }
        }
    }

    fn next_task(&self) -> Option<Task> {
        let mut board = self.board();
        loop {
            if board.dismissed {
                return None;
            }
            if let Some(task) = board.tasks.pop_front() {
                return Some(task);
            }
            board.idle += 1;
            board = self.news.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.idle -= 1;
        }
    }

    /// Writes frames as a whole. Fails only when the other side is gone, which the reading side notices too.
    fn send(&self, frames: &[u8]) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _: io::Result<()> = (&*self.socket).write_all(frames);
    }

    fn dismiss(&self) {
        self.board().dismissed = true;
        self.news.notify_all();
        // Wakes a thread that writes to code that does not read.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The answer to a call.
#[derive(Serialize)]
#[serde(crate = "llmc_core::serde")]
struct Reply<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    /// The field of the value whose text came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReplyError<'a>>,
}

#[derive(Serialize)]
#[serde(crate = "llmc_core::serde")]
struct ReplyError<'a> {
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// Makes the call; the frames that answer it, and whether it succeeded.
fn answer(ctx: &Context, call: &Call, within: Option<&[String]>, texts: bool) -> (Vec<u8>, bool) {
    let result = make(ctx, call, within).and_then(|mut value| {
        let text = if texts { take_text(&mut value) } else { None };
        let (field, text) = text.unzip();
        let body = write(&Reply { id: call.id, value: Some(&value), text: field.as_deref(), error: None });
        let bytes = body.len() + text.as_ref().map_or(0, String::len);
        if bytes > MAX_REPLY_BYTES {
            return Err(ToolError::failed(format!(
                "the result of `{}` has {bytes} bytes, at most {MAX_REPLY_BYTES} reach the code; ask for less",
                call.name,
            )));
        }
        let before = text.map(|text| encode(Kind::Text, text.as_bytes())).unwrap_or_default();
        Ok([before, encode(Kind::Reply, &body)].concat())
    });
    match result {
        Ok(frames) => (frames, true),
        Err(error) => {
            let kind = match error.code() {
                code::UNKNOWN_ITEM => "unknown_tool",
                code::LIMIT => "limit",
                _ => "failed",
            };
            let error = ReplyError { kind, message: error.message(), data: error.data() };
            let reply = Reply { id: call.id, value: None, text: None, error: Some(error) };
            (encode(Kind::Reply, &write(&reply)), false)
        }
    }
}

/// Takes the longest text among the fields of a value out of it, if it is a long one; with the name of its field.
fn take_text(value: &mut Value) -> Option<(String, String)> {
    let fields = value.as_object_mut()?.iter_mut();
    let texts = fields.filter_map(|(name, value)| Some((value.as_str()?.len(), name, value)));
    let longest = texts.filter(|(bytes, ..)| *bytes >= LONG_TEXT_BYTES).max_by_key(|(bytes, ..)| *bytes);
    let (_, name, value) = longest?;
    let Value::String(text) = value.take() else { return None };
    Some((name.clone(), text))
}

fn make(ctx: &Context, call: &Call, within: Option<&[String]>) -> ToolResult<Value> {
    if call.name.is_empty() || call.name.len() > MAX_NAME_BYTES {
        return Err(ToolError::new(
            code::UNKNOWN_ITEM,
            format!("names of tools have 1 to {MAX_NAME_BYTES} characters"),
        ));
    }
    if call.name == SECRET {
        return secret(ctx, call, within);
    }
    let answer = ctx.call_tool_within(&call.name, call.arguments.get().as_bytes(), within)?;
    let envelope: Envelope = serde_json::from_slice(&answer)?;
    if envelope.is_error {
        let text = envelope.all_text();
        let text = if text.is_empty() { "the tool failed and did not say why".to_owned() } else { text };
        let error = ToolError::failed(text);
        return Err(envelope.structured.into_iter().fold(error, ToolError::with_data));
    }
    match envelope.structured {
        Some(value) => Ok(value),
        None if envelope.content.iter().all(|block| matches!(block, Content::Text { .. })) => {
            Ok(Value::String(envelope.all_text()))
        }
        None => Ok(serde_json::to_value(envelope.content)?),
    }
}

/// A secret that the operator granted to this plugin, for the code. The server judges and records it by its name.
fn secret(ctx: &Context, call: &Call, within: Option<&[String]>) -> ToolResult<Value> {
    #[derive(Deserialize)]
    #[serde(crate = "llmc_core::serde")]
    struct Named {
        name: String,
    }
    if within.is_some_and(|tools| !tools.iter().any(|tool| tool == SECRET)) {
        return Err(ToolError::denied(format!(
            "this run was limited to some tools, and `{SECRET}` is not among them"
        )));
    }
    let Named { name } = serde_json::from_str(call.arguments.get())?;
    ctx.secret(&name).map(|secret| secret.expose().into())
}

fn write(reply: &Reply<'_>) -> Vec<u8> {
    serde_json::to_vec(reply).expect("a reply is made of JSON values")
}
