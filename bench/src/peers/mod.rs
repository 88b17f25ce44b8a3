//! Measures llmc beside what people would use instead, as far as it is installed: other servers that read files, a bare
//! interpreter and `bwrap`, ripgrep and fd.
//!
//! - [`install`]: the peers that come from registries, installed when asked for.
//! - [`reading`]: `read_file` beside other MCP servers.
//! - [`running`]: `execute_code` beside `python3` and `bwrap`.
//! - [`report`]: what came of it; searches are those of [`crate::files`].

pub(crate) mod install;
mod reading;
mod report;
mod running;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::install::Peers;
use self::reading::Reading;
pub(crate) use self::report::Report;
use self::running::Running;
use crate::cpu::Cpus;
use crate::files;
use crate::report::Machine;
use crate::servers::locate;

/// What only this benchmark asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// First install the servers of others into `peers` beside the stage: with npm, by the lock file of `bench/node`,
    /// and with cargo. Once is enough.
    #[arg(long)]
    install: bool,
    /// Tree to search. Default: the sources of crates that cargo keeps, else this workspace.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Slices of each server in a round.
    slices: usize,
    /// Starts of each server in a round.
    starts: usize,
    /// Runs of each way to run code in a round.
    runs: usize,
    /// Searches of each case and side in a round.
    searches: usize,
    /// Time of each rate in a round.
    flood: Duration,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 7, slices: 6, starts: 4, runs: 30, searches: 1, flood: Duration::from_millis(800) };
    pub(crate) const QUICK: Self =
        Self { rounds: 1, slices: 1, starts: 1, runs: 6, searches: 1, flood: Duration::from_millis(100) };
}

/// Measures everything that is there.
///
/// # Errors
/// If something that is there does not answer as it should, or cannot be installed.
pub(crate) fn measure(stage: &Path, options: &Options, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let stage = locate(stage)?;
    if options.install {
        install::install(&stage)?;
    }
    let (peers, mut left_out) = Peers::find(&stage);
    let reading = Reading::measure(&stage, peers, cpus, plan)?;
    let running = Running::measure(&stage, cpus, plan);
    if let Err(error) = &running {
        left_out.push(format!("running code: {error:#}"));
    }
    let searching = files::search(&stage, options.tree.as_deref(), cpus, [plan.rounds, plan.searches])?;
    left_out.extend(searching.missing.iter().cloned());
    let machine = Machine { cpus: cpus.count(), latency_cpu: cpus.chosen };
    Ok(Report { machine, reading, running: running.ok(), searching, left_out })
}
