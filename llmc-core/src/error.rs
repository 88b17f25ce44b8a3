//! Why a call did not succeed.

use std::fmt::Display;
use std::io;

use llmc_abi::abi_stable::std_types::{ROption, RVec};
use llmc_abi::code;
use serde_json::{Value, json};

use crate::manifest::GrantKind;

/// Key in the data of an error: the kind of grant that it lacked.
pub const MISSING_GRANT: &str = "missing_grant";

/// What tools and the [`Context`](crate::Context) return.
pub type ToolResult<T> = Result<T, ToolError>;

/// An error that the model and the operator read.
///
/// Texts are lowercase, without a final period, with names in backticks: they chain well after a colon.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    code: i32,
    message: String,
    data: Option<Value>,
}

impl ToolError {
    /// An error with one of the [`code`]s.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The tool tried and did not succeed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(code::FAILED, message)
    }

    /// The arguments do not fit; say which one and what would.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_ARGUMENTS, message)
    }

    /// A grant or a policy does not allow it; say which grant would.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(code::DENIED, message)
    }

    /// There is no such resource.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(code::UNKNOWN_ITEM, message)
    }

    /// No grant of this kind covers it. The server adds the line of the configuration that would.
    pub fn not_granted(grant: GrantKind, message: impl Into<String>) -> Self {
        Self::denied(message).with_data(json!({ MISSING_GRANT: grant }))
    }

    /// The host or the server answered something that this crate does not understand.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(code::PROTOCOL, message)
    }

    /// Adds data for programs.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Puts what was being done in front: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// One of the [`code`]s; an unknown one means [`code::FAILED`].
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The sentence for the reader.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data for programs.
    pub fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::failed(readable(&error))
    }
}

impl From<serde_json::Error> for ToolError {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// Turns any error into a [`ToolError`] that says what was being done.
pub trait Explain<T> {
    /// `what` is the beginning of the sentence: ``failed to open `notes.md` ``.
    ///
    /// # Errors
    /// If `self` is an error or `None`.
    fn explain(self, what: impl Display) -> ToolResult<T>;
}

impl<T, E: Into<ToolError>> Explain<T> for Result<T, E> {
    fn explain(self, what: impl Display) -> ToolResult<T> {
        self.map_err(|error| error.into().context(what))
    }
}

impl<T> Explain<T> for Option<T> {
    fn explain(self, what: impl Display) -> ToolResult<T> {
        self.ok_or_else(|| ToolError::failed(what.to_string()))
    }
}

impl From<llmc_abi::ToolError> for ToolError {
    fn from(error: llmc_abi::ToolError) -> Self {
        let data = error.data.into_option().and_then(|data| serde_json::from_slice(&data).ok());
        Self { code: error.code, message: error.message.into(), data }
    }
}

impl From<ToolError> for llmc_abi::ToolError {
    fn from(error: ToolError) -> Self {
        let data = match error.data {
            Some(data) => ROption::RSome(RVec::from(data.to_string().into_bytes())),
            None => ROption::RNone,
        };
        Self { code: error.code, message: error.message.into(), data }
    }
}

/// `No such file or directory (os error 2)` becomes `no such file or directory`.
fn readable(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match error.raw_os_error() {
        Some(number) => text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text),
        None => return text,
    };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_reads_as_a_sentence() {
        let error = std::fs::File::open("/nonexistent/notes.md").explain("failed to open `notes.md`");
        let error = error.expect_err("the file does not exist");
        assert_eq!(error.to_string(), "failed to open `notes.md`: no such file or directory");
        assert_eq!(error.code(), code::FAILED);
        let custom = ToolError::from(io::Error::other("Two Words"));
        assert_eq!(custom.to_string(), "Two Words");
    }

    #[test]
    fn the_abi_form_keeps_everything() {
        let error = ToolError::denied("no").with_data(serde_json::json!({"grant": "net"}));
        let there = llmc_abi::ToolError::from(error.clone());
        assert_eq!(ToolError::from(there), error);
        let bad_data = llmc_abi::ToolError {
            code: 99,
            message: "odd".into(),
            data: ROption::RSome(RVec::from(b"{".to_vec())),
        };
        assert_eq!(ToolError::from(bad_data), ToolError::new(99, "odd"));
    }
}
