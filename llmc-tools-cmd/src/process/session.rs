//! One process: what its threads and the calls about it share.

use std::collections::VecDeque;
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::prelude::*;
use llmc_core::run::{Accounting, Run, RunHandle, RunLimit, RunOutcome, RunSignal, RunStatus, TerminalRun};

use super::answer::Seen;
use super::pump::{Pump, Streams};
use super::table::Place;
use super::transcript::{Stream, Transcript};
use crate::limits::{MAX_PENDING_BYTES, TRANSCRIPT_BYTES};

/// What is typed in a terminal to say that nothing more comes: Ctrl-D.
const END_OF_INPUT: u8 = 4;
/// Output counts as complete for now when nothing came for so long.
const QUIET: Duration = Duration::from_millis(100);
/// How often a waiting call looks whether anybody still wants its answer.
const TICK: Duration = Duration::from_millis(50);
/// How long the end by force may take.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Stack of a thread that moves bytes.
const STACK_BYTES: usize = 256 * 1024;

/// A process and its caller.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) handle: String,
    pub(super) owner: String,
    /// For how long nobody may ask about it.
    pub(super) idle: Duration,
    pub(crate) argv: Vec<String>,
    pub(crate) has_terminal: bool,
    pub(crate) started: Instant,
    run: RunHandle,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    transcript: Transcript,
    /// When it last printed something.
    printed: Instant,
    /// Where a read without cursor goes on.
    next: u64,
    /// Waits for the process to read it.
    pub(super) pending: VecDeque<u8>,
    pub(super) input: Input,
    /// How the run ended.
    pub(super) outcome: Option<RunOutcome>,
    /// When everything that it printed was there, too.
    pub(super) over: Option<Instant>,
    /// When a caller last asked about it.
    pub(super) used: Instant,
    /// Why it was ended from here.
    cut: Option<Cut>,
    /// Tells the pump that there is something to write, as long as there is a pump.
    wake: Option<PipeWriter>,
}

/// Whether input arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// Closed once what is pending is written.
    Closing,
    Closed,
}

/// Why a process was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Stopped,
    Idle,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: RunStatus,
    pub(crate) limit: Option<&'static str>,
}

/// What a call wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// From where; where the last answer ended if absent.
    pub(crate) cursor: Option<u64>,
    pub(crate) max_bytes: usize,
    /// How long to wait for something that was not there when the wait began.
    pub(crate) wait: Duration,
}

impl Process {
    /// Takes over a run with pipes.
    pub(crate) fn piped(place: Place, argv: Vec<String>, run: Run) -> ToolResult<Arc<Self>> {
        let Run { stdin, stdout, stderr, handle, .. } = run;
        let streams = Streams::piped(stdin, stdout, stderr);
        Self::start(place, argv, handle, streams)
    }

    /// Takes over a run with a terminal.
    pub(crate) fn in_terminal(place: Place, argv: Vec<String>, run: TerminalRun) -> ToolResult<Arc<Self>> {
        let TerminalRun { terminal, handle } = run;
        Self::start(place, argv, handle, Streams::terminal(terminal))
    }

