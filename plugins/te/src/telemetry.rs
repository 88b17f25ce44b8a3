//! What was asked and what it saved, in SQLite in the state folder. No argument is written down: of a command line only
//! its shape is, and a keyed hash that tells equal ones from different ones. The key never leaves the folder.

use std::path::Path;
use std::time::Duration;

use llmc_core::prelude::*;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::answer::Mode;
use crate::limits::MAX_EVENTS;
use crate::shelf::{hexadecimal, now};

const FILE: &str = "telemetry.db";
/// How long to wait for another process.
const BUSY: Duration = Duration::from_secs(2);
/// Says whose database it is: `llmt`.
const APPLICATION: i64 = 0x6c6c_6d74;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS events(
        id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, agent TEXT NOT NULL, command TEXT NOT NULL, shape TEXT NOT NULL,
        arguments TEXT NOT NULL, mode TEXT NOT NULL, plain_tokens INTEGER NOT NULL, shown_tokens INTEGER NOT NULL,
        truncated INTEGER NOT NULL, handle INTEGER NOT NULL, exit INTEGER NOT NULL, failed INTEGER NOT NULL,
        latency_ms INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS keys(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

/// Words that are commands of commands, and no secrets.
const SUBCOMMANDS: &[&str] = &[
    "add", "bench", "blame", "branch", "build", "check", "checkout", "clippy", "commit", "diff", "doc",
    "fetch", "fmt", "install", "log", "ls", "metadata", "pull", "push", "rebase", "reset", "run", "show",
    "stash", "status", "switch", "test", "tree",
];

/// One command.
pub(crate) struct Event<'a> {
    pub(crate) agent: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) mode: Mode,
    pub(crate) plain_tokens: usize,
    pub(crate) shown_tokens: usize,
    pub(crate) truncated: bool,
    pub(crate) handle: bool,
    pub(crate) exit: i32,
    pub(crate) failed: bool,
    pub(crate) latency: Duration,
}

/// The database.
pub(crate) struct Telemetry {
    connection: Connection,
}

impl Telemetry {
    /// Opens it, and makes it if it is not there, or is no database any more.
    pub(crate) fn open(state: &Path) -> rusqlite::Result<Self> {
        match Self::open_as_it_is(state) {
            Err(error) if is_broken(&error) => {
                for ending in ["", "-wal", "-shm", "-journal"] {
                    // What is not there need not go.
                    let _ = std::fs::remove_file(state.join(format!("{FILE}{ending}")));
                }
                Self::open_as_it_is(state)
            }
            opened => opened,
        }
    }

    fn open_as_it_is(state: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection =
            Connection::open_with_flags(state.join(FILE), flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if application != APPLICATION {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "application_id", APPLICATION)?;
        }
        // The last events may be lost when the machine fails; the database is not.
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(Self { connection })
    }

