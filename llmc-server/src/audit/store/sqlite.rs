//! Records in an SQLite database with a write-ahead log.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row as SqlRow, TransactionBehavior, params};

use super::{
    Cut, Garbage, Ground, MARK_EVERY, PATIENCE, Pruned, Retention, Source, Store, StoreError, Stored, Visit,
};
use crate::audit::chain::{self, ChainId, Checkpoint, End, Hash, Kind};
use crate::audit::head;
use crate::audit::key::{Key, turn};
use crate::audit::query::{Filter, Row};
use crate::audit::record::{Body, Fields};
use crate::files::NEVER_WAIT;

/// Says whose database it is: `llma`.
const APPLICATION: i64 = 0x6c6c_6d61;
const VERSION: i64 = 1;

/// Places of the checkpoints that there is one of; marks are at their number.
const BASE: i64 = -1;
const HEAD: i64 = -2;

/// Taken out at once when there are too many bytes: one part in so many, so that it is done seldom.
const PART: u64 = 8;

/// `text` is what the chain covers; the columns before it repeat a part of it.
const TABLES: &str = "
    CREATE TABLE records(
        seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, event TEXT NOT NULL, caller TEXT, tool TEXT, plugin TEXT,
        outcome TEXT, text TEXT NOT NULL, hash BLOB NOT NULL);
    CREATE TABLE checkpoints(place INTEGER PRIMARY KEY, text TEXT NOT NULL);
";

pub(super) struct Writer {
    ground: Ground,
    connection: Connection,
}

impl Writer {
    pub(super) fn open(path: &Path, key: Arc<Key>) -> Result<Self, StoreError> {
        // Made here, because SQLite would make it readable for others; its log gets the same mode.
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NEVER_WAIT).open(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // Only a database without tables takes it.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // Every commit is on the disk when it returns.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        let chain = prepare(&mut connection, path, &key)?;
        let mut ground = Ground { path: path.to_owned(), key, chain, known: None };
        ground.known = ground.told_end(&last(&connection)?);
        Ok(Self { ground, connection })
    }

    /// What is not as it was left. Records that were pruned meanwhile say nothing.
    fn cut(&self, found: End) -> Result<Option<Cut>, StoreError> {
        let Some(expected) = self.ground.known.filter(|known| *known != found) else { return Ok(None) };
        let base = checkpoint(&self.connection, BASE)?.and_then(|base| base.end());
        let there = match base {
            Some(base) if expected.seq < base.seq => return Ok(None),
            Some(base) if expected.seq == base.seq => Some(base.hash),
            _ => hash_at(&self.connection, expected.seq)?,
        };
        Ok((there != Some(expected.hash)).then_some(Cut { expected, found }))
    }
}

/// Makes the tables of a new database, and tells which chain it holds.
fn prepare(connection: &mut Connection, path: &Path, key: &Key) -> Result<ChainId, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables == 0 {
        let chain = ChainId::random()?;
        let base = End { seq: 0, hash: chain.genesis() };
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        put(&transaction, BASE, &key.sign(Kind::Base, &chain, &base))?;
        // Before the first record, so that one is missed if it is not there any more.
        head::write(path, &key.sign(Kind::Head, &chain, &base))?;
    }
    transaction.commit()?;
    check(connection, path)?;
    let base = checkpoint(connection, BASE)?.and_then(|base| base.chain_id());
    base.ok_or_else(|| StoreError::Foreign {
        path: path.to_owned(),
        problem: "has lost the beginning of its chain",
    })
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned(), problem: "is no audit of llmc" });
    }
    if pragma("user_version")? != VERSION {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            problem: "was made by another version of llmc",
        });
    }
    Ok(())
}

