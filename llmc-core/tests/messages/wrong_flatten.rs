//! Refused: flatten.

use llmc_core::prelude::*;

/// Finds files.
#[arguments]
pub struct FindFiles {
    /// Where.
    path: String,
    /// How many.
    #[serde(flatten)]
    page: Page,
}

/// A part of the results.
#[arguments]
pub struct Page {
    /// The first one.
    first: u64,
}

fn main() {}
