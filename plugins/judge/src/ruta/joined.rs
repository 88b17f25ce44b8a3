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
