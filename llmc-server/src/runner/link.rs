//! The connection to the runner. The runner is trusted: it sends descriptors, and its frames are believed once
//! they parse.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_core::run::{Accounting, Isolation, RunLimit, RunOutcome, RunStatus};
use llmc_wire::frame::MAX_PAYLOAD_BYTES;
use llmc_wire::runner::{
    self as wire, Hello, Init, MAX_KITS, MAX_SPEC_BYTES, Outcome, Refused, Spec, from_runner, to_runner,
};
use llmc_wire::socket::receive_with_fds;
use llmc_wire::{Decoder, Header};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::audit::{self, Audit};
use crate::hold::Hold;
use crate::outbox::Outbox;
use crate::plugin::spawn::{Process, Spawned, Spawner};
use crate::secret::Secrets;
use crate::socket::Socket;
use crate::telemetry::METRICS;

/// How long the runner may take to say what it can do.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Questions whether it is there that wait for their answer.
const MAX_PINGS: usize = 8;

/// Starts closer together than this wait for each other.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How to start the runner, and the one that runs.
pub(crate) struct Link {
    program: PathBuf,
    spawner: Spawner,
    init: Init,
    secrets: Arc<Secrets>,
    audit: Audit,
    /// How strong the jails of the runner that runs are.
    isolation: Mutex<Isolation>,
    /// What it said last.
    hello: Mutex<Option<Hello>>,
    current: Mutex<Option<Arc<Live>>>,
    /// When it was started last, by the one who starts it.
    starting: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// A running runner.
struct Live {
    socket: Arc<Socket>,
    outbox: Outbox,
    process: Process,
    runs: Mutex<Table>,
    /// Numbers of the kits that it has.
    kits: Mutex<BTreeSet<u64>>,
    /// Those who asked whether it is there, in their order.
    pings: Mutex<VecDeque<oneshot::Sender<()>>>,
}

#[derive(Default)]
struct Table {
    closed: bool,
    slots: HashMap<u64, Slot>,
}

/// What came with the news that a jail has started.
pub(crate) struct Started {
    pub(crate) pidfd: OwnedFd,
    /// The other side of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
    /// It was made ahead of time.
    pub(crate) was_parked: bool,
}

struct Slot {
    started: Option<oneshot::Sender<Result<Started, Refused>>>,
    ended: watch::Sender<Option<RunOutcome>>,
}

impl Link {
    pub(crate) fn new(
        program: PathBuf,
        spawner: Spawner,
        init: Init,
        secrets: Arc<Secrets>,
        audit: Audit,
    ) -> Self {
        let (hello, current, starting) = Default::default();
        let isolation = Mutex::new(Isolation::Namespaces);
        Self { program, spawner, init, secrets, audit, isolation, hello, current, starting }
    }

    /// What the runner said at its last start.
    pub(crate) fn hello(&self) -> Option<Hello> {
        lock(&self.hello).clone()
    }

    /// How strong the jails are; known once one has started.
    pub(crate) fn isolation(&self) -> Isolation {
        *lock(&self.isolation)
    }

    /// Whether the runner answers; one that ended is started again.
    pub(super) async fn answers(&self) -> bool {
        let Ok(live) = self.live().await else { return false };
        let (sender, answer) = oneshot::channel();
        {
            let mut pings = lock(&live.pings);
            if pings.len() >= MAX_PINGS {
                return false;
            }
            pings.push_back(sender);
        }
        let ping = Header { kind: to_runner::PING, ..Header::default() };
        live.outbox.send(ping, &[], &[]).is_ok() && answer.await.is_ok()
    }

    /// What the runner is told at its start.
    pub(super) fn init(&self) -> &Init {
        &self.init
    }

    /// Ends the runner, also one that is just being started; the next run would start another.
    pub(super) async fn end(&self) {
        let _turn = self.starting.lock().await;
        if let Some(live) = self.current() {
            live.process.kill();
        }
    }

