//! Processes as `/proc` shows them: who started whom, and what they cost.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// A process and all that it started, in the order of their ids.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    Ok(tree_of(root, &parents()?))
}

fn tree_of(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&process) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(id, _)| *id));
        next += 1;
    }
    tree[1..].sort_unstable();
    tree
}

/// All processes, each with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may have ended since the folder was read.
        if let Some(parent) = parent(id) {
            parents.push((id, parent));
        }
    }
    Ok(parents)
}

/// The processes that one has started and that are still there.
pub(crate) fn children(process: u32) -> Result<Vec<u32>> {
    Ok(tree(process)?.into_iter().filter(|child| parent(*child) == Some(process)).collect())
}

fn parent(process: u32) -> Option<u32> {
    let stat = stat(process).ok()?;
    after_name(&stat).nth(1)?.parse().ok()
}

fn stat(process: u32) -> Result<String> {
    fs::read_to_string(format!("/proc/{process}/stat"))
}

/// The fields of `stat` from the third on: the name before them may hold anything, see `proc_pid_stat(5)`.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
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
    /// Of all threads that these processes have now; one that ends takes its share along, and so does a process.
    pub(crate) fn of(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let threads = match fs::read_dir(format!("/proc/{process}/task")) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                threads => threads?,
            };
            for thread in threads {
                // It may end while it is looked at, too.
                let Ok(thread) = thread.map(|thread| thread.path()) else { break };
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

/// CPU time of a process in seconds, with that of its threads and children that have ended; in steps of a tick, which
/// is 10 ms nearly everywhere.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64> {
    // utime stime cutime cstime
    let ticks: Option<Vec<u64>> =
        after_name(&stat(process)?).skip(11).take(4).map(|ticks| ticks.parse().ok()).collect();
    let ticks = ticks.ok_or_else(|| Error::other("`stat` is not what proc_pid_stat(5) describes"))?;
    Ok(ticks.into_iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The same of all processes together but one and what it started.
pub(crate) fn other_cpu_seconds(root: u32) -> Result<f64> {
    let parents = parents()?;
    let own = tree_of(root, &parents);
    let others = parents.into_iter().filter(|(process, _)| !own.contains(process));
    Ok(others.filter_map(|(process, _)| cpu_seconds(process).ok()).sum())
}

/// Most memory in KiB that a process has had at a time, see `VmHWM` in `proc_pid_status(5)`.
pub(crate) fn peak_kib(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| Error::other("`status` has no field `VmHWM`"))
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
        assert!(peak_kib(own).unwrap() > 0);
    }

    #[test]
    fn what_has_ended_costs_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(Usage::of(&[child.id()]).unwrap().cpu_ns, 0);
        assert!(Usage::of(&[child.id(), std::process::id()]).unwrap().cpu_ns > 0);
    }

    #[test]
    fn a_tree_has_children_of_children_and_nobody_else() {
        assert_eq!(tree_of(2, &[(3, 2), (4, 3), (5, 1)]), [2, 3, 4]);
    }

    #[test]
    fn time_of_children_counts_once_they_have_ended() {
        let own = std::process::id();
        let before = cpu_seconds(own).unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(cpu_seconds(own).unwrap() > before);
    }
}
