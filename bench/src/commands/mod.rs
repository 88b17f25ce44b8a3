//! Measures `run_command` beside starting the same program without a jail and in a weaker one, and shows where the
//! time of a command goes.
//!
//! - [`sides`]: a bare process, `bwrap`, and llmc.
//! - [`jails`]: the jail alone, with fewer and with all of its walls.
//! - [`report`]: what came of it.

pub(crate) mod jails;
mod report;
mod sides;

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use self::jails::Jails;
pub(crate) use self::report::Report;
pub(crate) use self::sides::bwrap_args;
use self::sides::{SIDES, Sides};
use crate::balance::Balance;
use crate::cpu::Cpus;

/// What is run.
const PROGRAM: &str = "/usr/bin/true";

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Runs of each side in a turn.
    runs: usize,
    /// Turns of each side in a round.
    turns: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { rounds: 7, runs: 25, turns: 4 };
    pub(crate) const QUICK: Self = Self { rounds: 3, runs: 10, turns: 2 };
}

/// One at a time, everything on one CPU.
#[derive(Clone, Debug, Serialize)]
struct Round {
    foreign_share: f64,
    /// Median microseconds in the order of [`SIDES`]; none for a program that is not there.
    sides_us: [Option<f64>; SIDES.len()],
    /// Median microseconds in the order of [`jails::STEPS`].
    jails_us: [f64; jails::STEPS.len()],
}

/// Measures all rounds.
///
/// # Errors
/// If a run does not do what it should.
pub(crate) fn measure(stage: &Path, cpus: &Cpus, plan: Plan) -> Result<Report> {
    cpus.pin()?;
    let mut sides = Sides::new(stage)?;
    let mut jails = Jails::start()?;
    let is_watched = std::io::stderr().is_terminal();
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        if is_watched {
            eprint!("\rround {round} of {} ", plan.rounds);
        }
        let balance = Balance::start()?;
        let (mut of_sides, mut of_jails) = <(Vec<_>, Vec<_>)>::default();
        for _ in 0..plan.turns {
            sides.turn(plan.runs, &mut of_sides)?;
            jails.turn(plan.runs, &mut of_jails)?;
        }
        rounds.push(Round {
            foreign_share: balance.foreign_share(cpus)?,
            sides_us: medians(&of_sides).map(|median| median.is_finite().then_some(median)),
            jails_us: medians(&of_jails),
        });
    }
    if is_watched {
        eprintln!();
    }
    Ok(Report::new(cpus, sides.left_out(), rounds))
}

/// The middle of each number's times.
fn medians<const N: usize>(times: &[(usize, f64)]) -> [f64; N] {
    std::array::from_fn(|number| {
        crate::stats::median(times.iter().filter(|(of, _)| *of == number).map(|(_, time)| *time))
    })
}
