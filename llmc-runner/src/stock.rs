//! Interpreters that wait: jails forked ahead of time from a zygote, so that a run need not wait for an interpreter.
//!
//! What to keep ready is learned: the first run of a kind starts cold, and a zygote is started for the next ones. All
//! this happens off the path of a run. A zygote has an age limit and a limit on children, because its children share
//! what a fork copies (address layout, hash seed); it goes when nobody has run anything for a while, and when it has
//! grown, which it should not (`ZygoteBounds`).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llmc_sandbox::JailError;
use llmc_sandbox::jail::{JailSpec, Launcher, Parked, Payload, SmallFile, Zygote};
use llmc_sandbox::profile::ZYGOTE;
use llmc_wire::runner::{Program, Spec, ZygoteBounds};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::engine::Engine;

/// The library that forks, beside this program.
const LIBRARY: &str = "libllmc_zygote.so";
/// A library that it needs, and this program, too: where this one has it from.
const COMPANION: &str = "/libgcc_s.so";
/// What makes an interpreter a zygote.
const SCRIPT: (&str, &str) = ("zygote.py", include_str!("zygote.py"));
/// Directory of files that come with a request.
const FILES: &str = "/llmc/";

/// Time between two looks at the memory of a zygote.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Pause after a zygote that failed; twice as long after each further one, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(10);
/// See [`PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Forking waits until nothing has begun for so long, unless no jail is left: the fork would compete with the run.
const LULL: Duration = Duration::from_millis(4);
/// How long a zygote may take until it is ready, and until it has forked.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all runs of a kind have in common: the interpreter, what it is given, and the size of its scratch space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    program: PathBuf,
    system: Vec<PathBuf>,
    args: Vec<String>,
    files: Vec<(String, String)>,
    scratch: (u64, u64),
}

/// The zygotes of this runner; at most one is asked for jails.
pub(crate) struct Stock {
    /// Jails to keep ready.
    wanted: usize,
    bounds: ZygoteBounds,
    library: Option<PathBuf>,
    current: Option<Brood>,
    /// Zygotes that are only kept because runs forked from them are under way.
    retired: Vec<Brood>,
    next_number: u64,
    last_use: Instant,
    not_before: Instant,
    /// Zygotes in a row that failed before they had served a run.
    failures: u32,
}

/// A zygote and what it has forked.
struct Brood {
    number: u64,
    kind: Kind,
    zygote: Zygote,
    born: Instant,
    children: u32,
    running: u32,
    /// When its memory was looked at.
    looked: Instant,
    /// Since when it owes an answer.
    owes: Option<Instant>,
}

impl Kind {
    /// `None` for a run that no zygote could take: it has a directory, a variable or a root of its own.
    pub(crate) fn of(spec: &Spec, engine: &Engine) -> Option<Self> {
        let plain = spec.env.is_empty() && spec.binds.is_empty() && spec.cwd.is_none();
        let script = spec.args.last()?.strip_prefix(FILES)?;
        let known = spec.files.iter().any(|file| file.name == script);
        let is_engine = matches!(spec.program, Program::Engine(_));
        let Engine::Program { file, .. } = engine else { return None };
        (plain && known && is_engine).then(|| Self {
            program: file.clone(),
            system: engine.system(&spec.system),
            args: spec.args.clone(),
            files: spec.files.iter().map(|file| (file.name.clone(), file.contents.clone())).collect(),
            scratch: (spec.limits.scratch_bytes, spec.limits.scratch_inodes),
        })
    }

    /// The jail of a zygote for this kind.
    fn zygote_spec(&self, library: &Path) -> std::io::Result<JailSpec> {
        let log = std::io::stderr().as_fd().try_clone_to_owned()?;
        let companion = companion()?;
        let mut args = self.args.clone();
        let place = args.len().saturating_sub(1);
        args.insert(place, format!("{FILES}{}", SCRIPT.0));
        args.extend(companion.iter().map(|path| path.to_string_lossy().into_owned()));
        let files = self.files.iter().map(|(name, contents)| (name.as_str(), contents.as_str()));
        Ok(JailSpec {
            profile: &ZYGOTE,
            payload: Payload::Program { file: self.program.clone(), args },
            cwd: None,
            env: Vec::new(),
            files: files
                .chain([SCRIPT])
                .map(|(name, contents)| SmallFile { name: name.into(), contents: contents.into() })
                .collect(),
            roots: Vec::new(),
            system: self.system.iter().cloned().chain(companion).collect(),
            limits: ZYGOTE.limits,
            stdin: Some(sealed_copy(library)?),
            stdout: log.try_clone()?,
            stderr: log,
            job: None,
            terminal: None,
        })
    }
}

