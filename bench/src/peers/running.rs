//! `print(1)`: by `execute_code`, by a bare interpreter, and by an interpreter in `bwrap`.

use std::ffi::OsString;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;

use super::Plan;
use crate::balance::Balance;
use crate::client::Client;
use crate::commands::bwrap_args;
use crate::cpu::Cpus;
use crate::exec::{Python, Setup, rate, run};
use crate::program::Program;
use crate::report::Chosen;
use crate::stats::median;
use crate::turns::turns_with;

/// Between two runs of any way, as of a client that thinks: the next interpreter is forked meanwhile.
const PAUSE: Duration = Duration::from_millis(15);

/// Runs at the same time when they are counted.
pub(super) const AT_A_TIME: usize = 4;

/// Runs of a slice that are not counted.
const WARM_UP: usize = 2;

/// All ways to run code.
#[derive(Debug, Serialize)]
pub(super) struct Running {
    /// The first is llmc.
    pub(super) names: Vec<String>,
    /// Why a way is missing.
    pub(super) left_out: Vec<String>,
    pub(super) rounds: Chosen<Round>,
}

/// In the order of the names.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    foreign_share: f64,
    /// Median milliseconds with one at a time, everything on one CPU.
    p50_ms: Vec<f64>,
    /// With [`AT_A_TIME`], on all CPUs.
    per_second: Vec<f64>,
}

/// A program whose arguments print 1.
struct Way {
    name: &'static str,
    program: Program,
    args: Vec<OsString>,
}

impl Way {
    fn run(&self, folder: &Path) -> Result<Duration> {
        let mut printed = Vec::new();
        let took = self.program.run(&self.args, folder, &mut printed)?;
        ensure!(printed == b"1\n", "{} printed {:?}", self.name, String::from_utf8_lossy(&printed));
        Ok(took)
    }

    /// Runs per second while [`AT_A_TIME`] are under way.
    fn rate(&self, folder: &Path, time: Duration) -> Result<f64> {
        let begun = Instant::now();
        let runs = || {
            let mut runs = 0_u32;
            while begun.elapsed() < time {
                self.run(folder)?;
                runs += 1;
            }
            anyhow::Ok(runs)
        };
        let all: Result<Vec<u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(runs)).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined
                .map(|runs| runs.unwrap_or_else(|_| anyhow::bail!("a thread that runs code failed")))
                .collect()
        });
        Ok(f64::from(all?.iter().sum::<u32>()) / begun.elapsed().as_secs_f64())
    }
}

/// Everything that takes part.
struct Sides {
    pinned: Client,
    free: Client,
    ways: Vec<Way>,
    folder: TempDir,
}

impl Running {
    pub(super) fn measure(stage: &Path, cpus: &Cpus, plan: Plan) -> Result<Self> {
        let setup = Setup::new(stage)?;
        cpus.pin()?;
        let pinned = setup.warm();
        cpus.unpin()?;
        let (mut pinned, free) = (pinned?, setup.warm()?);
        let (_, done) = run(&mut pinned, &json!({"code": "print(1)"}))?;
        let python = Python::find(done["engine"].as_str().unwrap_or_default())?;
        let folder = tempfile::tempdir()?;
        let (ways, left_out) = ways(&python, folder.path())?;
        let mut sides = Sides { pinned, free, ways, folder };
        let mut rounds = Vec::new();
        for _ in 0..plan.rounds {
            rounds.push(sides.round(cpus, plan)?);
        }
        let names = std::iter::once("execute_code").chain(sides.ways.iter().map(|way| way.name));
        Ok(Self {
            names: names.map(str::to_owned).collect(),
            left_out,
            rounds: Chosen::new(rounds, |round| round.foreign_share),
        })
    }

    pub(super) fn p50_ms(&self, way: usize) -> f64 {
        median(self.rounds.of(move |round: &Round| round.p50_ms[way]))
    }

    pub(super) fn per_second(&self, way: usize) -> f64 {
        median(self.rounds.of(move |round: &Round| round.per_second[way]))
    }

    /// Median of the rounds' ratios of llmc to another.
    pub(super) fn ratio(&self, other: usize) -> f64 {
        median(self.rounds.of(move |round: &Round| round.p50_ms[0] / round.p50_ms[other]))
    }
}

impl Sides {
    fn round(&mut self, cpus: &Cpus, plan: Plan) -> Result<Round> {
        let balance = Balance::start()?;
        cpus.pin()?;
        let p50 = self.p50(plan.runs);
        cpus.unpin()?;
        let mut per_second = vec![rate(&mut self.free, AT_A_TIME, plan.flood)?];
        for way in &self.ways {
            per_second.push(way.rate(self.folder.path(), plan.flood)?);
        }
        Ok(Round { foreign_share: balance.foreign_share(cpus)?, p50_ms: p50?, per_second })
    }

    fn p50(&mut self, runs: usize) -> Result<Vec<f64>> {
        let Self { pinned, ways, folder, .. } = self;
        let times = turns_with(1 + ways.len(), [2, runs.div_ceil(2), WARM_UP], |side| {
            sleep(PAUSE);
            match side.checked_sub(1) {
                None => {
                    let (took, done) = run(pinned, &json!({"code": "print(1)"}))?;
                    ensure!(done["stdout"] == "1\n", "`print(1)` did {done}");
                    Ok(took)
                }
                Some(way) => ways[way].run(folder.path()),
            }
        })?;
        Ok(times.into_iter().map(|times| times.p50 / 1e3).collect())
    }
}

/// What there is beside llmc, and what there is not.
fn ways(python: &Python, folder: &Path) -> Result<(Vec<Way>, Vec<String>)> {
    let bare = Way {
        name: "bare python3",
        program: Program::at(python.file().to_owned())?,
        args: python.args().into(),
    };
    let Some(program) = Program::find(&["bwrap"]) else {
        let missing = "bwrap: it is not installed (`apt install bubblewrap`)".to_owned();
        return Ok((vec![bare], vec![missing]));
    };
    let mut command = vec![python.file().as_os_str().to_owned()];
    command.extend_from_slice(python.args());
    let args = bwrap_args(folder, &command);
    Ok((vec![bare, Way { name: "python3 in bwrap", program, args }], Vec::new()))
}
