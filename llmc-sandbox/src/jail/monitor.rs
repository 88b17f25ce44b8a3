//! Process 1 of a jail once the payload runs: it reaps, counts and keeps the limits.
//!
//! It never kills anybody of its own accord. It reports and exits; the kernel then ends every process of the pid
//! namespace. A signal that the launcher asks for it passes on.
//!
//! Every 20 ms it adds up what the tree uses, from a `/proc` of its own that the payload does not have. Memory is
//! anonymous plus shared memory of each process, so shared memory counts once for each that has it mapped; files in
//! memory do not count, and scratch space has its own quota. Processor time is that of live processes plus that of
//! all that were waited for. What a process uses and ends within the 20 ms is known only if its parent waits for it.

use std::cell::LazyCell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::control::{self as messages, Accounting, Ending, Limit, Message};
use super::crowd::{self, Processors};
use super::growth::Growth;
use super::reached::Reached;
use super::signals::TreeSignal;
use super::spec::{JailLimits, SCRATCH};
use crate::cgroup::Clock;
use crate::sys::{self, ExitStatus};

/// How often the tree is counted.
const TICK: Duration = Duration::from_millis(20);

/// A crowd is told to go last at this many ticks, because some of it are born while the others are told, and then at one
/// tick in so many: to tell all of them takes longer than to count them.
const TOLD_AT_FIRST: u32 = 3;
const TOLD_EVERY: u32 = 5;

/// How long process 1 stays after it has told how the run ended, unless the launcher is gone first.
const FAREWELL: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The same where nothing is counted: only the wall limit, which may be far away, needs it.
const LONG_TICK: Duration = Duration::from_secs(60);

/// What process 1 holds while the payload runs.
pub(super) struct Monitor {
    /// A `/proc` of this pid namespace.
    pub(super) proc: OwnedFd,
    /// The payload.
    pub(super) payload: Pid,
    /// Its pidfd.
    pub(super) payload_fd: OwnedFd,
    /// What the tree may use.
    pub(super) limits: JailLimits,
    /// What it may add to the file systems of writable roots.
    pub(super) growth: Growth,
    /// What there is to watch.
    pub(super) watched: Watched,
    /// When it began.
    pub(super) started: Instant,
    /// Processor time that had been used by then.
    pub(super) used_before: Duration,
    /// Processor time of the jail's control group, if it has one: exact, whoever waited for whom.
    pub(super) clock: Option<Clock>,
    /// Where a payload that was forked says its exit code, instead of exiting: taking its memory apart takes longer
    /// than many a run, and nobody needs to wait for that. It could as well exit with that code.
    pub(super) finished: Option<OwnedFd>,
    /// Whether the run is over once process 1 has told so, see [`Monitor::step_aside`].
    pub(super) ends_when_told: bool,
}

/// What belongs to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Every process of the pid namespace, and scratch space.
    Namespace,
    /// The payload, which has no children and no scratch space. Where its user has processes elsewhere, nothing but
    /// this count bounds its threads.
    OneProcess,
}

/// What a tree uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    memory_bytes: u64,
    cpu: Duration,
    processes: u32,
    /// Of the process that has most.
    open_files: u64,
    /// Largest resident set that the payload ever had, in bytes.
    peak_of_payload: u64,
}

/// Processes that have ended since the last look.
#[derive(Default)]
struct Reaped {
    /// How the payload did, if it is among them.
    payload: Option<ExitStatus>,
    /// Its largest resident set.
    peak_bytes: u64,
    processes: u32,
}

impl Monitor {
    /// Looks around once before there is anything to be seen: the first time takes several times as long as the others,
    /// because the kernel has to bring in the memory for it, and would be in the way of the answer.
    pub(super) fn rehearse(&self) {
        self.note(&self.count(), &mut Reached::default());
    }

