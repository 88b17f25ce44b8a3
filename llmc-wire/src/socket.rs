//! Blocking ends of a connection, with descriptors: what the host and the runner use.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::frame::{Decoder, Header};

/// Most descriptors that one frame may carry.
pub const MAX_FDS: usize = 128;

/// Bytes of frames that may wait for others.
const MAX_WAITING_BYTES: usize = 64 << 10;

/// A received frame.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// How far [`Receiver::fill_now`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The socket holds nothing more.
    Everything,
    /// There may be more.
    Something,
    /// The stream has ended.
    End,
}

/// Receives frames from a peer that is trusted to send descriptors.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<UnixStream>,
    decoder: Decoder,
    fds: VecDeque<OwnedFd>,
}

/// Sends frames; clones share the stream and never mix their frames.
#[derive(Clone, Debug)]
pub struct Sender {
    stream: Arc<UnixStream>,
    /// Frames that wait for the next one that is sent.
    waiting: Arc<Mutex<Vec<u8>>>,
}

/// Splits a stream into its two directions.
pub fn split(stream: UnixStream, max_payload: usize) -> (Sender, Receiver) {
    let stream = Arc::new(stream);
    let sender = Sender { stream: Arc::clone(&stream), waiting: Arc::default() };
    (sender, Receiver { stream, decoder: Decoder::new(max_payload), fds: VecDeque::new() })
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Receiver {
    /// Waits for the next frame; `None` is the end of the stream.
    ///
    /// # Errors
    ///
    /// The socket's error; `InvalidData` for a frame over the limit or one that lacks its descriptors;
    /// `UnexpectedEof` when the stream ends within a frame.
    pub fn receive(&mut self) -> io::Result<Option<Frame<'_>>> {
        loop {
            if self.has_frame()? {
                return self.take();
            }
            if !self.fill()? {
                return if self.decoder.is_between_frames() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Takes a frame that has already arrived, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Receiver::receive`].
    pub fn take(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some((header, payload)) = self.decoder.next_frame().map_err(invalid)? else { return Ok(None) };
        let count = usize::from(header.fds);
        if self.fds.len() < count {
            return Err(invalid("frame lacks its descriptors"));
        }
        Ok(Some(Frame { header, payload, fds: self.fds.drain(..count).collect() }))
    }

    /// Reads once; `false` is the end of the stream.
    ///
    /// # Errors
    ///
    /// The socket's error.
    pub fn fill(&mut self) -> io::Result<bool> {
        let count = receive_with_fds(&*self.stream, self.decoder.space(), &mut self.fds)?;
        self.decoder.filled(count);
        Ok(count > 0)
    }

    /// Reads what has already arrived, without waiting.
    ///
    /// # Errors
    ///
    /// The socket's error.
    pub fn fill_now(&mut self) -> io::Result<Filled> {
        let space = self.decoder.space();
        let (room, fds_before) = (space.len(), self.fds.len());
        match receive(&*self.stream, space, &mut self.fds, RecvFlags::DONTWAIT) {
            Ok(0) => Ok(Filled::End),
            Ok(count) => {
                self.decoder.filled(count);
                // A read ends early where descriptors came with the bytes, see `unix(7)`.
                let is_empty = count < room && self.fds.len() == fds_before;
                Ok(if is_empty { Filled::Everything } else { Filled::Something })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Filled::Everything),
            Err(error) => Err(error),
        }
    }

    /// Gives back memory that a large frame needed.
    pub fn shrink(&mut self) {
        self.decoder.shrink();
    }

    fn has_frame(&self) -> io::Result<bool> {
        self.decoder.has_frame().map_err(invalid)
    }
}

impl Sender {
    /// Sends one frame; `header.len` and `header.fds` are set here.
    ///
    /// # Errors
    ///
    /// The socket's error; `InvalidInput` for a payload of 4 GiB or more than [`MAX_FDS`] descriptors.
    pub fn send(&self, header: Header, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let header = sized(header, payload, fds)?.encode();
        let mut waiting = self.waiting();
        if !waiting.is_empty() {
            self.write_all(&waiting, &[], &[])?;
            waiting.clear();
            waiting.shrink_to(MAX_WAITING_BYTES);
        }
        self.write_all(&header, payload, fds)
    }

    /// Keeps a small frame until [`Sender::flush`] or the next frame that is sent; a large one is sent at once.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub fn send_later(&self, header: Header, payload: &[u8]) -> io::Result<()> {
        let mut waiting = self.waiting();
        if waiting.len() + payload.len() > MAX_WAITING_BYTES {
            drop(waiting);
            return self.send(header, payload, &[]);
        }
        waiting.extend_from_slice(&sized(header, payload, &[])?.encode());
        waiting.extend_from_slice(payload);
        Ok(())
    }

    /// Sends the frames that were kept.
    ///
    /// # Errors
    ///
    /// The socket's error.
    pub fn flush(&self) -> io::Result<()> {
        let mut waiting = self.waiting();
        self.write_all(&waiting, &[], &[])?;
        waiting.clear();
        Ok(())
    }

    fn write_all(&self, header: &[u8], payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut sent = 0;
        while sent < header.len() + payload.len() {
            let fds = if sent == 0 { fds } else { &[] };
            let head = &header[sent.min(header.len())..];
            let body = &payload[sent.saturating_sub(header.len())..];
            sent += match send_with_fds(&*self.stream, &[IoSlice::new(head), IoSlice::new(body)], fds) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                result => result?,
            };
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills in the lengths that a header announces.
///
/// # Errors
///
/// `InvalidInput` for a payload of 4 GiB or more than [`MAX_FDS`] descriptors.
pub fn sized(header: Header, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Header> {
    let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "frame is too large to send");
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one frame"));
    }
    let len = u32::try_from(payload.len()).map_err(too_large)?;
    Ok(Header { len, fds: u8::try_from(fds.len()).map_err(too_large)?, ..header })
}

/// One `sendmsg(2)` of bytes and descriptors; returns the number of bytes sent.
///
/// # Errors
///
/// The system call's error, `EAGAIN` on a non-blocking socket included.
pub fn send_with_fds(socket: impl AsFd, bytes: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::net::sendmsg(socket, bytes, &mut control, SendFlags::NOSIGNAL)?)
}

/// One `recvmsg(2)`; received descriptors are close-on-exec and are appended to `fds`.
///
/// # Errors
///
/// The system call's error, `EAGAIN` on a non-blocking socket included; `EINTR` is retried.
pub fn receive_with_fds(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    receive(socket, buffer, fds, RecvFlags::empty())
}

fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
    flags: RecvFlags,
) -> io::Result<usize> {
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(message) => {
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = part {
                        fds.extend(received);
                    }
                }
                if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
                    return Err(io::Error::other("descriptors were lost: this process may not open more"));
                }
                return Ok(message.bytes);
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::frame::MAX_PAYLOAD_BYTES;

    #[test]
    fn descriptors_arrive_with_their_frame() {
        let (left, right) = UnixStream::pair().unwrap();
        let (sender, _keep) = split(left, MAX_PAYLOAD_BYTES);
        let (_keep2, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        let (mut reader, writer) = io::pipe().unwrap();

        sender.send(Header { kind: 1, ..Header::default() }, b"no descriptor", &[]).unwrap();
        sender.send(Header { kind: 2, ..Header::default() }, b"one", &[writer.as_fd()]).unwrap();
        drop(writer);

        assert!(receiver.receive().unwrap().unwrap().fds.is_empty());
        let frame = receiver.receive().unwrap().unwrap();
        assert_eq!((frame.payload, frame.fds.len()), (&b"one"[..], 1));
        let mut passed = std::fs::File::from(frame.fds.into_iter().next().unwrap());
        passed.write_all(b"through the passed end").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the passed end");
    }

    #[test]
    fn what_has_arrived_is_read_without_waiting_and_to_its_end() {
        let (left, right) = UnixStream::pair().unwrap();
        let (sender, _keep) = split(left, MAX_PAYLOAD_BYTES);
        let (_keep2, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        assert_eq!(receiver.fill_now().unwrap(), Filled::Everything);

        let (reader, _writer) = io::pipe().unwrap();
        sender
            .send(Header { kind: 1, ..Header::default() }, b"with a descriptor", &[reader.as_fd()])
            .unwrap();
        sender.send(Header { kind: 2, ..Header::default() }, b"after it", &[]).unwrap();
        let mut kinds = Vec::new();
        loop {
            let filled = receiver.fill_now().unwrap();
            while let Some(frame) = receiver.take().unwrap() {
                kinds.push((frame.header.kind, frame.fds.len()));
            }
            if filled == Filled::Everything {
                break;
            }
        }
        assert_eq!(kinds, [(1, 1), (2, 0)]);

        drop(sender);
        drop(_keep);
        assert_eq!(receiver.fill_now().unwrap(), Filled::End);
    }

    #[test]
    fn kept_frames_go_before_the_next_one_and_in_one_piece() {
        let (left, right) = UnixStream::pair().unwrap();
        let (sender, _keep) = split(left, MAX_PAYLOAD_BYTES);
        let (_keep2, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        let header = |call| Header { kind: 1, call, ..Header::default() };
        sender.send_later(header(0), b"zero").unwrap();
        sender.send_later(header(1), b"one").unwrap();
        assert_eq!(receiver.fill_now().unwrap(), Filled::Everything);
        assert!(receiver.take().unwrap().is_none(), "nothing was sent yet");
        sender.flush().unwrap();
        sender.flush().unwrap();
        assert_eq!(receiver.fill_now().unwrap(), Filled::Everything);
        sender.send_later(header(2), b"two").unwrap();
        sender.send(header(3), b"three", &[]).unwrap();
        sender.send_later(header(4), &vec![0; MAX_WAITING_BYTES + 1]).unwrap();
        let calls: Vec<u64> = (0..5).map(|_| receiver.receive().unwrap().unwrap().header.call).collect();
        assert_eq!(calls, [0, 1, 2, 3, 4], "a large frame does not wait");
    }

    #[test]
    fn a_large_frame_crosses_a_small_socket_buffer() {
        let (left, right) = UnixStream::pair().unwrap();
        let (sender, _keep) = split(left, MAX_PAYLOAD_BYTES);
        let (_keep2, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        let payload = vec![7; 4 << 20];
        let expected = payload.clone();
        let writer = std::thread::spawn(move || sender.send(Header::default(), &payload, &[]));
        assert_eq!(receiver.receive().unwrap().unwrap().payload, expected);
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn the_end_of_the_stream_is_told_from_a_cut_frame() {
        let (left, right) = UnixStream::pair().unwrap();
        let (_sender, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        drop(left);
        assert!(receiver.receive().unwrap().is_none());

        let (mut left, right) = UnixStream::pair().unwrap();
        let (_sender, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        left.write_all(&[1, 2, 3]).unwrap();
        drop(left);
        assert_eq!(receiver.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_announced_descriptor_that_did_not_come_is_an_error() {
        let (mut left, right) = UnixStream::pair().unwrap();
        let (_sender, mut receiver) = split(right, MAX_PAYLOAD_BYTES);
        left.write_all(&Header { fds: 1, ..Header::default() }.encode()).unwrap();
        assert_eq!(receiver.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
