//! What came of the scenarios, beside what was to be expected.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

const BASELINE: &str = "xtask/conformance/baseline.toml";

/// What precedes the name of a scenario in the name of its folder.
const FOLDER_PREFIX: &str = "server-";

/// Length of the time behind the name, as in `-2026-11-23T06-47-29-299Z`.
const FOLDER_SUFFIX_BYTES: usize = 25;

/// Longest text of a problem that is shown, in characters.
const MAX_PROBLEM_CHARS: usize = 160;

/// One scenario of one revision.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) revision: String,
    pub(super) scenario: String,
    /// It counts for the revision.
    pub(super) scored: bool,
    pub(super) passed: usize,
    /// Failures and warnings.
    pub(super) failed: usize,
    pub(super) problems: Vec<String>,
}

impl Row {
    pub(super) fn passes(&self) -> bool {
        self.failed == 0
    }
}

/// One check of a scenario, as the suite writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    error_message: Option<String>,
}

/// Scenarios that are known not to pass.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    #[serde(default)]
    excluded: Vec<Excluded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Excluded {
    revision: String,
    scenario: String,
    reason: String,
}

/// Leaves the rows for the report of the proof, in `rows.json` of the folder.
pub(super) fn leave(rows: &[Row], baseline: &Baseline, folder: &Path) -> Result<()> {
    let left = |row: &Row| {
        let expected = row.passes() != baseline.reason(row).is_some();
        serde_json::json!({
            "revision": row.revision, "scenario": row.scenario, "scored": row.scored, "passed": row.passed,
            "failed": row.failed, "outcome": baseline.outcome(row), "expected": expected,
        })
    };
    let file = folder.join("rows.json");
    let rows: Vec<_> = rows.iter().map(left).collect();
    fs::write(&file, serde_json::to_vec_pretty(&rows)?)
        .with_context(|| format!("failed to write `{}`", file.display()))
}

/// Reads the results of a run, in the order of the names. A scored scenario without any is one that failed.
pub(super) fn read(folder: &Path, revision: &str, scored: &[String]) -> Result<Vec<Row>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(scenario) = scenario(&name) else { continue };
        let file = entry.path().join("checks.json");
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let checks: Vec<Check> = serde_json::from_str(&text)?;
        found.insert(scenario.to_owned(), checks);
    }
    for scenario in scored {
        found.entry(scenario.clone()).or_default();
    }
    Ok(found.into_iter().map(|(scenario, checks)| row(revision, scenario, &checks, scored)).collect())
}

fn row(revision: &str, scenario: String, checks: &[Check], scored: &[String]) -> Row {
    let scored = scored.contains(&scenario);
    let count = |wanted: &[&str]| checks.iter().filter(|check| wanted.contains(&&*check.status)).count();
    let mut problems: Vec<String> = checks
        .iter()
        .filter(|check| ["FAILURE", "WARNING"].contains(&&*check.status))
        .map(|check| {
            format!("{}: {}", check.id, short(check.error_message.as_deref().unwrap_or("no reason")))
        })
        .collect();
    if scored && checks.is_empty() {
        problems.push("it left no result".to_owned());
    }
    let (passed, failed) = (count(&["SUCCESS"]), problems.len());
    Row { revision: revision.to_owned(), scenario, scored, passed, failed, problems }
}

fn scenario(folder: &str) -> Option<&str> {
    let name = folder.strip_prefix(FOLDER_PREFIX)?;
    name.get(..name.len().checked_sub(FOLDER_SUFFIX_BYTES)?)
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(MAX_PROBLEM_CHARS).collect()
}

