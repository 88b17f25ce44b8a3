//! One record per call, refused or not.
//!
//! Records name what was called, by whom, what was decided and what came of it; of arguments only the size appears,
//! because they often hold secrets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::{debug, info, warn};

use crate::config::{self, OnFailure};
use crate::files::NEVER_WAIT;
use crate::telemetry::METRICS;

/// One call.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// Milliseconds since 1970 in UTC.
    pub(crate) time_ms: u64,
    /// The call, unique while the server runs.
    pub(crate) call: u64,
    /// The call that made this one, if code or a plugin did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<u64>,
    /// Who called: `client`, `token NAME`, `http`, `command line` or `plugin NAME`.
    pub(crate) caller: &'a str,
    pub(crate) tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<&'a str>,
    /// SHA-256 of the plugin's library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plugin_sha256: Option<&'a str>,
    pub(crate) argument_bytes: usize,
    /// `ok`, `tool_error`, or the kind of refusal or failure.
    pub(crate) outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    pub(crate) result_bytes: usize,
    pub(crate) duration_us: u64,
}

impl Record<'_> {
    /// What goes well is seldom worth a line of the log; what was refused or failed is.
    fn log(&self) {
        let Self { call, parent, caller, tool, outcome, reason, result_bytes, duration_us, .. } = *self;
        if outcome == "ok" {
            debug!(target: "audit", call, parent, caller, tool, outcome, result_bytes, duration_us);
        } else {
            info!(target: "audit", call, parent, caller, tool, outcome, reason, result_bytes, duration_us);
        }
    }
}

/// A client that was not let in.
#[derive(Debug, Serialize)]
struct Rejected<'a> {
    time_ms: u64,
    outcome: &'static str,
    address: &'a str,
    reason: &'a str,
}

/// A configuration that was taken up, or not.
#[derive(Debug, Serialize)]
struct Reloaded<'a> {
    time_ms: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Where records go.
#[derive(Debug)]
pub(crate) struct Audit {
    file: Option<Mutex<File>>,
    on_failure: OnFailure,
    failing: AtomicBool,
}

/// The audit file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open audit file `{path}`: {source}")]
pub(crate) struct AuditError {
    path: String,
    source: std::io::Error,
}

impl Audit {
    pub(crate) fn open(config: &config::Audit) -> Result<Self, AuditError> {
        let open = |path: &std::path::PathBuf| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .custom_flags(NEVER_WAIT)
                .open(path)
                .map(Mutex::new)
                .map_err(|source| AuditError { path: path.display().to_string(), source })
        };
        let file = config.path.as_ref().map(open).transpose()?;
        Ok(Self { file, on_failure: config.on_failure, failing: AtomicBool::new(false) })
    }

    /// Whether calls may run: not while records are lost and the operator wants none lost.
    pub(crate) fn allows_calls(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) || self.on_failure == OnFailure::Warn
    }

    /// Writes a record. A record that cannot be written is in the log at least.
    pub(crate) fn write(&self, record: &Record<'_>) {
        match &self.file {
            Some(file) => self.append(file, record),
            None => record.log(),
        }
    }

    /// Writes a record of a client that was not let in.
    pub(crate) fn write_rejected(&self, address: &str, reason: &str) {
        match &self.file {
            Some(file) => {
                let record = Rejected { time_ms: now_ms(), outcome: "unauthorised", address, reason };
                self.append(file, &record);
            }
            None => info!(target: "audit", outcome = "unauthorised", address, reason),
        }
    }

    /// Writes a record of a new configuration: `reloaded`, or `reload_refused` with the reason.
    pub(crate) fn write_reload(&self, outcome: &'static str, reason: Option<&str>) {
        match &self.file {
            Some(file) => self.append(file, &Reloaded { time_ms: now_ms(), outcome, reason }),
            None => info!(target: "audit", outcome, reason),
        }
    }

    fn append(&self, file: &Mutex<File>, record: &(impl Serialize + std::fmt::Debug)) {
        let written = serde_json::to_vec(record).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            file.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_all(&line)
        });
        self.failing.store(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            METRICS.audit_failures.inc();
            warn!(target: "audit", %error, ?record, "audit record could not be written");
        }
    }

    /// Tries again after a failure, so that calls are allowed again once the disk has room.
    pub(crate) fn retry(&self) {
        if self.failing.load(Ordering::Relaxed)
            && self.file.as_ref().is_some_and(|file| {
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                // The newline ends a record that was cut off.
                file.write_all(b"\n{\"outcome\":\"audit_resumed\"}\n").is_ok()
            })
        {
            self.failing.store(false, Ordering::Relaxed);
        }
    }
}

/// Now, for a record.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
