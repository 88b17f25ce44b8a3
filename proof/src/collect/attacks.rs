//! The tables of attacks: what was tried, expected and seen, by section.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use llmc_proof::{Claim, Part, Table};
use serde::Deserialize;
use serde_json::Value;

use super::{harness, left};
use crate::child::Ended;

/// What the test leaves in the target folder.
const FILE: &str = "attempts.json";

/// Longest text of a cell, in characters.
const CELL_CHARS: usize = 1200;

#[derive(Deserialize)]
struct Left {
    entries: Vec<Entry>,
    /// What other tests hold.
    elsewhere: Vec<Elsewhere>,
}

#[derive(Deserialize)]
struct Elsewhere {
    origin: String,
    held: Held,
}

#[derive(Deserialize)]
struct Held {
    title: String,
    source: String,
    test: String,
}

/// One row in one jail, as the test writes it.
#[derive(Deserialize)]
struct Entry {
    number: u32,
    section: String,
    origin: String,
    title: String,
    source: String,
    profile: String,
    tried: Value,
    expected: Value,
    seen: Value,
    neighbour: Value,
    wall: String,
    verdict: Verdict,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    AsExpected,
    Differs(Vec<String>),
    NotChecked(String),
}

/// The part of a run of these tests.
///
/// # Errors
/// If it left no table.
pub(crate) fn part(target: &Path, ended: &Ended) -> Result<Part> {
    let left: Left = left(&target.join(FILE), ended)?;
    Ok(made(&left, ended))
}

fn made(Left { entries, elsewhere }: &Left, ended: &Ended) -> Part {
    let mut sections: Vec<&str> = entries.iter().map(|entry| &*entry.section).collect();
    sections.dedup();
    let of = |section| entries.iter().filter(move |entry: &&Entry| entry.section == section);
    let mut part = harness::part("attempts", ended);
    part.tables = vec![origins(entries, elsewhere)];
    for section in sections {
        part.claims.push(claim(section, &of(section).collect::<Vec<_>>()));
        part.tables.push(Table {
            title: section.into(),
            note: "What was tried, beside an honest neighbour that has to work.".into(),
            columns: [
                "#",
                "attempt",
                "known from",
                "where",
                "input",
                "expected",
                "seen",
                "honest neighbour saw",
                "wall, as the row names it",
                "verdict",
            ]
            .map(String::from)
            .into(),
            rows: of(section).map(row).collect(),
        });
    }
    if !elsewhere.is_empty() {
        part.tables.push(held_elsewhere(elsewhere));
    }
    for entry in entries {
        match &entry.verdict {
            Verdict::AsExpected => {}
            Verdict::Differs(points) => part.claims.push(Claim {
                what: format!("attempt {} ({}) in {}", entry.number, entry.title, entry.profile),
                expected: shown(&entry.expected),
                seen: points.join("; "),
                held: false,
            }),
            Verdict::NotChecked(why) => {
                part.left_out.push(format!("attempt {} ({}): {why}", entry.number, entry.title));
            }
        }
    }
    let as_expected = entries.iter().filter(|entry| entry.is_as_expected()).count();
    part.summary = format!(
        "{} known and new attacks, each in every place where it applies: {as_expected} of {} ended as expected, with the \
         machine outside unchanged and an honest neighbour that works.",
        attacks(entries.iter()),
        entries.len()
    );
    part
}

impl Entry {
    fn is_as_expected(&self) -> bool {
        matches!(self.verdict, Verdict::AsExpected)
    }
}

/// How many attacks these are: one has an entry for each place.
fn attacks<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    entries.map(|entry| entry.number).collect::<BTreeSet<_>>().len()
}

/// How many come from where.
fn origins(entries: &[Entry], elsewhere: &[Elsewhere]) -> Table {
    let mut origins: Vec<&str> = entries.iter().map(|entry| &*entry.origin).collect();
    origins.dedup();
    let row = |origin: &str| {
        let of = || entries.iter().filter(|entry| entry.origin == origin);
        let others = elsewhere.iter().filter(|held| held.origin == origin).count();
        let counts =
            [attacks(of()), of().count(), of().filter(|entry| entry.is_as_expected()).count(), others];
        let cells = [origin.to_owned()].into_iter().chain(counts.map(|count| count.to_string()));
        cells.collect()
    };
    Table {
        title: "Attacks by source".into(),
        note: "An attack that takes more than a row can say is held by a test of its own.".into(),
        columns: ["source", "attacks", "in places", "as expected", "held by other tests"]
            .map(String::from)
            .into(),
        rows: origins.into_iter().map(row).collect(),
    }
}

