//! Start-up: from the start of the process to the answer of `tools/list`, which is when a client can begin, and to
//! the answer of the first call, for which llmc has to wait for a host.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::client::Client;
use crate::servers::{Servers, read_note};
use crate::stats::{Pair, Spread};

/// Milliseconds from the start of the process.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Starts {
    /// To the answer of `tools/list`.
    pub(crate) listed: Pair<Spread>,
    /// To the answer of a call after that.
    pub(crate) called: Pair<Spread>,
}

/// Starts each server `starts` times, in turns.
pub(crate) fn measure(servers: &Servers, starts: usize) -> Result<Starts> {
    let (mut listed, mut called) = (Pair::<Vec<f64>>::default(), Pair::<Vec<f64>>::default());
    // The first start of each finds its files outside the page cache.
    for start in 0..=starts {
        let (llmc, baseline) = (once(&mut servers.llmc(&[]))?, once(&mut servers.baseline())?);
        if start > 0 {
            listed.llmc.push(llmc[0]);
            listed.baseline.push(baseline[0]);
            called.llmc.push(llmc[1]);
            called.baseline.push(baseline[1]);
        }
    }
    let spread =
        |times: Pair<Vec<f64>>| Pair { llmc: Spread::of(times.llmc), baseline: Spread::of(times.baseline) };
    Ok(Starts { listed: spread(listed), called: spread(called) })
}

fn once(command: &mut Command) -> Result<[f64; 2]> {
    let begun = Instant::now();
    let mut client = Client::start(command)?;
    client.tools()?;
    let listed = begun.elapsed();
    read_note(&mut client)?;
    Ok([listed, begun.elapsed()].map(|time| time.as_secs_f64() * 1e3))
}
