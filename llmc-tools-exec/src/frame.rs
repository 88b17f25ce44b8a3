//! Frames on the job socket: length of the body (u32, big-endian), kind (one byte), body (JSON, or a text).
//!
//! Pure functions. The decoder is total: any bytes give frames or a [`FrameError`], and nothing is kept beyond one
//! frame of the allowed length.

use crate::limits::MAX_FRAME_BYTES;

const HEADER_BYTES: usize = 5;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The interpreter is ready for the job.
    Ready,
    /// The job.
    Job,
    /// The code calls a tool.
    Call,
    /// A long text of the answer that follows.
    Text,
    /// The answer to a call.
    Reply,
    /// How far the code is.
    Progress,
    /// A result file.
    File,
    /// The job is done.
    Done,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes, at most {MAX_FRAME_BYTES} are allowed")]
    TooLong(usize),
    #[error("a frame of unknown kind {0:#04x}")]
    UnknownKind(u8),
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ready => b'r',
            Self::Job => b'J',
            Self::Call => b'C',
            Self::Text => b'T',
            Self::Reply => b'R',
            Self::Progress => b'P',
            Self::File => b'F',
            Self::Done => b'D',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Call, Done, File, Job, Progress, Ready, Reply, Text};
        [Ready, Job, Call, Text, Reply, Progress, File, Done].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The bytes of a frame. `body` is ours and shorter than 4 GiB.
pub(crate) fn encode(kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("replies and jobs are capped far below 4 GiB");
    [&length.to_be_bytes()[..], &[kind.byte()], body].concat()
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes the next bytes of the stream. Call [`next`](Self::next) until it has no more, then push again.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. A header is judged as soon as it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [a, b, c, d, kind] = *header;
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let after = self.buffer.split_off(HEADER_BYTES + length);
        let mut body = std::mem::replace(&mut self.buffer, after);
        body.drain(..HEADER_BYTES);
        Ok(Some(Frame { kind, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn sample() -> (Vec<Frame>, Vec<u8>) {
        let frame = |kind, body: &[u8]| Frame { kind, body: body.to_vec() };
        let frames = vec![
            frame(Kind::Ready, b"{}"),
            frame(Kind::Call, b""),
            frame(Kind::Done, &[b' '; 300]),
            frame(Kind::Job, b"1"),
            frame(Kind::Reply, b"2"),
        ];
        let bytes = frames.iter().flat_map(|frame| encode(frame.kind, &frame.body)).collect();
        (frames, bytes)
    }

    #[test]
    fn frames_survive_any_cut() {
        let (frames, bytes) = sample();
        for size in 1..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(decode(&chunks).as_ref(), Ok(&frames), "chunks of {size}");
        }
    }

    #[test]
    fn a_frame_without_its_end_is_awaited() {
        let (frames, bytes) = sample();
        for end in 0..bytes.len() {
            let decoded = decode(&[&bytes[..end]]).unwrap();
            assert!(frames.starts_with(&decoded) && decoded.len() < frames.len(), "up to {end}");
        }
    }

    #[test]
    fn the_longest_frame_passes_and_a_longer_one_is_refused_by_its_header() {
        let longest = encode(Kind::Call, &vec![b'x'; MAX_FRAME_BYTES]);
        assert_eq!(decode(&[&longest]).unwrap()[0].body.len(), MAX_FRAME_BYTES);
        let header = |length: u32, kind| [&length.to_be_bytes()[..], &[kind]].concat();
        let most = MAX_FRAME_BYTES as u32;
        assert_eq!(decode(&[&header(most, b'C')]), Ok(vec![]));
        assert_eq!(decode(&[&header(most + 1, b'C')]), Err(FrameError::TooLong(MAX_FRAME_BYTES + 1)));
        assert_eq!(decode(&[&header(u32::MAX, b'D')]), Err(FrameError::TooLong(u32::MAX as usize)));
        assert_eq!(decode(&[&header(0, 0)]), Err(FrameError::UnknownKind(0)));
    }

    #[test]
    fn garbage_is_refused_or_awaited_and_never_kept_beyond_a_frame() {
        // A small generator of the same garbage every time.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2000 {
            let mut decoder = Decoder::default();
            for _ in 0..8 {
                let mut chunk: Vec<u8> = (0..random() % 64).map(|_| random() as u8).collect();
                if random() % 2 == 0 {
                    // Mostly right: a good header in front of noise.
                    let length = (random() % 40) as u32;
                    let kind = *b"rJCTRPFD".get((random() % 8) as usize).unwrap();
                    chunk.splice(0..0, [&length.to_be_bytes()[..], &[kind]].concat());
                }
                decoder.push(&chunk);
                loop {
                    match decoder.next() {
                        Ok(Some(frame)) => assert!(frame.body.len() <= MAX_FRAME_BYTES),
                        Ok(None) => break,
                        Err(_) => decoder = Decoder::default(),
                    }
                }
            }
        }
    }
}
