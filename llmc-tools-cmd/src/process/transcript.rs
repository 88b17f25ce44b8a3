//! What a process has printed, in order of arrival: the last part of it, by position.
//!
//! A position counts bytes from the start, of both streams together. Reading changes nothing, so the same position
//! gives the same bytes as long as they are kept. Pure: no clock, no descriptor.

use std::collections::VecDeque;

/// Changes from one stream to the other that are remembered; output before them is given up. A program that prints a
/// byte here and a byte there must not take many times its bytes in memory.
const MAX_PIECES: usize = 16_384;

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    /// Both at once.
    Terminal,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Terminal => "terminal",
        }
    }
}

/// A ring of bytes and where they came from.
#[derive(Debug)]
pub(super) struct Transcript {
    bytes: VecDeque<u8>,
    /// Position of the first byte that is kept.
    start: u64,
    /// Runs of bytes of one stream, each with the position after it.
    pieces: VecDeque<(Stream, u64)>,
    capacity_bytes: usize,
}

/// What was read from a position on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// Runs of `text` by stream, with their lengths in bytes of `text`.
    pub(super) pieces: Vec<(&'static str, usize)>,
    /// Where the next read goes on.
    pub(super) cursor: u64,
    /// Bytes between the position that was asked for and `text`, which are not kept any more.
    pub(super) omitted_bytes: u64,
    /// Bytes after `cursor`.
    pub(super) unread_bytes: u64,
    /// Whether bytes that are not UTF-8 became `U+FFFD`.
    pub(super) lossy: bool,
}

impl Transcript {
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self { bytes: VecDeque::new(), start: 0, pieces: VecDeque::new(), capacity_bytes }
    }

    /// Position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Takes the next bytes; the oldest make room.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend(bytes);
        let end = self.end();
        match self.pieces.back_mut() {
            Some((last, until)) if *last == stream => *until = end,
            _ => self.pieces.push_back((stream, end)),
        }
        let surplus = self.bytes.len().saturating_sub(self.capacity_bytes);
        self.forget(self.start + surplus as u64);
        if self.pieces.len() > MAX_PIECES {
            let oldest = self.pieces[self.pieces.len() - MAX_PIECES - 1].1;
            self.forget(oldest);
        }
    }

    /// Drops everything before a position.
    fn forget(&mut self, until: u64) {
        let count = usize::try_from(until - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..count);
        self.start = until;
        while self.pieces.front().is_some_and(|(_, end)| *end <= until) {
            self.pieces.pop_front();
        }
    }

    /// Reads up to `max_bytes` from a position on; `None` for a position beyond the end. A character is not cut apart:
    /// one that is not complete is left for the next read, unless `is_over`, when nothing more can come.
    pub(super) fn read(&self, from: u64, max_bytes: usize, is_over: bool) -> Option<Excerpt> {
        let end = self.end();
        if from > end {
            return None;
        }
        let mut begin = from.max(self.start);
        if begin > from {
            begin += self.stray_bytes();
        }
        let mut until = end.min(begin + max_bytes as u64);
        if until < end || !is_over {
            until -= self.unfinished_bytes(begin, until);
        }
        let mut excerpt = Excerpt {
            cursor: until,
            omitted_bytes: begin - from,
            unread_bytes: end - until,
            ..Excerpt::default()
        };
        let mut at = begin;
        for (stream, piece_end) in self.pieces.iter().filter(|(_, piece_end)| *piece_end > begin) {
            if at >= until {
                break;
            }
            let to = until.min(*piece_end);
            excerpt.append(stream.name(), &self.range(at, to));
            at = to;
        }
        Some(excerpt)
    }

    fn range(&self, from: u64, to: u64) -> Vec<u8> {
        let place = |position: u64| usize::try_from(position - self.start).unwrap_or(usize::MAX);
        self.bytes
            .range(place(from).min(self.bytes.len())..place(to).min(self.bytes.len()))
            .copied()
            .collect()
    }

    /// Bytes at the start that belong to a character whose beginning was dropped.
    fn stray_bytes(&self) -> u64 {
        self.bytes.iter().take(3).take_while(|byte| (0x80..0xC0).contains(*byte)).count() as u64
    }

    /// Length of the beginning of a character in front of `until`.
    fn unfinished_bytes(&self, begin: u64, until: u64) -> u64 {
        let tail = self.range(until.saturating_sub(3).max(begin), until);
        let invalid = tail.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let is_beginning = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if is_beginning { invalid.len() as u64 } else { 0 }
    }
}

