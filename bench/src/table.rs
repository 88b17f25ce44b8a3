//! The report of calls as tables and charts: ratios first, the numbers behind them below.

use llmc_proof::{Chart, Part, Table};

use crate::memory::Memory;
use crate::part::{SIDES, bars, bars_of_pairs, claims, met, others, row, shares, spread, spreads, table};
use crate::report::{Breakdown, Machine, Memories, Report, Rest};
use crate::rounds::IN_FLIGHT;
use crate::servers::TOOLS;
use crate::stats::{Pair, Spread};

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claims = claims(&self.targets);
        let Machine { cpus, latency_cpu } = self.machine;
        let summary = format!(
            "Both on the same SDK, driven by the same client: {}. {cpus} CPUs; latencies on CPU {latency_cpu} alone, \
             everything else on all of them.",
            met(&claims)
        );
        let starts = [("`tools/list`", &self.start_ms.listed), ("the first call", &self.start_ms.called)]
            .map(|(what, times)| (format!("{what} answered"), times));
        let rates = TOOLS.iter().zip(&self.calls_per_second).map(|(name, rates)| ((*name).to_owned(), rates));
        let mut tables = vec![
            self.latencies(),
            of_sides(&format!("throughput, {IN_FLIGHT} in flight (calls/s)"), 0, rates.clone()),
            of_sides("from the start of the process (ms)", 1, starts.clone()),
        ];
        let mut left_out = Vec::new();
        match &self.memory {
            Ok(memory) => tables.push(memories(memory)),
            Err(why) => left_out.push(format!("memory: {why}")),
        }
        let profile = profile(&self.hello_us);
        tables.push(profile_table(&self.hello_us, &profile));
        tables.push(others([
            ("latency", shares(&self.latency_rounds)),
            ("throughput", shares(&self.throughput_rounds)),
        ]));
        let p50 = TOOLS.iter().zip(&self.latency_us).map(|(name, pair)| {
            ((*name).to_owned(), Pair { llmc: pair.llmc.p50.median, baseline: pair.baseline.p50.median })
        });
        Part {
            name: "bench-calls".into(),
            title: "Calls beside a plain in-process server".into(),
            summary,
            claims,
            tables,
            charts: vec![
                bars_of_pairs("p50 of a call, one in flight", "us", SIDES, p50),
                bars_of_pairs(
                    &format!("Calls per second, {IN_FLIGHT} in flight"),
                    "calls/s",
                    SIDES,
                    medians(rates),
                ),
                bars_of_pairs("From the start of the process", "ms", SIDES, medians(starts)),
                profile_chart(&profile),
                cpu_chart(&self.hello_us),
            ],
            left_out,
            ..Part::default()
        }
    }
}

impl Report {
    fn latencies(&self) -> Table {
        let mut rows = Vec::new();
        for (name, pair) in TOOLS.iter().zip(&self.latency_us) {
            for (side, summary) in SIDES.iter().zip([&pair.llmc, &pair.baseline]) {
                let percentiles = [summary.p90, summary.p99].map(|us| format!("{us:.1}"));
                rows.push(row(
                    format!("{name}, {side}"),
                    spread(&summary.p50, 1).into_iter().chain(percentiles),
                ));
            }
        }
        table("latency, 1 in flight (us)", &["", "p50 best", "median", "worst", "p90", "p99"], rows)
    }
}

/// Spreads of both sides, one below the other.
fn of_sides<'a>(
    title: &str,
    digits: usize,
    pairs: impl IntoIterator<Item = (String, &'a Pair<Spread>)>,
) -> Table {
    let rows = pairs.into_iter().flat_map(|(what, Pair { llmc, baseline })| {
        [(format!("{what}, {}", SIDES[0]), *llmc), (format!("{what}, {}", SIDES[1]), *baseline)]
    });
    spreads(title, digits, rows)
}

/// Medians of spreads.
pub(crate) fn medians<'a>(
    pairs: impl IntoIterator<Item = (String, &'a Pair<Spread>)>,
) -> impl Iterator<Item = (String, Pair<f64>)> {
    let medians = |pair: &Pair<Spread>| Pair { llmc: pair.llmc.median, baseline: pair.baseline.median };
    pairs.into_iter().map(move |(what, pair)| (what, medians(pair)))
}

