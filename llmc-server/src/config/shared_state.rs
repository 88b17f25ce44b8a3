//! `server.shared_state`: where several servers keep what they have in common.
//!
//! The address of a Redis database is read here and by nobody else, so that one form counts, and no password in it is
//! ever taken, shown or logged.

use std::borrow::Cow;
use std::fmt;
#[cfg(any(feature = "redis", test))]
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Config;

/// The port that Redis has by itself.
const PORT: u16 = 6379;

/// Longest host and longest user, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// What may be written, for messages.
const FORMS: &str = "the path of a file, `redis://HOST:PORT/DB`, `rediss://HOST:PORT/DB` (TLS) or \
                     `redis+unix:///PATH?db=DB`, with `USER@` before the host or path where there are users";

/// A file, or something that looks like an address and is read by `Address::read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SharedState {
    /// An SQLite database.
    File(PathBuf),
    /// A Redis database, as it was written.
    Address(String),
}

/// The address of a Redis database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) user: Option<String>,
    pub(crate) database: u32,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16, is_encrypted: bool },
    Socket(PathBuf),
}

impl From<String> for SharedState {
    fn from(text: String) -> Self {
        if text.contains("://") { Self::Address(text) } else { Self::File(text.into()) }
    }
}

impl From<SharedState> for String {
    fn from(state: SharedState) -> Self {
        match state {
            SharedState::File(path) => path.to_string_lossy().into_owned(),
            SharedState::Address(text) => text,
        }
    }
}

impl JsonSchema for SharedState {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl SharedState {
    /// Relative paths count from the folder of the configuration.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }
}

/// What belongs to the shared state fits together.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let server = &config.server;
    let address = match &server.shared_state {
        Some(SharedState::Address(text)) => Some(Address::read(text)?),
        Some(SharedState::File(_)) | None => None,
    };
    if let Some(name) = &server.shared_state_password
        && !config.secrets.contains_key(name)
    {
        let known = super::load::listed(config.secrets.keys());
        return Err(format!(
            "server.shared_state_password names secret `{name}`, which [secrets] does not have (it has: {known})"
        ));
    }
    let is_encrypted = matches!(&address, Some(Address { place: Place::Tcp { is_encrypted: true, .. }, .. }));
    if server.shared_state_ca.is_some() && !is_encrypted {
        return Err("server.shared_state_ca is for `server.shared_state = \"rediss://...\"`".into());
    }
    match (&address, &server.shared_state_password) {
        (None, Some(_)) => Err(
            "server.shared_state_password is for the address of a Redis database in `server.shared_state`"
                .into(),
        ),
        (Some(Address { user: Some(user), .. }), None) => Err(format!(
            "server.shared_state: user `{user}` has no password; name the secret that holds it in \
             `server.shared_state_password`"
        )),
        _ => Ok(()),
    }
}

impl Address {
    /// Reads an address. What does not fit is not repeated: it may hold a password.
    ///
    /// # Errors
    ///
    /// What may be written instead.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("server.shared_state: {what}; expected {FORMS}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it is no address"))?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(
                "server.shared_state: an address holds no password (it is not shown); name the secret that \
                        holds it in `server.shared_state_password`"
                    .into(),
            );
        }
        if user.is_some_and(|user| !is_word(user, "-_.")) {
            return Err(wrong("a user is letters, digits, `-`, `_` and `.`"));
        }
        let (place, database) = match scheme {
            "redis" | "rediss" => {
                let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
                let (host, port) =
                    host_and_port(authority).ok_or_else(|| wrong("it has no good host and port"))?;
                (Place::Tcp { host, port, is_encrypted: scheme == "rediss" }, database)
            }
            "redis+unix" => {
                let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
                let is_path = path.starts_with('/') && path.len() > 1 && !path.contains(['%', '\0']);
                if !is_path {
                    return Err(wrong("it has no absolute path"));
                }
                (Place::Socket(path.into()), query.strip_prefix("db=").unwrap_or("?"))
            }
            _ => return Err(wrong("this kind of address is not known")),
        };
        let database = match database {
            "" => Ok(0),
            digits => digits.parse().map_err(|_| wrong("the database is a number")),
        }?;
        Ok(Self { place, user: user.map(str::to_owned), database })
    }

    /// Whether what is said there can be heard by others than this machine.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn is_open_to_listeners(&self) -> bool {
        match &self.place {
            Place::Tcp { host, is_encrypted: false, .. } => {
                let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                !is_loopback && !host.eq_ignore_ascii_case("localhost")
            }
            Place::Tcp { .. } | Place::Socket(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let database = self.database;
        match &self.place {
            Place::Tcp { host, port, is_encrypted } => {
                let scheme = if *is_encrypted { "rediss" } else { "redis" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                write!(formatter, "{scheme}://{user}{host}:{port}/{database}")
            }
            Place::Socket(path) => {
                write!(formatter, "redis+unix://{user}{}?db={database}", path.display())
            }
        }
    }
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            if !is_word(&text[..end], "-.") {
                return None;
            }
            text.split_at(end)
        }
    };
    let port = match port {
        "" => PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
    };
    Some((host.to_owned(), port))
}

