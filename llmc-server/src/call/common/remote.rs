//! A Redis database, for servers on several machines.
//!
//! All keys begin with `llmc:{FLEET}:`, where the fleet is made from the key that its servers share; the braces keep
//! them together where keys are spread over machines.
//!
//! - `used:NUMBER`: a state that was used; expires.
//! - `output:ID`: an output, its bytes in 8 bytes (little-endian) and then its pieces, all of one length but the last;
//!   expires.
//! - `outputs`: all of them, `ID:BYTES` by the time when they expire, so that the oldest can make room; expires.
//!
//! Single commands, no scripts and no transactions: Redis 7.0 with its default user switched off writes those down and
//! refuses to read them again when it comes back, and a user needs fewer rights so. What servers do at the same time can
//! therefore mix; each says first what it adds, so that whoever makes room last sees all.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, TlsCertificates, Value};

use super::crew::{Attempt, Crew, odd};
use super::output::{Id, PIECE_BYTES, Sealed, TAG_BYTES};
use super::{LEAST_BYTES, Room, Store, Use};
use crate::audit::now_ms;
use crate::call::shelf::random_hex;
use crate::config::{Address, Place};

/// Outputs of all servers at a time: each keeps 64 when it is alone. Who keeps one is sent the list of them.
const MAX_OUTPUTS: usize = 1024;

/// Longest life of anything there; Redis computes times in 64 bits.
const MAX_LIFE_MS: u64 = 10 * 365 * 24 * 3_600_000;

/// What stands before the pieces of an output.
const HEAD_BYTES: u64 = 8;

/// Bytes of a piece with its tag.
const SEALED_BYTES: usize = PIECE_BYTES + TAG_BYTES;

/// A database, and what all its keys begin with.
pub(super) struct Remote {
    crew: Crew,
    space: String,
}

impl Remote {
    /// Connects to it. `ca` is what its certificate is checked by, in PEM, instead of those of the system.
    ///
    /// # Errors
    ///
    /// When it does not answer in time, refuses, or may forget what it is told.
    pub(super) fn open(
        address: &Address,
        password: Option<&str>,
        ca: Option<Vec<u8>>,
        fleet: &str,
    ) -> io::Result<Self> {
        let crew = Crew::start(&client(address, password, ca)?)?;
        // A connection is checked when it is made.
        crew.ask(|_, _| Ok(()))?;
        Ok(Self { crew, space: format!("llmc:{{{fleet}}}:") })
    }

    fn key(&self, kind: &str, id: &[u8]) -> String {
        format!("{}{kind}:{}", self.space, hex(id))
    }
}

fn client(address: &Address, password: Option<&str>, ca: Option<Vec<u8>>) -> io::Result<Client> {
    let place = match &address.place {
        Place::Socket(path) => ConnectionAddr::Unix(path.clone()),
        Place::Tcp { host, port, is_encrypted: false } => ConnectionAddr::Tcp(host.clone(), *port),
        Place::Tcp { host, port, is_encrypted: true } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
    };
    let is_encrypted = matches!(place, ConnectionAddr::TcpTls { .. });
    let mut settings = RedisConnectionInfo::default().set_db(address.database.into()).set_skip_set_lib_name();
    if let Some(user) = &address.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    let unusable = |error: redis::RedisError| io::Error::other(error.to_string());
    let info = place.into_connection_info().map_err(unusable)?.set_redis_settings(settings);
    let certificates = TlsCertificates { client_tls: None, root_cert: ca };
    let client = if is_encrypted { Client::build_with_tls(info, certificates) } else { Client::open(info) };
    client.map_err(unusable)
}

impl Store for Remote {
    fn use_up(&self, number: u128, expires_ms: u64) -> io::Result<Use> {
        let (key, own) = (self.key("used", &number.to_be_bytes()), random_hex()?);
        let life_ms = expires_ms.saturating_sub(now_ms()).clamp(1, MAX_LIFE_MS);
        self.crew.ask(move |connection, attempt| {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(&own).arg("NX").arg("PX").arg(life_ms);
            match set.query(connection)? {
                Value::Okay => Ok(Use::First),
                Value::Nil if attempt == Attempt::First => Ok(Use::Again),
                // By another server, or by the attempt whose answer was lost?
                Value::Nil => {
                    let there: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query(connection)?;
                    let is_own = there.is_some_and(|there| there == own.as_bytes());
                    Ok(if is_own { Use::First } else { Use::Again })
                }
                _ => Err(odd()),
            }
        })
    }

