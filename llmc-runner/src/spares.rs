//! Jails of embedded engines that wait: made ahead of time, each for one run.
//!
//! As with interpreters that are forked ([`crate::stock`]), what to keep ready is learned: the first run of an engine
//! starts cold. A spare one is made when nothing has begun for a moment, or at once if the last one was taken and
//! its run is over: whoever runs one after the other has no moment to spare, and the next jail can be made while the
//! answer is on its way. It goes when its engine was not used for a while.

use std::time::{Duration, Instant};

use llmc_sandbox::JailError;
use llmc_sandbox::jail::{Function, JailSpec, Launcher, Parked, Payload};
use llmc_sandbox::profile::ENGINE;

/// Jails to keep ready for each engine.
const WANTED: usize = 2;
/// Time without a run after which they go.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);
/// Making one waits until nothing has begun for so long, unless none is left: it would compete with the run.
const LULL: Duration = Duration::from_millis(4);
/// Pause after one that could not be made.
const PAUSE: Duration = Duration::from_secs(10);

/// Most jails that wait at a time: there are two embedded engines.
pub(crate) const MOST: u32 = 2 * WANTED as u32;

/// The jails that wait.
pub(crate) struct Spares {
    are_wanted: bool,
    engines: Vec<Engine>,
    last_use: Instant,
    not_before: Instant,
}

/// Those of an engine.
struct Engine {
    function: Function,
    ready: Vec<Parked>,
    last_use: Instant,
}

impl Spares {
    pub(crate) fn new(are_wanted: bool) -> Self {
        let now = Instant::now();
        Self { are_wanted, engines: Vec::new(), last_use: now, not_before: now }
    }

    /// A jail that waits for a run of this engine, if one does; one more is made later.
    pub(crate) fn take(&mut self, function: Function) -> Option<Parked> {
        if !self.are_wanted {
            return None;
        }
        let now = Instant::now();
        self.last_use = now;
        let known = self.engines.iter_mut().find(|engine| std::ptr::fn_addr_eq(engine.function, function));
        if let Some(engine) = known {
            engine.last_use = now;
            return engine.ready.pop();
        }
        self.engines.push(Engine { function, ready: Vec::new(), last_use: now });
        None
    }

    /// Makes a jail that is missing, if it is time to; ends those that nobody needs. `is_idle` while nothing runs.
    pub(crate) fn tend(&mut self, launcher: &mut Launcher, is_idle: bool) {
        let now = Instant::now();
        for engine in self.engines.extract_if(.., |engine| now - engine.last_use > MAX_IDLE) {
            engine.ready.into_iter().for_each(|parked| parked.end(launcher));
        }
        if now < self.not_before {
            return;
        }
        let is_quiet = now - self.last_use >= LULL;
        let Some(engine) = self.engines.iter_mut().find(|engine| engine.is_short(is_quiet, is_idle)) else {
            return;
        };
        match make(engine.function, launcher) {
            Ok(parked) => engine.ready.push(parked),
            Err(why) => {
                crate::note(&format!("no jail can be made ahead of time, runs start cold: {why}"));
                self.not_before = now + PAUSE;
            }
        }
    }

    /// When [`Spares::tend`] has something to do.
    pub(crate) fn next_due(&self, is_idle: bool) -> Option<Instant> {
        let idle = self.engines.iter().map(|engine| engine.last_use + MAX_IDLE).min()?;
        let is_short = |is_quiet| self.engines.iter().any(|engine| engine.is_short(is_quiet, is_idle));
        let next = if is_short(false) {
            self.not_before
        } else if is_short(true) {
            (self.last_use + LULL).max(self.not_before)
        } else {
            idle
        };
        Some(next.min(idle) + Duration::from_millis(1))
    }

    /// A jail that waited could not be used.
    pub(crate) fn disappoint(&mut self, launcher: &mut Launcher, error: &JailError) {
        crate::note(&format!("a jail that waited could not be used: {error}"));
        for engine in self.engines.drain(..) {
            engine.ready.into_iter().for_each(|parked| parked.end(launcher));
        }
        self.not_before = Instant::now() + PAUSE;
    }
}

impl Engine {
    /// Whether one is to be made now.
    fn is_short(&self, is_quiet: bool, is_idle: bool) -> bool {
        let wanted = if is_quiet { WANTED } else { usize::from(is_idle) };
        self.ready.len() < wanted
    }
}

/// Its streams until it has those of its run: the log.
fn make(function: Function, launcher: &mut Launcher) -> Result<Parked, JailError> {
    let log = || std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned();
    let (Ok(stdout), Ok(stderr)) = (log(), log()) else {
        return Err(JailError::Invalid("the log cannot be opened twice".into()));
    };
    launcher.park(&JailSpec {
        profile: &ENGINE,
        payload: Payload::Function(function),
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        roots: Vec::new(),
        system: Vec::new(),
        limits: ENGINE.limits,
        stdin: None,
        stdout,
        stderr,
        job: None,
        terminal: None,
    })
}
