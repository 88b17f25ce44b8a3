//! What happened, kept so that changes of it are found: one record per call, refused or not, and one for each start of
//! a process, each change of what the operator decided, each use of a secret, each run.
//!
//! - [`record`]: what a record says; [`arguments`]: what it says of arguments.
//! - [`chain`]: hashes and signed checkpoints; [`key`]: who signs; [`head`]: where the end is told.
//! - [`writer`]: the thread that writes; [`store`]: where.
//! - [`query`], [`verify`]: reading it.

mod arguments;
pub(crate) mod chain;
pub(crate) mod fuzz;
mod head;
pub(crate) mod key;
mod programs;
pub(crate) mod query;
mod record;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::OwnedSemaphorePermit;

pub(crate) use arguments::Arguments;
pub(crate) use record::{Call, Entry, Event, by};
pub(crate) use store::StoreError;
use writer::{PLACE_BYTES, Writer};

use crate::config::{self, Config, Durability, OnFailure};
use crate::secret::Secrets;

/// How long records may take to be written at the end of the server.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Audits that are open, so that what waits is written before the process ends.
static OPEN: Mutex<Vec<Arc<Writer>>> = Mutex::new(Vec::new());

/// Where records go. Clones are the same audit.
#[derive(Clone)]
pub(crate) struct Audit {
    /// Without one, records go to the log.
    writer: Option<Arc<Writer>>,
    on_failure: OnFailure,
    durable: bool,
}

/// The audit cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open audit `{path}`: {source}")]
pub(crate) struct AuditError {
    path: String,
    source: StoreError,
}

/// Room for the record of a call that begins.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Audit {
    /// # Errors
    ///
    /// When the file that the configuration names cannot be made, or is something else.
    pub(crate) fn open(config: &config::Audit, secrets: &Arc<Secrets>) -> Result<Self, AuditError> {
        let start = |path: &std::path::PathBuf| {
            Writer::start(config, path, Arc::clone(secrets))
                .map_err(|source| AuditError { path: path.display().to_string(), source })
        };
        let writer = config.path.as_ref().map(start).transpose()?;
        open_ones().extend(writer.clone());
        let durable = config.durability == Durability::Call;
        Ok(Self { writer, on_failure: config.on_failure, durable })
    }

    /// Masks the secrets of a new configuration, too.
    pub(crate) fn mask(&self, secrets: &Arc<Secrets>) {
        if let Some(writer) = &self.writer {
            writer.mask(secrets);
        }
    }

    /// Waits for room for one more record. There is always some, unless the disk does not keep up; then a call waits, at
    /// most so long, and [`Self::allows_calls`] tells what that means.
    pub(crate) async fn room(&self, patience: Duration) -> Room {
        let Some(writer) = &self.writer else { return Room(None) };
        if let Ok(place) = Arc::clone(writer.places()).try_acquire_owned() {
            return Room(Some(place));
        }
        let place = tokio::time::timeout(patience, Arc::clone(writer.places()).acquire_owned()).await;
        Room(place.ok().and_then(Result::ok))
    }

    /// Whether a call may run: not while records are lost and the operator wants none lost.
    pub(crate) fn allows_calls(&self, room: &Room) -> bool {
        let Some(writer) = &self.writer else { return true };
        self.on_failure == OnFailure::Warn || (room.0.is_some() && !writer.is_failing())
    }

    /// Records a call. The answer comes when the record is on the disk, where the operator wants calls to wait for that.
    pub(crate) fn call(&self, call: Call, room: Room) -> Option<tokio::sync::oneshot::Receiver<bool>> {
        let Some(writer) = &self.writer else {
            Entry::Call(Box::new(call)).log();
            return None;
        };
        let Some(mut place) = room.0 else {
            Entry::Call(Box::new(call)).log();
            writer.lose();
            return None;
        };
        // Never waits: where there is not room for all of it, the values are of less use than the rest.
        let more = call.arguments.weight() / PLACE_BYTES;
        let mut call = call;
        if more > 0 {
            match Arc::clone(writer.places()).try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX))
            {
                Ok(places) => place.merge(places),
                Err(_) => call.arguments = Arguments::default(),
            }
        }
        writer.put(Entry::Call(Box::new(call)), Some(place), self.durable)
    }

    /// Records something else that happened; `false` if it is not recorded and the operator wants all recorded.
    pub(crate) fn event(&self, event: Event) -> bool {
        let entry = Entry::Event(event);
        let Some(writer) = &self.writer else {
            entry.log();
            return true;
        };
        match Arc::clone(writer.places()).try_acquire_owned() {
            Ok(place) => {
                writer.put(entry, Some(place), false);
                self.on_failure == OnFailure::Warn || !writer.is_failing()
            }
            Err(_) => {
                entry.log();
                writer.lose();
                self.on_failure == OnFailure::Warn
            }
        }
    }

    /// Whether a call without a record is no success.
    pub(crate) fn wants_all(&self) -> bool {
        self.on_failure == OnFailure::Refuse
    }
}

