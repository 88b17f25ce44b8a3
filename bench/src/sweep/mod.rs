//! Measures what llmc costs beside a plain in-process server when there is more of something: larger payloads, more
//! plugins, more tools, more clients.
//!
//! - [`curve`]: what was measured over a number that grows.
//! - [`payload`], [`plugins`], [`tools`], [`clients`], [`in_flight`], [`sessions`]: what grows.
//! - [`report`]: what came of it.

mod clients;
mod curve;
mod in_flight;
mod payload;
mod plugins;
mod report;
mod sessions;
mod tools;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::curve::Sweep;
pub(crate) use self::report::Report;
use crate::balance::Balance;
use crate::cpu::Cpus;
use crate::report::Machine;

/// What only this benchmark asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// Measure only these.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Kind>,
}

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Payload,
    Plugins,
    Tools,
    InFlight,
    Clients,
    Sessions,
}

impl Kind {
    fn measure(self, ground: Ground<'_>) -> Result<Sweep> {
        match self {
            Self::Payload => payload::measure(ground),
            Self::Plugins => plugins::measure(ground),
            Self::Tools => tools::measure(ground),
            Self::InFlight => in_flight::measure(ground),
            Self::Clients => clients::measure(ground),
            Self::Sessions => sessions::measure(ground),
        }
    }
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Slices of each side in a round.
    slices: usize,
    /// Time of each side in a round with many calls under way.
    flood: Duration,
    /// Starts of each side in a round.
    starts: usize,
    /// Only the first and the last place of each sweep.
    ends_only: bool,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 5, slices: 4, flood: Duration::from_millis(400), starts: 3, ends_only: false };
    pub(crate) const QUICK: Self =
        Self { rounds: 1, slices: 1, flood: Duration::from_millis(100), starts: 1, ends_only: true };

    /// The places of a sweep that are measured.
    fn places(self, all: &[u64]) -> Vec<u64> {
        match all {
            [first, .., last] if self.ends_only => vec![*first, *last],
            all => all.to_vec(),
        }
    }
}

/// What every sweep needs.
#[derive(Clone, Copy)]
struct Ground<'a> {
    stage: &'a Path,
    cpus: &'a Cpus,
    plan: Plan,
}

impl Ground<'_> {
    /// Does something on the CPU for latencies alone; what is started meanwhile stays there.
    fn pinned<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        self.cpus.pin()?;
        let done = what();
        self.cpus.unpin()?;
        done
    }
}

/// Measures all sweeps, or the wanted ones.
///
/// # Errors
/// If a server does not start, or does not answer as it should.
pub(crate) fn measure(stage: &Path, options: &Options, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let ground = Ground { stage, cpus, plan };
    let balance = Balance::start()?;
    let mut sweeps: Vec<Sweep> = Vec::new();
    let mut left_out = Vec::new();
    for kind in Kind::value_variants() {
        if options.only.is_empty() || options.only.contains(kind) {
            sweeps.push(kind.measure(ground)?);
        } else if let Some(value) = kind.to_possible_value() {
            left_out.push(format!("{}: not asked for", value.get_name()));
        }
    }
    let machine = Machine { cpus: cpus.count(), latency_cpu: cpus.chosen };
    Ok(Report::new(machine, balance.foreign_share(cpus)?, sweeps, left_out))
}

/// The file tools and `hello` over one folder, with limits that are not what is measured.
fn config(work: &Path) -> String {
    format!(
        "[roots]\nwork = {{ path = {work:?}, access = \"rw\" }}\n\
         [limits]\nmax_message_bytes = 16777216\nmax_result_bytes = 16777216\nload_timeout_ms = 60000\n\
         [plugins.fs]\nlibrary = \"llmc_tools_fs\"\ngrants = {{ roots = [\"work\"] }}\n\
         [plugins.hello]\nlibrary = \"hello\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_sweep_has_both_ends() {
        assert_eq!(Plan::QUICK.places(&[1, 2, 3]), [1, 3]);
        assert_eq!(Plan::QUICK.places(&[1]), [1]);
        assert_eq!(Plan::FULL.places(&[1, 2, 3]), [1, 2, 3]);
    }
}
