//! Shows calls and refusals as they come: reads what the audit writes.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::super::output::Paint;

/// The end of an audit file.
pub(super) struct Calls {
    lines: BufReader<File>,
    /// What was read of a line that is still being written.
    begun: String,
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
    /// Shows what is written from the beginning of the file.
    pub(super) fn follow(file: &Path) -> std::io::Result<Self> {
        Ok(Self { lines: BufReader::new(File::open(file)?), begun: String::new() })
    }

    /// Lines for the calls that ended since it was asked last.
    pub(super) fn ended(&mut self, paint: Paint) -> Vec<String> {
        let mut shown = Vec::new();
        while self.lines.read_line(&mut self.begun).is_ok_and(|bytes| bytes > 0) && self.begun.ends_with('\n')
        {
            if let Ok(record) = serde_json::from_str::<Record>(&self.begun) {
                shown.push(record.shown(paint));
            }
            self.begun.clear();
        }
        shown
    }
}

impl Record {
    fn shown(&self, paint: Paint) -> String {
        let Self { caller, tool, outcome, result_bytes, duration_us, .. } = self;
        let outcome = match outcome.as_str() {
            "ok" => paint.good(outcome),
            "tool_error" => paint.warning(outcome),
            _ => paint.bad(outcome),
        };
        let milliseconds = *duration_us as f64 / 1_000.0;
        let mut line =
            format!("call  {tool}  {outcome}  {milliseconds:.1} ms  {result_bytes} bytes  by {caller}");
        // A refusal names what is missing and the line that would add it.
        for reason in self.reason.iter().flat_map(|reason| reason.lines()) {
            line.push_str(&format!("\n      {reason}"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_is_shown_when_it_is_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut calls = Calls::follow(file.path()).unwrap();
        let paint = Paint::for_stdout();
        let record = r#"{"caller":"client","tool":"greet","outcome":"denied","reason":"no root","result_bytes":0,"duration_us":1500,"#;
        write!(file, "{record}").unwrap();
        assert!(calls.ended(paint).is_empty());
        writeln!(file, r#""more":1}}"#).unwrap();
        assert_eq!(calls.ended(paint), ["call  greet  denied  1.5 ms  0 bytes  by client\n      no root"]);
        assert!(calls.ended(paint).is_empty());
    }
}
