//! Calls of `hello` with names of more and more bytes. The answer holds the name twice, as text and as structured
//! content.

use anyhow::Result;
use serde_json::json;

use super::curve::{Curve, Sweep};
use super::{Ground, config};
use crate::client::{Call, Client, PIPE_BYTES};
use crate::rounds::IN_FLIGHT;
use crate::servers::{Running, Servers};
use crate::stats::Pair;
use crate::turns::{SLICE, turns};

pub(super) const X: &str = "bytes of the name";
pub(super) const P50: &str = "p50 of a call";

const SIZES: [u64; 10] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// Most bytes of the names of a slice; it has at least [`FEWEST`] calls.
const SLICE_BYTES: usize = 2 << 20;
const FEWEST: usize = 3;

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let servers = Servers::configured(ground.stage, config)?;
    let mut pinned = ground.pinned(|| servers.start())?;
    let mut free = servers.start()?;
    let mut latency = Curve::new(P50, "us");
    let mut throughput = Curve::new("throughput", "calls/s");
    for size in ground.plan.places(&SIZES) {
        let bytes = usize::try_from(size)?;
        let (on_one, on_all) = (calls(&mut pinned, bytes)?, calls(&mut free, bytes)?);
        let (mut latencies, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..ground.plan.rounds {
            latencies.push(ground.pinned(|| p50(&mut pinned, &on_one, bytes, ground.plan.slices))?);
            let Pair { llmc, baseline } = free.clients.as_mut();
            let flood =
                |client: &mut Client, call: &Call| client.flood(call, in_flight(bytes), ground.plan.flood);
            rates.push(Pair {
                llmc: flood(llmc, &on_all.llmc)?,
                baseline: flood(baseline, &on_all.baseline)?,
            });
        }
        latency.add(size, &latencies);
        throughput.add(size, &rates);
    }
    let note = format!(
        "Calls of `hello`, whose answer holds the name twice. p50 with one call in flight on one CPU; throughput on \
         all, with {IN_FLIGHT} calls in flight as long as their names fit in a pipe of {PIPE_BYTES} bytes, with fewer \
         above."
    );
    Ok(Sweep { x: X, note, curves: vec![latency, throughput], left_out: Vec::new() })
}

fn calls(running: &mut Running, bytes: usize) -> Result<Pair<Call>> {
    let arguments = json!({"name": "x".repeat(bytes)});
    let prepare = |client: &mut Client| anyhow::Ok(client.prepare("hello", &arguments, "Hello, x")?.0);
    let Pair { llmc, baseline } = running.clients.as_mut();
    Ok(Pair { llmc: prepare(llmc)?, baseline: prepare(baseline)? })
}

fn p50(running: &mut Running, calls: &Pair<Call>, bytes: usize, slices: usize) -> Result<Pair<f64>> {
    let slice = slice(bytes);
    let Pair { llmc, baseline } = running.clients.as_mut();
    let [llmc, baseline] = turns(slices, slice, slice.div_ceil(10), |side| match side {
        0 => llmc.call(&calls.llmc),
        _ => baseline.call(&calls.baseline),
    })?;
    Ok(Pair { llmc: llmc.p50, baseline: baseline.p50 })
}

fn slice(bytes: usize) -> usize {
    (SLICE_BYTES / bytes).clamp(FEWEST, SLICE)
}

/// The client writes all requests before it reads an answer, so more than fits in a pipe could wait for ever.
fn in_flight(bytes: usize) -> usize {
    (PIPE_BYTES / bytes).clamp(1, IN_FLIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_have_fewer_calls() {
        assert_eq!((slice(16), slice(1 << 20), slice(4 << 20)), (SLICE, FEWEST, FEWEST));
        assert_eq!((in_flight(16), in_flight(4 << 10), in_flight(4 << 20)), (IN_FLIGHT, 16, 1));
    }
}
