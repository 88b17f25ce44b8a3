//! More and more clients over HTTP, each over a connection of its own and with one call after the other.

use anyhow::{Context as _, Result, ensure};

use super::Ground;
use super::curve::{Curve, Sweep};
use crate::http::{Side, Sum, sides, turn};
use crate::stats::{Pair, Percentiles};

pub(super) const X: &str = "clients over HTTP";

const COUNTS: [u64; 5] = [1, 4, 16, 64, 256];
const MOST: usize = 256;

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (sides, _) = sides(ground.stage, MOST, None)?;
    let [llmc, baseline] = &sides[..] else { anyhow::bail!("there are {} servers, not two", sides.len()) };
    let mut curves = [
        Curve::new("throughput", "calls/s"),
        Curve::new("p50 of a call", "us"),
        Curve::new("p99 of a call", "us"),
    ];
    for count in ground.plan.places(&COUNTS) {
        let connections = usize::try_from(count)?;
        let mut rounds = Vec::new();
        for _ in 0..ground.plan.rounds {
            let called = |side: &Side| runtime.block_on(called(side, connections, ground));
            rounds.push(Pair { llmc: called(llmc)?, baseline: called(baseline)? });
        }
        for (number, curve) in curves.iter_mut().enumerate() {
            let of =
                |round: &Pair<[f64; 3]>| Pair { llmc: round.llmc[number], baseline: round.baseline[number] };
            curve.add(count, &rounds.iter().map(of).collect::<Vec<_>>());
        }
    }
    let note = "Calls of `hello` over HTTP, each client over a connection of its own, one call after the other, on all \
                CPUs; no call failed.";
    Ok(Sweep { x: X, note: note.to_owned(), curves: curves.into(), left_out: Vec::new() })
}

/// Calls per second, and p50 and p99 in microseconds.
async fn called(side: &Side, connections: usize, ground: Ground<'_>) -> Result<[f64; 3]> {
    let target = side.targets.first().context("the server has no tool to call")?;
    let mut sum = Sum::default();
    turn(target, connections, ground.plan.flood, &mut sum).await?;
    ensure!(sum.errors == 0, "{} of {} calls of {} failed", sum.errors, sum.calls + sum.errors, side.name);
    let Percentiles { p50, p99, .. } = Percentiles::of(sum.latencies_us);
    Ok([sum.calls as f64 / sum.time.as_secs_f64(), p50, p99])
}
