//! What is wrong in a configuration file, told with its place and in the words of who wrote it.

use std::ops::Range;

/// Widest line that is shown, in characters; longer ones are told by their number alone.
const MAX_SHOWN: usize = 160;

/// What a secret may be. Whoever wrote something else may have written the secret itself, so nothing of it is shown.
const SECRET: &str = "a secret is named here and lies elsewhere: write `{ file = \"PATH\" }`, `{ env = \"VARIABLE\" }` \
                      or `{ command = [\"/PROGRAM\", \"ARGUMENT\"] }` (the line is not shown, it may hold the secret)";

/// An error of the parser: the line, what is wrong there, and the line itself.
pub(crate) fn told(text: &str, error: &toml::de::Error) -> String {
    // Keys are quoted in it, with whatever they hide.
    let message = crate::lock::line(&plain(error.message()));
    let Some(span) = error.span() else { return message };
    let line = Line::at(text, span);
    if line.is_secret(text) {
        return format!("line {}: {SECRET}", line.number);
    }
    format!("line {}: {message}{}", line.number, line.shown())
}

/// The line in which a span begins.
struct Line<'a> {
    number: usize,
    text: &'a str,
    /// Where it begins in the whole text, in bytes.
    begin: usize,
    /// The part of it that is wrong, in bytes.
    marked: Range<usize>,
}

impl<'a> Line<'a> {
    fn at(text: &'a str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let end = line.floor_char_boundary(span.end.saturating_sub(begin).min(line.len()));
        let marked = (start - begin).min(line.len())..end.max((start - begin).min(line.len()));
        Self { number: text[..begin].matches('\n').count() + 1, text: line, begin, marked }
    }

    /// Whether it belongs to `[secrets]`, however that is written.
    fn is_secret(&self, text: &str) -> bool {
        let until = &text[..self.begin + self.text.len()];
        let lines = until.lines().map(|line| line.trim_start().trim_start_matches(['"', '\'']));
        let header = lines.clone().rev().find(|line| line.starts_with('['));
        let is_it = |name: &str| name.trim_start_matches([' ', '\t', '"', '\'']).starts_with("secrets");
        header.map_or_else(|| lines.clone().any(is_it), |header| is_it(header.trim_start_matches('[')))
    }

    /// The line with what is wrong underlined.
    fn shown(&self) -> String {
        if self.text.chars().count() > MAX_SHOWN || self.text.trim().is_empty() {
            return String::new();
        }
        let text = crate::lock::line(self.text);
        let number = self.number.to_string();
        let before: String = self.text[..self.marked.start]
            .chars()
            .map(|char| if char == '\t' { char } else { ' ' })
            .collect();
        let marks = "^".repeat(self.text[self.marked.clone()].chars().count().max(1));
        let text = if text == self.text.replace('\t', "\\u{9}") { self.text.to_owned() } else { text };
        format!("\n  {number} | {text}\n  {:width$} | {before}{marks}", "", width = number.len())
    }
}

/// A message of the parser without the words of the program's own types.
fn plain(message: &str) -> String {
    // Keys of the file stand in it, and may hide something.
    let message = message.trim_end().lines().map(crate::lock::line).collect::<Vec<_>>().join("; ");
    let (what, expected) = message.split_once(", expected ").unwrap_or((&message, ""));
    if what == "unknown field `net`" {
        return "no network can be granted: jails have none, whatever they run".to_owned();
    }
    if let Some(name) = quoted(what, "unknown field ") {
        return format!("there is no key `{name}` here{}", known(name, expected));
    }
    if let Some(name) = quoted(what, "unknown variant ") {
        return format!("`{name}` is none of the values that are known here{}", known(name, expected));
    }
    if let Some(name) = quoted(what, "missing field ") {
        return format!("the key `{name}` is missing");
    }
    let found = what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: "));
    match found.filter(|_| !expected.is_empty()) {
        Some(found) => format!("expected {}, found {}", in_words(expected), in_words(found)),
        None => message,
    }
}

/// The one name in backticks after these words, if that is all.
fn quoted<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.strip_prefix(words)?.strip_prefix('`')?.strip_suffix('`')
}

/// The names of a list such as "one of `a`, `b`", the nearest of them first.
fn known(name: &str, expected: &str) -> String {
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = crate::call::nearest(name, names.iter().copied());
    let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
    if names.is_empty() { hint } else { format!("{hint} (there are: {})", names.join(", ")) }
}

/// Kinds of values as TOML calls them.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "a nonzero u64" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "path string" => "a path in quotes",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn error(text: &str) -> String {
        told(text, &toml::from_str::<Config>(text).unwrap_err())
    }

    #[test]
    fn the_line_is_told_and_shown() {
        let misspelt = error("[policy]\nreadonly = true\n");
        let begin = "line 2: there is no key `readonly` here; did you mean `read_only`? (there are: read_only, deny, ";
        assert!(misspelt.starts_with(begin), "{misspelt}");
        assert!(misspelt.ends_with(")\n  2 | readonly = true\n    | ^^^^^^^^"), "{misspelt}");
        assert_eq!(
            error("[limits]\n\tcall_timeout_ms = -1"),
            "line 2: expected a whole number, 0 or more, found integer `-1`\n  2 | \tcall_timeout_ms = -1\n    | \
             \t                  ^^"
        );
        assert!(error("[roots]\nwork = '.'").contains("expected a table, found string \".\""));
        assert!(error("[plugins.fs]").contains("line 1: the key `library` is missing"));
        assert!(error(&format!("[policy]\na = '{}'", "x".repeat(500))).len() < 300);
        assert!(!error("[policy]\n'\u{202e}' = 1").contains('\u{202e}'));
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        for text in [
            "[secrets]\nA = 'hunter2'",
            "[secrets]\nA = 'hunter2",
            "[secrets]\nA = { value = 'hunter2' }",
            "[secrets]\n\nB = { env = 'C' }\nA = hunter2",
            "secrets.A = 'hunter2'",
            "secrets = { A = 'hunter2' }",
            "[ secrets.A ]\nhunter2 = 1",
            "[\"secrets\"]\nA = 'hunter2'",
            "\"secrets\".A = 'hunter2'",
        ] {
            let error = error(text);
            assert!(!error.contains("hunter2") && error.contains("{ env = "), "{text}: {error}");
        }
        assert!(error("[secrets]\nA = { env = 'B' }\n[roots]\nwork = 'x'").contains("work = 'x'"));
    }
}
