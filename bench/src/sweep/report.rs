//! What came of all sweeps, and what is promised of them.

use llmc_proof::{Claim, Part};
use serde::Serialize;

use super::curve::{Figure, Sweep};
use super::{in_flight, payload, plugins, tools};
use crate::part::{claims, met};
use crate::report::{Machine, Target};

/// Most by which a call may take longer, beside the baseline, when plugins or tools become many.
const MOST_GROWTH: f64 = 1.25;

/// Most that a call may take, beside the baseline, with names up to so many bytes.
const MOST: f64 = 2.5;
const SMALL_BYTES: u64 = 4 << 10;

/// Least calls per second, beside the baseline, with the most calls in flight.
const LEAST: f64 = 0.5;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// Of all CPUs, over the whole time.
    foreign_share: f64,
    sweeps: Vec<Sweep>,
    left_out: Vec<String>,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        foreign_share: f64,
        sweeps: Vec<Sweep>,
        left_out: Vec<String>,
    ) -> Self {
        Self { machine, foreign_share, sweeps, left_out }
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for sweep in &self.sweeps {
            targets.extend(growth(sweep));
            targets.extend(small(sweep));
            targets.extend(flood(sweep));
        }
        targets
    }
}

/// A call costs the same however many plugins or tools there are.
fn growth(sweep: &Sweep) -> Option<Target> {
    let curve = match sweep.x {
        plugins::X => sweep.curve(plugins::P50)?,
        tools::X => sweep.curve(tools::P50)?,
        _ => return None,
    };
    let ((few, first), (many, last)) = curve.points.first().zip(curve.points.last())?;
    let what = format!("p50 of a call beside the baseline, {many} {} beside {few}", sweep.x);
    let context = format!("{:.2} times the baseline, then {:.2} times", first.ratio, last.ratio);
    Some(Target::at_most(what, curve.growth()?, "x", MOST_GROWTH, context))
}

/// The worst of small payloads.
fn small(sweep: &Sweep) -> Option<Target> {
    let points = &sweep.curve(payload::P50).filter(|_| sweep.x == payload::X)?.points;
    let small = points.iter().filter(|(bytes, _)| *bytes <= SMALL_BYTES);
    let (bytes, worst) = small.max_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio))?;
    let what = format!("p50 of a call beside the baseline, names up to {SMALL_BYTES} bytes");
    Some(Target::at_most(what, worst.ratio, "x", MOST, format!("the worst, at {bytes} bytes")))
}

/// Many calls at a time.
fn flood(sweep: &Sweep) -> Vec<Target> {
    if sweep.x != in_flight::X {
        return Vec::new();
    }
    let last = |points: &[(u64, Figure)]| points.last().copied();
    let target = |(what, (count, figure)): (&str, (u64, Figure))| {
        let what = format!("calls/s of {what} beside the baseline, {count} in flight");
        let context = format!("{:.0}/s, baseline {:.0}/s", figure.llmc, figure.baseline);
        Target::at_least(what, figure.ratio, "x", LEAST, context)
    };
    let lasts = sweep.curves.iter().filter_map(|curve| Some((curve.what, last(&curve.points)?)));
    lasts.map(target).collect()
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let claims: Vec<Claim> = claims(&self.targets());
        let Machine { cpus, latency_cpu } = self.machine;
        let summary = format!(
            "What grows when there is more of something, beside a plain in-process server: {}. {cpus} CPUs, one call \
             at a time on CPU {latency_cpu} alone; others took {:.0}% of the CPUs.",
            met(&claims),
            self.foreign_share * 100.0
        );
        let left_out = self.sweeps.iter().flat_map(|sweep| &sweep.left_out).chain(&self.left_out);
        Part {
            name: "bench-sweep".into(),
            title: "What grows with payloads, plugins, tools and clients".into(),
            summary,
            claims,
            tables: self.sweeps.iter().filter(|sweep| !sweep.curves.is_empty()).map(Sweep::table).collect(),
            charts: self.sweeps.iter().flat_map(Sweep::charts).collect(),
            left_out: left_out.cloned().collect(),
            ..Part::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::Curve;
    use super::*;
    use crate::part::Report as _;
    use crate::stats::Pair;

    fn part(x: &'static str, what: &'static str, ratios: &[(u64, f64)]) -> Part {
        let mut curve = Curve::new(what, "us");
        for (place, ratio) in ratios {
            curve.add(*place, &[Pair { llmc: *ratio, baseline: 1.0 }]);
        }
        let sweep = Sweep { x, note: String::new(), curves: vec![curve], left_out: Vec::new() };
        let machine = Machine { cpus: 2, latency_cpu: 1 };
        Report::new(machine, 0.1, vec![sweep], Vec::new()).part()
    }

    #[test]
    fn a_call_may_not_grow_with_plugins_and_tools() {
        let of = |last| part(plugins::X, plugins::P50, &[(1, 2.0), (50, last)]);
        assert!(of(2.4).held() && !of(2.6).held());
        assert!(!part(tools::X, tools::P50, &[(10, 1.0), (1000, 2.0)]).held());
    }

    #[test]
    fn the_worst_small_payload_counts_and_no_large_one() {
        let of = |middle| part(payload::X, payload::P50, &[(16, 1.0), (4096, middle), (1 << 20, 9.0)]);
        assert!(of(2.5).held() && !of(2.6).held());
    }

    #[test]
    fn the_most_calls_in_flight_count() {
        let of = |last| part(in_flight::X, "hello", &[(1, 0.1), (256, last)]);
        assert!(of(0.5).held() && !of(0.4).held());
        assert_eq!(of(0.5).claims.len(), 1);
    }
}
