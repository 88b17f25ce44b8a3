//! How many tokens a text has at most, by the encoding `o200k_base`.
//!
//! The exact number takes the 200,000 entries of the encoding. A bound takes none of them, but what is known of them and
//! tested against them: nearly any two small letters are an entry, so no two of them stay apart, and a word of `n` letters has at
//! most `(2n + 2) / 3` tokens, and one more for each of the few pairs that are none; up to three digits are one; so is a run of spaces; and the 3,000 words of `common.txt`,
//! which are most of what code is made of, are one each, after a space too. Every other byte counts as one.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Words that are one token as they are, with a capital, and after a space, and at most two after any mark.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common.txt").lines().collect());

/// The pairs of small letters that are no token.
const APART: &str = "bq gk gq jv jz kq kz lq nq qf qg qj qk qv qz rj tq wq wz xg xj xk xq xv xw yq zj zq zv";

/// Longest run of spaces that is one token for sure.
const MAX_SPACES: usize = 64;

/// The most tokens that a text can have.
pub(crate) fn at_most(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let run = |is: fn(&u8) -> bool| bytes[at..].iter().take_while(|byte| is(byte)).count();
        let (length, tokens) = match bytes[at] {
            b' ' => {
                let spaces = run(|byte| *byte == b' ');
                // The last one belongs to what follows.
                let joins = common_word(&bytes[at + spaces..]).is_some();
                (spaces, (spaces - 1).div_ceil(MAX_SPACES) + usize::from(!joins))
            }
            b'0'..=b'9' => {
                let digits = run(u8::is_ascii_digit);
                (digits, digits.div_ceil(3))
            }
            // After it the encoding cuts off what may be a short form: `'s` of `'statement`.
            b'\'' => {
                let (length, tokens) = any_word(&bytes[at + 1..]);
                (1 + length, 2 + tokens)
            }
            byte if byte.is_ascii_alphabetic() => word(&bytes[at..]),
            _ => (1, 1),
        };
        at += length;
        count += tokens;
    }
    count
}

/// Length and tokens of the word at the beginning: capitals, then small letters.
fn word(bytes: &[u8]) -> (usize, usize) {
    common_word(bytes).map_or_else(|| any_word(bytes), |length| (length, 1))
}

fn any_word(bytes: &[u8]) -> (usize, usize) {
    let (capitals, small) = hump(bytes);
    let length = capitals + small;
    let apart = bytes[capitals..length].windows(2).filter(|pair| is_apart(pair)).count();
    (length, capitals + (2 * small).div_ceil(3) + apart)
}

fn is_apart(pair: &[u8]) -> bool {
    APART.as_bytes().chunks(3).any(|known| known.starts_with(pair))
}

/// Length of the common word at the beginning, if there is one.
fn common_word(bytes: &[u8]) -> Option<usize> {
    let (capitals, small) = hump(bytes);
    let length = capitals + small;
    // What goes on in another script is another word.
    let ends = bytes.get(length).is_none_or(u8::is_ascii);
    if capitals > 1 || length == 0 || !ends {
        return None;
    }
    let word = std::str::from_utf8(&bytes[..length]).ok()?;
    let is_common = match capitals {
        0 => COMMON.contains(word),
        _ => COMMON.contains(word.to_ascii_lowercase().as_str()),
    };
    is_common.then_some(length)
}

