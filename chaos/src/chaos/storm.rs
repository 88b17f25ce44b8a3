//! The faults, and how each of them is taken back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

use super::ground::{FILLED, REPLACED};
use super::load::{Shared, Slot};
use crate::dice::Dice;
use crate::processes::{Process, children, descendants, number};

const FILLER: &str = "filler";

/// What a fault is called.
pub(super) const CLOCK_JUMPED: &str = "wall clock moved";

/// Every kind of fault, and whether it needs a client over stdio.
const KINDS: [(&str, bool); 18] = [
    ("host killed", false),
    ("runner killed", false),
    ("jail process killed", false),
    ("host stopped", false),
    ("runner stopped", false),
    ("jail process stopped", false),
    ("server killed", true),
    ("client killed", true),
    ("client stopped reading", true),
    ("client read slowly", true),
    ("library replaced", false),
    ("configuration changed, SIGHUP", false),
    ("configuration broken, SIGHUP", false),
    ("disk full", false),
    ("no descriptors left", false),
    ("no processes left", false),
    ("times of files shifted by a day", false),
    (CLOCK_JUMPED, false),
];

/// Most descriptors of a server that has too few: fewer than it has open.
const FEW_DESCRIPTORS: u64 = 12;

/// Breaks things until it is told to stop.
pub(super) struct Storm<'a> {
    shared: &'a Shared,
    slots: &'a [Slot],
    dice: Dice,
    due: Vec<(Instant, Undo)>,
    /// How often each fault struck; there is an entry for each that can.
    pub(super) struck: BTreeMap<&'static str, u64>,
}

enum Undo {
    Continue(Process),
    Hear(usize),
    Remove(PathBuf),
    Limit(Process, Resource, Rlimit),
    Clock,
}

impl<'a> Storm<'a> {
    pub(super) fn new(shared: &'a Shared, slots: &'a [Slot], dice: Dice) -> Self {
        let has_stdio = slots.iter().any(|slot| !slot.is_http);
        let struck = possible(has_stdio, shared.ground.clock.is_some());
        Self { shared, slots, dice, due: Vec::new(), struck }
    }

