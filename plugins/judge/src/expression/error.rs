//! Why an expression could not be judged.

use std::fmt;

/// An error with its place in the expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {column})")]
pub struct ExpressionError {
    /// What is wrong.
    pub kind: Kind,
    /// The character at which it is wrong, counted from 1.
    pub column: usize,
    /// In words.
    pub message: String,
}

/// What is wrong with an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It cannot be read, or uses what the language leaves out.
    Syntax,
    /// It names a function or variable that does not exist.
    Unknown,
    /// Types or numbers of arguments do not fit.
    Type,
    /// It is too long, too deep, or takes too many steps.
    Limit,
    /// A number is too large, or something is divided by zero.
    Arithmetic,
    /// The trace does not tell what it asks.
    Unjudgeable,
}

impl ExpressionError {
    pub(super) fn new(kind: Kind, column: usize, message: impl fmt::Display) -> Self {
        Self { kind, column, message: message.to_string() }
    }
}