    /// The first start, in the background and after the hold; from now on runs wait for it.
    pub(crate) fn begin(self: &Arc<Self>, hold: Hold) -> JoinHandle<Result<Hello, String>> {
        let turn = Arc::clone(&self.starting).try_lock_owned();
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = turn;
            hold.over().await;
            link.start().await
        })
    }

    /// Starts the runner, and returns what it can do here.
    async fn start(&self) -> Result<Hello, String> {
        let failed = |error: io::Error| format!("failed to start `{}`: {error}", self.program.display());
        let Spawned { process, socket, stderr } = self.spawner.spawn(&self.program).await.map_err(failed)?;
        tokio::spawn(crate::plugin::forward_stderr(stderr, "runner", Arc::clone(&self.secrets), 100));
        let socket = Arc::new(Socket::new(socket).map_err(failed)?);
        let live = Arc::new(Live {
            outbox: Outbox::new(Arc::clone(&socket)),
            socket,
            process,
            runs: Mutex::default(),
            kits: Mutex::default(),
            pings: Mutex::default(),
        });
        let payload = serde_json::to_vec(&self.init).map_err(|error| error.to_string())?;
        let mut reader = Reader { decoder: Decoder::new(MAX_PAYLOAD_BYTES), fds: VecDeque::new() };
        let greeting = async {
            live.outbox.send(Header { kind: to_runner::INIT, ..Header::default() }, &payload, &[])?;
            reader.hello(&live).await
        };
        match tokio::time::timeout(HELLO_TIMEOUT, greeting).await {
            Ok(Ok(hello)) => {
                let isolation = match hello.jails {
                    Ok(wire::Isolation::Landlock) => Isolation::Landlock,
                    Ok(wire::Isolation::Namespaces) | Err(_) => Isolation::Namespaces,
                };
                *lock(&self.isolation) = isolation;
                *lock(&self.hello) = Some(hello.clone());
                self.audit.event(audit::Event::Start {
                    process: "runner",
                    pid: hello.pid,
                    program: self.program.clone(),
                    plugin: None,
                    plugin_sha256: None,
                });
                *lock(&self.current) = Some(Arc::clone(&live));
                tokio::spawn(live.read(reader, isolation));
                Ok(hello)
            }
            Ok(Err(error)) => {
                let end = tokio::task::spawn_blocking(move || live.process.reap()).await.unwrap_or_default();
                Err(format!("the runner {end} at its start: {error}"))
            }
            Err(_) => {
                live.process.kill();
                let _ = tokio::task::spawn_blocking(move || live.process.reap()).await;
                Err(format!("the runner did not answer within {} s", HELLO_TIMEOUT.as_secs()))
            }
        }
    }

    /// Starts a jail; `ended` learns what became of it.
    pub(crate) async fn spawn(
        &self,
        run: u64,
        mut spec: Spec,
        fds: &[BorrowedFd<'_>],
        ended: watch::Sender<Option<RunOutcome>>,
    ) -> Result<Started, Refused> {
        let refused = |layer: &str, message: String| Refused { layer: layer.into(), message };
        let gone = || refused("runner", "the runner ended while the run was starting".into());
        let header = Header { kind: to_runner::SPAWN, call: run, ..Header::default() };
        let mut files = if spec.kit.is_some() { std::mem::take(&mut spec.files) } else { Vec::new() };
        let (mut ended, mut tried) = (ended, false);
        loop {
            let live = self.live().await.map_err(|message| refused("runner", message))?;
            let (started, answer) = oneshot::channel();
            {
                let mut table = lock(&live.runs);
                if table.closed {
                    return Err(gone());
                }
                table.slots.insert(run, Slot { started: Some(started), ended });
            }
            let error = match live.send(header, &mut spec, &mut files, fds) {
                Ok(()) => return answer.await.unwrap_or_else(|_| Err(gone())),
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::FileTooLarge {
                lock(&live.runs).slots.remove(&run);
                return Err(refused("request", error.to_string()));
            }
            // It ended, and nobody has noticed so far. It has not seen the request, which another may take.
            let slot = {
                let mut table = lock(&live.runs);
                table.closed = true;
                table.slots.remove(&run)
            };
            ended = match slot {
                Some(slot) if !tried => slot.ended,
                _ => return Err(refused("runner", error.to_string())),
            };
            tried = true;
        }
    }

    /// Sends a signal to all of a jail. Where the runner is gone, so is the jail.
    pub(crate) fn signal(&self, run: u64, signal: u16) {
        if let Some(live) = self.current() {
            let header = Header { kind: to_runner::SIGNAL, code: signal, call: run, ..Header::default() };
            let _ = live.outbox.send(header, &[], &[]);
        }
    }

    async fn live(&self) -> Result<Arc<Live>, String> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let mut last = self.starting.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let pause = last.map_or(Duration::ZERO, |last| RESTART_PAUSE.saturating_sub(last.elapsed()));
        tokio::time::sleep(pause).await;
        *last = Some(Instant::now());
        if lock(&self.current).is_some() {
            METRICS.runner_restarts.inc();
            warn!("the runner is started again");
        }
        let hello = self.start().await?;
        hello.jails.map_err(|refused| format!("{} ({})", refused.message, refused.layer))?;
        self.current().ok_or_else(|| "the runner ended right after its start".into())
    }

    fn current(&self) -> Option<Arc<Live>> {
        lock(&self.current).clone().filter(|live| !lock(&live.runs).closed)
    }
}

