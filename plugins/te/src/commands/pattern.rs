//! From the patterns of `grep` to those of ripgrep's library. Pure.
//!
//! Basic expressions have their operators behind a backslash (`a\|b`), extended ones in front of nothing (`a|b`); the
//! library reads the extended way, and refuses what others take as plain letters.

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Basic,
    Extended,
    /// The library's own.
    Ripgrep,
    Fixed,
}

/// Letters that are operators with a backslash in basic expressions, and without one in extended ones.
const OPERATORS: &str = "(){}|+?";

/// Several patterns as one. A single fixed one is left to the library.
pub(super) fn joined(patterns: &[&str], syntax: Syntax) -> String {
    // Lines of a pattern are patterns.
    let patterns: Vec<&str> = patterns.iter().flat_map(|pattern| pattern.split('\n')).collect();
    let one = |pattern: &str| match syntax {
        Syntax::Basic => converted(pattern, true),
        Syntax::Extended => converted(pattern, false),
        Syntax::Ripgrep => pattern.to_owned(),
        Syntax::Fixed => escaped(pattern),
    };
    match patterns.as_slice() {
        [pattern] => one(pattern),
        patterns => {
            patterns.iter().map(|pattern| format!("(?:{})", one(pattern))).collect::<Vec<_>>().join("|")
        }
    }
}

/// What a reader of a basic expression may have meant otherwise, if it found nothing.
pub(super) fn hint(patterns: &[&str], syntax: Syntax) -> Option<String> {
    let operator = |pattern: &&str| {
        let mut before = ' ';
        pattern.chars().find(|letter| {
            let is_plain = before != '\\' && matches!(letter, '|' | '+' | '?');
            before = *letter;
            is_plain
        })
    };
    let letter = patterns.iter().find_map(operator).filter(|_| syntax == Syntax::Basic)?;
    Some(format!("`{letter}` is a plain letter here; with -E it is an operator"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if letter.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn converted(pattern: &str, basic: bool) -> String {
    let mut out = String::new();
    let mut letters = pattern.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, next)) if OPERATORS.contains(next) && basic => out.push(next),
                Some((_, next)) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '[' => {
                let length = bracket(&pattern[at..], &mut out);
                while letters.peek().is_some_and(|(next, _)| *next < at + length) {
                    letters.next();
                }
            }
            '*' if out.is_empty() || out.ends_with(['(', '|', '^']) && !out.ends_with("\\(") => {
                out.push_str("\\*")
            }
            letter if basic && OPERATORS.contains(letter) => out.extend(['\\', letter]),
            '{' if !is_interval(&pattern[at..]) => out.push_str("\\{"),
            letter => out.push(letter),
        }
    }
    out
}

/// `{2}`, `{2,}`, `{2,3}`; any other brace is a plain letter to `grep -E`.
fn is_interval(text: &str) -> bool {
    let inner = text[1..].split_once('}').map_or("", |(inner, _)| inner);
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

/// Writes the bracket expression that `text` begins with, and returns its length. In one, `[` (unless it begins a
/// class), `&` and `~` are plain letters to grep, and operators to the library.
fn bracket(text: &str, out: &mut String) -> usize {
    let start = if text.starts_with("[^") { 2 } else { 1 };
    out.push_str(&text[..start]);
    let mut at = start;
    while let Some(letter) = text[at..].chars().next() {
        if letter == ']' && at > start {
            out.push(']');
            return at + 1;
        }
        let class = text[at..].strip_prefix("[:").and_then(|rest| Some(4 + rest.find(":]")?));
        match (letter, class) {
            (_, Some(length)) => {
                out.push_str(&text[at..at + length]);
                at += length;
                continue;
            }
            ('[' | '&' | '~' | ']', None) => out.extend(['\\', letter]),
            ('\\', None) => {
                let next = text[at + 1..].chars().next();
                out.push('\\');
                out.extend(next);
                at += next.map_or(0, char::len_utf8);
            }
            (letter, None) => out.push(letter),
        }
        at += letter.len_utf8();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_expressions_are_turned() {
        for (basic, expected) in [
            ("main(", r"main\("),
            (r"a\|b", "a|b"),
            (r"\(a\)\{2\}", "(a){2}"),
            ("a|b+c?{x}", r"a\|b\+c\?\{x\}"),
            ("*a", r"\*a"),
            (r"\<word\>", r"\<word\>"),
            (r"a\.b\\", r"a\.b\\"),
            ("[a(|]x", "[a(|]x"),
            ("[[:alpha:]&]", r"[[:alpha:]\&]"),
            ("[]a]", r"[\]a]"),
            ("[^[]", r"[^\[]"),
            ("[invalid", "[invalid"),
            ("fn [a-z]*(", r"fn [a-z]*\("),
        ] {
            assert_eq!(joined(&[basic], Syntax::Basic), expected, "{basic}");
        }
    }

    #[test]
    fn extended_and_fixed_ones_too() {
        assert_eq!(joined(&["fn main() {"], Syntax::Extended), r"fn main() \{");
        assert_eq!(joined(&["a{2,3}|b{x"], Syntax::Extended), r"a{2,3}|b\{x");
        assert_eq!(joined(&["a.b", "c"], Syntax::Fixed), r"(?:a\.b)|(?:c)");
        assert_eq!(joined(&["one\ntwo"], Syntax::Basic), "(?:one)|(?:two)");
        assert_eq!(joined(&["fn {"], Syntax::Ripgrep), "fn {");
    }

    #[test]
    fn a_hint_names_the_letter() {
        assert!(hint(&["a|b"], Syntax::Basic).unwrap().contains("`|`"));
        assert_eq!(hint(&[r"a\|b"], Syntax::Basic), None);
        assert_eq!(hint(&["a|b"], Syntax::Extended), None);
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_makes_it_fail(pattern in "[\\\\\\[\\](){}|+?*^:a-cä&,0-9]{0,20}") {
            joined(&[&pattern], Syntax::Basic);
            joined(&[&pattern], Syntax::Extended);
        }
    }
}