/// Records that wait to be written, and whether that fails at the moment.
pub(crate) fn health() -> (usize, bool) {
    let writers = open_ones();
    (writers.iter().map(|writer| writer.waiting()).sum(), writers.iter().any(|writer| writer.is_failing()))
}

/// Writes what waits; for the end of the process.
pub(crate) fn finish() {
    let writers = std::mem::take(&mut *open_ones());
    writers.iter().for_each(|writer| writer.close(END_PATIENCE));
}

fn open_ones() -> std::sync::MutexGuard<'static, Vec<Arc<Writer>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes one record.
type WriteOne = Box<dyn FnOnce(Event) -> Result<(), StoreError>>;

/// Something that a command of the operator is about to change. Opened before the change, so that where records must not
/// be missing, nothing is changed without one.
pub(crate) struct Change {
    write: Option<WriteOne>,
    on_failure: OnFailure,
}

impl Change {
    /// # Errors
    ///
    /// When the audit cannot be opened, and the operator wants no change without a record.
    pub(crate) fn begin(config: &Config) -> anyhow::Result<Self> {
        let on_failure = config.audit.on_failure;
        let Some(path) = &config.audit.path else { return Ok(Self { write: None, on_failure }) };
        match writer::write_one(&config.audit, path, Arc::default()) {
            Ok(write) => Ok(Self { write: Some(Box::new(write)), on_failure }),
            Err(error) if on_failure == OnFailure::Warn => {
                tracing::warn!(target: "audit", %error, "audit `{}` cannot be opened", path.display());
                Ok(Self { write: None, on_failure })
            }
            Err(source) => {
                let error = AuditError { path: path.display().to_string(), source };
                Err(anyhow::Error::new(error).context("nothing was changed (`audit.on_failure`)"))
            }
        }
    }

    /// Records what was changed.
    ///
    /// # Errors
    ///
    /// When that failed, and the operator wants no change without a record.
    pub(crate) fn done(self, event: Event) -> anyhow::Result<()> {
        let Some(write) = self.write else { return Ok(()) };
        match write(event) {
            Err(error) if self.on_failure == OnFailure::Warn => {
                tracing::warn!(target: "audit", %error, "audit record could not be written");
                Ok(())
            }
            result => result
                .map_err(|error| anyhow::Error::new(error).context("changed, but not recorded in the audit")),
        }
    }
}

/// SHA-256 of what a configuration says, with all defaults.
pub(crate) fn digest(config: &Config) -> String {
    use sha2::{Digest as _, Sha256};
    // What the operator wrote can be written again.
    let text = toml::to_string(config).unwrap_or_default();
    chain::hex(&Sha256::digest(text.as_bytes()))
}

/// Whether nobody but the operator can reach a file through a root: what can change the audit could rewrite it.
///
/// # Errors
///
/// Which root it is.
pub(crate) fn out_of_reach(path: &Path, config: &Config) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A folder that is not there yet is made below one that is.
    let Some(folder) = folder.ancestors().find_map(|folder| folder.canonicalize().ok()) else {
        return Ok(());
    };
    for (name, root) in config.roots.iter().filter(|(_, root)| root.access == config::Access::Rw) {
        if root.path.canonicalize().is_ok_and(|root| folder.starts_with(root)) {
            anyhow::bail!(
                "audit: the records in `{}` could be changed through the writable root `{name}`; write another place \
                 as `audit.path`",
                path.display()
            );
        }
    }
    Ok(())
}

/// Now, for a record.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
