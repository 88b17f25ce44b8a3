//! Texts inside of Markdown: attack inputs are shown, and nothing of them may become markup.

use super::super::text::is_hidden;

/// What in prose would become markup, `_` inside of words excepted.
const MARKUP: [char; 5] = ['\\', '|', '[', '*', '~'];

/// Numbers with so many digits are hard to read without commas.
const LONG_DIGITS: usize = 5;

/// A text in one line, of a table or not. What stands between backquotes stays code.
pub(super) fn cell(text: &str) -> String {
    let text = visible(text);
    let parts: Vec<&str> = text.split('`').collect();
    let is_code = |at: usize| at % 2 == 1;
    // Code with nothing in it would take in what follows.
    let is_empty = |(at, part): (usize, &&str)| is_code(at) && part.is_empty();
    if is_code(parts.len() - 1) || parts.iter().enumerate().any(is_empty) {
        return parts.into_iter().map(prose).collect::<Vec<_>>().join("\\`");
    }
    let shown = |(at, part)| if is_code(at) { code(part) } else { prose(&grouped(part)) };
    parts.into_iter().enumerate().map(shown).collect()
}

/// Something that is typed.
pub(super) fn code(text: &str) -> String {
    // Neither ends the code, the cell, or includes a file.
    let text = visible(text).replace('`', "'").replace('|', "\\|").replace("{{", "{ {");
    format!("`{text}`")
}

/// A heading; [`anchor`] is where links to it lead.
pub(super) fn heading(text: &str) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || " ,.:;-'/()+".contains(*c);
    let plain: String = visible(text).chars().filter(is_plain).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Small letters, with dashes for spaces and without punctuation.
pub(super) fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Long numbers with a comma between thousands.
fn grouped(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_start_matches(['(', '+']).trim_end_matches([')', ',', ';', ':', '.']);
        match bare.len() >= LONG_DIGITS && bare.bytes().all(|byte| byte.is_ascii_digit()) {
            true => word.replacen(bare, &thousands(bare), 1),
            false => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn prose(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let in_word =
            before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
        match character {
            '<' => shown.push_str("&lt;"),
            '&' => shown.push_str("&amp;"),
            '{' if before == '{' => shown.push_str(" {"),
            '_' if !in_word => shown.push_str("\\_"),
            markup if MARKUP.contains(&markup) => shown.extend(['\\', markup]),
            other => shown.push(other),
        }
        before = character;
    }
    shown
}

/// In one line, and without characters that hide or turn others.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | '\r' => shown.push(' '),
            hidden if is_hidden(hidden) => shown.push_str(&format!("U+{:04X}", u32::from(hidden))),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(
            cell("a|b <i> *c* [d](e) &amp; f_g _h_\nj"),
            "a\\|b &lt;i> \\*c\\* \\[d](e) &amp;amp; f_g \\_h\\_ j"
        );
        assert_eq!(cell("{{#include x}} \u{202e}z\\"), "{ {#include x}} U+202Ez\\\\");
    }

    #[test]
    fn code_stays_code() {
        assert_eq!(cell("`a|b <c>` *"), "`a\\|b <c>` \\*");
        assert_eq!(cell("one ` <alone>"), "one \\` &lt;alone>");
        assert_eq!(cell("``"), "\\`\\`");
        assert_eq!(code("echo `x` | y {{#include z}}"), "`echo 'x' \\| y { {#include z}}`");
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(
            cell("12345 of 7654321, (1 to 12345) 9999 `12345`"),
            "12,345 of 7,654,321, (1 to 12,345) 9999 `12345`"
        );
        assert_eq!(cell("CVE-2019-10063 v12345 0.12345"), "CVE-2019-10063 v12345 0.12345");
    }

    #[test]
    fn anchors_are_those_of_headings() {
        let title = heading("Chaos: `random` <faults>, [x](y)");
        assert_eq!(title, "Chaos: random faults, x(y)");
        assert_eq!(anchor(&title), "chaos-random-faults-xy");
    }
}
