//! What a library says of itself, beside the library: `libhello.so` and `libhello.manifest.json`.
//!
//! With it clients see the tools while the hosts still load. It is as trusted as the library, which lies in the same
//! folder, and it counts only for the library whose digest it names; a host that says otherwise ends the server's
//! start. `llmc plugin manifest` writes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::library::Library;
use crate::files;

/// Largest file that is read, in bytes; a host sends no larger manifest.
const MAX_BYTES: u64 = 4 << 20;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestFile {
    /// SHA-256 of the library, in hexadecimal.
    pub(crate) sha256: String,
    /// What the library says.
    pub(crate) manifest: Value,
}

impl ManifestFile {
    /// Where it lies.
    pub(crate) fn path(library: &Path) -> PathBuf {
        library.with_extension("manifest.json")
    }

    /// The manifest of exactly this library, if it lies beside it. A file for another build, or one that cannot be
    /// read, is as good as none: the library itself is asked then.
    pub(crate) fn beside(library: &Library) -> Option<Value> {
        let text = files::read(&Self::path(&library.path), MAX_BYTES).ok()?;
        let file: Self = serde_json::from_slice(&text).ok()?;
        (file.sha256 == library.sha256).then_some(file.manifest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_counts_for_its_own_library_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libhello.so");
        std::fs::write(&path, b"abc").unwrap();
        let library = Library::open(&path, None).unwrap();
        assert_eq!(ManifestFile::beside(&library), None, "there is none");

        let beside = folder.path().join("libhello.manifest.json");
        assert_eq!(ManifestFile::path(&path), beside);
        let write = |sha256: &str| {
            let file = ManifestFile { sha256: sha256.to_owned(), manifest: json!({"items": []}) };
            std::fs::write(&beside, serde_json::to_vec(&file).unwrap()).unwrap();
        };
        write(&library.sha256);
        assert_eq!(ManifestFile::beside(&library), Some(json!({"items": []})));
        write(&"0".repeat(64));
        assert_eq!(ManifestFile::beside(&library), None, "of another build");
        std::fs::write(&beside, "{").unwrap();
        assert_eq!(ManifestFile::beside(&library), None, "cut off");
    }
}
