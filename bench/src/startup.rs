//! Start-up: from the start of the process to the answer of `tools/list`, which is when a client can begin.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::client::Client;
use crate::servers::Servers;
use crate::stats::{Pair, Spread};

/// Milliseconds of `starts` starts of each server, in turns.
pub(crate) fn measure(servers: &Servers, starts: usize) -> Result<Pair<Spread>> {
    let mut times = Pair::<Vec<f64>>::default();
    // The first start of each finds its files outside the page cache.
    for start in 0..=starts {
        let (llmc, baseline) = (once(&mut servers.llmc(&[]))?, once(&mut servers.baseline())?);
        if start > 0 {
            times.llmc.push(llmc);
            times.baseline.push(baseline);
        }
    }
    Ok(Pair { llmc: Spread::of(times.llmc), baseline: Spread::of(times.baseline) })
}

fn once(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let mut client = Client::start(command)?;
    client.tools()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
