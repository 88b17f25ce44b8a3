//! What a library says of itself, beside the library: `libhello.so` and `libhello.manifest.json`.
//!
//! With it clients see the tools while the hosts still load. It is as trusted as the library, which lies in the same
//! folder. It is believed at once when it is younger than the library and names its size (and the digest that the
//! operator expects, if any); else once the library is read, if it names its digest. A host that says otherwise ends the
//! server's start, so that nothing is believed for longer than a host takes to load. `llmc plugin manifest` writes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::library::{Library, LibraryError};
use crate::files;

/// Largest file that is read, in bytes; a host sends no larger manifest.
const MAX_BYTES: u64 = 4 << 20;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestFile {
    /// SHA-256 of the library, in hexadecimal.
    pub(crate) sha256: String,
    /// Size of the library.
    pub(crate) bytes: u64,
    /// What the library says.
    pub(crate) manifest: Value,
}

impl ManifestFile {
    /// Where it lies.
    pub(crate) fn path(library: &Path) -> PathBuf {
        library.with_extension("manifest.json")
    }

    /// The manifest of this library, if it lies beside it. A file for another build, or one that cannot be read, is as
    /// good as none: the library itself is asked then.
    ///
    /// # Errors
    ///
    /// When it takes reading the library to know, and that fails.
    pub(crate) async fn beside(library: &Library) -> Result<Option<Value>, Arc<LibraryError>> {
        let path = Self::path(&library.path);
        let read = files::read(&path, MAX_BYTES).ok();
        let Some(file) = read.and_then(|text| serde_json::from_slice::<Self>(&text).ok()) else {
            return Ok(None);
        };
        let written = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let is_younger = written.zip(library.modified).is_some_and(|(written, modified)| written >= modified);
        let is_expected =
            library.expected.as_ref().is_none_or(|expected| expected.eq_ignore_ascii_case(&file.sha256));
        if is_younger && is_expected && file.bytes == library.bytes {
            return Ok(Some(file.manifest));
        }
        let sealed = library.sealed().await?;
        Ok((file.sha256 == sealed.sha256).then_some(file.manifest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::signature::Trust;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("libhello.so"), b"abc").unwrap();
            Self(folder)
        }

        /// Writes the file beside the library, so many seconds younger than it.
        fn write(&self, text: &[u8], younger: i64) {
            let path = self.0.path().join("libhello.manifest.json");
            std::fs::write(&path, text).unwrap();
            let library = std::fs::metadata(self.0.path().join("libhello.so")).unwrap().modified().unwrap();
            let seconds = std::time::Duration::from_secs(younger.unsigned_abs());
            let time = if younger < 0 { library - seconds } else { library + seconds };
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }

        async fn believed(&self, expected: Option<&str>) -> Option<Value> {
            let library =
                Library::open(&self.0.path().join("libhello.so"), expected, &Trust::default()).unwrap();
            ManifestFile::beside(&library).await.unwrap()
        }
    }

    fn file(sha256: &str, bytes: u64) -> Vec<u8> {
        let file = ManifestFile { sha256: sha256.to_owned(), bytes, manifest: json!({"items": []}) };
        serde_json::to_vec(&file).unwrap()
    }

    /// Of `abc`.
    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn it_counts_for_its_own_library_only() {
        let folder = Folder::new();
        let manifest = Some(json!({"items": []}));
        assert_eq!(folder.believed(None).await, None, "there is none");
        let other = "0".repeat(64);
        for (younger, what) in [(-5, "older"), (5, "younger")] {
            folder.write(&file(DIGEST, 3), younger);
            assert_eq!(folder.believed(None).await, manifest, "{what}");
            assert_eq!(folder.believed(Some(DIGEST)).await, manifest, "{what}");
            folder.write(&file(DIGEST, 4), younger);
            assert_eq!(folder.believed(None).await, manifest, "{what}: the digest decides");
            folder.write(&file(&other, 4), younger);
            assert_eq!(folder.believed(None).await, None, "{what}: of another build");
            folder.write(b"{", younger);
            assert_eq!(folder.believed(None).await, None, "{what}: cut off");
        }
        // Believed until its host says otherwise, which ends the start; never against the operator's digest.
        folder.write(&file(&other, 3), 5);
        assert_eq!(folder.believed(None).await, manifest);
        assert_eq!(folder.believed(Some(DIGEST)).await, None);
        folder.write(&file(&other, 3), -5);
        assert_eq!(folder.believed(None).await, None);
    }
}
