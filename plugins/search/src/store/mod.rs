//! The database: what is in the files, found by words, by names and by letters.
//!
//! It holds no text of the files, only their words: an answer is read from the file itself, so it is never older than
//! the file, and what is deleted there is not kept here. Write-ahead logging lets readers go on while files are written.

mod error;
mod reader;
mod schema;
mod writer;

pub(crate) use error::StoreError;
pub(crate) use reader::{Brief, ChunkRow, Lineage, Reader, SymbolRow};
pub(crate) use writer::{Known, Writer};

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FILE: &str = "index.db";
const SET_ASIDE: &str = "index.db.corrupt";
/// Files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["index.db-wal", "index.db-shm", "index.db-journal"];

/// The database in a state folder.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Which file the database is now; another number is another database.
pub(crate) fn identity(folder: &Path) -> Option<u64> {
    Some(std::fs::metadata(file(folder)).ok()?.ino())
}

/// Puts a broken database out of the way. The newest one is kept, for whoever wants to know.
///
/// # Errors
/// If the folder does not allow it.
pub(crate) fn set_aside(folder: &Path) -> std::io::Result<()> {
    match std::fs::rename(file(folder), folder.join(SET_ASIDE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for name in BESIDE {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
