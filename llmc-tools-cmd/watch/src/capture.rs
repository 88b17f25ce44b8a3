//! Holds what a stream brings, and shows the beginning and the end of it.

/// Longest line that is shown of a stream at work, in characters.
const MAX_LINE_CHARS: usize = 120;
/// How far back the last line is looked for, in bytes.
const LAST_LINE_BYTES: usize = 1024;

/// A stream as it comes in. Whoever reads it bounds it ([`crate::Limits::output_bytes`]).
#[derive(Debug, Default)]
pub struct Capture {
    bytes: Vec<u8>,
    keep_bytes: usize,
}

/// A stream that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// What is shown; a line in the middle tells what is not, and how to read it.
    pub text: String,
    /// How long the stream was.
    pub bytes: u64,
    /// How much of it is not in `text`.
    pub omitted_bytes: u64,
    /// Whether some bytes were not UTF-8 and became `U+FFFD`.
    pub lossy: bool,
    /// The handle of the whole text for `read_more`, where something is left out and it could be kept.
    pub handle: Option<String>,
}

impl Capture {
    /// Shows `keep_bytes`: half from the beginning, half from the end.
    pub fn new(keep_bytes: usize) -> Self {
        Self { bytes: Vec::new(), keep_bytes }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The last line so far that is not empty, without control characters; empty if there is none.
    pub fn last_line(&self) -> String {
        let end = &self.bytes[self.bytes.len().saturating_sub(LAST_LINE_BYTES)..];
        let end = String::from_utf8_lossy(&end[stray_bytes(end)..]);
        // A progress bar draws its line again and again, from the left.
        let line = end.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|letter| !letter.is_control()).take(MAX_LINE_CHARS).collect()
    }

    /// Turns it into text. What does not fit goes to `keep` as a whole, which returns a handle for it.
    pub fn finish(self, keep: impl FnOnce(&str) -> Option<String>) -> Captured {
        let bytes = self.bytes();
        if self.bytes.len() <= self.keep_bytes {
            let (text, lossy) = text_of(self.bytes);
            return Captured { text, bytes, omitted_bytes: 0, lossy, handle: None };
        }
        let tail_bytes = self.keep_bytes / 2;
        let head = &self.bytes[..self.keep_bytes - tail_bytes];
        let tail = &self.bytes[self.bytes.len() - tail_bytes..];
        // A character that the cut went through is left out as a whole.
        let head = &head[..head.len() - unfinished_bytes(head)];
        let tail = &tail[stray_bytes(tail)..];
        let omitted_bytes = bytes - (head.len() + tail.len()) as u64;
        let (head, _) = text_of(head.to_vec());
        let (tail, _) = text_of(tail.to_vec());
        let (whole, lossy) = text_of(self.bytes);
        let handle = keep(&whole);
        let line_end = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
        let how = handle.as_ref().map_or(String::new(), |handle| {
            format!(": `read_more` with handle {handle}, offset {}", head.len())
        });
        let text = format!("{head}{line_end}[... {omitted_bytes} bytes left out{how} ...]\n{tail}");
        Captured { text, bytes, omitted_bytes, lossy, handle }
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
        capture.finish(|_| None)
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let whole = captured(10, &[b"01234", b"567", b"", b"89"]);
        assert_eq!(whole, Captured { text: "0123456789".into(), bytes: 10, ..Captured::default() });
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
    fn what_is_left_out_is_kept_and_the_place_told() {
        let mut capture = Capture::new(10);
        capture.push("01234\u{e9}789abcdef".as_bytes());
        let mut kept = String::new();
        let cut = capture.finish(|whole| {
            kept = whole.to_owned();
            Some("HANDLE".into())
        });
        assert_eq!(kept, "01234\u{e9}789abcdef");
        assert_eq!(
            cut.text,
            "01234\n[... 6 bytes left out: `read_more` with handle HANDLE, offset 5 ...]\nbcdef"
        );
        assert_eq!(cut.handle.as_deref(), Some("HANDLE"));
        assert!(Capture::new(10).finish(|_| Some("never".into())).handle.is_none());
    }

    #[test]
    fn the_last_line_is_the_one_that_a_person_would_see() {
        let last = |text: &str| {
            let mut capture = Capture::new(10);
            capture.push(text.as_bytes());
            capture.last_line()
        };
        assert_eq!(last(""), "");
        assert_eq!(last("one\ntwo\n\n"), "two");
        assert_eq!(last("begun\n10 %\r50 %\r"), "50 %");
        assert_eq!(last("\x1b[31mred\x1b[0m\n"), "[31mred[0m");
        assert_eq!(last(&"ä".repeat(2000)).chars().count(), MAX_LINE_CHARS);
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
