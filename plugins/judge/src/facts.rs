//! What expressions may ask of a trace, and how calls are found in it.

use std::collections::BTreeMap;

use crate::expression::functions::Failure;
use crate::scenario::Query;
use crate::trace::Call;

/// The calls of a trace and the queries of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// In the order of the trace.
    pub calls: &'a [Call],
    /// By name.
    pub queries: &'a BTreeMap<String, Query>,
}

impl<'a> Facts<'a> {
    /// The call that a name means: the last one with that label; or with that query, or text, as one of its arguments;
    /// or of the tool of that name.
    pub(crate) fn call(&self, name: &str) -> Result<&'a Call, Failure> {
        let last = |wanted: &dyn Fn(&Call) -> bool| self.calls.iter().rev().find(|call| wanted(call));
        let query = self.query(name).unwrap_or(name);
        let asks = |call: &Call| {
            let values = call.args.iter().flat_map(|args| args.values());
            values.into_iter().any(|value| value.as_str() == Some(query))
        };
        last(&|call| call.label.as_deref() == Some(name))
            .or_else(|| last(&asks))
            .or_else(|| last(&|call| call.tool == name))
            .ok_or_else(|| {
                let name = &name[..name.floor_char_boundary(100)];
                Failure::unjudgeable(format!(
                    "no call of the trace has the label `{name}`, that query or text as an argument, or a tool of that name"
                ))
            })
    }

    /// All calls of the tools that a name or a pattern with `*` means.
    pub(crate) fn of_tool(&self, pattern: &str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| fits(pattern, &call.tool))
    }

    /// All calls, of which there is one at least.
    pub(crate) fn some_calls(&self) -> Result<&'a [Call], Failure> {
        if self.calls.is_empty() {
            Err(Failure::unjudgeable("the trace has no call"))
        } else {
            Ok(self.calls)
        }
    }

    /// The text of a query: `base`, or `variants[1]` for one of a list.
    pub(crate) fn query(&self, name: &str) -> Option<&'a str> {
        let (list, place) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((list, place)) => (list, Some(place.parse::<usize>().ok()?)),
            None => (name, None),
        };
        match (self.queries.get(list)?, place) {
            (Query::One(text), None) => Some(text),
            (Query::Many(texts), Some(place)) => texts.get(place).map(String::as_str),
            _ => None,
        }
    }
}

/// Whether the name of a tool fits a pattern, in which `*` stands for any letters.
pub(crate) fn fits(pattern: &str, tool: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == tool };
    let Some(mut tool) = tool.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match tool.find(part) {
            Some(at) => tool = &tool[at + part.len()..],
            None => return false,
        }
    }
    tool.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_whole_names() {
        for (pattern, tool, expected) in [
            ("read_file", "read_file", true),
            ("read_file", "read_files", false),
            ("*", "anything", true),
            ("write_*", "write_file", true),
            ("write_*", "overwrite_file", false),
            ("*_file", "read_file", true),
            ("*_file", "read_files", false),
            ("*a*b", "xaxb", true),
            ("*a*b", "xbxa", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, tool), expected, "{pattern} {tool}");
        }
    }
}
