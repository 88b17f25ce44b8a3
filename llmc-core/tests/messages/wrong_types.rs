//! Refused: types.

use llmc_core::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// Waits for a file.
#[arguments]
pub struct WaitForFile {
    /// The file.
    path: PathBuf,
    /// How long.
    wait: Option<Duration>,
    /// Where in it.
    ranges: Vec<(u64, u64)>,
    /// Its number.
    inode: u128,
}

fn main() {}
