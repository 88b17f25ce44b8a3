//! Why the database did not do what it should.

use rusqlite::ErrorCode;

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

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Stopped,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Broken(text),
            // A table or column that is not there was taken away by somebody else.
            Some(ErrorCode::Unknown) => Self::Broken(text),
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
