//! A thousand connections and more: what each costs the server while it is idle and while it calls, and how calls fare
//! among them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::sides::{Side, sides};
use super::wire::Wire;
use super::{Sum, connect, drive};
use crate::memory::of_one;
use crate::stats::Percentiles;

/// Descriptors that client and server need beside connections.
const OTHER_DESCRIPTORS: u64 = 512;

/// Calls before the first look at the memory: what a server keeps for good, it has by then.
const WARM_UP: usize = 500;
/// Calls of one more client while all others are idle.
const AMONG_IDLE: usize = 500;

/// The longest that all connections are busy.
const BUSY: Duration = Duration::from_secs(5);

/// What so many connections are to a server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Crowd {
    pub(super) server: String,
    pub(super) connections: usize,
    /// Private memory of the server's process, or why it cannot be seen.
    pub(super) memory: Result<Memory, String>,
    /// Of the calls of one more client while all others are idle.
    pub(super) among_idle_us: Percentiles,
    /// Of the calls of all of them.
    pub(super) latency_us: Percentiles,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) calls_per_second: f64,
}

/// KiB that nobody else has.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    /// With one connection.
    pub(super) alone: u64,
    /// With all of them, each of which has called once.
    pub(super) idle: u64,
    /// With all of them, right after all have called again and again.
    pub(super) busy: u64,
}

impl Memory {
    /// KiB of each connection, idle and busy.
    pub(super) fn each(self, connections: usize) -> [f64; 2] {
        let each = |all: u64| (all as f64 - self.alone as f64) / connections as f64;
        [each(self.idle), each(self.busy)]
    }
}

/// Lets this process, and the servers that it starts, have as many open files as the hard limit allows.
///
/// # Errors
/// If the kernel refuses what it should not.
pub(super) fn raise_open_files() -> Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("the limit on open files cannot be raised to its hard limit")?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Why so many connections are not measured, with as many open files as there may be.
pub(super) fn refusal(connections: usize, open_files: u64) -> Option<String> {
    let needed = (connections as u64).saturating_add(OTHER_DESCRIPTORS);
    (open_files < needed).then(|| {
        format!(
            "{connections} connections: the hard limit on open files is {open_files} (`ulimit -Hn`); they need {needed}"
        )
    })
}

/// Measures servers of their own with so many connections, one server after the other.
///
/// # Errors
/// If one does not start, or refuses a first call.
pub(super) fn measure(
    stage: &Path,
    runtime: &Runtime,
    connections: usize,
    most: Duration,
) -> Result<Vec<Crowd>> {
    let (sides, _) = sides(stage, connections, None)?;
    let crowds = sides.iter().map(|side| {
        let crowd = runtime.block_on(crowd(side, connections, most.min(BUSY)));
        crowd.with_context(|| format!("{connections} connections to {}", side.name))
    });
    crowds.collect()
}

async fn crowd(side: &Side, connections: usize, length: Duration) -> Result<Crowd> {
    let target = side.targets.first().context("the server has no tool to call")?;
    let memory = || Ok(of_one(side.process())?.private_dirty_kib);
    let mut one = Wire::connect(target).await?;
    calls(&mut one, WARM_UP).await?;
    let alone = memory();
    let clients = connect(target, connections).await?;
    let idle = memory();
    let among_idle_us = calls(&mut one, AMONG_IDLE).await?;
    let mut sum = Sum::default();
    let clients = drive(clients, length, &mut sum).await;
    let busy = memory();
    drop(clients);
    Ok(Crowd {
        server: side.name.clone(),
        connections,
        memory: of_three([alone, idle, busy]).map_err(|error| format!("{error:#}")),
        among_idle_us,
        calls: sum.calls,
        errors: sum.errors,
        calls_per_second: sum.calls as f64 / sum.time.as_secs_f64(),
        latency_us: Percentiles::of(sum.latencies_us),
    })
}

fn of_three([alone, idle, busy]: [Result<u64>; 3]) -> Result<Memory> {
    Ok(Memory { alone: alone?, idle: idle?, busy: busy? })
}

/// So many calls of one client, one after the other.
async fn calls(client: &mut Wire, count: usize) -> Result<Percentiles> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        client.call().await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Percentiles::of(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_said_with_both_numbers() {
        assert_eq!(refusal(1000, 20_000), None);
        assert_eq!(refusal(1000, 1512), None);
        let why = refusal(2000, 1024).unwrap();
        assert!(why.contains("1024") && why.contains("2512"), "{why}");
    }

    #[test]
    fn a_connection_has_its_part_of_what_came_with_all_of_them() {
        let memory = Memory { alone: 5000, idle: 9000, busy: 4000 };
        assert_eq!(memory.each(1000), [4.0, -1.0]);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let most = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), most);
    }
}
