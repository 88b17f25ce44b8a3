//! `[plugins.cmd] config`: how many processes, and for how long.

use std::time::Duration;

use llmc_core::prelude::*;

use crate::limits::{DEFAULT_IDLE_MS, DEFAULT_LIFETIME_MS, DEFAULT_PROCESSES, DEFAULT_PROCESSES_PER_CALLER};

/// What the operator may set for interactive processes; the limits of their jails stand in the `run` grant.
#[arguments]
#[derive(Clone, Copy, Debug)]
#[serde(default)]
pub struct Settings {
    /// Processes of one caller that may run at the same time.
    pub processes_per_caller: u32,
    /// Processes of all callers that may run at the same time.
    pub processes: u32,
    /// A process that nobody asked about for so long is ended, in milliseconds.
    pub idle_ms: u64,
    /// Longest life of a process in milliseconds; the `run` grant may say less.
    pub lifetime_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            processes_per_caller: DEFAULT_PROCESSES_PER_CALLER,
            processes: DEFAULT_PROCESSES,
            idle_ms: DEFAULT_IDLE_MS,
            lifetime_ms: DEFAULT_LIFETIME_MS,
        }
    }
}

impl Settings {
    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}
