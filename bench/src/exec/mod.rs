//! Measures `execute_code` beside the interpreter that it runs, and what its jails cost everybody else.
//!
//! - [`code`]: servers that run code, and runs that must succeed.
//! - [`starts`], [`python`]: a run beside a bare process of the same interpreter.
//! - [`callbacks`]: tools called from code.
//! - [`rates`]: runs per second, and that they do not mix.
//! - [`pool`]: memory of interpreters that wait.
//! - [`storm`], [`ground`], [`reader`]: runs that eat all processors, how long their end takes, and what another client
//!   notices of them.
//! - [`report`], [`table`]: what came of it.

mod callbacks;
mod code;
mod ground;
mod pool;
mod python;
mod rates;
mod reader;
mod report;
mod starts;
mod storm;
mod table;

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

pub(crate) use self::code::{Setup, run};
use self::pool::Pool;
pub(crate) use self::python::Python;
use self::rates::Rate;
pub(crate) use self::report::Report;
use self::report::{Facts, Measured};
use self::starts::Starts;
use self::storm::{Blow, Storms};
use crate::balance::Balance;
use crate::client::Client;
use crate::cpu::Cpus;
use crate::stats::{Pair, Percentiles};

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Runs of each kind and side in a round.
    runs: usize,
    /// Time of each rate in a round.
    flood: Duration,
    /// Calls of `read_file` before each storm, and at least as many during it.
    reads: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { rounds: 7, runs: 50, flood: Duration::from_secs(3), reads: 1000 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, runs: 10, flood: Duration::from_millis(400), reads: 300 };
}

/// One at a time, everything on one CPU.
#[derive(Clone, Debug, Serialize)]
struct PinnedRound {
    foreign_share: f64,
    /// Median microseconds in the order of [`starts::KINDS`], beside those of the bare interpreter.
    starts_us: [Pair<f64>; starts::KINDS.len()],
    callback_us: Percentiles,
}

/// Everything on all CPUs.
#[derive(Clone, Debug, Serialize)]
struct FreeRound {
    foreign_share: f64,
    /// In the order of [`rates::IN_FLIGHT`].
    rates: [Rate; rates::IN_FLIGHT.len()],
    callback_us: Percentiles,
    /// In the order of [`storm::KINDS`]; none for what is not let loose.
    storms: [Option<Blow>; storm::KINDS.len()],
}

/// Runs per second while so many are under way for `time`.
pub(crate) fn rate(llmc: &mut Client, in_flight: usize, time: Duration) -> Result<f64> {
    let rate = rates::measure(llmc, in_flight, time)?;
    ensure!(rate.outputs.mixed == 0, "runs were given what is not their own: {:?}", rate.outputs);
    Ok(rate.per_second)
}

/// Measures all rounds.
///
/// # Errors
/// If a run does not do what it should, or there is no interpreter.
pub(crate) fn measure(stage: &Path, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let setup = Setup::new(stage)?;
    cpus.pin()?;
    let starts = Starts::new(&setup);
    cpus.unpin()?;
    let mut starts = starts?;
    let mut free = setup.warm()?;
    let checked = rates::checked(&mut free)?;
    let pool = Pool::of(free.process()).map_err(|error| format!("{error:#}"));
    let mut storms = Storms::new(&setup, starts.python())?;
    let (mut pinned, mut loose) = (Vec::new(), Vec::new());
    let is_watched = std::io::stderr().is_terminal();
    for round in 1..=plan.rounds {
        if is_watched {
            eprint!("\rround {round} of {} ", plan.rounds);
        }
        cpus.pin()?;
        pinned.push(pinned_round(&mut starts, cpus, plan)?);
        cpus.unpin()?;
        loose.push(free_round(&mut free, &mut storms, cpus, plan)?);
    }
    if is_watched {
        eprintln!();
    }
    let facts = Facts { cpus, engine: starts.engine(), checked, pool, left_out: storms.left_out() };
    Ok(Report::new(facts, Measured { pinned, free: loose }))
}

fn pinned_round(starts: &mut Starts, cpus: &Cpus, plan: Plan) -> Result<PinnedRound> {
    let balance = Balance::start()?;
    let starts_us = starts.round(plan.runs)?;
    let callback_us = callbacks::measure(starts.warm())?;
    Ok(PinnedRound { foreign_share: balance.foreign_share(cpus)?, starts_us, callback_us })
}

fn free_round(llmc: &mut Client, storms: &mut Storms, cpus: &Cpus, plan: Plan) -> Result<FreeRound> {
    let balance = Balance::start()?;
    let [one, four] = rates::IN_FLIGHT.map(|in_flight| rates::measure(llmc, in_flight, plan.flood));
    let callback_us = callbacks::measure(llmc)?;
    let storms = storms.round(plan.reads)?;
    Ok(FreeRound { foreign_share: balance.foreign_share(cpus)?, rates: [one?, four?], callback_us, storms })
}
