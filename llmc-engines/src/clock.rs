//! When an engine has to stop: a little before its jail is ended from outside.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::{Limits, Spent};

/// Longest time that is kept back for the report, in milliseconds.
const MOST_KEPT_BACK_MS: u64 = 200;
/// Part of a short limit that is kept back.
const PART_KEPT_BACK: u64 = 10;

/// The time that is left, and what ended it.
#[derive(Debug)]
pub(crate) struct Clock {
    deadline: Instant,
    cpu: Duration,
    spent: Cell<Option<Spent>>,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start(limits: &Limits) -> Self {
        let cpu_before = processor_time();
        Self {
            deadline: Instant::now() + usable(limits.wall_ms),
            cpu: cpu_before.saturating_add(usable(limits.cpu_ms)),
            spent: Cell::new(None),
        }
    }

    /// What has been used up, asking both clocks. It stays so.
    pub(crate) fn check(&self) -> Option<Spent> {
        if self.spent.get().is_none() {
            if Instant::now() >= self.deadline {
                self.spent.set(Some(Spent::Wall));
            } else if processor_time() >= self.cpu {
                self.spent.set(Some(Spent::Cpu));
            }
        }
        self.spent.get()
    }

    /// What was found to be used up.
    pub(crate) fn spent(&self) -> Option<Spent> {
        self.spent.get()
    }

    /// Notes what an interpreter found out itself.
    pub(crate) fn note(&self, spent: Spent) {
        if self.spent.get().is_none() {
            self.spent.set(Some(spent));
        }
    }

    /// Time by the clock until the deadline.
    pub(crate) fn wall_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

fn usable(limit_ms: u64) -> Duration {
    Duration::from_millis(limit_ms - (limit_ms / PART_KEPT_BACK).min(MOST_KEPT_BACK_MS))
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Limits = Limits { wall_ms: 60_000, cpu_ms: 60_000, memory_bytes: 1 << 30 };

    #[test]
    fn a_part_of_short_limits_and_a_fifth_of_a_second_of_long_ones_is_kept_back() {
        assert_eq!(usable(100), Duration::from_millis(90));
        assert_eq!(usable(60_000), Duration::from_millis(59_800));
        assert_eq!(usable(1), Duration::from_millis(1));
    }

    #[test]
    fn what_is_spent_is_named_and_stays_spent() {
        assert_eq!(Clock::start(&PLENTY).check(), None);
        let over = Clock::start(&Limits { wall_ms: 0, ..PLENTY });
        assert_eq!((over.check(), over.wall_left()), (Some(Spent::Wall), Duration::ZERO));
        over.note(Spent::Memory);
        assert_eq!(over.spent(), Some(Spent::Wall));
        assert_eq!(Clock::start(&Limits { cpu_ms: 0, ..PLENTY }).check(), Some(Spent::Cpu));
    }
}
