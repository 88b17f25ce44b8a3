//! What became of all calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ground::{CALL_TIMEOUT_MS, GRACE_MS};
use crate::answer::Answer;

/// What every answer would come within if the machine had nothing else to do.
pub(super) const IN_TIME: Duration = Duration::from_millis(CALL_TIMEOUT_MS + GRACE_MS);

/// Kinds of answers that come without a record in the audit: where that is what failed, and what never became a call.
const WITHOUT_RECORD: [&str; 1] = ["audit_failed"];

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    /// From the call.
    pub(super) all: Duration,
    /// Of that, since its client could hear last.
    pub(super) reading: Duration,
}

/// Answers that came after [`IN_TIME`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) count: u64,
    pub(super) longest: Duration,
}

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
    /// Of calls whose client read all the time.
    pub(super) longest: Duration,
    /// By tool, where the client read all the time.
    pub(super) late: BTreeMap<&'static str, Late>,
    /// Where it did not.
    pub(super) late_to_the_deaf: Late,
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
    pub(super) fn answered(&self, tool: &'static str, trace: String, answer: &Answer, took: Took) {
        let mut counts = self.counts();
        counts.time(tool, took);
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

impl Took {
    /// Of a client that read all the time.
    pub(super) fn reading(all: Duration) -> Self {
        Self { all, reading: all }
    }
}

impl Late {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.longest = self.longest.max(took);
    }
}

impl Counts {
    fn time(&mut self, tool: &'static str, took: Took) {
        let has_read = took.reading == took.all;
        if has_read {
            self.longest = self.longest.max(took.all);
        }
        if took.all > IN_TIME {
            match has_read {
                true => self.late.entry(tool).or_default().add(took.all),
                false => self.late_to_the_deaf.add(took.all),
            }
        }
    }

    /// Answers that came late though the client read all the time.
    pub(super) fn late(&self) -> u64 {
        self.late.values().map(|late| late.count).sum()
    }

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
            score.answered("x", trace.into(), &answer, Took::default());
        }
        let counts = score.counts();
        assert_eq!(counts.recorded.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((counts.done, counts.failed.len(), counts.odd.len()), (1, 4, 1));
    }

    #[test]
    fn late_answers_are_counted_apart_from_clients_that_did_not_read() {
        let (mut counts, seconds) = (Counts::default(), Duration::from_secs);
        for (all, reading) in [(9, 9), (10, 10), (12, 12), (30, 5), (31, 0)] {
            counts.time("x", Took { all: seconds(all), reading: seconds(reading) });
        }
        assert_eq!((counts.late(), counts.longest), (2, seconds(12)));
        assert_eq!(counts.late["x"], Late { count: 2, longest: seconds(12) });
        assert_eq!(counts.late_to_the_deaf, Late { count: 2, longest: seconds(31) });
    }
}
