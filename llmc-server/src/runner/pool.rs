//! One runner, and what all its runs share, whichever configuration their plugins began with: numbers, kits, and the
//! places that there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmc_wire::runner::{Hello, Init};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Link;
use super::kit::Kits;
use crate::config::Limits;
use crate::hold::Hold;
use crate::telemetry::METRICS;

/// A runner and its places.
pub(crate) struct Pool {
    pub(super) link: Arc<Link>,
    next: AtomicU64,
    pub(super) kits: Kits,
    /// A place for each jail that may live for a call.
    pub(super) places: Arc<Semaphore>,
    /// A place for each jail that may outlive its call, so that those cannot take the places of calls.
    pub(super) detached_places: Arc<Semaphore>,
    sizes: (u32, u32),
}

impl Pool {
    pub(crate) fn new(link: Link, limits: &Limits) -> Self {
        let sizes = (limits.concurrent_runs, limits.detached_runs);
        METRICS.run_places.set(i64::from(sizes.0) + i64::from(sizes.1));
        Self {
            link: Arc::new(link),
            next: AtomicU64::new(1),
            kits: Kits::default(),
            places: Arc::new(Semaphore::new(sizes.0 as usize)),
            detached_places: Arc::new(Semaphore::new(sizes.1 as usize)),
            sizes,
        }
    }

    /// Whether it is what a configuration asks for. One that could run code does for those that run none.
    pub(crate) fn serves(&self, init: &Init, limits: &Limits) -> bool {
        let own = self.link.init();
        let wanted = Init { runs_code: own.runs_code, ..init.clone() };
        self.sizes == (limits.concurrent_runs, limits.detached_runs)
            && (own.runs_code || !init.runs_code)
            && *own == wanted
    }

    /// The first start, in the background and after the hold; from now on runs wait for it.
    pub(crate) fn begin(&self, hold: Hold) -> JoinHandle<Result<Hello, String>> {
        self.link.begin(hold)
    }

    /// What the runner said at its start, if it has started.
    pub(crate) fn hello(&self) -> Option<Hello> {
        self.link.hello()
    }

    /// Whether the runner answers.
    pub(crate) async fn answers(&self) -> bool {
        self.link.answers().await
    }

    /// Ends the runner and with it all its runs.
    pub(crate) async fn end(&self) {
        self.link.end().await;
    }

    /// A number that no other run of this runner has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