fn hump(bytes: &[u8]) -> (usize, usize) {
    let capitals = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let small = bytes[capitals..].iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    (capitals, small)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use tiktoken_rs::CoreBPE;

    use super::*;

    static EXACT: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::o200k_base().unwrap());

    fn exactly(text: &str) -> usize {
        EXACT.encode_ordinary(text).len()
    }

    fn marks() -> impl Iterator<Item = char> {
        (1..128u8).map(char::from).filter(|letter| !letter.is_ascii_alphanumeric() && *letter != ' ')
    }

    fn capitalised(word: &str) -> String {
        format!("{}{}", word[..1].to_uppercase(), &word[1..])
    }

    fn is_common(word: &str) -> bool {
        [word.to_owned(), capitalised(word)].iter().all(|word| {
            exactly(word) == 1
                && exactly(&format!(" {word}")) == 1
                && marks().all(|mark| exactly(&format!("{mark}{word}")) <= 2)
        })
    }

    #[test]
    fn what_the_bound_rests_on_is_so() {
        let pairs = ('a'..='z').flat_map(|one| ('a'..='z').map(move |two| format!("{one}{two}")));
        let apart: Vec<String> = pairs.filter(|pair| exactly(pair) > 1).collect();
        assert_eq!(apart.join(" "), APART);
        for number in 0..1000 {
            assert_eq!(exactly(&number.to_string()), 1);
            assert_eq!(exactly(&format!("{number:03}")), 1);
        }
        for spaces in 1..=MAX_SPACES {
            assert_eq!(exactly(&" ".repeat(spaces)), 1, "{spaces}");
        }
        let wrong: Vec<_> = COMMON.iter().filter(|word| !is_common(word)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(COMMON.len() > 2_000);
    }

    /// Sources of this workspace: code, manifests and documents.
    fn sources() -> Vec<String> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut texts = Vec::new();
        let mut waiting = vec![top];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if path.is_dir() && name != "target" && !name.starts_with('.') {
                    waiting.push(path);
                } else if [".rs", ".md", ".toml", ".py", ".js"].iter().any(|ending| name.ends_with(ending)) {
                    texts.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        texts
    }

    #[test]
    fn it_is_never_too_low_and_not_much_too_high() {
        let (mut bound, mut exact) = (0, 0);
        for text in sources() {
            let lines: Vec<&str> = text.lines().collect();
            for lines in lines.chunks(37) {
                let text = lines.join("\n");
                let (most, is) = (at_most(&text), exactly(&text));
                assert!(is <= most, "{is} > {most}: {text}");
                bound += most;
                exact += is;
            }
        }
        let ratio = bound as f64 / exact as f64;
        println!("at most / exactly = {ratio:.2} over {exact} tokens");
        assert!(ratio < 2.0, "{ratio}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_text_has_more(text in "(\\PC|[ \\t\\r\\n]|[a-z]{1,9}|[A-Z][a-z]{1,9}|[A-Z]{1,5}|[0-9]{1,7}|[_(){}'/\"#.]){0,60}") {
            proptest::prop_assert!(exactly(&text) <= at_most(&text), "{} {} {text:?}", exactly(&text), at_most(&text));
        }

        #[test]
        fn no_mixture_of_common_words_has_more(indices in proptest::collection::vec((0..3_000usize, 0..12usize), 0..40)) {
            let words: Vec<&str> = include_str!("common.txt").lines().collect();
            let marks = [" ", "_", "", ".", "\n    ", "(", "'", "  ", "\t", "::", "-", "\u{e9}"];
            let text: String = indices
                .iter()
                .map(|(word, mark)| format!("{}{}", words[word % words.len()], marks[*mark]))
                .collect();
            proptest::prop_assert!(exactly(&text) <= at_most(&text), "{text:?}");
        }
    }

    /// Writes `common.txt` anew from the sources in the folder that `LLMC_COMMON_FROM` names.
    #[test]
    #[ignore = "makes a file of this crate"]
    fn write_common_words() {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut waiting = vec![std::env::var_os("LLMC_COMMON_FROM").map(std::path::PathBuf::from).unwrap()];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    crate::words::identifiers(&text, |identifier| {
                        for part in crate::words::parts(identifier) {
                            let word = part.to_ascii_lowercase();
                            if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
                                *counts.entry(word).or_default() += 1;
                            }
                        }
                    });
                }
            }
        }
        let mut words: Vec<(String, usize)> = counts.into_iter().collect();
        words.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let common: Vec<String> =
            words.into_iter().map(|(word, _)| word).filter(|word| is_common(word)).take(3_000).collect();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/common.txt");
        std::fs::write(file, common.join("\n") + "\n").unwrap();
    }
}
