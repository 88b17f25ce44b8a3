//! The thread that writes: it takes what has come together, and commits it as one.
//!
//! Calls only put what they own into a queue. Hashing, shaping and writing happen here, and the thread is woken once for
//! all that comes within [`config::Audit::commit_ms`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{error, info, warn};

use super::chain::hex;
use super::key::{Key, beside};
use super::now_ms;
use super::programs::Programs;
use super::record::{Body, Entry, Event, Scribe, stamped};
use super::store::{self, Cut, Retention, Store, StoreError};
use crate::config;
use crate::secret::Secrets;
use crate::telemetry::METRICS;

/// Records that may wait.
const MAX_WAITING: usize = 4096;

/// Weight of one place in bytes: large arguments take more places, so that what waits is bounded in bytes, too.
pub(super) const PLACE_BYTES: usize = 16 << 10;

/// A commit that failed is tried again after this.
const RETRY: Duration = Duration::from_millis(500);

/// How often it is looked whether something has to be taken out.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The same after this part of [`config::Audit::max_bytes`] was written, however fast, and at least after so many bytes.
const PRUNE_PART: u64 = 16;
const PRUNE_BYTES: u64 = 64 << 10;

/// Taken out in this many steps at most, before new records are written again.
const MAX_PRUNES: u32 = 16;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// The queue, and what is known of its other end.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// Something is to be done.
    wake: Condvar,
    /// Nothing is left to do.
    idle: Condvar,
    failing: AtomicBool,
    lost: AtomicU64,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Queued>,
    /// Somebody waits for the commit.
    urgent: bool,
    /// To be masked, too, from now on.
    secrets: Option<Arc<Secrets>>,
    closing: bool,
    closed: bool,
}

struct Queued {
    time_ms: u64,
    entry: Entry,
    _places: Option<OwnedSemaphorePermit>,
    done: Option<oneshot::Sender<bool>>,
}

impl Writer {
    /// Opens the audit and starts its thread.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(super) fn start(
        config: &config::Audit,
        path: &Path,
        secrets: Arc<Secrets>,
    ) -> Result<Arc<Self>, StoreError> {
        let (store, scribe) = open(config, path, secrets)?;
        let writer = Arc::new(Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            idle: Condvar::new(),
            failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
        });
        let work = Work {
            writer: Arc::clone(&writer),
            store,
            scribe,
            window: Duration::from_millis(config.commit_ms),
            retention: retention(config),
            pruned: None,
            written: 0,
        };
        std::thread::Builder::new().name("audit".into()).spawn(move || work.run())?;
        Ok(writer)
    }

    pub(super) fn places(&self) -> &Arc<Semaphore> {
        &self.places
    }

    /// Records that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Puts an entry into the queue. With `durable` the answer comes when it is on the disk, or cannot be.
    pub(super) fn put(
        &self,
        entry: Entry,
        places: Option<OwnedSemaphorePermit>,
        durable: bool,
    ) -> Option<oneshot::Receiver<bool>> {
        let (time_ms, entry) = stamped(entry);
        let (done, answer) = if durable { Some(oneshot::channel()).unzip() } else { (None, None) };
        let mut queue = self.queue();
        // Nobody has to be woken for what is taken along.
        let was_empty = queue.waiting.is_empty();
        queue.waiting.push(Queued { time_ms, entry, _places: places, done });
        queue.urgent |= durable;
        drop(queue);
        if was_empty || durable {
            self.wake.notify_one();
        }
        answer
    }

    /// Masks these secrets, too, in what is written from now on.
    pub(super) fn mask(&self, secrets: &Arc<Secrets>) {
        self.queue().secrets = Some(Arc::clone(secrets));
    }

    /// Counts an entry that there is no room for.
    pub(super) fn lose(&self) {
        METRICS.audit_failures.inc();
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes what waits, and ends the thread.
    pub(super) fn close(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut queue = self.queue();
        queue.closing = true;
        self.wake.notify_one();
        while !queue.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                error!(target: "audit", records = queue.waiting.len(), "audit records are lost: they could not be written in time");
                return;
            }
            queue = self
                .idle
                .wait_timeout(queue, left)
                .map_or_else(|error| error.into_inner().0, |(queue, _)| queue);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What writing takes.
fn open(
    config: &config::Audit,
    path: &Path,
    secrets: Arc<Secrets>,
) -> Result<(Box<dyn Store>, Scribe), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // The key would stay beside what holds no records.
    if path.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory).into());
    }
    let key = Arc::new(Key::open(&beside(path, ".key"))?);
    let store = store::open(config, path, Arc::clone(&key))?;
    Ok((store, Scribe { key, secrets, arguments: config.arguments, programs: Programs::default() }))
}

/// Writes one entry, for commands that do one thing and end.
///
/// # Errors
///
/// When it is not on the disk.
pub(super) fn write_one(
    config: &config::Audit,
    path: &Path,
    secrets: Arc<Secrets>,
) -> Result<impl FnOnce(Event) -> Result<(), StoreError> + use<>, StoreError> {
    let (mut store, mut scribe) = open(config, path, secrets)?;
    Ok(move |event: Event| {
        let body = scribe.body(now_ms(), &event.into())?;
        store.append(&[body], &mut |cut| told_of_cut(&mut scribe, cut))
    })
}

fn retention(config: &config::Audit) -> Retention {
    Retention {
        keep_ms: config.keep_days.map(|days| u64::from(days) * DAY_MS),
        max_bytes: Some(config.max_bytes),
    }
}

