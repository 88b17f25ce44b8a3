//! The loop: one thread, one socket, some jails.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use llmc_sandbox::Isolation;
use llmc_sandbox::jail::{Handover, Jail, JailSpec, Launcher, Payload, Stillborn, TreeSignal};
use llmc_wire::Header;
use llmc_wire::runner::{
    File, Hello, Init, MAX_KITS, PARKED, Program, Refused, Spec, from_runner, to_runner,
};
use llmc_wire::socket::{Receiver, Sender, split};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::Serialize;

use crate::bytecode::Bytecode;
use crate::engine::Engines;
use crate::request::{isolation, jail_spec, limits, outcome, refused, streams};
use crate::spares::{self, Spares};
use crate::stock::{Kind, Stock};
use crate::{fail, tier, trial};

/// Largest request in bytes; it holds small files and no data.
const MAX_REQUEST: usize = llmc_wire::runner::MAX_SPEC_BYTES;
/// Most jails at a time, whatever the server asks for.
const MAX_JAILS: u32 = 128;
/// Jails beyond those: a zygote, one that takes its place, one that is on its way out, one that compiles, and spare
/// ones.
const OWN_JAILS: u32 = 4 + spares::MOST;
/// Time between two looks at control groups that could not be removed because their processes were just ending.
const TIDY_AGAIN: Duration = Duration::from_millis(20);
/// Longest time that a run waits for an interpreter that is about to be ready, before it starts cold.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Serves until the server closes its end.
pub(crate) fn serve() -> ExitCode {
    let socket = match llmc_sandbox::descriptors::isolate_stdio() {
        Ok(socket) => socket,
        Err(error) => return fail(&format!("{error}; by hand it knows `--survey` and `--self-test`")),
    };
    let (sender, mut receiver) = split(socket, MAX_REQUEST);
    let served = init(&mut receiver).and_then(|init| match init {
        Some(init) => Runner::start(&init, sender)?.run(&mut receiver),
        None => Ok(()),
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// The first message; `None` when the server changed its mind.
fn init(receiver: &mut Receiver) -> io::Result<Option<Init>> {
    let Some(frame) = receiver.receive()? else { return Ok(None) };
    if frame.header.kind != to_runner::INIT {
        return Err(invalid(format!("the first message is of kind {}", frame.header.kind)));
    }
    Ok(Some(serde_json::from_slice(frame.payload)?))
}

struct Runner {
    launcher: Result<Launcher, Refused>,
    max_jails: usize,
    engines: Engines,
    /// Files that come with many runs.
    kits: BTreeMap<u64, Vec<File>>,
    stock: Stock,
    spares: Spares,
    bytecode: Bytecode,
    sender: Sender,
    runs: BTreeMap<u64, Run>,
    /// Runs that wait for an interpreter, the oldest first.
    waiting: VecDeque<Waiting>,
    /// Whether nothing of jails that are gone is left to be removed.
    is_tidy: bool,
}

/// A run under way.
struct Run {
    jail: Jail,
    /// The zygote that its jail was forked from.
    zygote: Option<u64>,
    /// Whether its jail was made ahead of time.
    waited: bool,
    /// The outer side of its terminal, until the server has it.
    terminal: Option<OwnedFd>,
}

/// A run that waits for an interpreter to be ready.
struct Waiting {
    call: u64,
    spec: Spec,
    fds: Vec<OwnedFd>,
    kind: Kind,
    /// When it starts cold.
    patience: Instant,
}

/// What woke the loop.
#[derive(Default)]
struct Woken {
    socket: bool,
    ended: Vec<u64>,
}

impl Runner {
    /// Gives up what is not needed, tries a jail, and tells the server.
    fn start(init: &Init, sender: Sender) -> io::Result<Self> {
        let max_jails = init.max_jails.clamp(1, MAX_JAILS);
        let launcher = tier::launcher(max_jails + OWN_JAILS, Some(init.server_pid), init.min_isolation)
            .and_then(|mut launcher| trial::holds(&mut launcher).map(|()| launcher));
        let hello = Hello {
            pid: std::process::id(),
            jails: launcher.as_ref().map(|launcher| isolation(launcher.isolation())).map_err(Clone::clone),
            payload_identity: launcher.as_ref().map_or_else(|_| "none".to_owned(), Launcher::identity),
            accounting: launcher.as_ref().map_or_else(|_| "none".to_owned(), Launcher::accounting),
        };
        let (kits, runs, waiting) = Default::default();
        // Where there are no namespaces, nothing can be forked into them.
        let has_namespaces =
            launcher.as_ref().is_ok_and(|launcher| launcher.isolation() == Isolation::Namespaces);
        let parked_runs = if has_namespaces { init.parked_runs } else { 0 };
        let (stock, spares) = (Stock::new(parked_runs, init.zygote), Spares::new(parked_runs > 0));
        let bytecode = Bytecode::new(has_namespaces);
        let max_jails = max_jails as usize;
        let engines = Engines::default();
        let is_tidy = true;
        let mut runner = Self {
            launcher,
            max_jails,
            engines,
            kits,
            stock,
            spares,
            bytecode,
            sender,
            runs,
            waiting,
            is_tidy,
        };
        runner.answer(from_runner::HELLO, 0, &hello)?;
        if init.runs_code
            && let Ok(launcher) = &mut runner.launcher
        {
            // So that the first run need not wait for the search. When nothing is found, that run is told why.
            let _ = runner.engines.get("python", launcher);
        }
        Ok(runner)
    }

    fn run(&mut self, receiver: &mut Receiver) -> io::Result<()> {
        loop {
            while let Some(frame) = receiver.take()? {
                let header = frame.header;
                match header.kind {
                    to_runner::SPAWN => {
                        let spec = serde_json::from_slice(frame.payload);
                        let fds = frame.fds;
                        self.spawn(header.call, spec, fds)?;
                    }
                    to_runner::SIGNAL => self.signal(header.call, header.code)?,
                    to_runner::PING => {
                        self.sender.send(
                            Header { kind: from_runner::PONG, ..Header::default() },
                            b"",
                            &[],
                        )?;
                    }
                    kind => return Err(invalid(format!("a message is of kind {kind}"))),
                }
            }
            receiver.shrink();
            let woken = self.wait(receiver)?;
            for call in woken.ended {
                self.finish(call)?;
            }
            self.tend()?;
            self.is_tidy = self.launcher.as_mut().map_or(true, Launcher::tidy);
            if woken.socket && !receiver.fill()? {
                // Whatever still runs dies with this process.
                return Ok(());
            }
        }
    }

    fn spawn(
        &mut self,
        call: u64,
        spec: Result<Spec, serde_json::Error>,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        if self.runs.contains_key(&call) || self.waiting.iter().any(|waiting| waiting.call == call) {
            return Err(invalid(format!("run {call} is there already")));
        }
        let spec = spec.map_err(|error| error.to_string()).and_then(|spec| self.unpack(spec));
        let spec = match spec {
            Ok(spec) => spec,
            Err(message) => {
                let refused = Refused { layer: "request".into(), message };
                return self.answer(from_runner::REFUSED, call, &refused);
            }
        };
        match self.kind_of(&spec) {
            Some(kind) if self.waiting.is_empty() && self.is_ready_for(&kind) => {
                let started = self.begin(&kind, &spec, &fds);
                self.tell(call, started)?;
                self.tend()
            }
            Some(kind) if self.stock.expects(&kind) && self.has_room() => {
                let patience = Instant::now() + LONGEST_WAIT;
                self.waiting.push_back(Waiting { call, spec, fds, kind, patience });
                self.tend()
            }
            kind => {
                let started = self.start_cold(spec, fds);
                self.tell(call, started)?;
                if let (Some(kind), Ok(launcher)) = (kind, &mut self.launcher) {
                    self.stock.learn(launcher, &kind);
                }
                Ok(())
            }
        }
    }

    /// Passes a signal on to a jail. One that has ended meanwhile, or has not begun, is none of anybody's business.
    fn signal(&self, call: u64, number: u16) -> io::Result<()> {
        let Some(signal) = TreeSignal::from_number(number) else {
            return Err(invalid(format!("signal {number} is not one to pass on")));
        };
        if let Some(run) = self.runs.get(&call) {
            run.jail.signal(signal);
        }
        Ok(())
    }

    /// Keeps the files of a kit, or puts them in.
    fn unpack(&mut self, mut spec: Spec) -> Result<Spec, String> {
        let Some(kit) = spec.kit else { return Ok(spec) };
        if spec.files.is_empty() {
            let files = self.kits.get(&kit).ok_or_else(|| format!("kit {kit} is not known"))?;
            spec.files = files.clone();
        } else {
            self.kits.insert(kit, spec.files.clone());
            while self.kits.len() > MAX_KITS {
                self.kits.pop_first();
            }
        }
        Ok(spec)
    }

    /// The kind of a run, if a zygote could take it.
    fn kind_of(&mut self, spec: &Spec) -> Option<Kind> {
        let (Program::Engine(name), Ok(launcher)) = (&spec.program, &mut self.launcher) else { return None };
        Kind::of(spec, &self.engines.get(name, launcher).ok()?)
    }

    fn has_room(&self) -> bool {
        self.runs.len() + self.waiting.len() < self.max_jails
    }

    fn is_ready_for(&self, kind: &Kind) -> bool {
        self.runs.len() < self.max_jails && self.stock.is_ready_for(kind)
    }

    /// Tells the server what became of a request.
    fn tell(&mut self, call: u64, started: Result<Run, Refused>) -> io::Result<()> {
        match started {
            Ok(mut run) => {
                let code = if run.waited { PARKED } else { 0 };
                let header = Header { kind: from_runner::STARTED, code, call, ..Header::default() };
                let terminal = run.terminal.take();
                let mut fds = vec![run.jail.pidfd()];
                fds.extend(terminal.as_ref().map(AsFd::as_fd));
                self.sender.send(header, b"", &fds)?;
                self.runs.insert(call, run);
                Ok(())
            }
            Err(refused) => self.answer(from_runner::REFUSED, call, &refused),
        }
    }

    /// Hands a run to an interpreter that waits. One that ended while it waited is no reason to refuse: the run starts
    /// cold then.
    fn begin(&mut self, kind: &Kind, spec: &Spec, fds: &[OwnedFd]) -> Result<Run, Refused> {
        let [stdin, stdout, stderr, job] = streams(spec, fds)?;
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(Refused { layer: "request".into(), message: "a stream is missing".into() });
        };
        let handover = Handover { stdin, stdout, stderr, job, limits: limits(spec.limits) };
        while let (Ok(launcher), Some((parked, zygote))) = (&mut self.launcher, self.stock.take(kind)) {
            match parked.begin(launcher, &handover) {
                Ok(jail) => return Ok(Run { jail, zygote: Some(zygote), waited: true, terminal: None }),
                Err(stillborn) => {
                    self.stock.ended(launcher, zygote);
                    match stillborn {
                        Stillborn::Before(error) => self.stock.disappoint(launcher, &error),
                        Stillborn::After(error) => {
                            self.stock.disappoint(launcher, &error);
                            return Err(refused(&error));
                        }
                    }
                }
            }
        }
        let fds = fds.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let fds = fds.map_err(|error: io::Error| Refused {
            layer: "request".into(),
            message: format!("failed to copy descriptors: {error}"),
        })?;
        self.start_cold(spec.clone(), fds)
    }

    fn start_cold(&mut self, spec: Spec, fds: Vec<OwnedFd>) -> Result<Run, Refused> {
        let launcher = self.launcher.as_mut().map_err(|refused| refused.clone())?;
        if self.runs.len() >= self.max_jails || !launcher.has_room() {
            let message = format!("{} jails run already; wait for one to end", self.runs.len());
            return Err(Refused { layer: "busy".into(), message });
        }
        let engine = match &spec.program {
            Program::File(_) => None,
            Program::Engine(name) => Some(self.engines.get(name, launcher)?),
        };
        let terminal = spec.terminal.map(|size| launcher.terminal(size.rows, size.cols)).transpose();
        let terminal = terminal.map_err(|error| refused(&error))?;
        let is_engine = engine.is_some();
        let mut spec = jail_spec(spec, engine, fds, terminal.as_ref())?;
        if is_engine {
            self.bytecode.put_in(&mut spec);
        }
        if let Some(jail) = begin_spare(launcher, &mut self.spares, &spec)? {
            return Ok(Run { jail, zygote: None, waited: true, terminal: None });
        }
        let jail = launcher.spawn(&spec).map_err(|error| refused(&error))?;
        Ok(Run { jail, zygote: None, waited: false, terminal: terminal.map(|terminal| terminal.master) })
    }

    /// Looks after the zygote, and after the runs that wait for it.
    fn tend(&mut self) -> io::Result<()> {
        let Ok(launcher) = &mut self.launcher else { return Ok(()) };
        self.stock.tend(launcher, self.waiting.len());
        self.spares.tend(launcher, self.runs.is_empty());
        self.bytecode.tend(launcher, self.runs.is_empty());
        while let Some(first) = self.waiting.pop_front() {
            let Waiting { call, spec, fds, kind, patience } = first;
            if self.stock.is_ready_for(&kind) {
                let started = self.begin(&kind, &spec, &fds);
                self.tell(call, started)?;
            } else if patience <= Instant::now() || !self.stock.expects(&kind) {
                let started = self.start_cold(spec, fds);
                self.tell(call, started)?;
            } else {
                self.waiting.push_front(Waiting { call, spec, fds, kind, patience });
                break;
            }
        }
        Ok(())
    }

    /// Waits for a message, for the end of a jail, or for a zygote; ends jails that are overdue.
    fn wait(&self, receiver: &Receiver) -> io::Result<Woken> {
        let now = Instant::now();
        let deadlines = self.runs.values().map(|run| run.jail.deadline());
        let patience = self.waiting.front().map(|waiting| waiting.patience);
        let tidy = (!self.is_tidy).then(|| now + TIDY_AGAIN);
        let dues = deadlines
            .chain(patience)
            .chain(self.stock.next_due())
            .chain(self.spares.next_due(self.runs.is_empty()))
            .chain(self.bytecode.next_due())
            .chain(tidy);
        let timeout = dues.min().map(|next| {
            // An overdue jail is on its way out; there is no need to ask all the time.
            let left = next.saturating_duration_since(now).max(Duration::from_millis(1));
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let ends: Vec<_> = self.runs.iter().map(|(call, run)| (*call, run.jail.end_of_run())).collect();
        let (socket, zygote) = (receiver.as_fd(), self.stock.socket());
        let mut fds = vec![PollFd::new(&socket, PollFlags::IN)];
        fds.extend(ends.iter().map(|(_, end)| PollFd::new(end, PollFlags::IN)));
        fds.extend(zygote.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(Woken::default()),
            result => result?,
        };
        for run in self.runs.values().filter(|run| run.jail.deadline() <= Instant::now()) {
            run.jail.kill();
        }
        let ended = ends.iter().zip(&fds[1..]).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(Woken { socket: !fds[0].revents().is_empty(), ended: ended.map(|((call, _), _)| *call).collect() })
    }

    fn finish(&mut self, call: u64) -> io::Result<()> {
        let (Some(run), Ok(launcher)) = (self.runs.remove(&call), &mut self.launcher) else {
            return Ok(());
        };
        let ending = run.jail.finish(launcher);
        if let Some(zygote) = run.zygote {
            self.stock.ended(launcher, zygote);
        }
        self.answer(from_runner::EXITED, call, &outcome(&ending))
    }

    fn answer(&self, kind: u8, call: u64, body: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(body)?;
        self.sender.send(Header { kind, call, ..Header::default() }, &body, &[])
    }
}

/// Hands the run of an embedded engine to a jail that waits for it. One that ended while it waited is no reason to
/// refuse.
fn begin_spare(
    launcher: &mut Launcher,
    spares: &mut Spares,
    spec: &JailSpec,
) -> Result<Option<Jail>, Refused> {
    let Payload::Function(function) = spec.payload else { return Ok(None) };
    let Some(parked) = spares.take(function) else { return Ok(None) };
    let job = Handover {
        stdin: spec.stdin.as_ref().map(AsFd::as_fd),
        stdout: spec.stdout.as_fd(),
        stderr: spec.stderr.as_fd(),
        job: spec.job.as_ref().map(AsFd::as_fd),
        limits: spec.limits,
    };
    match parked.begin(launcher, &job) {
        Ok(jail) => Ok(Some(jail)),
        Err(stillborn) => {
            let (Stillborn::Before(error) | Stillborn::After(error)) = &stillborn;
            spares.disappoint(launcher, error);
            match stillborn {
                Stillborn::Before(_) => Ok(None),
                Stillborn::After(error) => Err(refused(&error)),
            }
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
