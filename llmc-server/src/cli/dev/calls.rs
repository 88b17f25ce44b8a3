//! Shows calls and refusals as they come: reads what the audit writes.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::output::Paint;
use crate::audit::query::{Filter, Reader};

/// Most calls that are shown at a time; a plugin in the making is seldom called so often.
const MAX_SHOWN: usize = 1_000;

/// The end of an audit.
pub(super) struct Calls {
    reader: Reader,
    shown: u64,
}

/// What is shown of a record.
#[derive(Deserialize)]
struct Record {
    caller: String,
    tool: String,
    outcome: String,
    reason: Option<String>,
    result_bytes: u64,
    duration_us: u64,
}

impl Calls {
    /// Shows calls that end from now on.
    pub(super) fn follow(audit: &Path) -> anyhow::Result<Self> {
        Ok(Self { reader: Reader::open(audit, None)?, shown: 0 })
    }

    /// Lines for the calls that ended since it was asked last.
    pub(super) fn ended(&mut self, paint: Paint) -> Vec<String> {
        let filter = Filter {
            event: Some("call".into()),
            after_seq: Some(self.shown),
            limit: MAX_SHOWN,
            ..Filter::default()
        };
        // What cannot be read now is read the next time.
        let rows = self.reader.query(&filter).unwrap_or_default();
        self.shown = rows.last().map_or(self.shown, |row| row.seq);
        rows.into_iter().filter_map(|row| shown(row.record, paint)).collect()
    }
}

fn shown(record: Value, paint: Paint) -> Option<String> {
    let Record { caller, tool, outcome, reason, result_bytes, duration_us } =
        serde_json::from_value(record).ok()?;
    let outcome = match outcome.as_str() {
        "ok" => paint.good(&outcome),
        "tool_error" => paint.warning(&outcome),
        _ => paint.bad(&outcome),
    };
    let milliseconds = duration_us as f64 / 1_000.0;
    let mut line =
        format!("call  {tool}  {outcome}  {milliseconds:.1} ms  {result_bytes} bytes  by {caller}");
    // A refusal names what is missing and the line that would add it.
    for reason in reason.iter().flat_map(|reason| reason.lines()) {
        line.push_str(&format!("\n      {reason}"));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_shown_with_its_reason() {
        let record = json!({
            "caller": "client", "tool": "greet", "outcome": "denied", "reason": "no root\nadd one",
            "result_bytes": 0, "duration_us": 1500, "more": 1,
        });
        let line = shown(record, Paint::for_stdout()).unwrap();
        assert_eq!(line, "call  greet  denied  1.5 ms  0 bytes  by client\n      no root\n      add one");
    }
}
