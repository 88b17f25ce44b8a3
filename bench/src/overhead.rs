//! What it costs to record and count every call: the p50 of calls with the audit and the numbers switched on, beside
//! the same server without either. Both take turns on one CPU, the thread that writes the audit included.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use llmc_proof::{Claim, Part};
use serde::Serialize;
use serde_json::json;

use crate::client::{Call, Client};
use crate::cpu::{Cpus, Watch};
use crate::part::{bars_of_pairs, met, others, shares};
use crate::processes::tree;
use crate::report::{Chosen, Target};
use crate::servers::{Servers, TOOLS};
use crate::stats::{Pair, Percentiles, median};
use crate::turns::latencies;

/// How much longer a call may take, at most.
const TARGET: f64 = 1.10;

/// How long the processes of a server must stay the same, and how often that is looked for.
const LOOK: Duration = Duration::from_secs(2);
const MOST_LOOKS: u32 = 30;

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Slices of each tool and side in a round.
    slices: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { rounds: 11, slices: 12 };
    pub(crate) const QUICK: Self = Self { rounds: 3, slices: 3 };
}

/// Both sides, one call at a time.
#[derive(Clone, Debug, Serialize)]
struct Round {
    foreign_share: f64,
    /// In the order of [`TOOLS`]; `llmc` with records and numbers, `baseline` without.
    tools: Vec<Pair<Percentiles>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: Chosen<Round>,
    /// With to without, in the order of [`TOOLS`]: the median of the rounds' ratios of p50.
    ratios: Vec<f64>,
    records: u64,
}

/// Measures both sides.
///
/// # Errors
///
/// If one of them does not start, or does not answer as it should.
pub(crate) fn measure(stage: &Path, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let servers = Servers::new(stage)?;
    let folder = tempfile::tempdir()?;
    let audit = folder.path().join("audit.db");
    let path = json!(audit);
    let configuration = |name: &str, text: String| {
        let file = folder.path().join(name);
        fs::write(&file, text).map(|()| file)
    };
    let with = configuration("with.toml", format!("[audit]\npath = {path}\n"))?;
    let without = configuration("without.toml", "[telemetry]\nmetrics = false\n".to_owned())?;

    cpus.pin()?;
    let start = |file: &Path| -> Result<(Client, Vec<Call>)> {
        let mut command = servers.llmc(&["--plugin", "hello", "--config"]);
        let mut client = Client::start(command.arg(file))?;
        let calls = crate::servers::prepare(&mut client)?.map(|(call, _)| call);
        Ok((client, calls.into()))
    };
    let (mut with, mut without) = (start(&with)?, start(&without)?);
    let processes = settled(|| Ok([tree(with.0.process())?, tree(without.0.process())?].concat()))?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let watch = Watch::start_in_ticks(Some(cpus.chosen), &processes)?;
        let mut tools = Vec::new();
        for tool in 0..TOOLS.len() {
            let [llmc, baseline] = latencies(plan.slices, |side| match side {
                0 => with.0.call(&with.1[tool]),
                _ => without.0.call(&without.1[tool]),
            })?;
            tools.push(Pair { llmc, baseline });
        }
        rounds.push(Round { foreign_share: watch.foreign_share(cpus)?, tools });
    }
    cpus.unpin()?;
    let calls = rounds.len() * plan.slices * crate::turns::SLICE * TOOLS.len();
    let rounds = Chosen::new(rounds, |round| round.foreign_share);
    let ratio = |tool: usize| {
        median(rounds.of(|round: &Round| {
            let Pair { llmc, baseline } = &round.tools[tool];
            llmc.p50 / baseline.p50
        }))
    };
    let ratios = (0..TOOLS.len()).map(ratio).collect();
    Ok(Report { rounds, ratios, records: calls as u64 })
}

/// All processes, once no more of them come or go: a runner that has just started still tries its jails.
fn settled(processes: impl Fn() -> Result<Vec<u32>>) -> Result<Vec<u32>> {
    let mut before = processes()?;
    for _ in 0..MOST_LOOKS {
        std::thread::sleep(LOOK);
        let now = processes()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    anyhow::bail!("the processes of the servers do not settle")
}

impl Report {
    /// Median p50 of both sides.
    fn p50(&self, tool: usize) -> Pair<f64> {
        let of = |side: fn(&Pair<Percentiles>) -> f64| {
            median(self.rounds.of(move |round: &Round| side(&round.tools[tool])))
        };
        Pair { llmc: of(|pair| pair.llmc.p50), baseline: of(|pair| pair.baseline.p50) }
    }
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let targets = TOOLS.iter().zip(&self.ratios).enumerate().map(|(tool, (name, ratio))| {
            let Pair { llmc: with, baseline: without } = self.p50(tool);
            let context = format!("{with:.1} us, without {without:.1} us");
            Target::at_most(format!("p50 of {name}"), *ratio, "x", TARGET, context).claim()
        });
        let claims: Vec<Claim> = targets.collect();
        let p50 = TOOLS.iter().enumerate().map(|(tool, name)| ((*name).to_owned(), self.p50(tool)));
        Part {
            name: "bench-overhead".into(),
            title: "Records and numbers".into(),
            summary: format!(
                "Calls with audit (SQLite) and numbers beside the same server with neither: {}; {} recorded calls.",
                met(&claims),
                self.records
            ),
            claims,
            tables: vec![others([("", shares(&self.rounds))])],
            charts: vec![bars_of_pairs("p50 of a call, one in flight", "us", ["with", "without"], p50)],
            ..Part::default()
        }
    }
}
