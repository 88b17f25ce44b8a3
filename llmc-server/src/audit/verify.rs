//! Checking a chain: every record against the one before it, every checkpoint against its record and its key.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use serde_json::Value;

use super::chain::{self, ChainId, Checkpoint, End, Hash, Kind};
use super::head;
use super::key::{Key, beside, public};
use super::record::Fields;
use super::store::{self, Source, StoreError, Stored};
use crate::config::AuditFormat;

/// Findings that are told; the rest is counted.
const MAX_FINDINGS: usize = 50;

/// What a chain is checked by, beside itself.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// The key that must have signed, in place of the one beside the records.
    pub(crate) public_key: Option<VerifyingKey>,
    /// Checkpoints that were kept elsewhere.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) records: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Checkpoints that fit.
    pub(crate) checkpoints: u64,
    pub(crate) public_key: Option<String>,
    pub(crate) findings: Vec<String>,
    /// Findings beyond those.
    pub(crate) more: u64,
    /// What is worth a word and no reason for doubt.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: impl Into<String>) {
        match self.findings.len() {
            ..MAX_FINDINGS => self.findings.push(what.into()),
            _ => self.more += 1,
        }
    }
}

/// Who must have signed, and how that is found out.
#[derive(Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) key: VerifyingKey,
    pub(super) is_signed: &'a dyn Fn(&Checkpoint) -> bool,
}

/// Checks all of it.
///
/// # Errors
///
/// When it cannot be read at all.
pub(crate) fn verify(path: &Path, format: Option<AuditFormat>, trust: &Trust) -> Result<Report, StoreError> {
    // Before the records: it may be behind them, never ahead.
    let told = head::read(path);
    let mut source = store::source(path, format)?;
    source.snapshot()?;
    let mut report = Report::default();
    for damage in source.damage()? {
        report.find(format!("the database is damaged: {damage}"));
    }
    let Some(key) = key(path, trust, &mut report) else { return Ok(report) };
    let signer = Signer { key, is_signed: &|checkpoint| checkpoint.is_signed_by(&key) };
    let beside = Beside { head: told, head_path: &head::path(path), checkpoints: &trust.checkpoints };
    compare(source.as_mut(), beside, signer, report)
}

/// What is told of the chain by others than its records.
pub(super) struct Beside<'a> {
    /// The end that the file beside the records tells, and where that is.
    pub(super) head: io::Result<Option<Checkpoint>>,
    pub(super) head_path: &'a Path,
    /// Checkpoints that were kept elsewhere.
    pub(super) checkpoints: &'a [Checkpoint],
}

/// Checks records that can be read by a key that is known.
///
/// # Errors
///
/// When they cannot be read to their end.
pub(super) fn compare(
    source: &mut dyn Source,
    beside: Beside<'_>,
    signer: Signer<'_>,
    mut report: Report,
) -> Result<Report, StoreError> {
    report.public_key = Some(chain::hex(signer.key.as_bytes()));
    let Some((chain, base)) = base(source.base(), signer, &mut report) else { return Ok(report) };

    let mut marks: BTreeMap<u64, Vec<(Checkpoint, &str)>> = BTreeMap::new();
    let mut add =
        |checkpoint: Checkpoint, what| marks.entry(checkpoint.seq).or_default().push((checkpoint, what));
    match source.marks() {
        Ok(found) => found.into_iter().for_each(|mark| add(mark, "a checkpoint")),
        Err(error) => report.find(format!("the checkpoints cannot be read: {error}")),
    }
    match source.head() {
        Ok(head) => head.into_iter().for_each(|head| add(head, "the end kept with the records")),
        Err(error) => report.find(format!("the end kept with the records cannot be read: {error}")),
    }
    let shown = beside.head_path.display();
    match beside.head {
        Ok(Some(head)) => add(head, "the end kept beside the records"),
        Ok(None) => report.find(format!("`{shown}` is gone: nothing tells where the chain ends")),
        Err(error) => report.find(format!("`{shown}`: {error}")),
    }
    beside
        .checkpoints
        .iter()
        .for_each(|checkpoint| add(checkpoint.clone(), "a checkpoint that was kept elsewhere"));

    let mut walk = Walk { end: base, signer, chain, marks, report };
    walk.check_marks();
    source.records(&mut |record| {
        match record {
            Ok(record) => walk.record(&record),
            Err(garbage) if garbage.is_torn_end => {
                walk.report.notes.push(format!("{}: a record that was never finished", garbage.place));
            }
            Err(garbage) => walk.report.find(format!("{}: this is no record", garbage.place)),
        }
        ControlFlow::Continue(())
    })?;
    Ok(walk.done(&base))
}

fn key(path: &Path, trust: &Trust, report: &mut Report) -> Option<VerifyingKey> {
    if let Some(key) = trust.public_key {
        return Some(key);
    }
    match Key::read(&beside(path, ".key")) {
        Ok(key) => Some(key.public()),
        Err(error) => {
            report.find(format!(
                "the key `{}` cannot be used ({error}); with `--public-key` the chain can be checked without it",
                beside(path, ".key").display()
            ));
            None
        }
    }
}