/// The thread's own.
struct Work {
    writer: Arc<Writer>,
    store: Box<dyn Store>,
    scribe: Scribe,
    window: Duration,
    retention: Retention,
    /// When it was last looked for what to take out, and the bytes of records since then.
    pruned: Option<Instant>,
    written: u64,
}

impl Work {
    fn run(mut self) {
        loop {
            let (batch, closing) = self.next_batch();
            if !batch.is_empty() {
                self.write(batch);
            }
            if self.must_prune() {
                self.prune();
            }
            if closing {
                let mut queue = self.writer.queue();
                if queue.waiting.is_empty() || self.writer.is_failing() {
                    queue.closed = true;
                    drop(queue);
                    self.writer.idle.notify_all();
                    return;
                }
            }
        }
    }

    /// Waits for entries, and then a little more for those that come with them.
    fn next_batch(&mut self) -> (Vec<Queued>, bool) {
        let writer = &self.writer;
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closing;
        let waited = writer.wake.wait_timeout_while(writer.queue(), PRUNE_EVERY, idle);
        let queue = waited.map_or_else(|error| error.into_inner().0, |(queue, _)| queue);
        let calm =
            |queue: &mut Queue| !queue.urgent && !queue.closing && queue.waiting.len() < MAX_WAITING / 2;
        let queue = match queue.waiting.is_empty() {
            true => queue,
            false => {
                let waited = writer.wake.wait_timeout_while(queue, self.window, calm);
                waited.map_or_else(|error| error.into_inner().0, |(queue, _)| queue)
            }
        };
        let mut queue = queue;
        queue.urgent = false;
        if let Some(secrets) = queue.secrets.take() {
            self.scribe.secrets = Arc::new(secrets.beside(&self.scribe.secrets));
        }
        (std::mem::take(&mut queue.waiting), queue.closing)
    }

    /// Commits a batch; as long as that fails, it stays the next to be committed.
    fn write(&mut self, mut batch: Vec<Queued>) {
        let mut bodies = self.bodies(&batch);
        let lost = self.writer.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            bodies.extend(self.body(&Event::Lost { records: lost }.into()));
        }
        loop {
            let scribe = &mut self.scribe;
            let Err(error) = self.store.append(&bodies, &mut |cut| told_of_cut(scribe, cut)) else { break };
            if !self.writer.failing.swap(true, Ordering::Relaxed) {
                METRICS.audit_failures.inc();
                warn!(target: "audit", %error, "audit record could not be written");
            }
            for done in batch.iter_mut().filter_map(|queued| queued.done.take()) {
                // Without a receiver the caller has left.
                let _ = done.send(false);
            }
            if self.gives_up() {
                error!(target: "audit", records = bodies.len(), %error, "audit records are lost");
                return;
            }
        }
        self.written += bodies.iter().map(|body| body.text.len() as u64).sum::<u64>();
        if self.writer.failing.swap(false, Ordering::Relaxed) {
            info!(target: "audit", "audit records can be written again");
        }
        for done in batch.into_iter().filter_map(|queued| queued.done) {
            let _ = done.send(true);
        }
    }

    /// Waits before the next attempt; not when the server ends.
    fn gives_up(&self) -> bool {
        let queue = self.writer.queue();
        if queue.closing {
            return true;
        }
        let waited = self.writer.wake.wait_timeout_while(queue, RETRY, |queue| !queue.closing);
        drop(waited);
        false
    }

    fn bodies(&mut self, batch: &[Queued]) -> Vec<Body> {
        let mut bodies = Vec::with_capacity(batch.len());
        for Queued { time_ms, entry, .. } in batch {
            bodies.extend(written(&mut self.scribe, *time_ms, entry));
        }
        bodies
    }

    fn body(&mut self, entry: &Entry) -> Option<Body> {
        written(&mut self.scribe, now_ms(), entry)
    }

    fn must_prune(&self) -> bool {
        let part = self.retention.max_bytes.map_or(u64::MAX, |bytes| (bytes / PRUNE_PART).max(PRUNE_BYTES));
        self.written >= part || self.pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNE_EVERY)
    }

    fn prune(&mut self) {
        (self.pruned, self.written) = (Some(Instant::now()), 0);
        for _ in 0..MAX_PRUNES {
            let pruned = match self.store.prune(&self.retention, now_ms()) {
                Ok(Some(pruned)) => pruned,
                Ok(None) => return,
                Err(error) => {
                    warn!(target: "audit", %error, "old audit records could not be taken out");
                    return;
                }
            };
            let event = Event::Pruned { records: pruned.records, before_seq: pruned.before_seq };
            let body = self.body(&event.into());
            let scribe = &mut self.scribe;
            if let Err(error) = self.store.append(body.as_slice(), &mut |cut| told_of_cut(scribe, cut)) {
                METRICS.audit_failures.inc();
                warn!(target: "audit", %error, "audit record could not be written");
                return;
            }
        }
    }
}

fn written(scribe: &mut Scribe, time_ms: u64, entry: &Entry) -> Option<Body> {
    let body = scribe.body(time_ms, entry);
    body.inspect_err(|error| error!(target: "audit", %error, ?entry, "audit record has no form in JSON")).ok()
}

/// The chain is not as it was left: somebody changed the records.
fn told_of_cut(scribe: &mut Scribe, cut: Cut) -> Vec<Body> {
    let Cut { expected, found } = cut;
    error!(
        target: "audit",
        expected_seq = expected.seq,
        found_seq = found.seq,
        "audit records are missing or changed; `llmc audit verify` tells more"
    );
    let event =
        Event::Cut { expected_seq: expected.seq, expected_hash: hex(&expected.hash), found_seq: found.seq };
    written(scribe, now_ms(), &event.into()).into_iter().collect()
}
