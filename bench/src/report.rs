//! From rounds to sentences: which rounds count, what the numbers are, and whether they are good enough.

use serde::Serialize;

use crate::memory::Memory;
use crate::rounds::{Latency, Throughput};
use crate::servers::TOOLS;
use crate::startup::Starts;
use crate::stats::{Pair, Percentiles, Spread, median};

/// A round in which others took more than this share of the CPUs says little about the servers.
const QUIET: f64 = 0.15;

/// With fewer quiet rounds than this, all rounds count.
const ENOUGH: usize = 3;

/// Memory of both servers, without and with load behind them.
#[derive(Debug, Serialize)]
pub(crate) struct Memories {
    pub(crate) after_start: Pair<Vec<Memory>>,
    pub(crate) after_load: Pair<Vec<Memory>>,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) targets: Vec<Target>,
    /// In the order of [`TOOLS`].
    pub(crate) latency_us: Vec<Pair<LatencySummary>>,
    pub(crate) calls_per_second: Vec<Pair<Spread>>,
    pub(crate) start_ms: Starts,
    /// Or why it could not be read.
    pub(crate) memory: Result<Memories, String>,
    pub(crate) hello_us: Breakdown,
    pub(crate) latency_rounds: Chosen<Latency>,
    pub(crate) throughput_rounds: Chosen<Throughput>,
}

/// What was measured on.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    /// The one that latencies were measured on.
    pub(crate) latency_cpu: usize,
}

/// A promise, as a ratio to the baseline or as a number of its own.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) limit: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
    pub(crate) met: bool,
    /// The two numbers behind the ratio.
    pub(crate) context: String,
}

/// Latency of one tool over the rounds that count.
#[derive(Debug, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) p50: Spread,
    /// Medians of the rounds.
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

/// Where the time of a `hello` call goes: medians of the rounds in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Breakdown {
    pub(crate) pipes: f64,
    pub(crate) sdk: f64,
    pub(crate) socket: f64,
    /// What the hop takes longer from a task on tokio than from a thread that blocks.
    pub(crate) async_hop: f64,
    pub(crate) request_json: f64,
    pub(crate) plugin_json: f64,
    pub(crate) result_json: f64,
    pub(crate) rest: f64,
    pub(crate) total: f64,
    /// CPU time of all processes of a server per call.
    pub(crate) cpu_us: Pair<f64>,
    /// The part of llmc's server process, without its hosts.
    pub(crate) server_cpu_us: f64,
    pub(crate) switches: Pair<f64>,
}

/// All rounds of one kind, and which of them count.
#[derive(Debug, Serialize)]
pub(crate) struct Chosen<T> {
    pub(crate) rounds: Vec<T>,
    pub(crate) foreign_shares: Vec<f64>,
    pub(crate) counts: Vec<bool>,
}

impl<T> Chosen<T> {
    pub(crate) fn new(rounds: Vec<T>, foreign_share: impl Fn(&T) -> f64) -> Self {
        let foreign_shares: Vec<f64> = rounds.iter().map(foreign_share).collect();
        let quiet: Vec<bool> = foreign_shares.iter().map(|share| *share <= QUIET).collect();
        let enough = quiet.iter().filter(|quiet| **quiet).count() >= ENOUGH;
        let counts = if enough { quiet } else { vec![true; rounds.len()] };
        Self { rounds, foreign_shares, counts }
    }

    pub(crate) fn of<'a>(&'a self, number: impl Fn(&T) -> f64 + 'a) -> impl Iterator<Item = f64> + 'a {
        self.rounds
            .iter()
            .zip(&self.counts)
            .filter(|(_, counts)| **counts)
            .map(move |(round, _)| number(round))
    }
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        latency: Vec<Latency>,
        throughput: Vec<Throughput>,
        start_ms: Starts,
        memory: Result<Memories, String>,
    ) -> Self {
        let latency = Chosen::new(latency, |round| round.foreign_share);
        let throughput = Chosen::new(throughput, |round| round.foreign_share);
        let mut targets = Vec::new();
        let (mut latency_us, mut calls_per_second) = (Vec::new(), Vec::new());
        for (tool, name) in TOOLS.iter().enumerate() {
            let summary = latency_summary(&latency, tool);
            // The ratio of each round, not of the medians: what slows a round down meets both servers.
            let ratio =
                median(latency.of(move |round| round.tools[tool].llmc.p50 / round.tools[tool].baseline.p50));
            let context = two(summary.llmc.p50.median, summary.baseline.p50.median, 1, "us");
            targets.push(Target::at_most(
                format!("p50 of {name}, beside the baseline"),
                ratio,
                "x",
                2.5,
                context,
            ));
            latency_us.push(summary);
        }
        for (tool, name) in TOOLS.iter().enumerate() {
            let rates = Pair {
                llmc: Spread::of_rates(throughput.of(move |round| round.tools[tool].llmc)),
                baseline: Spread::of_rates(throughput.of(move |round| round.tools[tool].baseline)),
            };
            let ratio =
                median(throughput.of(move |round| round.tools[tool].llmc / round.tools[tool].baseline));
            let context = two(rates.llmc.median, rates.baseline.median, 0, "/s");
            targets.push(Target::at_least(
                format!("calls/s of {name}, beside the baseline"),
                ratio,
                "x",
                0.5,
                context,
            ));
            calls_per_second.push(rates);
        }
        let context = two(start_ms.listed.llmc.median, start_ms.listed.baseline.median, 1, "ms");
        let ratio = start_ms.listed.llmc.median / start_ms.listed.baseline.median;
        targets.push(Target::at_most(
            "start to `tools/list`, beside the baseline".into(),
            ratio,
            "x",
            5.0,
            context,
        ));
        if let Ok(memory) = &memory {
            targets.push(host_memory(memory));
        }
        let hello_us = Breakdown::new(&latency);
        Self {
            machine,
            targets,
            latency_us,
            calls_per_second,
            start_ms,
            memory,
            hello_us,
            latency_rounds: latency,
            throughput_rounds: throughput,
        }
    }
}

