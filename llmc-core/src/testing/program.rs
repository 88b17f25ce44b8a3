//! A program played by a closure: real pipes, no process.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::ToolResult;
use crate::run::{Accounting, Isolation, RunLimit, RunOutcome, RunRequest, RunSignal, RunStarted, RunStatus};

/// What a played program does.
pub(super) type Program = Arc<dyn Fn(RunRequest, ProgramIo) -> RunStatus + Send + Sync>;

/// The program's side of its pipes.
#[derive(Debug)]
pub struct ProgramIo {
    /// Standard input, if asked for.
    pub stdin: Option<PipeReader>,
    /// Standard output.
    pub stdout: PipeWriter,
    /// Standard error.
    pub stderr: PipeWriter,
    /// The socket that is descriptor 3 of a real program, if asked for.
    pub job: Option<UnixStream>,
    /// In place of the streams, if a terminal was asked for: a plain socket, which echoes nothing. Nobody reads
    /// `stdout` and `stderr` then.
    pub terminal: Option<UnixStream>,
    killed: Arc<AtomicBool>,
    signals: Arc<Mutex<Vec<RunSignal>>>,
}

impl ProgramIo {
    /// Whether the plugin ended the run. A real program would be gone; a played one has to look.
    pub fn killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Signals that the plugin sent since the last look, [`RunSignal::Kill`] not among them.
    pub fn signals(&self) -> Vec<RunSignal> {
        std::mem::take(&mut self.signals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A played program at work.
pub(super) struct Running {
    since: Instant,
    killed: Arc<AtomicBool>,
    signals: Arc<Mutex<Vec<RunSignal>>>,
    state: Mutex<State>,
}

struct State {
    thread: Option<JoinHandle<RunStatus>>,
    outcome: Option<RunOutcome>,
}

impl Running {
    pub(super) fn start(id: u64, program: Program, request: RunRequest) -> ToolResult<(Self, RunStarted)> {
        let (stdin_reader, stdin) = if request.stdin { Some(pipe()?).unzip() } else { (None, None) };
        let (stdout, stdout_writer) = pipe()?;
        let (stderr, mut stderr_writer) = pipe()?;
        if request.merge_stderr {
            stderr_writer = stdout_writer.try_clone()?;
        }
        let (job, program_job) = if request.job { Some(UnixStream::pair()?).unzip() } else { (None, None) };
        let (pty, terminal) =
            if request.pty.is_some() { Some(UnixStream::pair()?).unzip() } else { (None, None) };
        let pipes = pty.is_none().then_some((stdout, stderr));
        let (stdout, stderr) = pipes.map(|(stdout, stderr)| (number(stdout), number(stderr))).unzip();
        let killed = Arc::new(AtomicBool::new(false));
        let signals = Arc::<Mutex<Vec<RunSignal>>>::default();
        let io = ProgramIo {
            stdin: stdin_reader,
            stdout: stdout_writer,
            stderr: stderr_writer,
            job: program_job,
            terminal,
            killed: killed.clone(),
            signals: signals.clone(),
        };
        let started = RunStarted {
            run: id,
            stdin: stdin.map(number),
            stdout,
            stderr,
            pty: pty.map(number),
            job: job.map(IntoRawFd::into_raw_fd),
            isolation: Isolation::Namespaces,
            wall_ms: request.timeout_ms.unwrap_or(60_000),
        };
        let thread = Some(thread::spawn(move || program(request, io)));
        let state = Mutex::new(State { thread, outcome: None });
        Ok((Self { since: Instant::now(), killed, signals, state }, started))
    }

    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }

    pub(super) fn signal(&self, signal: RunSignal) {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).push(signal);
    }

    pub(super) fn wait(&self) -> RunOutcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { thread, outcome } = &mut *state;
        outcome.get_or_insert_with(|| self.join(thread.take())).clone()
    }

    fn join(&self, thread: Option<JoinHandle<RunStatus>>) -> RunOutcome {
        let ended = thread.and_then(|thread| thread.join().ok());
        let killed = self.killed.load(Ordering::Relaxed);
        // 101 is what a Rust program exits with after a panic.
        let status = if killed { RunStatus::Signalled(9) } else { ended.unwrap_or(RunStatus::Exited(101)) };
        RunOutcome {
            status,
            limit: killed.then_some(RunLimit::Killed),
            limits_reached: Vec::new(),
            wall_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            cpu_ms: 0,
            peak_memory_bytes: 0,
            isolation: Isolation::Namespaces,
            accounting: Accounting::Tree,
        }
    }
}

/// The number of a descriptor that belongs to the plugin from now on.
fn number(fd: impl Into<OwnedFd>) -> RawFd {
    fd.into().into_raw_fd()
}
