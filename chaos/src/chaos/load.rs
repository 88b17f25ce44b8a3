//! Clients that make calls until they are told to stop: over stdio, each with a server of its own, and over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::ground::Ground;
use super::job::{Job, Work};
use super::ledger::Ledger;
use super::score::{Score, Took};
use crate::answer::Answer;
use crate::dice::Dice;
use crate::http::{Http, was_closed};
use crate::processes::Process;
use crate::stdio::{Fate, Heard, Stdio};

/// What a server logs when all its processes have started.
const READY: &str = "INFO ready ";

/// Calls of one client that are under way at the same time.
const IN_FLIGHT: usize = 4;

/// Cancelled calls that are waited for; of more, the oldest are forgotten.
const MAX_CANCELLED: usize = 200;

/// How long a server may take to answer its first message, or to end.
pub(super) const START: Duration = Duration::from_secs(60);

const LOOK: Duration = Duration::from_millis(20);

/// A server, as those see it who break things.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) is_http: bool,
    process: Mutex<Option<Process>>,
    fate: Mutex<Arc<Fate>>,
    /// It was killed on purpose.
    pub(super) is_killed: AtomicBool,
    /// Its client is to die.
    pub(super) to_die: AtomicBool,
    /// When its client could hear again.
    heard_again: Mutex<Instant>,
}

