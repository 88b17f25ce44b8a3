//! Every report turns itself into a part of the proof; what the terminal shows is made of that ([`crate::text`]).

use llmc_proof::{Chart, Claim, Part, Series, Shape, Table};
use serde::Serialize;

use crate::report::{Chosen, Target};
use crate::stats::{Pair, Spread};

/// What a benchmark came to.
pub(crate) trait Report: Serialize {
    /// All of it but what only its caller knows: the command, and when it ran.
    fn part(&self) -> Part;
}

/// The names of the two sides of a [`Pair`] where nothing else is said.
pub(crate) const SIDES: [&str; 2] = ["llmc", "baseline"];

/// Headings of [`spread`].
pub(crate) const SPREAD: [&str; 3] = ["best", "median", "worst"];

/// Most digits of a figure, behind its point.
const DIGITS: usize = 6;

impl Target {
    /// The target as a claim of the proof.
    pub(crate) fn claim(&self) -> Claim {
        let Self { what, unit, limit, at_least, met, context, .. } = self;
        let bound = if *at_least { "at least" } else { "at most" };
        Claim {
            what: what.clone(),
            expected: format!("{bound} {limit}{unit}"),
            seen: format!("{}{unit} ({context})", self.shown()),
            held: *met,
        }
    }

    /// The value, with as many digits as it takes that one which misses its limit is not shown as that limit.
    fn shown(&self) -> String {
        let misses = |text: &str| {
            text.parse::<f64>()
                .is_ok_and(|value| if self.at_least { value < self.limit } else { value > self.limit })
        };
        let mut texts = (2..DIGITS).map(|digits| format!("{:.digits$}", self.value));
        let text = texts.find(|text| self.met || misses(text));
        text.unwrap_or_else(|| format!("{:.DIGITS$}", self.value))
    }
}

/// Targets as claims.
pub(crate) fn claims(targets: &[Target]) -> Vec<Claim> {
    targets.iter().map(Target::claim).collect()
}

/// "5 of 6 targets are met", for the summary of a part.
pub(crate) fn met(claims: &[Claim]) -> String {
    let met = claims.iter().filter(|claim| claim.held).count();
    match claims.len() {
        0 => "nothing that has a target was measured".to_owned(),
        all => format!("{met} of {all} targets are met"),
    }
}

/// A table; each row has as many cells as there are columns.
pub(crate) fn table(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { title: title.to_owned(), note: String::new(), columns, rows }
}

/// A row of what was measured, and cells.
pub(crate) fn row(what: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(what.into()).chain(cells).collect()
}

/// Cells under [`SPREAD`].
pub(crate) fn spread(spread: &Spread, digits: usize) -> [String; 3] {
    [spread.best, spread.median, spread.worst].map(|number| format!("{number:.digits$}"))
}

/// A table of spreads: what, and best, median and worst.
pub(crate) fn spreads(title: &str, digits: usize, rows: impl IntoIterator<Item = (String, Spread)>) -> Table {
    let rows = rows.into_iter().map(|(what, times)| row(what, spread(&times, digits))).collect();
    table(title, &["", SPREAD[0], SPREAD[1], SPREAD[2]], rows)
}

/// Which share of the CPUs others took in each round.
pub(crate) fn others(rows: impl IntoIterator<Item = (&'static str, String)>) -> Table {
    let rows = rows.into_iter().map(|(what, shares)| row(what, [shares])).collect();
    let title = "CPU time that others took";
    Table {
        note: "In brackets: rounds that do not count.".to_owned(),
        ..table(title, &["", "each round"], rows)
    }
}

/// The shares of [`others`] in one cell.
pub(crate) fn shares<T>(chosen: &Chosen<T>) -> String {
    let each = chosen.foreign_shares.iter().zip(&chosen.counts).map(|(share, counts)| {
        let percent = format!("{:.0}%", share * 100.0);
        if *counts { percent } else { format!("[{percent}]") }
    });
    each.collect::<Vec<_>>().join(" ")
}

/// Bars: a value of each series for each place; what is no number is left out.
pub(crate) fn bars(title: &str, y_label: &str, places: Vec<String>, series: Vec<(&str, Vec<f64>)>) -> Chart {
    let series = series.into_iter().map(|(name, values)| {
        let points = values.into_iter().enumerate().filter(|(_, value)| value.is_finite());
        Series { name: name.to_owned(), points: points.map(|(place, value)| (place as f64, value)).collect() }
    });
    Chart {
        title: title.to_owned(),
        shape: Shape::Bar,
        y_label: y_label.to_owned(),
        places,
        series: series.collect(),
        ..Chart::default()
    }
}

/// Bars of both sides of pairs.
pub(crate) fn bars_of_pairs(
    title: &str,
    y_label: &str,
    names: [&str; 2],
    pairs: impl IntoIterator<Item = (String, Pair<f64>)>,
) -> Chart {
    let (places, pairs): (Vec<String>, Vec<Pair<f64>>) = pairs.into_iter().unzip();
    let side = |of: fn(&Pair<f64>) -> f64| pairs.iter().map(of).collect();
    let series = vec![(names[0], side(|pair| pair.llmc)), (names[1], side(|pair| pair.baseline))];
    bars(title, y_label, places, series)
}

/// Lines over numbers that grow by factors, on both axes.
pub(crate) fn lines(title: &str, labels: [&str; 2], series: Vec<(&str, Vec<(f64, f64)>)>) -> Chart {
    let is_drawable = |point: &(f64, f64)| point.0 > 0.0 && point.1 > 0.0 && point.1.is_finite();
    let series = series.into_iter().map(|(name, points)| Series {
        name: name.to_owned(),
        points: points.into_iter().filter(is_drawable).collect(),
    });
    Chart {
        title: title.to_owned(),
        x_label: labels[0].to_owned(),
        y_label: labels[1].to_owned(),
        log_x: true,
        log_y: true,
        series: series.collect(),
        ..Chart::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_becomes_a_claim_with_both_numbers() {
        let target = Target::at_most("p50".into(), 2.51, "x", 2.5, "5 us, baseline 2 us".into());
        let claim = target.claim();
        assert_eq!(claim.expected, "at most 2.5x");
        assert_eq!(claim.seen, "2.51x (5 us, baseline 2 us)");
        assert!(!claim.held);
        assert_eq!(met(&[claim]), "0 of 1 targets are met");
    }

    #[test]
    fn a_miss_does_not_look_like_its_limit() {
        let most = |value| Target::at_most(String::new(), value, "x", 0.25, String::new()).claim();
        let least = |value| Target::at_least(String::new(), value, "x", 0.5, String::new()).claim();
        assert_eq!((&*most(0.252).seen, &*least(0.499_6).seen), ("0.252x ()", "0.4996x ()"));
        assert_eq!((&*most(0.249).seen, &*least(0.501).seen), ("0.25x ()", "0.50x ()"));
        assert_eq!(most(f64::NAN).seen, "NaNx ()");
        assert!(!most(0.252).held && !least(0.499_6).held && most(0.249).held);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let chart = bars("t", "us", vec!["a".into(), "b".into()], vec![("s", vec![f64::NAN, 2.0])]);
        assert_eq!(chart.series[0].points, [(1.0, 2.0)]);
        let chart = lines("t", ["x", "y"], vec![("s", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])]);
        assert_eq!(chart.series[0].points, [(2.0, 3.0)]);
    }

    #[test]
    fn rounds_that_do_not_count_are_in_brackets() {
        let chosen = Chosen::new(vec![0.0, 0.5, 0.1, 0.1], |share| *share);
        assert_eq!(shares(&chosen), "0% [50%] 10% 10%");
    }
}
