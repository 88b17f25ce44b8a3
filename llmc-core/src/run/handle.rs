//! What is left of a run once its streams are taken: a way to wait for it, to signal it and to end it.

use std::sync::atomic::{AtomicBool, Ordering};

use llmc_abi::op;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Isolation, RunOutcome, RunStarted};
use crate::{Context, ToolResult};

/// A signal that a plugin may send to its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunSignal {
    /// `SIGINT`, as by Ctrl-C.
    Int,
    /// `SIGTERM`: please end.
    Term,
    /// `SIGKILL`: the run ends.
    Kill,
}

/// A run. Every method works from any thread. Dropping it ends the run, unless it was waited for or is `detached`.
#[derive(Debug)]
pub struct RunHandle {
    ctx: Context,
    started: RunStarted,
    /// Whether dropping leaves the run alone.
    leave: AtomicBool,
}

impl RunHandle {
    pub(super) fn new(ctx: Context, started: RunStarted, detached: bool) -> Self {
        Self { ctx, started, leave: AtomicBool::new(detached) }
    }

    /// How the program is jailed.
    pub fn isolation(&self) -> Isolation {
        self.started.isolation
    }

    /// The wall time that the program really has, in milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.started.wall_ms
    }

    /// Waits for the end. Read the output meanwhile, or the program blocks.
    ///
    /// # Errors
    /// If the call is over (unless the run is `detached`) or the server lost track of the run.
    pub fn wait(&self) -> ToolResult<RunOutcome> {
        let outcome = self.ctx.request(op::RUN_WAIT, &json!({"run": self.started.run}))?;
        self.leave.store(true, Ordering::Relaxed);
        Ok(outcome)
    }

    /// Ends the program and everything it started.
    ///
    /// # Errors
    /// If the call is over (unless the run is `detached`). A run that has ended already is no error.
    pub fn kill(&self) -> ToolResult<()> {
        self.ctx.request::<Value>(op::RUN_KILL, &json!({"run": self.started.run})).map(drop)
    }

    /// Sends a signal to every process of the run, whatever group or session it is in. They may ignore all but the
    /// last.
    ///
    /// # Errors
    /// As for [`kill`](Self::kill).
    pub fn signal(&self, signal: RunSignal) -> ToolResult<()> {
        let body = json!({"run": self.started.run, "signal": signal});
        self.ctx.request::<Value>(op::RUN_KILL, &body).map(drop)
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        if !self.leave.load(Ordering::Relaxed) {
            let _ = self.kill();
        }
    }
}