impl Slot {
    pub(super) fn new(name: &str, is_http: bool) -> Self {
        Self {
            name: name.to_owned(),
            is_http,
            process: Mutex::default(),
            fate: Mutex::default(),
            is_killed: AtomicBool::new(false),
            to_die: AtomicBool::new(false),
            heard_again: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn process(&self) -> Option<Process> {
        locked(&self.process).clone()
    }

    pub(super) fn serves(&self, pid: u32) {
        *locked(&self.process) = Process::of(pid);
    }

    /// Lets the client stop reading.
    pub(super) fn deafen(&self) {
        locked(&self.fate).deaf.store(true, Ordering::Relaxed);
    }

    /// Lets the client read a byte now and then.
    pub(super) fn slow_down(&self) {
        locked(&self.fate).slow.store(true, Ordering::Relaxed);
    }

    /// Lets the client read as it should.
    pub(super) fn hear_again(&self) {
        let fate = locked(&self.fate);
        *locked(&self.heard_again) = Instant::now();
        fate.deaf.store(false, Ordering::Relaxed);
        fate.slow.store(false, Ordering::Relaxed);
    }

    /// Whether the client reads nothing, or hardly anything.
    fn is_deaf(&self) -> bool {
        let fate = locked(&self.fate);
        fate.deaf.load(Ordering::Relaxed) || fate.slow.load(Ordering::Relaxed)
    }

    /// Of a call that was sent then: the times from the call, and from when the client could hear last.
    fn took(&self, sent: Instant) -> Took {
        // In this order: who reads again has said since when.
        let (is_deaf, all) = (self.is_deaf(), sent.elapsed());
        let reading = if is_deaf { Duration::ZERO } else { all.min(locked(&self.heard_again).elapsed()) };
        Took { all, reading }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all clients share.
pub(super) struct Shared {
    pub(super) ground: Ground,
    pub(super) score: Score,
    pub(super) stop: AtomicBool,
    /// Longest time from a call to its answer.
    pub(super) bound: Duration,
    pub(super) with_clocks: bool,
}

/// A name for a call, which its record in the audit holds.
fn trace(dice: &mut Dice) -> String {
    format!("{:016x}{:016x}", dice.next() | 1, dice.next())
}

struct Pending {
    job: Job,
    trace: String,
    sent: Instant,
}

/// One client over stdio and its server.
struct Client<'a> {
    shared: &'a Shared,
    slot: &'a Slot,
    work: Work,
    stdio: Stdio,
    /// How much its log held before the server was started.
    log_bytes: usize,
    pending: BTreeMap<u64, Pending>,
    /// Cancelled calls, which need no answer.
    cancelled: BTreeMap<u64, Instant>,
}

/// Makes calls over stdio; starts the server again whenever it or its client was killed. Returns what was written.
pub(super) fn over_stdio(shared: &Shared, slot: &Slot, dice: Dice) -> Result<Ledger> {
    let mut work = Work::new(&slot.name, dice);
    let log_bytes = log(shared, slot).len();
    let stdio = begin(shared, slot, work.dice())?;
    let (pending, cancelled) = Default::default();
    let mut client = Client { shared, slot, work, stdio, log_bytes, pending, cancelled };
    while !shared.stop.load(Ordering::Relaxed) {
        client.turn()?;
    }
    client.finish()
}

/// What a server has logged so far.
fn log(shared: &Shared, slot: &Slot) -> String {
    std::fs::read_to_string(shared.ground.log(&slot.name)).unwrap_or_default()
}

fn begin(shared: &Shared, slot: &Slot, dice: &mut Dice) -> Result<Stdio> {
    let begun = Instant::now();
    loop {
        let mut command = shared.ground.server(&slot.name, dice, shared.with_clocks)?;
        match Stdio::start(&mut command, START) {
            Ok(stdio) => {
                *locked(&slot.fate) = Arc::clone(&stdio.fate);
                slot.is_killed.store(false, Ordering::Relaxed);
                slot.to_die.store(false, Ordering::Relaxed);
                slot.serves(stdio.pid());
                return Ok(stdio);
            }
            // A full disk, or a configuration that is wrong at the moment, stops a start, and it says so.
            Err(error) if begun.elapsed() < 2 * START && !shared.stop.load(Ordering::Relaxed) => {
                let mut counts = shared.score.counts();
                *counts.failed.entry("start refused".to_owned()).or_default() += 1;
                drop((counts, error));
                std::thread::sleep(10 * LOOK);
            }
            Err(error) => return Err(error.context(format!("server `{}` does not start", slot.name))),
        }
    }
}

impl Client<'_> {
    fn turn(&mut self) -> Result<()> {
        if self.slot.to_die.swap(false, Ordering::Relaxed) {
            return self.die();
        }
        if self.pending.len() < IN_FLIGHT {
            self.send();
        }
        self.listen()
    }

    fn listen(&mut self) -> Result<()> {
        match self.stdio.hear(LOOK) {
            Heard::Answer(id, answer) => self.settle(id, &answer),
            Heard::Nothing => {}
            Heard::End => return self.lost(),
        }
        self.look_for_overdue();
        Ok(())
    }

    fn send(&mut self) {
        let job = self.work.next();
        let trace = trace(self.work.dice());
        let id = self.stdio.send(job.tool, &job.arguments, Some(&trace));
        *self.shared.score.counts().calls.entry(job.tool).or_default() += 1;
        if self.work.dice().percent(6) {
            std::thread::sleep(Duration::from_micros(self.work.dice().below(30_000)));
            self.stdio.cancel(id);
            self.shared.score.counts().cancelled += 1;
            self.work.doubtful(job);
            self.cancelled.insert(id, Instant::now());
            while self.cancelled.len() > MAX_CANCELLED {
                self.cancelled.pop_first();
            }
            return;
        }
        self.pending.insert(id, Pending { job, trace, sent: Instant::now() });
    }

    fn settle(&mut self, id: u64, answer: &Answer) {
        let Some(Pending { job, trace, sent }) = self.pending.remove(&id) else {
            if self.cancelled.remove(&id).is_none() {
                let mut counts = self.shared.score.counts();
                counts.odd.push(format!("an answer to nothing, {id}: {}", answer.shown()));
            }
            return;
        };
        settled(self.shared, &mut self.work, job, trace, answer, self.slot.took(sent));
    }

    fn look_for_overdue(&mut self) {
        let is_late = |pending: &Pending| self.slot.took(pending.sent).reading > self.shared.bound;
        let late: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| is_late(pending)).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(Pending { job, trace, .. }) = self.pending.remove(&id) {
                let what = format!("`{}` of `{}`, trace {trace}", job.tool, self.slot.name);
                self.shared.score.counts().overdue.push(what);
                self.work.doubtful(job);
            }
        }
    }

    /// The client dies; its server must end by itself, and another client comes.
    fn die(&mut self) -> Result<()> {
        if self.work.dice().percent(50) {
            self.stdio.say_half();
        }
        self.stdio.die();
        if let Err(error) = self.stdio.ended(START) {
            let what = format!("`{}` whose client died: {error:#}", self.slot.name);
            self.shared.score.counts().broken.push(what);
        }
        self.again()
    }

