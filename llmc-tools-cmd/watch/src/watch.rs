//! The loop around a run.

use std::io::{self, PipeReader};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::run::{Run, RunOutcome};
use llmc_core::{Context, Explain as _, ToolError, ToolResult};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::capture::Captured;
use crate::streams::{Ready, Streams};

/// How often cancellation and clocks are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often the caller hears of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// After the end of a run, how long its pipes may take to run dry: a process that left the jail's tree could
/// hold them open for ever.
const DRAIN_GRACE: Duration = Duration::from_millis(200);
/// The jail ends a run at its wall time. This much later the run is ended from here.
const WALL_GRACE: Duration = Duration::from_millis(250);
/// A run is ended this long before the deadline of the call, so that its partial output can still be told.
const DEADLINE_MARGIN: Duration = Duration::from_millis(250);

/// What a run may print.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that are shown of each stream; the whole is kept for `read_more`.
    pub keep_bytes: usize,
    /// Bytes of both streams together after which the run is ended.
    pub output_bytes: u64,
}

/// Why the run was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It printed more than [`Limits::output_bytes`].
    Output,
    /// It took longer than its wall time or the deadline of the call allow.
    Wall,
    /// Nobody wants the answer any more.
    Cancelled,
    /// Its companion had enough of it.
    Companion,
}

/// A run that is over.
#[derive(Debug)]
pub struct Watched {
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Whether and why it was ended from here.
    pub cut: Option<Cut>,
    /// How it ended.
    pub outcome: RunOutcome,
}

/// Something beside the standard streams that belongs to a run.
pub trait Companion {
    /// A descriptor to wait for.
    fn interest(&self) -> Option<PollFd<'_>>;

    /// How long to wait for that at most; asked for right after it.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Does what can be done without waiting. Called after every wait, whatever ended it.
    fn step(&mut self) -> Step;

    /// Whether it reports progress itself; time and output are not reported then.
    fn tells_progress(&self) -> bool {
        false
    }
}

/// What a [`Companion`] thinks of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    GoOn,
    /// It is about to end by itself; if it has not done so after this time, it is ended.
    EndsWithin(Duration),
}

/// No companion.
#[derive(Debug)]
pub struct Alone;

impl Companion for Alone {
    fn interest(&self) -> Option<PollFd<'_>> {
        None
    }

    fn step(&mut self) -> Step {
        Step::GoOn
    }
}

/// Stays with `run` until it is over. `input` goes to its standard input, if that was asked for.
///
/// # Errors
/// If the run got lost or its streams cannot be moved. A run that was ended, by whomever, is no error.
pub fn watch(
    ctx: &Context,
    run: &mut Run,
    input: String,
    limits: Limits,
    companion: &mut impl Companion,
) -> ToolResult<Watched> {
    let stdin = run.stdin.take();
    let run = &*run;
    let streams = Streams::new(stdin, input, &run.stdout, &run.stderr, limits.keep_bytes)?;
    let (end, end_writer) = io::pipe()?;
    thread::scope(|scope| {
        let wait = move || {
            let outcome = run.wait();
            drop(end_writer);
            outcome
        };
        let waiter = thread::Builder::new().name("wait for run".into()).spawn_scoped(scope, wait)?;
        let started = Instant::now();
        let watch = Watch { ctx, run, limits, streams, end, started, cut: None, ended: None, leave_at: None };
        let seen = watch.until_the_end(companion);
        if seen.is_err() {
            run.kill()?;
        }
        let outcome =
            waiter.join().unwrap_or_else(|_| Err(ToolError::failed("waiting for the run panicked")));
        let (stdout, stderr, cut) = seen.explain("failed to read the output of the run")?;
        Ok(Watched { stdout, stderr, cut, outcome: outcome? })
    })
}

struct Watch<'a> {
    ctx: &'a Context,
    run: &'a Run,
    limits: Limits,
    streams: Streams<'a>,
    /// Runs dry when the run is over.
    end: PipeReader,
    started: Instant,
    cut: Option<Cut>,
    /// When the run was over.
    ended: Option<Instant>,
    /// When the patience of the companion ends.
    leave_at: Option<Instant>,
}

