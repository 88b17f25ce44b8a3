//! What came of the calls over HTTP, as ratios: numbers of one machine mean little on another.

use llmc_proof::{Claim, Part, Table};
use serde::Serialize;

use super::Outcome;
use super::many::Crowd;
use crate::part::{bars, row, table};

/// Columns of the servers and their tools.
const COLUMNS: [&str; 8] =
    ["", "calls", "errors", "calls/s", "p50 us", "p99 us", "llmc/this: calls/s", "llmc/this: p99"];

/// All servers and their tools.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    connections: usize,
    outcomes: Vec<Outcome>,
    crowds: Vec<Crowd>,
    /// What could not be measured, and why.
    missing: Vec<String>,
}

impl Report {
    pub(super) fn new(
        connections: usize,
        outcomes: Vec<Outcome>,
        crowds: Vec<Crowd>,
        missing: Vec<String>,
    ) -> Self {
        Self { connections, outcomes, crowds, missing }
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

/// A claim that every call was answered.
fn answered(what: String, calls: u64, errors: u64) -> Claim {
    Claim {
        what,
        expected: "no errors".into(),
        seen: format!("{errors} errors in {calls} calls"),
        held: errors == 0 && calls > 0,
    }
}

impl Crowd {
    fn claim(&self) -> Claim {
        let Self { server, connections, calls, errors, .. } = self;
        let what =
            format!("every call of {connections} clients of {server} at a time is answered as it should");
        answered(what, *calls, *errors)
    }

    fn row(&self) -> Vec<String> {
        let memory = self.memory.as_ref().ok().map(|memory| {
            let [idle, busy] = memory.each(self.connections).map(|kib| format!("{kib:.1}"));
            [memory.alone.to_string(), idle, busy]
        });
        let memory = memory.unwrap_or_else(|| ["", "", ""].map(str::to_owned));
        let Self { among_idle_us, latency_us, calls_per_second, .. } = self;
        let measured =
            [among_idle_us.p50, among_idle_us.p99, *calls_per_second, latency_us.p50, latency_us.p99];
        let measured = measured.map(|number| format!("{number:.0}"));
        row(format!("{}, {}", self.server, self.connections), memory.into_iter().chain(measured))
    }
}

fn crowds(crowds: &[Crowd]) -> Table {
    let columns = [
        "",
        "private KiB with 1",
        "KiB each, idle",
        "KiB each, busy",
        "p50 us among idle",
        "p99 us",
        "calls/s of all",
        "p50 us",
        "p99 us of all",
    ];
    let note = "Private memory of the server's process, without what the kernel keeps for a socket. Idle: each connection \
                has called once. Among idle: one more client calls. Busy: all call at the same time.";
    let rows = crowds.iter().map(Crowd::row).collect();
    Table { note: note.to_owned(), ..table("many connections, `hello`", &columns, rows) }
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claim = |outcome: &Outcome| {
            let Outcome { server, tool, calls, errors, .. } = outcome;
            answered(format!("every call of {tool} of {server} is answered as it should"), *calls, *errors)
        };
        let mut tables = vec![table(
            "servers in turns",
            &COLUMNS,
            self.outcomes.iter().map(|outcome| self.row(outcome)).collect(),
        )];
        if !self.crowds.is_empty() {
            tables.push(crowds(&self.crowds));
        }
        let unseen = self.crowds.iter().find_map(|crowd| crowd.memory.as_ref().err());
        let unseen = unseen.map(|why| format!("memory of connections: {why}"));
        let places = self
            .outcomes
            .iter()
            .map(|outcome| format!("{}, {}", outcome.server, outcome.tool))
            .collect::<Vec<_>>();
        let of = |number: fn(&Outcome) -> f64| self.outcomes.iter().map(number).collect::<Vec<f64>>();
        Part {
            name: "bench-http".into(),
            title: "Calls over HTTP".into(),
            summary: format!(
                "Streamable HTTP, {} clients at a time, each over a connection of its own.",
                self.connections
            ),
            claims: self.outcomes.iter().map(claim).chain(self.crowds.iter().map(Crowd::claim)).collect(),
            tables,
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
            left_out: self.missing.iter().cloned().chain(unseen).collect(),
            ..Part::default()
        }
    }
}
