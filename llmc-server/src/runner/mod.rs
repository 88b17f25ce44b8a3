//! Runs: what plugins ask to run, what they are granted, and the runner that starts it.
//!
//! The runner makes the jail; this side decides what may be in it. Bytes from a jail go straight to the plugin that
//! asked, through pipes that the server makes and gives away. The server keeps the pidfd, so that it can always
//! end a run.
//!
//! - [`grant`]: from a request and a grant to a jail's specification.
//! - [`kit`]: files that a plugin brings along in every run.
//! - [`programs`]: granted programs, and the rules for their arguments.
//! - [`link`]: the connection to the runner process.
//! - [`pool`]: what all runs of one runner share.

mod grant;
mod kit;
mod link;
mod pool;
mod programs;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_core::code;
use llmc_core::run::{
    Accounting, Isolation, RunLimit, RunOutcome, RunRequest, RunSignal, RunStarted, RunStatus,
};
use llmc_wire::host::Failure;
use llmc_wire::runner::{self as wire, Limit, Outcome, Spec, Status};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use grant::Grant;
pub(crate) use link::Link;
pub(crate) use pool::Pool;
pub(crate) use programs::{Granted, shown};

use crate::config::{Grants, RunProfile};
use crate::plugin::CallContext;
use crate::plugin::connection::failure;
use crate::telemetry::METRICS;
use crate::telemetry::metrics::Held;

/// Outcomes that are kept for a plugin that has not asked for them yet.
const MAX_KEPT: usize = 256;

/// All runs of all plugins of one configuration.
pub(crate) struct Runs {
    pool: Arc<Pool>,
    grants: BTreeMap<String, Grant>,
    /// Everything that each plugin is granted.
    all_grants: BTreeMap<String, Grants>,
    table: Mutex<Table>,
    /// How long a run may wait for a place.
    patience: Duration,
}

/// The host that asked for something: how many hosts of its plugin had ended by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostNumber(u64);

/// Runs, and how many hosts of each plugin have ended.
#[derive(Default)]
struct Table {
    runs: HashMap<u64, Run>,
    ended_hosts: HashMap<String, u64>,
}

struct Run {
    plugin: String,
    pidfd: Arc<OwnedFd>,
    ended: watch::Receiver<Option<RunOutcome>>,
    /// Cancelled when the run has to end because its call is over or not wanted any more.
    cancel: CancellationToken,
}

/// A plugin without a run grant asked to run something.
pub(crate) fn not_granted(plugin: &str, granted: &Grants, program: &str) -> Failure {
    let (what, line) = match grant::ENGINES.contains(&program) {
        true => ("code", granted.line_with(plugin, |grants| grants.run_mut().profile = RunProfile::Code)),
        false => {
            ("programs", granted.line_with(plugin, |grants| grants.run_mut().programs.push("PROGRAM".into())))
        }
    };
    failure(code::DENIED, format!("plugin `{plugin}` may not run {what}; to allow it, write {line}"))
}

impl Runs {
    pub(crate) fn new(
        pool: Arc<Pool>,
        grants: BTreeMap<String, Grant>,
        all_grants: BTreeMap<String, Grants>,
        patience: Duration,
    ) -> Self {
        Self { pool, grants, all_grants, table: Mutex::default(), patience }
    }

    fn not_granted(&self, plugin: &str, program: &str) -> Failure {
        not_granted(plugin, &self.all_grants.get(plugin).cloned().unwrap_or_default(), program)
    }

    /// Starts what a plugin asks for, if it is granted.
    ///
    /// The answer's descriptors are places in the list beside it.
    pub(crate) async fn start(
        self: &Arc<Self>,
        plugin: &str,
        host: HostNumber,
        mut request: RunRequest,
        context: &Arc<CallContext>,
    ) -> Result<(RunStarted, Vec<OwnedFd>), Failure> {
        let grant = self.grants.get(plugin).ok_or_else(|| self.not_granted(plugin, &request.program))?;
        let (detached, merge_stderr) = (request.detached, request.merge_stderr);
        let left = context.deadline.saturating_duration_since(Instant::now());
        let left_ms = if detached { u64::MAX } else { u64::try_from(left.as_millis()).unwrap_or(u64::MAX) };
        let kit = self.pool.kits.unpack(plugin, &mut request)?;
        let spec = Spec { kit, ..grant.spec(plugin, request, left_ms)? };
        let wall_ms = spec.limits.wall_ms;
        // Pipes are made only for as many runs as may live: descriptors of the server are not at a plugin's disposal.
        let place = if detached { self.detached_place()? } else { self.place(context).await? };
        let pipes = Pipes::new(&spec, merge_stderr).map_err(|error| out_of_descriptors(&error))?;
        let cancel = if detached { CancellationToken::new() } else { context.cancel.clone() };
        let wanted = Wanted { plugin: plugin.to_owned(), host, spec, pipes, place, cancel: cancel.clone() };
        // The runner may take its time; who withdraws does not wait for it. What starts then is ended at once.
        let begun = tokio::spawn(Arc::clone(self).begin(wanted, wall_ms));
        tokio::select! {
            begun = begun => begun.unwrap_or_else(|error| Err(failure(code::FAILED, error.to_string()))),
            () = cancel.cancelled() => Err(failure(code::CANCELLED, "the call was cancelled while its jail was made")),
        }
    }

