//! The report as text: ratios first, the numbers behind them below.

use std::fmt::{self, Display, Formatter};

use super::calls;
use super::report::Report;
use super::windows;
use crate::report::Machine;
use crate::stats::Spread;
use crate::table::numbers;

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "the file tools of llmc beside {}", list(&self.versions))?;
        let Machine { cpus, latency_cpu } = self.machine;
        writeln!(out, "{cpus} CPUs; calls and windows on CPU {latency_cpu} alone, searches on all of them")?;
        writeln!(out, "searched: {}\n", self.tree.display())?;
        for target in &self.targets {
            writeln!(out, "{target}")?;
        }
        for what in &self.missing {
            writeln!(out, "  {what}")?;
        }
        if !self.searches.is_empty() {
            writeln!(out, "\nthe whole search (ms)                        best   median    worst")?;
        }
        for case in &self.searches {
            row(out, case.name, "llmc", &case.times_ms.llmc)?;
            row(out, case.name, case.rival.names()[0], &case.times_ms.baseline)?;
        }
        if !self.calls_us.is_empty() {
            writeln!(out, "\np50 of calls, 1 in flight (us)               best   median    worst")?;
        }
        for (name, times) in calls::NAMES.iter().zip(&self.calls_us) {
            row(out, name, "llmc", &times.llmc)?;
            row(out, name, "peer", &times.baseline)?;
        }
        writeln!(out, "\np50 of windows of 4 KB, 1 in flight (us)     best   median    worst")?;
        for (name, times) in windows::NAMES.iter().zip(&self.windows_us) {
            row(out, name, "1 GiB", &times.large)?;
            row(out, name, "1 MiB", &times.small)?;
        }
        writeln!(out, "\nCPU time that others took (in brackets: rounds that do not count)")?;
        writeln!(out, "  searches    {}", self.search_rounds)?;
        writeln!(out, "  calls       {}", self.pinned_rounds)
    }
}

fn row(out: &mut Formatter<'_>, what: &str, side: &str, times: &Spread) -> fmt::Result {
    writeln!(out, "  {:<38}{}", format!("{what}, {side}"), numbers(times, 1))
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
    fn versions_are_listed() {
        let versions = ["rg 15", "fd 10", "peer 1"].map(str::to_owned);
        assert_eq!(list(&versions), "rg 15, fd 10 and peer 1");
        assert_eq!(list(&versions[..1]), "rg 15");
        assert_eq!(list(&[]), "nothing");
    }
}
