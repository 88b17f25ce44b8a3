//! More and more calls under way at the same time over one connection: one client, stdin and stdout.

use anyhow::Result;

use super::curve::{Curve, Sweep};
use super::{Ground, config};
use crate::client::{Call, Client};
use crate::servers::{Servers, TOOLS};
use crate::stats::Pair;

pub(super) const X: &str = "calls in flight";

const COUNTS: [u64; 5] = [1, 4, 16, 64, 256];

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let servers = Servers::configured(ground.stage, config)?;
    let mut free = servers.start()?;
    let mut curves = vec![Curve::new("hello", "calls/s"), Curve::new("read_file of 4 KB", "calls/s")];
    for count in ground.plan.places(&COUNTS) {
        let in_flight = usize::try_from(count)?;
        for (tool, curve) in curves.iter_mut().enumerate().take(TOOLS.len()) {
            let mut rates = Vec::new();
            for _ in 0..ground.plan.rounds {
                let Pair { llmc, baseline } = free.clients.as_mut();
                let flood =
                    |client: &mut Client, call: &Call| client.flood(call, in_flight, ground.plan.flood);
                rates.push(Pair {
                    llmc: flood(llmc, &free.calls.llmc[tool])?,
                    baseline: flood(baseline, &free.calls.baseline[tool])?,
                });
            }
            curve.add(count, &rates);
        }
    }
    let note = "Calls per second of one client over stdin and stdout, on all CPUs.".to_owned();
    Ok(Sweep { x: X, note, curves, left_out: Vec::new() })
}
