//! A tree that wants many more processors than there are goes last.
//!
//! Thirty processes in an endless loop would otherwise be thirty-one of every thirty-two that the kernel chooses from, and
//! each call of anybody else would wait for several of them at every step. As idle ones (`SCHED_IDLE`, see sched(7)) they
//! still get every processor that nobody wants, and something of those that are wanted. They also leave some processors
//! alone: where the kernel preempts lazily (Linux 6.13 and newer), who is woken on a processor of an idle process waits for
//! its next tick all the same, some milliseconds at every step. And where each session has a share of its own (autogroups,
//! the same page), who is idle gives way inside its session alone, so the sessions of the tree get the least share, too.
//!
//! An ordinary tree, such as a build with a job for each processor, is left alone, and nothing changes where there are
//! processors enough.

use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys;

/// Processes that may be ready to run at a time for each processor, and beyond that in any case.
const PER_PROCESSOR: usize = 4;
/// See [`PER_PROCESSOR`].
const IN_ANY_CASE: usize = 4;
/// The least share of a session, in the words of `/proc/PID/autogroup`.
const LEAST_SHARE: &[u8] = b"19";
/// Of so many processors a crowd leaves one alone, and one in any case if there are two.
const ALONE_OF: usize = 8;

/// The processors of a tree, as they were before there was a crowd.
pub(super) struct Processors {
    count: usize,
    /// Those that a crowd may run on; none where it has no choice.
    fewer: Option<CpuSet>,
}

impl Processors {
    /// Those that this process may run on. When the kernel does not tell, nothing is a crowd.
    pub(super) fn own() -> Self {
        sched_getaffinity(None).map_or(Self { count: usize::MAX, fewer: None }, |set| Self {
            count: set.count() as usize,
            fewer: fewer(&set),
        })
    }

    /// Whether so many processes that are ready to run are a crowd.
    pub(super) fn are_crowded_by(&self, ready: usize) -> bool {
        ready > most(self.count)
    }

    /// Makes every process of the tree but process 1 an idle one on fewer processors, and what they start from now on.
    /// Process 1 goes where they are: to count so many takes it milliseconds, in which it would be in the way of
    /// others. Who is born meanwhile is met at the next count, if the crowd is still there, and so is who takes
    /// processors back. There is no way back from being idle: a payload may not set its own priority.
    pub(super) fn leave_some(&self, proc: &OwnedFd) {
        let confine = |thread| {
            if let Some(fewer) = &self.fewer {
                // One that has ended meanwhile needs nothing.
                let _ = sched_setaffinity(thread, fewer);
            }
        };
        confine(None);
        for process in processes(proc) {
            for thread in numbers(proc, &format!("{process}/task")).filter_map(Pid::from_raw) {
                let _ = sys::make_idle(thread);
                confine(Some(thread));
            }
        }
        lower_sessions(proc);
    }
}

/// Gives the sessions of all processes but process 1 the least share, as far as the kernel lets us: it takes one such
/// change in 100 ms, so the rest has to wait for the next counts.
fn lower_sessions(proc: &OwnedFd) {
    for process in processes(proc) {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let path = format!("{process}/autogroup");
        // One that has ended meanwhile, one that hides itself, or a kernel without it.
        let Ok(file) = rustix::fs::openat(proc, path, flags, Mode::empty()) else { continue };
        let mut text = [0; 64];
        let count = rustix::io::read(&file, &mut text[..]).unwrap_or(0);
        if count == 0 || text[..count].trim_ascii_end().ends_with(LEAST_SHARE) {
            continue;
        }
        if rustix::io::write(&file, LEAST_SHARE) == Err(Errno::AGAIN) {
            return;
        }
    }
}

fn most(processors: usize) -> usize {
    PER_PROCESSOR.saturating_mul(processors).saturating_add(IN_ANY_CASE)
}

/// Those of some processors that a crowd may run on; none where there is only one.
fn fewer(processors: &CpuSet) -> Option<CpuSet> {
    let count = processors.count() as usize;
    let last = (0..CpuSet::MAX_CPU).rev().filter(|&number| processors.is_set(number));
    let mut fewer = *processors;
    last.take((count / ALONE_OF).max(1)).for_each(|number| fewer.unset(number));
    (count > 1).then_some(fewer)
}

/// Every process of a pid namespace but process 1.
pub(super) fn processes(proc: &OwnedFd) -> impl Iterator<Item = i32> {
    numbers(proc, ".").filter(|&number| number > 1)
}

/// The numbers among the names in a directory of `/proc`.
fn numbers(proc: &OwnedFd, path: &str) -> impl Iterator<Item = i32> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(proc, path, flags, Mode::empty()).and_then(Dir::new);
    dir.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_more_than_a_few_for_each_processor() {
        assert_eq!([1, 2, 16].map(most), [8, 12, 68]);
        assert_eq!(most(usize::MAX), usize::MAX);
        let processors = |count| Processors { count, fewer: None };
        assert!(!processors(2).are_crowded_by(12) && processors(2).are_crowded_by(13));
        assert!(!processors(usize::MAX).are_crowded_by(usize::MAX));
    }

    #[test]
    fn a_crowd_leaves_some_processors_alone() {
        let processors = |numbers: &[usize]| {
            let mut set = CpuSet::new();
            numbers.iter().for_each(|&number| set.set(number));
            set
        };
        assert_eq!(fewer(&processors(&[3])), None);
        assert_eq!(fewer(&processors(&[3, 5])), Some(processors(&[3])));
        let sixteen: Vec<usize> = (0..16).collect();
        assert_eq!(fewer(&processors(&sixteen)), Some(processors(&sixteen[..14])));
    }

    #[test]
    fn numbers_are_found_among_names() {
        let proc = OwnedFd::from(std::fs::File::open("/proc").unwrap());
        let own = std::process::id().cast_signed();
        assert!(numbers(&proc, ".").any(|number| number == own));
        assert!(numbers(&proc, &format!("{own}/task")).any(|number| number == own));
        assert_eq!(numbers(&proc, "none").count(), 0);
    }
}
