//! More and more clients over stdin and stdout: each has a server of its own.

use anyhow::Result;

use super::curve::{Curve, Sweep};
use super::plugins::pss;
use super::{Ground, config};
use crate::servers::{Running, Servers};
use crate::stats::Pair;

pub(super) const X: &str = "clients over stdio";

const COUNTS: [u64; 5] = [1, 2, 4, 8, 16];

pub(super) fn measure(ground: Ground<'_>) -> Result<Sweep> {
    let servers = Servers::configured(ground.stage, config)?;
    let mut memory = Curve::new("PSS of all processes", "MiB");
    let mut running: Vec<Running> = Vec::new();
    let mut left_out = Vec::new();
    for count in ground.plan.places(&COUNTS) {
        while running.len() < usize::try_from(count)? {
            running.push(servers.start()?);
        }
        match running.iter().map(pss).collect::<Result<Vec<_>>>() {
            Ok(each) => {
                let sum = |of: fn(&Pair<f64>) -> f64| each.iter().map(of).sum();
                memory
                    .add(count, &[Pair { llmc: sum(|pair| pair.llmc), baseline: sum(|pair| pair.baseline) }]);
            }
            Err(error) => left_out = vec![format!("memory against {X}: {error:#}")],
        }
    }
    let note = "A server for each client, with the file tools and `hello`; pages that they share are divided among \
                them.";
    let curves = left_out.is_empty().then_some(memory).into_iter().collect();
    Ok(Sweep { x: X, note: note.to_owned(), curves, left_out })
}
