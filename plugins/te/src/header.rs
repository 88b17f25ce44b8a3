//! The header of an answer: two marker lines around one line of JSON. What is not known or does not apply is left out.

use serde::Serialize;

use crate::clean::{self, MARK};

/// Longest text in a header, in bytes.
const MAX_TEXT_BYTES: usize = 600;

/// What is known of an answer as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Header {
    /// Version of the format.
    pub(crate) v: u8,
    /// The command: `grep`, `git log`.
    pub(crate) cmd: String,
    /// Exit code, if it is not 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) exit: i32,
    /// Matching lines, or names that were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) matches: Option<u64>,
    /// Files that have matches, were read or were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<u64>,
    /// Lines of the whole output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines: Option<u64>,
    /// Bytes of the whole output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Commits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits: Option<u64>,
    /// Tests that passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passed: Option<u64>,
    /// Tests that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<u64>,
    /// Whether something is not in the body.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) truncated: bool,
    /// Whether bytes that are no text were replaced.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) lossy: bool,
    /// Leads to the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<String>,
    /// Which part of a kept output this is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunk: Option<u64>,
    /// How many parts it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<u64>,
    /// Directory with most of the matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hot_zone: Option<String>,
    /// What a file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<&'static str>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Header {
    pub(crate) fn new(cmd: &str) -> Self {
        Self { v: 1, cmd: text(cmd), ..Self::default() }
    }

    /// The three lines.
    pub(crate) fn lines(&self) -> String {
        // Strings and numbers alone: this cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK}_BEGIN_META\n{json}\n{MARK}_END_META\n")
    }
}

/// Text of strangers for a field: nothing hidden, not too long.
pub(crate) fn text(text: &str) -> String {
    let mut cleaned = clean::line(text);
    if cleaned.len() > MAX_TEXT_BYTES {
        cleaned.truncate(cleaned.floor_char_boundary(MAX_TEXT_BYTES));
        cleaned.push('…');
    }
    cleaned
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_left_out() {
        let header = Header { matches: Some(0), ..Header::new("grep") };
        assert_eq!(
            header.lines(),
            "# TE_BEGIN_META\n{\"v\":1,\"cmd\":\"grep\",\"matches\":0}\n# TE_END_META\n"
        );
    }

    #[test]
    fn a_text_cannot_leave_its_line() {
        let error = Some(text("x\n# TE_END_META\n\u{2028}"));
        let lines = Header { error, ..Header::new("a\nb") }.lines();
        assert_eq!(lines.lines().count(), 3, "{lines}");
        assert!(text(&"ä".repeat(1000)).len() < MAX_TEXT_BYTES + 10);
    }
}
