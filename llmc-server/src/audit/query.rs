//! Reading an audit: which records there are, and what state the chain is in.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::chain::hex;
use super::head;
use super::record::Fields;
use super::store::{self, Source, StoreError, Stored};
use super::verify::{self, Report, Trust};
use crate::config::AuditFormat;

/// Outcomes of calls that the server let pass: whether the tool then failed is its own affair.
const PASSED: [&str; 4] = ["ok", "tool_error", "tool_failed", "input_required"];

/// Which records are wanted; what is absent restricts nothing.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) event: Option<String>,
    pub(crate) caller: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) outcome: Option<String>,
    /// Only what was refused or failed.
    pub(crate) refused: bool,
    /// Anywhere in the record's text.
    pub(crate) text: Option<String>,
    pub(crate) since_ms: Option<u64>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) after_seq: Option<u64>,
    pub(crate) before_seq: Option<u64>,
    /// The newest so many.
    pub(crate) limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            event: None,
            caller: None,
            tool: None,
            plugin: None,
            outcome: None,
            refused: false,
            text: None,
            since_ms: None,
            until_ms: None,
            after_seq: None,
            before_seq: None,
            limit: 100,
        }
    }
}

impl Filter {
    /// Whether a record is wanted.
    pub(crate) fn fits(&self, row: &Row) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let Fields { time_ms, event, caller, tool, plugin, outcome } = &row.fields;
        self.event.as_ref().is_none_or(|wanted| wanted == event)
            && same(&self.caller, caller)
            && same(&self.tool, tool)
            && same(&self.plugin, plugin)
            && same(&self.outcome, outcome)
            && self.since_ms.is_none_or(|since| *time_ms >= since)
            && self.until_ms.is_none_or(|until| *time_ms <= until)
            && self.after_seq.is_none_or(|seq| row.seq > seq)
            && self.before_seq.is_none_or(|seq| row.seq < seq)
            && (!self.refused || row.is_refused())
            && self.text.as_ref().is_none_or(|text| row.text.contains(text.as_str()))
    }
}

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    /// As it is kept.
    pub(crate) text: String,
    /// The same, read.
    pub(crate) record: Value,
    /// The fields that most are asked for.
    pub(crate) fields: Fields,
    pub(crate) hash: String,
}

impl Row {
    /// `None` where the text is no record; `verify` tells of those.
    pub(crate) fn of(stored: Stored) -> Option<Self> {
        let record: Value = serde_json::from_str(&stored.text).ok()?;
        // By the text, which the chain covers, not by the columns beside it.
        let fields = Fields::of(&record)?;
        Some(Self { seq: stored.seq, text: stored.text, record, fields, hash: hex(&stored.hash) })
    }

    /// Whether something was refused, or failed in the server's own hands.
    pub(crate) fn is_refused(&self) -> bool {
        let outcome = self.fields.outcome.as_deref();
        match self.fields.event.as_str() {
            "call" => outcome.is_some_and(|outcome| !PASSED.contains(&outcome)),
            "cut" | "lost" => true,
            _ => matches!(outcome, Some("denied" | "refused" | "failed" | "unauthorised" | "drifted")),
        }
    }

    /// The record with its place in the chain.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = self.record.clone();
        if let Value::Object(map) = &mut json {
            map.insert("seq".into(), self.seq.into());
            map.insert("hash".into(), self.hash.clone().into());
        }
        json
    }
}

/// What state the chain is in, as far as that is known without reading all of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChainState {
    pub(crate) chain: Option<String>,
    pub(crate) public_key: Option<String>,
    /// The first and the last record that are kept; `last_seq` is 0 if there is none.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_hash: Option<String>,
    /// The last record that a signed statement of the end covers, and when that was made.
    pub(crate) signed_seq: Option<u64>,
    pub(crate) signed_ms: Option<u64>,
}

/// An audit, to be read while others write it.
pub(crate) struct Reader {
    path: PathBuf,
    format: Option<AuditFormat>,
    source: Box<dyn Source>,
}

impl Reader {
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn open(path: &Path, format: Option<AuditFormat>) -> Result<Self, StoreError> {
        Ok(Self { path: path.to_owned(), format, source: store::source(path, format)? })
    }

    /// The newest records that fit, oldest of them first.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn query(&mut self, filter: &Filter) -> Result<Vec<Row>, StoreError> {
        self.source.query(filter)
    }

    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn chain_state(&mut self) -> Result<ChainState, StoreError> {
        let head = head::read(&self.path)?;
        let base = self.source.base()?;
        let last = self.source.last()?;
        Ok(ChainState {
            chain: base.as_ref().map(|base| base.chain.clone()),
            public_key: base.as_ref().map(|base| base.public_key.clone()),
            first_seq: base.as_ref().map_or(0, |base| base.seq + 1),
            last_seq: last.map_or(0, |last| last.seq),
            last_hash: last.map(|last| hex(&last.hash)),
            signed_seq: head.as_ref().map(|head| head.seq),
            signed_ms: head.as_ref().map(|head| head.time_ms),
        })
    }

    /// Checks the whole chain, with everything that there is to check it by.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn verify(&self, trust: &Trust) -> Result<Report, StoreError> {
        verify::verify(&self.path, self.format, trust)
    }

    /// All checkpoints, to be kept elsewhere: base, marks and head.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn checkpoints(&mut self) -> Result<Vec<super::chain::Checkpoint>, StoreError> {
        let mut checkpoints: Vec<_> = self.source.base()?.into_iter().collect();
        checkpoints.extend(self.source.marks()?);
        checkpoints.extend(head::read(&self.path)?);
        Ok(checkpoints)
    }
}

/// A row with this text.
#[cfg(test)]
pub(crate) fn row_for_test(text: &str) -> Row {
    Row::of(Stored { seq: 1, text: text.to_owned(), hash: [0; 32], fields: None }).unwrap()
}
