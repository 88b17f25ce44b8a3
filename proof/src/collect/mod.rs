//! Parts of programs that write none: of what tests say, and of tables that they leave.

pub(crate) mod attacks;
pub(crate) mod conformance;
pub(crate) mod harness;
pub(crate) mod machine;
mod versions;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

use crate::child::Ended;

/// Reads what a program has left, if it is of this run.
fn left<T: DeserializeOwned>(path: &Path, ended: &Ended) -> Result<T> {
    let lacking = || format!("{} left no `{}`", ended.reason(), path.display());
    let changed = std::fs::metadata(path).with_context(lacking)?.modified()?;
    let changed = changed.duration_since(std::time::UNIX_EPOCH)?.as_secs();
    // Times of files are a little coarser than those of the clock.
    ensure!(changed + 1 >= ended.began, "`{}` is of an earlier run; {}", path.display(), ended.reason());
    serde_json::from_slice(&std::fs::read(path)?).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
pub(crate) fn ended(lines: &[&str], code: i32) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    Ended {
        status: std::process::ExitStatus::from_raw(code << 8),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        began: crate::child::now(),
        seconds: 1.0,
    }
}
