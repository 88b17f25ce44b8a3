//! The thread that moves the bytes of one process, and ends it when nobody asks about it.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::session::{Input, Process, State, never_wait};
use super::transcript::Stream;

/// What a pipe holds unless told otherwise: one read empties it.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most that is offered in one write; a terminal takes less.
const WRITE_BYTES: usize = 16 * 1024;
/// How often clocks are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often a terminal is tried again that nobody has open, or that takes no more input: its program may change that.
const RETRY: Duration = Duration::from_millis(20);
/// After the end of a run, how long its pipes may take to run dry.
const DRAIN_GRACE: Duration = Duration::from_millis(200);

/// The descriptors of a process.
pub(super) struct Streams {
    /// Written to; the same as the first of `outputs` for a terminal.
    input: Option<File>,
    outputs: Vec<(Stream, File)>,
}

impl Streams {
    pub(super) fn piped(stdin: Option<File>, stdout: File, stderr: File) -> io::Result<Self> {
        let outputs = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
        Self { input: stdin, outputs }.without_waiting()
    }

    pub(super) fn terminal(terminal: File) -> io::Result<Self> {
        let input = Some(terminal.try_clone()?);
        Self { input, outputs: vec![(Stream::Terminal, terminal)] }.without_waiting()
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.outputs.iter().any(|(stream, _)| *stream == Stream::Terminal)
    }

    fn without_waiting(self) -> io::Result<Self> {
        self.input.iter().chain(self.outputs.iter().map(|(_, file)| file)).try_for_each(never_wait)?;
        Ok(self)
    }
}

/// What the thread holds.
pub(super) struct Pump {
    streams: Streams,
    /// Readable when there may be something to write.
    woken: PipeReader,
    /// Runs dry when the run is over.
    end: PipeReader,
    /// When the run was over.
    ended: Option<Instant>,
    /// Until when the terminal is left alone, because it had hung up or was full.
    pause: Option<Instant>,
    chunk: Vec<u8>,
}

/// A descriptor that `poll` found something about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    Woken,
    End,
    Input,
    Output(usize),
}

impl Pump {
    pub(super) fn new(streams: Streams, woken: PipeReader, end: PipeReader) -> Self {
        Self { streams, woken, end, ended: None, pause: None, chunk: vec![0; CHUNK_BYTES] }
    }

    /// Works until the process is over and everything that it printed has been read.
    pub(super) fn run(mut self, process: &Process) {
        while !self.is_done() {
            match self.wait(process) {
                Ok(ready) => ready.into_iter().for_each(|ready| self.step(ready, process)),
                // Nothing can be moved any more: the process would block, and nobody would know.
                Err(_) if self.ended.is_none() => {
                    process.kill();
                    std::thread::sleep(RETRY);
                }
                Err(_) => break,
            }
            if self.ended.is_none() && process.state().used.elapsed() > process.idle {
                process.end_idle();
            }
        }
        process.state().conclude();
        process.changed.notify_all();
    }

    fn is_done(&self) -> bool {
        self.ended.is_some_and(|ended| self.streams.outputs.is_empty() || ended.elapsed() > DRAIN_GRACE)
    }

    /// Waits for something to move.
    fn wait(&mut self, process: &Process) -> io::Result<Vec<Ready>> {
        let now = Instant::now();
        self.pause = self.pause.filter(|until| *until > now);
        let wants_to_write = {
            let state = process.state();
            self.streams.input.is_some() && (!state.pending.is_empty() || state.input == Input::Closing)
        };
        let mut names = vec![Ready::Woken];
        let mut descriptors = vec![PollFd::new(&self.woken, PollFlags::IN)];
        if self.ended.is_none() {
            names.push(Ready::End);
            descriptors.push(PollFd::new(&self.end, PollFlags::IN));
        }
        if self.pause.is_none() {
            if wants_to_write && let Some(input) = &self.streams.input {
                names.push(Ready::Input);
                descriptors.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
            }
            for (place, (_, file)) in self.streams.outputs.iter().enumerate() {
                names.push(Ready::Output(place));
                descriptors.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
            }
        }
        let patience = if self.ended.is_some() { RETRY } else { TICK };
        let patience = self.pause.map_or(patience, |until| patience.min(until - now));
        match poll(&mut descriptors, Some(&Timespec::try_from(patience).map_err(io::Error::other)?)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = names.into_iter().zip(&descriptors).filter(|(_, found)| !found.revents().is_empty());
        // From the back, so that taking one away moves none that follows.
        let mut ready: Vec<Ready> = ready.map(|(name, _)| name).collect();
        ready.reverse();
        Ok(ready)
    }

    fn step(&mut self, ready: Ready, process: &Process) {
        match ready {
            Ready::Woken => {
                let _ = self.woken.read(&mut self.chunk[..64]);
            }
            Ready::End => self.ended = Some(Instant::now()),
            Ready::Input => self.write(process),
            Ready::Output(place) => self.read(place, process),
        }
    }

    fn read(&mut self, place: usize, process: &Process) {
        let (stream, file) = &mut self.streams.outputs[place];
        let stream = *stream;
        match file.read(&mut self.chunk) {
            Ok(count @ 1..) => {
                process.state().print(stream, &self.chunk[..count]);
                process.changed.notify_all();
            }
            Err(error) if is_passing(&error) => {}
            // Nobody has the terminal open, which its program may change as long as it runs.
            Err(_) if stream == Stream::Terminal && self.ended.is_none() => {
                self.pause = Some(Instant::now() + RETRY);
            }
            Ok(_) | Err(_) => {
                self.streams.outputs.remove(place);
            }
        }
    }

    /// Writes what is pending, as much as fits.
    fn write(&mut self, process: &Process) {
        let Some(input) = &mut self.streams.input else { return };
        let mut state = process.state();
        let offered: Vec<u8> = state.pending.iter().take(WRITE_BYTES).copied().collect();
        let written = if offered.is_empty() { Ok(0) } else { input.write(&offered) };
        match written {
            Ok(count) => {
                state.pending.drain(..count);
            }
            // A terminal calls itself writable although it is full, or nobody has it open for the moment.
            Err(_) if self.streams.is_terminal() && self.ended.is_none() => {
                self.pause = Some(Instant::now() + RETRY);
            }
            Err(error) if is_passing(&error) => {}
            // It does not read its input any more: no reason to end it.
            Err(_) => close(&mut state),
        }
        if state.input == Input::Closing && state.pending.is_empty() {
            close(&mut state);
        }
        if state.input == Input::Closed {
            drop(state);
            self.streams.input = None;
        }
    }
}

fn close(state: &mut State) {
    state.input = Input::Closed;
    state.pending.clear();
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
