//! Processes as `/proc` shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process that stays the same one when its number is used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Ticks from boot to its start.
    started: u64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
        Some(Self { pid, name, started: field(pid, 19)?.parse().ok()? })
    }

    /// Whether it exists and is no zombie.
    pub(crate) fn lives(&self) -> bool {
        let is_same = field(self.pid, 19).and_then(|started| started.parse().ok()) == Some(self.started);
        is_same && field(self.pid, 0).is_some_and(|state| state != "Z" && state != "X")
    }

    /// The program, without what follows a colon in its name.
    pub(crate) fn program(&self) -> &str {
        self.name.split(':').next().unwrap_or_default()
    }

    /// Sends a signal, unless it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.lives() && number(self.pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

/// As system calls take it.
pub(crate) fn number(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Every process that is seen.
pub(crate) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Direct children.
pub(crate) fn children(parent: u32) -> Vec<Process> {
    let is_child = |pid: &u32| self::parent(*pid) == Some(parent);
    all().into_iter().filter(is_child).filter_map(Process::of).collect()
}

/// Everything below a process.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let parents: Vec<(u32, u32)> = all().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let (mut found, mut next) = (vec![pid], 0);
    while let Some(&above) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Process::of).collect()
}

/// Who started it, or took it over.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    field(pid, 1)?.parse().ok()
}

/// A letter, see `proc_pid_stat(5)`.
pub(crate) fn state(pid: u32) -> Option<String> {
    field(pid, 0)
}

/// Memory that is resident, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// Its own pages and its part of the shared ones, in KiB; only its owner and root may see it.
pub(crate) fn proportional_kib(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Open descriptors: the size of the folder, since Linux 6.2; no right to read it is needed.
pub(crate) fn descriptors(pid: u32) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/fd")).ok()?.len()).filter(|count| *count > 0)
}

/// Field of `/proc/PID/stat` after the name: 0 is the state, 1 the parent.
fn field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split_whitespace().nth(index).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        let process = Process::of(own).unwrap();
        assert!(process.lives() && resident_kib(own).unwrap() > 0);
        assert!(descendants(parent(own).unwrap()).contains(&process));
        assert!(descriptors(own).is_none_or(|count| count >= 3));
        assert!(proportional_kib(own).is_none_or(|kib| kib > 0));
    }

    #[test]
    fn a_process_that_ended_does_not_live() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!process.lives() && !process.signal(Signal::KILL));
    }
}
