//! Which log lines of plugins a client gets to see.
//!
//! Logging is about to leave the protocol (SEP-2577): newer clients ask for it in each request, and by default get
//! none.
#![expect(deprecated, reason = "log messages are sent as long as clients ask for them")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use rmcp::service::{Peer, RequestContext};
use serde_json::json;

use super::asking::is_stateless;

/// Clients whose level is remembered; those above get the default.
const MAX_CLIENTS: usize = 1024;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// From the word of a plugin.
    pub(super) fn of_plugin(word: &str) -> Self {
        match word {
            "error" => Self::Error,
            "warn" => Self::Warning,
            "info" => Self::Info,
            _ => Self::Debug,
        }
    }
}

impl From<LoggingLevel> for Level {
    fn from(level: LoggingLevel) -> Self {
        match level {
            LoggingLevel::Debug => Self::Debug,
            LoggingLevel::Info => Self::Info,
            LoggingLevel::Notice => Self::Notice,
            LoggingLevel::Warning => Self::Warning,
            LoggingLevel::Error => Self::Error,
            LoggingLevel::Critical => Self::Critical,
            LoggingLevel::Alert => Self::Alert,
            LoggingLevel::Emergency => Self::Emergency,
        }
    }
}

/// What clients of earlier revisions asked for with `logging/setLevel`, by origin: a client on stdio is one, over HTTP
/// all that share a token are.
#[derive(Clone, Default)]
pub(super) struct Levels(Arc<Mutex<HashMap<Arc<str>, Level>>>);

impl Levels {
    pub(super) fn set(&self, origin: Arc<str>, level: LoggingLevel) {
        let mut levels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() < MAX_CLIENTS || levels.contains_key(&origin) {
            levels.insert(origin, level.into());
        }
    }

    /// The least level that the client of a request wants to see.
    pub(super) fn least(&self, origin: &str, context: &RequestContext<RoleServer>) -> Option<Level> {
        match is_stateless(context) {
            true => context.meta.log_level().map(Level::from),
            false => self.0.lock().unwrap_or_else(PoisonError::into_inner).get(origin).copied(),
        }
    }
}

/// Sends a line; tells whether it could be.
pub(super) async fn notify(peer: &Peer<RoleServer>, level: Level, text: String) -> bool {
    let level = match level {
        Level::Debug => LoggingLevel::Debug,
        Level::Info => LoggingLevel::Info,
        Level::Notice => LoggingLevel::Notice,
        Level::Warning => LoggingLevel::Warning,
        Level::Error => LoggingLevel::Error,
        Level::Critical => LoggingLevel::Critical,
        Level::Alert => LoggingLevel::Alert,
        Level::Emergency => LoggingLevel::Emergency,
    };
    let line = LoggingMessageNotificationParam::new(level, json!(text)).with_logger("llmc");
    peer.notify_logging_message(line).await.is_ok()
}
