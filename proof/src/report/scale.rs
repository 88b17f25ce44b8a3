//! From values to places on an axis.

/// How many ticks an axis has, about.
const TICKS: f64 = 6.0;

/// An axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    /// An axis that holds all values, between two places of the picture. Those that it cannot show are left out: see
    /// [`Scale::shows`].
    pub(super) fn new(values: impl Iterator<Item = f64>, is_log: bool, (from, to): (f64, f64)) -> Self {
        let shown = values.filter(|value| value.is_finite() && (!is_log || *value > 0.0));
        let (low, high) = shown
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match low.is_finite() {
            true => (low, high),
            false => (1.0, 10.0),
        };
        let (low, high) = if is_log { decades(low, high) } else { rounded(low, high) };
        Self { low, high, is_log, from, to }
    }

    /// From this value to that one, whatever is round.
    pub(super) fn exactly(self, low: f64, high: f64) -> Self {
        Self { low, high, ..self }
    }

    /// Whether a value has a place.
    pub(super) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.is_log || value > 0.0)
    }

    /// Where a value is.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Where bars begin.
    pub(super) fn ground(&self) -> f64 {
        self.place(if self.is_log { self.low } else { self.low.max(0.0).min(self.high) })
    }

    /// Values with a line and a number.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = step(self.high - self.low);
            let count = ((self.high - self.low) / step).round();
            return (0..=count as u32).map(|index| self.low + f64::from(index) * step).map(clean).collect();
        }
        let decades = (self.high / self.low).log10();
        let between: &[f64] = if decades <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (decades / 8.0).ceil().max(1.0) as i32;
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let exponents = (first..=last).filter(|exponent| (exponent - first) % every == 0);
        let values =
            exponents.flat_map(|exponent| between.iter().map(move |part| part * 10f64.powi(exponent)));
        values.filter(|value| *value >= self.low * 0.999 && *value <= self.high * 1.001).collect()
    }
}

/// Takes away what adding up steps left behind.
fn clean(value: f64) -> f64 {
    if value.abs() < 1e-12 { 0.0 } else { value }
}

/// The next 1, 2 or 5 below and above.
fn decades(low: f64, high: f64) -> (f64, f64) {
    let nice = |value: f64, up: bool| {
        let base = 10f64.powf(value.log10().floor());
        let parts = [1.0, 2.0, 5.0, 10.0];
        let found = if up {
            parts.iter().find(|part| *part * base >= value * 0.999)
        } else {
            parts.iter().rev().find(|part| *part * base <= value * 1.001)
        };
        found.unwrap_or(&1.0) * base
    };
    let (low, high) = (nice(low, false), nice(high, true));
    if high > low { (low, high) } else { (low, low * 10.0) }
}

/// With zero, so that a flat line far above it does not look like a slope.
fn rounded(low: f64, high: f64) -> (f64, f64) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let high = if high > low { high } else { 1.0 };
    let step = step(high - low);
    ((low / step).floor() * step, (high / step).ceil() * step)
}

/// 1, 2 or 5 times a power of ten.
fn step(range: f64) -> f64 {
    let rough = range / TICKS;
    let base = 10f64.powf(rough.log10().floor());
    let part = [1.0, 2.0, 5.0].into_iter().find(|part| part * base >= rough * 0.999).unwrap_or(10.0);
    part * base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], is_log: bool) -> Vec<f64> {
        Scale::new(values.iter().copied(), is_log, (0.0, 100.0)).ticks()
    }

    #[test]
    fn axes_are_round() {
        assert_eq!(ticks(&[3.0, 97.0], false), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(&[-1.0, 1.0], false).first(), Some(&-1.0));
        assert_eq!(ticks(&[1.0, 10_000.0], true), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(ticks(&[16.0, 90.0], true), [10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn places_are_between_the_ends() {
        let log = Scale::new([1.0, 100.0].into_iter(), true, (0.0, 100.0));
        assert!((log.place(10.0) - 50.0).abs() < 1e-9);
        assert!(!log.shows(0.0) && !log.shows(f64::NAN) && log.shows(2.0));
        let flat = Scale::new([5.0, 5.0].into_iter(), false, (100.0, 0.0));
        assert!((0.0..=100.0).contains(&flat.place(5.0)));
        assert!((flat.ground() - 100.0).abs() < 1e-9, "bars stand on zero");
    }

    #[test]
    fn odd_values_still_give_an_axis() {
        for values in [&[][..], &[0.0], &[-5.0, -1.0], &[f64::NAN, f64::INFINITY], &[1e-9], &[1e18, 1.0]] {
            for is_log in [false, true] {
                let scale = Scale::new(values.iter().copied(), is_log, (0.0, 100.0));
                let ticks = scale.ticks();
                assert!((1..40).contains(&ticks.len()), "{values:?} {is_log}: {ticks:?}");
                assert!(ticks.iter().all(|tick| scale.place(*tick).is_finite()), "{values:?} {is_log}");
            }
        }
    }
}