    fn put(&self, id: &Id, sealed: Sealed, room: Room) -> io::Result<()> {
        let life_ms = u64::try_from(room.lifetime.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_LIFE_MS);
        let (now, counts) = (now_ms(), sealed.total.max(LEAST_BYTES));
        let (list, key) = (format!("{}outputs", self.space), self.key("output", id));
        let (prefix, entry) = (self.key("output", &[]), format!("{}:{counts}", hex(id)));
        let text: Vec<u8> =
            sealed.total.to_le_bytes().into_iter().chain(sealed.pieces.into_iter().flatten()).collect();
        self.crew.ask(move |connection, _| {
            let mut add = redis::pipe();
            add.cmd("ZADD").arg(&list).arg(now + life_ms).arg(&entry).ignore();
            add.cmd("ZREMRANGEBYSCORE").arg(&list).arg("-inf").arg(now).ignore();
            add.cmd("ZRANGE").arg(&list).arg(0).arg(-1).arg("WITHSCORES");
            let (entries,): (Vec<(Vec<u8>, f64)>,) = add.query(connection)?;
            let last = entries.last().map_or(0.0, |(_, expires_ms)| *expires_ms);
            let mut keep = redis::pipe();
            for (oldest, id) in too_many(&entries, &entry, room.max_bytes) {
                keep.cmd("UNLINK").arg(format!("{prefix}{id}")).ignore();
                keep.cmd("ZREM").arg(&list).arg(oldest).ignore();
            }
            keep.cmd("PEXPIREAT")
                .arg(&list)
                .arg((last as u64).clamp(now + life_ms, now + MAX_LIFE_MS))
                .ignore();
            keep.cmd("SET").arg(&key).arg(&text[..]).arg("PX").arg(life_ms);
            match keep.query(connection)? {
                (Value::Okay,) => Ok(()),
                _ => Err(odd()),
            }
        })
    }

    /// What is too old is there no more, by the clock of the database and the `lifetime` that it was kept with.
    fn get(&self, id: &Id, places: RangeInclusive<u64>, _: Duration) -> io::Result<Option<Sealed>> {
        let (first, last) = places.into_inner();
        let begin = |place: u64| HEAD_BYTES + place * SEALED_BYTES as u64;
        let key = self.key("output", id);
        let mut get = redis::pipe();
        get.cmd("GETRANGE").arg(&key).arg(0).arg(HEAD_BYTES - 1);
        get.cmd("GETRANGE").arg(&key).arg(begin(first)).arg(begin(last + 1) - 1);
        self.crew.ask(move |connection, _| {
            let (head, text): (Vec<u8>, Vec<u8>) = get.query(connection)?;
            if head.is_empty() {
                return Ok(None);
            }
            let total = u64::from_le_bytes(head.try_into().map_err(|_| odd())?);
            Ok(Some(Sealed { total, pieces: text.chunks(SEALED_BYTES).map(<[u8]>::to_vec).collect() }))
        })
    }
}

/// The oldest entries that have to go, with their ids, so that the rest fits; `own` stays.
fn too_many<'a>(entries: &'a [(Vec<u8>, f64)], own: &str, max_bytes: u64) -> Vec<(&'a [u8], &'a str)> {
    let read = |entry: &'a [u8]| {
        let (id, bytes) = std::str::from_utf8(entry).ok()?.split_once(':')?;
        Some((id, bytes.parse::<u64>().ok()?))
    };
    let read: Vec<_> =
        entries.iter().map(|(entry, _)| (&entry[..], read(entry).unwrap_or(("", 0)))).collect();
    let mut held = read.iter().fold(0_u64, |held, (_, (_, bytes))| held.saturating_add(*bytes));
    let mut count = read.len();
    let mut gone = Vec::new();
    for (entry, (id, bytes)) in read.into_iter().filter(|(entry, _)| *entry != own.as_bytes()) {
        if held <= max_bytes && count <= MAX_OUTPUTS {
            break;
        }
        (held, count) = (held.saturating_sub(bytes), count - 1);
        gone.push((entry, id));
    }
    gone
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(entries: &[&str], own: &str, max_bytes: u64) -> Vec<String> {
        let entries: Vec<_> = entries.iter().map(|entry| (entry.as_bytes().to_vec(), 0.0)).collect();
        too_many(&entries, own, max_bytes).into_iter().map(|(_, id)| id.to_owned()).collect()
    }

    #[test]
    fn the_oldest_go_and_never_ones_own() {
        let three = ["a:10", "b:10", "c:10"];
        assert_eq!(gone(&three, "c:10", 30), [""; 0]);
        assert_eq!(gone(&three, "c:10", 29), ["a"]);
        assert_eq!(gone(&three, "c:10", 10), ["a", "b"]);
        assert_eq!(gone(&three, "c:10", 0), ["a", "b"]);
        assert_eq!(gone(&three, "a:10", 20), ["b"], "kept a second time, it may stand first");
    }

    #[test]
    fn entries_of_somebody_else_count_what_they_say_and_stop_nothing() {
        assert_eq!(gone(&["", "x", ":::", "a:-1", "b:x", "c:1"], "c:1", 1), [""; 0]);
        assert_eq!(gone(&["a:1", "b:18446744073709551615", "c:1"], "c:1", 9), ["a", "b"]);
        let many: Vec<String> = (0..MAX_OUTPUTS + 2).map(|number| format!("{number}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(gone(&many, "x", 1 << 30), ["0", "1"]);
    }
}
