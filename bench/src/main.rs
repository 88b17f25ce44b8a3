//! Measures llmc beside a plain in-process MCP server and says whether the difference is within its targets.
//!
//! - [`servers`], [`client`]: both servers, driven by one lean client.
//! - [`rounds`], [`startup`], [`memory`]: what is measured of them.
//! - [`hop`], [`steps`]: what they cannot do without, measured by itself.
//! - [`cpu`], [`processes`], [`balance`]: the machine under them.
//! - [`report`], [`table`]: what came of it.
//! - [`files`]: another benchmark, of the file tools; [`exec`]: one of `execute_code`; [`commands`]: one of
//!   `run_command`.
//! - [`search`]: another one, of the plugin `search`; [`http`]: one of calls over HTTP.
//! - [`overhead`]: another one, of records and numbers.
//! - [`program`]: programs of others.
//! - [`tokens`]: another count, of what passes through a model.
//!
//! README.md tells how to read the result.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod balance;
mod client;
mod commands;
mod cpu;
mod exec;
mod files;
mod hop;
mod http;
mod memory;
mod overhead;
mod processes;
mod program;
mod report;
mod rounds;
mod search;
mod servers;
mod startup;
mod stats;
mod steps;
mod table;
mod tokens;
mod turns;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

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
    /// A few seconds instead of half a minute or more; for trying out, not for comparing.
    #[arg(long, global = true)]
    quick: bool,
    /// Rounds to measure.
    #[arg(long, value_name = "N", global = true)]
    rounds: Option<usize>,
    /// The CPU for latencies; the last one by default.
    #[arg(long, value_name = "N", global = true)]
    cpu: Option<usize>,
    /// Fail when a target is missed.
    #[arg(long, global = true)]
    check: bool,
    /// Also write everything, each round included, as JSON.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<What>,
}

/// Another benchmark.
#[derive(Subcommand)]
enum What {
    /// Measures `run_command` beside a bare process and `bwrap` instead.
    Commands,
    /// Measures `execute_code` beside the interpreter that it runs instead.
    Exec,
    /// Measures the file tools beside `rg`, `fd` and another server instead.
    Files(files::Options),
    /// Measures calls over HTTP beside a plain server on rmcp and the reference server for Node instead.
    Http(http::Options),
    /// Measures what audit and numbers cost a call, beside llmc without them, instead.
    Overhead,
    /// Measures what the plugin `search` finds and costs, beside `rg` and tantivy, instead.
    Search(search::Options),
    /// Counts the tokens of code mode beside those of single calls instead.
    Tokens(tokens::Options),
}

fn main() -> Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        Some(hop::FLAG) => return hop::serve().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Some(commands::jails::FLAG) => return commands::jails::serve().map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let cli = Cli::parse();
    let rounds = |default: usize| cli.rounds.unwrap_or(default).max(1);
    if let Some(What::Files(options)) = &cli.what {
        let mut plan = if cli.quick { files::Plan::QUICK } else { files::Plan::FULL };
        plan.rounds = rounds(plan.rounds);
        let report = files::measure(&cli.stage, options, &Cpus::choose(cli.cpu)?, plan)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Commands) = &cli.what {
        let mut plan = if cli.quick { commands::Plan::QUICK } else { commands::Plan::FULL };
        plan.rounds = rounds(plan.rounds);
        let report = commands::measure(&cli.stage, &Cpus::choose(cli.cpu)?, plan)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Exec) = &cli.what {
        let mut plan = if cli.quick { exec::Plan::QUICK } else { exec::Plan::FULL };
        plan.rounds = rounds(plan.rounds);
        let report = exec::measure(&cli.stage, &Cpus::choose(cli.cpu)?, plan)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Http(options)) = &cli.what {
        let report = http::measure(&cli.stage, options, cli.quick)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Overhead) = &cli.what {
        let mut plan = if cli.quick { overhead::Plan::QUICK } else { overhead::Plan::FULL };
        plan.rounds = rounds(plan.rounds);
        let report = overhead::measure(&cli.stage, &Cpus::choose(cli.cpu)?, plan)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Search(options)) = &cli.what {
        let report = search::measure(&cli.stage, options)?;
        return finish(&cli, &report, report.is_good());
    }
    if let Some(What::Tokens(options)) = &cli.what {
        let report = tokens::measure(&cli.stage, options)?;
        return finish(&cli, &report, report.is_good());
    }
    let mut plan = if cli.quick { Plan::QUICK } else { Plan::FULL };
    plan.rounds = rounds(plan.rounds);
    let report = measure(&cli, plan)?;
    finish(&cli, &report, report.is_good())
}

fn finish(cli: &Cli, report: &(impl Display + Serialize), is_good: bool) -> Result<ExitCode> {
    print!("{report}");
    if let Some(file) = &cli.json {
        let json = serde_json::to_vec_pretty(report)?;
        std::fs::write(file, json).with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    Ok(if cli.check && !is_good { ExitCode::from(3) } else { ExitCode::SUCCESS })
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