    /// Watches until the run is over, or until the launcher's end of `control` closes; the caller exits then.
    pub(super) fn run(&mut self, control: &OwnedFd) {
        let mut peak = 0;
        let mut cpu = Duration::ZERO;
        let mut reached = Reached::default();
        let processors = LazyCell::new(Processors::own);
        // Ticks since there was a crowd first.
        let mut crowded: Option<u32> = None;
        loop {
            if !self.wait_a_tick(control) {
                return;
            }
            let Reaped { payload: mut ended, peak_bytes: mut peak_of_ended, processes } = self.reap();
            let mut said_so = false;
            if ended.is_none()
                && let Some(status) = self.said_to_have_finished()
            {
                cpu = cpu.max(used(self.payload, self.clock.as_ref()).saturating_sub(self.used_before));
                ended = Some(status);
                said_so = true;
            }
            if ended.is_none() && self.watched == Watched::Namespace {
                let is_due = |ticks: u32| ticks < TOLD_AT_FIRST || ticks.is_multiple_of(TOLD_EVERY);
                if crowded.is_none_or(is_due) && self.give_way(&processors) {
                    crowded.get_or_insert(0);
                }
                crowded = crowded.map(|ticks| ticks.saturating_add(1));
            }
            let mut now = if self.limits.are_counted() || said_so { self.count() } else { Use::default() };
            if said_so {
                peak_of_ended = now.peak_of_payload;
            }
            // They were there until now, and counted as long as nobody waited for them.
            now.processes = now.processes.saturating_add(processes);
            // Processor time seen once stays used, even where nobody waited for the process.
            cpu = cpu.max(now.cpu.saturating_sub(self.used_before));
            peak = peak.max(now.memory_bytes);
            self.note(&now, &mut reached);
            let wall = self.started.elapsed();
            let limit = self.limit_reached(ended, wall, now.memory_bytes, cpu, reached).or_else(|| {
                let is_over = ended.is_none() && now.processes > self.limits.processes;
                (self.watched == Watched::OneProcess && is_over).then_some(Limit::Processes)
            });
            if ended.is_none() && limit.is_none() {
                continue;
            }
            let ending = Ending {
                status: ended.unwrap_or(ExitStatus::Signalled(Signal::KILL.as_raw())),
                limit,
                wall,
                cpu,
                peak_memory_bytes: peak.max(peak_of_ended),
                reached,
                accounting: Accounting::Tree,
            };
            // When this fails, nobody is left to be told.
            let _ = messages::send(control, &Message::Ended(ending));
            if self.ends_when_told {
                self.step_aside(control);
            }
            return;
        }
    }

    /// Has a crowd go last, if there is one; before anything else is counted, because what there is to read of so many takes
    /// milliseconds, in which others wait for them.
    fn give_way(&self, processors: &Processors) -> bool {
        let numbers: Vec<i32> = crowd::processes(&self.proc).collect();
        let is_crowd = processors.are_crowded_by(numbers.len())
            && processors.are_crowded_by(numbers.iter().filter(|number| self.is_ready(**number)).count());
        if is_crowd {
            processors.leave_some(&self.proc);
        }
        is_crowd
    }

    /// Whether the first thread of a process has a processor or waits for one.
    fn is_ready(&self, process: i32) -> bool {
        self.read(&format!("{process}/stat")).is_some_and(|stat| is_ready_in_stat(&stat))
    }

    /// Stops the payload, and gives those a moment who pass the answer on.
    ///
    /// To take two processes and seven namespaces apart takes the kernel longer than many a run; if it began now, the
    /// answer would have to wait for a processor.
    fn step_aside(&self, control: &OwnedFd) {
        // It fails only for a payload that has ended.
        let _ = rustix::process::pidfd_send_signal(&self.payload_fd, Signal::STOP);
        let _ = rustix::event::poll(&mut [PollFd::new(control, PollFlags::IN)], Some(&FAREWELL));
    }