    /// Has the runner make a jail, and looks after its end.
    async fn begin(
        self: Arc<Self>,
        wanted: Wanted,
        wall_ms: u64,
    ) -> Result<(RunStarted, Vec<OwnedFd>), Failure> {
        let Wanted { plugin, host, spec, mut pipes, place, cancel } = wanted;
        let grant = self.grants.get(&plugin).ok_or_else(|| self.not_granted(&plugin, ""))?;
        let run = self.pool.number();
        let (ended, outcome) = watch::channel(None);
        let mut fds: Vec<_> = pipes.theirs.iter().map(AsFd::as_fd).collect();
        fds.extend(grant.binds());
        let begun = Instant::now();
        let started = self.pool.link.spawn(run, spec, &fds, ended).await.map_err(|refused| {
            failure(code::FAILED, format!("not run: {} ({})", refused.message, refused.layer))
        })?;
        METRICS.run(&plugin, started.was_parked, begun.elapsed());
        let live = Held::of(&METRICS.runs_live);
        let pidfd = Arc::new(started.pidfd);
        let pty = started.terminal.map(|terminal| pipes.keep(terminal));
        debug!(plugin, run, "run started");
        let entry = Run { plugin, pidfd: Arc::clone(&pidfd), ended: outcome.clone(), cancel: cancel.clone() };
        if !self.table().insert(run, entry, host) {
            // Its host ended while it was starting. Nobody would look after it.
            end(&pidfd);
        }
        let runs = Arc::clone(&self);
        tokio::spawn(async move {
            if end_with_call(cancel, outcome, pidfd).await {
                // Nobody may ask for it any more.
                runs.table().runs.remove(&run);
            }
            drop((place, live));
        });
        let started = RunStarted {
            run,
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            pty,
            job: pipes.job,
            isolation: self.pool.link.isolation(),
            wall_ms,
        };
        Ok((started, pipes.ours))
    }

    /// Waits for a place among the jails that may live, as long as the call has time.
    async fn place(&self, context: &CallContext) -> Result<OwnedSemaphorePermit, Failure> {
        let begun = Instant::now();
        let left = context.deadline.saturating_duration_since(begun);
        let place =
            tokio::time::timeout(self.patience.min(left), Arc::clone(&self.pool.places).acquire_owned());
        let cancelled = || failure(code::CANCELLED, "the call was cancelled while it waited for a jail");
        let place = tokio::select! {
            place = place => place,
            () = context.cancel.cancelled() => return Err(cancelled()),
        };
        METRICS.run_queue.observe(begun.elapsed());
        place.ok().and_then(Result::ok).ok_or_else(|| {
            METRICS.limit("concurrent_runs");
            failure(
                code::LIMIT,
                "not run: as many jails run already as may (`limits.concurrent_runs`), and none ended in time; \
                 try again later",
            )
        })
    }

