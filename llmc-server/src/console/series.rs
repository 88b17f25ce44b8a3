//! The last half hour, in points.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::audit::now_ms;
use crate::telemetry::METRICS;
use crate::telemetry::metrics::Totals;

/// Time of a point.
pub(crate) const STEP: Duration = Duration::from_secs(5);

/// Half an hour.
const POINTS: usize = 360;

/// Calls that ended within a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    /// The end of the step, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    pub(crate) ok: u64,
    /// Those that were not let through.
    pub(crate) refused: u64,
    /// Those that went wrong.
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
}

/// The points.
pub(crate) struct Series {
    points: Mutex<VecDeque<Point>>,
}

impl Series {
    /// Begins to make points, as long as somebody holds the series.
    pub(crate) fn begin() -> Arc<Self> {
        let series = Arc::new(Self { points: Mutex::default() });
        let weak = Arc::downgrade(&series);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(STEP);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut before = METRICS.totals();
            // The first tick is at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(series) = weak.upgrade() else { return };
                let now = METRICS.totals();
                series.add(point(&before, &now));
                before = now;
            }
        });
        series
    }

    pub(crate) fn points(&self) -> Vec<Point> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn add(&self, point: Point) {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        if points.len() == POINTS {
            points.pop_front();
        }
        points.push_back(point);
    }
}

fn point(before: &Totals, now: &Totals) -> Point {
    let durations = now.durations.since(&before.durations);
    let ms = |share| durations.quantile_us(share).map(|micros| micros as f64 / 1e3);
    Point {
        time_ms: now_ms(),
        ok: now.ok.saturating_sub(before.ok),
        refused: now.refused.saturating_sub(before.refused),
        failed: now.failed.saturating_sub(before.failed),
        p50_ms: ms(0.5),
        p95_ms: ms(0.95),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_bounded_and_count_what_came_since() {
        let series = Series { points: Mutex::default() };
        let (before, now) =
            (Totals { ok: 3, ..Totals::default() }, Totals { ok: 5, failed: 1, ..Totals::default() });
        for _ in 0..POINTS + 5 {
            series.add(point(&before, &now));
        }
        let points = series.points();
        assert_eq!(points.len(), POINTS);
        assert_eq!((points[0].ok, points[0].refused, points[0].failed), (2, 0, 1));
        assert_eq!(points[0].p50_ms, None);
    }
}
