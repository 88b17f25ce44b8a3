//! More and more tools: `hello`, the server's own `read_more` and the file tools, and the file tools again behind prefixes, denied down to the wanted
//! number. They are as large as real ones.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::curve::{Curve, Sweep};
use super::{Ground, config, plugins};
use crate::client::Client;
use crate::memory::of_one;
use crate::servers::{Running, Servers, TOOLS};
use crate::stats::Pair;
use crate::tokens::FS_TOOLS;
use crate::turns::turns;

pub(super) const X: &str = "tools";
pub(super) const P50: &str = "p50 of a call";

const COUNTS: [u64; 5] = [10, 30, 100, 300, 1000];

/// `hello` and `read_more`.
const OTHERS: usize = 2;

/// Lists of a slice.
const LISTS: usize = 10;

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let mut latency = Curve::new(P50, "us");
    let mut listing = Curve::new("p50 of `tools/list`", "us");
    let mut bytes = Curve::new("answer of `tools/list`", "KiB");
    let mut starts = Curve::new("start to `tools/list`", "ms");
    let mut memory = Curve::new("private memory of the server alone", "MiB");
    let mut left_out = Vec::new();
    for count in ground.plan.places(&COUNTS) {
        let wanted = usize::try_from(count)?;
        let servers = Servers::configured(ground.stage, |work| of_tools(work, wanted))?;
        ensure!(
            servers.tools.len() == wanted,
            "{} tools are listed instead of {wanted}",
            servers.tools.len()
        );
        let mut running = ground.pinned(|| servers.start())?;
        let (mut latencies, mut lists, mut started) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ground.plan.rounds {
            latencies.push(ground.pinned(|| plugins::p50(&mut running, ground.plan.slices))?);
            lists.push(ground.pinned(|| list(&mut running, ground.plan.slices))?);
            for _ in 0..ground.plan.starts {
                started.push(Pair {
                    llmc: start(&mut servers.calling())?,
                    baseline: start(&mut servers.baseline())?,
                });
            }
        }
        latency.add(count, &latencies);
        listing.add(count, &lists);
        starts.add(count, &started);
        let Pair { llmc, baseline } = running.clients.as_mut();
        let kib = |client: &mut Client| anyhow::Ok(client.list()?.1 as f64 / 1024.0);
        bytes.add(count, &[Pair { llmc: kib(llmc)?, baseline: kib(baseline)? }]);
        match private(&running) {
            Ok(mib) => memory.add(count, &[mib]),
            Err(error) => left_out = vec![format!("memory against {X}: {error:#}")],
        }
    }
    let mut curves = vec![latency, listing, bytes, starts];
    curves.extend(left_out.is_empty().then_some(memory));
    let note = format!(
        "`{}`, `read_more` and the file tools, {} to a plugin, again and again behind prefixes: 1,000 tools come from 72 plugins, a \
         process each; the baseline lists the same. p50 on one CPU, starts on all.",
        TOOLS[0],
        FS_TOOLS.len()
    );
    Ok(Sweep { x: X, note, curves, left_out })
}

fn of_tools(work: &Path, count: usize) -> String {
    let wanted = count - OTHERS;
    let copies = wanted.div_ceil(FS_TOOLS.len());
    let further = (1..copies).flat_map(|copy| FS_TOOLS.map(|name| format!("service{copy}_{name}")));
    // The one that is called comes first.
    let own = FS_TOOLS.iter().filter(|name| **name != TOOLS[1]).map(|name| (*name).to_owned());
    let all: Vec<String> = std::iter::once(TOOLS[1].to_owned()).chain(own).chain(further).collect();
    let denied = all.get(wanted..).unwrap_or_default();
    let mut text = format!("{}[policy]\ndeny = {denied:?}\n", config(work));
    for copy in 1..copies {
        // Nothing fails that writes to a string.
        let _ = writeln!(text, "[plugins.fs{copy}]\nlibrary = \"llmc_tools_fs\"\nprefix = \"service{copy}\"");
    }
    text
}

/// p50 of `tools/list`, in turns.
fn list(running: &mut Running, slices: usize) -> Result<Pair<f64>> {
    let Pair { llmc, baseline } = running.clients.as_mut();
    let [llmc, baseline] = turns(slices, LISTS, 1, |side| {
        let client = if side == 0 { &mut *llmc } else { &mut *baseline };
        Ok(client.list()?.0)
    })?;
    Ok(Pair { llmc: llmc.p50, baseline: baseline.p50 })
}

/// Milliseconds until the tools are listed.
fn start(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let mut client = Client::start(command)?;
    client.list()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// What nobody else has, in MiB.
fn private(running: &Running) -> Result<Pair<f64>> {
    let Pair { llmc, baseline } = &running.clients;
    let of = |client: &Client| anyhow::Ok(of_one(client.process())?.private_dirty_kib as f64 / 1024.0);
    Ok(Pair { llmc: of(llmc)?, baseline: of(baseline)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_wanted_number_are_denied() {
        for count in COUNTS.map(|count| count as usize) {
            let config = of_tools(Path::new("/work"), count);
            let plugins = config.matches("library = \"llmc_tools_fs\"").count();
            let deny = config.lines().find(|line| line.starts_with("deny = ")).unwrap();
            let denied = deny.matches('"').count() / 2;
            assert_eq!(OTHERS + plugins * FS_TOOLS.len() - denied, count);
            assert!(!deny.contains("\"read_file\""), "{deny}");
        }
        assert_eq!(of_tools(Path::new("/work"), 1000).matches("library = \"llmc_tools_fs\"").count(), 72);
    }
}
