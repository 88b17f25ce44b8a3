//! What became of all calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::answer::Answer;

/// Kinds of answers that come without a record in the audit: where that is what failed, and what never became a call.
const WITHOUT_RECORD: [&str; 1] = ["audit_failed"];

/// Counts of all clients together.
#[derive(Debug, Default)]
pub(super) struct Score {
    inner: Mutex<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) done: u64,
    /// Typed errors by kind.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) cancelled: u64,
    /// In flight when their client or their server was killed.
    pub(super) cut: u64,
    /// A server that could not be reached; nothing was sent.
    pub(super) unreached: u64,
    pub(super) longest: Duration,
    /// Answers that came too late, or never.
    pub(super) overdue: Vec<String>,
    /// Answers that are neither a result nor a typed error, and calls that were dropped.
    pub(super) odd: Vec<String>,
    /// Successes that say something wrong.
    pub(super) wrong: Vec<String>,
    /// Other things that must not happen.
    pub(super) broken: Vec<String>,
    /// Traces of answered calls that must have a record.
    pub(super) recorded: BTreeSet<String>,
}

impl Score {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an answer.
    pub(super) fn answered(&self, trace: String, answer: &Answer, took: Duration) {
        let mut counts = self.counts();
        counts.longest = counts.longest.max(took);
        let mut is_recorded = true;
        match answer {
            Answer::Done(_) => counts.done += 1,
            Answer::Failed { kind, .. } => {
                // Some never became a call: refused by the door, or for their form.
                is_recorded = !WITHOUT_RECORD.contains(&&**kind) && !kind.contains(' ');
                *counts.failed.entry(kind.clone()).or_default() += 1;
            }
            Answer::Odd(what) => {
                is_recorded = false;
                counts.odd.push(what.clone());
            }
        }
        if is_recorded {
            counts.recorded.insert(trace);
        }
    }
}

impl Counts {
    pub(super) fn made(&self) -> u64 {
        self.calls.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_never_became_a_call_needs_no_record() {
        let score = Score::default();
        let failed = |kind: &str| Answer::Failed { kind: kind.into(), text: String::new() };
        for (trace, answer) in [
            ("a", Answer::Done(json!({}))),
            ("b", failed("busy")),
            ("c", failed("audit_failed")),
            ("d", failed("http 503")),
            ("e", failed("code -32602")),
            ("f", Answer::Odd("x".into())),
        ] {
            score.answered(trace.into(), &answer, Duration::ZERO);
        }
        let counts = score.counts();
        assert_eq!(counts.recorded.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((counts.done, counts.failed.len(), counts.odd.len()), (1, 4, 1));
    }
}
