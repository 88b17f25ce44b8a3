//! The call path that counts now. A new configuration makes a new path, which takes the place of the old one in one
//! step: a call goes to its end on the path on which it began, and so do all calls below it.

use std::sync::Arc;

use tokio::sync::watch;

use super::CallPath;
use crate::app::Shown;
use crate::plugin::Supervisor;
use crate::runner::Pool;

/// One configuration, made ready.
#[derive(Clone)]
pub(crate) struct Generation {
    pub(crate) path: Arc<CallPath>,
    pub(crate) plugins: Arc<[Arc<Supervisor>]>,
    /// The runner, if anything may run.
    pub(crate) pool: Option<Arc<Pool>>,
    /// What the model is told about this server.
    pub(crate) instructions: Arc<str>,
    /// For the console.
    pub(crate) shown: Arc<Shown>,
}

/// The generation that counts now.
#[derive(Clone)]
pub(crate) struct Live(Arc<watch::Sender<Generation>>);

impl Live {
    pub(crate) fn new(generation: Generation) -> Self {
        Self(Arc::new(watch::Sender::new(generation)))
    }

    /// To be asked for each request. Whoever keeps it for longer keeps what nobody needs any more.
    pub(crate) fn now(&self) -> Generation {
        self.0.borrow().clone()
    }

    /// The path of [`Self::now`].
    pub(crate) fn path(&self) -> Arc<CallPath> {
        Arc::clone(&self.0.borrow().path)
    }

    /// Lets another one count from now on; returns the one before.
    pub(crate) fn replace(&self, generation: Generation) -> Generation {
        self.0.send_replace(generation)
    }

    /// Tells of each replacement.
    pub(crate) fn changes(&self) -> watch::Receiver<Generation> {
        self.0.subscribe()
    }
}
