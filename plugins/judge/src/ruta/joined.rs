//! One trace of what the client saw and what the server's audit says.

use judge::trace::audit::{self, Range, Record};
use judge::trace::{Event, EventKind, rfc3339};

use crate::ServerError;
use crate::script::Made;

/// The calls of the client with their arguments and results, and between a call and its result the calls that were
/// made below it, of which only the audit knows.
pub(crate) fn events(
    made: Vec<Made>,
    records: Option<&[Record]>,
    run_id: &str,
) -> Result<Vec<Event>, ServerError> {
    let mut events = Vec::new();
    let mut rest = records;
    for call in made {
        let (below, own) = match &mut rest {
            Some(records) => take(records, &call)?,
            None => (&[][..], None),
        };
        events.extend(pair(call, own, audit::events(below, &Range::default(), run_id), run_id));
    }
    if rest.is_some_and(|rest| rest.iter().any(is_client)) {
        return Err(ServerError("the audit has calls of a client that `ruta` did not make".to_owned()));
    }
    for (event, step) in events.iter_mut().zip(1..) {
        event.step = step;
    }
    Ok(events)
}

fn is_client(record: &Record) -> bool {
    record.parent.is_none() && record.caller.starts_with("client")
}

/// Takes the records of one call: those below it, then its own. `ruta` makes one call at a time.
fn take<'a>(
    records: &mut &'a [Record],
    call: &Made,
) -> Result<(&'a [Record], Option<&'a Record>), ServerError> {
    let all = *records;
    let own = all.iter().position(is_client).ok_or_else(|| {
        ServerError(format!("the audit has no record of the call of `{}`", call.tool.escape_debug()))
    })?;
    *records = &all[own + 1..];
    let record = &all[own];
    let disagree = |what: &str, seen: &str, said: &str| {
        ServerError(format!(
            "the audit disagrees about {what} of a call: seen `{}`, recorded `{said}`",
            seen.escape_debug()
        ))
    };
    // Names are cut in the audit.
    if !call.tool.starts_with(&record.tool) {
        return Err(disagree("the tool", &call.tool, &record.tool));
    }
    if let Some(seen) = call.answer.outcome.as_deref().filter(|seen| *seen != record.outcome) {
        return Err(disagree("the outcome", seen, &record.outcome));
    }
    Ok((&all[..own], Some(record)))
}

fn pair(call: Made, record: Option<&Record>, below: Vec<Event>, run_id: &str) -> Vec<Event> {
    let latency_ms = call.answer.latency.as_secs_f64() * 1000.0;
    let end_ms = call.begun_ms + u64::try_from(call.answer.latency.as_millis()).unwrap_or(u64::MAX);
    let event = |event, time_ms| Event {
        run_id: run_id.to_owned(),
        timestamp: rfc3339(time_ms),
        agent: Some("ruta".to_owned()),
        event,
        tool_name: Some(call.tool.clone()),
        call: record.map(|record| record.call),
        label: call.label.clone(),
        ..Event::default()
    };
    let begin = Event { args: Some(call.args), ..event(EventKind::ToolCall, call.begun_ms) };
    let end = Event {
        result_summary: Some(call.summary),
        latency_ms: Some(latency_ms),
        success: Some(call.answer.success),
        outcome: call.answer.outcome.or_else(|| record.map(|record| record.outcome.clone())),
        ..event(EventKind::ToolResult, end_ms)
    };
    [begin].into_iter().chain(below).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use judge::trace::ResultSummary;
    use serde_json::{Map, Value};

    use super::*;
    use crate::client::Answer;

    fn made(tool: &str, outcome: &str) -> Made {
        let answer = Answer {
            success: outcome == "ok",
            outcome: Some(outcome.into()),
            text: String::new(),
            structured: Value::Null,
            latency: Duration::from_millis(2),
        };
        Made {
            tool: tool.into(),
            args: Map::new(),
            label: None,
            begun_ms: 10,
            answer,
            summary: ResultSummary::default(),
        }
    }

    fn record(call: u64, parent: Option<u64>, tool: &str, outcome: &str) -> Record {
        let caller = if parent.is_some() { "plugin exec" } else { "client" };
        let text = serde_json::json!({
            "time_ms": 12, "call": call, "parent": parent, "caller": caller, "tool": tool, "outcome": outcome,
            "duration_us": 1000,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn calls_below_a_call_stand_inside_it() {
        let records = [
            record(2, Some(1), "stat", "ok"),
            record(1, None, "code", "ok"),
            record(3, None, "tree", "denied"),
        ];
        let events = events(vec![made("code", "ok"), made("tree", "denied")], Some(&records), "r").unwrap();
        let told: Vec<_> =
            events.iter().map(|event| (event.step, event.tool_name.as_deref().unwrap())).collect();
        assert_eq!(told, [(1, "code"), (2, "stat"), (3, "stat"), (4, "code"), (5, "tree"), (6, "tree")]);
        assert_eq!((events[1].parent, events[3].call, events[5].success), (Some(1), Some(1), Some(false)));
    }

    #[test]
    fn an_audit_that_disagrees_is_told() {
        let error = |records: &[Record]| {
            events(vec![made("tree", "ok")], Some(records), "r").unwrap_err().to_string()
        };
        assert!(error(&[]).contains("no record of the call of `tree`"));
        assert!(error(&[record(1, None, "stat", "ok")]).contains("disagrees about the tool"));
        assert!(error(&[record(1, None, "tree", "denied")]).contains("disagrees about the outcome"));
        let more = [record(1, None, "tree", "ok"), record(2, None, "tree", "ok")];
        assert!(error(&more).contains("did not make"));
        assert_eq!(
            events(vec![made("tree", "ok")], None, "r").unwrap().len(),
            2,
            "without an audit, what was seen"
        );
    }
}
