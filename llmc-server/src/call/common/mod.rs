//! What several servers behind one address have in common, so that a call may begin at one and end at another: which
//! sealed states were used, and the outputs that are kept for `read_more`.
//!
//! - [`file`]: an SQLite file, for one machine.
//! - `remote`, `crew`: a Redis database, for several machines; with the feature `redis`.
//! - [`output`]: what outputs are there: encrypted.

#[cfg(feature = "redis")]
mod crew;
mod file;
mod output;
#[cfg(feature = "redis")]
mod remote;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use self::file::File;
use self::output::{Id, Output, PIECE_BYTES, Sealed};
use super::shelf::{MAX_TEXT_BYTES, Part, part, window};
use crate::config::{Access, Address, Config, Place, SharedState};
use crate::secret::Secrets;

/// What the smallest output counts.
const LEAST_BYTES: u64 = 4 << 10;

/// How far the clocks of machines may be apart: a used state is remembered that much longer than it is good.
const APART_MS: u64 = 600_000;

/// What servers have in common.
pub(crate) struct Common(Box<dyn Store>);

/// Where it lies. All of it blocks, for a bounded time.
trait Store: Send + Sync {
    /// Notes that a sealed state was used, for all servers.
    ///
    /// # Errors
    ///
    /// When that cannot be told: then the state must not count.
    fn use_up(&self, number: u128, expires_ms: u64) -> io::Result<Use>;

    /// Keeps an output. The oldest ones make room.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn put(&self, id: &Id, sealed: Sealed, room: Room) -> io::Result<()>;

    /// Those of the pieces at `places` that there are, of an output that is not older than `lifetime`.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn get(&self, id: &Id, places: RangeInclusive<u64>, lifetime: Duration) -> io::Result<Option<Sealed>>;
}

/// What became of a state that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
    Full,
}

/// What outputs may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of all of them together, of all servers.
    pub(super) max_bytes: u64,
    /// How long one is kept.
    pub(super) lifetime: Duration,
}

impl Common {
    /// Opens what the configuration names. `fleet` is what servers that belong together are known by.
    ///
    /// # Errors
    ///
    /// When it cannot be had, is something else, or could be changed by tools.
    pub(crate) fn open(config: &Config, secrets: &Secrets, fleet: &str) -> anyhow::Result<Option<Self>> {
        let store: Box<dyn Store> = match &config.server.shared_state {
            None => return Ok(None),
            Some(SharedState::File(path)) => {
                out_of_reach(path, config)?;
                let told =
                    |error| anyhow!("server.shared_state: failed to open `{}`: {error}", path.display());
                Box::new(File::open(path).map_err(told)?)
            }
            Some(SharedState::Address(text)) => {
                let address = Address::read(text).map_err(|problem| anyhow!(problem))?;
                if let Place::Socket(path) = &address.place {
                    out_of_reach(path, config)?;
                }
                remote(&address, config, secrets, fleet)?
            }
        };
        Ok(Some(Self(store)))
    }

    /// Uses a sealed state up, for all servers. Blocks.
    ///
    /// # Errors
    ///
    /// When that cannot be told: then the state must not count.
    pub(super) fn use_up(&self, number: u128, expires_ms: u64) -> io::Result<Use> {
        self.0.use_up(number, expires_ms.saturating_add(APART_MS))
    }

    /// Keeps a text of an owner under a handle. The oldest ones make room. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn keep(&self, owner: &str, handle: &str, text: &str, room: Room) -> io::Result<()> {
        let output = Output::of(owner, handle)?;
        self.0.put(&output.id, output.seal(text)?, room)
    }

    /// Reads a part of a text that is not older than `lifetime`, as [`super::shelf::Shelf::read`] does. Blocks.
    ///
    /// # Errors
    ///
    /// When that cannot be told, or something else lies there.
    pub(super) fn read(
        &self,
        owner: &str,
        handle: &str,
        (offset, max_bytes): (u64, usize),
        lifetime: Duration,
    ) -> io::Result<Option<Part>> {
        let output = Output::of(owner, handle)?;
        let piece_bytes = PIECE_BYTES as u64;
        // As if the text had all bytes that one can have; pieces that are not there do not come.
        let (from, until) = window(offset, max_bytes, MAX_TEXT_BYTES as u64);
        let first = from / piece_bytes;
        let Some(sealed) = self.0.get(&output.id, first..=until / piece_bytes, lifetime)? else {
            return Ok(None);
        };
        let total = sealed.total;
        if total > MAX_TEXT_BYTES as u64 {
            return Err(io::Error::other("something else lies there"));
        }
        if offset >= total {
            return Ok(Some(Part { text: String::new(), offset: total, total }));
        }
        let (from, until) = window(offset, max_bytes, total);
        let skip = usize::try_from(from - first * piece_bytes).map_err(io::Error::other)?;
        let length = usize::try_from(until - from).map_err(io::Error::other)?;
        let bytes = output.open(sealed, first)?;
        let bytes = bytes.get(skip..skip + length);
        let bytes = bytes.ok_or_else(|| io::Error::other("a piece of it is missing"))?;
        Ok(Some(part(bytes.to_vec(), from, offset, total)?))
    }
}

#[cfg(feature = "redis")]
fn remote(
    address: &Address,
    config: &Config,
    secrets: &Secrets,
    fleet: &str,
) -> anyhow::Result<Box<dyn Store>> {
    let password = config.server.shared_state_password.as_deref().and_then(|name| secrets.get(name));
    if address.is_open_to_listeners() {
        tracing::warn!(
            "server.shared_state: what is said to `{address}` is not encrypted; use `rediss://`, or a network of these \
             servers alone"
        );
    }
    let ca = config.server.shared_state_ca.as_deref();
    let ca = ca.map(|file| {
        crate::files::read(file, 1 << 20)
            .map_err(|error| anyhow!("server.shared_state_ca: failed to read `{}`: {error}", file.display()))
    });
    let opened = remote::Remote::open(address, password, ca.transpose()?, fleet);
    Ok(Box::new(opened.map_err(|error| anyhow!("server.shared_state: `{address}`: {error}"))?))
}

#[cfg(not(feature = "redis"))]
fn remote(_: &Address, _: &Config, _: &Secrets, _: &str) -> anyhow::Result<Box<dyn Store>> {
    anyhow::bail!(
        "server.shared_state: this llmc was built without the feature `redis`; build it with \
         `cargo build -p llmc-server --features redis`, or name a file"
    )
}

/// Who can write the file, or take the place of a socket, can make used states good again.
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
