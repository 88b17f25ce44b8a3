//! What came of the calls over HTTP, as ratios: numbers of one machine mean little on another.

use std::fmt;

use serde::Serialize;

use super::Outcome;

/// All servers and their tools.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    connections: usize,
    outcomes: Vec<Outcome>,
    /// What could not be measured, and why.
    missing: Vec<String>,
}

impl Report {
    pub(super) fn new(connections: usize, outcomes: Vec<Outcome>, missing: Vec<String>) -> Self {
        Self { connections, outcomes, missing }
    }

    /// No call failed.
    pub(crate) fn is_good(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.errors == 0)
    }

    /// llmc's calls of the same tool; of its first tool for servers with tools of their own.
    fn ours(&self, tool: &str) -> Option<&Outcome> {
        let mut ours = self.outcomes.iter().filter(|outcome| outcome.server == "llmc");
        ours.clone().find(|outcome| outcome.tool == tool).or_else(|| ours.next())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Streamable HTTP, {} clients at a time", self.connections)?;
        writeln!(
            formatter,
            "{:34} {:10} {:>9} {:>7} {:>9} {:>9} {:>9}  llmc/this: rate, p99",
            "server", "tool", "calls", "errors", "calls/s", "p50 us", "p99 us"
        )?;
        for outcome in &self.outcomes {
            let Outcome { server, tool, calls, errors, calls_per_second, latency_us } = outcome;
            let ratio = self.ours(tool).map_or((f64::NAN, f64::NAN), |ours| {
                (ours.calls_per_second / calls_per_second, ours.latency_us.p99 / latency_us.p99)
            });
            writeln!(
                formatter,
                "{server:34} {tool:10} {calls:>9} {errors:>7} {calls_per_second:>9.0} {:>9.0} {:>9.0}  {:.2}, {:.2}",
                latency_us.p50, latency_us.p99, ratio.0, ratio.1
            )?;
        }
        for missing in &self.missing {
            writeln!(formatter, "NOT MEASURED: {missing}")?;
        }
        Ok(())
    }
}
