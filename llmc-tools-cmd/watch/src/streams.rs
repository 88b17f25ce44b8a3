//! The three standard streams of a run, moved without ever waiting for one of them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::capture::Capture;

/// What a pipe holds unless told otherwise: one read empties it.
const CHUNK_BYTES: usize = 64 * 1024;

/// A descriptor that `poll` found something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Stdin,
    Stdout,
    Stderr,
}

/// What is still open of a run's streams, and what came out of them.
pub(crate) struct Streams<'a> {
    input: Option<Input>,
    stdout: Output<'a>,
    stderr: Output<'a>,
    chunk: Vec<u8>,
    stderr_spoke_last: bool,
}

struct Input {
    pipe: File,
    bytes: Vec<u8>,
    written: usize,
}

struct Output<'a> {
    pipe: Option<&'a File>,
    capture: Capture,
}

impl<'a> Streams<'a> {
    /// `input` is written to `stdin`, which is closed after it.
    pub(crate) fn new(
        stdin: Option<File>,
        input: String,
        stdout: &'a File,
        stderr: &'a File,
        keep_bytes: usize,
    ) -> io::Result<Self> {
        let input = match stdin {
            Some(pipe) if !input.is_empty() => {
                // A write that does not fit as a whole must not wait for the program.
                fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
                Some(Input { pipe, bytes: input.into_bytes(), written: 0 })
            }
            _ => None,
        };
        let output = |pipe| Output { pipe: Some(pipe), capture: Capture::new(keep_bytes) };
        Ok(Self {
            input,
            stdout: output(stdout),
            stderr: output(stderr),
            chunk: vec![0; CHUNK_BYTES],
            stderr_spoke_last: false,
        })
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> impl Iterator<Item = (Ready, PollFd<'_>)> {
        let input = self.input.as_ref().map(|input| (Ready::Stdin, PollFd::new(&input.pipe, PollFlags::OUT)));
        let output = |ready, output: &Output<'a>| {
            output.pipe.map(|pipe| (ready, PollFd::from_borrowed_fd(as_fd(pipe), PollFlags::IN)))
        };
        let stdout = output(Ready::Stdout, &self.stdout);
        let stderr = output(Ready::Stderr, &self.stderr);
        input.into_iter().chain(stdout).chain(stderr)
    }

    /// Moves bytes of a stream that `poll` called ready.
    pub(crate) fn step(&mut self, ready: Ready) -> io::Result<()> {
        match ready {
            Ready::Stdin => self.write(),
            Ready::Stdout | Ready::Stderr => {
                let is_stderr = ready == Ready::Stderr;
                let stream = if is_stderr { &mut self.stderr } else { &mut self.stdout };
                if stream.read(&mut self.chunk)? > 0 {
                    self.stderr_spoke_last = is_stderr;
                }
                Ok(())
            }
        }
    }

    /// Whether anything more can come out.
    pub(crate) fn at_end(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Bytes that came out so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.stdout.capture.bytes() + self.stderr.capture.bytes()
    }

    /// The last line of the stream that spoke last.
    pub(crate) fn last_line(&self) -> String {
        let stream = if self.stderr_spoke_last { &self.stderr } else { &self.stdout };
        stream.capture.last_line()
    }

    pub(crate) fn finish(self) -> (Capture, Capture) {
        (self.stdout.capture, self.stderr.capture)
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        match input.pipe.write(&input.bytes[input.written..]) {
            Ok(count) => input.written += count,
            Err(error) if is_passing(&error) => return Ok(()),
            // It does not read its input: no reason to end it.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.input = None,
            Err(error) => return Err(error),
        }
        self.input.take_if(|input| input.written == input.bytes.len());
        Ok(())
    }
}

impl Output<'_> {
    /// Returns how many bytes came.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let Some(mut pipe) = self.pipe else { return Ok(0) };
        let count = match pipe.read(chunk) {
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        if count == 0 {
            self.pipe = None;
        }
        self.capture.push(&chunk[..count]);
        Ok(count)
    }
}

fn as_fd(file: &File) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(file)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
