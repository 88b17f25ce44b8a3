//! Numbers of both sides over a number that grows.

use llmc_proof::{Chart, Table};
use serde::Serialize;

use crate::part::{lines, row, table};
use crate::stats::{Pair, median};

/// The sides in charts.
const SIDES: [&str; 2] = ["llmc", "in-process rmcp"];

/// Everything that was measured while one thing grew.
#[derive(Debug, Serialize)]
pub(super) struct Sweep {
    /// What grows, with its unit.
    pub(super) x: &'static str,
    /// How it was measured.
    pub(super) note: String,
    pub(super) curves: Vec<Curve>,
    /// What could not be measured, and why.
    pub(super) left_out: Vec<String>,
}

/// One thing that was measured at each place.
#[derive(Debug, Serialize)]
pub(super) struct Curve {
    pub(super) what: &'static str,
    unit: &'static str,
    pub(super) points: Vec<(u64, Figure)>,
}

/// Medians over the rounds: of both sides, and of the ratios within a round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) llmc: f64,
    pub(super) baseline: f64,
    pub(super) ratio: f64,
}

impl Figure {
    fn of(rounds: &[Pair<f64>]) -> Self {
        Self {
            llmc: median(rounds.iter().map(|round| round.llmc)),
            baseline: median(rounds.iter().map(|round| round.baseline)),
            ratio: median(rounds.iter().map(|round| round.llmc / round.baseline)),
        }
    }
}

impl Curve {
    pub(super) fn new(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, points: Vec::new() }
    }

    /// Adds a place with what was measured in its rounds.
    pub(super) fn add(&mut self, x: u64, rounds: &[Pair<f64>]) {
        self.points.push((x, Figure::of(rounds)));
    }

    /// How the ratio to the baseline changes from the first place to the last.
    pub(super) fn growth(&self) -> Option<f64> {
        let ((_, first), (_, last)) = self.points.first().zip(self.points.last())?;
        Some(last.ratio / first.ratio)
    }

    fn chart(&self, x: &str) -> Chart {
        let side = |of: fn(&Figure) -> f64| {
            self.points.iter().map(|(x, figure)| (*x as f64, of(figure))).collect::<Vec<_>>()
        };
        let series = vec![(SIDES[0], side(|figure| figure.llmc)), (SIDES[1], side(|figure| figure.baseline))];
        lines(&format!("{} against {x}", self.what), [x, self.unit], series)
    }
}

impl Sweep {
    pub(super) fn curve(&self, what: &str) -> Option<&Curve> {
        self.curves.iter().find(|curve| curve.what == what)
    }

    /// A row for each place; of each curve, llmc's number and its ratio to that of the baseline.
    pub(super) fn table(&self) -> Table {
        let headings = self
            .curves
            .iter()
            .flat_map(|curve| [format!("{} ({})", curve.what, curve.unit), "ratio".to_owned()]);
        let places = self.curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x));
        let mut places: Vec<u64> = places.collect();
        places.sort_unstable();
        places.dedup();
        let rows = places.into_iter().map(|place| {
            let cells =
                self.curves.iter().flat_map(|curve| match curve.points.iter().find(|(x, _)| *x == place) {
                    Some((_, figure)) => [short(figure.llmc), format!("{:.2}x", figure.ratio)],
                    None => [String::new(), String::new()],
                });
            row(place.to_string(), cells)
        });
        let mut made = table(&format!("against {}", self.x), &[self.x], rows.collect());
        made.columns.extend(headings);
        made.note.clone_from(&self.note);
        made
    }

    pub(super) fn charts(&self) -> impl Iterator<Item = Chart> {
        self.curves.iter().map(|curve| curve.chart(self.x))
    }
}

/// Three digits or more: enough for numbers of any size.
fn short(number: f64) -> String {
    match number {
        _ if number.abs() >= 100.0 => format!("{number:.0}"),
        _ if number.abs() >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(llmc: f64, baseline: f64) -> Pair<f64> {
        Pair { llmc, baseline }
    }

    #[test]
    fn growth_is_that_of_the_ratio() {
        let mut curve = Curve::new("p50", "us");
        assert!(curve.growth().is_none());
        curve.add(1, &[pair(2.0, 1.0), pair(40.0, 20.0), pair(2.0, 1.0)]);
        curve.add(50, &[pair(6.0, 2.0)]);
        assert!((curve.growth().unwrap() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_place_that_one_curve_lacks_stays_empty() {
        let mut curves = vec![Curve::new("p50", "us"), Curve::new("memory", "MiB")];
        curves[0].add(1, &[pair(2.0, 1.0)]);
        curves[0].add(5, &[pair(250.0, 100.0)]);
        curves[1].add(5, &[pair(12.34, 1.0)]);
        let sweep = Sweep { x: "plugins", note: "n".into(), curves, left_out: Vec::new() };
        let table = sweep.table();
        assert_eq!(table.columns.len(), 5);
        assert_eq!(table.rows, [["1", "2.00", "2.00x", "", ""], ["5", "250", "2.50x", "12.3", "12.34x"]]);
        assert_eq!(sweep.charts().count(), 2);
    }
}
