//! Measures llmc beside a plain in-process MCP server and says whether the difference is within its targets.
//!
//! - [`servers`], [`client`]: both servers, driven by one lean client.
//! - [`rounds`], [`startup`], [`memory`]: what is measured of them.
//! - [`hop`], [`steps`]: what they cannot do without, measured by itself.
//! - [`cpu`], [`processes`], [`balance`]: the machine under them.
//! - [`report`], [`table`]: what came of it; [`mod@part`], [`text`]: the form of all reports.
//! - [`files`]: another benchmark, of the file tools; [`exec`]: one of `execute_code`; [`commands`]: one of
//!   `run_command`.
//! - [`search`]: another one, of the plugin `search`; [`http`]: one of calls over HTTP.
//! - [`overhead`]: another one, of records and numbers; [`sweep`]: one of what grows with payloads, plugins and clients.
//! - [`peers`]: another one, beside what people would use instead.
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
mod part;
mod peers;
mod processes;
mod program;
mod report;
mod rounds;
mod search;
mod servers;
mod startup;
mod stats;
mod steps;
mod sweep;
mod table;
mod text;
mod tokens;
mod turns;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use llmc_proof::Part;

use crate::cpu::Cpus;
use crate::report::{Machine, Memories, Report};
use crate::rounds::{Plan, Rounds};
use crate::servers::{Running, Servers};
use crate::stats::Pair;
use crate::text::Text;

/// Measures llmc beside a plain in-process MCP server.
#[derive(Parser)]
#[command(
    name = "llmc-bench",
    after_help = "Exit codes: 0 measured; 1 the measurement failed; 3 a target is missed (--check). What is LEFT OUT has \
                  no target: whoever is not root measures no memory and lets no fork bomb loose, and passes."
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
    /// Fail when a target is missed. Looks at what was measured: LEFT OUT fails nothing, such as memory and the fork bomb without
    /// root.
    #[arg(long, global = true)]
    check: bool,
    /// Also write everything, each round included, as JSON.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Also write the part of the proof into this folder, with its claims, tables and charts.
    #[arg(long, value_name = "DIR", global = true)]
    parts: Option<PathBuf>,
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
    /// Measures llmc beside what people would use instead, as far as it is installed, instead.
    Peers(peers::Options),
    /// Measures what the plugin `search` finds and costs, beside `rg` and tantivy, instead.
    Search(search::Options),
    /// Measures what grows with payloads, plugins, tools and clients, beside a plain server, instead.
    Sweep(sweep::Options),
    /// Counts the tokens of code mode beside those of single calls instead.
    Tokens(tokens::Options),
}

fn main() -> Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        Some(hop::FLAG) => return hop::serve().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Some(hop::ASYNC_FLAG) => return hop::serve_async().map(|()| ExitCode::SUCCESS),
        Some(hop::RELAY_FLAG) => return hop::relay().map(|()| ExitCode::SUCCESS),
        Some(commands::jails::FLAG) => return commands::jails::serve().map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let cli = Cli::parse();
    let began = SystemTime::now();
    let Measured { part, json } = run(&cli)?;
    let part = Part {
        command: command(std::env::args().skip(1)),
        began: began.duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        seconds: began.elapsed().unwrap_or_default().as_secs_f64(),
        ..part
    };
    print!("{}", Text(&part));
    if let Some(file) = &cli.json {
        std::fs::write(file, json).with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    if let Some(folder) = &cli.parts {
        part.write(folder)?;
    }
    Ok(if cli.check && !part.held() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// What a benchmark came to: for people, and with each round.
struct Measured {
    part: Part,
    json: Vec<u8>,
}

impl Measured {
    fn of(report: &impl part::Report) -> Result<Self> {
        Ok(Self { part: report.part(), json: serde_json::to_vec_pretty(report)? })
    }
}

/// Measures what was asked for.
fn run(cli: &Cli) -> Result<Measured> {
    let stage = &cli.stage;
    let cpus = Cpus::choose(cli.cpu)?;
    match &cli.what {
        None => {
            let plan = cli.plan([Plan::FULL, Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&measure(stage, &cpus, plan)?)
        }
        Some(What::Commands) => {
            let plan = cli.plan([commands::Plan::FULL, commands::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&commands::measure(stage, &cpus, plan)?)
        }
        Some(What::Exec) => {
            let plan = cli.plan([exec::Plan::FULL, exec::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&exec::measure(stage, &cpus, plan)?)
        }
        Some(What::Files(options)) => {
            let plan = cli.plan([files::Plan::FULL, files::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&files::measure(stage, options, &cpus, plan)?)
        }
        Some(What::Http(options)) => Measured::of(&http::measure(stage, options, cli.quick)?),
        Some(What::Overhead) => {
            let plan = cli.plan([overhead::Plan::FULL, overhead::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&overhead::measure(stage, &cpus, plan)?)
        }
        Some(What::Peers(options)) => {
            let plan = cli.plan([peers::Plan::FULL, peers::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&peers::measure(stage, options, &cpus, plan)?)
        }
        Some(What::Search(options)) => Measured::of(&search::measure(stage, options)?),
        Some(What::Sweep(options)) => {
            let plan = cli.plan([sweep::Plan::FULL, sweep::Plan::QUICK], |plan| &mut plan.rounds);
            Measured::of(&sweep::measure(stage, options, &cpus, plan)?)
        }
        Some(What::Tokens(options)) => Measured::of(&tokens::measure(stage, options)?),
    }
}

impl Cli {
    /// The full plan or the quick one, with as many rounds as are asked for.
    fn plan<T>(&self, [full, quick]: [T; 2], rounds_of: impl Fn(&mut T) -> &mut usize) -> T {
        let mut plan = if self.quick { quick } else { full };
        if let Some(rounds) = self.rounds {
            *rounds_of(&mut plan) = rounds.max(1);
        }
        plan
    }
}

/// What repeats a run: where its results go is left out, and where cargo puts the stage.
fn command(args: impl Iterator<Item = String>) -> String {
    const PLACES: [&str; 3] = ["--stage", "--json", "--parts"];
    let mut kept = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let name = arg.split('=').next().unwrap_or_default();
        if !PLACES.contains(&name) {
            kept.push(arg);
        } else if name == arg {
            args.next();
        }
    }
    match kept.is_empty() {
        true => "cargo xtask bench".to_owned(),
        false => format!("cargo xtask bench -- {}", kept.join(" ")),
    }
}

fn measure(stage: &Path, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let servers = Servers::new(stage)?;
    let start_ms = startup::measure(&servers, plan.starts)?;
    let after_start = memories(&servers.start()?);
    let Rounds { latency, throughput, loaded } = rounds::measure(&servers, cpus, plan)?;
    let both = || anyhow::Ok(Memories { after_start: after_start?, after_load: memories(&loaded)? });
    let memory = both().map_err(|error| format!("{error:#}"));
    let machine = Machine { cpus: cpus.count(), latency_cpu: cpus.chosen };
    Ok(Report::new(machine, latency, throughput, start_ms, memory))
}

fn memories(running: &Running) -> Result<Pair<Vec<memory::Memory>>> {
    let Pair { llmc, baseline } = &running.clients;
    Ok(Pair { llmc: memory::measure(llmc.process())?, baseline: memory::measure(baseline.process())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_leaves_out_where_results_go() {
        let of = |line: &str| command(line.split(' ').map(str::to_owned));
        assert_eq!(
            of("--stage s files --parts p --quick --tree t"),
            "cargo xtask bench -- files --quick --tree t"
        );
        assert_eq!(of("--stage s --json=j"), "cargo xtask bench");
    }
}
