//! Reading and replacing files that the operator names, without falling into what is no file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opening with these never waits: a named pipe without a peer would otherwise hang the start for ever.
pub(crate) const NEVER_WAIT: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();

/// What changes when a file is replaced or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version([i64; 7]);

impl Version {
    /// Of the file that a path leads to now; none if it leads to none.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::of)
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self([
            metadata.dev().cast_signed(),
            metadata.ino().cast_signed(),
            metadata.size().cast_signed(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }
}

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

/// Writes a file whole or not at all: beside it first, then in its place. What is there keeps its mode, and its owner
/// where that can be had; a link stays a link, and what it leads to is replaced. A new file has mode 0600.
///
/// # Errors
///
/// Those of writing; the old file is untouched then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match std::fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new().prefix(".llmc-").tempfile_in(folder)?;
    beside.write_all(bytes)?;
    match std::fs::metadata(&path) {
        Ok(old) if !old.is_file() => return Err(io::Error::other("it is not a regular file")),
        Ok(old) => {
            // Only root may give files away; for others an own copy with the same mode is the best there is.
            let _ = std::os::unix::fs::fchown(beside.as_file(), Some(old.uid()), Some(old.gid()));
            beside.as_file().set_permissions(old.permissions())?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    beside.as_file().sync_all()?;
    beside.persist(&path).map(drop).map_err(|error| error.error)
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

    #[test]
    fn a_file_is_replaced_whole_and_stays_what_it_was() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        replace(&file, b"first").unwrap();
        assert_eq!(mode(&file), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink("file", &link).unwrap();
        replace(&link, b"second").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((read_text(&file, 100).unwrap().as_str(), mode(&file)), ("second", 0o644));
        assert!(replace(folder.path(), b"x").is_err());
        assert!(replace(&folder.path().join("no/such/folder"), b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
