//! From the audit of a server to a trace.
//!
//! An audit record tells who called which tool, what came of it and how long it took. It holds no arguments and no
//! results, so a trace made of it cannot answer what asks for them, and such properties do not pass.

use std::io::{BufRead, Read};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::{Event, EventKind};
use super::time::rfc3339;
use crate::limits::{MAX_EVENTS, MAX_TRACE_LINE_BYTES};

/// What is read of a record. The server may add fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Record {
    /// When the call ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// The call, unique while the server runs.
    pub call: u64,
    /// The call that made this one.
    #[serde(default)]
    pub parent: Option<u64>,
    /// Who called.
    pub caller: String,
    /// The tool.
    pub tool: String,
    /// The plugin of the tool.
    #[serde(default)]
    pub plugin: Option<String>,
    /// Bytes of the arguments.
    #[serde(default)]
    pub argument_bytes: u64,
    /// `ok`, `tool_error`, or the kind of refusal or failure.
    pub outcome: String,
    /// Why, if not `ok`.
    #[serde(default)]
    pub reason: Option<String>,
    /// Bytes of the result.
    #[serde(default)]
    pub result_bytes: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// A part of an audit file.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Calls that ended then or later, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    /// Calls that ended then or earlier.
    pub to_ms: Option<u64>,
    /// Only those whose caller begins with this, such as `client`, or were made below one of these.
    pub caller: Option<String>,
}

/// A line that is no record of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct AuditError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads the audit records in a range; the rest is passed over, however much there is.
///
/// # Errors
/// If the file cannot be read, holds more than a trace may, or a line in the range is no record. A line that was cut
/// off and a mark that records are missing (`lost`, `cut`) are such lines: calls are missing there, so what was not called
/// cannot be told. They count as in the range if the record before or behind is.
pub fn records(mut audit: impl BufRead, range: &Range) -> Result<Vec<Record>, AuditError> {
    let mut records: Vec<Record> = Vec::new();
    // A line that is no record, behind one that is out of the range.
    let mut gap: Option<AuditError> = None;
    let mut is_inside = false;
    for line in 1.. {
        let wrong = |message: String| AuditError { line, message };
        let mut bytes = Vec::new();
        let most = MAX_TRACE_LINE_BYTES as u64 + 1;
        let count = audit
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| wrong(error.to_string()))?;
        if count == 0 {
            break;
        }
        if count > MAX_TRACE_LINE_BYTES {
            return Err(wrong(format!("longer than {MAX_TRACE_LINE_BYTES} bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        if is_beside_calls(&bytes) {
            continue;
        }
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) => {
                is_inside = in_time(&record, range);
                match gap.take().filter(|_| is_inside) {
                    Some(gap) => return Err(gap),
                    None if !is_inside => continue,
                    None if records.len() == MAX_EVENTS / 2 => {
                        return Err(wrong(format!(
                            "there are more than {} calls in the range",
                            MAX_EVENTS / 2
                        )));
                    }
                    None => records.push(record),
                }
            }
            Err(error) => {
                let is_mark =
                    MARKS.iter().any(|mark| bytes.windows(mark.len()).any(|part| part == mark.as_bytes()));
                let hint = if is_mark { "; records were lost before it" } else { "" };
                let error = wrong(format!("no audit record of a call: {error}{hint}"));
                if is_inside {
                    return Err(error);
                }
                gap = gap.or(Some(error));
            }
        }
    }
    match gap {
        Some(gap) if range.to_ms.is_none() => Err(gap),
        _ => Ok(records),
    }
}

/// What a server writes when calls are missing: it could not write them, or somebody took them out.
const MARKS: [&str; 2] = ["\"event\":\"lost\"", "\"event\":\"cut\""];

/// Whether a line tells of something else than calls, such as the start of a process, and no call is missing there.
fn is_beside_calls(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        event: Option<String>,
        checkpoint: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Kind>(line).is_ok_and(|kind| match kind.event.as_deref() {
        Some("call" | "lost" | "cut") => false,
        Some(_) => true,
        None => kind.checkpoint.is_some(),
    })
}

/// Makes events of the records in a range: a call and its result each, in the order in which calls began.
pub fn events(records: &[Record], range: &Range, run_id: &str) -> Vec<Event> {
    let mut chosen: Vec<&Record> = records.iter().filter(|record| in_time(record, range)).collect();
    if let Some(caller) = &range.caller {
        keep_of(caller, &mut chosen);
    }
    let mut marks: Vec<(u64, Event)> = chosen.into_iter().flat_map(|record| pair(record, run_id)).collect();
    // Stable, so a call stays before its result.
    marks.sort_by_key(|(time_us, _)| *time_us);
    let events = marks.into_iter().zip(1..);
    events.map(|((_, event), step)| Event { step, ..event }).collect()
}

fn in_time(record: &Record, range: &Range) -> bool {
    range.from_ms.is_none_or(|from| record.time_ms >= from)
        && range.to_ms.is_none_or(|to| record.time_ms <= to)
}

/// Keeps calls of the caller and those below them. A call below another ends first, so it stands before it.
fn keep_of(caller: &str, chosen: &mut Vec<&Record>) {
    let mut kept: std::collections::HashSet<u64> = std::collections::HashSet::new();
    let mut backwards: Vec<&Record> = Vec::new();
    for record in chosen.iter().rev() {
        let is_below = record.parent.is_some_and(|parent| kept.contains(&parent));
        if is_below || (record.parent.is_none() && record.caller.starts_with(caller)) {
            kept.insert(record.call);
            backwards.push(record);
        }
    }
    backwards.reverse();
    *chosen = backwards;
}