fn base(
    base: Result<Option<Checkpoint>, StoreError>,
    signer: Signer<'_>,
    report: &mut Report,
) -> Option<(ChainId, End)> {
    let base = match base {
        Ok(Some(base)) => base,
        Ok(None) => {
            report.find("the beginning of the chain is gone");
            return None;
        }
        Err(error) => {
            report.find(format!("the beginning of the chain cannot be read: {error}"));
            return None;
        }
    };
    if base.kind != Kind::Base || !(signer.is_signed)(&base) {
        report.find(foreign(&base, &signer.key, "the beginning of the chain"));
        return None;
    }
    report.checkpoints += 1;
    if base.seq > 0 {
        report.notes.push(format!("records up to {} were taken out by the rules of retention", base.seq));
    }
    base.chain_id().zip(base.end())
}

fn foreign(checkpoint: &Checkpoint, key: &VerifyingKey, what: &str) -> String {
    match public(&checkpoint.public_key) {
        Some(other) if other != *key => {
            format!("{what} (record {}) was signed by another key", checkpoint.seq)
        }
        _ => format!("{what} (record {}) was not signed by this audit's key, or was changed", checkpoint.seq),
    }
}

/// Going through the records.
struct Walk<'a> {
    /// Where the last record led.
    end: End,
    signer: Signer<'a>,
    chain: ChainId,
    /// Checkpoints that are still to come, by record.
    marks: BTreeMap<u64, Vec<(Checkpoint, &'a str)>>,
    report: Report,
}

impl Walk<'_> {
    fn record(&mut self, record: &Stored) {
        self.report.records += 1;
        let Some(expected) = self.end.seq.checked_add(1) else {
            self.report.find(format!("record {} is out of place", record.seq));
            return;
        };
        match record.seq {
            seq if seq == expected => {}
            seq if seq > expected && seq - 1 == expected => {
                self.report.find(format!("record {expected} is missing"));
            }
            seq if seq > expected => {
                self.report.find(format!("records {expected} to {} are missing", seq - 1));
            }
            seq => self.report.find(format!("record {seq} is out of place")),
        }
        let hash = chain::next(&self.end.hash, record.seq, record.text.as_bytes());
        if record.seq == expected && hash != record.hash {
            self.report.find(format!("record {} was changed, or what stands before it", record.seq));
        }
        self.check_text(record);
        // With the hash that is kept, so that one change is one finding.
        self.end = End { seq: record.seq, hash: record.hash };
        self.check_marks();
    }

    fn check_text(&mut self, record: &Stored) {
        let value: Option<Value> = serde_json::from_str(&record.text).ok();
        let Some((value, fields)) = value.and_then(|value| Fields::of(&value).map(|fields| (value, fields)))
        else {
            self.report.find(format!("record {} cannot be read", record.seq));
            return;
        };
        if record.fields.as_ref().is_some_and(|columns| *columns != fields) {
            self.report.find(format!("record {}: the columns say something else than its text", record.seq));
        }
        match fields.event.as_str() {
            "cut" => self.report.find(format!(
                "record {}: the server found records missing or changed: it had left the chain at record {}, and found \
                 record {} as its end",
                record.seq, value["expected_seq"], value["found_seq"]
            )),
            "lost" => self.report.notes.push(format!(
                "record {}: there was no room for {} records",
                record.seq, value["records"]
            )),
            _ => {}
        }
    }

    /// Compares what is signed of this place.
    fn check_marks(&mut self) {
        for (mark, what) in self.marks.remove(&self.end.seq).unwrap_or_default() {
            self.check_mark(&mark, what, Some(self.end.hash));
        }
    }

    fn check_mark(&mut self, mark: &Checkpoint, what: &str, there: Option<Hash>) {
        let seq = mark.seq;
        if !(self.signer.is_signed)(mark) {
            let finding = foreign(mark, &self.signer.key, what);
            self.report.find(finding);
        } else if mark.chain_id() != Some(self.chain) {
            self.report
                .find(format!("{what} (record {seq}) belongs to another chain: these are other records"));
        } else if mark.end().map(|end| end.hash) != there {
            self.report.find(format!("{what} was signed of another record {seq} than the one that is here"));
        } else {
            self.report.checkpoints += 1;
        }
    }

    /// What no record was there for.
    fn done(mut self, base: &End) -> Report {
        for (mark, what) in std::mem::take(&mut self.marks).into_values().flatten() {
            let seq = mark.seq;
            let is_own = (self.signer.is_signed)(&mark) && mark.chain_id() == Some(self.chain);
            if seq > self.end.seq && is_own {
                self.report.find(format!(
                    "the end is cut off: {what} was signed of record {seq}, and the last one here is {}",
                    self.end.seq
                ));
            } else if seq < base.seq && is_own {
                self.report.notes.push(format!("{what} is of record {seq}, which was taken out"));
            } else {
                // Of a record that is missing, or not of this audit at all.
                self.check_mark(&mark, what, None);
            }
        }
        self.report.first_seq = base.seq + 1;
        self.report.last_seq = self.end.seq;
        self.report
    }
}