    /// Strikes now and then, and at the end takes everything back.
    pub(super) fn rage(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(40 + self.dice.below(300)));
            self.take_back(Instant::now())?;
            if let Some(name) = self.strike()? {
                *self.struck.get_mut(name).with_context(|| format!("`{name}` is no known fault"))? += 1;
            }
        }
        let long_ago = Instant::now() + Duration::from_secs(3_600);
        self.take_back(long_ago)?;
        for slot in self.slots {
            self.shared.ground.configure(&slot.name, slot.is_http)?;
            self.hang_up(slot);
        }
        Ok(())
    }

    fn take_back(&mut self, now: Instant) -> Result<()> {
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(Instant, Undo)> = due;
        for (_, undo) in due {
            match undo {
                Undo::Continue(process) => {
                    process.signal(Signal::CONT);
                }
                Undo::Hear(slot) => self.slots[slot].hear_again(),
                // A process that has ended has no limits any more.
                Undo::Limit(process, resource, limit) => {
                    if let Some(pid) = number(process.pid).filter(|_| process.lives()) {
                        let _ = prlimit(Some(pid), resource, limit);
                    }
                }
                Undo::Remove(file) => {
                    let _ = fs::remove_file(file);
                }
                Undo::Clock => {
                    if let Some(clock) = &self.shared.ground.clock {
                        clock.put_right()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn later(&mut self, least_ms: u64, end_ms: u64, undo: Undo) {
        let wait = Duration::from_millis(least_ms + self.dice.below(end_ms - least_ms));
        self.due.push((Instant::now() + wait, undo));
    }

    /// One fault; none if there was nothing to strike.
    fn strike(&mut self) -> Result<Option<&'static str>> {
        let at = usize::try_from(self.dice.below(self.slots.len() as u64))?;
        let slots = self.slots;
        let slot = &slots[at];
        let Some(server) = slot.process() else { return Ok(None) };
        let name = match self.dice.below(100) {
            0..14 => self.kill(&server, "llmc-host").then_some("host killed"),
            14..22 => self.kill(&server, "llmc-runner").then_some("runner killed"),
            22..34 => self.kill_below_runner(&server).then_some("jail process killed"),
            34..44 => self.stop(&server, "llmc-host").then_some("host stopped"),
            44..49 => self.stop(&server, "llmc-runner").then_some("runner stopped"),
            49..54 => self.stop_below_runner(&server).then_some("jail process stopped"),
            54..58 if !slot.is_http => {
                slot.is_killed.store(true, Ordering::Relaxed);
                server.signal(Signal::KILL).then_some("server killed")
            }
            58..62 if !slot.is_http => {
                slot.to_die.store(true, Ordering::Relaxed);
                Some("client killed")
            }
            62..66 if !slot.is_http => {
                slot.deafen();
                self.later(500, 6_000, Undo::Hear(at));
                Some("client stopped reading")
            }
            66..68 if !slot.is_http => {
                slot.slow_down();
                self.later(500, 6_000, Undo::Hear(at));
                Some("client read slowly")
            }
            68..73 => self.replace_library()?,
            73..78 => {
                self.shared.ground.configure(&slot.name, slot.is_http)?;
                self.hang_up(slot);
                Some("configuration changed, SIGHUP")
            }
            78..80 => {
                // A server that starts meanwhile is refused, and started again.
                self.shared.ground.configure_wrongly(&slot.name)?;
                self.hang_up(slot);
                std::thread::sleep(Duration::from_millis(300));
                self.shared.ground.configure(&slot.name, slot.is_http)?;
                Some("configuration broken, SIGHUP")
            }
            80..86 => self.fill(),
            86..91 => self.limit(&server, Resource::Nofile, FEW_DESCRIPTORS).then_some("no descriptors left"),
            91..95 => {
                let runner = child(&server, "llmc-runner");
                let who = runner.filter(|_| self.dice.percent(60)).unwrap_or(server);
                self.limit(&who, Resource::Nproc, 1).then_some("no processes left")
            }
            95..97 => self.shift_times(),
            97..100 => self.move_clock()?,
            _ => None,
        };
        Ok(name)
    }

    fn kill(&mut self, server: &Process, program: &str) -> bool {
        self.pick(children(server.pid), program).is_some_and(|process| process.signal(Signal::KILL))
    }

    fn pick(&mut self, among: Vec<Process>, program: &str) -> Option<Process> {
        let fitting: Vec<Process> =
            among.into_iter().filter(|process| process.program() == program).collect();
        self.dice.one_of(&fitting).cloned()
    }

    fn below_runner(&mut self, server: &Process) -> Option<Process> {
        let runner = child(server, "llmc-runner")?;
        self.dice.one_of(&descendants(runner.pid)).cloned()
    }

    fn kill_below_runner(&mut self, server: &Process) -> bool {
        self.below_runner(server).is_some_and(|process| process.signal(Signal::KILL))
    }

    fn stop(&mut self, server: &Process, program: &str) -> bool {
        let process = self.pick(children(server.pid), program);
        process.is_some_and(|process| self.stop_one(process))
    }

    fn stop_below_runner(&mut self, server: &Process) -> bool {
        let process = self.below_runner(server);
        process.is_some_and(|process| self.stop_one(process))
    }

    /// Most stops are short; some are longer than a call may take.
    fn stop_one(&mut self, process: Process) -> bool {
        let is_stopped = process.signal(Signal::STOP);
        let end_ms = if self.dice.percent(20) { 14_000 } else { 2_000 };
        self.later(100, end_ms, Undo::Continue(process));
        is_stopped
    }

    fn hang_up(&self, slot: &Slot) {
        if let Some(server) = slot.process() {
            server.signal(Signal::HUP);
        }
    }

    /// Puts a library with other bytes and the same code in the place of one that is in use.
    fn replace_library(&mut self) -> Result<Option<&'static str>> {
        let Some(library) = self.dice.one_of(&REPLACED).copied() else { return Ok(None) };
        let ground = &self.shared.ground;
        let (target, new) = (ground.path("plugins").join(library), ground.path("plugins").join("new"));
        fs::copy(ground.installed(library), &new)?;
        let more = usize::try_from(1 + self.dice.below(4_000))?;
        File::options().append(true).open(&new)?.write_all(&vec![0; more])?;
        fs::rename(new, target)?;
        Ok(Some("library replaced"))
    }

    fn fill(&mut self) -> Option<&'static str> {
        let folder = *self.dice.one_of(&FILLED)?;
        let filler = self.shared.ground.path(folder).join(FILLER);
        let mut file = File::create(&filler).ok()?;
        let piece = vec![b'x'; 1 << 20];
        // Until there is no room for a single byte.
        while file.write_all(&piece).is_ok() {}
        while file.write_all(b"x").is_ok() {}
        self.later(300, 3_000, Undo::Remove(filler));
        Some("disk full")
    }

    /// Lowers the soft limit of one process, unless it is lowered already: then what it was before would be lost.
    fn limit(&mut self, process: &Process, resource: Resource, least: u64) -> bool {
        if is_lowered(&self.due, process, resource) {
            return false;
        }
        let Some(pid) = number(process.pid).filter(|_| process.lives()) else { return false };
        let Some(maximum) = hard_limit(process.pid, resource) else { return false };
        let few = Rlimit { current: Some(maximum.map_or(least, |maximum| maximum.min(least))), maximum };
        match prlimit(Some(pid), resource, few) {
            Ok(before) => {
                self.later(500, 3_000, Undo::Limit(process.clone(), resource, before));
                true
            }
            Err(_) => false,
        }
    }

    /// The wall clock of all servers stands elsewhere for a while.
    fn move_clock(&mut self) -> Result<Option<&'static str>> {
        let Some(clock) = &self.shared.ground.clock else { return Ok(None) };
        clock.jump(&mut self.dice)?;
        self.later(1_500, 6_000, Undo::Clock);
        Ok(Some(CLOCK_JUMPED))
    }

    /// Files of the server are suddenly a day older or younger, as by a clock that was wrong when they were written.
    fn shift_times(&mut self) -> Option<&'static str> {
        let ground = &self.shared.ground;
        let folder = ground.path(self.dice.one_of(&["audit", "etc", "state", "work", "plugins"])?);
        let day = Duration::from_secs(86_400);
        let now = SystemTime::now();
        let time = if self.dice.percent(50) { now.checked_add(day) } else { now.checked_sub(day) }?;
        for entry in fs::read_dir(folder).ok()?.flatten() {
            // Some come and go.
            let _ = File::open(entry.path()).and_then(|file| file.set_modified(time));
        }
        Some("times of files shifted by a day")
    }
}

