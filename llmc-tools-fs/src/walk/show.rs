//! Names and paths as results show them.

use std::borrow::Cow;

use crate::kind::Kind;

/// Adds a name or path. A line feed in it must not look like another entry.
pub(crate) fn push_name(text: &mut String, name: &str) {
    for letter in name.chars() {
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
}

/// What stands behind a name to tell its kind.
pub(crate) fn mark(kind: Kind) -> Cow<'static, str> {
    match kind {
        Kind::File => "".into(),
        Kind::Dir => "/".into(),
        Kind::Symlink => "@".into(),
        kind => format!(" ({kind})").into(),
    }
}

/// Adds what a model should know beside the result, a line in brackets each.
pub(crate) fn push_notes(text: &mut String, notes: &[String]) {
    for note in notes {
        text.push_str(&format!("[{note}]\n"));
    }
    text.truncate(text.trim_end_matches('\n').len());
}

/// `work:src` and `a/b.rs` become `work:src/a/b.rs`, which can be asked for again.
pub(crate) fn join(start: &str, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let slash = if path.is_empty() || start.ends_with(':') { "" } else { "/" };
    format!("{start}{slash}{path}")
}
