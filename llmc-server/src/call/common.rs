//! What several servers behind one address have in common, so that a call may begin at one and end at another: which
//! sealed states were used, and the outputs that are kept for `read_more`.
//!
//! One SQLite file, for servers of one machine or on a volume whose locks hold between machines; its journal is a plain
//! file, since a write-ahead log needs memory that all of them share. An output is encrypted with a key made from its
//! handle and its owner, and neither stands in the file: who reads the file reads no output.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use sha2::Sha256;

use super::shelf::Part;
use crate::audit::now_ms;
use crate::config::{Access, Config};
use crate::files::NEVER_WAIT;

/// How long another server may hold the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says whose database it is: `llms`.
const APPLICATION: i64 = 0x6c6c_6d73;
const VERSION: i64 = 1;

/// Bytes of a text that are encrypted together, so that a part of it can be read.
const PIECE_BYTES: usize = 64 << 10;

/// What the smallest output counts.
const LEAST_BYTES: u64 = 4 << 10;

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
pub(crate) struct Common {
    connection: Mutex<Connection>,
}

/// What became of a state that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
    Full,
}

/// What a handle stands for.
struct Output {
    id: [u8; 32],
    key: LessSafeKey,
}

impl Common {
    /// Opens the file that the configuration names, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made, is something else, or could be changed by tools.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(path) = &config.server.shared_state else { return Ok(None) };
        out_of_reach(path, config)?;
        let opened = Self::open_file(path);
        opened.map(Some).map_err(|error| {
            anyhow::anyhow!("server.shared_state: failed to open `{}`: {error}", path.display())
        })
    }

    fn open_file(path: &Path) -> io::Result<Self> {
        // Made here, because SQLite would make it readable for others; its journal gets the same mode.
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NEVER_WAIT).open(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
        let mut common = Self { connection: Mutex::new(connection) };
        common.prepare()?;
        Ok(common)
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

    /// Uses a sealed state up, for all servers. Blocks.
    ///
    /// # Errors
    ///
    /// When that cannot be written: then the state must not count.
    pub(super) fn use_up(&self, number: u128, expires_ms: u64) -> io::Result<Use> {
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

    /// Keeps a text of an owner under a handle, at most `max_bytes` of all servers together; the oldest make room.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn keep(&self, owner: &str, handle: &str, text: &str, max_bytes: u64) -> io::Result<()> {
        let output = Output::of(owner, handle)?;
        let bytes = text.len() as u64;
        let pieces: Vec<Vec<u8>> = text
            .as_bytes()
            .chunks(PIECE_BYTES)
            .zip(0..)
            .map(|(piece, place)| output.seal(piece, place, bytes))
            .collect::<io::Result<_>>()?;
        self.write(|transaction| {
            make_room(transaction, bytes.max(LEAST_BYTES), max_bytes)?;
            let insert = "INSERT INTO outputs(id, bytes, since_ms) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, params![&output.id[..], signed(bytes), signed(now_ms())])?;
            let mut insert =
                transaction.prepare("INSERT INTO pieces(id, place, sealed) VALUES (?1, ?2, ?3)")?;
            for (piece, place) in pieces.iter().zip(0_i64..) {
                insert.execute(params![&output.id[..], place, piece])?;
            }
            Ok(())
        })
    }

    /// Reads a part of a text that is not older than `lifetime`, as [`super::shelf::Shelf::read`] does. Blocks.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds something else.
    pub(super) fn read(
        &self,
        owner: &str,
        handle: &str,
        (offset, max_bytes): (u64, usize),
        lifetime: Duration,
    ) -> io::Result<Option<Part>> {
        let output = Output::of(owner, handle)?;
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms().saturating_sub(lifetime_ms);
        let connection = self.lock();
        let select = "SELECT bytes FROM outputs WHERE id = ?1 AND since_ms >= ?2";
        let total = connection.query_row(select, params![&output.id[..], signed(oldest)], |row| row.get(0));
        let Some(total) = total.optional().map_err(broken)?.map(unsigned) else { return Ok(None) };
        let (from, until) = super::shelf::window(offset, max_bytes, total);
        let piece_bytes = PIECE_BYTES as u64;
        let first = from / piece_bytes;
        let select =
            "SELECT place, sealed FROM pieces WHERE id = ?1 AND place BETWEEN ?2 AND ?3 ORDER BY place";
        let mut select = connection.prepare_cached(select).map_err(broken)?;
        let mut rows = select
            .query(params![&output.id[..], signed(first), signed(until / piece_bytes)])
            .map_err(broken)?;
        let mut bytes = Vec::new();
        while let Some(row) = rows.next().map_err(broken)? {
            let (place, sealed) = (row.get(0).map_err(broken)?, row.get(1).map_err(broken)?);
            bytes.extend(output.open(sealed, unsigned(place), total)?);
        }
        let skip = usize::try_from(from - first * piece_bytes).map_err(io::Error::other)?;
        let length = usize::try_from(until - from).map_err(io::Error::other)?;
        let bytes =
            bytes.get(skip..skip + length).ok_or_else(|| io::Error::other("a piece of it is missing"))?;
        Ok(Some(super::shelf::part(bytes.to_vec(), from, offset, total)?))
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

/// Takes out the oldest outputs until there is room for so many bytes.
fn make_room(transaction: &Transaction<'_>, bytes: u64, max_bytes: u64) -> rusqlite::Result<()> {
    let sum = "SELECT coalesce(sum(max(bytes, ?1)), 0) FROM outputs";
    let mut held = unsigned(transaction.query_row(sum, [signed(LEAST_BYTES)], |row| row.get(0))?);
    while held.saturating_add(bytes) > max_bytes {
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

impl Output {
    /// Both follow from the handle, which has 128 random bits, and the owner.
    fn of(owner: &str, handle: &str) -> io::Result<Self> {
        let derived = |purpose: &[u8]| -> io::Result<[u8; 32]> {
            let mac = Hmac::<Sha256>::new_from_slice(handle.as_bytes()).map_err(io::Error::other)?;
            Ok(mac.chain_update(purpose).chain_update(owner.as_bytes()).finalize().into_bytes().into())
        };
        let key = UnboundKey::new(&AES_256_GCM, &derived(b"llmc output key 1\n")?)
            .map_err(|_| io::Error::other("no key"))?;
        Ok(Self { id: derived(b"llmc output id 1\n")?, key: LessSafeKey::new(key) })
    }

    /// Each key encrypts one text, and each piece of it once: its place is a good nonce.
    fn seal(&self, piece: &[u8], place: u64, total: u64) -> io::Result<Vec<u8>> {
        let mut sealed = piece.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(place), Aad::from(total.to_le_bytes()), &mut sealed)
            .map_err(|_| io::Error::other("it cannot be encrypted"))?;
        Ok(sealed)
    }

    fn open(&self, mut sealed: Vec<u8>, place: u64, total: u64) -> io::Result<Vec<u8>> {
        let open = self.key.open_in_place(nonce(place), Aad::from(total.to_le_bytes()), &mut sealed);
        let length = open.map_err(|_| io::Error::other("a piece of it was changed"))?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

fn nonce(place: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&place.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Who can write the file can make used states good again.
fn out_of_reach(path: &Path, config: &Config) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    for (name, root) in config.roots.iter().filter(|(_, root)| root.access == Access::Rw) {
        if root.path.canonicalize().is_ok_and(|root| folder.starts_with(root)) {
            anyhow::bail!(
                "server.shared_state: `{}` could be changed through the writable root `{name}`; write another place",
                path.display()
            );
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const LONG: Duration = Duration::from_secs(600);

    fn two(folder: &Path) -> [Common; 2] {
        [(); 2].map(|()| Common::open_file(&folder.join("shared.db")).unwrap())
    }

    fn text_of(part: Option<Part>) -> Option<String> {
        part.map(|part| part.text)
    }

    #[test]
    fn what_one_server_used_is_used_for_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path());
        let later = now_ms() + 60_000;
        assert_eq!(one.use_up(7, later).unwrap(), Use::First);
        assert_eq!(other.use_up(7, later).unwrap(), Use::Again);
        assert_eq!(other.use_up(8, later).unwrap(), Use::First);
        assert_eq!(one.use_up(8, later).unwrap(), Use::Again);
    }

    #[test]
    fn of_many_that_use_one_at_the_same_time_one_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let servers: Vec<Common> = two(folder.path()).into_iter().chain(two(folder.path())).collect();
        for number in 0..20 {
            let firsts = std::thread::scope(|scope| {
                let uses: Vec<_> = servers
                    .iter()
                    .map(|server| scope.spawn(move || server.use_up(number, now_ms() + 60_000).unwrap()))
                    .collect();
                uses.into_iter().map(|used| used.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(firsts.iter().filter(|used| **used == Use::First).count(), 1, "{firsts:?}");
        }
    }

    #[test]
    fn an_output_is_read_anywhere_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path());
        let text = "aä€😀\n".repeat(40_000);
        one.keep("me", "handle", &text, 10 << 20).unwrap();
        for window in [5, 1_000, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            let (mut seen, mut offset) = (String::new(), 0);
            while let Some(part) = other.read("me", "handle", (offset, window), LONG).unwrap() {
                assert_eq!((part.offset, part.total), (offset, text.len() as u64));
                offset += part.text.len() as u64;
                seen += &part.text;
                if part.text.is_empty() || window < 1_000 && seen.len() > 500 {
                    break;
                }
            }
            assert!(text.starts_with(&seen) && (window < 1_000 || seen == text), "windows of {window}");
        }
        assert_eq!(text_of(other.read("you", "handle", (0, 10), LONG).unwrap()), None);
        assert_eq!(text_of(other.read("me", "another", (0, 10), LONG).unwrap()), None);
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(
            text_of(other.read("me", "handle", (0, 10), Duration::ZERO).unwrap()),
            None,
            "it is too old"
        );
    }

    #[test]
    fn an_output_without_a_byte_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path());
        one.keep("me", "h", "", 10_000).unwrap();
        assert_eq!(text_of(other.read("me", "h", (0, 10), LONG).unwrap()), Some(String::new()));
    }

    #[test]
    fn the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path());
        for handle in ["a", "b", "c"] {
            one.keep("me", handle, "text", 2 * LEAST_BYTES).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let there = ["a", "b", "c"].map(|handle| other.read("me", handle, (0, 9), LONG).unwrap().is_some());
        assert_eq!(there, [false, true, true]);
    }

    #[test]
    fn the_file_shows_no_output_and_a_changed_one_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path());
        one.keep("me", "handle-of-it", &"what nobody may read ".repeat(50), 1 << 20).unwrap();
        let file = folder.path().join("shared.db");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = std::fs::read(&file).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds("nobody may read") && !holds("handle-of-it"));
        other.lock().execute("UPDATE pieces SET sealed = zeroblob(length(sealed))", []).unwrap();
        assert!(one.read("me", "handle-of-it", (0, 10), LONG).is_err());
    }

    #[test]
    fn what_is_something_else_or_in_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.db");
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
        assert!(Common::open_file(&file).err().unwrap().to_string().contains("no shared state"));
        let mut config = Config::default();
        assert!(Common::open(&config).unwrap().is_none());
        config.server.shared_state = Some(folder.path().join("shared.db"));
        let root = |access| config::Root { path: folder.path().to_owned(), access };
        config.roots.insert("work".into(), root(Access::Rw));
        let error = Common::open(&config).err().unwrap().to_string();
        assert!(error.contains("writable root `work`"), "{error}");
        config.roots.insert("work".into(), root(Access::Ro));
        assert!(Common::open(&config).unwrap().is_some());
    }
}
