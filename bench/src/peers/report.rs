//! What came of it, and what is promised beside peers.

use llmc_proof::{Chart, Part, Table};
use serde::Serialize;

use super::reading::{Promise, Reading};
use super::running::{AT_A_TIME, Running};
use crate::files::Searched;
use crate::part::{bars, claims, met, others, row, shares, table};
use crate::report::{Machine, Target};
use crate::rounds::IN_FLIGHT;

/// Most, as a ratio to another server or program.
const MOST: f64 = 1.0;
/// Most, as a ratio to a bare interpreter.
const MOST_OF_PYTHON: f64 = 0.25;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) reading: Reading,
    pub(super) running: Option<Running>,
    pub(super) searching: Searched,
    /// What is not measured, and why.
    pub(super) left_out: Vec<String>,
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let mut targets = self.reading.targets();
        targets.extend(self.running.as_ref().map(Running::target));
        targets.extend(self.searching.targets());
        let claims = claims(&targets);
        let mut left_out = self.left_out.clone();
        let mut shares_of = vec![
            ("reading, one CPU", shares(&self.reading.pinned)),
            ("reading, all CPUs", shares(&self.reading.free)),
        ];
        if let Err(why) = &self.reading.pss_mib {
            left_out.push(format!("memory: {why}"));
        }
        let (mut tables, mut charts) = (vec![self.reading.table()], self.reading.charts());
        if let Some(running) = &self.running {
            left_out.extend(running.left_out.iter().cloned());
            tables.push(running.table());
            charts.extend(running.charts());
            shares_of.push(("running code", shares(&running.rounds)));
        }
        if !self.searching.cases.is_empty() {
            tables.push(self.searching.table());
            charts.push(self.searching.chart());
            shares_of.push(("searching", shares(&self.searching.rounds)));
        }
        tables.push(others(shares_of));
        let Machine { cpus, latency_cpu } = self.machine;
        Part {
            name: "bench-peers".into(),
            title: "Beside what people would use instead".into(),
            summary: format!(
                "Reading files beside {}, running code beside a bare interpreter and `bwrap`, searching beside ripgrep \
                 and fd, as far as they are installed: {}. {cpus} CPUs, one call at a time on CPU {latency_cpu} alone.",
                self.reading.names[1..].join(", "),
                met(&claims)
            ),
            claims,
            tables,
            charts,
            left_out,
            ..Part::default()
        }
    }
}

impl Reading {
    fn all(&self) -> std::ops::Range<usize> {
        0..self.names.len()
    }

    fn targets(&self) -> Vec<Target> {
        let promised = self.promises.iter().enumerate().map(|(other, promise)| match promise {
            Promise::Nothing => Vec::new(),
            Promise::Call => vec![self.call(other)],
            Promise::Everything => [self.call(other)].into_iter().chain(self.all_else(other)).collect(),
        });
        promised.flatten().collect()
    }

    fn call(&self, other: usize) -> Target {
        let [p50, ..] = self.ratios(other);
        let context = self.both(other, "us", |reader| self.latency(reader)[0]);
        Target::at_most(format!("p50 of reading 4 KB, beside {}", self.names[other]), p50, "x", MOST, context)
    }

    fn all_else(&self, other: usize) -> Vec<Target> {
        let (name, [_, rate, start]) = (&self.names[other], self.ratios(other));
        let rates = self.both(other, "calls/s", |reader| self.rate(reader));
        let starts = self.both(other, "ms", |reader| self.start(reader)[0]);
        let mut targets = vec![
            Target::at_least(format!("calls/s of reading 4 KB, beside {name}"), rate, "x", MOST, rates),
            Target::at_most(format!("start to `tools/list`, beside {name}"), start, "x", MOST, starts),
        ];
        if let Ok(memory) = &self.pss_mib {
            let context = self.both(other, "MiB", |reader| memory[reader]);
            let ratio = memory[0] / memory[other];
            targets.push(Target::at_most(format!("memory, beside {name}"), ratio, "x", MOST, context));
        }
        targets
    }

    /// A number of llmc, and the same of another.
    fn both(&self, other: usize, unit: &str, of: impl Fn(usize) -> f64) -> String {
        format!("{:.1} {unit}, it {:.1} {unit}", of(0), of(other))
    }

    fn table(&self) -> Table {
        let rows = self.all().map(|reader| {
            let [[listed, read], [p50, p99]] = [self.start(reader), self.latency(reader)];
            let memory = self.pss_mib.as_ref().ok().and_then(|memory| memory.get(reader));
            let times = [listed, read, p50, p99].map(|time| format!("{time:.1}"));
            let rate = format!("{:.0}", self.rate(reader));
            let memory = memory.map_or(String::new(), |mib| format!("{mib:.1}"));
            row(self.names[reader].clone(), times.into_iter().chain([rate, memory]))
        });
        let columns =
            ["", "start to list (ms)", "to first file (ms)", "p50 (us)", "p99 (us)", "calls/s", "PSS (MiB)"];
        let note = format!(
            "llmc with its three default plugins and the runner. p50 and p99 with one call in flight on one CPU; \
             calls/s with {IN_FLIGHT} in flight on all; PSS of all processes after that load."
        );
        Table { note, ..table("reading a file of 4 KB", &columns, rows.collect()) }
    }