impl Watch<'_> {
    fn until_the_end(
        mut self,
        companion: &mut impl Companion,
    ) -> io::Result<(Captured, Captured, Option<Cut>)> {
        let mut next_tick = self.started + TICK;
        let mut next_progress = self.started + PROGRESS_EVERY;
        while !self.is_over() {
            self.wait_and_move(companion, next_tick)?;
            if let (Step::EndsWithin(time), None) = (companion.step(), self.leave_at) {
                self.leave_at = Some(Instant::now() + time);
            }
            if self.streams.bytes() > self.limits.output_bytes {
                self.end_run(Cut::Output);
            }
            let now = Instant::now();
            if self.leave_at.is_some_and(|leave_at| now >= leave_at) {
                self.end_run(Cut::Companion);
            }
            if now >= next_tick {
                next_tick = now + TICK;
                self.look_at_the_clock(now);
            }
            if now >= next_progress {
                next_progress = now + PROGRESS_EVERY;
                if !companion.tells_progress() {
                    self.tell_progress();
                }
            }
        }
        let (stdout, stderr) = self.streams.finish();
        let is_wanted = self.cut != Some(Cut::Cancelled) && !self.ctx.cancelled();
        let keep = |text: &str| match self.ctx.keep(text) {
            Ok(handle) => Some(handle),
            Err(error) => {
                self.ctx.warn(format!("failed to keep an output: {error}"));
                None
            }
        };
        let keep = |text: &str| is_wanted.then(|| keep(text)).flatten();
        Ok((stdout.finish(keep), stderr.finish(keep), self.cut))
    }

    fn is_over(&self) -> bool {
        let is_dry =
            |ended: Instant| self.streams.at_end() || ended.elapsed() > DRAIN_GRACE || self.ctx.cancelled();
        self.ended.is_some_and(is_dry)
    }

    /// Waits until something can be moved or `until`, and moves it.
    fn wait_and_move(&mut self, companion: &impl Companion, until: Instant) -> io::Result<()> {
        let (mut stream_names, mut descriptors): (Vec<Ready>, Vec<PollFd<'_>>) =
            self.streams.interest().unzip();
        let end_place = descriptors.len();
        if self.ended.is_none() {
            descriptors.push(PollFd::new(&self.end, PollFlags::IN));
            descriptors.extend(companion.interest());
        }
        let until = self.leave_at.map_or(until, |leave_at| leave_at.min(until));
        let left = until.saturating_duration_since(Instant::now());
        let left = companion.patience().map_or(left, |patience| patience.min(left));
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |descriptor: &PollFd<'_>| !descriptor.revents().is_empty();
        let has_ended = descriptors.get(end_place).is_some_and(is_ready);
        let mut places = descriptors.iter();
        stream_names.retain(|_| places.next().is_some_and(is_ready));
        for name in stream_names {
            self.streams.step(name)?;
        }
        if has_ended {
            self.ended = Some(Instant::now());
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        let wall = Duration::from_millis(self.run.wall_ms()) + WALL_GRACE;
        if now - self.started > wall || self.ctx.remaining() < DEADLINE_MARGIN {
            self.end_run(Cut::Wall);
        } else if self.ctx.cancelled() {
            self.end_run(Cut::Cancelled);
        }
    }

    fn end_run(&mut self, cut: Cut) {
        if self.cut.is_some() || self.ended.is_some() {
            return;
        }
        self.cut = Some(cut);
        if let Err(error) = self.run.kill() {
            self.ctx.warn(format!("failed to end a run: {error}"));
        }
    }

    fn tell_progress(&self) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let total = Duration::from_millis(self.run.wall_ms()).as_secs_f64();
        let mut message = format!("{elapsed:.0} s, {} bytes of output", self.streams.bytes());
        let last_line = self.streams.last_line();
        if !last_line.is_empty() {
            message += &format!(": {last_line}");
        }
        self.ctx.progress(elapsed, Some(total), &message);
    }
}
