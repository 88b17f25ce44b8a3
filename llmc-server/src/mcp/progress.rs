//! Progress of a call, from a plugin to the client that asked for it, at a rate that a client can bear.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::Peer;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plugin::Progress;

/// Reports closer together than this are merged.
const INTERVAL: Duration = Duration::from_millis(50);

/// Sends the newest report every [`INTERVAL`].
pub(super) struct Reporter {
    sink: Arc<Sink>,
    task: JoinHandle<()>,
}

struct Sink(watch::Sender<Option<Report>>);

#[derive(Clone)]
struct Report {
    done: f64,
    total: Option<f64>,
    message: Option<String>,
}

impl Progress for Sink {
    fn report(&self, done: f64, total: Option<f64>, message: Option<String>) {
        if done.is_finite() && total.is_none_or(f64::is_finite) {
            self.0.send_replace(Some(Report { done, total, message }));
        }
    }
}

impl Reporter {
    pub(super) fn start(token: ProgressToken, peer: Peer<RoleServer>) -> Self {
        let (sender, reports) = watch::channel(None);
        Self { sink: Arc::new(Sink(sender)), task: tokio::spawn(forward(reports, token, peer)) }
    }

    pub(super) fn sink(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.sink) as Arc<dyn Progress>
    }

    /// Ends the reports, so that none comes after the result.
    pub(super) async fn finish(self) {
        self.task.abort();
        // Only waits until the task is gone; that it was aborted is no news.
        let _ = self.task.await;
    }
}

async fn forward(mut reports: watch::Receiver<Option<Report>>, token: ProgressToken, peer: Peer<RoleServer>) {
    let mut last = f64::NEG_INFINITY;
    while reports.changed().await.is_ok() {
        let report = reports.borrow_and_update().clone();
        // Progress must increase, see the specification, "basic/utilities/progress".
        let Some(report) = report.filter(|report| report.done > last) else { continue };
        last = report.done;
        let mut param = ProgressNotificationParam::new(token.clone(), report.done);
        param.total = report.total;
        param.message = report.message;
        if peer.notify_progress(param).await.is_err() {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