impl Baseline {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let file = root.join(BASELINE);
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        toml::from_str(&text).with_context(|| format!("failed to read `{BASELINE}`"))
    }

    /// How a scenario ended, in words.
    pub(super) fn outcome(&self, row: &Row) -> String {
        match (row.passes(), self.reason(row)) {
            (true, None) => "ok".to_owned(),
            (false, None) => format!("FAILED: {}", row.problems.join("; ")),
            (true, Some(_)) => "PASSES, though it is excluded".to_owned(),
            (false, Some(reason)) => format!("excluded: {reason}"),
        }
    }

    /// Why a scenario is excluded.
    pub(super) fn reason(&self, row: &Row) -> Option<&str> {
        let is_meant = |entry: &&Excluded| entry.revision == row.revision && entry.scenario == row.scenario;
        self.excluded.iter().find(is_meant).map(|entry| entry.reason.as_str())
    }

    /// Everything that is not as it says.
    pub(super) fn surprises(&self, rows: &[Row]) -> Vec<String> {
        let mut surprises = Vec::new();
        for row in rows {
            let Row { revision, scenario, .. } = row;
            match (row.passes(), self.reason(row)) {
                (false, None) => surprises.push(format!("`{scenario}` of {revision} fails")),
                (true, Some(_)) => {
                    surprises.push(format!("`{scenario}` of {revision} passes; take it out of `{BASELINE}`"));
                }
                (true, None) | (false, Some(_)) => {}
            }
        }
        for Excluded { revision, scenario, .. } in &self.excluded {
            if !rows.iter().any(|row| row.revision == *revision && row.scenario == *scenario) {
                surprises.push(format!("`{BASELINE}` names `{scenario}` of {revision}, which was not run"));
            }
        }
        surprises
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(outcomes: &[(&str, &str)]) -> Vec<Row> {
        let rows = outcomes.iter().map(|(scenario, status)| {
            let check = Check { id: "c".into(), status: (*status).into(), error_message: None };
            row("r", (*scenario).to_owned(), &[check], &[(*scenario).to_owned()])
        });
        rows.collect()
    }

    fn baseline(scenarios: &[&str]) -> Baseline {
        let entry = |scenario: &&str| Excluded {
            revision: "r".into(),
            scenario: (*scenario).into(),
            reason: "because".into(),
        };
        Baseline { excluded: scenarios.iter().map(entry).collect() }
    }

    #[test]
    fn the_baseline_is_strict_in_all_directions() {
        let rows =
            rows(&[("good", "SUCCESS"), ("skipped", "SKIPPED"), ("bad", "FAILURE"), ("odd", "WARNING")]);
        assert_eq!(baseline(&["bad", "odd"]).surprises(&rows), [""; 0]);
        assert_eq!(baseline(&["odd"]).surprises(&rows), ["`bad` of r fails"]);
        let passes = baseline(&["bad", "odd", "good"]).surprises(&rows);
        assert!(passes[0].contains("`good` of r passes"), "{passes:?}");
        assert!(baseline(&["bad", "odd", "gone"]).surprises(&rows)[0].contains("was not run"));
    }

    #[test]
    fn rows_are_left_for_the_report() {
        let folder = tempfile::tempdir().unwrap();
        leave(&rows(&[("good", "SUCCESS"), ("bad", "FAILURE")]), &baseline(&["good", "bad"]), folder.path())
            .unwrap();
        let left: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join("rows.json")).unwrap()).unwrap();
        assert_eq!((&left[0]["expected"], &left[1]["expected"]), (&false.into(), &true.into()));
        assert_eq!(left[1]["outcome"], "excluded: because");
    }

    #[test]
    fn a_scored_scenario_without_results_has_failed() {
        let row = row("r", "lost".into(), &[], &["lost".into()]);
        assert!(!row.passes() && row.scored, "{row:?}");
        let unscored = super::row("r", "lost".into(), &[], &[]);
        assert!(unscored.passes() && !unscored.scored, "{unscored:?}");
    }

    #[test]
    fn folders_are_named_after_scenarios() {
        assert_eq!(scenario("server-tools-list-2026-11-23T06-47-29-305Z"), Some("tools-list"));
        assert_eq!(scenario("elsewhere"), None);
        assert_eq!(scenario("server-x"), None);
    }

    /// A folder with results as the suite leaves them.
    #[test]
    fn results_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let of = folder.path().join("server-ping-2026-11-23T06-47-29-305Z");
        fs::create_dir(&of).unwrap();
        let checks = r#"[{"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "FAILURE", "errorMessage": "no\nmore"}]"#;
        fs::write(of.join("checks.json"), checks).unwrap();
        let rows = read(folder.path(), "r", &["ping".into(), "lost".into()]).unwrap();
        let counts: Vec<_> = rows.iter().map(|row| (row.scenario.as_str(), row.passed, row.failed)).collect();
        assert_eq!(counts, [("lost", 0, 1), ("ping", 1, 1)]);
        assert_eq!(rows[1].problems, ["b: no"]);
    }
}
