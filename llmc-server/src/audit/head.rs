//! The end of the chain, signed, in a file beside the records: who cuts records off would have to change it, too.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::chain::Checkpoint;
use super::key::beside;
use crate::files::{self, NEVER_WAIT};

/// Bytes of the file; a shorter text is filled up with spaces. Written in one piece, so a reader never sees half.
const BYTES: usize = 1024;

pub(super) fn path(records: &Path) -> PathBuf {
    beside(records, ".head")
}

/// # Errors
///
/// Those of writing.
pub(super) fn write(records: &Path, head: &Checkpoint) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(head)?;
    bytes.resize(BYTES - 1, b' ');
    bytes.push(b'\n');
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(NEVER_WAIT);
    options.open(path(records))?.write_all_at(&bytes, 0)
}

/// `None` if there is none.
///
/// # Errors
///
/// When it cannot be read, or is none.
pub(super) fn read(records: &Path) -> io::Result<Option<Checkpoint>> {
    match files::read(&path(records), BYTES as u64) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
