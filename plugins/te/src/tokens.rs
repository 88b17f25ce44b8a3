//! About how many tokens a text has, by the encoding `o200k_base`, from the kinds of its letters alone.
//!
//! The encoding itself has 200,000 entries, too heavy for a plugin. The numbers below were fitted to sources and outputs
//! of commands; a test compares them with the encoding.

/// Letters of a word beyond which it is mostly two tokens.
const LETTERS: usize = 8;

/// An estimate, right within about a tenth for code and the outputs of commands.
pub fn estimate(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let run = |is: fn(&u8) -> bool| bytes[at..].iter().take_while(|byte| is(byte)).count();
        let (length, tokens) = match bytes[at] {
            b'a'..=b'z' | b'A'..=b'Z' => {
                let letters = hump(&bytes[at..]);
                (letters, letters.div_ceil(LETTERS))
            }
            b'0'..=b'9' => {
                let digits = run(u8::is_ascii_digit);
                (digits, digits.div_ceil(3))
            }
            b' ' => {
                let spaces = run(|byte| *byte == b' ');
                // The last one belongs to what follows, unless that is a number.
                let before_number = bytes.get(at + spaces).is_some_and(u8::is_ascii_digit);
                (spaces, usize::from(spaces > 1) + usize::from(before_number))
            }
            0..128 => {
                let marks = run(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b' ');
                (marks, marks.div_ceil(3))
            }
            // Two to four bytes are a letter of another script.
            _ => {
                let others = run(|byte| !byte.is_ascii());
                (others, others.div_ceil(3))
            }
        };
        at += length;
        count += tokens;
    }
    count
}

/// Length of the word at the beginning: capitals, then small letters.
fn hump(bytes: &[u8]) -> usize {
    let capitals = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    capitals + bytes[capitals..].iter().take_while(|byte| byte.is_ascii_lowercase()).count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn it_is_near_the_encoding() {
        let exact = tiktoken_rs::o200k_base().unwrap();
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut estimated, mut exactly) = (0, 0);
        for folder in ["src", "src/commands", "../judge/src", "../search/src", "../../llmc-server/src/call"] {
            for entry in std::fs::read_dir(top.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let (about, is) = (estimate(&text), exact.encode_ordinary(&text).len());
                    assert!(about * 10 > is * 7 && about * 10 < is * 14, "{}: {about}, {is}", path.display());
                    estimated += about;
                    exactly += is;
                }
            }
        }
        let percent = estimated * 100 / exactly;
        assert!((85..=115).contains(&percent), "{percent} % of {exactly}");
        assert_eq!(estimate(""), 0);
    }
}
