//! Calls, refusals and log lines as they come, for whoever watches; nobody waits for those who do.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::audit::now_ms;

/// Events that are kept for those who are late; who is later is told how many were missed.
const KEPT: usize = 256;

/// Longest text of an event in bytes.
const MAX_TEXT_BYTES: usize = 1024;

static FEED: LazyLock<broadcast::Sender<Arc<str>>> = LazyLock::new(|| broadcast::channel(KEPT).0);

/// Something that happened.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A call ended.
    Call {
        call: u64,
        parent: Option<u64>,
        trace: &'a str,
        caller: &'a str,
        tool: &'a str,
        plugin: Option<&'a str>,
        outcome: &'a str,
        reason: Option<&'a str>,
        argument_bytes: usize,
        result_bytes: usize,
        duration_us: u64,
    },
    /// An HTTP client was not let in.
    Rejected { address: &'a str, reason: &'a str },
    /// A call waits for an operator, or does so no longer.
    Consent { id: &'a str, state: &'a str, tool: &'a str, caller: &'a str, by: Option<&'a str> },
    /// A plugin wrote a line to the log.
    Log { plugin: &'a str, level: &'a str, message: &'a str },
}

#[derive(Serialize)]
struct Dated<'a> {
    time_ms: u64,
    #[serde(flatten)]
    event: Event<'a>,
}

/// Tells those who watch. Costs next to nothing when nobody does.
pub(crate) fn publish<'a>(event: impl FnOnce() -> Event<'a>) {
    if FEED.receiver_count() == 0 {
        return;
    }
    let dated = Dated { time_ms: now_ms(), event: event().shortened() };
    if let Ok(text) = serde_json::to_string(&dated) {
        // Without a receiver nobody watches any more.
        let _ = FEED.send(text.into());
    }
}

/// Everything that happens from now on.
pub(crate) fn watch() -> broadcast::Receiver<Arc<str>> {
    FEED.subscribe()
}

impl Event<'_> {
    fn shortened(mut self) -> Self {
        match &mut self {
            Self::Call { reason: Some(text), .. }
            | Self::Rejected { reason: text, .. }
            | Self::Log { message: text, .. } => *text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)],
            Self::Call { .. } | Self::Consent { .. } => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_watches_is_told_and_long_texts_are_cut() {
        let mut watched = watch();
        let long = "ä".repeat(MAX_TEXT_BYTES);
        publish(|| Event::Log { plugin: "hello", level: "warn", message: &long });
        loop {
            let event: serde_json::Value = serde_json::from_str(&watched.recv().await.unwrap()).unwrap();
            // Other tests of this process make calls, too.
            if event["plugin"] == "hello" {
                assert_eq!(event["kind"], "log");
                assert_eq!(event["message"].as_str().unwrap().len(), MAX_TEXT_BYTES);
                break;
            }
        }
    }
}