    /// A place for a run that outlives its call. Nobody waits for one: it may be taken for an hour.
    fn detached_place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.pool.detached_places).try_acquire_owned().map_err(|_| {
            METRICS.limit("detached_runs");
            failure(
                code::LIMIT,
                "not run: as many processes run already as may (`limits.detached_runs`); stop one first",
            )
        })
    }

    /// Waits until a run has ended. For who withdrew it has ended when it was killed: the runner's account, which comes
    /// once the kernel has cleared its jail away, is then of no use to anybody.
    pub(crate) async fn wait(&self, plugin: &str, run: u64) -> Result<RunOutcome, Failure> {
        let (mut ended, cancel, pidfd) =
            self.of(plugin, run, |run| (run.ended.clone(), run.cancel.clone(), Arc::clone(&run.pidfd)))?;
        let outcome = tokio::select! {
            biased;
            outcome = ended.wait_for(Option::is_some) => outcome.map(|outcome| outcome.clone()),
            () = cancel.cancelled() => {
                end(&pidfd);
                return Err(failure(code::CANCELLED, "the call was cancelled, and its run ended"));
            }
        };
        self.table().runs.remove(&run);
        Ok(outcome.ok().flatten().unwrap_or_else(|| link::lost(self.pool.link.isolation())))
    }

    /// Ends a run; one that has ended is left alone.
    pub(crate) fn kill(&self, plugin: &str, run: u64) -> Result<(), Failure> {
        let pidfd = self.of(plugin, run, |run| Arc::clone(&run.pidfd));
        if let Ok(pidfd) = pidfd {
            end(&pidfd);
        }
        Ok(())
    }

    /// Sends a signal to every process of a run; one that has ended is left alone.
    pub(crate) fn signal(&self, plugin: &str, run: u64, signal: RunSignal) -> Result<(), Failure> {
        if self.of(plugin, run, |run| run.ended.borrow().is_none()).is_ok_and(|runs| runs) {
            match signal {
                RunSignal::Int => self.pool.link.signal(run, 2),
                RunSignal::Term => self.pool.link.signal(run, 15),
                RunSignal::Kill => self.kill(plugin, run)?,
            }
        }
        Ok(())
    }

    /// Which host of a plugin lives now. To be asked when a request arrives, before the end of its host can be noticed.
    pub(crate) fn host_number(&self, plugin: &str) -> HostNumber {
        self.table().host_number(plugin)
    }

    /// The host of a plugin has ended: so does every run of it, those that outlive their call too, and those that are
    /// starting.
    pub(crate) fn end_all(&self, plugin: &str) {
        let mut table = self.table();
        *table.ended_hosts.entry(plugin.into()).or_default() += 1;
        table.runs.values().filter(|run| run.plugin == plugin).for_each(|run| end(&run.pidfd));
    }

    fn of<T>(&self, plugin: &str, run: u64, look: impl FnOnce(&Run) -> T) -> Result<T, Failure> {
        let table = self.table();
        let found = table.runs.get(&run).filter(|run| run.plugin == plugin);
        found.map(look).ok_or_else(|| failure(code::FAILED, format!("there is no run {run}")))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn host_number(&self, plugin: &str) -> HostNumber {
        HostNumber(self.ended_hosts.get(plugin).copied().unwrap_or_default())
    }

    /// Keeps a run; `false` when the host that asked for it has ended meanwhile.
    fn insert(&mut self, id: u64, run: Run, host: HostNumber) -> bool {
        let runs = &mut self.runs;
        if runs.values().filter(|kept| kept.plugin == run.plugin).count() >= MAX_KEPT {
            runs.retain(|_, kept| kept.plugin != run.plugin || kept.ended.borrow().is_none());
        }
        let lives = self.host_number(&run.plugin) == host;
        self.runs.insert(id, run);
        lives
    }
}

/// Waits for the end of a run, and brings it about when its call ends or is cancelled; tells whether that was so.
async fn end_with_call(
    call_over: CancellationToken,
    mut ended: watch::Receiver<Option<RunOutcome>>,
    pidfd: Arc<OwnedFd>,
) -> bool {
    let over = |ended: &Option<RunOutcome>| ended.is_some();
    tokio::select! {
        _ = ended.wait_for(over) => return false,
        () = call_over.cancelled() => end(&pidfd),
    }
    let _ = ended.wait_for(over).await;
    true
}

/// Kills process 1 of the jail, and with it the whole tree.
fn end(pidfd: &OwnedFd) {
    use rustix::process::{Signal, pidfd_send_signal};
    // A run that has ended needs no signal.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
}

/// A run that has its place and its pipes, and no jail so far.
struct Wanted {
    plugin: String,
    host: HostNumber,
    spec: Spec,
    pipes: Pipes,
    place: OwnedSemaphorePermit,
    cancel: CancellationToken,
}

/// The ends of a run's pipes.
#[derive(Default)]
struct Pipes {
    ours: Vec<OwnedFd>,
    theirs: Vec<OwnedFd>,
    stdin: Option<i32>,
    stdout: Option<i32>,
    stderr: Option<i32>,
    job: Option<i32>,
}

