//! Plugins, seen from the server: files that are verified, hosts that are started and watched, calls that are
//! handed over. No plugin code runs here.
//!
//! - [`library`]: read, digest, seal.
//! - [`manifest`]: what a library says of itself, known before its host runs.
//! - [`spawn`]: start a program with nothing but a socket.
//! - [`connection`]: one live host: calls out, requests in.
//! - [`supervisor`]: keeps a host alive, with back-off.

pub(crate) mod connection;
pub(crate) mod library;
pub(crate) mod manifest;
pub(crate) mod signature;
pub(crate) mod spawn;
mod stderr;
pub(crate) mod supervisor;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use llmc_wire::host::Failure;
use tokio_util::sync::CancellationToken;

pub(crate) use stderr::{forward as forward_stderr, printable};
pub(crate) use supervisor::Supervisor;

use crate::call::{Bounds, CallPath, Dialog, Request};
use crate::telemetry::Trace;

/// What a plugin says while a call runs.
pub(crate) trait Progress: Send + Sync {
    /// `done` of `total`; must not block.
    fn report(&self, done: f64, total: Option<f64>, message: Option<String>);

    /// A word about the call that tells nothing of how far it is; must not block.
    fn say(&self, message: String);

    /// A line that its plugin logged, secrets masked; must not block.
    fn log(&self, level: &str, message: &str);
}

/// A call under way: what its plugin's requests are judged by.
pub(crate) struct CallContext {
    /// Unique while the server runs.
    pub(crate) id: u64,
    /// Where it was made, so that calls below it are judged by the same configuration.
    pub(crate) path: Weak<CallPath>,
    /// For whom it is made, see [`crate::call::Request::origin`].
    pub(crate) origin: Arc<str>,
    /// Calls above this one.
    pub(crate) depth: u8,
    pub(crate) deadline: Instant,
    /// What holds for all calls below this one.
    pub(crate) bounds: Bounds,
    /// Cancelled when the caller withdraws, and when the call ends: whatever was started for it ends with it.
    pub(crate) cancel: CancellationToken,
    pub(crate) progress: Option<Arc<dyn Progress>>,
    pub(crate) trace: Trace,
    /// What log lines of its plugin belong to.
    pub(crate) log: OnceLock<tracing::Span>,
    /// Who can be asked something by it.
    pub(crate) dialog: Arc<Dialog>,
    /// Text that its plugin hands over in pieces, to be kept.
    pub(crate) draft: Mutex<String>,
}

impl CallContext {
    pub(crate) fn new(
        path: Weak<CallPath>,
        request: &Request,
        depth: u8,
        deadline: Instant,
        bounds: Bounds,
        trace: Trace,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        // A child: the end of this call must not look like a cancellation of the call above it.
        let (cancel, log, draft) = (request.cancel.child_token(), OnceLock::new(), Mutex::default());
        let (origin, dialog) = (Arc::clone(&request.origin), Arc::clone(&request.dialog));
        let progress = request.progress.clone();
        Self { id, path, origin, depth, deadline, bounds, cancel, progress, trace, log, dialog, draft }
    }

    /// The same call with a later deadline, before it has begun to run.
    pub(crate) fn later(&self, by: Duration) -> Self {
        Self {
            id: self.id,
            path: Weak::clone(&self.path),
            origin: Arc::clone(&self.origin),
            depth: self.depth,
            deadline: self.deadline + by,
            bounds: self.bounds.clone(),
            cancel: self.cancel.child_token(),
            progress: self.progress.clone(),
            trace: self.trace.clone(),
            log: self.log.clone(),
            dialog: Arc::clone(&self.dialog),
            draft: Mutex::default(),
        }
    }
}

impl Drop for CallContext {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The answer to a request of a plugin: JSON, and descriptors for it.
pub(crate) type Answer = Result<(Vec<u8>, Vec<OwnedFd>), Failure>;

/// What only the server may do for a plugin.
pub(crate) trait Services: Send + Sync {
    /// Answers request `op` that `plugin` made during `call`; a call that is over is `None`, because a run may be
    /// waited for longer than the call that started it. Called in the order of the requests, before [`Self::host_ended`].
    fn serve(
        &self,
        plugin: &str,
        call: Option<Arc<CallContext>>,
        op: u32,
        body: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// The host of `plugin` ended: nobody is left to look after what it started.
    fn host_ended(&self, plugin: &str);
}
