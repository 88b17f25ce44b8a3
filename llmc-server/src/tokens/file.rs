//! The file of tokens: its owner's alone, and replaced as a whole.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Token;
use crate::files;

/// Thousands of tokens fit.
const MAX_BYTES: u64 = 1 << 20;

/// Where tokens are kept.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    tokens: Vec<Token>,
}

impl File {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All tokens; none if there is no file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or others could have read or written it.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<Token>> {
        let shown = self.path.display();
        let text = match files::read_text(&self.path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("failed to read tokens from `{shown}`"))?,
        };
        let metadata = self.path.metadata().with_context(|| format!("failed to look at `{shown}`"))?;
        if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
            bail!(
                "tokens are not taken from `{shown}`: others may read or write it; `chmod 600` it as its owner"
            );
        }
        let content: Content =
            serde_json::from_str(&text).with_context(|| format!("`{shown}` is no file of tokens"))?;
        Ok(content.tokens)
    }

    /// Changes the tokens; of two who do at the same time one waits.
    ///
    /// # Errors
    ///
    /// As [`File::read`], when it cannot be written, and those of `change`.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Token>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let failed = || format!("failed to write tokens to `{}`", self.path.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
        let lock = std::fs::File::open(folder).with_context(failed)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(failed)?;
        let mut tokens = self.read()?;
        let result = change(&mut tokens)?;
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
        serde_json::to_writer_pretty(&mut file, &Content { tokens }).with_context(failed)?;
        file.write_all(b"\n").and_then(|()| file.as_file().sync_all()).with_context(failed)?;
        file.persist(&self.path).with_context(failed)?;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token(name: &str) -> Token {
        Token::create(name, None, None).unwrap().0
    }

    fn add(file: &File, name: &str) {
        file.change(|tokens| {
            tokens.push(token(name));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_written_is_read_and_the_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::at(folder.path().join("new/tokens.json"));
        assert_eq!(file.read().unwrap(), []);
        add(&file, "a");
        add(&file, "b");
        let names: Vec<_> = file.read().unwrap().into_iter().map(|token| token.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(file.path().metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.path().join("new").metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_that_others_could_have_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::at(folder.path().join("tokens.json"));
        add(&file, "a");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o660] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert!(file.read().unwrap_err().to_string().contains("chmod 600"), "{mode:o}");
        }
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(file.read().unwrap().len(), 1);
        std::fs::write(file.path(), "{\"tokens\": [], \"more\": 1}").unwrap();
        assert!(file.read().is_err());
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::at(folder.path().join("tokens.json"));
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                let file = &file;
                scope.spawn(move || add(file, name));
            }
        });
        assert_eq!(file.read().unwrap().len(), 8);
    }
}