    /// The exit code that the payload wrote instead of exiting. Who closes the pipe has to exit.
    fn said_to_have_finished(&mut self) -> Option<ExitStatus> {
        let finished = self.finished.as_ref()?;
        let mut fds = [PollFd::new(finished, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(rustix::event::poll(&mut fds, Some(&at_once)), Ok(1..)) {
            return None;
        }
        let mut code = [0; 1];
        match rustix::io::read(finished, &mut code[..]) {
            Ok(1) => Some(ExitStatus::Exited(code[0].into())),
            _ => {
                self.finished = None;
                None
            }
        }
    }

    /// Waits for the next tick or for the payload's end; `false` when the launcher is gone.
    fn wait_a_tick(&self, control: &OwnedFd) -> bool {
        let left = Duration::from_millis(self.limits.wall_ms).saturating_sub(self.started.elapsed());
        let pause = if self.limits.are_counted() { TICK.min(left) } else { left.min(LONG_TICK) };
        let pause = pause.max(Duration::from_micros(100));
        let timeout =
            Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        let payload = [Some(&self.payload_fd), self.finished.as_ref()].into_iter().flatten();
        let mut fds = vec![PollFd::new(control, PollFlags::IN)];
        fds.extend(payload.map(|fd| PollFd::new(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => fds[0].revents().is_empty() || self.obey(control),
            Err(Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// Passes on the signals that the launcher asks for. Whatever else happens on its socket is the end: `false`.
    fn obey(&self, control: &OwnedFd) -> bool {
        loop {
            match messages::receive(control) {
                Ok(Some(Message::Signal(signal))) => self.signal_tree(signal),
                Err(Errno::AGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// One by one, by number. Who is born meanwhile is missed, and can still be ended with the jail.
    fn signal_tree(&self, signal: TreeSignal) {
        if self.watched == Watched::OneProcess {
            return signal.send(self.payload);
        }
        crowd::processes(&self.proc).filter_map(Pid::from_raw).for_each(|pid| signal.send(pid));
    }

    /// Waits for every process that has ended.
    fn reap(&self) -> Reaped {
        let mut reaped = Reaped::default();
        while let Ok(Some(ended)) = sys::wait(None, WaitOptions::NOHANG) {
            reaped.processes = reaped.processes.saturating_add(1);
            if ended.pid == self.payload {
                reaped.payload = Some(ended.status);
                reaped.peak_bytes = ended.peak_resident_bytes;
            }
        }
        reaped
    }

    /// Notes what the tree is at. What it was at between two ticks, nobody knows.
    fn note(&self, now: &Use, reached: &mut Reached) {
        // The payload takes the first one, which is no news.
        let many = self.limits.processes > 1 && now.processes >= self.limits.processes;
        reached.note(Limit::Processes, many);
        reached.note(Limit::OpenFiles, now.open_files >= self.limits.open_files.into());
        reached.note(Limit::Workspace, self.growth.is_too_much());
        if self.watched == Watched::OneProcess {
            return;
        }
        if let Ok(scratch) = rustix::fs::statvfs(SCRATCH) {
            reached.note(Limit::ScratchBytes, scratch.f_bfree == 0);
            // The directory itself takes the first one.
            reached.note(Limit::ScratchInodes, scratch.f_ffree == 0 && self.limits.scratch_inodes > 1);
        }
    }

    fn limit_reached(
        &self,
        ended: Option<ExitStatus>,
        wall: Duration,
        memory_bytes: u64,
        cpu: Duration,
        reached: Reached,
    ) -> Option<Limit> {
        let by_kernel = match ended {
            Some(ExitStatus::Exited(_)) => return None,
            Some(ExitStatus::Signalled(signal)) => Some(signal),
            None => None,
        };
        let cpu_is_used_up = cpu >= Duration::from_millis(self.limits.cpu_ms);
        if let Some(signal) = by_kernel {
            // The kernel's own limit on processor time, counted for each process, ends it by one of these.
            let by_limit =
                signal == Signal::XCPU.as_raw() || signal == Signal::KILL.as_raw() && cpu_is_used_up;
            let by_size = signal == Signal::XFSZ.as_raw();
            by_limit.then_some(Limit::Cpu).or(by_size.then_some(Limit::FileSize))
        } else if cpu_is_used_up {
            Some(Limit::Cpu)
        } else if memory_bytes > self.limits.memory_bytes {
            Some(Limit::Memory)
        } else if reached.limits().any(|limit| limit == Limit::Workspace) {
            Some(Limit::Workspace)
        } else if wall >= Duration::from_millis(self.limits.wall_ms) {
            Some(Limit::Wall)
        } else {
            None
        }
    }

    /// What the tree uses now. A process that vanishes half-way is left out.
    fn count(&self) -> Use {
        let mut total = self.count_processes();
        if let Some(used) = self.clock.as_ref().and_then(Clock::used_by_others) {
            total.cpu = used;
        }
        total
    }

    fn count_processes(&self) -> Use {
        let mut total = Use { cpu: sys::children_cpu().unwrap_or_default(), ..Use::default() };
        if self.watched == Watched::OneProcess {
            self.add(&self.payload.to_string(), &mut total);
            return total;
        }
        let Ok(entries) = Dir::read_from(&self.proc) else { return total };
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            if name == b"1" || !name.iter().all(u8::is_ascii_digit) {
                continue;
            }
            if let Ok(name) = std::str::from_utf8(name) {
                self.add(name, &mut total);
            }
        }
        total
    }

    /// Adds what one process uses.
    fn add(&self, name: &str, total: &mut Use) {
        if let Some(status) = self.read(&format!("{name}/status")) {
            total.memory_bytes += memory_in_status(&status);
            total.processes = total.processes.saturating_add(threads_in_status(&status));
            if name == self.payload.to_string() {
                total.peak_of_payload = kibibytes_in_status(&status, &[b"VmHWM:"]);
            }
        }
        // Since Linux 6.2 the size of this directory is the number of open descriptors; before that it is 0.
        if let Ok(stat) = rustix::fs::statat(&self.proc, format!("{name}/fd"), AtFlags::empty()) {
            total.open_files = total.open_files.max(u64::try_from(stat.st_size).unwrap_or(0));
        }
        if let Some(stat) = self.read(&format!("{name}/stat")) {
            total.cpu += cpu_in_stat(&stat, rustix::param::clock_ticks_per_second());
        }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let file =
            rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        // A user may be in thousands of groups, which stand before the lines on memory.
        while bytes.len() < 64 << 10 {
            let count = rustix::io::read(file.as_fd(), &mut chunk[..]).ok()?;
            bytes.extend_from_slice(&chunk[..count]);
            if count < chunk.len() {
                break;
            }
        }
        Some(bytes)
    }
}

/// Processor time that a payload, or the control group around it, has used so far.
pub(super) fn used(payload: Pid, clock: Option<&Clock>) -> Duration {
    let of_group = clock.and_then(Clock::used_by_others);
    of_group.or_else(|| sys::cpu_of(payload).ok()).unwrap_or_default()
}

/// `RssAnon` and `RssShmem` of a `/proc/PID/status`.
pub(super) fn memory_in_status(status: &[u8]) -> u64 {
    kibibytes_in_status(status, &[b"RssAnon:", b"RssShmem:"])
}

/// The sum of some lines of a `/proc/PID/status`, in bytes. The kernel escapes line breaks in names, so no line is
/// forged.
fn kibibytes_in_status(status: &[u8], names: &[&[u8]]) -> u64 {
    let kibibytes = |line: &[u8]| -> Option<u64> {
        let value = names.iter().find_map(|name| line.strip_prefix(*name))?;
        std::str::from_utf8(value.trim_ascii().strip_suffix(b"kB")?).ok()?.trim().parse().ok()
    };
    status
        .split(|&byte| byte == b'\n')
        .filter_map(kibibytes)
        .fold(0, |sum, kib: u64| sum.saturating_add(kib * 1024))
}

/// `Threads` of a `/proc/PID/status`.
fn threads_in_status(status: &[u8]) -> u32 {
    let threads =
        |line: &[u8]| std::str::from_utf8(line.strip_prefix(b"Threads:")?).ok()?.trim().parse().ok();
    status.split(|&byte| byte == b'\n').find_map(threads).unwrap_or(0)
}

/// User and system time of a `/proc/PID/stat`, waited-for children included. The name in parentheses may contain
/// anything, so fields are counted from the last parenthesis.
fn cpu_in_stat(stat: &[u8], ticks_per_second: u64) -> Duration {
    let Some(end_of_name) = stat.iter().rposition(|&byte| byte == b')') else { return Duration::ZERO };
    let fields =
        stat[end_of_name + 1..].split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    // utime, stime, cutime and cstime are fields 14 to 17 of proc_pid_stat(5), and the first one here is field 3.
    let ticks: u64 = fields
        .skip(11)
        .take(4)
        .filter_map(|field| std::str::from_utf8(field).ok()?.parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second.max(1))
}

/// Whether the state in a `/proc/PID/stat` is `R`.
fn is_ready_in_stat(stat: &[u8]) -> bool {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')');
    end_of_name.is_some_and(|end| stat[end + 1..].trim_ascii_start().first() == Some(&b'R'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_anonymous_plus_shared() {
        let status =
            b"Name:\tx\nVmRSS:\t  9000 kB\nRssAnon:\t     100 kB\nRssFile:\t  8000 kB\nRssShmem:\t  20 kB\n";
        assert_eq!(memory_in_status(status), 120 * 1024);
        assert_eq!(threads_in_status(b"Name:\tThreads:9\nThreads:\t3\nSigQ:\t0/1\n"), 3);
        assert_eq!(threads_in_status(b"Name:\tx\n"), 0);
        assert_eq!(memory_in_status(b"RssAnon:\t-1 kB\nRssShmem: kB\nRssAnon"), 0);
    }

    #[test]
    fn names_do_not_confuse_the_count() {
        let tail = " S 1 2 2 0 -1 4194304 90 0 0 0 150 50 30 20 20 0 1 0 500 1000 200";
        for name in ["(x)", "(a b)", "(x) S 1 1 1 1 1 1 1 1 1 1 9999 9999 9999 9999)", "(\n)"] {
            let stat = format!("7 {name}{tail}");
            assert_eq!(cpu_in_stat(stat.as_bytes(), 100), Duration::from_millis(2500), "{name}");
        }
        assert!(is_ready_in_stat(b"7 (a) S) R 1 2") && !is_ready_in_stat(b"7 (a) R) S 1 2"));
        assert!(!is_ready_in_stat(b"7 (R") && !is_ready_in_stat(b"7 (x)"));
        assert_eq!(cpu_in_stat(b"7 (x", 100), Duration::ZERO);
        assert_eq!(cpu_in_stat(b"7 (x) S", 100), Duration::ZERO);
    }
}
