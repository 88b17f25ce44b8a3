//! Frames on their way to a host or to the runner.
//!
//! A frame is written at once where the socket takes it; what it does not take is written by a task, in order, so
//! nobody who sends has to wait or can leave a frame half written. Frames that may wait for others go out together:
//! one system call, and one wake-up of the receiver, for all that the server has to say at a moment.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_wire::Header;
use llmc_wire::socket::sized;

use crate::socket::Socket;

/// How long a frame waits for others.
const PATIENCE: Duration = Duration::from_micros(20);

/// The sending side of a socket; clones share it.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Shared>);

struct Shared {
    socket: Arc<Socket>,
    /// How long a frame waits for others.
    patience: Duration,
    queue: Mutex<Queue>,
}

/// What has not been written yet. While there is something, exactly one task is about to write it.
#[derive(Default)]
struct Queue {
    parts: VecDeque<Part>,
    /// When the frames that wait for others began to wait.
    since: Option<Instant>,
    is_broken: bool,
}

/// Bytes, and the descriptors that travel with the first of them.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// How far a write came.
enum Written {
    Everything,
    /// The socket takes no more at the moment.
    Blocked,
}

impl Outbox {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self::with_patience(socket, PATIENCE)
    }

    fn with_patience(socket: Arc<Socket>, patience: Duration) -> Self {
        Self(Arc::new(Shared { socket, patience, queue: Mutex::default() }))
    }

    /// Sends a frame. It may still be on its way when this returns.
    ///
    /// # Errors
    ///
    /// When the frame is too large, a descriptor cannot be copied, or the socket is broken; its reader is told then.
    pub(crate) fn send(&self, header: Header, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let header = sized(header, payload, fds)?.encode();
        let mut queue = self.open_queue()?;
        if !queue.parts.is_empty() {
            queue.push(&header, payload, fds)?;
            return Ok(());
        }
        let parts = [IoSlice::new(&header), IoSlice::new(payload)];
        match self.0.socket.send(&parts, fds) {
            Ok(sent) if sent == header.len() + payload.len() => return Ok(()),
            // The descriptors went with the first byte.
            Ok(sent) => queue.push(
                &header[sent.min(header.len())..],
                &payload[sent.saturating_sub(header.len())..],
                &[],
            )?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => queue.push(&header, payload, fds)?,
            Err(error) => {
                self.0.give_up(&mut queue);
                return Err(error);
            }
        }
        drop(queue);
        self.write_later();
        Ok(())
    }

    /// Sends a frame together with those that others, who are ready to run now, send within [`PATIENCE`].
    ///
    /// # Errors
    ///
    /// As [`Outbox::send`].
    pub(crate) fn send_with_others(&self, header: Header, payload: &[u8]) -> io::Result<()> {
        let header = sized(header, payload, &[])?.encode();
        let mut queue = self.open_queue()?;
        let is_first = queue.parts.is_empty();
        queue.push(&header, payload, &[])?;
        if is_first {
            queue.since = Some(Instant::now());
            drop(queue);
            self.write_later();
        } else if queue.since.is_some_and(|since| since.elapsed() > self.0.patience) {
            // The receiver could be at work meanwhile. What cannot be written now is left to the task.
            self.0.write_parts(&mut queue);
            queue.since = Some(Instant::now());
        }
        Ok(())
    }

    fn write_later(&self) {
        // Without a runtime the server is at its end, and so are those who would receive this.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.clone().write_out());
        }
    }

    async fn write_out(self) {
        tokio::task::yield_now().await;
        while matches!(self.0.write_parts(&mut self.0.queue()), Written::Blocked) {
            if self.0.socket.room().await.is_err() {
                self.0.give_up(&mut self.0.queue());
            }
        }
    }

    fn open_queue(&self) -> io::Result<MutexGuard<'_, Queue>> {
        let queue = self.0.queue();
        if queue.is_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(queue) }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_parts(&self, queue: &mut Queue) -> Written {
        while let Some(part) = queue.parts.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = part.fds.iter().map(AsFd::as_fd).collect();
            match self.socket.send(&[IoSlice::new(&part.bytes[part.sent..])], &fds) {
                Ok(sent) => {
                    part.sent += sent;
                    part.fds.clear();
                    if part.sent == part.bytes.len() {
                        queue.parts.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.give_up(queue),
            }
        }
        Written::Everything
    }

    /// The next header would be taken for the rest of a frame that was cut: nothing more is sent, and whoever reads
    /// this socket sees its end and tells everyone.
    fn give_up(&self, queue: &mut Queue) {
        *queue = Queue { is_broken: true, ..Queue::default() };
        self.socket.shut_down();
    }
}

