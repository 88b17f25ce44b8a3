//! Which CPUs this process and the servers it starts may use, and how much of them others took.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::processes::{Usage, cpu_seconds};

/// The choice between one CPU and all of them. Servers inherit what holds when they are started.
pub(crate) struct Cpus {
    all: CpuSet,
    /// The one for latencies.
    pub(crate) chosen: usize,
}

impl Cpus {
    /// The last CPU is the one that interrupts and new processes visit least.
    pub(crate) fn choose(wanted: Option<usize>) -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu));
        let chosen = wanted.or(last).context("this process may use no CPU")?;
        Ok(Self { all, chosen })
    }

    pub(crate) fn count(&self) -> u32 {
        self.all.count()
    }

    /// From here on, the chosen CPU alone.
    pub(crate) fn pin(&self) -> Result<()> {
        let mut one = CpuSet::new();
        one.set(self.chosen);
        sched_setaffinity(None, &one).with_context(|| format!("failed to pin to CPU {}", self.chosen))
    }

    /// From here on, all of them again.
    pub(crate) fn unpin(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.all)?)
    }
}

/// Watches how much CPU time goes to processes other than the given ones.
pub(crate) struct Watch<'a> {
    own: &'a [u32],
    /// One CPU, or the whole machine.
    cpu: Option<usize>,
    begun: Instant,
    busy: f64,
    /// How their time is counted.
    count: Count,
    used: f64,
}

/// Seconds that processes and this one have used.
type Count = fn(&[u32]) -> Result<f64>;

impl<'a> Watch<'a> {
    pub(crate) fn start(cpu: Option<usize>, own: &'a [u32]) -> Result<Self> {
        Self::counting(cpu, own, used_seconds)
    }

    /// For processes whose threads or children end meanwhile. Less exact.
    pub(crate) fn start_in_ticks(cpu: Option<usize>, own: &'a [u32]) -> Result<Self> {
        Self::counting(cpu, own, used_ticks)
    }

    fn counting(cpu: Option<usize>, own: &'a [u32], count: Count) -> Result<Self> {
        Ok(Self { own, cpu, begun: Instant::now(), busy: busy_seconds(cpu)?, count, used: count(own)? })
    }

    /// The share of CPU time since the start that others took, between 0 and 1.
    ///
    /// The kernel counts the whole machine by sampling and a thread exactly, so a few percent mean nothing.
    pub(crate) fn foreign_share(&self, cpus: &Cpus) -> Result<f64> {
        let available =
            self.begun.elapsed().as_secs_f64() * self.cpu.map_or(f64::from(cpus.count()), |_| 1.0);
        let busy = busy_seconds(self.cpu)? - self.busy;
        let own = (self.count)(self.own)? - self.used;
        Ok(((busy - own) / available).clamp(0.0, 1.0))
    }
}

fn used_seconds(own: &[u32]) -> Result<f64> {
    let nanoseconds = Usage::of(own)?.cpu_ns + Usage::of(&[std::process::id()])?.cpu_ns;
    Ok(std::time::Duration::from_nanos(nanoseconds).as_secs_f64())
}

fn used_ticks(own: &[u32]) -> Result<f64> {
    own.iter().chain(&[std::process::id()]).map(|process| Ok(cpu_seconds(*process)?)).sum()
}

/// Time that a CPU, or all of them, was not idle; see `proc_stat(5)`.
pub(crate) fn busy_seconds(cpu: Option<usize>) -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let wanted = cpu.map_or("cpu".to_owned(), |cpu| format!("cpu{cpu}"));
    let line = text.lines().find_map(|line| line.strip_prefix(&wanted)?.strip_prefix(' '));
    let ticks: Vec<u64> = line
        .with_context(|| format!("`/proc/stat` has no line `{wanted}`"))?
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user nice system (idle iowait) irq softirq steal; the guest times that follow are part of user and nice.
    let busy: u64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, n)| n).sum();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_that_of_one_cpu_or_of_all() {
        let cpus = Cpus::choose(None).unwrap();
        let one = busy_seconds(Some(cpus.chosen)).unwrap();
        let all = busy_seconds(None).unwrap();
        assert!(one > 0.0 && all >= one, "{one} {all}");
        assert!(busy_seconds(Some(100_000)).is_err());
    }
}
