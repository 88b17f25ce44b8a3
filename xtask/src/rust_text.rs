//! Tells code from comments and strings in a Rust file, as far as text checks and renaming need it.

use std::ops::Range;

/// What a stretch of a Rust file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Comment,
    /// A string, byte string or character literal with its quotes.
    Literal,
}

/// Splits a file into stretches; together they are the whole text.
pub(crate) fn split(text: &str) -> Vec<(Kind, &str)> {
    let mut parts = Vec::new();
    let mut code_from = 0;
    let mut at = 0;
    while at < text.len() {
        let Some((kind, length)) = other_than_code(&text[..at], &text[at..]) else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        push(&mut parts, text, Kind::Code, code_from..at);
        push(&mut parts, text, kind, at..at + length);
        at += length;
        code_from = at;
    }
    push(&mut parts, text, Kind::Code, code_from..at);
    parts
}

fn push<'a>(parts: &mut Vec<(Kind, &'a str)>, text: &'a str, kind: Kind, range: Range<usize>) {
    if !range.is_empty() {
        parts.push((kind, &text[range]));
    }
}

/// The comment or literal that begins here, and its length.
fn other_than_code(before: &str, here: &str) -> Option<(Kind, usize)> {
    if here.starts_with("//") {
        return Some((Kind::Comment, here.find('\n').unwrap_or(here.len())));
    }
    if here.starts_with("/*") {
        return Some((Kind::Comment, block_comment(here)));
    }
    if let Some(rest) = here.strip_prefix('"') {
        return Some((Kind::Literal, 1 + until_quote(rest, '"')));
    }
    if here.starts_with('\'') {
        return character(here).map(|length| (Kind::Literal, length));
    }
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' && c != 'c');
    if here.starts_with('r') && !in_word {
        return raw_string(here).map(|length| (Kind::Literal, length));
    }
    None
}

/// Block comments nest.
fn block_comment(here: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < here.len() {
        if here[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    here.len()
}

/// The length up to and with the closing quote; a backslash hides the next character.
fn until_quote(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// A character literal, unless the quote begins a lifetime.
fn character(here: &str) -> Option<usize> {
    let mut rest = here[1..].chars();
    let first = rest.next()?;
    let is_literal = first == '\\' || rest.next() == Some('\'');
    is_literal.then(|| 1 + until_quote(&here[1..], '\''))
}

/// A raw string, unless the `r` begins a name.
fn raw_string(here: &str) -> Option<usize> {
    let rest = here[1..].trim_start_matches('#');
    let hashes = here.len() - 1 - rest.len();
    let body = rest.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(1 + hashes + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `text` when only stretches of one kind are kept.
    fn only(kind: Kind, text: &str) -> String {
        split(text).into_iter().filter(|(found, _)| *found == kind).map(|(_, part)| part).collect()
    }

    #[test]
    fn nothing_is_lost() {
        let text = "let a = \"x // y\"; // c\n/* a /* b */ é */ fn f<'a>(c: 'static) { '\\'' }";
        assert_eq!(split(text).into_iter().map(|(_, part)| part).collect::<String>(), text);
    }

    #[test]
    fn strings_hide_comments_and_the_reverse() {
        assert_eq!(only(Kind::Literal, "f(\"a // b\\\" c\") // \"d\""), "\"a // b\\\" c\"");
        assert_eq!(only(Kind::Comment, "f(\"a // b\") // \"d\"\ng()"), "// \"d\"");
        assert_eq!(only(Kind::Code, "a/* /* b */ c */d"), "ad");
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        assert_eq!(only(Kind::Literal, "f(r#\"a \"b\" c\"#, br\"d\")"), "r#\"a \"b\" c\"#r\"d\"");
        assert_eq!(only(Kind::Literal, "for r in r#type {}"), "");
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(only(Kind::Literal, "fn f<'a>(x: &'a str) { 'x' '\\n' '\"' }"), "'x''\\n''\"'");
    }
}
