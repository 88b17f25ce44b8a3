//! Processes as the kernel sees them.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{children, comm, lives};

/// A process that stays the same one when its number is used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Ticks from boot to its start.
    started: u64,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, name: comm(pid)?, started: started(pid)? })
    }

    pub(crate) fn lives(&self) -> bool {
        lives(self.pid) && started(self.pid) == Some(self.started)
    }
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Everything below a process.
pub(crate) fn descendants(pid: u32) -> BTreeSet<Process> {
    let mut found = BTreeSet::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let below: Vec<Process> = children(parent).into_iter().filter_map(Process::of).collect();
        parents.extend(below.iter().map(|process| process.pid));
        found.extend(below);
    }
    found
}

/// Makes this process the new parent of whatever a server leaves behind, so that nothing can hide.
pub(crate) fn adopt_orphans() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

/// Hosts and runners that lost their server and live. Needs [`adopt_orphans`] before.
///
/// Other tests kill servers, too, so one may be seen on its way out; wait until there is none.
pub(crate) fn orphans() -> Vec<Process> {
    let own = children(std::process::id()).into_iter().filter_map(Process::of);
    own.filter(|process| process.name.starts_with("llmc-") && process.lives()).collect()
}

/// A line of `/proc/PID/status` that counts KiB, such as `VmHWM`, the most memory that was ever resident.
#[track_caller]
pub(crate) fn kib(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// What the descriptors of a process lead to, by number; only root may look into a jail.
pub(crate) fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut found: Vec<(u32, String)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    found.sort_unstable();
    found
}
