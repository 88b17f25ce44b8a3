//! What the book says is true: its reference, its configurations, and its sessions.
//!
//! `cargo xtask book --bless` (`LLMC_BLESS=1` here) writes reference and transcripts anew; the diff is the review.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod configurations;
mod reference;
mod session;
mod terminal;
mod transcripts;

use std::path::{Path, PathBuf};

/// The folder of the book.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs")
}

fn is_blessing() -> bool {
    std::env::var_os("LLMC_BLESS").is_some()
}

/// Compares a file of the book with what it should be, or makes it so; a difference is returned.
fn compared(file: &Path, text: &str) -> Option<String> {
    let written = std::fs::read_to_string(file).unwrap_or_default();
    if written == text {
        return None;
    }
    if is_blessing() {
        std::fs::write(file, text).unwrap();
        return None;
    }
    let diff = similar::TextDiff::from_lines(written.as_str(), text);
    let diff = diff.unified_diff().context_radius(1).to_string();
    Some(format!(
        "{} is not what it should be; `cargo xtask book --bless` writes it anew\n{diff}",
        file.display()
    ))
}