/// A copy in memory: mapped from there it does not tell where it is installed.
fn sealed_copy(library: &Path) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| memfd_create("llmc-zygote", flags);
    // Not executable as a program, see `memfd_create(2)`. Kernels before 6.3 do not know the flag.
    let copy = create(flags | MemfdFlags::NOEXEC_SEAL).or_else(|_| create(flags))?;
    let mut copy = File::from(copy);
    std::io::copy(&mut File::open(library)?, &mut copy)?;
    llmc_sandbox::seal(&copy)?;
    Ok(copy.into())
}

/// Where this program has [`COMPANION`] from, if it has it.
fn companion() -> std::io::Result<Option<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let path = maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| format!("/{path}"));
    Ok(path.into_iter().find(|path| path.contains(COMPANION)).map(PathBuf::from))
}

impl Stock {
    pub(crate) fn new(wanted: u32, bounds: ZygoteBounds) -> Self {
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name(LIBRARY));
        let now = Instant::now();
        // One that is replaced before it has served anybody is of no use.
        let bounds = ZygoteBounds { max_children: bounds.max_children.max(wanted + 1), ..bounds };
        Self {
            wanted: wanted as usize,
            bounds,
            library: beside.filter(|library| wanted > 0 && library.is_file()),
            current: None,
            retired: Vec::new(),
            next_number: 0,
            last_use: now,
            not_before: now,
            failures: 0,
        }
    }

    /// A jail that waits for a run of this kind, and the number to give back with [`Stock::ended`].
    pub(crate) fn take(&mut self, kind: &Kind) -> Option<(Parked, u64)> {
        let brood = self.current.as_mut().filter(|brood| brood.kind == *kind)?;
        self.last_use = Instant::now();
        let parked = brood.zygote.take()?;
        brood.running += 1;
        self.failures = 0;
        Some((parked, brood.number))
    }

    /// Whether a jail waits for this kind of run.
    pub(crate) fn is_ready_for(&self, kind: &Kind) -> bool {
        self.current.as_ref().is_some_and(|brood| brood.kind == *kind && brood.zygote.waiting() > 0)
    }

    /// Whether such a jail is about to be there.
    pub(crate) fn expects(&self, kind: &Kind) -> bool {
        self.current.as_ref().is_some_and(|brood| brood.kind == *kind && brood.zygote.is_ready())
    }

    /// A run of this kind started cold: keeps some ready from now on, unless another kind is in use.
    pub(crate) fn learn(&mut self, launcher: &mut Launcher, kind: &Kind) {
        let now = Instant::now();
        let in_use = self.current.is_some() && now - self.last_use < PAUSE;
        if self.current.as_ref().is_some_and(|brood| brood.kind == *kind) || in_use || now < self.not_before {
            return;
        }
        self.last_use = now;
        self.start(launcher, kind.clone());
    }

    /// A run that began in a jail of brood `number` is over.
    pub(crate) fn ended(&mut self, launcher: &mut Launcher, number: u64) {
        let mut broods = self.current.iter_mut().chain(&mut self.retired);
        if let Some(brood) = broods.find(|brood| brood.number == number) {
            brood.running = brood.running.saturating_sub(1);
        }
        self.bury(launcher);
    }

    /// Readable when the zygote says something.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.current.as_ref().map(|brood| brood.zygote.socket())
    }

    /// Takes in what the zygote said, and asks for what is missing; `waiting` more than the usual stock.
    pub(crate) fn tend(&mut self, launcher: &mut Launcher, waiting: usize) {
        let Some(brood) = self.current.as_mut() else { return };
        let now = Instant::now();
        let quiet = now - self.last_use >= LULL;
        let wanted = if quiet { self.wanted } else { 1 };
        let tended = brood.tend(wanted + waiting, &self.bounds, now);
        let old = brood.is_old(&self.bounds, now);
        let idle = now - self.last_use > Duration::from_millis(self.bounds.max_idle_ms);
        if let Err(why) = tended {
            crate::note(&format!("a zygote failed and is given up: {why}"));
            self.pause();
            self.retire(launcher);
        } else if idle {
            self.retire(launcher);
        } else if old {
            let kind = brood.kind.clone();
            self.retire(launcher);
            self.start(launcher, kind);
        }
    }

    /// When [`Stock::tend`] has something to do although nobody said anything.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let brood = self.current.as_ref()?;
        let is_short = brood.zygote.is_ready() && brood.zygote.stock() < self.wanted;
        let idle =
            self.last_use + if is_short { LULL } else { Duration::from_millis(self.bounds.max_idle_ms) };
        Some(brood.owes.map_or(idle, |since| idle.min(since + PATIENCE)) + Duration::from_millis(1))
    }

    fn start(&mut self, launcher: &mut Launcher, kind: Kind) {
        let Some(library) = &self.library else { return };
        let spec = kind.zygote_spec(library).map_err(|error| error.to_string());
        let started = spec
            .and_then(|spec| Zygote::start(launcher, spec, kind.scratch).map_err(|error| error.to_string()));
        match started {
            Ok(zygote) => {
                self.retire(launcher);
                let (number, born) = (self.next_number, Instant::now());
                self.next_number += 1;
                let (children, running, looked, owes) = (0, 0, born, Some(born));
                self.current = Some(Brood { number, kind, zygote, born, children, running, looked, owes });
            }
            Err(why) => {
                crate::note(&format!("no zygote can be started, runs start cold: {why}"));
                self.pause();
            }
        }
    }

    /// A jail that waited could not be used: its zygote is not trusted any more.
    pub(crate) fn disappoint(&mut self, launcher: &mut Launcher, error: &JailError) {
        if self.current.is_some() {
            crate::note(&format!("a jail that waited could not be used, its zygote is given up: {error}"));
            self.pause();
            self.retire(launcher);
        }
    }

    fn pause(&mut self) {
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.not_before = Instant::now() + pause;
        self.failures = self.failures.saturating_add(1);
    }

    fn retire(&mut self, launcher: &mut Launcher) {
        self.retired.extend(self.current.take());
        self.bury(launcher);
    }

    /// Ends retired zygotes that nobody needs.
    fn bury(&mut self, launcher: &mut Launcher) {
        for brood in self.retired.extract_if(.., |brood| brood.running == 0) {
            brood.zygote.end(launcher);
        }
    }
}

