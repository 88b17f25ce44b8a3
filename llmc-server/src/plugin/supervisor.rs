//! Keeps the host of one plugin alive: starts it, replaces it when it ended, and waits longer each time it ends
//! soon after its start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_wire::host::{Init, Ready};
use serde_json::Value;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::connection::{Connection, Settings};
use super::library::{Library, LibraryError};
use super::manifest::ManifestFile;
use super::spawn::Spawner;
use crate::audit;
use crate::hold::Hold;
use crate::telemetry::{METRICS, OfPlugin};

/// A host that lived this long was no failure of its start.
const STEADY: Duration = Duration::from_secs(10);

/// Delays double from the first to the last.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(5);

/// One plugin and its host.
pub(crate) struct Supervisor {
    pub(crate) library: Library,
    init: Init,
    roots: Vec<OwnedFd>,
    program: PathBuf,
    spawner: Spawner,
    settings: Settings,
    load_timeout: Duration,
    current: Mutex<Current>,
    starting: Arc<tokio::sync::Mutex<()>>,
    metrics: OfPlugin,
    /// Calls that it may still take at each depth, whichever configuration they began with.
    ///
    /// A call keeps its place while it waits for the calls below it. Those take places that only calls of their own
    /// depth hold, which wait for deeper ones at most, and the deepest wait for none: so no circle of plugins, nor a
    /// plugin that calls itself, waits for its own places.
    workers: Box<[Arc<Semaphore>]>,
    /// No host is started any more.
    has_ended: AtomicBool,
}

#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    /// From the file beside the library, or from the first start; every start must say the same.
    manifest: Option<Value>,
    /// What the jail of the last host is.
    report: Option<Value>,
    started: Option<Instant>,
    /// Starts in a row that came soon after the one before.
    quick_starts: u32,
}

impl Current {
    fn count_start(&mut self, now: Instant) {
        self.quick_starts = self.quick_ends();
        self.started = Some(now);
    }

    /// Hosts in a row that did not live long, if the last one has just ended.
    fn quick_ends(&self) -> u32 {
        let quick = self.started.is_some_and(|started| started.elapsed() < STEADY);
        if quick { self.quick_starts.saturating_add(1) } else { 0 }
    }
}

/// A plugin that cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` is not available: {reason}")]
pub(crate) struct Unavailable {
    pub(crate) plugin: Arc<str>,
    pub(crate) reason: String,
}

