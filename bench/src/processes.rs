//! Processes as `/proc` shows them: who started whom, and what they cost.

use std::fs;
use std::io::{Error, Result};
use std::path::Path;

/// A process and all that it started, in the order of their ids.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may have ended since the folder was read.
        if let Some(parent) = parent(id) {
            parents.push((id, parent));
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&process) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(id, _)| *id));
        next += 1;
    }
    tree[1..].sort_unstable();
    Ok(tree)
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything, see `proc_pid_stat(5)`.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The name of a program, as the kernel keeps it.
pub(crate) fn name(process: u32) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{process}/comm"))?.trim_end().to_owned())
}

/// What processes have used since they started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a CPU in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// How often the kernel switched away from one of their threads.
    pub(crate) switches: u64,
}

impl Usage {
    /// Of all threads that these processes have now; one that ends takes its share along.
    pub(crate) fn of(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let thread = thread?.path();
                // A thread that has ended since the folder was read is no longer counted.
                if let (Ok(cpu_ns), Ok(switches)) = (cpu_ns(&thread), switches(&thread)) {
                    sum.cpu_ns += cpu_ns;
                    sum.switches += switches;
                }
            }
        }
        Ok(sum)
    }
}

fn cpu_ns(thread: &Path) -> Result<u64> {
    let text = fs::read_to_string(thread.join("schedstat"))?;
    let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| Error::other("`schedstat` is not what sched-stats.rst describes"))
}

fn switches(thread: &Path) -> Result<u64> {
    let text = fs::read_to_string(thread.join("status"))?;
    let counts = text.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
    Ok(counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_its_own_root_and_costs_something() {
        let own = std::process::id();
        assert_eq!(tree(own).unwrap()[0], own);
        assert!(tree(parent(own).unwrap()).unwrap().contains(&own));
        assert!(Usage::of(&[own]).unwrap().cpu_ns > 0);
    }
}