    fn charts(&self) -> Vec<Chart> {
        let of = |value: &dyn Fn(usize) -> f64| self.all().map(value).collect::<Vec<_>>();
        let names = || self.names.clone();
        let starts = vec![
            ("tools/list", of(&|reader| self.start(reader)[0])),
            ("first file", of(&|reader| self.start(reader)[1])),
        ];
        let latencies = vec![
            ("p50", of(&|reader| self.latency(reader)[0])),
            ("p99", of(&|reader| self.latency(reader)[1])),
        ];
        let rates = vec![("calls/s", of(&|reader| self.rate(reader)))];
        let mut charts = vec![
            bars("From the start of a server", "ms", names(), starts),
            bars("Reading 4 KB, one in flight", "us", names(), latencies),
            bars(&format!("Reading 4 KB, {IN_FLIGHT} in flight"), "calls/s", names(), rates),
        ];
        if let Ok(memory) = &self.pss_mib {
            charts.push(bars("Memory of a server", "MiB", names(), vec![("PSS", memory.clone())]));
        }
        charts
    }
}

impl Running {
    fn target(&self) -> Target {
        let context = format!("{:.2} ms, bare python3 {:.2} ms", self.p50_ms(0), self.p50_ms(1));
        Target::at_most(
            "p50 of print(1), beside bare python3".into(),
            self.ratio(1),
            "x",
            MOST_OF_PYTHON,
            context,
        )
    }

    fn table(&self) -> Table {
        let rows = self.names.iter().enumerate().map(|(way, name)| {
            let ratio = format!("{:.2}", self.ratio(way));
            row(
                name.clone(),
                [format!("{:.2}", self.p50_ms(way)), ratio, format!("{:.0}", self.per_second(way))],
            )
        });
        let rate = format!("runs/s, {AT_A_TIME} at a time");
        let note = "p50 with one at a time and a pause before each, on one CPU; `bwrap` with the directories that a \
                    command of llmc sees, without system call filter, Landlock and limits.";
        let columns = ["", "p50 (ms)", "llmc/this", rate.as_str()];
        Table { note: note.to_owned(), ..table("running print(1)", &columns, rows.collect()) }
    }

    fn charts(&self) -> [Chart; 2] {
        let ways = 0..self.names.len();
        let times = ways.clone().map(|way| self.p50_ms(way)).collect();
        let rates = ways.map(|way| self.per_second(way)).collect();
        [
            bars("print(1), one at a time", "ms", self.names.clone(), vec![("p50", times)]),
            bars(
                &format!("print(1), {AT_A_TIME} at a time"),
                "runs/s",
                self.names.clone(),
                vec![("runs/s", rates)],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::{FreeRound, PinnedRound};
    use super::*;
    use crate::report::Chosen;
    use crate::stats::Percentiles;

    /// llmc, a plain server, the reference server, the one in Rust.
    fn reading(p50: [f64; 4], memory: Result<Vec<f64>, String>) -> Reading {
        let latency_us = p50.map(|p50| Percentiles { p50, p90: p50, p99: p50 }).into();
        let free = FreeRound {
            foreign_share: 0.0,
            calls_per_second: vec![2.0, 4.0, 1.0, 9.0],
            start_ms: vec![[1.0; 2]; 4],
        };
        let pinned = PinnedRound { foreign_share: 0.0, latency_us };
        Reading {
            names: ["llmc", "plain", "Node", "Rust"].map(str::to_owned).into(),
            promises: vec![Promise::Nothing, Promise::Nothing, Promise::Everything, Promise::Call],
            pss_mib: memory,
            pinned: Chosen::new(vec![pinned], |round| round.foreign_share),
            free: Chosen::new(vec![free], |round| round.foreign_share),
        }
    }

    #[test]
    fn everything_counts_beside_the_reference_and_the_call_beside_rust() {
        let met = |reading: &Reading| reading.targets().iter().map(|target| target.met).collect::<Vec<_>>();
        let memory = || Ok(vec![10.0, 1.0, 50.0, 1.0]);
        assert_eq!(met(&reading([5.0, 1.0, 6.0, 4.0], memory())), [true, true, true, true, false]);
        assert_eq!(met(&reading([5.0, 1.0, 4.0, 6.0], memory())), [false, true, true, true, true]);
        let unseen = reading([5.0, 1.0, 6.0, 4.0], Err("be root".into()));
        assert_eq!(unseen.targets().len(), 4, "what cannot be seen promises nothing");
        assert!(unseen.table().rows.iter().all(|row| row[6].is_empty()));
        assert_eq!(unseen.charts().len(), 3);
    }
}