impl Live {
    /// Sends a request, without the `files` of a kit that the runner has; else they become a part of it.
    fn send(
        &self,
        header: Header,
        spec: &mut Spec,
        files: &mut Vec<wire::File>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        // Held until it is sent: what is noted as known must be on its way.
        let mut kits = lock(&self.kits);
        let new = spec.kit.filter(|kit| !kits.contains(kit));
        if new.is_some() {
            spec.files.append(files);
        }
        let payload = serde_json::to_vec(spec)?;
        if payload.len() > MAX_SPEC_BYTES {
            let message = format!("the request has {} bytes, the limit is {MAX_SPEC_BYTES}", payload.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.outbox.send(header, &payload, fds)?;
        kits.extend(new);
        while kits.len() > MAX_KITS {
            kits.pop_first();
        }
        Ok(())
    }

    async fn read(self: Arc<Self>, mut reader: Reader, isolation: Isolation) {
        while let Ok(Some((header, payload, fds))) = reader.next(&self).await {
            self.on_frame(header, &payload, fds, isolation);
        }
        let live = Arc::clone(&self);
        let end = tokio::task::spawn_blocking(move || live.process.reap()).await.unwrap_or_default();
        debug!(end, "the runner is gone");
        lock(&self.pings).clear();
        let slots = {
            let mut table = lock(&self.runs);
            table.closed = true;
            std::mem::take(&mut table.slots)
        };
        for slot in slots.into_values() {
            slot.ended.send_replace(Some(lost(isolation)));
        }
    }

    fn on_frame(&self, header: Header, payload: &[u8], fds: Vec<OwnedFd>, isolation: Isolation) {
        if header.kind == from_runner::PONG {
            if let Some(asked) = lock(&self.pings).pop_front() {
                // Who asked may have lost patience.
                let _ = asked.send(());
            }
            return;
        }
        let mut table = lock(&self.runs);
        match header.kind {
            from_runner::STARTED => {
                let started = table.slots.get_mut(&header.call).and_then(|slot| slot.started.take());
                let mut fds = fds.into_iter();
                if let (Some(started), Some(pidfd)) = (started, fds.next()) {
                    // Without a receiver the call is over, and nobody else would end the run.
                    let was_parked = header.code == wire::PARKED;
                    if let Err(Ok(Started { pidfd, .. })) =
                        started.send(Ok(Started { pidfd, terminal: fds.next(), was_parked }))
                    {
                        super::end(&pidfd);
                    }
                }
            }
            from_runner::REFUSED => {
                let slot = table.slots.remove(&header.call);
                let refused = serde_json::from_slice(payload).unwrap_or_else(|error| Refused {
                    layer: "runner".into(),
                    message: format!("it refused without a readable reason: {error}"),
                });
                if let Some(started) = slot.and_then(|slot| slot.started) {
                    let _ = started.send(Err(refused));
                }
            }
            from_runner::EXITED => {
                if let Some(slot) = table.slots.remove(&header.call) {
                    let outcome = serde_json::from_slice::<Outcome>(payload);
                    let outcome = outcome.map(|outcome| super::outcome(outcome, isolation));
                    slot.ended.send_replace(Some(outcome.unwrap_or_else(|_| lost(isolation))));
                }
            }
            kind => warn!(kind, "the runner sent an unknown message"),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// What happened to a run that nobody can tell about any more: the jail died with the runner.
pub(super) fn lost(isolation: Isolation) -> RunOutcome {
    RunOutcome {
        status: RunStatus::Signalled(9),
        limit: Some(RunLimit::RunnerLost),
        limits_reached: Vec::new(),
        wall_ms: 0,
        cpu_ms: 0,
        peak_memory_bytes: 0,
        isolation,
        accounting: Accounting::Tree,
    }
}

struct Reader {
    decoder: Decoder,
    fds: VecDeque<OwnedFd>,
}

impl Reader {
    async fn hello(&mut self, live: &Live) -> io::Result<Hello> {
        match self.next(live).await? {
            Some((header, payload, _)) if header.kind == from_runner::HELLO => {
                Ok(serde_json::from_slice(&payload)?)
            }
            Some((header, ..)) => {
                Err(io::Error::other(format!("it greeted with message kind {}", header.kind)))
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn next(&mut self, live: &Live) -> io::Result<Option<(Header, Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            let frame = self.decoder.next_frame().map_err(io::Error::other)?;
            if let Some((header, payload)) = frame {
                let count = usize::from(header.fds).min(self.fds.len());
                return Ok(Some((header, payload.to_vec(), self.fds.drain(..count).collect())));
            }
            let read = |fd: BorrowedFd<'_>| receive_with_fds(fd, self.decoder.space(), &mut self.fds);
            match live.socket.receive(read).await? {
                0 => return Ok(None),
                count => self.decoder.filled(count),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
