//! The audit, from its records to its verification.

mod kill;
mod retention;
mod tamper;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::key::{Key, beside};
use super::record::{Body, Fields};
use super::store::{self, Store};
use super::verify::{Report, Trust, verify};
use super::*;
use crate::config::AuditFormat;

const FORMATS: [AuditFormat; 2] = [AuditFormat::Sqlite, AuditFormat::Jsonl];

/// An audit in a folder of its own.
struct Ground {
    folder: TempDir,
    config: config::Audit,
}

impl Ground {
    fn new(format: AuditFormat) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        Self {
            config: config::Audit { path: Some(path), format: Some(format), ..Default::default() },
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.config.path.clone().unwrap()
    }

    fn store(&self) -> Box<dyn Store> {
        let key = Arc::new(Key::open(&beside(&self.path(), ".key")).unwrap());
        store::open(&self.config, &self.path(), key).unwrap()
    }

    /// Of all files but the log of SQLite, whose length says nothing of what is in it.
    fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap);
        let kept = entries.filter(|entry| !entry.file_name().to_string_lossy().contains("-wal"));
        kept.map(|entry| entry.metadata().unwrap().len()).sum()
    }

    fn verify(&self) -> Report {
        verify(&self.path(), self.config.format, &Trust::default()).unwrap()
    }

    #[track_caller]
    fn assert_good(&self, records: u64) {
        let report = self.verify();
        assert!(report.is_good() && report.records == records, "{:?}: {report:#?}", self.config.format);
    }

    #[track_caller]
    fn assert_bad(&self, what: &str) {
        let report = self.verify();
        assert!(
            report.findings.iter().any(|finding| finding.contains(what)),
            "{:?}: no `{what}` in {report:#?}",
            self.config.format
        );
    }

    fn rows(&self, filter: &query::Filter) -> Vec<query::Row> {
        query::Reader::open(&self.path(), self.config.format).unwrap().query(filter).unwrap()
    }
}

/// Record number `n` of a test.
fn body(n: u64) -> Body {
    let fields = Fields {
        time_ms: n,
        event: "call".into(),
        caller: Some("client".into()),
        tool: Some(format!("tool_{}", n % 3)),
        plugin: None,
        outcome: Some(if n.is_multiple_of(5) { "denied" } else { "ok" }.into()),
    };
    let Fields { time_ms, tool, outcome, .. } = &fields;
    let text = serde_json::json!({
        "time_ms": time_ms, "event": "call", "caller": "client", "tool": tool, "outcome": outcome, "n": n,
    });
    Body { text: text.to_string(), fields }
}

fn bodies(range: std::ops::Range<u64>) -> Vec<Body> {
    range.map(body).collect()
}

/// Appends where nothing may be missing.
#[track_caller]
fn append(store: &mut Box<dyn Store>, bodies: &[Body]) {
    store.append(bodies, &mut |cut| panic!("{cut:?}")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
