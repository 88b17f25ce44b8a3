//! What is told about code at its end.

use serde::Serialize;

use crate::Spent;

/// Longest value in JSON, in bytes.
const MAX_VALUE_BYTES: usize = 256 << 10;
/// Longest value in another notation, in characters.
const MAX_REPR_CHARS: usize = 100_000;
const MAX_MESSAGE_CHARS: usize = 8_000;
const MAX_TRACEBACK_CHARS: usize = 32_000;
const MAX_TYPE_CHARS: usize = 200;

/// The body of the last frame.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Raised>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// Whether `error` is about a limit, which the exit code names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) limit: bool,
}

/// A value.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repr: Option<String>,
    /// Length of the whole form, if it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

/// An error that nothing in the code caught.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Raised {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) traceback: Option<String>,
    pub(crate) line: Option<u64>,
}

impl Shown {
    /// A value that has a JSON form.
    pub(crate) fn json(text: String) -> Self {
        if text.len() <= MAX_VALUE_BYTES {
            return Self { json: Some(text), repr: None, bytes: None };
        }
        Self { json: None, bytes: Some(text.len()), repr: Some(beginning(&text)) }
    }

    /// A value that has none.
    pub(crate) fn repr(text: &str) -> Self {
        let shown = beginning(text);
        Self { json: None, bytes: (shown.len() < text.len()).then_some(text.len()), repr: Some(shown) }
    }
}

impl Raised {
    /// An error with texts of bearable length.
    pub(crate) fn new(kind: &str, message: &str, traceback: Option<&str>, line: Option<u64>) -> Self {
        Self {
            kind: cut(kind, MAX_TYPE_CHARS),
            message: cut(message, MAX_MESSAGE_CHARS),
            traceback: traceback.map(|text| cut(text, MAX_TRACEBACK_CHARS)),
            line,
        }
    }

    /// What is said about a limit. The place is where the code was then, if that is known.
    pub(crate) fn limit(spent: Spent, traceback: Option<&str>, line: Option<u64>) -> Self {
        let (kind, message) = match spent {
            Spent::Wall => ("TimedOut", "the time of the run was over"),
            Spent::Cpu => ("LimitExceeded", "the processor time of the run was used up"),
            Spent::Memory => ("LimitExceeded", "the memory of the run was used up"),
        };
        Self::new(kind, message, traceback, line)
    }
}

fn beginning(text: &str) -> String {
    let end = text.char_indices().nth(MAX_REPR_CHARS).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

/// Leaves out the middle.
fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let half = most / 2;
    let at = |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let left_out = count - 2 * half;
    format!("{}\n[... {left_out} characters left out ...]\n{}", &text[..at(half)], &text[at(count - half)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(cut("grüße", 5), "grüße");
        let long = format!("a{}z", "é".repeat(9000));
        let shown = cut(&long, 100);
        assert!(
            shown.starts_with("aé") && shown.ends_with("éz") && shown.contains("8902 characters left out")
        );
    }

    #[test]
    fn long_values_are_cut_and_counted() {
        let whole = Shown::json("1".repeat(MAX_VALUE_BYTES));
        assert!(whole.json.is_some() && whole.bytes.is_none());
        let long = Shown::json("é".repeat(MAX_VALUE_BYTES));
        assert_eq!((long.json, long.bytes), (None, Some(2 * MAX_VALUE_BYTES)));
        assert_eq!(long.repr.unwrap().chars().count(), MAX_REPR_CHARS);
        assert_eq!(Shown::repr("x").bytes, None);
    }
}