impl Excerpt {
    fn append(&mut self, stream: &'static str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.lossy |= matches!(text, std::borrow::Cow::Owned(_));
        self.text.push_str(&text);
        self.pieces.push((stream, text.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(capacity_bytes: usize, pieces: &[(Stream, &str)]) -> Transcript {
        let mut transcript = Transcript::new(capacity_bytes);
        pieces.iter().for_each(|(stream, text)| transcript.push(*stream, text.as_bytes()));
        transcript
    }

    /// Reads everything in steps.
    fn walk(transcript: &Transcript, max_bytes: usize) -> (String, u64) {
        let (mut text, mut cursor, mut omitted) = (String::new(), 0, 0);
        loop {
            let excerpt = transcript.read(cursor, max_bytes, true).unwrap();
            assert!(excerpt.text.len() <= max_bytes, "{excerpt:?}");
            assert_eq!(excerpt.pieces.iter().map(|(_, bytes)| bytes).sum::<usize>(), excerpt.text.len());
            text.push_str(&excerpt.text);
            omitted += excerpt.omitted_bytes;
            cursor = excerpt.cursor;
            if excerpt.unread_bytes == 0 {
                assert_eq!(cursor, transcript.end());
                return (text, omitted);
            }
        }
    }

    use Stream::{Stderr, Stdout};

    #[test]
    fn reading_in_steps_loses_and_repeats_nothing() {
        let lines: String = (0..2000).map(|number| format!("{number} äöü€😀\n")).collect();
        let mut transcript = Transcript::new(1 << 20);
        for (index, chunk) in lines.as_bytes().chunks(7).enumerate() {
            transcript.push(Stdout, chunk);
            assert_eq!(transcript.end(), (7 * index + chunk.len()) as u64);
        }
        for step in [4, 5, 63, 1000, 1 << 20] {
            assert_eq!(walk(&transcript, step), (lines.clone(), 0), "steps of {step}");
        }
    }

    #[test]
    fn what_made_room_is_counted() {
        let full = transcript(10, &[(Stdout, "0123456789ab")]);
        assert_eq!(walk(&full, 4), ("23456789ab".into(), 2));
        let late = full.read(5, 100, false).unwrap();
        assert_eq!((late.text.as_str(), late.omitted_bytes), ("56789ab", 0));
        let long = transcript(4, &[(Stdout, "0123"), (Stdout, &"x".repeat(1000))]);
        assert_eq!(walk(&long, 100), ("xxxx".into(), 1000));
        // A character that lost its beginning is lost as a whole.
        let cut = transcript(4, &[(Stdout, "a€bc")]);
        let excerpt = cut.read(0, 100, false).unwrap();
        assert_eq!((excerpt.text.as_str(), excerpt.omitted_bytes, excerpt.lossy), ("bc", 4, false));
    }

    #[test]
    fn streams_are_told_apart_in_order_of_arrival() {
        let both = transcript(100, &[(Stdout, "one"), (Stderr, "two"), (Stderr, "3"), (Stdout, "four")]);
        let excerpt = both.read(0, 100, false).unwrap();
        assert_eq!(excerpt.text, "onetwo3four");
        assert_eq!(excerpt.pieces, [("stdout", 3), ("stderr", 4), ("stdout", 4)]);
        let middle = both.read(4, 3, false).unwrap();
        assert_eq!((middle.text.as_str(), middle.pieces), ("wo3", vec![("stderr", 3)]));
        assert_eq!((middle.cursor, middle.unread_bytes), (7, 4));
        let dropped = transcript(5, &[(Stdout, "one"), (Stderr, "two")]).read(0, 100, false).unwrap();
        assert_eq!((dropped.pieces, dropped.omitted_bytes), (vec![("stdout", 2), ("stderr", 3)], 1));
    }

    #[test]
    fn a_character_under_way_waits_for_its_rest() {
        let mut transcript = transcript(100, &[(Stdout, "a")]);
        transcript.push(Stdout, &"€".as_bytes()[..2]);
        let excerpt = transcript.read(0, 100, false).unwrap();
        assert_eq!((excerpt.text.as_str(), excerpt.cursor, excerpt.unread_bytes), ("a", 1, 2));
        assert_eq!(transcript.read(1, 100, false).unwrap().text, "");
        let at_the_end = transcript.read(1, 100, true).unwrap();
        assert_eq!((at_the_end.text.as_str(), at_the_end.lossy, at_the_end.cursor), ("\u{FFFD}", true, 3));
        transcript.push(Stdout, &"€".as_bytes()[2..]);
        assert_eq!(transcript.read(1, 100, false).unwrap().text, "€");
    }

    #[test]
    fn bytes_that_are_not_text_are_marked_and_pass() {
        let mut transcript = Transcript::new(100);
        transcript.push(Stdout, b"a\xFFb\x80");
        let excerpt = transcript.read(0, 100, false).unwrap();
        assert_eq!((excerpt.text.as_str(), excerpt.lossy, excerpt.cursor), ("a\u{FFFD}b\u{FFFD}", true, 4));
    }

    #[test]
    fn a_position_beyond_the_end_is_none() {
        let short = transcript(100, &[(Stdout, "abc")]);
        assert_eq!(short.read(3, 10, false).unwrap(), Excerpt { cursor: 3, ..Excerpt::default() });
        assert_eq!(short.read(4, 10, false), None);
    }

    #[test]
    fn alternating_streams_take_bounded_memory() {
        let mut transcript = Transcript::new(1 << 20);
        for _ in 0..MAX_PIECES {
            transcript.push(Stdout, b"o");
            transcript.push(Stderr, b"e");
        }
        assert_eq!(transcript.pieces.len(), MAX_PIECES);
        let excerpt = transcript.read(0, 1 << 20, false).unwrap();
        assert_eq!(excerpt.omitted_bytes, MAX_PIECES as u64);
        assert_eq!(excerpt.text.len(), MAX_PIECES);
        assert_eq!(transcript.end(), 2 * MAX_PIECES as u64);
    }
}