fn latency_summary(rounds: &Chosen<Latency>, tool: usize) -> Pair<LatencySummary> {
    let of = |side: fn(&Pair<Percentiles>) -> Percentiles| LatencySummary {
        p50: Spread::of(rounds.of(move |round| side(&round.tools[tool]).p50)),
        p90: median(rounds.of(move |round| side(&round.tools[tool]).p90)),
        p99: median(rounds.of(move |round| side(&round.tools[tool]).p99)),
    };
    Pair { llmc: of(|pair| pair.llmc), baseline: of(|pair| pair.baseline) }
}

fn host_memory(memory: &Memories) -> Target {
    let hosts = memory.after_load.llmc.iter().filter(|process| process.program.starts_with("llmc-host:"));
    let mib = |host: &Memory| host.private_dirty_kib as f64 / 1024.0;
    // The smallest plugin shows what a host costs; larger ones add their own code.
    let own = hosts.clone().find(|host| host.program == "llmc-host:hello").map_or(f64::NAN, mib);
    let largest = hosts.map(mib).fold(0.0, f64::max);
    let context = format!("private, with `hello` after load; the largest has {largest:.2} MiB");
    Target::at_most("private memory of a host".into(), own, " MiB", 1.5, context)
}

fn two(llmc: f64, baseline: f64, digits: usize, unit: &str) -> String {
    format!("{llmc:.digits$} {unit}, baseline {baseline:.digits$} {unit}")
}

impl Target {
    pub(crate) fn at_most(what: String, value: f64, unit: &'static str, limit: f64, context: String) -> Self {
        Self { met: value <= limit, at_least: false, what, value, unit, limit, context }
    }

    pub(crate) fn at_least(
        what: String,
        value: f64,
        unit: &'static str,
        limit: f64,
        context: String,
    ) -> Self {
        Self { met: value >= limit, at_least: true, what, value, unit, limit, context }
    }
}

impl Breakdown {
    fn new(rounds: &Chosen<Latency>) -> Self {
        let of = |number: fn(&Latency) -> f64| median(rounds.of(number));
        let total = of(|round| round.tools[0].llmc.p50);
        let baseline = of(|round| round.tools[0].baseline.p50);
        let pipes = of(|round| round.floor.pipes);
        let socket = of(|round| round.floor.socket);
        let async_hop = of(|round| round.floor.relay - round.floor.async_pipes - round.floor.socket);
        Self {
            pipes,
            sdk: baseline - pipes,
            socket,
            async_hop,
            request_json: of(|round| round.floor.steps.request),
            plugin_json: of(|round| round.floor.steps.plugin),
            result_json: of(|round| round.floor.steps.result),
            rest: total - baseline - socket - async_hop - of(|round| round.floor.steps.sum()),
            total,
            cpu_us: Pair {
                llmc: of(|round| round.cost.llmc.cpu_us),
                baseline: of(|round| round.cost.baseline.cpu_us),
            },
            server_cpu_us: of(|round| round.cost.llmc.server_cpu_us),
            switches: Pair {
                llmc: of(|round| round.cost.llmc.switches),
                baseline: of(|round| round.cost.baseline.switches),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noisy_rounds_are_left_out_while_enough_quiet_ones_remain() {
        let chosen = |shares: &[f64]| Chosen::new(shares.to_vec(), |share| *share);
        assert_eq!(chosen(&[0.0, 0.2, 0.1, 0.15]).counts, [true, false, true, true]);
        assert_eq!(chosen(&[0.0, 0.2, 0.1]).counts, [true, true, true]);
        let sum: f64 = chosen(&[0.0, 0.5, 0.1, 0.1]).of(|share| *share).sum();
        assert!((sum - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_target_is_met_on_its_own_side() {
        assert!(Target::at_most(String::new(), 2.4, "x", 2.5, String::new()).met);
        assert!(!Target::at_least(String::new(), 0.4, "x", 0.5, String::new()).met);
        assert!(!Target::at_most(String::new(), f64::NAN, "x", 2.5, String::new()).met);
    }
}
