//! A client's file on disk.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{MAX_BYTES, files};

/// Its text, if it exists.
///
/// # Errors
///
/// When it is there and cannot be read.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match files::read_text(path, MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read `{}`", path.display())),
    }
}

/// Copies a file beside itself, with its mode; earlier copies stay.
///
/// # Errors
///
/// When it cannot be copied.
pub(super) fn back_up(path: &Path) -> anyhow::Result<PathBuf> {
    let time: String = crate::lock::now().chars().filter(char::is_ascii_alphanumeric).collect();
    let free = (0..100).map(|count| {
        let suffix = if count == 0 { String::new() } else { format!("-{count}") };
        path.with_added_extension(format!("{time}{suffix}.bak"))
    });
    for backup in free {
        if backup.symlink_metadata().is_err() {
            std::fs::copy(path, &backup)
                .with_context(|| format!("failed to write `{}`", backup.display()))?;
            return Ok(backup);
        }
    }
    anyhow::bail!("there are too many backups of `{}`", path.display())
}

/// Puts a new text in the place of the one that was read.
///
/// # Errors
///
/// When it cannot be written, or is another one by now.
pub(super) fn write(path: &Path, before: Option<&str>, text: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        read(path)?.as_deref() == before,
        "`{}` was changed by somebody else meanwhile; nothing was written, try again",
        path.display()
    );
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("failed to make `{}`", folder.display()))?;
    }
    files::replace(path, text.as_bytes()).with_context(|| format!("failed to write `{}`", path.display()))
}
