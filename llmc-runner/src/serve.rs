//! The loop: one thread, one socket, some jails.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use llmc_sandbox::jail::{Jail, JailSpec, Launcher};
use llmc_wire::Header;
use llmc_wire::runner::{Hello, Init, Program, Refused, Spec, from_runner, to_runner};
use llmc_wire::socket::{Receiver, Sender, split};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::Serialize;

use crate::engine::Engines;
use crate::request::{isolation, jail_spec, outcome, refused};
use crate::{fail, tier, trial};

/// Largest request in bytes; it holds small files and no data.
const MAX_REQUEST: usize = llmc_wire::runner::MAX_SPEC_BYTES;
/// Most jails at a time, whatever the server asks for.
const MAX_JAILS: u32 = 64;

/// Serves until the server closes its end.
pub(crate) fn serve() -> ExitCode {
    let served = llmc_sandbox::descriptors::isolate_stdio().and_then(|socket| {
        let (sender, mut receiver) = split(socket, MAX_REQUEST);
        match init(&mut receiver)? {
            Some(init) => Runner::start(&init, sender)?.run(&mut receiver),
            None => Ok(()),
        }
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
    engines: Engines,
    sender: Sender,
    jails: BTreeMap<u64, Jail>,
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
        let slots = init.max_jails.clamp(1, MAX_JAILS);
        let launcher = tier::launcher(slots, Some(init.server_pid), init.min_isolation)
            .and_then(|mut launcher| trial::holds(&mut launcher).map(|()| launcher));
        let hello = Hello {
            pid: std::process::id(),
            jails: launcher.as_ref().map(|launcher| isolation(launcher.isolation())).map_err(Clone::clone),
            payload_identity: launcher.as_ref().map_or_else(|_| "none".to_owned(), Launcher::identity),
            accounting: launcher.as_ref().map_or("none", |launcher| launcher.accounting()).to_owned(),
        };
        let runner = Self { launcher, engines: Engines::default(), sender, jails: BTreeMap::new() };
        runner.answer(from_runner::HELLO, 0, &hello)?;
        Ok(runner)
    }

    fn run(&mut self, receiver: &mut Receiver) -> io::Result<()> {
        loop {
            while let Some(frame) = receiver.take()? {
                let header = frame.header;
                if header.kind != to_runner::SPAWN {
                    return Err(invalid(format!("a message is of kind {}", header.kind)));
                }
                let spec = serde_json::from_slice(frame.payload);
                let fds = frame.fds;
                self.spawn(header.call, spec, fds)?;
            }
            receiver.shrink();
            let woken = self.wait(receiver)?;
            for call in woken.ended {
                self.finish(call)?;
            }
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
        if self.jails.contains_key(&call) {
            return Err(invalid(format!("run {call} is there already")));
        }
        match self.try_spawn(spec, fds) {
            Ok(jail) => {
                let header = Header { kind: from_runner::STARTED, call, ..Header::default() };
                self.sender.send(header, b"", &[jail.pidfd()])?;
                self.jails.insert(call, jail);
                Ok(())
            }
            Err(refused) => self.answer(from_runner::REFUSED, call, &refused),
        }
    }

    fn try_spawn(
        &mut self,
        spec: Result<Spec, serde_json::Error>,
        fds: Vec<OwnedFd>,
    ) -> Result<Jail, Refused> {
        let spec = spec.map_err(|error| Refused { layer: "request".into(), message: error.to_string() })?;
        let launcher = self.launcher.as_mut().map_err(|refused| refused.clone())?;
        if !launcher.has_room() {
            let message = format!("{} jails run already; wait for one to end", self.jails.len());
            return Err(Refused { layer: "busy".into(), message });
        }
        let (program, system): (PathBuf, Vec<PathBuf>) = match &spec.program {
            Program::File(file) => (file.clone(), spec.system.clone()),
            Program::Engine(name) => {
                let engine = self.engines.get(name, launcher)?;
                (engine.program.clone(), [&engine.system[..], &spec.system[..]].concat())
            }
        };
        let spec: JailSpec = jail_spec(spec, program, system, fds)?;
        launcher.spawn(&spec).map_err(|error| refused(&error))
    }

    /// Waits for a message, or for the end of a jail; ends those that are overdue.
    fn wait(&self, receiver: &Receiver) -> io::Result<Woken> {
        let now = Instant::now();
        let next = self.jails.values().map(Jail::deadline).min();
        let timeout = next.map(|next| {
            // An overdue jail is on its way out; there is no need to ask all the time.
            let left = next.saturating_duration_since(now).max(Duration::from_millis(10));
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let pidfds: Vec<_> = self.jails.iter().map(|(call, jail)| (*call, jail.pidfd())).collect();
        let socket = receiver.as_fd();
        let mut fds = vec![PollFd::new(&socket, PollFlags::IN)];
        fds.extend(pidfds.iter().map(|(_, pidfd)| PollFd::new(pidfd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(Woken::default()),
            result => result?,
        };
        for jail in self.jails.values().filter(|jail| jail.deadline() <= Instant::now()) {
            jail.kill();
        }
        let ended = pidfds.iter().zip(&fds[1..]).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(Woken { socket: !fds[0].revents().is_empty(), ended: ended.map(|((call, _), _)| *call).collect() })
    }

    fn finish(&mut self, call: u64) -> io::Result<()> {
        let (Some(jail), Ok(launcher)) = (self.jails.remove(&call), &mut self.launcher) else {
            return Ok(());
        };
        let ending = jail.finish(launcher);
        self.answer(from_runner::EXITED, call, &outcome(&ending))
    }

    fn answer(&self, kind: u8, call: u64, body: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(body)?;
        self.sender.send(Header { kind, call, ..Header::default() }, &body, &[])
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
