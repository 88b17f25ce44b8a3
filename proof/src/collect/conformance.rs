//! What came of the scenarios of the conformance suite.

use std::path::Path;

use anyhow::Result;
use llmc_proof::{Claim, Part, Table};
use serde::Deserialize;

use super::left;
use crate::child::Ended;

/// What `cargo xtask conformance` leaves in the target folder.
const FILE: &str = "conformance/rows.json";

/// A scenario of a revision, as it is left there.
#[derive(Deserialize)]
struct Row {
    revision: String,
    scenario: String,
    scored: bool,
    passed: usize,
    failed: usize,
    outcome: String,
    /// As the baseline says.
    expected: bool,
}

/// The part of a run of the suite.
///
/// # Errors
/// If it left nothing.
pub(crate) fn part(target: &Path, ended: &Ended) -> Result<Part> {
    Ok(made(&left::<Vec<Row>>(&target.join(FILE), ended)?, ended))
}

fn made(rows: &[Row], ended: &Ended) -> Part {
    let mut revisions: Vec<&str> = rows.iter().map(|row| &*row.revision).collect();
    revisions.dedup();
    let mut claims: Vec<Claim> = revisions.iter().map(|revision| claim(revision, rows)).collect();
    claims.push(Claim {
        what: "every scenario ends as the list of known exceptions says".into(),
        expected: "exit status: 0".into(),
        seen: if ended.status.success() { ended.status.to_string() } else { ended.reason() },
        held: ended.status.success(),
    });
    let row = |row: &Row| {
        let scored = if row.scored { "yes" } else { "no" };
        vec![
            row.revision.clone(),
            row.scenario.clone(),
            scored.into(),
            row.passed.to_string(),
            row.failed.to_string(),
            row.outcome.clone(),
        ]
    };
    Part {
        summary: format!(
            "The official suite of the protocol, {} revisions: {}.",
            revisions.len(),
            revisions.join(" and ")
        ),
        began: ended.began,
        seconds: ended.seconds,
        claims,
        tables: vec![Table {
            title: "Scenarios".into(),
            columns: ["revision", "scenario", "scored", "passed", "failed", "outcome"]
                .map(String::from)
                .into(),
            rows: rows.iter().map(row).collect(),
            ..Table::default()
        }],
        ..Part::default()
    }
}

fn claim(revision: &str, rows: &[Row]) -> Claim {
    let scored = || rows.iter().filter(|row| row.revision == revision && row.scored);
    let (green, all) = (scored().filter(|row| row.failed == 0).count(), scored().count());
    let odd = scored().filter(|row| !row.expected).count();
    let excluded = all - green;
    let noted = if excluded > 0 && odd == 0 {
        format!(", {excluded} as excluded with a reason")
    } else {
        String::new()
    };
    Claim {
        what: format!("scored scenarios of {revision} pass, or are excluded with a reason"),
        expected: format!("{all} of {all}"),
        seen: format!("{green} of {all}{noted}"),
        held: odd == 0 && all > 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::collect::ended;

    fn rows(failed: usize, expected: bool) -> Vec<Row> {
        let row = json!([{"revision": "2026-07-28", "scenario": "ping", "scored": true, "passed": 2, "failed": failed,
            "outcome": "ok", "expected": expected}]);
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn scenarios_are_counted_for_their_revision() {
        let part = made(&rows(0, true), &ended(&[], 0));
        assert!(part.holds());
        assert_eq!(part.claims[0].seen, "1 of 1");
        assert_eq!(
            made(&rows(1, true), &ended(&[], 0)).claims[0].seen,
            "0 of 1, 1 as excluded with a reason"
        );
        assert!(!made(&rows(1, false), &ended(&[], 1)).holds());
        assert!(!made(&rows(0, true), &ended(&["error: x"], 1)).holds(), "the suite itself failed");
        assert!(!made(&[], &ended(&["error: no node"], 1)).holds());
    }
}