/// A record as the call and its result, each with its time in microseconds.
fn pair(record: &Record, run_id: &str) -> [(u64, Event); 2] {
    let end_us = record.time_ms.saturating_mul(1000);
    let begin_us = end_us.saturating_sub(record.duration_us);
    let event = |event, time_us: u64| Event {
        run_id: run_id.to_owned(),
        timestamp: rfc3339(time_us / 1000),
        agent: Some(record.caller.clone()),
        event,
        tool_name: Some(record.tool.clone()),
        call: Some(record.call),
        parent: record.parent,
        ..Event::default()
    };
    let result = Event {
        latency_ms: Some(record.duration_us as f64 / 1000.0),
        success: Some(record.outcome == "ok"),
        outcome: Some(record.outcome.clone()),
        metadata: Some(metadata(record)),
        ..event(EventKind::ToolResult, end_us)
    };
    [(begin_us, event(EventKind::ToolCall, begin_us)), (end_us, result)]
}

/// What a record tells beyond the fields of an event.
fn metadata(record: &Record) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("argument_bytes".to_owned(), record.argument_bytes.into());
    metadata.insert("result_bytes".to_owned(), record.result_bytes.into());
    if let Some(plugin) = &record.plugin {
        metadata.insert("plugin".to_owned(), plugin.as_str().into());
    }
    if let Some(reason) = &record.reason {
        metadata.insert("reason".to_owned(), reason.as_str().into());
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"time_ms":5000,"call":2,"parent":1,"caller":"plugin exec","tool":"read_file","plugin":"fs","plugin_sha256":"00","argument_bytes":9,"outcome":"denied","reason":"no","result_bytes":0,"duration_us":1000}
{"time_ms":6000,"call":1,"caller":"client","tool":"execute_code","plugin":"exec","argument_bytes":20,"outcome":"ok","result_bytes":7,"duration_us":2500000}
{"time_ms":9000,"call":3,"caller":"command line","tool":"stat","argument_bytes":1,"outcome":"ok","result_bytes":7,"duration_us":10}
"#;

    fn all(text: &str) -> Result<Vec<Record>, AuditError> {
        records(text.as_bytes(), &Range::default())
    }

    #[test]
    fn records_become_calls_in_the_order_in_which_they_began() {
        let events = events(&all(LINES).unwrap(), &Range::default(), "r");
        let told: Vec<_> =
            events.iter().map(|event| (event.step, event.event, event.call.unwrap())).collect();
        use EventKind::{ToolCall, ToolResult};
        assert_eq!(
            told,
            [
                (1, ToolCall, 1),
                (2, ToolCall, 2),
                (3, ToolResult, 2),
                (4, ToolResult, 1),
                (5, ToolCall, 3),
                (6, ToolResult, 3)
            ]
        );
        assert_eq!((events[2].success, events[2].outcome.as_deref()), (Some(false), Some("denied")));
        assert_eq!((events[3].success, events[3].latency_ms), (Some(true), Some(2500.0)));
        assert_eq!(events[0].timestamp, "1970-01-01T00:00:03.500Z");
        assert_eq!(events[0].args, None, "an audit has no arguments");
        let mut text = Vec::new();
        crate::trace::write(&events, &mut text).unwrap();
        assert_eq!(crate::trace::parse(std::str::from_utf8(&text).unwrap()).unwrap().events, events);
    }

    #[test]
    fn a_range_has_what_ended_in_it() {
        let records = all(LINES).unwrap();
        let count = |range: Range| events(&records, &range, "r").len() / 2;
        assert_eq!(count(Range { from_ms: Some(6000), ..Range::default() }), 2);
        assert_eq!(count(Range { to_ms: Some(5999), ..Range::default() }), 1);
        assert_eq!(
            count(Range { caller: Some("client".into()), ..Range::default() }),
            2,
            "with the call below it"
        );
        assert_eq!(count(Range { caller: Some("command line".into()), ..Range::default() }), 1);
        assert_eq!(count(Range { caller: Some("nobody".into()), ..Range::default() }), 0);
    }

    #[test]
    fn what_is_no_call_is_passed_over() {
        let start = r#"{"time_ms":1,"event":"start","process":"server"}"#;
        let mixed = format!("{start}\n{LINES}{{\"checkpoint\":{{\"seq\":3}}}}\n");
        assert_eq!(all(&mixed).unwrap(), all(LINES).unwrap());
        assert!(all(&format!("{LINES}{{\"time_ms\":1}}\n")).is_err());
    }

    #[test]
    fn lost_records_are_an_error() {
        let lost = format!("{LINES}{{\"time_ms\":7000,\"event\":\"lost\",\"records\":1}}\n");
        let error = all(&lost).unwrap_err();
        assert_eq!(error.line, 4);
        assert!(error.message.ends_with("records were lost before it"), "{error}");
        assert!(all("{\"time_ms\":5").is_err());
        assert!(all("").unwrap().is_empty());
    }

    #[test]
    fn what_was_lost_elsewhere_does_not_matter() {
        let lost = LINES.replacen("\n", "\n{\"time_ms\":5500,\"event\":\"lost\",\"records\":1}\n", 1);
        let count = |from_ms: Option<u64>, to_ms: Option<u64>| {
            records(lost.as_bytes(), &Range { from_ms, to_ms, caller: None })
                .map(|records| records.len())
                .map_err(|error| error.line)
        };
        assert_eq!(count(Some(9000), None), Ok(1));
        assert_eq!(count(None, None), Err(2));
        assert_eq!(count(None, Some(5000)), Err(2), "right behind the range");
        assert_eq!(count(Some(6000), None), Err(2), "right before the range");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let error = all(&"x".repeat(MAX_TRACE_LINE_BYTES + 1)).unwrap_err();
        assert!(error.message.starts_with("longer than"), "{error}");
    }
}
