//! What is heard of a job over its socket.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::files::Inbox;
use crate::frame::Decoder;
use crate::progress::Reporter;
use crate::protocol::{Call, Event, Protocol, Violation};
use crate::report::Report;

const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that are read before the clock is looked at again: code that floods the socket gets no more.
const BYTES_PER_STEP: usize = 4 * 1024 * 1024;

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

/// The reading side of a conversation.
pub(crate) struct Line {
    decoder: Decoder,
    protocol: Protocol,
    chunk: Vec<u8>,
    /// The interpreter, by its own word.
    pub(crate) engine: Option<String>,
    /// Whether it takes long texts beside its answers.
    pub(crate) texts: bool,
    pub(crate) inbox: Inbox,
    pub(crate) reporter: Reporter,
    /// How it ended, once it has.
    pub(crate) end: Option<End>,
}

/// Where calls go.
pub(crate) trait Desk {
    /// Calls without an answer.
    fn open(&self) -> usize;

    fn take(&self, call: Call);
}

impl Line {
    pub(crate) fn new(inbox: Inbox, reporter: Reporter) -> Self {
        Self {
            decoder: Decoder::default(),
            protocol: Protocol::default(),
            chunk: vec![0; CHUNK_BYTES],
            engine: None,
            texts: false,
            inbox,
            reporter,
            end: None,
        }
    }

    /// Takes in what there is to read, without waiting for more.
    pub(crate) fn hear(&mut self, socket: impl AsFd, desk: &impl Desk) {
        if self.end.is_none() {
            match self.read(socket, desk) {
                Ok(true) => {}
                Ok(false) => drop(self.end.get_or_insert(End::Silent)),
                Err(violation) => self.end = Some(End::Violated(violation)),
            }
        }
        self.reporter.tell(self.end.is_some());
    }

    /// `Ok(false)`: there will be no more.
    fn read(&mut self, socket: impl AsFd, desk: &impl Desk) -> Result<bool, Violation> {
        for _ in 0..BYTES_PER_STEP / CHUNK_BYTES {
            let was_all = match recv(&socket, &mut self.chunk, RecvFlags::DONTWAIT) {
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
                match self.protocol.accept(&frame, desk.open())? {
                    Event::Ready(ready) => (self.engine, self.texts) = (Some(ready.engine), ready.texts),
                    Event::Call(call) => desk.take(call),
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
