//! Keeps the beginning and the end of a stream, and counts the rest.

use std::collections::VecDeque;

/// A stream as it comes in. Memory stays within what it may keep.
#[derive(Debug)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_room: usize,
    tail_room: usize,
    bytes: u64,
}

/// A stream that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// What was kept; a line in the middle tells what was not.
    pub text: String,
    /// How long the stream was.
    pub bytes: u64,
    /// How much of it is not in `text`.
    pub omitted_bytes: u64,
    /// Whether some bytes were not UTF-8 and became `U+FFFD`.
    pub lossy: bool,
}

impl Capture {
    /// Keeps `keep_bytes`: half from the beginning, half from the end.
    pub fn new(keep_bytes: usize) -> Self {
        let tail_room = keep_bytes / 2;
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_room: keep_bytes - tail_room,
            tail_room,
            bytes: 0,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_room - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.tail_room)..];
        let surplus = (self.tail.len() + rest.len()).saturating_sub(self.tail_room);
        self.tail.drain(..surplus);
        self.tail.extend(rest);
    }

    /// Number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Turns what was kept into text.
    pub fn finish(self) -> Captured {
        let Self { mut head, tail, bytes, .. } = self;
        let tail = Vec::from(tail);
        if (head.len() + tail.len()) as u64 == bytes {
            head.extend_from_slice(&tail);
            let (text, lossy) = text_of(head);
            return Captured { text, bytes, omitted_bytes: 0, lossy };
        }
        // A character that the cut went through is left out as a whole.
        head.truncate(head.len() - unfinished_bytes(&head));
        let tail = &tail[stray_bytes(&tail)..];
        let omitted_bytes = bytes - (head.len() + tail.len()) as u64;
        let (head, head_lossy) = text_of(head);
        let (tail, tail_lossy) = text_of(tail.to_vec());
        let line_end = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
        let text = format!("{head}{line_end}[... {omitted_bytes} bytes left out ...]\n{tail}");
        Captured { text, bytes, omitted_bytes, lossy: head_lossy || tail_lossy }
    }
}

fn text_of(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    }
}

/// Length of a UTF-8 sequence at the end of `bytes` that lacks its last bytes.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    last.map_or(0, |chunk| if is_unfinished(chunk.invalid()) { chunk.invalid().len() } else { 0 })
}

/// Whether `invalid` is the beginning of a longer sequence rather than wrong.
fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

/// Number of continuation bytes at the start of `bytes`.
fn stray_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| (0x80..0xC0).contains(*byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(keep_bytes: usize, chunks: &[&[u8]]) -> Captured {
        let mut capture = Capture::new(keep_bytes);
        chunks.iter().for_each(|chunk| capture.push(chunk));
        capture.finish()
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let whole = captured(10, &[b"01234", b"567", b"", b"89"]);
        assert_eq!(whole, Captured { text: "0123456789".into(), bytes: 10, omitted_bytes: 0, lossy: false });
        assert_eq!(captured(10, &[]), Captured::default());
    }

    #[test]
    fn one_byte_too_many_is_counted() {
        let cut = captured(10, &[b"0123456789a"]);
        assert_eq!(cut.text, "01234\n[... 1 bytes left out ...]\n6789a");
        assert_eq!((cut.bytes, cut.omitted_bytes), (11, 1));
    }

    #[test]
    fn chunks_do_not_change_the_outcome() {
        let stream: Vec<u8> = (0..1000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let whole = captured(64, &[&stream]);
        for size in [1, 2, 3, 31, 32, 33, 64, 500] {
            assert_eq!(captured(64, &stream.chunks(size).collect::<Vec<_>>()), whole, "chunks of {size}");
        }
        assert!(whole.text.ends_with("998\n999\n"));
        assert_eq!(whole.omitted_bytes, stream.len() as u64 - 64);
    }

    #[test]
    fn a_cut_never_breaks_a_character() {
        for keep_bytes in 0..24 {
            let cut = captured(keep_bytes, &["äöü€😀".repeat(4).as_bytes()]);
            assert!(!cut.lossy, "{keep_bytes}: {}", cut.text);
            let (head, tail) = cut.text.split_once("[...").unwrap();
            let tail = tail.split_once("...]\n").unwrap().1;
            let kept = head.trim_end().len() + tail.len();
            assert_eq!(kept as u64 + cut.omitted_bytes, cut.bytes, "{keep_bytes}: {}", cut.text);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_marked() {
        let broken = captured(10, &[b"a\xFFb"]);
        assert_eq!(broken.text, "a\u{FFFD}b");
        assert!(broken.lossy);
        // Unfinished at the very end of the stream: nobody cut it, so it counts as broken.
        assert!(captured(10, &[b"a\xE2\x82"]).lossy);
    }
}
