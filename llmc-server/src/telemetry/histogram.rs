//! Durations, counted in buckets without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in microseconds: from a quarter of a millisecond, below which no call of a plugin ends, to the
/// default of `limits.call_timeout_ms`.
const BOUNDS_US: [u64; 18] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];

/// Buckets with the one for everything longer.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Counts durations; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// The counts at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: std::array::from_fn(|bucket| self.0.buckets[bucket].load(Ordering::Relaxed)),
            sum_us: self.0.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl Snapshot {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came since an earlier moment.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| {
                self.buckets[bucket].saturating_sub(before.buckets[bucket])
            }),
            sum_us: self.sum_us.saturating_sub(before.sum_us),
        }
    }

    /// Both together.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket] + other.buckets[bucket]),
            sum_us: self.sum_us.saturating_add(other.sum_us),
        }
    }

    /// The duration below which this share of all stayed, in microseconds, as far as buckets tell: within the bucket
    /// it is taken to grow evenly. None without any.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = share * count as f64;
        let mut before = 0.0;
        for (bucket, many) in self.buckets.iter().enumerate() {
            let many = *many as f64;
            if many > 0.0 && before + many >= wanted {
                let low = if bucket == 0 { 0 } else { BOUNDS_US[bucket - 1] };
                // Of what is longer than every bound only that is known.
                let high = BOUNDS_US.get(bucket).copied().unwrap_or(low);
                let part = ((wanted - before) / many).clamp(0.0, 1.0);
                return Some(low + ((high - low) as f64 * part) as u64);
            }
            before += many;
        }
        BOUNDS_US.last().copied()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.snapshot();
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(counts.sum_us as f64 / 1e6, counts.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations_us: &[u64]) -> Histogram {
        let histogram = Histogram::default();
        durations_us.iter().for_each(|micros| histogram.observe(Duration::from_micros(*micros)));
        histogram
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let counts = of(&[0, 250, 251, u64::MAX / 2]).snapshot();
        assert_eq!(counts.buckets[..2], [2, 1]);
        assert_eq!(counts.buckets[BUCKETS - 1], 1);
        assert_eq!(counts.count(), 4);
    }

    #[test]
    fn quantiles_lie_in_the_right_bucket() {
        let counts = of(&[[300; 90].as_slice(), &[40_000; 10]].concat()).snapshot();
        let (median, slow) = (counts.quantile_us(0.5).unwrap(), counts.quantile_us(0.95).unwrap());
        assert!((250..=500).contains(&median), "{median}");
        assert!((25_000..=50_000).contains(&slow), "{slow}");
        assert_eq!(Snapshot::default().quantile_us(0.5), None);
        assert_eq!(of(&[u64::MAX / 2]).snapshot().quantile_us(0.5), Some(120_000_000));
    }

    #[test]
    fn differences_and_sums_are_of_all_buckets() {
        let histogram = of(&[10, 10_000]);
        let before = histogram.snapshot();
        histogram.observe(Duration::from_millis(3));
        let new = histogram.snapshot().since(&before);
        assert_eq!(new, of(&[3_000]).snapshot());
        assert_eq!(before.plus(&new), histogram.snapshot());
    }
}
