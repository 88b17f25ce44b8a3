//! The report as tables and charts: ratios first, the numbers behind them below.

use std::path::Path;

use llmc_proof::{Chart, Part, Table};

use super::calls;
use super::report::{Report, Searched};
use super::windows;
use crate::part::{bars_of_pairs, claims, met, others, shares, spreads};
use crate::report::Machine;
use crate::stats::{Pair, Spread};

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claims = claims(&self.targets);
        let Machine { cpus, latency_cpu } = self.machine;
        let summary = format!(
            "Beside {}: {}. {cpus} CPUs; calls and windows on CPU {latency_cpu} alone, searches on all of them, in \
             `{}`.",
            list(&self.versions),
            met(&claims),
            short(&self.tree)
        );
        let names = || calls::NAMES.iter().zip(&self.calls_us);
        let calls_us = names().flat_map(|(name, times)| pair(name, ["llmc", "peer"], times));
        let windows = windows::NAMES.iter().zip(&self.windows_us).flat_map(|(name, times)| {
            [(format!("{name}, 1 GiB"), times.large), (format!("{name}, 1 MiB"), times.small)]
        });
        let tables = [
            self.searched.table(),
            spreads("p50 of calls, 1 in flight (us)", 1, calls_us),
            spreads("p50 of windows of 4 KB, 1 in flight (us)", 1, windows),
            others([("searches", shares(&self.searched.rounds)), ("calls", shares(&self.pinned_rounds))]),
        ];
        let called = names().map(|(name, times)| ((*name).to_owned(), middle(times)));
        let charts = [
            self.searched.chart(),
            bars_of_pairs("p50 of calls, one in flight", "us", ["llmc", calls::PEER], called),
        ];
        Part {
            name: "bench-files".into(),
            title: "File tools beside ripgrep, fd and another server".into(),
            summary,
            claims,
            tables: tables.into_iter().filter(|table| !table.rows.is_empty()).collect(),
            charts: charts.into_iter().filter(|chart| !chart.places.is_empty()).collect(),
            left_out: self.searched.missing.clone(),
            ..Part::default()
        }
    }
}

impl Searched {
    pub(crate) fn table(&self) -> Table {
        let times = self
            .cases
            .iter()
            .flat_map(|case| pair(case.name, ["llmc", case.rival.names()[0]], &case.times_ms));
        spreads("the whole search (ms)", 1, times)
    }

    pub(crate) fn chart(&self) -> Chart {
        let times = self.cases.iter().map(|case| (case.name.to_owned(), middle(&case.times_ms)));
        bars_of_pairs("The whole search", "ms", ["llmc", "rg or fd"], times)
    }
}

fn middle(times: &Pair<Spread>) -> Pair<f64> {
    Pair { llmc: times.llmc.median, baseline: times.baseline.median }
}

/// The end of a path: where it begins differs from machine to machine.
fn short(tree: &Path) -> String {
    let names: Vec<_> = tree.iter().map(|name| name.to_string_lossy()).collect();
    names[names.len().saturating_sub(2)..].join("/")
}

/// Both sides of one thing.
fn pair(what: &str, sides: [&str; 2], times: &Pair<Spread>) -> [(String, Spread); 2] {
    [(format!("{what}, {}", sides[0]), times.llmc), (format!("{what}, {}", sides[1]), times.baseline)]
}

fn list(versions: &[String]) -> String {
    match versions {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_told_by_its_last_names() {
        assert_eq!(short(Path::new("/home/ada/.cargo/registry/src")), "registry/src");
        assert_eq!(short(Path::new("src")), "src");
    }

    #[test]
    fn versions_are_listed() {
        let versions = ["rg 15", "fd 10", "peer 1"].map(str::to_owned);
        assert_eq!(list(&versions), "rg 15, fd 10 and peer 1");
        assert_eq!(list(&versions[..1]), "rg 15");
        assert_eq!(list(&[]), "nothing");
    }
}
