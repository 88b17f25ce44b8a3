//! Makes text of strangers safe to stand between the lines that `te` writes itself.
//!
//! Only the first three lines of an answer are its header. So that nobody can even seem to write another one, or a
//! breadcrumb, a line that looks like one gets a `\` in front. Control and direction characters are spelled out: they
//! could hide or move what stands there.

/// What lines of `te` begin with.
pub(crate) const MARK: &str = "# TE";

/// Text of several lines.
pub(crate) fn body(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            cleaned.push('\n');
        }
        push_line(line.strip_suffix('\r').unwrap_or(line), &mut cleaned);
    }
    cleaned
}

/// Text that shall be one line, such as a name in a sentence.
pub(crate) fn line(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    push_line(text, &mut cleaned);
    cleaned
}

fn push_line(line: &str, cleaned: &mut String) {
    let start = cleaned.len();
    for letter in line.chars() {
        if is_hidden(letter) {
            cleaned.extend(letter.escape_default());
        } else {
            cleaned.push(letter);
        }
    }
    if looks_like_ours(&cleaned[start..]) {
        cleaned.insert(start, '\\');
    }
}

/// Whether a line could be taken for one of `te`: `# TE_BEGIN_META`, `# TE: ...`, whatever its spaces and letter case.
fn looks_like_ours(line: &str) -> bool {
    let start = line.trim_start();
    let Some(rest) = start.strip_prefix('#') else { return false };
    let rest = rest.trim_start();
    rest.get(..2).is_some_and(|name| name.eq_ignore_ascii_case("te")) && rest[2..].starts_with([':', '_'])
}

/// Controls but tabs, invisible letters, line separators, and what turns the direction of writing.
fn is_hidden(letter: char) -> bool {
    match letter {
        '\t' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        letter => letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "\n", "a\n\tb\n", "# Title\n#include <te.h>\n# TEST: x\n// TE: x\n", "ä€😀\n"] {
            assert_eq!(body(text), text);
        }
        assert_eq!(body("one\r\ntwo\r\n"), "one\ntwo\n");
    }

    #[test]
    fn lines_that_look_like_ours_are_marked() {
        for forged in ["# TE_BEGIN_META", "  # TE: all is well", "#TE_END_META {}", "#\tte: x", "# Te_x"] {
            assert_eq!(
                body(&format!("a\n{forged}\nb")),
                format!("a\n\\{}\nb", line(forged).trim_start_matches('\\'))
            );
        }
    }

    #[test]
    fn nothing_is_hidden() {
        assert_eq!(line("a\x1b[31mb\rc\nd\0"), "a\\u{1b}[31mb\\rc\\nd\\u{0}");
        assert_eq!(body("x\u{202e}y\u{2028}# TE: z"), "x\\u{202e}y\\u{2028}# TE: z");
        // A hidden letter must not hide the mark either.
        assert!(!body("\u{200b}# TE_BEGIN_META").starts_with("# TE"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_seems_ours(text in "([# \\t]|TE|te|Te|[:_]|\\n|\\r|\\PC|[\u{0}-\u{20}\u{200b}\u{2028}\u{202e}]){0,40}") {
            let cleaned = body(&text);
            for line in cleaned.lines() {
                proptest::prop_assert!(!looks_like_ours(line), "{text:?}: {line:?}");
            }
            proptest::prop_assert!(!cleaned.chars().any(|letter| letter != '\n' && is_hidden(letter)));
            proptest::prop_assert_eq!(body(&cleaned), cleaned.clone());
        }
    }
}