    /// Starts the threads. A run that nobody would look after is ended.
    fn start(
        place: Place,
        argv: Vec<String>,
        run: RunHandle,
        streams: io::Result<Streams>,
    ) -> ToolResult<Arc<Self>> {
        let pipes = streams.and_then(|streams| {
            let wake = io::pipe()?;
            never_wait(&wake.1)?;
            Ok((streams, wake, io::pipe()?))
        });
        let (streams, (woken, wake), (end, end_writer)) = match pipes {
            Ok(pipes) => pipes,
            Err(error) => {
                run.kill()?;
                return Err(error.into());
            }
        };
        let now = Instant::now();
        let process = Arc::new(Self {
            handle: place.handle().to_owned(),
            owner: place.owner().to_owned(),
            idle: place.settings().idle(),
            argv,
            has_terminal: streams.is_terminal(),
            started: now,
            run,
            state: Mutex::new(State {
                transcript: Transcript::new(TRANSCRIPT_BYTES),
                printed: now,
                next: 0,
                pending: VecDeque::new(),
                input: Input::Open,
                outcome: None,
                over: None,
                used: now,
                cut: None,
                wake: Some(wake),
            }),
            changed: Condvar::new(),
        });
        let waiter = Arc::clone(&process);
        let wait = move || {
            waiter.await_end();
            drop(end_writer);
        };
        let moved = Arc::clone(&process);
        let pump = move || Pump::new(streams, woken, end).run(&moved);
        let threads = spawn("wait for process", wait).and_then(|()| spawn("move bytes", pump));
        if let Err(error) = threads {
            process.kill();
            return Err(error.into());
        }
        place.take(&process);
        Ok(process)
    }

    /// Waits for the end of the run and notes it.
    fn await_end(&self) {
        let outcome = self.run.wait().unwrap_or_else(|_| {
            // The server says this of a run only when it has lost track of it.
            RunOutcome {
                status: RunStatus::Signalled(9),
                limit: Some(RunLimit::RunnerLost),
                limits_reached: Vec::new(),
                wall_ms: 0,
                cpu_ms: 0,
                peak_memory_bytes: 0,
                isolation: self.run.isolation(),
                accounting: Accounting::default(),
            }
        });
        self.state().outcome = Some(outcome);
    }

    /// Adds to what the process shall read.
    pub(crate) fn type_text(&self, text: &str, close: bool) -> ToolResult<()> {
        let mut state = self.state();
        state.used = Instant::now();
        if state.over.is_some() || state.outcome.is_some() {
            return Err(ToolError::failed(
                "the process has ended; read the rest of its output with `read_output`",
            ));
        }
        if state.input != Input::Open && !(text.is_empty() && close) {
            return Err(ToolError::failed("the input of the process is closed"));
        }
        let waiting = state.pending.len();
        if waiting + text.len() > MAX_PENDING_BYTES {
            return Err(ToolError::new(
                llmc_core::code::LIMIT,
                format!(
                    "the process has not read {waiting} bytes of earlier input, and at most {MAX_PENDING_BYTES} may \
                     wait; nothing was sent, try again when it has read them"
                ),
            ));
        }
        state.pending.extend(text.as_bytes());
        match close {
            true if self.has_terminal => state.pending.push_back(END_OF_INPUT),
            true if state.input == Input::Open => state.input = Input::Closing,
            _ => {}
        }
        if let Some(wake) = &mut state.wake {
            // Full: it is about to wake anyway. Broken: it has ended.
            let _ = wake.write(&[0]);
        }
        Ok(())
    }

    /// Sends `SIGINT` to all its processes.
    pub(crate) fn interrupt(&self) -> ToolResult<()> {
        self.state().used = Instant::now();
        self.run.signal(RunSignal::Int)
    }

    /// Position after everything that was printed so far.
    pub(crate) fn end(&self) -> u64 {
        self.state().transcript.end()
    }

    /// Waits as `look` says for output beyond position `seen`, then reads.
    pub(crate) fn look(&self, ctx: &Context, look: Look, seen: Option<u64>) -> ToolResult<Seen> {
        let mut state = self.state();
        state.used = Instant::now();
        let cursor = look.cursor.unwrap_or(state.next);
        let end = state.transcript.end();
        if cursor > end {
            return Err(ToolError::invalid(format!(
                "`cursor` {cursor} is beyond the end of the output, {end}"
            )));
        }
        let wanted = seen.unwrap_or(cursor);
        let mut state = self.await_output(ctx, state, wanted, look);
        state.used = Instant::now();
        // Without a cursor two reads at the same time get different parts.
        let cursor = look.cursor.unwrap_or(state.next);
        let excerpt = state.transcript.read(cursor, look.max_bytes, state.over.is_some());
        let excerpt = excerpt.ok_or_else(|| ToolError::failed("the output is shorter than it was"))?;
        state.next = excerpt.cursor;
        Ok(Seen::new(&self.handle, excerpt, state.ended()))
    }

