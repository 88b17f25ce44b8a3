//! An SQLite file, for servers of one machine or on a volume whose locks hold between machines; its journal is a plain
//! file, since a write-ahead log needs memory that all of them share.

use std::fs::OpenOptions;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::output::{Id, Sealed};
use super::{LEAST_BYTES, Room, Store, Use};
use crate::audit::now_ms;
use crate::files::NEVER_WAIT;

/// How long another server may hold the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says whose database it is: `llms`.
const APPLICATION: i64 = 0x6c6c_6d73;
const VERSION: i64 = 1;

/// Sealed states that were used and have not expired; with more, none is opened.
const MAX_USED: i64 = 1_000_000;

const TABLES: &str = "
    CREATE TABLE used(number BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX used_expire ON used(expires_ms);
    CREATE TABLE outputs(id BLOB PRIMARY KEY, bytes INTEGER NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX outputs_since ON outputs(since_ms);
    CREATE TABLE pieces(id BLOB NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY(id, place));
";

/// The file that servers have in common.
pub(super) struct File {
    connection: Mutex<Connection>,
}

impl File {
    /// Opens it, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or is something else.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Made here, because SQLite would make it readable for others; its journal gets the same mode.
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NEVER_WAIT).open(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
        let mut file = Self { connection: Mutex::new(connection) };
        file.prepare()?;
        Ok(file)
    }

    fn prepare(&mut self) -> io::Result<()> {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let prepare = |connection: &mut Connection| -> rusqlite::Result<(i64, i64)> {
            connection.busy_timeout(PATIENCE)?;
            // Only a database without tables takes it.
            connection.pragma_update(None, "auto_vacuum", "full")?;
            connection.pragma_update(None, "journal_mode", "truncate")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "trusted_schema", false)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let tables: i64 =
                transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
            if tables == 0 {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()?;
            let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("application_id")?, pragma("user_version")?))
        };
        match prepare(connection).map_err(broken)? {
            (APPLICATION, VERSION) => Ok(()),
            (APPLICATION, _) => Err(io::Error::other("it was made by another version of llmc")),
            _ => Err(io::Error::other("it is no shared state of llmc")),
        }
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> io::Result<T> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
        let done = work(&transaction).map_err(broken)?;
        transaction.commit().map_err(broken)?;
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for File {
    fn use_up(&self, number: u128, expires_ms: u64) -> io::Result<Use> {
        let number = number.to_le_bytes();
        self.write(|transaction| {
            transaction.execute("DELETE FROM used WHERE expires_ms <= ?1", [signed(now_ms())])?;
            let used: i64 = transaction.query_row("SELECT count(*) FROM used", [], |row| row.get(0))?;
            if used >= MAX_USED {
                return Ok(Use::Full);
            }
            let insert = "INSERT OR IGNORE INTO used(number, expires_ms) VALUES (?1, ?2)";
            let inserted = transaction.execute(insert, params![&number[..], signed(expires_ms)])?;
            Ok(if inserted == 1 { Use::First } else { Use::Again })
        })
    }

    fn put(&self, id: &Id, sealed: Sealed, room: Room) -> io::Result<()> {
        let Sealed { total, pieces } = sealed;
        self.write(|transaction| {
            make_room(transaction, total.max(LEAST_BYTES), room)?;
            let insert = "INSERT INTO outputs(id, bytes, since_ms) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, params![&id[..], signed(total), signed(now_ms())])?;
            let mut insert =
                transaction.prepare("INSERT INTO pieces(id, place, sealed) VALUES (?1, ?2, ?3)")?;
            for (piece, place) in pieces.iter().zip(0_i64..) {
                insert.execute(params![&id[..], place, piece])?;
            }
            Ok(())
        })
    }

    fn get(&self, id: &Id, places: RangeInclusive<u64>, lifetime: Duration) -> io::Result<Option<Sealed>> {
        let oldest = oldest(lifetime);
        let connection = self.lock();
        let select = "SELECT bytes FROM outputs WHERE id = ?1 AND since_ms >= ?2";
        let total = connection.query_row(select, params![&id[..], signed(oldest)], |row| row.get(0));
        let Some(total) = total.optional().map_err(broken)?.map(unsigned) else { return Ok(None) };
        let select = "SELECT sealed FROM pieces WHERE id = ?1 AND place BETWEEN ?2 AND ?3 ORDER BY place";
        let mut select = connection.prepare_cached(select).map_err(broken)?;
        let (first, last) = places.into_inner();
        let rows = select.query_map(params![&id[..], signed(first), signed(last)], |row| row.get(0));
        let pieces = rows.and_then(Iterator::collect).map_err(broken)?;
        Ok(Some(Sealed { total, pieces }))
    }
}

/// Takes out what is too old, and then the oldest outputs until there is room for so many bytes.
fn make_room(transaction: &Transaction<'_>, bytes: u64, room: Room) -> rusqlite::Result<()> {
    let oldest = signed(oldest(room.lifetime));
    let pieces = "DELETE FROM pieces WHERE id IN (SELECT id FROM outputs WHERE since_ms < ?1)";
    transaction.execute(pieces, [oldest])?;
    transaction.execute("DELETE FROM outputs WHERE since_ms < ?1", [oldest])?;
    let sum = "SELECT coalesce(sum(max(bytes, ?1)), 0) FROM outputs";
    let mut held = unsigned(transaction.query_row(sum, [signed(LEAST_BYTES)], |row| row.get(0))?);
    while held.saturating_add(bytes) > room.max_bytes {
        let select = "SELECT id, bytes FROM outputs ORDER BY since_ms LIMIT 1";
        let oldest: Option<(Vec<u8>, i64)> =
            transaction.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, bytes)) = oldest else { break };
        transaction.execute("DELETE FROM outputs WHERE id = ?1", [&id])?;
        transaction.execute("DELETE FROM pieces WHERE id = ?1", [&id])?;
        held = held.saturating_sub(unsigned(bytes).max(LEAST_BYTES));
    }
    Ok(())
}

/// When the oldest output was kept that still counts.
fn oldest(lifetime: Duration) -> u64 {
    now_ms().saturating_sub(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
}

fn broken(error: rusqlite::Error) -> io::Error {
    io::Error::other(error)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
