//! Digests of the programs that were started, each file read once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::chain::hex;

/// What changes with the contents of a file: device, inode, size, time of its last change.
type Version = (u64, u64, u64, i64, i64);

/// Digests that are known.
#[derive(Default)]
pub(super) struct Programs(HashMap<PathBuf, (Version, String)>);

impl Programs {
    /// The SHA-256 of a program; `None` if it cannot be read, which is no reason to keep no record of its start.
    pub(super) fn sha256(&mut self, path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let version =
            (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        if let Some((_, sha256)) = self.0.get(path).filter(|(known, _)| *known == version) {
            return Some(sha256.clone());
        }
        let mut digest = Sha256::new();
        std::io::copy(&mut file, &mut Digesting(&mut digest)).ok()?;
        let sha256 = hex(&digest.finalize());
        self.0.insert(path.to_owned(), (version, sha256.clone()));
        Some(sha256)
    }
}

/// Takes bytes into a digest.
struct Digesting<'a>(&'a mut Sha256);

impl std::io::Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_changed_has_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let mut programs = Programs::default();
        assert_eq!(programs.sha256(&path), None);
        std::fs::write(&path, "").unwrap();
        let empty = programs.sha256(&path).unwrap();
        assert!(empty.starts_with("e3b0c44298fc1c14"), "{empty}");
        std::fs::write(&path, "x").unwrap();
        assert_ne!(programs.sha256(&path).unwrap(), empty);
    }
}