impl Pipes {
    /// In the order that the runner expects: stdin, stdout, stderr, job. It makes terminals itself.
    fn new(spec: &Spec, merge_stderr: bool) -> std::io::Result<Self> {
        let mut pipes = Self::default();
        let has_terminal = spec.terminal.is_some();
        if spec.stdin && !has_terminal {
            let (reader, writer) = std::io::pipe()?;
            pipes.stdin = Some(pipes.add(writer.into(), reader.into()));
        }
        if !has_terminal {
            let (reader, writer) = std::io::pipe()?;
            let merged = merge_stderr.then(|| writer.try_clone()).transpose()?;
            pipes.stdout = Some(pipes.add(reader.into(), writer.into()));
            let (reader, writer) = std::io::pipe()?;
            pipes.stderr = Some(pipes.add(reader.into(), merged.unwrap_or(writer).into()));
        }
        if spec.job {
            let (ours, theirs) = UnixStream::pair()?;
            pipes.job = Some(pipes.add(ours.into(), theirs.into()));
        }
        Ok(pipes)
    }

    fn add(&mut self, ours: OwnedFd, theirs: OwnedFd) -> i32 {
        self.theirs.push(theirs);
        self.keep(ours)
    }

    /// Adds a descriptor for the plugin; returns its place.
    fn keep(&mut self, ours: OwnedFd) -> i32 {
        self.ours.push(ours);
        // At most four.
        i32::try_from(self.ours.len() - 1).unwrap_or_default()
    }
}

fn out_of_descriptors(error: &std::io::Error) -> Failure {
    failure(code::LIMIT, format!("not run: failed to make its pipes: {error}"))
}

/// The runner's account of a run as the plugin gets it.
fn outcome(outcome: Outcome, isolation: Isolation) -> RunOutcome {
    outcome.limit.map(counted_as).into_iter().for_each(|limit| METRICS.limit(limit));
    RunOutcome {
        status: match outcome.status {
            Status::Exited(code) => RunStatus::Exited(code),
            Status::Signalled(signal) => RunStatus::Signalled(signal),
        },
        limit: outcome.limit.map(limit),
        limits_reached: outcome.limits_reached.into_iter().map(limit).collect(),
        wall_ms: outcome.wall_ms,
        cpu_ms: outcome.cpu_ms,
        peak_memory_bytes: outcome.peak_memory_bytes,
        isolation,
        accounting: match outcome.accounting {
            wire::Accounting::Tree => Accounting::Tree,
            wire::Accounting::Cgroup => Accounting::Cgroup,
        },
    }
}

/// The name of a limit that ended a run, as its result has it.
fn counted_as(limit: Limit) -> &'static str {
    match limit {
        Limit::Wall => "run.wall",
        Limit::Cpu => "run.cpu",
        Limit::Memory => "run.memory",
        Limit::Killed => "run.killed",
        Limit::Workspace => "run.workspace",
        Limit::FileSize => "run.file_size",
        Limit::Processes => "run.processes",
        Limit::OpenFiles => "run.open_files",
        Limit::ScratchBytes => "run.scratch_bytes",
        Limit::ScratchInodes => "run.scratch_inodes",
    }
}

fn limit(limit: Limit) -> RunLimit {
    match limit {
        Limit::Wall => RunLimit::Wall,
        Limit::Cpu => RunLimit::Cpu,
        Limit::Memory => RunLimit::Memory,
        Limit::Killed => RunLimit::Killed,
        Limit::Workspace => RunLimit::Workspace,
        Limit::FileSize => RunLimit::FileSize,
        Limit::Processes => RunLimit::Processes,
        Limit::OpenFiles => RunLimit::OpenFiles,
        Limit::ScratchBytes => RunLimit::ScratchBytes,
        Limit::ScratchInodes => RunLimit::ScratchInodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_host_ended_while_it_started_is_noticed() {
        let run = |plugin: &str| Run {
            plugin: plugin.into(),
            pidfd: Arc::new(std::fs::File::open("/dev/null").unwrap().into()),
            ended: watch::channel(None).1,
            cancel: CancellationToken::new(),
        };
        let mut table = Table::default();
        let host = table.host_number("cmd");
        assert!(table.insert(1, run("cmd"), host));
        *table.ended_hosts.entry("cmd".into()).or_default() += 1;
        assert!(!table.insert(2, run("cmd"), host));
        let next = table.host_number("cmd");
        assert!(table.insert(3, run("cmd"), next));
        let other = table.host_number("exec");
        assert!(table.insert(4, run("exec"), other));
    }
}
