//! Text encodings: finding them, finding lines and characters in their bytes, and turning bytes into text. Pure.

use memchr::{memchr, memchr_iter};

use crate::limits::SNIFF_BYTES;

/// The encoding of a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// UTF-8 behind a byte order mark.
    Utf8Bom,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// By the first bytes of a file.
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0xEF, 0xBB, 0xBF, ..] => Self::Utf8Bom,
            [0xFF, 0xFE, ..] => Self::Utf16Le,
            [0xFE, 0xFF, ..] => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Bom => "utf-8-bom",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
        }
    }

    /// Length of the byte order mark.
    pub(crate) fn mark_bytes(self) -> u64 {
        match self {
            Self::Utf8 => 0,
            Self::Utf8Bom => 3,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// Characters begin at multiples of this.
    pub(crate) fn unit_bytes(self) -> u64 {
        match self {
            Self::Utf8 | Self::Utf8Bom => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// Whether bytes from the file cannot be text.
    pub(crate) fn is_binary(self, bytes: &[u8]) -> bool {
        let start = &bytes[..bytes.len().min(SNIFF_BYTES)];
        self.unit_bytes() == 1 && memchr(0, start).is_some()
    }

    /// The places after each line feed in `bytes`, which begin at a whole unit.
    pub(crate) fn line_ends(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
        memchr_iter(b'\n', bytes).filter_map(move |place| match self {
            Self::Utf8 | Self::Utf8Bom => Some(place + 1),
            Self::Utf16Le => (place % 2 == 0 && bytes.get(place + 1) == Some(&0)).then_some(place + 2),
            Self::Utf16Be => (place % 2 == 1 && bytes[place - 1] == 0).then_some(place + 1),
        })
    }

    /// Number of bytes at the start that belong to a character before them.
    pub(crate) fn stray_bytes(self, bytes: &[u8]) -> usize {
        match self {
            Self::Utf8 | Self::Utf8Bom => {
                bytes.iter().take(3).take_while(|byte| (0x80..0xC0).contains(*byte)).count()
            }
            Self::Utf16Le | Self::Utf16Be => {
                let first = bytes.first_chunk().map(|unit| self.unit(*unit));
                if first.is_some_and(|unit| (0xDC00..0xE000).contains(&unit)) { 2 } else { 0 }
            }
        }
    }

    /// Number of bytes at the end that begin a character whose rest is not there.
    pub(crate) fn unfinished_bytes(self, bytes: &[u8]) -> usize {
        match self {
            Self::Utf8 | Self::Utf8Bom => {
                let is_start = |byte: &&u8| !(0x80..0xC0).contains(*byte);
                let Some(back) = bytes.iter().rev().take(4).position(|byte| is_start(&byte)) else {
                    return 0;
                };
                let last = &bytes[bytes.len() - back - 1..];
                let is_unfinished = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
                if is_unfinished { last.len() } else { 0 }
            }
            Self::Utf16Le | Self::Utf16Be => {
                let odd = bytes.len() % 2;
                let last = bytes[..bytes.len() - odd].last_chunk().map(|unit| self.unit(*unit));
                let half = last.is_some_and(|unit| (0xD800..0xDC00).contains(&unit));
                odd + if half { 2 } else { 0 }
            }
        }
    }

    /// Turns bytes into text and tells whether some of them had no meaning and became `U+FFFD`.
    pub(crate) fn decode(self, bytes: Vec<u8>) -> (String, bool) {
        match self {
            Self::Utf8 | Self::Utf8Bom => match String::from_utf8(bytes) {
                Ok(text) => (text, false),
                Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
            },
            Self::Utf16Le | Self::Utf16Be => {
                let (units, rest) = bytes.as_chunks();
                let mut lossy = !rest.is_empty();
                let units = units.iter().map(|unit| self.unit(*unit));
                let characters = char::decode_utf16(units).map(|character| {
                    character.unwrap_or_else(|_| {
                        lossy = true;
                        char::REPLACEMENT_CHARACTER
                    })
                });
                let mut text: String = characters.collect();
                if !rest.is_empty() {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
                (text, lossy)
            }
        }
    }

    fn unit(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Utf16Be { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encoding; 4] = [Encoding::Utf8, Encoding::Utf8Bom, Encoding::Utf16Le, Encoding::Utf16Be];

    fn encode(encoding: Encoding, text: &str) -> Vec<u8> {
        match encoding {
            Encoding::Utf8 | Encoding::Utf8Bom => text.as_bytes().to_vec(),
            Encoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }

    #[test]
    fn marks_tell_the_encoding() {
        assert_eq!(Encoding::detect(b"\xEF\xBB\xBFa"), Encoding::Utf8Bom);
        assert_eq!(Encoding::detect(b"\xFF\xFEa\0"), Encoding::Utf16Le);
        assert_eq!(Encoding::detect(b"\xFE\xFF\0a"), Encoding::Utf16Be);
        assert_eq!(Encoding::detect(b"\xEF\xBB"), Encoding::Utf8);
        assert_eq!(Encoding::detect(b""), Encoding::Utf8);
    }

    #[test]
    fn lines_end_after_their_line_feed() {
        for encoding in ALL {
            // Characters whose UTF-16 form contains the byte of a line feed.
            let text = "a\nਊ\r\n\u{0A0A}\u{010A}\n\nz";
            let bytes = encode(encoding, text);
            let ends: Vec<usize> = encoding.line_ends(&bytes).collect();
            let mut expected = Vec::new();
            let mut length = 0;
            for line in text.split_inclusive('\n') {
                length += encode(encoding, line).len();
                expected.push(length);
            }
            expected.pop();
            assert_eq!(ends, expected, "{encoding:?}");
        }
    }

    #[test]
    fn any_cut_can_be_tidied() {
        let text = "aä€😀\u{FFFD}z";
        for encoding in ALL {
            let bytes = encode(encoding, text);
            for start in (0..bytes.len()).step_by(encoding.unit_bytes() as usize) {
                for end in start..=bytes.len() {
                    let window = &bytes[start..end];
                    let window = &window[encoding.stray_bytes(window)..];
                    let window = &window[..window.len() - encoding.unfinished_bytes(window)];
                    let (part, lossy) = encoding.decode(window.to_vec());
                    assert!(!lossy && text.contains(&part), "{encoding:?} {start}..{end}: {part:?}");
                }
            }
        }
    }

    #[test]
    fn wrong_bytes_are_marked() {
        assert_eq!(Encoding::Utf8.decode(b"a\xFFb".to_vec()), ("a\u{FFFD}b".into(), true));
        assert_eq!(Encoding::Utf16Le.decode(b"a\0\0\xD8b\0c".to_vec()), ("a\u{FFFD}b\u{FFFD}".into(), true));
        assert_eq!(Encoding::Utf8.unfinished_bytes(b"a\xFF"), 0, "wrong, not unfinished");
        assert_eq!(Encoding::Utf8.unfinished_bytes(&[0x80; 9]), 0);
    }

    #[test]
    fn nul_bytes_are_binary_but_not_in_utf16() {
        assert!(Encoding::Utf8.is_binary(b"a\0b"));
        assert!(!Encoding::Utf16Le.is_binary(b"a\0b\0"));
        let late = [vec![b'a'; SNIFF_BYTES], vec![0]].concat();
        assert!(!Encoding::Utf8.is_binary(&late));
    }
}
