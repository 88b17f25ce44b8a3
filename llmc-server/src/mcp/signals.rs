//! What a call says on its way: progress and log lines, from a plugin to the client that called, at a rate that a
//! client can bear.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::Peer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::levels::{Level, notify};
use crate::plugin::Progress;

/// Reports closer together than this are merged.
const INTERVAL: Duration = Duration::from_millis(50);

/// Log lines that wait for the client; further ones are dropped.
const MAX_LINES: usize = 64;

/// What a word about a call adds to its progress.
const STEP_OF_WORDS: f64 = 1e-6;

/// How long the last signals may take to be sent.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends the newest report every [`INTERVAL`], and log lines as they come.
pub(super) struct Signals {
    sink: Arc<Sink>,
    over: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

struct Sink {
    progress: Option<watch::Sender<Option<Report>>>,
    /// The least level that the client wants to see.
    logs: Option<(Level, mpsc::Sender<(Level, String)>)>,
}

#[derive(Clone)]
struct Report {
    done: f64,
    total: Option<f64>,
    message: Option<String>,
}

impl Progress for Sink {
    fn report(&self, done: f64, total: Option<f64>, message: Option<String>) {
        if let Some(progress) = &self.progress
            && done.is_finite()
            && total.is_none_or(f64::is_finite)
        {
            progress.send_replace(Some(Report { done, total, message }));
        }
    }

    fn say(&self, message: String) {
        if let Some(progress) = &self.progress {
            progress.send_modify(|report| {
                let (done, total) = report.as_ref().map_or((0.0, None), |last| (last.done, last.total));
                // It has to increase, and nothing was done.
                *report = Some(Report { done: done + STEP_OF_WORDS, total, message: Some(message) });
            });
        }
    }

    fn log(&self, level: &str, message: &str) {
        let level = Level::of_plugin(level);
        if let Some((least, lines)) = &self.logs
            && level >= *least
        {
            // A client that reads too slowly misses lines; the call must not wait for it.
            let _ = lines.try_send((level, message.to_owned()));
        }
    }
}

impl Signals {
    /// Sends what the client wants to hear, if that is anything.
    pub(super) fn start(
        token: Option<ProgressToken>,
        least: Option<Level>,
        peer: &Peer<RoleServer>,
    ) -> Option<Self> {
        if token.is_none() && least.is_none() {
            return None;
        }
        let (over, mut tasks) = (CancellationToken::new(), Vec::new());
        let progress = token.map(|token| {
            let (sender, reports) = watch::channel(None);
            tasks.push(tokio::spawn(progress(reports, token, peer.clone(), over.clone())));
            sender
        });
        let logs = least.map(|least| {
            let (sender, lines) = mpsc::channel(MAX_LINES);
            tasks.push(tokio::spawn(logs(lines, peer.clone(), over.clone())));
            (least, sender)
        });
        Some(Self { sink: Arc::new(Sink { progress, logs }), over, tasks })
    }

    pub(super) fn sink(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.sink) as Arc<dyn Progress>
    }

    /// Sends what is left, and ends, so that nothing comes after the result.
    pub(super) async fn finish(self) {
        self.over.cancel();
        for mut task in self.tasks {
            if tokio::time::timeout(LAST_WORDS, &mut task).await.is_err() {
                task.abort();
                // Only waits until the task is gone; that it was aborted is no news.
                let _ = task.await;
            }
        }
    }
}

async fn progress(
    mut reports: watch::Receiver<Option<Report>>,
    token: ProgressToken,
    peer: Peer<RoleServer>,
    over: CancellationToken,
) {
    let mut last = f64::NEG_INFINITY;
    loop {
        let is_over = tokio::select! {
            biased;
            changed = reports.changed() => changed.is_err(),
            () = over.cancelled() => true,
        };
        let report = reports.borrow_and_update().clone();
        // Progress must increase, see the specification, "basic/utilities/progress".
        if let Some(report) = report.filter(|report| report.done > last) {
            last = report.done;
            let mut param = ProgressNotificationParam::new(token.clone(), report.done);
            param.total = report.total;
            param.message = report.message;
            if peer.notify_progress(param).await.is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = over.cancelled() => {}
        }
    }
}

async fn logs(mut lines: mpsc::Receiver<(Level, String)>, peer: Peer<RoleServer>, over: CancellationToken) {
    loop {
        let line = tokio::select! {
            biased;
            line = lines.recv() => line,
            () = over.cancelled() => return,
        };
        let Some((level, text)) = line else { return };
        if !notify(&peer, level, text).await {
            return;
        }
    }
}