    /// The server has closed its side.
    fn lost(&mut self) -> Result<()> {
        let status = self.stdio.ended(START)?;
        if !self.slot.is_killed.load(Ordering::Relaxed) {
            let log = log(self.shared, self.slot);
            let said = log.get(self.log_bytes..).unwrap_or_default();
            let mut counts = self.shared.score.counts();
            // It answers its client while hosts start; one that does not start ends it, and it says so.
            if status.code() == Some(1) && !said.contains(READY) && !said.trim().is_empty() {
                *counts.failed.entry("start refused".to_owned()).or_default() += 1;
            } else {
                let last = said.lines().last().unwrap_or_default();
                counts.broken.push(format!("server `{}` ended by itself ({status}): {last}", self.slot.name));
            }
        }
        self.again()
    }

    fn again(&mut self) -> Result<()> {
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.shared.score.counts().cut += 1;
            self.work.doubtful(pending.job);
        }
        self.cancelled.clear();
        self.work.forget_handles();
        self.log_bytes = log(self.shared, self.slot).len();
        self.stdio = begin(self.shared, self.slot, self.work.dice())?;
        Ok(())
    }

    /// Waits for what is under way, then lets the server end.
    fn finish(mut self) -> Result<Ledger> {
        let begun = Instant::now();
        while !self.pending.is_empty() && begun.elapsed() < 2 * self.shared.bound {
            self.listen()?;
        }
        if let Err(error) = self.stdio.leave(START) {
            self.shared.score.counts().broken.push(format!("`{}` at its end: {error:#}", self.slot.name));
        }
        *locked(&self.slot.process) = None;
        Ok(self.work.ledger)
    }
}

fn settled(shared: &Shared, work: &mut Work, job: Job, trace: String, answer: &Answer, took: Took) {
    if took.reading > shared.bound {
        let what = format!("`{}` after {:?}, trace {trace}", job.tool, took.reading);
        shared.score.counts().overdue.push(what);
    }
    shared.score.answered(job.tool, trace, answer, took);
    if let Some(wrong) = job.wrong(answer) {
        shared.score.counts().wrong.push(wrong);
    }
    match answer {
        Answer::Done(_) => work.done(job, answer),
        Answer::Failed { .. } | Answer::Odd(_) => work.doubtful(job),
    }
}

/// Makes calls over HTTP, one after the other. Returns what was written.
pub(super) fn over_http(shared: &Shared, slot: &Slot, name: &str, dice: Dice) -> Result<Ledger> {
    let mut work = Work::new(name, dice);
    let mut http = Http::new(shared.ground.socket(&slot.name), None, shared.bound);
    while !shared.stop.load(Ordering::Relaxed) {
        let job = work.next();
        let trace = trace(work.dice());
        *shared.score.counts().calls.entry(job.tool).or_default() += 1;
        let sent = Instant::now();
        match http.call(job.tool, &job.arguments, Some(&trace)) {
            Ok(reply) => {
                let took = Took::reading(sent.elapsed());
                settled(shared, &mut work, job, trace, &reply.answer(), took);
            }
            Err(error) => {
                let what =
                    format!("`{}` over HTTP after {:?}, trace {trace}: {error:#}", job.tool, sent.elapsed());
                let mut counts = shared.score.counts();
                match (is_unsent(&error), was_closed(&error)) {
                    (true, _) => counts.unreached += 1,
                    (false, true) => counts.odd.push(format!("dropped: {what}")),
                    (false, false) => counts.overdue.push(what),
                }
                drop(counts);
                work.doubtful(job);
                http = Http::new(shared.ground.socket(&slot.name), None, shared.bound);
                std::thread::sleep(LOOK);
            }
        }
        if work.dice().percent(10) {
            http = Http::new(shared.ground.socket(&slot.name), None, shared.bound);
        }
    }
    Ok(work.ledger)
}

/// Whether no connection was made.
fn is_unsent(error: &anyhow::Error) -> bool {
    format!("{error:#}").starts_with("failed to connect")
}
