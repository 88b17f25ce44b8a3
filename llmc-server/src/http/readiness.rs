//! `/readyz`: whether hosts and runner answer, asked each time but not more often than they should be bothered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::reply::{self, Reply};
use crate::call::Live;

/// How long an answer counts. Anybody may ask, and all who ask within that time get the same one.
const FRESH: Duration = Duration::from_secs(1);

/// How long hosts and runner may take. A host that ended is started again within it, or for the next question.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knows who answered last.
pub(super) struct Readiness {
    live: Live,
    /// All processes have been up once.
    started: watch::Receiver<bool>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    at: Option<Instant>,
    /// Who did not answer.
    silent: Vec<Arc<str>>,
}

impl Readiness {
    pub(super) fn new(live: Live, started: watch::Receiver<bool>) -> Self {
        Self { live, started, last: Mutex::default() }
    }

    pub(super) async fn reply(&self) -> Reply {
        let started = *self.started.borrow();
        let status = match started {
            false => "starting",
            true if self.all_answer().await => "ready",
            true => "not ready",
        };
        let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply::json(code, &json!({ "status": status }))
    }

    async fn all_answer(&self) -> bool {
        // Held while asking: who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if last.at.is_none_or(|at| at.elapsed() >= FRESH) {
            let silent = self.silent().await;
            match silent.is_empty() {
                false if silent != last.silent => warn!(target: "http", ?silent, "not ready: no answer"),
                true if !last.silent.is_empty() => info!(target: "http", "ready again"),
                _ => {}
            }
            *last = Last { at: Some(Instant::now()), silent };
        }
        last.silent.is_empty()
    }

    /// Who does not answer in time: names of plugins, and `runner`.
    async fn silent(&self) -> Vec<Arc<str>> {
        let now = self.live.now();
        let until = Instant::now() + PATIENCE;
        let mut asked = JoinSet::new();
        for plugin in now.plugins.iter().map(Arc::clone) {
            asked.spawn(async move {
                let answer = tokio::time::timeout_at(until.into(), plugin.answers(until)).await;
                (Arc::clone(plugin.name()), answer.unwrap_or(false))
            });
        }
        if let Some(pool) = now.pool {
            asked.spawn(async move {
                let answer = tokio::time::timeout_at(until.into(), pool.answers()).await;
                (Arc::from("runner"), answer.unwrap_or(false))
            });
        }
        let answers = asked.join_all().await.into_iter();
        let mut silent: Vec<Arc<str>> =
            answers.filter(|(_, answered)| !answered).map(|(name, _)| name).collect();
        silent.sort_unstable();
        silent
    }
}
