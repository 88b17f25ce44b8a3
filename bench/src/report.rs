//! From rounds to sentences: which rounds count, what the numbers are, and whether they are good enough.

use serde::Serialize;

use crate::memory::Memory;
use crate::rounds::{Cost, Latency, Throughput};
use crate::servers::TOOLS;
use crate::startup::Starts;
use crate::stats::{Pair, Percentiles, Spread, median};

/// A round in which others took more than this share of the CPUs says little about the servers.
const QUIET: f64 = 0.15;

/// With fewer quiet rounds than this, all rounds count.
const ENOUGH: usize = 3;

/// Private memory in MiB that a host may have: its own, and that of a plugin as small as `hello`.
const HOST_MIB: f64 = 1.5;

/// The hosts that are measured, and most private memory of each in MiB: larger plugins have code and data that the
/// loader changes, heaps and threads of their own.
const HOSTS: [(&str, f64); 4] = [("hello", HOST_MIB), ("cmd", 2.0), ("exec", 2.0), ("fs", 4.5)];

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
    pub(crate) rest: Rest,
    pub(crate) total: f64,
    /// CPU time of all processes of a server per call.
    pub(crate) cpu_us: Pair<f64>,
    /// The part of llmc's server process, without its hosts.
    pub(crate) server_cpu_us: f64,
    pub(crate) switches: Pair<f64>,
}

/// What of a call none of the floors explains. Together it is exact; its parts of CPU time are means of all calls, beside
/// medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rest {
    /// CPU time of the server's process.
    pub(crate) server: f64,
    /// CPU time of its hosts.
    pub(crate) hosts: f64,
    /// CPU time of the client.
    pub(crate) client: f64,
    /// What is left: nobody ran, or somebody else.
    pub(crate) waiting: f64,
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
            targets.extend(HOSTS.iter().map(|host| host_memory(memory, host)));
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

/// A host that is not there has no memory that could be small enough.
fn host_memory(memory: &Memories, (plugin, most_mib): &(&str, f64)) -> Target {
    let program = format!("llmc-host:{plugin}");
    let own = memory.after_load.llmc.iter().find(|process| process.program == program);
    let mib = own.map_or(f64::NAN, |host| host.private_dirty_kib as f64 / 1024.0);
    let beside = match mib <= HOST_MIB {
        true => format!("within the {HOST_MIB} MiB of a host"),
        false => format!("{:.2} MiB more than the {HOST_MIB} MiB of a host", mib - HOST_MIB),
    };
    let what = format!("private memory of the host of `{plugin}`");
    Target::at_most(what, mib, " MiB", *most_mib, format!("after load, {beside}"))
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
            rest: Rest::new(
                rounds,
                total - baseline - socket - async_hop - of(|round| round.floor.steps.sum()),
            ),
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

impl Rest {
    /// From each CPU time that of the floors goes off: the baseline, the hop (a relay less what answers by itself), and
    /// the steps. What of `all` is then left was waiting.
    fn new(rounds: &Chosen<Latency>, all: f64) -> Self {
        let of = |number: fn(&Latency) -> f64| median(rounds.of(number));
        let server = of(|Latency { cost, floor, .. }| {
            let hop = floor.relay_cost.server_cpu_us - floor.async_pipes_cost.server_cpu_us;
            cost.llmc.server_cpu_us - cost.baseline.cpu_us - hop - floor.steps.request - floor.steps.result
        });
        let hosts = of(|Latency { cost, floor, .. }| {
            let behind = |cost: &Cost| cost.cpu_us - cost.server_cpu_us;
            behind(&cost.llmc) - behind(&floor.relay_cost) - floor.steps.plugin
        });
        let client = of(|Latency { cost, floor, .. }| {
            let hop = floor.relay_cost.client_cpu_us - floor.async_pipes_cost.client_cpu_us;
            cost.llmc.client_cpu_us - cost.baseline.client_cpu_us - hop
        });
        Self { server, hosts, client, waiting: all - server - hosts - client }
    }

    /// All of it.
    pub(crate) fn sum(self) -> f64 {
        self.server + self.hosts + self.client + self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Floor;
    use crate::steps::StepTimes;

    fn cost(cpu_us: f64, server_cpu_us: f64, client_cpu_us: f64) -> Cost {
        Cost { cpu_us, server_cpu_us, client_cpu_us, switches: 1.0 }
    }

    #[test]
    fn the_rest_is_divided_among_those_who_ran() {
        let percentiles = Percentiles { p50: 1.0, p90: 1.0, p99: 1.0 };
        let latency = Latency {
            foreign_share: 0.0,
            tools: [Pair { llmc: percentiles, baseline: percentiles }; 2],
            cost: Pair { llmc: cost(40.0, 28.0, 12.0), baseline: cost(11.0, 11.0, 9.0) },
            floor: Floor {
                pipes: 1.0,
                socket: 1.0,
                async_pipes: 1.0,
                relay: 1.0,
                async_pipes_cost: cost(6.0, 6.0, 4.0),
                relay_cost: cost(19.0, 13.0, 5.0),
                steps: StepTimes { request: 1.0, plugin: 2.0, result: 3.0 },
            },
        };
        let rounds = Chosen::new(vec![latency], |round| round.foreign_share);
        let rest = Rest::new(&rounds, 14.0);
        let near = |seen: f64, expected: f64| assert!((seen - expected).abs() < 1e-9, "{rest:?}");
        near(rest.server, 28.0 - 11.0 - 7.0 - 4.0);
        near(rest.hosts, 12.0 - 6.0 - 2.0);
        near(rest.client, 12.0 - 9.0 - 1.0);
        near(rest.sum(), 14.0);
        near(rest.waiting, 2.0);
    }

    #[test]
    fn each_host_has_its_own_limit_and_one_that_is_missing_none_that_holds() {
        let host = |program: &str, private_dirty_kib| Memory {
            program: program.into(),
            pss_kib: private_dirty_kib,
            private_dirty_kib,
        };
        let after_load = vec![host("llmc-host:fs", 3 * 1024), host("llmc-host:hello", 1024)];
        let both = |llmc| Pair { llmc, baseline: Vec::new() };
        let memory = Memories { after_start: both(Vec::new()), after_load: both(after_load) };
        let target = |plugin, most| host_memory(&memory, &(plugin, most));
        assert!(target("hello", HOST_MIB).met && target("fs", 4.5).met && !target("fs", HOST_MIB).met);
        assert!(target("fs", 4.5).context.contains("1.50 MiB more"), "{:?}", target("fs", 4.5));
        assert!(!target("cmd", 100.0).met);
    }

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
