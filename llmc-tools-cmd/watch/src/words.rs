//! What was observed of a run, in the words of results.

use llmc_core::run::{Accounting, Isolation, RunLimit, RunStatus};

use crate::{Cut, Watched};

/// The limit that ended a run, if one did. A run that its companion ended hit none.
pub fn limit(watched: &Watched) -> Option<&'static str> {
    let was_killed = matches!(watched.outcome.status, RunStatus::Signalled(_));
    match (watched.outcome.limit, watched.cut) {
        (None | Some(RunLimit::Killed), Some(cut)) if was_killed => match cut {
            Cut::Output => Some("output"),
            Cut::Wall => Some("wall"),
            Cut::Cancelled => Some("cancelled"),
            Cut::Companion => None,
        },
        (limit, _) => limit.map(limit_name),
    }
}

/// The limits that a run was seen at, whether or not one ended it.
pub fn limits_reached(watched: &Watched) -> Vec<&'static str> {
    watched.outcome.limits_reached.iter().copied().map(limit_name).collect()
}

/// `, at its limit of processes and of open_files`, or nothing.
pub fn at_limits(reached: &[&str]) -> String {
    match reached {
        [] => String::new(),
        reached => format!(", was at its limit of {}", reached.join(" and of ")),
    }
}

/// The name of a limit in results.
pub fn limit_name(limit: RunLimit) -> &'static str {
    match limit {
        RunLimit::Wall => "wall",
        RunLimit::Cpu => "cpu",
        RunLimit::Memory => "memory",
        RunLimit::Processes => "processes",
        RunLimit::OpenFiles => "open_files",
        RunLimit::FileSize => "file_size",
        RunLimit::ScratchBytes => "scratch_bytes",
        RunLimit::ScratchInodes => "scratch_inodes",
        RunLimit::Workspace => "workspace",
        RunLimit::Output => "output",
        RunLimit::Killed => "killed",
        RunLimit::RunnerLost => "runner_lost",
        RunLimit::Unknown => "unknown",
    }
}

/// `ended after 2.0 s by its memory limit`.
pub fn ending(limit: &str, duration_ms: u64) -> String {
    let after = duration(duration_ms);
    match limit {
        "wall" => format!("timed out after {after}"),
        "output" => format!("ended after {after} because it printed too much"),
        "runner_lost" => format!("lost after {after}: the runner died and took it along"),
        "cancelled" => format!("cancelled after {after}"),
        "killed" => format!("ended from outside after {after}"),
        "file_size" => format!("ended after {after} because it wrote a file beyond its limit"),
        "workspace" => {
            format!(
                "ended after {after} because the file system of a writable root grew beyond its limit; what was written is still there"
            )
        }
        limit => format!("ended after {after} by its {limit} limit"),
    }
}

/// How a run is kept apart from the machine.
pub fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Namespaces => "namespaces",
        Isolation::Landlock => "landlock",
    }
}

/// Who counted what a run used.
pub fn accounting(accounting: Accounting) -> &'static str {
    match accounting {
        Accounting::Tree => "tree",
        Accounting::Cgroup => "cgroup",
    }
}

/// The name of a signal, such as `SIGSEGV`.
pub fn signal(number: i32) -> String {
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    let name = names.iter().find(|(known, _)| *known == number);
    name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// `850 ms` or `12.3 s`.
pub fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(0), "0 ms");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(61_290), "61.2 s");
    }

    #[test]
    fn signals() {
        assert_eq!(signal(11), "SIGSEGV");
        assert_eq!(signal(40), "signal 40");
    }
}