fn memories(memories: &Memories) -> Table {
    let Memories { after_start, after_load } = memories;
    let kib = |memory: &Memory| [memory.pss_kib, memory.private_dirty_kib].map(|kib| kib.to_string());
    // Each side by itself: a process that has come or gone moves those after it.
    let llmc = after_start.llmc.iter().zip(&after_load.llmc);
    let rows = llmc.chain(after_start.baseline.iter().zip(&after_load.baseline));
    let rows = rows
        .map(|(before, after)| row(before.program.clone(), kib(before).into_iter().chain(kib(after))))
        .collect();
    table(
        "memory (KiB)",
        &["", "PSS after start", "private after start", "PSS after load", "private after load"],
        rows,
    )
}

/// What a `hello` call consists of, in the order of its way, in microseconds.
fn profile(times: &Breakdown) -> [(f64, &'static str, &'static str); 11] {
    let Rest { server, hosts, client, waiting } = times.rest;
    [
        (times.pipes, "pipes", "two processes and two pipes: the floor of any stdio server"),
        (times.sdk, "SDK", "SDK and runtime; up to here it is a call of the baseline"),
        (times.socket, "socket", "two processes and a socket: the floor of the hop to the host"),
        (
            times.async_hop,
            "task",
            "what that hop takes longer from a task on tokio than from a thread that blocks",
        ),
        (times.request_json, "arguments", "arguments checked and written"),
        (times.plugin_json, "plugin", "arguments read and result written, in the plugin"),
        (times.result_json, "result", "result read and checked"),
        (
            server,
            "server",
            "the rest, CPU time of the server: the call path, hand-overs between tasks and threads",
        ),
        (hosts, "hosts", "the rest, CPU time of its hosts: hand-overs between threads, beyond an echo"),
        (client, "client", "the rest, CPU time of the client: longer answers, further wake-ups"),
        (
            waiting,
            "waiting",
            "the rest, in nobody's CPU time: waiting; below 0 by what is done after the answer",
        ),
    ]
}

fn profile_table(times: &Breakdown, profile: &[(f64, &str, &str)]) -> Table {
    let share = |us: f64| format!("{:.0}%", us / times.total * 100.0);
    let mut rows: Vec<Vec<String>> = profile
        .iter()
        .chain(&[(times.total, "", "a call of llmc")])
        .map(|(us, _, what)| row(*what, [format!("{us:.2}"), share(*us)]))
        .collect();
    let Pair { llmc: cpu, baseline: baseline_cpu } = times.cpu_us;
    let Pair { llmc: switches, baseline: baseline_switches } = times.switches;
    for (what, number) in [
        ("the rest together", times.rest.sum()),
        ("CPU time of the server", times.server_cpu_us),
        ("CPU time of its hosts", cpu - times.server_cpu_us),
        ("CPU time of the baseline", baseline_cpu),
        ("thread switches of llmc (times)", switches),
        ("thread switches of the baseline (times)", baseline_switches),
    ] {
        rows.push(row(what, [format!("{number:.2}"), String::new()]));
    }
    table("where each microsecond of a `hello` call goes", &["", "us", "of the call"], rows)
}

fn profile_chart(profile: &[(f64, &str, &str)]) -> Chart {
    let (places, times) = profile.iter().map(|(us, short, _)| ((*short).to_owned(), *us)).unzip();
    bars("Where each microsecond of a hello call goes", "us", places, vec![("llmc", times)])
}

fn cpu_chart(times: &Breakdown) -> Chart {
    let hosts = times.cpu_us.llmc - times.server_cpu_us;
    let places = ["llmc, the server", "llmc, its hosts", "baseline"].map(str::to_owned).into();
    let values = vec![times.server_cpu_us, hosts, times.cpu_us.baseline];
    bars("CPU time of a hello call", "us", places, vec![("CPU time", values)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_the_profile_are_the_call() {
        let both = Pair { llmc: 30.0, baseline: 20.0 };
        let times = Breakdown {
            pipes: 10.0,
            sdk: 20.0,
            socket: 7.0,
            async_hop: 5.0,
            request_json: 1.0,
            plugin_json: 2.0,
            result_json: 3.0,
            rest: Rest { server: 8.0, hosts: 3.0, client: 2.0, waiting: -1.0 },
            total: 60.0,
            cpu_us: both,
            server_cpu_us: 18.0,
            switches: both,
        };
        let profile = profile(&times);
        let sum: f64 = profile.iter().map(|(us, ..)| us).sum();
        assert!((sum - times.total).abs() < 1e-9);
        assert_eq!(profile_chart(&profile).series[0].points.len(), profile.len());
        let cpu = &cpu_chart(&times).series[0].points;
        assert!((cpu[0].1 + cpu[1].1 - both.llmc).abs() < 1e-9, "{cpu:?}");
        let table = profile_table(&times, &profile);
        assert!(table.rows.iter().any(|row| row[0] == "a call of llmc" && row[2] == "100%"), "{table:?}");
    }
}
