//! Reading and writing traces.

use std::io::Write;

use super::event::{Event, EventKind};
use crate::limits::{MAX_EVENTS, MAX_ID_BYTES, MAX_TRACE_BYTES, MAX_TRACE_LINE_BYTES};

/// A trace that was read: one session, at least one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The session.
    pub run_id: String,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Why a text is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Nothing was recorded.
    #[error("the trace is empty: nothing was recorded, so nothing can be judged")]
    Empty,
    /// It is too large.
    #[error("the trace has {0}; judge a part of it")]
    TooLarge(String),
    /// A line is wrong.
    #[error("line {line}: {message}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads a trace.
///
/// # Errors
/// If it is empty or too large, or a line is no event or does not fit those before it.
pub fn parse(text: &str) -> Result<Trace, TraceError> {
    if text.len() > MAX_TRACE_BYTES {
        return Err(TraceError::TooLarge(format!("more than {MAX_TRACE_BYTES} bytes")));
    }
    let mut events: Vec<Event> = Vec::new();
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    for (number, text) in lines {
        let wrong = |message: String| TraceError::Line { line: number + 1, message };
        if events.len() == MAX_EVENTS {
            return Err(TraceError::TooLarge(format!("more than {MAX_EVENTS} events")));
        }
        if text.len() > MAX_TRACE_LINE_BYTES {
            return Err(wrong(format!("longer than {MAX_TRACE_LINE_BYTES} bytes")));
        }
        let event: Event = serde_json::from_str(text).map_err(|error| wrong(readable(&error)))?;
        check(&event, events.last()).map_err(wrong)?;
        events.push(event);
    }
    let first = events.first().ok_or(TraceError::Empty)?;
    Ok(Trace { run_id: first.run_id.clone(), events })
}

/// The message without the line, which is always 1 for a line that is read alone.
fn readable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) => format!("{text} at column {}", error.column()),
        None => text,
    }
}

/// What holds between the fields of an event, and between it and the one before.
fn check(event: &Event, before: Option<&Event>) -> Result<(), String> {
    let is_call = matches!(event.event, EventKind::ToolCall | EventKind::ToolResult);
    if is_call && event.tool_name.as_deref().unwrap_or_default().is_empty() {
        return Err("a call or result needs `tool_name`".to_owned());
    }
    if event.run_id.is_empty() || event.run_id.len() > MAX_ID_BYTES {
        return Err(format!("`run_id` needs 1 to {MAX_ID_BYTES} bytes"));
    }
    if event.latency_ms.is_some_and(|latency| !latency.is_finite() || latency < 0.0) {
        return Err("`latency_ms` is no duration".to_owned());
    }
    let Some(before) = before else { return Ok(()) };
    if event.run_id != before.run_id {
        return Err(format!(
            "`run_id` is `{}` here and `{}` before; a trace tells one session",
            event.run_id.escape_debug(),
            before.run_id.escape_debug()
        ));
    }
    if event.step < before.step {
        return Err(format!("`step` goes back from {} to {}", before.step, event.step));
    }
    Ok(())
}

/// Writes events, one a line.
///
/// # Errors
/// If they cannot be written.
pub fn write(events: &[Event], to: &mut impl Write) -> std::io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut *to, event)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"run_id": "r", "step": 1, "event": "tool_call", "tool_name": "search_files", "args": {"pattern": "x"}}"#;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_trace_comes_back_as_it_was_written() {
        let trace = parse(&format!("\n{CALL}\n\n{}\n", CALL.replace("\"step\": 1", "\"step\": 2"))).unwrap();
        assert_eq!((&*trace.run_id, trace.events.len()), ("r", 2));
        let mut text = Vec::new();
        write(&trace.events, &mut text).unwrap();
        assert_eq!(parse(std::str::from_utf8(&text).unwrap()).unwrap(), trace);
    }

    #[test]
    fn nothing_is_no_trace() {
        assert_eq!(parse(""), Err(TraceError::Empty));
        assert_eq!(parse("\n  \n"), Err(TraceError::Empty));
    }

    #[test]
    fn wrong_lines_are_named() {
        let unknown = CALL.replace("tool_name", "tool");
        assert!(
            error(&format!("{CALL}\n{unknown}")).starts_with("line 2: unknown field `tool`"),
            "{}",
            error(&unknown)
        );
        assert!(error("{").starts_with("line 1: EOF"), "{}", error("{"));
        assert!(
            error(&format!("{CALL}\n\n{}", CALL.replace("\"r\"", "\"s\""))).starts_with("line 3: `run_id`")
        );
        assert!(
            error(&format!("{CALL}\n{}", CALL.replace(": 1", ": 0"))).starts_with("line 2: `step` goes back")
        );
        assert!(error(&CALL.replace("search_files", "")).contains("needs `tool_name`"));
        assert!(error(&CALL.replace("tool_call", "tool_cal")).contains("unknown variant `tool_cal`"));
        assert!(error(&CALL.replace("\"args\"", "\"latency_ms\": -1, \"args\"")).contains("no duration"));
    }

    #[test]
    fn a_long_line_is_refused() {
        let long = CALL.replace("\"x\"", &format!("\"{}\"", "x".repeat(MAX_TRACE_LINE_BYTES)));
        assert!(error(&long).contains("longer than"));
    }
}
