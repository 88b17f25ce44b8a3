//! The calls of a trace: each with its result, if there is one.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::event::{Event, EventKind, ResultSummary};

/// A call of a tool. What is `None` the trace does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Its place among the calls, from 0.
    pub place: usize,
    /// Its step in the trace.
    pub step: u64,
    /// The tool.
    pub tool: String,
    /// Arguments.
    pub args: Option<Map<String, Value>>,
    /// Its name for expressions.
    pub label: Option<String>,
    /// Whether it succeeded.
    pub success: Option<bool>,
    /// `ok`, `tool_error`, or the kind of refusal or failure.
    pub outcome: Option<String>,
    /// How long it took.
    pub latency_ms: Option<f64>,
    /// What it gave.
    pub summary: Option<ResultSummary>,
}

/// Places of the calls whose results may still come. Every question is answered in constant time on average, so that
/// a trace of calls without results costs no more than another.
#[derive(Default)]
struct Open<'a> {
    numbered: HashMap<(&'a str, u64), usize>,
    /// Places of calls without a number, the last one at the end.
    plain: HashMap<&'a str, Vec<usize>>,
    /// Places of calls with one; those that have their result are skipped.
    order: HashMap<&'a str, Vec<usize>>,
    closed: HashSet<usize>,
}

impl<'a> Open<'a> {
    fn add(&mut self, tool: &'a str, number: Option<u64>, place: usize) {
        match number {
            Some(number) => {
                self.numbered.insert((tool, number), place);
                self.order.entry(tool).or_default().push(place);
            }
            None => self.plain.entry(tool).or_default().push(place),
        }
    }

    /// The call that a result belongs to.
    fn take(&mut self, tool: &'a str, number: Option<u64>) -> Option<usize> {
        let Some(number) = number else {
            let order = self.order.entry(tool).or_default();
            while order.last().is_some_and(|place| self.closed.contains(place)) {
                order.pop();
            }
            let plain = self.plain.entry(tool).or_default();
            return if order.last() > plain.last() { order.pop() } else { plain.pop() };
        };
        match self.numbered.remove(&(tool, number)) {
            Some(place) => {
                self.closed.insert(place);
                Some(place)
            }
            None => self.plain.get_mut(tool)?.pop(),
        }
    }
}

/// Puts calls and their results together, in the order in which they were called.
///
/// A result without a call counts as one: the tool ran, whoever asked for it.
pub fn calls(events: &[Event]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open = Open::default();
    for event in events {
        let Some(tool) = event.tool_name.as_deref() else { continue };
        let place = match event.event {
            EventKind::ToolCall => {
                open.add(tool, event.call, calls.len());
                calls.len()
            }
            EventKind::ToolResult => open.take(tool, event.call).unwrap_or(calls.len()),
            EventKind::Thought | EventKind::System | EventKind::Error => continue,
        };
        if place == calls.len() {
            calls.push(Call { place, step: event.step, tool: tool.to_owned(), ..Call::default() });
        }
        fill(&mut calls[place], event);
    }
    calls
}

/// Adds what an event tells. What was told before stays, but a failure outweighs a success.
fn fill(call: &mut Call, event: &Event) {
    call.args = call.args.take().or_else(|| event.args.clone());
    call.label = call.label.take().or_else(|| event.label.clone());
    call.outcome = event.outcome.clone().or_else(|| call.outcome.take());
    call.latency_ms = event.latency_ms.or(call.latency_ms);
    call.summary = event.result_summary.clone().or_else(|| call.summary.take());
    call.success = match (call.success, event.success) {
        (Some(before), Some(now)) => Some(before && now),
        (before, now) => before.or(now),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: EventKind, tool: &str, call: Option<u64>, success: Option<bool>) -> Event {
        Event { event, tool_name: Some(tool.into()), call, success, ..Event::default() }
    }

    #[test]
    fn results_find_their_calls() {
        use EventKind::{ToolCall, ToolResult};
        let calls = calls(&[
            event(ToolCall, "a", Some(1), None),
            event(ToolCall, "a", Some(2), None),
            event(ToolCall, "b", None, None),
            event(ToolResult, "a", Some(1), Some(false)),
            event(ToolResult, "b", None, Some(true)),
            event(ToolResult, "c", None, Some(true)),
            event(ToolCall, "a", None, None),
            event(ToolResult, "a", None, Some(true)),
            event(ToolResult, "a", Some(2), Some(true)),
        ]);
        let told: Vec<_> = calls.iter().map(|call| (&*call.tool, call.success)).collect();
        assert_eq!(
            told,
            [("a", Some(false)), ("a", Some(true)), ("b", Some(true)), ("c", Some(true)), ("a", Some(true)),]
        );
    }

    #[test]
    fn a_failure_is_not_outweighed() {
        use EventKind::{ToolCall, ToolResult};
        let calls =
            calls(&[event(ToolCall, "a", None, Some(false)), event(ToolResult, "a", None, Some(true))]);
        assert_eq!(calls[0].success, Some(false));
    }
}
