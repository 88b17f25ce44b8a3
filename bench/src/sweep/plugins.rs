//! More and more plugins: copies of `hello` behind prefixes, a host each, beside the file tools.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use super::curve::{Curve, Sweep};
use super::{Ground, config};
use crate::client::Client;
use crate::memory;
use crate::servers::{Running, Servers};
use crate::stats::Pair;
use crate::turns::latencies;

pub(super) const X: &str = "plugins";
pub(super) const P50: &str = "p50 of a call";

const COUNTS: [u64; 6] = [1, 2, 5, 10, 20, 50];

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let mut latency = Curve::new(P50, "us");
    let mut listed = Curve::new("start to `tools/list`", "ms");
    let mut answered = Curve::new("start until every plugin has answered", "ms");
    let mut memory = Curve::new("PSS of all processes", "MiB");
    let mut left_out = Vec::new();
    for count in ground.plan.places(&COUNTS) {
        let servers = Servers::configured(ground.stage, |work| of_plugins(work, count))?;
        let tools = names(count);
        let mut running = ground.pinned(|| servers.start())?;
        let (mut latencies, mut starts) = (Vec::new(), Vec::new());
        for _ in 0..ground.plan.rounds {
            latencies.push(ground.pinned(|| p50(&mut running, ground.plan.slices))?);
            for _ in 0..ground.plan.starts {
                starts.push(Pair {
                    llmc: start(&mut servers.calling(), &tools)?,
                    baseline: start(&mut servers.baseline(), &tools)?,
                });
            }
        }
        latency.add(count, &latencies);
        for (curve, number) in [(&mut listed, 0), (&mut answered, 1)] {
            let of =
                |start: &Pair<[f64; 2]>| Pair { llmc: start.llmc[number], baseline: start.baseline[number] };
            curve.add(count, &starts.iter().map(of).collect::<Vec<_>>());
        }
        match pss(&running) {
            Ok(mib) => memory.add(count, &[mib]),
            Err(error) => left_out = vec![format!("memory against {X}: {error:#}")],
        }
    }
    let mut curves = vec![latency, listed, answered];
    curves.extend(left_out.is_empty().then_some(memory));
    let note = "Copies of `hello` behind prefixes, beside the file tools, a jailed process each; the baseline lists the \
                same tools in its own. p50 with one call in flight on one CPU, everything else on all of them.";
    Ok(Sweep { x: X, note: note.to_owned(), curves, left_out })
}

fn of_plugins(work: &Path, count: u64) -> String {
    let mut text = config(work);
    for number in 2..=count {
        // Nothing fails that writes to a string.
        let _ = writeln!(text, "[plugins.hello{number}]\nlibrary = \"hello\"\nprefix = \"n{number}\"");
    }
    text
}

/// A tool of each plugin.
fn names(count: u64) -> Vec<String> {
    let first = std::iter::once("hello".to_owned());
    first.chain((2..=count).map(|number| format!("n{number}_hello"))).collect()
}

/// p50 of `hello`, in turns.
pub(super) fn p50(running: &mut Running, slices: usize) -> Result<Pair<f64>> {
    let Pair { llmc, baseline } = running.clients.as_mut();
    let [llmc, baseline] = latencies(slices, |side| match side {
        0 => llmc.call(&running.calls.llmc[0]),
        _ => baseline.call(&running.calls.baseline[0]),
    })?;
    Ok(Pair { llmc: llmc.p50, baseline: baseline.p50 })
}

/// Milliseconds until the tools are listed, and until each of these has answered.
fn start(command: &mut Command, tools: &[String]) -> Result<[f64; 2]> {
    let begun = Instant::now();
    let mut client = Client::start(command)?;
    let count = client.tools()?.len();
    let listed = begun.elapsed();
    ensure!(count >= tools.len(), "{count} tools are listed, which is too few for {} plugins", tools.len());
    for tool in tools {
        client.prepare(tool, &json!({"name": "Ada"}), "Hello, Ada!")?;
    }
    Ok([listed, begun.elapsed()].map(|time| time.as_secs_f64() * 1e3))
}

/// What both servers have for themselves and their part of what is shared, in MiB.
pub(super) fn pss(running: &Running) -> Result<Pair<f64>> {
    let Pair { llmc, baseline } = &running.clients;
    let of = |client: &Client| memory::pss_mib(client.process());
    Ok(Pair { llmc: of(llmc)?, baseline: of(baseline)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_has_a_tool_of_its_own() {
        let config = of_plugins(Path::new("/work"), 3);
        assert_eq!(config.matches("library = \"hello\"").count(), 3);
        assert_eq!(names(3), ["hello", "n2_hello", "n3_hello"]);
    }
}
