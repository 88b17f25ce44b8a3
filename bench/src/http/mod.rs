//! Measures calls over Streamable HTTP by many clients at a time, beside a plain server on rmcp and the reference server
//! for Node, and says whether one of them failed.
//!
//! - [`wire`]: a lean HTTP client.
//! - [`mod@sides`]: the servers.
//! - [`many`]: a thousand connections and more.
//! - [`report`]: what came of it.

mod many;
mod report;
mod sides;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

pub(crate) use self::report::Report;
pub(crate) use self::sides::NO_LIMIT;
pub(crate) use self::sides::{Side, sides};
pub(crate) use self::wire::{Address, Target, Wire};
use crate::peers::install::node_folder;
use crate::servers::locate;
use crate::stats::Percentiles;

/// How much is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// Clients that call at the same time, each over a connection of its own.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long each server is called, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Connections of which the memory is measured, and how calls fare among them; 0 for none. With `--quick`, the
    /// first number alone.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1000, 2000])]
    many: Vec<usize>,
    /// Folder in which `npm ci` has installed `bench/node`, for the reference server; without it, where
    /// `cargo xtask bench -- peers --install` has put it.
    #[arg(long, value_name = "DIR")]
    node: Option<PathBuf>,
}

/// Servers take turns of this length, so that what else the machine does hits all of them.
const TURN: Duration = Duration::from_secs(10);

/// What came of one tool of one server.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    server: String,
    tool: String,
    calls: u64,
    errors: u64,
    calls_per_second: f64,
    latency_us: Percentiles,
}

/// Calls so far.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) time: Duration,
    pub(crate) latencies_us: Vec<f64>,
}

/// Measures all servers.
///
/// # Errors
/// If one of them does not start, or does not answer as it should.
pub(crate) fn measure(stage: &Path, options: &Options, quick: bool) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let total = Duration::from_secs(if quick { options.seconds.min(6) } else { options.seconds });
    // Servers inherit the limit.
    let open_files = many::raise_open_files()?;
    let node = options.node.clone().or_else(|| node_folder(&locate(stage).ok()?));
    let (sides, mut missing) = sides(stage, options.connections, node.as_deref())?;
    let places: Vec<(usize, usize)> = sides
        .iter()
        .enumerate()
        .flat_map(|(side, known)| (0..known.targets.len()).map(move |target| (side, target)))
        .collect();
    let mut sums: Vec<Sum> = places.iter().map(|_| Sum::default()).collect();
    let each = |side: &Side| total / u32::try_from(side.targets.len()).unwrap_or(1);
    loop {
        let mut is_over = true;
        for ((side, target), sum) in places.iter().zip(&mut sums) {
            let left = each(&sides[*side]).saturating_sub(sum.time);
            if left.is_zero() {
                continue;
            }
            is_over = false;
            let target = &sides[*side].targets[*target];
            runtime.block_on(turn(target, options.connections, left.min(TURN), sum))?;
        }
        if is_over {
            break;
        }
    }
    let outcomes = places.iter().zip(sums).map(|((side, target), sum)| Outcome {
        server: sides[*side].name.clone(),
        tool: sides[*side].targets[*target].tool.clone(),
        calls: sum.calls,
        errors: sum.errors,
        calls_per_second: sum.calls as f64 / sum.time.as_secs_f64(),
        latency_us: Percentiles::of(sum.latencies_us),
    });
    let outcomes = outcomes.collect();
    // They would take their part of the processors, and of the memory that is measured next.
    drop(sides);
    let many = if quick { options.many.get(..1).unwrap_or_default() } else { options.many.as_slice() };
    let mut crowds = Vec::new();
    for connections in many.iter().copied().filter(|connections| *connections > 0) {
        match many::refusal(connections, open_files) {
            Some(why) => missing.push(why),
            None => crowds.extend(many::measure(stage, &runtime, connections, total)?),
        }
    }
    Ok(Report::new(options.connections, outcomes, crowds, missing))
}

/// Has all clients call one tool for a while, after each has called it once.
pub(crate) async fn turn(target: &Target, connections: usize, length: Duration, sum: &mut Sum) -> Result<()> {
    let clients = connect(target, connections).await?;
    drop(drive(clients, length, sum).await);
    Ok(())
}

/// So many clients, each of which has called the tool once.
async fn connect(target: &Target, connections: usize) -> Result<Vec<Wire>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = Wire::connect(target).await?;
        client.call().await.with_context(|| format!("a first call of `{}`", target.tool))?;
        clients.push(client);
    }
    Ok(clients)
}

/// Has clients call again and again for a while, and returns them. One whose call fails calls no more.
async fn drive(clients: Vec<Wire>, length: Duration, sum: &mut Sum) -> Vec<Wire> {
    let (is_over, errors) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for mut client in clients {
        let (is_over, errors) = (Arc::clone(&is_over), Arc::clone(&errors));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let called = Instant::now();
                if client.call().await.is_err() {
                    errors.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                latencies.push(called.elapsed().as_secs_f64() * 1e6);
            }
            (client, latencies)
        });
    }
    tokio::time::sleep(length).await;
    is_over.store(true, Ordering::Relaxed);
    let (clients, latencies): (Vec<Wire>, Vec<Vec<f64>>) = tasks.join_all().await.into_iter().unzip();
    let latencies = latencies.concat();
    sum.time += begun.elapsed();
    sum.calls += latencies.len() as u64;
    sum.errors += errors.load(Ordering::Relaxed);
    sum.latencies_us.extend(latencies);
    clients
}
