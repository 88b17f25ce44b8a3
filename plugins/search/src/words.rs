//! Words: how text becomes what the index holds, for files and for queries alike.
//!
//! An identifier is itself, without underscores and in small letters, and its parts: `getUserName` and `get_user_name`
//! are both `getusername get user name`. So one finds the other, and a part finds the whole.

use crate::limits::MAX_WORD_BYTES;

/// Calls `found` with each identifier of a text: a run of letters, digits and underscores.
pub(crate) fn identifiers<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    for run in text.split(|letter: char| !is_word(letter)) {
        let run = run.trim_matches('_');
        if !run.is_empty() {
            found(run);
        }
    }
}

pub(crate) fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// The parts of an identifier, as they are written: `HTTPServer2_run` is `HTTP`, `Server2`, `run`.
pub(crate) fn parts(identifier: &str) -> Vec<&str> {
    identifier.split('_').filter(|part| !part.is_empty()).flat_map(humps).collect()
}

/// Cuts before a capital that follows a small letter or a digit, and before the last capital of a run that goes on small.
fn humps(word: &str) -> Vec<&str> {
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let mut humps = Vec::new();
    let mut start = 0;
    for index in 1..letters.len() {
        let (before, here) = (letters[index - 1].1, letters[index].1);
        let after = letters.get(index + 1).map(|letter| letter.1);
        let starts = here.is_uppercase()
            && (!before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()));
        if starts {
            humps.push(&word[start..letters[index].0]);
            start = letters[index].0;
        }
    }
    humps.push(&word[start..]);
    humps
}

/// One word as the index holds it: small letters, no underscores, not too long. Empty if nothing is left.
pub(crate) fn normal(word: &str) -> String {
    let mut normal = String::with_capacity(word.len());
    push_normal(word, &mut normal);
    normal
}

fn push_normal(word: &str, into: &mut String) {
    let start = into.len();
    for letter in word.chars().filter(|letter| *letter != '_') {
        if letter.is_ascii() {
            into.push(letter.to_ascii_lowercase());
        } else {
            into.extend(letter.to_lowercase().filter(|letter| letter.is_alphanumeric()));
        }
        if into.len() - start >= MAX_WORD_BYTES {
            break;
        }
    }
}

/// Appends what the index holds of a text: its identifiers and their parts, with spaces between.
pub(crate) fn push_indexed(text: &str, into: &mut String) {
    identifiers(text, |identifier| {
        push_normal(identifier, into);
        into.push(' ');
        let parts = parts(identifier);
        if parts.len() > 1 {
            for part in parts {
                push_normal(part, into);
                into.push(' ');
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(text: &str) -> String {
        let mut words = String::new();
        push_indexed(text, &mut words);
        words.trim_end().to_owned()
    }

    #[test]
    fn identifiers_come_with_their_parts() {
        for (text, words) in [
            ("getUserName", "getusername get user name"),
            ("get_user_name", "getusername get user name"),
            ("HTTPServer2.run()", "httpserver2 http server2 run"),
            ("a.b, C++ __init__", "a b c init"),
            ("MAX_SIZE = 10;", "maxsize max size 10"),
            ("Größe ÄRGER", "größe ärger"),
            ("", ""),
            ("_ __ -", ""),
        ] {
            assert_eq!(indexed(text), words, "{text}");
        }
    }

    #[test]
    fn a_word_is_never_longer_than_its_limit_and_a_letter() {
        assert!(normal(&"ä".repeat(500)).len() <= MAX_WORD_BYTES + 4);
    }
}
