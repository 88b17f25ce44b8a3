//! Passes on what the code says of its progress.

use std::time::{Duration, Instant};

use llmc_core::prelude::*;

use crate::limits::{MAX_PROGRESS_CHARS, PROGRESS_INTERVAL_MS};
use crate::protocol::Progress;

/// At a rate that everybody can bear.
pub(crate) struct Reporter {
    ctx: Context,
    /// Whether the code speaks for itself.
    pub(crate) speaks: bool,
    waiting: Option<Progress>,
    told: Option<Instant>,
}

impl Reporter {
    pub(crate) fn new(ctx: Context, speaks: bool) -> Self {
        Self { ctx, speaks, waiting: None, told: None }
    }

    pub(crate) fn take(&mut self, progress: Progress) {
        self.speaks = true;
        self.waiting = Some(progress);
    }

    /// Tells the newest report, if it is time; the last one always.
    pub(crate) fn tell(&mut self, last: bool) {
        let interval = Duration::from_millis(PROGRESS_INTERVAL_MS);
        if !last && self.told.is_some_and(|told| told.elapsed() < interval) {
            return;
        }
        if let Some(Progress { done, total, message }) = self.waiting.take() {
            let message: String = message.chars().take(MAX_PROGRESS_CHARS).collect();
            self.ctx.progress(done, total, &message);
            self.told = Some(Instant::now());
        }
    }
}