    /// Returns once there is output beyond `wanted` and no more comes for the moment, or enough of it, or the process is
    /// over, or the time is, or nobody wants to know any more.
    fn await_output<'a>(
        &self,
        ctx: &Context,
        mut state: MutexGuard<'a, State>,
        wanted: u64,
        look: Look,
    ) -> MutexGuard<'a, State> {
        let until = Instant::now() + look.wait;
        loop {
            let now = Instant::now();
            let end = state.transcript.end();
            let is_quiet = now.saturating_duration_since(state.printed) >= QUIET;
            let is_enough = end > wanted && (is_quiet || end - wanted >= look.max_bytes as u64);
            if state.over.is_some() || now >= until || is_enough {
                return state;
            }
            let slice = TICK.min(until - now);
            state = self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner).0;
            if ctx.cancelled() {
                return state;
            }
        }
    }

    /// Asks all its processes to end, and after `grace` ends them. Returns when they are gone.
    pub(crate) fn stop(&self, ctx: &Context, grace: Duration) -> ToolResult<()> {
        let mut state = self.state();
        state.used = Instant::now();
        if state.over.is_some() {
            return Ok(());
        }
        state.cut.get_or_insert(Cut::Stopped);
        drop(state);
        if !grace.is_zero() {
            self.run.signal(RunSignal::Term)?;
        }
        if !self.is_over_within(grace, || ctx.cancelled()) {
            self.run.kill()?;
            if !self.is_over_within(END_TIMEOUT, || false) {
                return Err(ToolError::failed(
                    "the process was told to end and has not ended so far; try again",
                ));
            }
        }
        Ok(())
    }

    /// Waits for the end; `false` when it did not come in time, or when there is no reason to wait any longer.
    fn is_over_within(&self, patience: Duration, give_up: impl Fn() -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.over.is_some() || left.is_zero() || give_up() {
                return state.over.is_some();
            }
            let slice = TICK.min(left);
            state = self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends it because nobody asks about it.
    pub(super) fn end_idle(&self) {
        self.state().cut.get_or_insert(Cut::Idle);
        self.kill();
    }

    /// Ends it. A server that is gone has done so.
    pub(crate) fn kill(&self) {
        let _ = self.run.kill();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.state().ended()
    }

    /// Bytes that nobody has read, for one who goes on where the last answer ended.
    pub(crate) fn unread_bytes(&self) -> u64 {
        let state = self.state();
        state.transcript.end() - state.next
    }

    /// How long ago it ended.
    pub(super) fn over_for(&self) -> Option<Duration> {
        self.state().over.map(|over| over.elapsed())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.transcript.push(stream, bytes);
        self.printed = Instant::now();
    }

    /// Everything that it printed is there, and nothing more can be typed.
    pub(super) fn conclude(&mut self) {
        self.over = Some(Instant::now());
        self.input = Input::Closed;
        self.pending = VecDeque::new();
        self.wake = None;
    }

    fn ended(&self) -> Option<Ended> {
        self.over?;
        let RunOutcome { status, limit, .. } = self.outcome.clone()?;
        let limit = match (limit, self.cut) {
            (None | Some(RunLimit::Killed), Some(Cut::Stopped)) => None,
            (Some(RunLimit::Killed), Some(Cut::Idle)) => Some("idle"),
            (limit, _) => limit.map(llmc_tools_watch::words::limit_name),
        };
        Some(Ended { status, limit })
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(body).map(drop)
}

/// Makes writes that do not fit return instead of waiting.
pub(super) fn never_wait(file: impl AsFd) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    Ok(fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?)
}
