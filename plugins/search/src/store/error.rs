//! Why the database did not do what it should.

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

/// SQLite keeps no room for itself: below this many bytes it may fail to make the files beside a database, and calls that
/// a "disk I/O error".
const LITTLE_ROOM: u64 = 128 << 10;

/// What went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It is no database any more, or one of another version.
    Broken(String),
    /// It cannot be used now: no space, no permission, locked for too long.
    Unusable(String),
    /// The caller no longer wants it.
    Stopped,
}

impl StoreError {
    /// Says that the disk is full, where that is so.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        let Self::Unusable(text) = self else { return self };
        let room = rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        match room {
            Some(room) if room < LITTLE_ROOM => {
                Self::Unusable(format!("{text}; the disk with the state of this plugin is full"))
            }
            _ => Self::Unusable(text),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Stopped,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Broken(text),
            // A table or column that is not there was taken away by somebody else.
            Some(ErrorCode::Unknown) => Self::Broken(text),
            // A file ends before what the others say is in it, or its disk says that it is damaged.
            Some(ErrorCode::SystemIoFailure)
                if matches!(extended, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS) =>
            {
                Self::Broken(format!("{text}, code {extended}"))
            }
            // The text is the same for dozens of causes, <https://sqlite.org/rescode.html>.
            Some(ErrorCode::SystemIoFailure) => Self::Unusable(format!("{text}, code {extended}")),
            Some(_) => Self::Unusable(text),
            // A value of the wrong type.
            None => Self::Broken(text),
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(why) | Self::Unusable(why) => f.write_str(why),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn what_is_damaged_is_told_from_what_cannot_be_used_now() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_IOERR_SHORT_READ] {
            assert!(matches!(of(code), StoreError::Broken(_)), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(of(code), StoreError::Unusable(_)), "{code}");
        }
        assert_eq!(of(ffi::SQLITE_INTERRUPT), StoreError::Stopped);
        assert!(of(ffi::SQLITE_IOERR_SHMSIZE).to_string().contains("4874"));
    }

    #[test]
    fn a_disk_is_called_full_only_if_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = of(ffi::SQLITE_IOERR_SHMSIZE).in_folder(folder.path());
        assert!(!error.to_string().contains("full"), "{error}");
    }
}