/// Letters, digits and some further signs.
fn is_word(text: &str, signs: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || signs.contains(letter);
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, is_encrypted: bool) -> Place {
        Place::Tcp { host: host.into(), port, is_encrypted }
    }

    #[test]
    fn each_form_is_read_and_told_again() {
        for (text, place, user, database, shown) in [
            ("redis://localhost", tcp("localhost", 6379, false), None, 0, "redis://localhost:6379/0"),
            ("redis://10.0.0.7:7000/3", tcp("10.0.0.7", 7000, false), None, 3, "redis://10.0.0.7:7000/3"),
            (
                "rediss://u@db.example.org/",
                tcp("db.example.org", 6379, true),
                Some("u"),
                0,
                "rediss://u@db.example.org:6379/0",
            ),
            ("redis://[::1]:1", tcp("::1", 1, false), None, 0, "redis://[::1]:1/0"),
            (
                "redis+unix:///run/r.sock",
                Place::Socket("/run/r.sock".into()),
                None,
                0,
                "redis+unix:///run/r.sock?db=0",
            ),
            ("redis+unix://u@/r?db=2", Place::Socket("/r".into()), Some("u"), 2, "redis+unix://u@/r?db=2"),
        ] {
            let address = Address::read(text).unwrap();
            let user = user.map(str::to_owned);
            assert_eq!(address, Address { place, user, database }, "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(Address::read(shown).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_told() {
        for text in [
            "redis://",
            "redis://:1",
            "redis://h:0",
            "redis://h:70000",
            "redis://h:1:2",
            "redis://h/x",
            "redis://h/-1",
            "redis://h?db=1",
            "redis://[::1",
            "redis://[h]:1",
            "redis://@h",
            "redis://a b",
            "redis+unix://run/r",
            "redis+unix:///",
            "redis+unix:///r?x=1",
            "postgres://h/db",
            "http://h",
            "redis://h/0#x",
        ] {
            let error = Address::read(text).unwrap_err();
            assert!(error.contains("redis://HOST:PORT/DB"), "{text}: {error}");
        }
        for text in
            ["redis://:hush@h", "rediss://user:hush@h:1/0", "redis+unix://u:hush@/r", "redis://u:hu@sh@h"]
        {
            let error = Address::read(text).unwrap_err();
            assert!(error.contains("shared_state_password") && !error.contains("hu"), "{error}");
        }
    }

    #[test]
    fn who_can_listen_is_told() {
        let is_open = |text: &str| Address::read(text).unwrap().is_open_to_listeners();
        assert!(is_open("redis://db.example.org") && is_open("redis://10.0.0.7"));
        for text in
            ["redis://localhost", "redis://127.0.0.1", "redis://[::1]", "rediss://h", "redis+unix:///r"]
        {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn a_file_is_a_file() {
        let mut state = SharedState::from("shared.db".to_owned());
        state.resolve(Path::new("/etc/llmc"));
        assert_eq!(state, SharedState::File("/etc/llmc/shared.db".into()));
        let mut state = SharedState::from("redis://h".to_owned());
        state.resolve(Path::new("/etc/llmc"));
        assert_eq!(String::from(state), "redis://h");
    }
}