impl Queue {
    /// Appends to the last part, or begins a new one if descriptors have to go with these bytes.
    fn push(&mut self, header: &[u8], payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if self.parts.is_empty() || !fds.is_empty() {
            let fds = fds.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?;
            self.parts.push_back(Part { fds, ..Part::default() });
        }
        if let Some(part) = self.parts.back_mut() {
            part.bytes.extend_from_slice(header);
            part.bytes.extend_from_slice(payload);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use llmc_wire::frame::MAX_PAYLOAD_BYTES;
    use llmc_wire::socket::{Receiver, split};

    use super::*;

    fn pair() -> (Outbox, Receiver) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(Arc::new(Socket::new(ours).unwrap()));
        (outbox, split(theirs, MAX_PAYLOAD_BYTES).1)
    }

    fn header(call: u64) -> Header {
        Header { kind: 1, call, ..Header::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn frames_arrive_whole_and_in_order_however_they_were_sent() {
        let (outbox, mut receiver) = pair();
        let reader = tokio::task::spawn_blocking(move || {
            (0..300_u64)
                .map(|_| {
                    let frame = receiver.receive().unwrap().unwrap();
                    assert!(frame.payload.iter().all(|byte| u64::from(*byte) == frame.header.call % 251));
                    (frame.header.call, frame.payload.len(), frame.fds.len())
                })
                .collect::<Vec<_>>()
        });
        let (pipe, _writer) = io::pipe().unwrap();
        // Small ones, ones that fill the socket's buffer, and some with a descriptor.
        let size = |call: u64| if call % 50 == 49 { 900_000 } else { 100 };
        for call in 0..300_u64 {
            let payload = vec![(call % 251) as u8; size(call)];
            match call % 3 {
                0 => outbox.send(header(call), &payload, &[]).unwrap(),
                1 => outbox.send_with_others(header(call), &payload).unwrap(),
                _ => outbox.send(header(call), &payload, &[pipe.as_fd()]).unwrap(),
            }
        }
        let expected: Vec<_> = (0..300).map(|call| (call, size(call), usize::from(call % 3 == 2))).collect();
        assert_eq!(reader.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn frames_that_wait_for_others_go_out_in_one_piece() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // Longer than this thread is ever kept from going on.
        let patience = Duration::from_secs(3600);
        let outbox = Outbox::with_patience(Arc::new(Socket::new(ours).unwrap()), patience);
        for call in 0..10 {
            outbox.send_with_others(header(call), b"payload").unwrap();
        }
        theirs.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        assert_eq!(theirs.read(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(theirs.read(&mut bytes).unwrap(), 10 * (24 + 7));
    }

    #[tokio::test]
    async fn a_peer_that_left_is_an_error_and_the_end_for_our_reader() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = Arc::new(Socket::new(ours).unwrap());
        let outbox = Outbox::new(Arc::clone(&socket));
        drop(theirs);
        assert!(outbox.send(header(1), b"", &[]).is_err());
        assert!(outbox.send(header(2), b"", &[]).is_err());
        assert_eq!(socket.receive(|fd| Ok(rustix::io::read(fd, &mut [0])?)).await.unwrap(), 0);
    }
}