impl Supervisor {
    pub(crate) fn new(
        init: Init,
        library: Library,
        roots: Vec<OwnedFd>,
        program: PathBuf,
        spawner: Spawner,
        settings: Settings,
        load_timeout: Duration,
    ) -> Self {
        let (current, starting, has_ended) = Default::default();
        let places = |_| Arc::new(Semaphore::new(init.limits.workers as usize));
        let workers = (0..=init.limits.call_depth).map(places).collect();
        let metrics = METRICS.plugin(&settings.plugin);
        Self {
            library,
            init,
            roots,
            program,
            spawner,
            settings,
            load_timeout,
            current,
            starting,
            metrics,
            workers,
            has_ended,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.settings.plugin
    }

    /// Believes the manifest that lies beside the library, if there is one, until the host is ready.
    ///
    /// # Errors
    ///
    /// When the library has to be read for that, and cannot be, or is not the expected one.
    pub(crate) async fn believe_installed_manifest(&self) -> Result<(), Arc<LibraryError>> {
        let manifest = ManifestFile::beside(&self.library).await?;
        self.current().manifest = manifest;
        Ok(())
    }

    /// What the plugin says of itself, as far as that is known yet.
    pub(crate) fn manifest(&self) -> Option<Value> {
        self.current().manifest.clone()
    }

    /// What the jail of its last host is, as the host found it.
    pub(crate) fn report(&self) -> Option<Value> {
        self.current().report.clone()
    }

    /// The live host, if there is one.
    pub(crate) fn live(&self) -> Option<Arc<Connection>> {
        self.current().connection.clone().filter(|connection| connection.is_open())
    }

    /// A place among the calls that it may run at the same time at this depth, which is one that calls may have.
    pub(crate) async fn worker(&self, depth: u8) -> Result<OwnedSemaphorePermit, AcquireError> {
        let deepest = self.workers.len() - 1;
        Arc::clone(&self.workers[usize::from(depth).min(deepest)]).acquire_owned().await
    }

    /// Whether the host answers; one that ended is started again, if its back-off allows that before `until`.
    pub(crate) async fn answers(self: &Arc<Self>, until: Instant) -> bool {
        // A start that has begun goes on, whoever loses patience.
        let (plugin, name) = (Arc::clone(self), Arc::clone(self.name()));
        match tokio::spawn(async move { plugin.connection(until).await }).await {
            Ok(Ok(host)) => host.answers().await,
            Ok(Err(problem)) => {
                debug!(plugin = %name, %problem, "no host");
                false
            }
            Err(_) => false,
        }
    }

    /// Ends the host for good, also one that is just being started.
    pub(crate) async fn end(&self, reason: &str) {
        self.has_ended.store(true, Ordering::Release);
        let _turn = self.starting.lock().await;
        if let Some(host) = self.live() {
            host.kill(reason);
        }
    }

    /// The live host, or a new one.
    ///
    /// # Errors
    ///
    /// When the plugin cannot be started, or may not be started again before `until`.
    pub(crate) async fn connection(&self, until: Instant) -> Result<Arc<Connection>, Unavailable> {
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        let _turn = self.starting.lock().await;
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        let delay = self.back_off();
        if Instant::now() + delay > until {
            return Err(self.unavailable(format!("it ended repeatedly and is started again in {delay:?}")));
        }
        tokio::time::sleep(delay).await;
        self.start().await?;
        self.live().ok_or_else(|| self.unavailable("it ended right after its start".into()))
    }

    /// The first start, in the background and after the hold; from now on calls wait for it.
    pub(crate) fn begin(self: &Arc<Self>, hold: Hold) -> JoinHandle<Result<Ready, Unavailable>> {
        let turn = Arc::clone(&self.starting).try_lock_owned();
        let supervisor = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = turn;
            hold.over().await;
            supervisor.start().await
        })
    }

    /// Starts a host and returns what it says about itself.
    ///
    /// # Errors
    ///
    /// When the plugin cannot be loaded, or its manifest is not what was known of it.
    async fn start(&self) -> Result<Ready, Unavailable> {
        let started = self.start_uncounted().await;
        match started {
            Ok(_) => self.metrics.host_starts.inc(),
            Err(_) => self.metrics.host_failures.inc(),
        };
        started
    }

    async fn start_uncounted(&self) -> Result<Ready, Unavailable> {
        let begun = Instant::now();
        if self.has_ended.load(Ordering::Acquire) {
            return Err(self.unavailable("it was replaced with a new configuration; call again".into()));
        }
        self.current().count_start(begun);
        self.library.begin_sealing();
        let spawned = self.spawner.spawn(&self.program).await.map_err(|error| {
            self.unavailable(format!("failed to start `{}`: {error}", self.program.display()))
        })?;
        let sealed = match self.library.sealed().await {
            Ok(sealed) => sealed,
            Err(error) => {
                spawned.process.kill();
                let _ = tokio::task::spawn_blocking(move || spawned.process.reap()).await;
                return Err(self.unavailable(error.to_string()));
            }
        };
        let mut fds: Vec<BorrowedFd<'_>> = vec![sealed.as_fd()];
        fds.extend(self.roots.iter().map(AsFd::as_fd));
        let (connection, ready) =
            Connection::open(spawned, &self.init, &fds, self.settings.clone(), self.load_timeout)
                .await
                .map_err(|reason| self.unavailable(reason))?;
        debug!(plugin = %self.name(), pid = connection.process_id(), took = ?begun.elapsed(), "host is ready");
        self.settings.audit.event(audit::Event::Start {
            process: "host",
            pid: connection.process_id(),
            program: self.program.clone(),
            plugin: Some(Arc::clone(self.name())),
            plugin_sha256: Some(sealed.sha256.clone()),
        });
        let mut current = self.current();
        let manifest = current.manifest.get_or_insert_with(|| ready.manifest.clone());
        if *manifest != ready.manifest {
            connection.kill("its manifest is not what was known of it");
            drop(current);
            let file = ManifestFile::path(&self.library.path);
            return Err(self.unavailable(format!(
                "its manifest changed between two starts, or is not the one in `{}`; write that file anew with \
                 `llmc plugin manifest`, or remove it",
                file.display()
            )));
        }
        current.report = Some(ready.report.clone());
        if current.connection.replace(connection).is_some() {
            self.metrics.host_restarts.inc();
            warn!(plugin = %self.name(), "host was replaced");
        }
        Ok(ready)
    }

    /// How long to wait before the next start.
    fn back_off(&self) -> Duration {
        match self.current().quick_ends() {
            0 | 1 => Duration::ZERO,
            ends => (FIRST_DELAY * 2u32.saturating_pow((ends - 2).min(10))).min(LAST_DELAY),
        }
    }

    fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { plugin: Arc::clone(self.name()), reason }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