impl Store for Writer {
    fn append(&mut self, bodies: &[Body], note: &mut dyn FnMut(Cut) -> Vec<Body>) -> Result<(), StoreError> {
        // SQLite has a lock of its own; this one also keeps the file with the end in step.
        let _turn = turn(&self.ground.key_path(), PATIENCE)?;
        let before = last(&self.connection)?;
        let notes = self.cut(before)?.map(note).unwrap_or_default();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut end = before;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO records(seq, time_ms, event, caller, tool, plugin, outcome, text, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for Body { text, fields } in notes.iter().chain(bodies) {
                let seq = end.seq + 1;
                end = End { seq, hash: chain::next(&end.hash, seq, text.as_bytes()) };
                let Fields { time_ms, event, caller, tool, plugin, outcome } = fields;
                let hash = &end.hash[..];
                insert.execute(params![
                    signed(seq),
                    signed(*time_ms),
                    event,
                    caller,
                    tool,
                    plugin,
                    outcome,
                    text,
                    hash
                ])?;
            }
        }
        put(&transaction, HEAD, &self.ground.sign(Kind::Head, &end))?;
        if end.seq / MARK_EVERY > before.seq / MARK_EVERY {
            put(&transaction, signed(end.seq), &self.ground.sign(Kind::Mark, &end))?;
        }
        transaction.commit()?;
        self.ground.set_end(end)
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<Option<Pruned>, StoreError> {
        let _turn = turn(&self.ground.key_path(), PATIENCE)?;
        let (first, end) = (first(&self.connection)?, last(&self.connection)?);
        let Some(first) = first else { return Ok(None) };
        let too_old = match retention.keep_ms {
            Some(keep_ms) => seq_before(&self.connection, now_ms.saturating_sub(keep_ms))?,
            None => 0,
        };
        let too_many = match retention.max_bytes {
            Some(max_bytes) if self.bytes()? > max_bytes => {
                first + (end.seq - first + 1).div_ceil(PART).min(end.seq - first)
            }
            _ => 0,
        };
        // The last record stays, so that there is something to go on from.
        let upto = too_old.max(too_many).min(end.seq.saturating_sub(1));
        let Some(hash) = hash_at(&self.connection, upto)?.filter(|_| upto >= first) else { return Ok(None) };
        let base = self.ground.sign(Kind::Base, &End { seq: upto, hash });
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let records = transaction.execute("DELETE FROM records WHERE seq <= ?1", [signed(upto)])?;
        transaction.execute("DELETE FROM checkpoints WHERE place BETWEEN 0 AND ?1", [signed(upto)])?;
        put(&transaction, BASE, &base)?;
        transaction.commit()?;
        // Gives the room back, and the memory that it took; it answers with rows, which say nothing.
        self.connection.execute_batch("PRAGMA incremental_vacuum; PRAGMA shrink_memory")?;
        Ok(Some(Pruned { records: records as u64, before_seq: upto + 1 }))
    }
}

impl Writer {
    /// Bytes of the pages that are in use.
    fn bytes(&self) -> Result<u64, StoreError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        Ok(unsigned(pages.saturating_mul(pragma("page_size")?)))
    }
}

pub(super) struct Reader {
    connection: Connection,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // Writable, because readers of a write-ahead log note in shared memory what they read.
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
            .or_else(|_| Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        check(&connection, path)?;
        Ok(Self { connection })
    }
}

impl Source for Reader {
    fn snapshot(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("BEGIN")?;
        // A transaction begins with what it reads first.
        Ok(self.connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?)
    }

    fn base(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        checkpoint(&self.connection, BASE)
    }

    fn head(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        checkpoint(&self.connection, HEAD)
    }

    fn marks(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        let mut select =
            self.connection.prepare("SELECT text FROM checkpoints WHERE place >= 0 ORDER BY place")?;
        let texts = select.query_map([], |row| row.get::<_, String>(0))?;
        texts.map(|text| Ok(serde_json::from_str(&text?)?)).collect()
    }

