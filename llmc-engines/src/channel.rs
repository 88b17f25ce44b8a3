//! Frames on the job socket: length of the body (u32, big-endian), kind (one byte), body (JSON).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::Spent;
use crate::clock::Clock;

/// Longest frame that the other side takes, in bytes, its header not counted.
pub(crate) const MAX_SENT_BYTES: usize = 1 << 20;
/// Longest frame that is taken from the other side, in bytes: the answer to a call, or a job.
const MAX_RECEIVED_BYTES: usize = 16 << 20;
const HEADER_BYTES: usize = 5;
const CHUNK_BYTES: usize = 64 * 1024;

/// The job socket.
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The other side is gone, or talks nonsense.
    Closed,
    /// The time is over.
    Spent(Spent),
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends a frame. `body` has at most [`MAX_SENT_BYTES`].
    pub(crate) fn send(&self, kind: u8, body: &[u8]) -> Result<(), Interrupted> {
        let length = u32::try_from(body.len()).map_err(|_| Interrupted::Closed)?;
        let frame = [&length.to_be_bytes()[..], &[kind], body].concat();
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.socket, rest));
            rest = &rest[count.map_err(|_| Interrupted::Closed)?..];
        }
        Ok(())
    }

    /// Waits for a frame of this kind until the time is over.
    pub(crate) fn receive(&self, kind: u8, clock: &Clock) -> Result<Vec<u8>, Interrupted> {
        let header = self.read(HEADER_BYTES, clock)?;
        let Ok([a, b, c, d, found]) = <[u8; HEADER_BYTES]>::try_from(&header[..]) else {
            return Err(Interrupted::Closed);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if found != kind || length > MAX_RECEIVED_BYTES {
            return Err(Interrupted::Closed);
        }
        self.read(length, clock)
    }

    fn read(&self, count: usize, clock: &Clock) -> Result<Vec<u8>, Interrupted> {
        let mut bytes = Vec::with_capacity(count);
        let mut chunk = vec![0; count.min(CHUNK_BYTES)];
        while bytes.len() < count {
            let wanted = (count - bytes.len()).min(chunk.len());
            match read_in_time(self.socket.as_fd(), &mut chunk[..wanted], clock) {
                Ok(0) => return Err(Interrupted::Closed),
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(interrupted) => return Err(interrupted),
            }
        }
        Ok(bytes)
    }
}

/// Reads all there is until the other end closes; what was read is kept when the time is over.
pub(crate) fn read_to_end(fd: BorrowedFd<'_>, clock: &Clock) -> (Vec<u8>, Option<Spent>) {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match read_in_time(fd, &mut chunk, clock) {
            Ok(0) | Err(Interrupted::Closed) => return (bytes, None),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(Interrupted::Spent(spent)) => return (bytes, Some(spent)),
        }
    }
}

fn read_in_time(fd: BorrowedFd<'_>, buffer: &mut [u8], clock: &Clock) -> Result<usize, Interrupted> {
    loop {
        let left = clock.wall_left();
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => {
                if let Some(spent) = clock.check() {
                    return Err(Interrupted::Spent(spent));
                }
            }
            Ok(_) => {
                let read = rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer));
                return read.map_err(|_| Interrupted::Closed);
            }
            Err(Errno::INTR) => {}
            Err(_) => return Err(Interrupted::Closed),
        }
    }
}