/// The faults that can strike, none of which has yet.
fn possible(has_stdio: bool, has_clock: bool) -> BTreeMap<&'static str, u64> {
    let fitting = KINDS.iter().filter(|(_, needs_stdio)| has_stdio || !needs_stdio);
    let fitting = fitting.filter(|(name, _)| has_clock || *name != CLOCK_JUMPED);
    fitting.map(|(name, _)| (*name, 0)).collect()
}

/// Whether a limit of a process is to be taken back.
fn is_lowered(due: &[(Instant, Undo)], process: &Process, resource: Resource) -> bool {
    let is_same = |undo: &Undo| match undo {
        Undo::Limit(lowered, of, _) => lowered.pid == process.pid && *of == resource,
        _ => false,
    };
    due.iter().any(|(_, undo)| is_same(undo))
}

fn child(server: &Process, program: &str) -> Option<Process> {
    children(server.pid).into_iter().find(|process| process.program() == program)
}

/// The limit that a process cannot pass; `Some(None)` where there is none.
fn hard_limit(pid: u32, resource: Resource) -> Option<Option<u64>> {
    let name = match resource {
        Resource::Nofile => "Max open files",
        Resource::Nproc => "Max processes",
        _ => return None,
    };
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let hard = line.split_whitespace().nth(1)?;
    Some(if hard == "unlimited" { None } else { Some(hard.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_process_are_read() {
        let own = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(hard_limit(std::process::id(), Resource::Nofile), Some(own.maximum));
        assert_eq!(hard_limit(0, Resource::Nofile), None);
    }

    #[test]
    fn what_cannot_strike_is_not_missed() {
        assert_eq!(possible(true, true).len(), KINDS.len());
        let (without_stdio, without_clock) = (possible(false, true), possible(true, false));
        assert!(!without_stdio.contains_key("server killed") && without_stdio.contains_key("host killed"));
        assert!(!without_clock.contains_key(CLOCK_JUMPED) && without_clock.len() + 1 == KINDS.len());
    }

    #[test]
    fn a_limit_that_is_lowered_is_not_lowered_again() {
        let own = Process::of(std::process::id()).unwrap();
        let before = rustix::process::getrlimit(Resource::Nofile);
        let due = [(Instant::now(), Undo::Limit(own.clone(), Resource::Nofile, before))];
        assert!(is_lowered(&due, &own, Resource::Nofile));
        assert!(!is_lowered(&due, &own, Resource::Nproc));
        assert!(!is_lowered(&[], &own, Resource::Nofile));
    }
}
