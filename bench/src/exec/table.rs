//! The report as tables and charts: targets first, the numbers behind them below.

use llmc_proof::{Part, Table};

use super::pool::{Pool, Sum};
use super::report::Report;
use crate::part::{SPREAD, bars_of_pairs, claims, met, others, row, shares, spread, spreads, table};
use crate::report::Machine;
use crate::stats::Pair;

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claims = [claims(&self.targets), self.claims_of_outputs().into()].concat();
        let Machine { cpus, latency_cpu } = self.machine;
        let summary = format!(
            "Beside a bare {}: {}. {cpus} CPUs; starts and call-backs on CPU {latency_cpu} alone, everything else on \
             all of them.",
            self.engine,
            met(&claims)
        );
        let mut left_out = self.left_out.clone();
        let mut tables = vec![self.starts(), self.rates(), self.callbacks()];
        match &self.pool {
            Ok(pool) => tables.push(pool.table()),
            Err(why) => left_out.push(format!("memory: {why}")),
        }
        if !self.storms.is_empty() {
            let gone = self
                .storms
                .iter()
                .map(|storm| (format!("{}, {:.0} processes", storm.name, storm.processes), storm.gone_ms));
            tables.push(spreads("from cancelled to gone (ms)", 1, gone));
        }
        tables.push(others([
            ("on one CPU", shares(&self.pinned_rounds)),
            ("on all", shares(&self.free_rounds)),
        ]));
        let started = self.starts.iter().map(|start| {
            let Pair { llmc, baseline } = &start.p50_ms;
            (start.name.to_owned(), Pair { llmc: llmc.median, baseline: baseline.median })
        });
        let sides = ["llmc", "bare python3"];
        Part {
            name: "bench-exec".into(),
            title: "Running code beside a bare interpreter".into(),
            summary,
            claims,
            tables,
            charts: vec![bars_of_pairs("p50 of print(1), one in flight", "ms", sides, started)],
            left_out,
            ..Part::default()
        }
    }
}

impl Report {
    fn starts(&self) -> Table {
        let rows = self.starts.iter().flat_map(|start| {
            let Pair { llmc, baseline } = &start.p50_ms;
            let of = |side: &str, times, ratio| {
                row(format!("{}, {side}", start.name), spread(times, 2).into_iter().chain([ratio]))
            };
            [of("llmc", llmc, format!("{:.2}", start.ratio)), of("bare python3", baseline, String::new())]
        });
        let columns = ["", SPREAD[0], SPREAD[1], SPREAD[2], "ratio"];
        table("p50 of `print(1)`, 1 in flight (ms)", &columns, rows.collect())
    }

    fn rates(&self) -> Table {
        let rows = self.rates.iter().map(|rate| {
            let cells = spread(&rate.per_second, 0).into_iter().chain([format!("{:.2}", rate.cpu_ms)]);
            row(format!("{} in flight", rate.in_flight), cells)
        });
        let columns = ["", SPREAD[0], SPREAD[1], SPREAD[2], "CPU ms each"];
        table("runs per second", &columns, rows.collect())
    }

    fn callbacks(&self) -> Table {
        let rows = ["on one CPU", "on all of them"].into_iter().zip(self.callback_us);
        let rows = rows.map(|(what, times)| row(what, times.map(|us| format!("{us:.1}"))));
        table("a call-back, timed by the code (us)", &["", "p50", "p99"], rows.collect())
    }
}

impl Pool {
    fn table(&self) -> Table {
        let each = |kib: u64| kib / (self.jails as u64).max(1);
        let one = Sum {
            processes: 2,
            pss_kib: each(self.parked.pss_kib),
            private_dirty_kib: each(self.parked.private_dirty_kib),
        };
        let parked = format!("{} interpreters that wait", self.jails);
        let rows = [
            ("the runner", self.runner),
            ("what they are forked from", self.zygote),
            (parked.as_str(), self.parked),
            ("all", self.all()),
            ("each that waits", one),
        ];
        let rows = rows.map(|(name, Sum { processes, pss_kib, private_dirty_kib })| {
            row(name, [processes.to_string(), pss_kib.to_string(), private_dirty_kib.to_string()])
        });
        table("memory of an idle pool (KiB)", &["", "processes", "PSS", "private"], rows.into())
    }
}
