//! What holds for every call below one call: how many there may be, how many bytes they may move, and to which tools
//! a plugin limited itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::authorise::not_opened;
use super::{CallError, Caller, Kind, identity};
use crate::config::Limits;

/// Shared by a call and all calls below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    spent: Arc<Spent>,
    narrowed: Option<Arc<Narrowed>>,
    /// The only tools that the token of the client opens, whoever calls them for it.
    opened: Option<Arc<BTreeSet<String>>>,
}

/// What calls below a call have used.
#[derive(Debug, Default)]
struct Spent {
    calls: AtomicU64,
    bytes: AtomicU64,
}

/// A plugin may call these tools only, whatever it is granted.
#[derive(Debug)]
struct Narrowed {
    plugin: Arc<str>,
    tools: BTreeSet<String>,
    /// What was said further up holds too.
    above: Option<Arc<Narrowed>>,
}

impl Bounds {
    /// What holds for calls of this caller and for all below them.
    pub(super) fn of(caller: &Caller) -> Self {
        let opened = match caller {
            Caller::Remote(identity) => identity.tools().cloned(),
            Caller::Client | Caller::CommandLine | Caller::Plugin(_) => None,
        };
        Self { opened, ..Self::default() }
    }

    /// The same bounds, and `plugin` may call only `tools`. Other plugins below go by their own grants.
    pub(crate) fn narrowed(&self, plugin: &str, tools: Vec<String>) -> Self {
        let narrowed = Narrowed {
            plugin: plugin.into(),
            tools: tools.into_iter().collect(),
            above: self.narrowed.clone(),
        };
        Self {
            spent: Arc::clone(&self.spent),
            narrowed: Some(Arc::new(narrowed)),
            opened: self.opened.clone(),
        }
    }

    /// Refuses a tool that the client's token does not open, or that the caller gave up further up.
    pub(super) fn allows(&self, caller: &Caller, tool: &str) -> Result<(), CallError> {
        if self.opened.as_ref().is_some_and(|opened| !identity::contains(opened, tool)) {
            return not_opened(tool);
        }
        let Caller::Plugin(name) = caller else { return Ok(()) };
        let refusing = self.chain().find(|level| level.plugin == *name && !level.tools.contains(tool));
        refusing.map_or(Ok(()), |level| {
            let left: Vec<&str> = level.tools.iter().map(String::as_str).collect();
            let left = if left.is_empty() { "none".to_owned() } else { left.join(", ") };
            let message = format!("`{tool}` is not among the tools that this run was limited to: {left}");
            Err(CallError::new(Kind::Denied, message).by("run.within"))
        })
    }

    fn chain(&self) -> impl Iterator<Item = &Narrowed> {
        std::iter::successors(self.narrowed.as_deref(), |level| level.above.as_deref())
    }

    /// Counts a call. Refused ones count too: each is work and a line of the audit.
    pub(super) fn count_call(&self, limits: &Limits) -> Result<(), CallError> {
        let most = limits.nested_calls;
        if self.spent.calls.fetch_add(1, Ordering::Relaxed) < u64::from(most) {
            return Ok(());
        }
        let message = format!(
            "more than {most} tool calls below one call (`limits.nested_calls`); ask for more in each call"
        );
        Err(CallError::new(Kind::Limit, message).by("limits.nested_calls"))
    }

    /// Counts arguments or a result.
    pub(super) fn count_bytes(&self, bytes: usize, limits: &Limits) -> Result<(), CallError> {
        let (bytes, most) = (bytes as u64, limits.nested_bytes);
        if self.spent.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= most {
            return Ok(());
        }
        let message = format!(
            "tool calls below one call moved more than {most} bytes of arguments and results \
             (`limits.nested_bytes`); ask for less"
        );
        Err(CallError::new(Kind::Limit, message).by("limits.nested_bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> Caller {
        Caller::Plugin(name.into())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_was_given_up_stays_given_up_further_down() {
        let all = Bounds::default();
        assert!(all.allows(&plugin("exec"), "stat").is_ok());
        let outer = all.narrowed("exec", names(&["read_file", "execute_code"]));
        let inner = outer.narrowed("exec", names(&["read_file", "stat"]));
        assert!(inner.allows(&plugin("exec"), "read_file").is_ok());
        for tool in ["stat", "execute_code", "write_file"] {
            let refused = inner.allows(&plugin("exec"), tool).unwrap_err();
            assert_eq!(refused.kind, Kind::Denied, "{tool}");
        }
        assert!(inner.allows(&plugin("cmd"), "write_file").is_ok(), "another plugin goes by its own grants");
        let none = all.narrowed("exec", Vec::new()).allows(&plugin("exec"), "stat").unwrap_err();
        assert!(none.message.ends_with("limited to: none"), "{none}");
    }

    #[test]
    fn calls_and_bytes_are_counted_for_the_whole_tree() {
        let limits = Limits { nested_calls: 2, nested_bytes: 10, ..Limits::default() };
        let above = Bounds::default();
        let below = above.narrowed("exec", Vec::new());
        assert!(above.count_call(&limits).is_ok() && below.count_call(&limits).is_ok());
        assert!(above.count_call(&limits).unwrap_err().message.contains("limits.nested_calls"));
        assert!(below.count_bytes(10, &limits).is_ok());
        assert!(above.count_bytes(1, &limits).unwrap_err().message.contains("limits.nested_bytes"));
        assert!(above.count_bytes(usize::MAX, &limits).is_err());
    }
}
