//! The frame: a 24-byte header, then the payload.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | `len` | payload bytes, little endian like every number here |
//! | 4 | 1 | `kind` | message kind, see [`crate::host`] and [`crate::runner`] |
//! | 5 | 1 | `fds` | descriptors that travel with this frame |
//! | 6 | 2 | `code` | depends on the kind: item, operation, or success flag |
//! | 8 | 8 | `call` | the call or run that this frame belongs to |
//! | 16 | 8 | `seq` | request number within the call, or a deadline |

use std::ops::Range;

/// Size of an encoded [`Header`] in bytes.
pub const HEADER_BYTES: usize = 24;

/// Payload limit of every connection unless its owner chose a lower one: 32 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 20;

/// How much a [`Decoder`] reads at once when no large frame is under way.
const READ_BYTES: usize = 64 << 10;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Payload length in bytes.
    pub len: u32,
    /// Message kind.
    pub kind: u8,
    /// Number of descriptors that travel with the frame.
    pub fds: u8,
    /// Item, operation or flag, depending on the kind.
    pub code: u16,
    /// The call or run.
    pub call: u64,
    /// Request number within the call, or a deadline.
    pub seq: u64,
}

impl Header {
    /// The header as it stands on the wire.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.fds;
        bytes[6..8].copy_from_slice(&self.code.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes
    }

    /// Reads a header; every bit pattern is one, so judging it is up to the receiver.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, kind, fds, c0, c1, rest @ ..] = *bytes;
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = rest;
        Self {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            fds,
            code: u16::from_le_bytes([c0, c1]),
            call: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            seq: u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
        }
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than the receiver accepts.
    #[error("frame of {len} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Announced payload length.
        len: usize,
        /// What the receiver accepts.
        limit: usize,
    },
}

/// Cuts a byte stream into frames without copying payloads that arrived whole.
///
/// The owner reads into [`Decoder::space`], reports the count with [`Decoder::filled`], and takes frames with
/// [`Decoder::next_frame`] until there is none.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    unread: Range<usize>,
    max_payload: usize,
}

impl Decoder {
    /// A decoder that accepts payloads up to `max_payload` bytes.
    pub fn new(max_payload: usize) -> Self {
        Self { buffer: vec![0; READ_BYTES], unread: 0..0, max_payload }
    }

    /// Room for the next read, never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        let wanted = self.missing().max(1);
        if self.buffer.len() - self.unread.end < wanted {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            let needed = self.unread.end + wanted;
            if self.buffer.len() < needed {
                self.buffer.resize(needed, 0);
            }
        }
        &mut self.buffer[self.unread.end..]
    }

    /// Records that `count` bytes were read into [`Decoder::space`].
    ///
    /// # Panics
    ///
    /// Panics if `count` is larger than that space.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.unread.end, "more bytes read than there was space for");
        self.unread.end += count;
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] as soon as a header announces too much; the connection is then of no further use.
    pub fn next_frame(&mut self) -> Result<Option<(Header, &[u8])>, FrameError> {
        let Some(header) = self.whole()? else { return Ok(None) };
        let len = header.len as usize;
        let payload = self.unread.start + HEADER_BYTES..self.unread.start + HEADER_BYTES + len;
        self.unread.start = payload.end;
        Ok(Some((header, &self.buffer[payload])))
    }

    /// Whether [`Decoder::next_frame`] has a frame to give.
    ///
    /// # Errors
    ///
    /// As [`Decoder::next_frame`].
    pub fn has_frame(&self) -> Result<bool, FrameError> {
        self.whole().map(|header| header.is_some())
    }

    /// Whether the stream may end here without having cut a frame.
    pub fn is_between_frames(&self) -> bool {
        self.unread.is_empty()
    }

    /// Gives back memory that a large frame needed; for connections that are idle most of the time.
    pub fn shrink(&mut self) {
        if self.unread.is_empty() && self.buffer.len() > READ_BYTES {
            self.buffer = vec![0; READ_BYTES];
            self.unread = 0..0;
        }
    }

    /// The header of the first frame, if all of that frame is here.
    fn whole(&self) -> Result<Option<Header>, FrameError> {
        let Some(header) = self.peek() else { return Ok(None) };
        let len = header.len as usize;
        if len > self.max_payload {
            return Err(FrameError::TooLarge { len, limit: self.max_payload });
        }
        Ok((self.unread.len() >= HEADER_BYTES + len).then_some(header))
    }

    fn peek(&self) -> Option<Header> {
        self.buffer[self.unread.clone()].first_chunk().map(Header::decode)
    }

    /// Bytes that the frame under way still lacks; a frame over the limit asks for none.
    fn missing(&self) -> usize {
        match self.peek() {
            Some(header) if header.len as usize <= self.max_payload => {
                (HEADER_BYTES + header.len as usize).saturating_sub(self.unread.len())
            }
            Some(_) => 0,
            None => HEADER_BYTES - self.unread.len().min(HEADER_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(call: u64, payload: &[u8]) -> Vec<u8> {
        let header = Header { len: payload.len() as u32, kind: 7, fds: 1, code: 300, call, seq: u64::MAX };
        [&header.encode()[..], payload].concat()
    }

    fn feed(decoder: &mut Decoder, mut bytes: &[u8], chunk: usize) -> Vec<(Header, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let space = decoder.space();
            let count = chunk.min(bytes.len()).min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            decoder.filled(count);
            bytes = &bytes[count..];
            while let Some((header, payload)) = decoder.next_frame().unwrap() {
                frames.push((header, payload.to_vec()));
            }
        }
        frames
    }

    #[test]
    fn header_survives_the_wire() {
        let header = Header { len: 1, kind: 2, fds: 3, code: 0x0405, call: 6 << 40, seq: 7 << 50 };
        assert_eq!(Header::decode(&header.encode()), header);
    }

    #[test]
    fn frames_survive_every_way_of_cutting_the_stream() {
        let large = vec![0x5a; 3 * READ_BYTES];
        let stream = [frame(1, b""), frame(2, b"two"), frame(3, &large), frame(4, b"four")].concat();
        for chunk in [1, 7, 24, 25, 4096, stream.len()] {
            let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
            let frames = feed(&mut decoder, &stream, chunk);
            let calls: Vec<u64> = frames.iter().map(|(header, _)| header.call).collect();
            assert_eq!(calls, [1, 2, 3, 4], "cut every {chunk} bytes");
            assert_eq!(frames[2].1, large);
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_memory_is_taken() {
        let mut decoder = Decoder::new(1000);
        let header = Header { len: u32::MAX, kind: 1, ..Header::default() };
        let space = decoder.space();
        space[..HEADER_BYTES].copy_from_slice(&header.encode());
        decoder.filled(HEADER_BYTES);
        let limit = FrameError::TooLarge { len: u32::MAX as usize, limit: 1000 };
        assert_eq!(decoder.next_frame().unwrap_err(), limit);
        assert!(decoder.space().len() <= READ_BYTES);
    }

    #[test]
    fn a_cut_frame_is_noticed() {
        let mut decoder = Decoder::new(1000);
        let bytes = frame(1, b"hello");
        assert!(feed(&mut decoder, &bytes[..bytes.len() - 1], 100).is_empty());
        assert!(!decoder.is_between_frames());
    }

    #[test]
    fn shrinking_keeps_what_is_unread() {
        let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
        feed(&mut decoder, &frame(1, &vec![1; 1 << 20]), 1 << 20);
        decoder.shrink();
        assert_eq!(decoder.buffer.len(), READ_BYTES);
        assert_eq!(feed(&mut decoder, &frame(2, b"x"), 5).len(), 1);
    }
}
