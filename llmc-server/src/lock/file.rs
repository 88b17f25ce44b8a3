//! The lock file: TOML, sorted, made to be read as a diff.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Pin;
use crate::config::syntax;
use crate::files;

/// Largest file that is read: schemas of many tools fit many times.
const MAX_BYTES: u64 = 16 << 20;

/// Version of the format.
const VERSION: u32 = 1;

const HEAD: &str = "\
# What each plugin was when the operator agreed to it. Written by `llmc plugin lock` and `llmc plugin accept`; a plugin
# that differs from it is not started. Do not edit it: read its changes, and keep it beside the configuration.

";

/// What is pinned, by plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    version: u32,
    #[serde(default)]
    pub(crate) plugins: BTreeMap<String, Pin>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: VERSION, plugins: BTreeMap::new() }
    }
}

/// Why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// It cannot be read.
    #[error("failed to read lock `{}`: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("failed to write lock `{}`: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a lock.
    #[error(
        "lock `{}`: {message}\ntake it from where it was good, or remove it, check every plugin and write it anew with \
         `llmc plugin lock`",
        file.display()
    )]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The configuration requires one.
    #[error(
        "lock `{}` is missing and `server.require_lock` is set; check every plugin with `llmc plugin inspect NAME` and \
         write it with `llmc plugin lock{flag}`",
        file.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
        /// What names the configuration in a command.
        flag: String,
    },
    /// There is no configuration file that it could lie beside.
    #[error(
        "a lock lies beside a configuration file, and there is none; `llmc init` writes one, `--config FILE` names one"
    )]
    NoConfiguration,
}

/// Where the lock of a configuration lies: `llmc.lock` for `llmc.toml`.
pub(crate) fn lock_path(config: &Path) -> PathBuf {
    match config.extension() {
        Some(ending) if ending == "lock" => config.with_added_extension("lock"),
        _ => config.with_extension("lock"),
    }
}

impl Lock {
    /// Reads a lock, if there is one.
    ///
    /// # Errors
    ///
    /// When something is there that is no lock.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>, LockError> {
        let text = match files::read_text(file, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Read { file: file.to_owned(), source }),
        };
        let wrong = |message: String| LockError::Syntax { file: file.to_owned(), message };
        let lock: Self = toml::from_str(&text).map_err(|error| wrong(syntax::told(&text, &error)))?;
        if lock.version != VERSION {
            return Err(wrong(format!("its version is {}, this llmc knows {VERSION}", lock.version)));
        }
        for (name, pin) in &lock.plugins {
            pin.check().map_err(|problem| wrong(format!("[plugins.{name}]: {problem}")))?;
        }
        Ok(Some(lock))
    }

    /// Writes the lock, whole or not at all.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the old one is still there then.
    pub(crate) fn write(&self, file: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::Write { file: file.to_owned(), source };
        let body = toml::to_string_pretty(self).map_err(|error| failed(io::Error::other(error)))?;
        files::replace(file, format!("{HEAD}{body}").as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llmc.lock");
        assert_eq!(Lock::read(&file).unwrap(), None);
        let mut lock = Lock::default();
        lock.plugins.insert("hello".into(), super::super::pin::tests::pin());
        lock.write(&file).unwrap();
        assert_eq!(Lock::read(&file).unwrap(), Some(lock.clone()));
        let first = std::fs::read(&file).unwrap();
        lock.write(&file).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), first, "the same lock is the same bytes");
    }

    #[test]
    fn what_is_no_lock_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llmc.lock");
        for text in ["version = 2", "versoin = 1", "version = 1\n[plugins.x]\nsha256 = 'abc'"] {
            std::fs::write(&file, text).unwrap();
            let error = Lock::read(&file).unwrap_err().to_string();
            assert!(error.contains("llmc plugin lock"), "{text}: {error}");
        }
        let mut lock = Lock::default();
        lock.plugins.insert("hello".into(), super::super::pin::tests::pin());
        lock.write(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("Greets someone", "Greets nobody")).unwrap();
        let error = Lock::read(&file).unwrap_err().to_string();
        assert!(error.contains("edited by hand"), "{error}");
    }

    #[test]
    fn the_lock_lies_beside_its_configuration() {
        assert_eq!(lock_path(Path::new("/a/llmc.toml")), Path::new("/a/llmc.lock"));
        assert_eq!(lock_path(Path::new("/a/config.toml")), Path::new("/a/config.lock"));
        assert_eq!(lock_path(Path::new("/a/x.lock")), Path::new("/a/x.lock.lock"));
    }
}
