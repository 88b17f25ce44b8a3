//! Measures llmc beside a plain in-process MCP server and says whether the difference is within its targets.
//!
//! - [`servers`], [`client`]: both servers, driven by one lean client.
//! - [`rounds`], [`startup`], [`memory`]: what is measured of them.
//! - [`hop`], [`steps`]: what they cannot do without, measured by itself.
//! - [`cpu`], [`processes`]: the machine under them.
//! - [`report`], [`table`]: what came of it.
//!
//! README.md tells how to read the result.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod client;
mod cpu;
mod hop;
mod memory;
mod processes;
mod report;
mod rounds;
mod servers;
mod startup;
mod stats;
mod steps;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::cpu::Cpus;
use crate::report::{Machine, Memories, Report};
use crate::rounds::{Plan, Rounds};
use crate::servers::{Running, Servers};
use crate::stats::Pair;

/// Measures llmc beside a plain in-process MCP server.
#[derive(Parser)]
#[command(
    name = "llmc-bench",
    after_help = "Exit codes: 0 measured; 1 the measurement failed; 3 a target is missed (--check)."
)]
struct Cli {
    /// Folder with `bin`, `libexec` and `lib` of an optimised build.
    #[arg(long, value_name = "DIR")]
    stage: PathBuf,
    /// A few seconds instead of half a minute; for trying out, not for comparing.
    #[arg(long)]
    quick: bool,
    /// Rounds to measure.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The CPU for latencies; the last one by default.
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Fail when a target is missed.
    #[arg(long)]
    check: bool,
    /// Also write everything, each round included, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some(hop::FLAG) {
        hop::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    let mut plan = if cli.quick { Plan::QUICK } else { Plan::FULL };
    plan.rounds = cli.rounds.unwrap_or(plan.rounds).max(1);
    let report = measure(&cli, plan)?;
    print!("{report}");
    if let Some(file) = &cli.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    Ok(if cli.check && !report.is_good() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn measure(cli: &Cli, plan: Plan) -> Result<Report> {
    let cpus = Cpus::choose(cli.cpu)?;
    let servers = Servers::new(&cli.stage)?;
    let start_ms = startup::measure(&servers, plan.starts)?;
    let after_start = memories(&servers.start()?);
    let Rounds { latency, throughput, loaded } = rounds::measure(&servers, &cpus, plan)?;
    let both = || anyhow::Ok(Memories { after_start: after_start?, after_load: memories(&loaded)? });
    let memory = both().map_err(|error| format!("{error:#}"));
    let machine = Machine { cpus: cpus.count(), latency_cpu: cpus.chosen };
    Ok(Report::new(machine, latency, throughput, start_ms, memory))
}

fn memories(running: &Running) -> Result<Pair<Vec<memory::Memory>>> {
    let Pair { llmc, baseline } = &running.clients;
    Ok(Pair { llmc: memory::measure(llmc.process())?, baseline: memory::measure(baseline.process())? })
}
