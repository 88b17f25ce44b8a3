//! Reading files that the operator names, without falling into what is no file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opening with these never waits: a named pipe without a peer would otherwise hang the start for ever.
pub(crate) const NEVER_WAIT: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();

/// Reads a regular file of at most `max_bytes` bytes.
///
/// # Errors
///
/// Those of opening and reading; also when it is no regular file, or larger.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let (file, size) = open(path, max_bytes)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read`], for text.
///
/// # Errors
///
/// As [`read`]; also when it is not UTF-8.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    String::from_utf8(read(path, max_bytes)?).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// Opens a regular file of at most `max_bytes` bytes and tells its size; it may still grow while it is read.
///
/// # Errors
///
/// Those of opening; also when it is no regular file, or larger.
pub(crate) fn open(path: &Path, max_bytes: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(NEVER_WAIT).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > max_bytes {
        return Err(io::Error::other(format!("it has {} bytes, the limit is {max_bytes}", metadata.len())));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_and_nothing_else_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "content").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read_text(&file, 100).unwrap(), "content");
        assert!(read(&file, 3).unwrap_err().to_string().contains("the limit is 3"));
        for no_file in [&pipe, Path::new("/dev/zero"), folder.path()] {
            assert!(read(no_file, 100).is_err(), "{}", no_file.display());
        }
    }
}
