//! CPU time of runs and of others, where a run takes its share along when it ends: nobody awaits a jail that was forked
//! ahead of time, so no process counts what it used. The machine does, and others are counted one by one.

use std::time::Instant;

use anyhow::Result;

use crate::cpu::{Cpus, busy_seconds};
use crate::processes::{cpu_seconds, other_cpu_seconds};

/// CPU time since some moment.
pub(crate) struct Balance {
    begun: Instant,
    start: Counts,
}

/// Seconds since the machine, or the processes, began.
#[derive(Clone, Copy)]
struct Counts {
    /// Of all CPUs.
    busy: f64,
    /// Of processes that this one did not start.
    others: f64,
    /// Of this one.
    own: f64,
}

impl Balance {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { begun: Instant::now(), start: Counts::now()? })
    }

    /// The share of all CPUs that others took, between 0 and 1.
    pub(crate) fn foreign_share(&self, cpus: &Cpus) -> Result<f64> {
        let available = self.begun.elapsed().as_secs_f64() * f64::from(cpus.count());
        Ok(((Counts::now()?.others - self.start.others) / available).clamp(0.0, 1.0))
    }

    /// What all servers took, in seconds: everything that neither this process nor others did.
    pub(crate) fn of_servers(&self) -> Result<f64> {
        Ok((Counts::now()?.of_servers() - self.start.of_servers()).max(0.0))
    }
}

impl Counts {
    fn now() -> Result<Self> {
        let own = std::process::id();
        Ok(Self { busy: busy_seconds(None)?, others: other_cpu_seconds(own)?, own: cpu_seconds(own)? })
    }

    fn of_servers(self) -> f64 {
        self.busy - self.others - self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_what_nobody_else_has() {
        let counts = Counts { busy: 10.0, others: 6.0, own: 1.0 };
        assert!((counts.of_servers() - 3.0).abs() < 1e-9);
    }
}