    fn records(&mut self, visit: Visit<'_>) -> Result<(), StoreError> {
        let mut select = self.connection.prepare(
            "SELECT seq, text, hash, time_ms, event, caller, tool, plugin, outcome FROM records ORDER BY seq",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let record = stored(row).map_err(|_| Garbage {
                place: format!("row {}", row.get::<_, i64>(0).unwrap_or_default()),
                is_torn_end: false,
            });
            if visit(record) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn query(&mut self, filter: &Filter) -> Result<Vec<Row>, StoreError> {
        let mut select = self.connection.prepare(
            "SELECT seq, text, hash, time_ms, event, caller, tool, plugin, outcome FROM records
             WHERE seq > ?1 AND seq < ?2 AND time_ms >= ?3 AND time_ms <= ?4
                AND (?5 IS NULL OR event = ?5) AND (?6 IS NULL OR caller = ?6) AND (?7 IS NULL OR tool = ?7)
                AND (?8 IS NULL OR plugin = ?8) AND (?9 IS NULL OR outcome = ?9)
             ORDER BY seq DESC",
        )?;
        let limit = |value: Option<u64>, default: i64| value.map_or(default, signed);
        let mut rows = select.query(params![
            limit(filter.after_seq, -1),
            limit(filter.before_seq, i64::MAX),
            limit(filter.since_ms, 0),
            limit(filter.until_ms, i64::MAX),
            filter.event,
            filter.caller,
            filter.tool,
            filter.plugin,
            filter.outcome,
        ])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if found.len() >= filter.limit {
                break;
            }
            // What cannot be read is for `verify` to tell.
            let Ok(stored) = stored(row) else { continue };
            found.extend(Row::of(stored).filter(|row| filter.fits(row)));
        }
        found.reverse();
        Ok(found)
    }

    fn last(&mut self) -> Result<Option<End>, StoreError> {
        let end = last(&self.connection)?;
        Ok(hash_at(&self.connection, end.seq)?.map(|_| end))
    }

    fn damage(&mut self) -> Result<Vec<String>, StoreError> {
        let mut check = self.connection.prepare("PRAGMA integrity_check(10)")?;
        let lines = check.query_map([], |row| row.get::<_, String>(0))?;
        let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

fn stored(row: &SqlRow<'_>) -> rusqlite::Result<Stored> {
    let fields = Fields {
        time_ms: unsigned(row.get(3)?),
        event: row.get(4)?,
        caller: row.get(5)?,
        tool: row.get(6)?,
        plugin: row.get(7)?,
        outcome: row.get(8)?,
    };
    Ok(Stored { seq: unsigned(row.get(0)?), text: row.get(1)?, hash: row.get(2)?, fields: Some(fields) })
}

fn put(connection: &Connection, place: i64, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let text = serde_json::to_string(checkpoint)?;
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO checkpoints(place, text) VALUES (?1, ?2)")?;
    insert.execute(params![place, text])?;
    Ok(())
}

fn checkpoint(connection: &Connection, place: i64) -> Result<Option<Checkpoint>, StoreError> {
    let mut select = connection.prepare_cached("SELECT text FROM checkpoints WHERE place = ?1")?;
    let text: Option<String> = select.query_row([place], |row| row.get(0)).optional()?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Where the chain ends; at its base if there is no record.
fn last(connection: &Connection) -> Result<End, StoreError> {
    let mut select = connection.prepare_cached("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1")?;
    let end =
        select.query_row([], |row| Ok(End { seq: unsigned(row.get(0)?), hash: row.get(1)? })).optional()?;
    match end {
        Some(end) => Ok(end),
        None => {
            let base = checkpoint(connection, BASE)?.and_then(|base| base.end());
            Ok(base.unwrap_or(End { seq: 0, hash: [0; 32] }))
        }
    }
}

fn first(connection: &Connection) -> Result<Option<u64>, StoreError> {
    let first: Option<i64> = connection.query_row("SELECT min(seq) FROM records", [], |row| row.get(0))?;
    Ok(first.map(unsigned))
}

fn hash_at(connection: &Connection, seq: u64) -> Result<Option<Hash>, StoreError> {
    let mut select = connection.prepare_cached("SELECT hash FROM records WHERE seq = ?1")?;
    Ok(select.query_row([signed(seq)], |row| row.get(0)).optional()?)
}

/// The last record of those at the beginning that are older.
fn seq_before(connection: &Connection, time_ms: u64) -> Result<u64, StoreError> {
    let kept: Option<i64> = connection
        .query_row(
            "SELECT seq FROM records WHERE time_ms >= ?1 ORDER BY seq LIMIT 1",
            [signed(time_ms)],
            |row| row.get(0),
        )
        .optional()?;
    match kept {
        Some(kept) => Ok(unsigned(kept).saturating_sub(1)),
        None => Ok(last(connection)?.seq),
    }
}

/// Numbers of records and milliseconds stay far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