    /// Adds an event; the oldest beyond the limit go.
    pub(crate) fn add(&self, event: &Event<'_>) -> rusqlite::Result<()> {
        let (command, shape) = redacted(event.argv, event.mode);
        let mut hash = Sha256::new();
        hash.update(self.key()?);
        for word in event.argv {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word.as_bytes());
        }
        let mode = match event.mode {
            Mode::Enriched => "enriched",
            Mode::Passed => "passthrough",
            Mode::Raw => "raw",
            Mode::Own => "own",
        };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.connection.execute(
            "INSERT INTO events(at_ms, agent, command, shape, arguments, mode, plain_tokens, shown_tokens, truncated,
             handle, exit, failed, latency_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                i64::try_from(now()).unwrap_or(i64::MAX),
                event.agent,
                command,
                shape,
                hexadecimal(&hash.finalize()[..8]),
                mode,
                count(event.plain_tokens),
                count(event.shown_tokens),
                event.truncated,
                event.handle,
                event.exit,
                event.failed,
                i64::try_from(event.latency.as_millis()).unwrap_or(i64::MAX),
            ],
        )?;
        let last = self.connection.last_insert_rowid();
        self.connection.execute("DELETE FROM events WHERE id <= ?1", [last - MAX_EVENTS])?;
        Ok(())
    }

    /// What each command came to, the most frequent first.
    pub(crate) fn stats(&self) -> rusqlite::Result<Vec<Value>> {
        let sql = "SELECT command, mode, count(*), sum(plain_tokens), sum(shown_tokens), sum(truncated), sum(exit != 0),
                   sum(failed), avg(latency_ms) FROM events GROUP BY command, mode ORDER BY count(*) DESC, command, mode
                   LIMIT 40";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(json!({
                "command": row.get::<_, String>(0)?,
                "mode": row.get::<_, String>(1)?,
                "calls": row.get::<_, i64>(2)?,
                "plain_tokens": row.get::<_, i64>(3)?,
                "shown_tokens": row.get::<_, i64>(4)?,
                "truncated": row.get::<_, i64>(5)?,
                "nonzero": row.get::<_, i64>(6)?,
                "failed": row.get::<_, i64>(7)?,
                "average_ms": row.get::<_, f64>(8)?.round(),
            }))
        })?;
        rows.collect()
    }

    /// The key of the hashes; the process that comes first makes it.
    fn key(&self) -> rusqlite::Result<Vec<u8>> {
        let sql = "INSERT OR IGNORE INTO keys(name, value) VALUES('arguments', randomblob(32))";
        let read = || {
            let sql = "SELECT value FROM keys WHERE name = 'arguments'";
            self.connection.query_row(sql, [], |row| row.get(0)).optional()
        };
        if let Some(key) = read()? {
            return Ok(key);
        }
        self.connection.execute(sql, [])?;
        read()?.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

/// Statistics are not worth a repair.
fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// A table of [`Telemetry::stats`].
pub(crate) fn table(stats: &[Value]) -> String {
    let mut text = String::from(
        "command          mode         calls  plain tokens  shown tokens  shown/plain  failed   ms\n",
    );
    for row in stats {
        let number = |name: &str| row[name].as_i64().unwrap_or_default();
        let (plain, shown) = (number("plain_tokens"), number("shown_tokens"));
        let share = if plain > 0 { format!("{} %", shown.saturating_mul(100) / plain) } else { "-".into() };
        text.push_str(&format!(
            "{:<16} {:<11} {:>6}  {plain:>12}  {shown:>12}  {share:>11}  {:>6} {:>4}\n",
            row["command"].as_str().unwrap_or_default(),
            row["mode"].as_str().unwrap_or_default(),
            number("calls"),
            number("failed"),
            row["average_ms"].as_f64().unwrap_or_default(),
        ));
    }
    text
}

/// Name and shape of a command line without anything a caller wrote: programs by name if they are known to this plugin,
/// long flags without values, short ones by their first letter, all other words by their number.
fn redacted(argv: &[String], mode: Mode) -> (String, String) {
    const PROGRAMS: &[&str] = &[
        "cargo", "cat", "egrep", "fgrep", "find", "git", "grep", "head", "ls", "make", "node", "npm",
        "pytest", "python", "python3", "rg", "tail", "tree", "wc", "stats", "handles",
    ];
    let known = |word: &String, words: &[&'static str]| words.iter().find(|known| **known == *word).copied();
    let Some((program, arguments)) = argv.split_first() else {
        return (if mode == Mode::Own { "handle" } else { "?" }.into(), String::new());
    };
    let name = known(program, PROGRAMS).unwrap_or("other");
    let takes_subcommands = matches!(name, "cargo" | "git" | "npm");
    let subcommand =
        arguments.first().filter(|_| takes_subcommands).and_then(|word| known(word, SUBCOMMANDS));
    let command = subcommand.map_or_else(|| name.to_owned(), |subcommand| format!("{name} {subcommand}"));
    let (mut shape, mut plain) = (command.clone(), 0);
    let mut only_plain = false;
    for word in arguments.iter().skip(usize::from(subcommand.is_some())).take(64) {
        match flag(word).filter(|_| !only_plain) {
            Some(flag) => shape.push_str(&format!(" {flag}")),
            None => plain += 1,
        }
        only_plain |= word == "--";
    }
    (command, format!("{shape} +{plain}"))
}

/// A flag without its value: `--glob=x` becomes `--glob`, `-e` and `-esecret` become `-e`.
fn flag(word: &str) -> Option<String> {
    let is_name = |text: &str| {
        (2..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or_default();
        return is_name(name).then(|| format!("--{name}"));
    }
    let letter = word.strip_prefix('-')?.chars().next()?;
    letter.is_ascii_alphabetic().then(|| format!("-{letter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn event<'a>(argv: &'a [String], mode: Mode) -> Event<'a> {
        Event {
            agent: "unknown",
            argv,
            mode,
            plain_tokens: 1_000,
            shown_tokens: 100,
            truncated: true,
            handle: true,
            exit: 0,
            failed: false,
            latency: Duration::from_millis(7),
        }
    }

    #[test]
    fn of_arguments_only_the_shape_stays() {
        for (line, command, shape) in [
            ("grep -rn hunter2 src", "grep", "grep -r +2"),
            (
                "git log --author=hunter2 -Shunter2 --format hunter2",
                "git log",
                "git log --author -S --format +1",
            ),
            ("mysql -phunter2", "other", "other -p +0"),
            ("grep -- --hunter2", "grep", "grep +2"),
            ("hunter2", "other", "other +0"),
            ("git hunter2", "git", "git +1"),
            ("curl --hunter2=x --HUNTER2", "other", "other +2"),
        ] {
            let shape = if line.starts_with("curl") { "other +2" } else { shape };
            let redacted = redacted(&words(line), Mode::Passed);
            assert_eq!((&*redacted.0, &*redacted.1), (command, shape), "{line}");
            assert!(!redacted.1.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn a_broken_database_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join(FILE),
            "no database at all, but long enough to look like one ".repeat(50),
        )
        .unwrap();
        let telemetry = Telemetry::open(folder.path()).unwrap();
        telemetry.add(&event(&words("grep x"), Mode::Enriched)).unwrap();
        assert_eq!(telemetry.stats().unwrap().len(), 1);
    }

    #[test]
    fn the_file_holds_no_argument_and_equal_lines_are_equal() {
        let folder = tempfile::tempdir().unwrap();
        for line in ["grep hunter2 src", "grep hunter2 src", "grep hunter3 src"] {
            Telemetry::open(folder.path()).unwrap().add(&event(&words(line), Mode::Enriched)).unwrap();
        }
        let telemetry = Telemetry::open(folder.path()).unwrap();
        let distinct: i64 = telemetry
            .connection
            .query_row("SELECT count(DISTINCT arguments) FROM events", [], |row| row.get(0))
            .unwrap();
        assert_eq!(distinct, 2);
        let stats = telemetry.stats().unwrap();
        assert_eq!(
            (stats.len(), &stats[0]["calls"], &stats[0]["plain_tokens"]),
            (1, &json!(3), &json!(3_000))
        );
        assert!(table(&stats).contains("10 %"));
        drop(telemetry);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|part| part == b"hunter"));
        }
    }
}