fn held_elsewhere(elsewhere: &[Elsewhere]) -> Table {
    let row = |Elsewhere { held: Held { title, source, test }, .. }: &Elsewhere| {
        vec![title.clone(), source.clone(), test.clone()]
    };
    Table {
        title: "Held by other tests".into(),
        note: "These are no rows; that the named tests exist is checked beside the rows.".into(),
        columns: ["attack", "known from", "test"].map(String::from).into(),
        rows: elsewhere.iter().map(row).collect(),
    }
}

fn claim(section: &str, entries: &[&Entry]) -> Claim {
    let count = |wanted: fn(&Verdict) -> bool| entries.iter().filter(|entry| wanted(&entry.verdict)).count();
    let held = entries.iter().filter(|entry| entry.is_as_expected()).count();
    let checked = entries.len() - count(|verdict| matches!(verdict, Verdict::NotChecked(_)));
    Claim {
        what: format!("{section}: every attack is stopped, and every honest neighbour works"),
        expected: format!("{checked} of {checked}"),
        seen: format!("{held} of {checked}"),
        held: held == checked && checked > 0,
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let verdict = match &entry.verdict {
        Verdict::AsExpected => "as expected".to_owned(),
        Verdict::Differs(points) => format!("DIFFERS: {}", points.join("; ")),
        Verdict::NotChecked(why) => format!("not checked: {why}"),
    };
    vec![
        entry.number.to_string(),
        entry.title.clone(),
        entry.source.clone(),
        entry.profile.clone(),
        shown(&entry.tried),
        shown(&entry.expected),
        shown(&entry.seen),
        shown(&entry.neighbour),
        entry.wall.clone(),
        verdict,
    ]
}

/// A value as somebody would write it down: texts as they are, nothing for nothing.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Object(fields) if fields.len() == 1 => match fields.iter().next() {
            Some((name, inner)) if name == "result" || name == "code" => return shown(inner),
            _ => value.to_string(),
        },
        Value::String(text) => text.trim().to_owned(),
        value => value.to_string(),
    };
    match text.char_indices().nth(CELL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::collect::ended;

    const SAID: [&str; 2] = ["test every_attempt ... ok", "test result: ok. 1 passed; 0 failed; 0 ignored"];

    fn left_with(verdicts: &[Value]) -> Left {
        let entry = |(number, verdict)| {
            let entry = json!({"number": number, "section": "Files", "origin": "sandboxes", "title": "t", "source": "CVE-1", "profile": "code",
                "tried": {"code": "open('/etc/shadow')\n"}, "expected": {"result": "ENOENT"}, "seen": {"a": 1, "b": "<"},
                "neighbour": null, "wall": "own root", "verdict": verdict});
            serde_json::from_value(entry).unwrap()
        };
        let held =
            json!({"origin": "sandboxes", "held": {"title": "u", "source": "CVE-2", "test": "a.rs::b"}});
        Left {
            entries: verdicts.iter().enumerate().map(entry).collect(),
            elsewhere: vec![serde_json::from_value(held).unwrap()],
        }
    }

    #[test]
    fn rows_show_what_was_tried_and_seen() {
        let part = made(
            &left_with(&[json!("as_expected"), json!({"not_checked": "no compiler"})]),
            &ended(&SAID, 0),
        );
        assert!(part.holds(), "{part:?}");
        assert_eq!(part.tables[0].rows, [["sandboxes", "2", "2", "1", "1"]]);
        assert_eq!(part.tables[2].rows, [["u", "CVE-2", "a.rs::b"]]);
        let row = &part.tables[1].rows[0];
        assert_eq!((&*row[4], &*row[5], &*row[6]), ("open('/etc/shadow')", "ENOENT", r#"{"a":1,"b":"<"}"#));
        assert_eq!(part.claims[1].seen, "1 of 1");
        assert_eq!(part.left_out, ["attempt 1 (t): no compiler"]);
    }

    #[test]
    fn a_row_that_differs_is_a_claim_that_did_not_hold() {
        let differs = json!({"differs": ["`result` is OK"]});
        let part = made(&left_with(&[json!("as_expected"), differs]), &ended(&SAID, 0));
        assert!(!part.holds());
        assert_eq!((&*part.claims[1].seen, &*part.claims[2].seen), ("1 of 2", "`result` is OK"));
        assert!(
            !made(&left_with(&[json!({"not_checked": "x"})]), &ended(&SAID, 0)).holds(),
            "nothing was checked"
        );
    }

    #[test]
    fn a_table_of_another_run_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut ended = ended(&SAID, 0);
        assert!(part(folder.path(), &ended).is_err());
        std::fs::write(folder.path().join(FILE), r#"{"kernel": "6", "entries": [], "elsewhere": []}"#)
            .unwrap();
        assert!(part(folder.path(), &ended).is_ok());
        ended.began += 1000;
        assert!(part(folder.path(), &ended).unwrap_err().to_string().contains("earlier run"));
    }
}
