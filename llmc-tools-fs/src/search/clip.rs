//! Long lines are cut.

use crate::limits::MAX_LINE_BYTES;

/// What is shown before a match that begins late in a long line, in bytes.
const LEAD_BYTES: usize = 100;

/// A line as text, without its end. Of one longer than [`MAX_LINE_BYTES`], the part around `at`, with `…` where it
/// was cut; then the second value is true.
pub(super) fn clip(line: &[u8], at: usize) -> (String, bool) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() <= MAX_LINE_BYTES {
        return (String::from_utf8_lossy(line).into_owned(), false);
    }
    let latest = line.len() - MAX_LINE_BYTES;
    let start = boundary(line, at.saturating_sub(LEAD_BYTES).min(latest));
    let end = boundary(line, start + MAX_LINE_BYTES);
    let mut text = String::with_capacity(MAX_LINE_BYTES + 6);
    if start > 0 {
        text.push('…');
    }
    text.push_str(&String::from_utf8_lossy(&line[start..end]));
    if end < line.len() {
        text.push('…');
    }
    (text, true)
}

/// The last place up to `at` where a character begins, if the bytes are text.
fn boundary(line: &[u8], at: usize) -> usize {
    let at = at.min(line.len());
    let is_inside = |place: usize| line.get(place).is_some_and(|byte| (0x80..0xC0).contains(byte));
    (at.saturating_sub(3)..=at).rev().find(|place| !is_inside(*place)).unwrap_or(at)
}

/// Number of characters in text; bytes that are no text count one each, about.
pub(super) fn characters(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| !(0x80..0xC0).contains(*byte)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_stay_whole() {
        assert_eq!(clip(b"abc\r\n", 0), ("abc".into(), false));
        assert_eq!(clip(b"", 0), (String::new(), false));
        let longest = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(clip(format!("{longest}\n").as_bytes(), 5), (longest, false));
    }

    #[test]
    fn long_lines_are_cut_around_the_match() {
        let line = format!("{}needle{}", "a".repeat(5000), "b".repeat(5000));
        let (text, cut) = clip(line.as_bytes(), 5000);
        assert!(cut && text.starts_with("…a") && text.contains("needle") && text.ends_with("b…"), "{text}");
        let (start, _) = clip(line.as_bytes(), 0);
        assert!(start.starts_with('a') && start.ends_with('…'));
        let (end, _) = clip(line.as_bytes(), line.len() - 1);
        assert!(end.starts_with('…') && end.ends_with('b') && end.len() == MAX_LINE_BYTES + '…'.len_utf8());
    }

    #[test]
    fn characters_are_not_cut() {
        let line = "ä€😀".repeat(1000);
        for at in 0..300 {
            let (text, cut) = clip(line.as_bytes(), at);
            assert!(cut && !text.contains('\u{FFFD}'), "{at}: {text}");
        }
        assert_eq!(characters("ä€😀z".as_bytes()), 4);
    }
}
