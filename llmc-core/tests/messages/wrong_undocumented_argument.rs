//! Refused: undocumented argument.

use llmc_core::prelude::*;

/// Counts the words of a text.
#[arguments]
pub struct CountWords {
    pub text: String,
    /// How to count.
    by: By,
}

/// How to count.
#[arguments]
enum By {
    Spaces,
    Pattern { pattern: String },
}

fn main() {}
