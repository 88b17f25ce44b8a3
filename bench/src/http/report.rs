//! What came of the calls over HTTP, as ratios: numbers of one machine mean little on another.

use llmc_proof::{Claim, Part};
use serde::Serialize;

use super::Outcome;
use crate::part::{bars, row, table};

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

    /// llmc's calls of the same tool; of its first tool for servers with tools of their own.
    fn ours(&self, tool: &str) -> Option<&Outcome> {
        let mut ours = self.outcomes.iter().filter(|outcome| outcome.server == "llmc");
        ours.clone().find(|outcome| outcome.tool == tool).or_else(|| ours.next())
    }

    fn row(&self, outcome: &Outcome) -> Vec<String> {
        let Outcome { server, tool, calls, errors, calls_per_second, latency_us } = outcome;
        let (rate, p99) = self.ours(tool).map_or((f64::NAN, f64::NAN), |ours| {
            (ours.calls_per_second / calls_per_second, ours.latency_us.p99 / latency_us.p99)
        });
        let counted = [calls.to_string(), errors.to_string()];
        let measured =
            [*calls_per_second, latency_us.p50, latency_us.p99].map(|number| format!("{number:.0}"));
        let ratios = [rate, p99].map(|ratio| format!("{ratio:.2}"));
        row(format!("{server}, {tool}"), counted.into_iter().chain(measured).chain(ratios))
    }
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claim = |outcome: &Outcome| Claim {
            what: format!("every call of {} of {} is answered as it should", outcome.tool, outcome.server),
            expected: "no errors".into(),
            seen: format!("{} errors in {} calls", outcome.errors, outcome.calls),
            held: outcome.errors == 0 && outcome.calls > 0,
        };
        let places = self
            .outcomes
            .iter()
            .map(|outcome| format!("{}, {}", outcome.server, outcome.tool))
            .collect::<Vec<_>>();
        let of = |number: fn(&Outcome) -> f64| self.outcomes.iter().map(number).collect::<Vec<f64>>();
        let columns =
            ["", "calls", "errors", "calls/s", "p50 us", "p99 us", "llmc/this: calls/s", "llmc/this: p99"];
        Part {
            name: "bench-http".into(),
            title: "Calls over HTTP".into(),
            summary: format!(
                "Streamable HTTP, {} clients at a time, each over a connection of its own.",
                self.connections
            ),
            claims: self.outcomes.iter().map(claim).collect(),
            tables: vec![table(
                "servers in turns",
                &columns,
                self.outcomes.iter().map(|outcome| self.row(outcome)).collect(),
            )],
            charts: vec![
                bars(
                    "Calls per second",
                    "calls/s",
                    places.clone(),
                    vec![("calls/s", of(|outcome| outcome.calls_per_second))],
                ),
                bars(
                    "Latency",
                    "us",
                    places,
                    vec![
                        ("p50", of(|outcome| outcome.latency_us.p50)),
                        ("p99", of(|outcome| outcome.latency_us.p99)),
                    ],
                ),
            ],
            left_out: self.missing.clone(),
            ..Part::default()
        }
    }
}