impl Brood {
    /// Fails when the zygote is of no further use.
    fn tend(&mut self, wanted: usize, bounds: &ZygoteBounds, now: Instant) -> Result<(), String> {
        self.ask(wanted, bounds, now)?;
        if self.owes.is_some_and(|since| now - since > PATIENCE) {
            return Err("it does not answer".into());
        }
        self.look(bounds, now)
    }

    fn is_old(&self, bounds: &ZygoteBounds, now: Instant) -> bool {
        self.children >= bounds.max_children || now - self.born > Duration::from_millis(bounds.max_age_ms)
    }

    /// Where the machine does not show its memory, there is nothing to compare.
    fn look(&mut self, bounds: &ZygoteBounds, now: Instant) -> Result<(), String> {
        if now - self.looked < LOOK_AGAIN {
            return Ok(());
        }
        self.looked = now;
        let (bytes, most) = (self.zygote.memory_bytes().unwrap_or(0), bounds.max_memory_bytes);
        if bytes <= most {
            Ok(())
        } else {
            Err(format!("it uses {bytes} bytes of memory, at most {most} are allowed"))
        }
    }

    fn ask(&mut self, wanted: usize, bounds: &ZygoteBounds, now: Instant) -> Result<(), String> {
        let before = self.zygote.waiting();
        self.zygote.listen().map_err(|error| error.to_string())?;
        if !self.zygote.is_ready() {
            return Ok(());
        }
        while self.zygote.stock() < wanted && self.children < bounds.max_children {
            self.zygote.ask().map_err(|error| error.to_string())?;
            self.children += 1;
        }
        let progressed = self.zygote.waiting() != before;
        self.owes = match self.zygote.owed() {
            0 => None,
            _ if progressed => Some(now),
            _ => self.owes.or(Some(now)),
        };
        Ok(())
    }
}
