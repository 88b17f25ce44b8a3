//! Memory of interpreters that wait, and of the one that they are forked from.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::memory::{Memory, of_one};
use crate::processes::{children, name, tree};

/// Name of the program that starts jails.
const RUNNER: &str = "llmc-runner";

/// The stock is full long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long nothing may have changed.
const CALM: Duration = Duration::from_millis(300);

/// Sums over processes in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sum {
    pub(super) processes: usize,
    pub(super) pss_kib: u64,
    pub(super) private_dirty_kib: u64,
}

/// What waits for a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pool {
    /// Jails that wait.
    pub(super) jails: usize,
    pub(super) runner: Sum,
    /// What they are forked from, with process 1 of its jail.
    pub(super) zygote: Sum,
    /// All that wait, two processes each.
    pub(super) parked: Sum,
}

impl Pool {
    /// The pool of a server, once it is idle.
    pub(super) fn of(server: u32) -> Result<Self> {
        let runner = runner(server)?;
        let zygote = zygote(runner, &settled(runner)?)?;
        let forked = tree(zygote)?;
        let own: Vec<u32> =
            tree(runner)?.into_iter().filter(|id| *id != runner && !forked[1..].contains(id)).collect();
        Ok(Self {
            jails: children(zygote)?.len(),
            runner: sum(&[runner])?,
            zygote: sum(&own)?,
            parked: sum(&forked[1..])?,
        })
    }

    pub(super) fn all(&self) -> Sum {
        self.runner.and(self.zygote).and(self.parked)
    }
}

impl Sum {
    fn and(self, other: Self) -> Self {
        Self {
            processes: self.processes + other.processes,
            pss_kib: self.pss_kib + other.pss_kib,
            private_dirty_kib: self.private_dirty_kib + other.private_dirty_kib,
        }
    }
}

/// The runner of a server.
pub(super) fn runner(server: u32) -> Result<u32> {
    let runner = children(server)?.into_iter().find(|child| name(*child).is_ok_and(|name| name == RUNNER));
    runner.with_context(|| format!("process {server} has no `{RUNNER}`"))
}

/// Everything below the runner, once that does not change any more.
fn settled(runner: u32) -> Result<Vec<u32>> {
    let begun = Instant::now();
    let (mut seen, mut since) = (tree(runner)?, Instant::now());
    while since.elapsed() < CALM {
        ensure!(begun.elapsed() < PATIENCE, "processes come and go although nothing runs");
        sleep(Duration::from_millis(20));
        let now = tree(runner)?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(seen)
}

/// What it forks is a process 1 with a child each: no other process but process 1 of its own jail has grandchildren,
/// and that one has a single child.
fn zygote(runner: u32, below: &[u32]) -> Result<u32> {
    let inits: BTreeSet<u32> = children(runner)?.into_iter().collect();
    for process in below.iter().filter(|process| **process != runner && !inits.contains(process)) {
        if tree(*process)?.len() > children(*process)?.len() + 1 {
            return Ok(*process);
        }
    }
    anyhow::bail!("no interpreter waits below process {runner}")
}

fn sum(processes: &[u32]) -> Result<Sum> {
    processes.iter().try_fold(Sum::default(), |sum, process| {
        let Memory { pss_kib, private_dirty_kib, .. } = of_one(*process)?;
        Ok(sum.and(Sum { processes: 1, pss_kib, private_dirty_kib }))
    })
}
