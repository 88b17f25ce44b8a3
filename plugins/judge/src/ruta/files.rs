//! Reading and making files, with errors that name them.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use judge::limits::{MAX_SCENARIO_BYTES, MAX_TRACE_BYTES};
use judge::scenario::{self, Scenario};
use judge::trace::{self, Trace};

/// Reads a text file that is not longer than this.
pub(crate) fn read(file: &Path, max_bytes: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let open = File::open(file).with_context(|| format!("failed to open `{}`", file.display()))?;
    let read = open.take(max_bytes as u64 + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("failed to read `{}`", file.display()))?;
    if bytes.len() > max_bytes {
        bail!("`{}` is longer than {max_bytes} bytes", file.display());
    }
    String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", file.display()))
}

pub(crate) fn scenario(file: &Path) -> Result<Scenario> {
    let text = read(file, MAX_SCENARIO_BYTES)?;
    scenario::parse(&text).with_context(|| format!("scenario `{}`", file.display()))
}

pub(crate) fn trace(file: &Path) -> Result<Trace> {
    let text = read(file, MAX_TRACE_BYTES)?;
    trace::parse(&text).with_context(|| format!("trace `{}`", file.display()))
}

/// Makes a file that was not there, for its owner alone: traces hold arguments and results.
pub(crate) fn create(file: &Path) -> Result<File> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.with_context(|| format!("failed to make `{}`; it must not exist yet", file.display()))
}
