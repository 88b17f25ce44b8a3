//! The audit, as pages ask for it. Reading it blocks, so it happens beside the threads that serve.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::query::{Filter, Reader};
use crate::audit::verify::Trust;
use crate::config::Audit;

/// Records that one question is answered with at most.
const MAX_RECORDS: usize = 200;

/// What is asked for; what is absent or empty restricts nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Question {
    event: String,
    caller: String,
    tool: String,
    outcome: String,
    text: String,
    refused: bool,
    /// Older than this record, for the next page.
    before_seq: Option<u64>,
    since_ms: Option<u64>,
}

/// The newest records that fit, newest first, and what state the chain is in. `null` where the audit goes to the log.
///
/// # Errors
///
/// Those of reading, as a sentence.
pub(crate) async fn query(audit: Audit, question: Question) -> Result<Value, String> {
    beside(move || {
        let Some(path) = &audit.path else { return Ok(Value::Null) };
        let mut reader = Reader::open(path, audit.format)?;
        let rows = reader.query(&question.filter())?;
        let records: Vec<Value> = rows.iter().rev().map(|row| row.to_json()).collect();
        let chain = reader.chain_state()?;
        Ok(json!({"path": path, "records": records, "is_all": rows.len() < MAX_RECORDS, "chain": chain}))
    })
    .await
}

/// Checks the whole chain.
///
/// # Errors
///
/// Those of reading, as a sentence.
pub(crate) async fn verify(audit: Audit) -> Result<Value, String> {
    beside(move || {
        let Some(path) = &audit.path else { return Ok(Value::Null) };
        let report = Reader::open(path, audit.format)?.verify(&Trust::default())?;
        Ok(json!({"is_good": report.is_good(), "report": report}))
    })
    .await
}

async fn beside(work: impl FnOnce() -> anyhow::Result<Value> + Send + 'static) -> Result<Value, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(anyhow::Error::from).flatten().map_err(|error| format!("{error:#}"))
}

impl Question {
    fn filter(&self) -> Filter {
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            event: given(&self.event),
            caller: given(&self.caller),
            tool: given(&self.tool),
            outcome: given(&self.outcome),
            text: given(&self.text),
            refused: self.refused,
            before_seq: self.before_seq,
            since_ms: self.since_ms,
            limit: MAX_RECORDS,
            ..Filter::default()
        }
    }
}
