//! Where records are kept: an SQLite database, or lines of JSON. Both hold the same texts and the same chain, and
//! several processes may write one at the same time, each commit as a whole.

mod jsonl;
mod jsonl_source;
mod memory;
mod sqlite;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) use memory::Memory;

use super::chain::{ChainId, Checkpoint, End, Hash, Kind};
use super::head;
use super::key::{Key, beside};
use super::query::{Filter, Row};
use super::record::{Body, Fields};
use crate::config::{self, AuditFormat};

/// How long another process may hold the audit.
const PATIENCE: Duration = Duration::from_secs(2);

/// A checkpoint is kept at least every so many records.
const MARK_EVERY: u64 = 256;

/// Why records cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", in_words(.0))]
    Sqlite(rusqlite::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("`{}` {problem}", path.display())]
    Foreign { path: PathBuf, problem: &'static str },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What SQLite says in its own terms, as what it means for an audit.
fn in_words(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "it is no database; is it another file, or an audit with `format = \"jsonl\"`?".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the database is damaged; keep it and the files beside it elsewhere, then a server begins another"
                .to_owned()
        }
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened; may this user read and write it and its folder?".to_owned()
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process does not let go of it".to_owned()
        }
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        _ => error.to_string(),
    }
}

/// What of the past is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) keep_ms: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
}

/// What was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) records: u64,
    /// The first record that is left, or would be.
    pub(crate) before_seq: u64,
}

/// The chain does not end as this audit left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) expected: End,
    pub(crate) found: End,
}

/// Takes records.
pub(crate) trait Store: Send {
    /// Appends, all or nothing; when it returns, a crash of the machine loses none of them. `cut` is called first if
    /// the chain does not go on from where it was, and what it returns is appended, too.
    fn append(&mut self, bodies: &[Body], cut: &mut dyn FnMut(Cut) -> Vec<Body>) -> Result<(), StoreError>;

    /// Takes out what is not to be kept, oldest first.
    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<Option<Pruned>, StoreError>;
}

/// A record as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) text: String,
    pub(crate) hash: Hash,
    /// The fields that are kept apart from the text, to be searched.
    pub(crate) fields: Option<Fields>,
}

/// A place that holds no record, where one should be.
#[derive(Debug)]
pub(crate) struct Garbage {
    pub(crate) place: String,
    /// It is the end of a file, written by a process that was killed: nobody was told that it is kept.
    pub(crate) is_torn_end: bool,
}

/// What a source says to whoever reads all of it.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Result<Stored, Garbage>) -> ControlFlow<()>;

/// Gives records; each method sees the audit as it is then, [`Source::snapshot`] makes all of them see one moment.
pub(crate) trait Source {
    fn snapshot(&mut self) -> Result<(), StoreError>;
    /// What the kept part of the chain begins after.
    fn base(&mut self) -> Result<Option<Checkpoint>, StoreError>;
    /// The signed end that is kept with the records.
    fn head(&mut self) -> Result<Option<Checkpoint>, StoreError>;
    fn marks(&mut self) -> Result<Vec<Checkpoint>, StoreError>;
    /// All records in their order.
    fn records(&mut self, visit: Visit<'_>) -> Result<(), StoreError>;
    /// The newest records that fit, oldest of them first.
    fn query(&mut self, filter: &Filter) -> Result<Vec<Row>, StoreError>;
    /// The last record.
    fn last(&mut self) -> Result<Option<End>, StoreError>;
    /// What is wrong with the container itself.
    fn damage(&mut self) -> Result<Vec<String>, StoreError>;
}

/// Which form a file has, by its configuration or its name.
pub(crate) fn format_of(path: &Path, format: Option<AuditFormat>) -> AuditFormat {
    let is_jsonl = path.extension().is_some_and(|ending| ending == "jsonl");
    format.unwrap_or(if is_jsonl { AuditFormat::Jsonl } else { AuditFormat::Sqlite })
}

/// Opens an audit to write, and makes what is not there.
///
/// # Errors
///
/// When it cannot be made, or is no audit.
pub(crate) fn open(config: &config::Audit, path: &Path, key: Arc<Key>) -> Result<Box<dyn Store>, StoreError> {
    Ok(match format_of(path, config.format) {
        AuditFormat::Sqlite => Box::new(sqlite::Writer::open(path, key)?),
        AuditFormat::Jsonl => Box::new(jsonl::Writer::open(path, key, config.max_bytes)?),
    })
}

/// Opens an audit to read.
///
/// # Errors
///
/// When there is none.
pub(crate) fn source(path: &Path, format: Option<AuditFormat>) -> Result<Box<dyn Source>, StoreError> {
    Ok(match format_of(path, format) {
        AuditFormat::Sqlite => Box::new(sqlite::Reader::open(path)?),
        AuditFormat::Jsonl => Box::new(jsonl_source::Reader::open(path)?),
    })
}

/// What both kinds of writers know.
struct Ground {
    path: PathBuf,
    key: Arc<Key>,
    chain: ChainId,
    /// Where this process left the chain, or the last one before it.
    known: Option<End>,
}

impl Ground {
    fn key_path(&self) -> PathBuf {
        beside(&self.path, ".key")
    }

    fn sign(&self, kind: Kind, end: &End) -> Checkpoint {
        self.key.sign(kind, &self.chain, end)
    }

    /// Says where the chain ends, in the file beside the records, too.
    fn set_end(&mut self, end: End) -> Result<(), StoreError> {
        self.known = Some(end);
        Ok(head::write(&self.path, &self.sign(Kind::Head, &end))?)
    }

    /// The end that the file beside the records tells. It is made with the chain, so where it is missing, or somebody
    /// else signed it, nobody knows the end: not even that `found` is it.
    fn told_end(&self, found: &End) -> Option<End> {
        let head = head::read(&self.path).ok().flatten();
        let told = head.filter(|head| {
            head.kind == Kind::Head
                && head.chain_id() == Some(self.chain)
                && head.is_signed_by(&self.key.public())
        });
        Some(told.and_then(|head| head.end()).unwrap_or(End { seq: found.seq, hash: [0; 32] }))
    }
}
