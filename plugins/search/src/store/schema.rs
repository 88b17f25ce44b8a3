//! Tables, and how connections are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// Changes with everything that files are turned into; another version is built anew.
pub(super) const VERSION: i64 = 2;
/// Says whose database it is: `llms`.
pub(super) const APPLICATION: i64 = 0x6c6c_6d73;

/// How long to wait for another process.
const BUSY: Duration = Duration::from_secs(5);

/// `uses.within` is a symbol, or minus the file for what stands outside of symbols. `symbols.chunk` is the chunk with its
/// name. `vectors` is empty unless there is a model.
///
/// The full-text tables have no content of their own. `text` is asked for words of chunks, `defs` for words of names,
/// `docs` for words of whole files, and `grams` for any three letters, without positions.
const TABLES: &str = "
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, path BLOB NOT NULL, indexed_commit TEXT);
    CREATE TABLE files(
        id INTEGER PRIMARY KEY, root INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, hash BLOB NOT NULL, language TEXT NOT NULL, is_test INTEGER NOT NULL,
        lines INTEGER NOT NULL, UNIQUE(root, path));
    CREATE TABLE chunks(
        id INTEGER PRIMARY KEY, file INTEGER NOT NULL, first_line INTEGER NOT NULL, last_line INTEGER NOT NULL,
        symbol INTEGER, is_test INTEGER NOT NULL, is_document INTEGER NOT NULL);
    CREATE INDEX chunks_file ON chunks(file, first_line);
    CREATE TABLE names(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE INDEX names_folded ON names(name COLLATE NOCASE);
    CREATE TABLE symbols(
        id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name INTEGER NOT NULL, kind TEXT NOT NULL,
        first_line INTEGER NOT NULL, last_line INTEGER NOT NULL, name_line INTEGER NOT NULL, parent INTEGER,
        chunk INTEGER, signature TEXT NOT NULL);
    CREATE INDEX symbols_file ON symbols(file, first_line);
    CREATE INDEX symbols_name ON symbols(name);
    CREATE TABLE uses(
        within INTEGER NOT NULL, name INTEGER NOT NULL, usage TEXT NOT NULL, file INTEGER NOT NULL,
        line INTEGER NOT NULL, PRIMARY KEY(within, name, usage)) WITHOUT ROWID;
    CREATE INDEX uses_name ON uses(name);
    CREATE TABLE vectors(chunk INTEGER PRIMARY KEY, vector BLOB NOT NULL);
    CREATE VIRTUAL TABLE text USING fts5(
        names, path, head, body, content='', contentless_delete=1, tokenize='porter ascii');
    CREATE VIRTUAL TABLE defs USING fts5(name, parent, content='', contentless_delete=1, tokenize='porter ascii');
    CREATE VIRTUAL TABLE docs USING fts5(
        path, names, introduction, content='', contentless_delete=1, tokenize='porter ascii');
    CREATE VIRTUAL TABLE grams USING fts5(
        body, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1');
";

/// Opens for writing, and makes what is not there.
pub(super) fn open_writer(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // With a write-ahead log this loses the newest transactions when the machine fails, and never the database.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -32_000)?;
    connection.pragma_update(None, "journal_size_limit", 32 << 20)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    check(&connection)?;
    Ok(connection)
}

/// Opens for reading; there must be a database.
pub(super) fn open_reader(file: &Path) -> Result<Connection, StoreError> {
    // Writable, because readers of a write-ahead log note in shared memory what they read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)
        .or_else(|_| Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    set_up(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    check(&connection)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    // Otherwise a statement is planned anew for every value that is bound to it: a third of the time of a query.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn check(connection: &Connection) -> Result<(), StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION, VERSION) => Ok(()),
        (application, version) => {
            Err(StoreError::Broken(format!("the index is of another version ({application:#x}, {version})")))
        }
    }
}
