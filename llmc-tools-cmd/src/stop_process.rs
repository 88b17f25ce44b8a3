//! `stop_process`.

use std::time::Duration;

use llmc_core::prelude::*;

use crate::limits::{DEFAULT_GRACE_MS, MAX_GRACE_MS};
use crate::process::{Look, Seen, find};

/// Ends a process and everything it started: SIGTERM first, SIGKILL after a while. Returns its last output.
#[arguments]
pub struct StopProcess {
    /// Its handle, from `start_process`.
    process: String,
    /// Milliseconds until SIGKILL, up to 30000; 0 at once. Default: 2000.
    grace_ms: Option<u64>,
}

impl Tool for StopProcess {
    const NAME: &'static str = "stop_process";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE.idempotent(true);
    type Output = Seen;

    fn call(self, ctx: &Context) -> ToolResult<Seen> {
        let process = find(ctx, &self.process)?;
        let grace_ms = self.grace_ms.unwrap_or(DEFAULT_GRACE_MS).min(MAX_GRACE_MS);
        process.stop(ctx, Duration::from_millis(grace_ms))?;
        process.look(ctx, Look::new(ctx, None, None, 0), None)
    }
}
