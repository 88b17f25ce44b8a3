//! Numbers about numbers.

use serde::{Deserialize, Serialize};

/// The same thing of both servers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pair<T> {
    pub(crate) llmc: T,
    pub(crate) baseline: T,
}

impl<T> Pair<T> {
    pub(crate) fn as_mut(&mut self) -> Pair<&mut T> {
        Pair { llmc: &mut self.llmc, baseline: &mut self.baseline }
    }
}

/// Latencies of one round in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN);
        Self { p50: at(50), p90: at(90), p99: at(99) }
    }
}

/// Best, median and worst of all rounds; for a rate, best is the highest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) best: f64,
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

impl Spread {
    /// Of values of which less is better.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { best: at(0), median: at(values.len() / 2), worst: at(values.len().saturating_sub(1)) }
    }

    /// Of values of which more is better.
    pub(crate) fn of_rates(values: impl IntoIterator<Item = f64>) -> Self {
        let Self { best, median, worst } = Self::of(values);
        Self { best: worst, median, worst: best }
    }
}

/// The value in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).median
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let Percentiles { p50, p90, p99 } = Percentiles::of((0..100).rev().map(f64::from).collect());
        assert_eq!((p50, p90, p99), (50.0, 90.0, 99.0));
        assert_eq!(Percentiles::of(vec![7.0]).p99, 7.0);
    }

    #[test]
    fn the_best_rate_is_the_highest() {
        let spread = Spread::of_rates([2.0, 3.0, 1.0]);
        assert_eq!((spread.best, spread.median, spread.worst), (3.0, 2.0, 1.0));
        assert!(median([]).is_nan());
    }
}
