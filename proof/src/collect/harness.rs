//! What the harness of cargo says about tests.

use std::collections::BTreeMap;

use llmc_proof::{Claim, Part, Table};

use crate::child::Ended;

/// How tests say, past their harness, that this machine lacks something.
const NOT_CHECKED: [&str; 2] = ["NOT CHECKED: ", "NOT TESTED "];

/// A part of a test binary; `name` is how it is called.
pub(crate) fn part(name: &str, ended: &Ended) -> Part {
    let outcomes = outcomes(&ended.lines);
    let count = |wanted: &str| outcomes.values().filter(|outcome| **outcome == wanted).count();
    let (passed, failed, ignored) = (count("ok"), count("FAILED"), count("ignored"));
    let all = passed + failed;
    let whole = ended.status.success() && failed == 0 && passed > 0 && told(&ended.lines) == Some(passed);
    let mut claims = vec![Claim {
        what: format!("every test of `{name}` passes"),
        expected: "all pass".into(),
        seen: if all == 0 || !whole && failed == 0 {
            ended.reason()
        } else {
            format!("{passed} of {all} pass")
        },
        held: whole,
    }];
    claims.extend(outcomes.iter().filter(|(_, outcome)| **outcome == "FAILED").map(|(test, _)| Claim {
        what: test.clone(),
        expected: "ok".into(),
        seen: "FAILED".into(),
        held: false,
    }));
    let rows = outcomes
        .iter()
        .map(|(test, outcome)| vec![test.replace("::", ": ").replace('_', " "), (*outcome).into()]);
    let ignored = if ignored == 0 { String::new() } else { format!(", {ignored} are ignored") };
    Part {
        summary: format!("{passed} of {all} tests pass{ignored}."),
        began: ended.began,
        seconds: ended.seconds,
        claims,
        tables: vec![Table {
            title: "Tests".into(),
            columns: vec!["test".into(), "outcome".into()],
            rows: rows.collect(),
            ..Table::default()
        }],
        left_out: not_checked(&ended.lines),
        ..Part::default()
    }
}

/// What could not be checked here.
pub(crate) fn not_checked(lines: &[String]) -> Vec<String> {
    let said = |line: &String| {
        let at = NOT_CHECKED.iter().find_map(|mark| line.find(mark))?;
        Some(line[at..].to_owned())
    };
    let mut said: Vec<String> = lines.iter().filter_map(said).collect();
    said.sort();
    said.dedup();
    said
}

/// The outcome of each test: `test NAME ... ok`, and `ok (1.2s)` or `ignored, REASON`.
fn outcomes(lines: &[String]) -> BTreeMap<String, &'static str> {
    let outcome = |line: &String| {
        let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let outcome = ["ok", "FAILED", "ignored"].into_iter().find(|known| outcome.starts_with(known))?;
        Some((name.trim_end_matches(" - should panic").to_owned(), outcome))
    };
    lines.iter().filter_map(outcome).collect()
}

/// How many passed, by the line at the end: `test result: ok. 3 passed; 0 failed; ...`.
fn told(lines: &[String]) -> Option<usize> {
    let counts = lines.iter().filter_map(|line| line.strip_prefix("test result: ")?.split_once(". "));
    let passed = |(_, counts): (&str, &str)| counts.split_once(" passed")?.0.parse::<usize>().ok();
    counts.map(passed).try_fold(0, |sum, passed| Some(sum + passed?)).filter(|sum| *sum > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::ended;

    const GOOD: [&str; 4] = [
        "running 2 tests",
        "test files::a_link ... ok",
        "test b ... ok",
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
    ];

    #[test]
    fn tests_that_pass_hold() {
        let lines = [&GOOD[..], &["NOT CHECKED: numpy"]].concat();
        let part = part("security", &ended(&lines, 0));
        assert!(part.holds(), "{part:?}");
        assert_eq!(part.summary, "2 of 2 tests pass.");
        assert_eq!(part.tables[0].rows[1], ["files: a link", "ok"]);
        assert_eq!(part.left_out, ["NOT CHECKED: numpy"]);
    }

    #[test]
    fn a_failure_is_named() {
        let lines =
            ["test a ... ok", "test b ... FAILED", "test result: FAILED. 1 passed; 1 failed; 0 ignored"];
        let part = part("files", &ended(&lines, 101));
        assert_eq!(part.claims.iter().map(|claim| claim.held).collect::<Vec<_>>(), [false, false]);
        assert_eq!((&*part.claims[0].seen, &*part.claims[1].what), ("1 of 2 pass", "b"));
    }

    #[test]
    fn what_did_not_run_does_not_hold() {
        for (lines, code) in [
            (&["error: could not compile `x`"][..], 101),
            (&["test result: ok. 0 passed; 0 failed; 0 ignored"], 0),
            // Died in the middle.
            (&GOOD[..3], 101),
            (&GOOD[..3], 0),
            (&GOOD, 1),
        ] {
            let part = part("x", &ended(lines, code));
            assert!(!part.holds() && !part.claims[0].seen.is_empty(), "{lines:?}: {part:?}");
        }
    }
}
