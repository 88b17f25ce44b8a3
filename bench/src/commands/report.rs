//! From rounds to sentences, and whether the numbers are good enough.

use llmc_proof::Part;
use serde::Serialize;

use super::Round;
use super::jails::STEPS;
use super::sides::SIDES;
use crate::cpu::Cpus;
use crate::part::{bars, claims, met, others, row, shares, spreads, table};
use crate::report::{Chosen, Machine, Target};
use crate::stats::{Spread, median};

/// Most, as a ratio to `bwrap` with a weaker jail.
const MOST: f64 = 1.2;

/// Places in [`SIDES`].
const BARE: usize = 0;
const BWRAP: usize = 1;
const LLMC: usize = 2;
const HELLO: usize = 3;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    targets: Vec<Target>,
    /// What is not measured, and why.
    left_out: Vec<String>,
    /// Milliseconds in the order of [`SIDES`]; none for a program that is not there.
    sides_ms: [Option<Spread>; SIDES.len()],
    /// Median milliseconds of each layer.
    layers_ms: Vec<(String, f64)>,
    rounds: Chosen<Round>,
}

impl Report {
    pub(super) fn new(cpus: &Cpus, left_out: Vec<String>, rounds: Vec<Round>) -> Self {
        let rounds = Chosen::new(rounds, |round| round.foreign_share);
        let of = |side: usize| rounds.of(move |round| round.sides_us[side].unwrap_or(f64::NAN) / 1e3);
        let sides_ms =
            std::array::from_fn(|side| Some(Spread::of(of(side))).filter(|spread| spread.median.is_finite()));
        let ratio = |other: usize| {
            median(rounds.of(move |round| {
                let of = |side: usize| round.sides_us[side].unwrap_or(f64::NAN);
                of(LLMC) / of(other)
            }))
        };
        let bwrap =
            sides_ms[BWRAP].as_ref().zip(sides_ms[LLMC].as_ref()).map(|(bwrap, llmc): (&Spread, &Spread)| {
                let context = format!("{:.2} ms, `bwrap` {:.2} ms", llmc.median, bwrap.median);
                Target::at_most("p50 of run_command, beside `bwrap`".into(), ratio(BWRAP), "x", MOST, context)
            });
        Self {
            machine: Machine { cpus: cpus.count(), latency_cpu: cpus.chosen },
            targets: bwrap.into_iter().collect(),
            left_out,
            layers_ms: layers(&rounds),
            sides_ms,
            rounds,
        }
    }
}

/// What each layer adds, from the bare process outwards.
fn layers(rounds: &Chosen<Round>) -> Vec<(String, f64)> {
    let side =
        |number: usize| median(rounds.of(move |round| round.sides_us[number].unwrap_or(f64::NAN) / 1e3));
    let jail = |number: usize| median(rounds.of(move |round| round.jails_us[number] / 1e3));
    let mut layers = vec![("the program itself: fork, exec, exit".to_owned(), side(BARE))];
    let mut before = side(BARE);
    for (number, step) in STEPS.iter().enumerate() {
        layers.push(((*step).to_owned(), jail(number) - before));
        before = jail(number);
    }
    layers.push(("the way to a plugin and back, as of `hello`".into(), side(HELLO)));
    let rest = side(LLMC) - before - side(HELLO);
    layers.push(("the rest: request for a run, runner, pipes, output".into(), rest));
    layers.push(("`run_command`".into(), side(LLMC)));
    layers
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claims = claims(&self.targets);
        let Machine { cpus, latency_cpu } = self.machine;
        let summary = format!(
            "`run_command [\"true\"]` beside the bare program and `bwrap`: {}. {cpus} CPUs; everything on CPU \
             {latency_cpu} alone.",
            met(&claims)
        );
        let measured = || {
            SIDES.iter().zip(&self.sides_ms).filter_map(|(name, times)| Some(((*name).to_owned(), (*times)?)))
        };
        let layers =
            self.layers_ms.iter().map(|(what, ms)| row(what.clone(), [format!("{ms:.2}")])).collect();
        let (places, medians) = measured().map(|(name, times)| (name, times.median)).unzip();
        let (steps, added) =
            self.layers_ms.iter().take(self.layers_ms.len().saturating_sub(1)).cloned().unzip();
        Part {
            name: "bench-commands".into(),
            title: "Commands beside a bare process and bwrap".into(),
            summary,
            claims,
            tables: vec![
                spreads("p50, 1 in flight (ms)", 2, measured()),
                table("where the time of a command goes", &["", "ms"], layers),
                others([("", shares(&self.rounds))]),
            ],
            charts: vec![
                bars("p50 of true, one in flight", "ms", places, vec![("p50", medians)]),
                bars("Where the time of a command goes", "ms", steps, vec![("run_command", added)]),
            ],
            left_out: self.left_out.clone(),
            ..Part::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Report as _;

    fn round(bwrap: Option<f64>, llmc: f64) -> Round {
        Round {
            foreign_share: 0.0,
            sides_us: [Some(1000.0), bwrap, Some(llmc), Some(100.0)],
            jails_us: [3000.0, 3500.0, 3700.0, 4000.0],
        }
    }

    #[test]
    fn layers_add_up_to_the_whole() {
        let rounds = Chosen::new(vec![round(Some(5000.0), 5500.0)], |round| round.foreign_share);
        let layers = layers(&rounds);
        let (whole, parts) = layers.split_last().unwrap();
        let sum: f64 = parts.iter().map(|(_, ms)| ms).sum();
        assert!((whole.1 - 5.5).abs() < 1e-9 && (sum - whole.1).abs() < 1e-9, "{layers:?}");
        assert!((layers[1].1 - 2.0).abs() < 1e-9, "the jail without what the program takes: {layers:?}");
    }

    #[test]
    fn what_is_not_there_promises_nothing() {
        let cpus = Cpus::choose(None).unwrap();
        let report = Report::new(&cpus, vec!["bwrap: not measured".into()], vec![round(None, 5500.0)]);
        assert!(report.targets.is_empty() && report.part().held());
        assert_eq!(report.part().left_out, ["bwrap: not measured"]);
        let report = Report::new(&cpus, Vec::new(), vec![round(Some(4000.0), 5500.0)]);
        assert!(!report.part().held(), "{:?}", report.targets);
    }
}
