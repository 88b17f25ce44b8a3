//! The table: what was tried, what was expected, what was seen, and which wall stood there.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::pattern::cut;
use crate::row::{Profile, Section};
use crate::support::target;

/// One row in one jail.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) section: String,
    pub(crate) origin: String,
    pub(crate) title: String,
    pub(crate) source: String,
    pub(crate) profile: Profile,
    /// What was sent, or run.
    pub(crate) tried: Value,
    pub(crate) expected: Value,
    pub(crate) seen: Value,
    pub(crate) neighbour: Value,
    pub(crate) wall: String,
    pub(crate) verdict: Verdict,
}

/// What became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As expected, and nothing outside changed.
    AsExpected,
    /// These points differ.
    Differs(Vec<String>),
    /// Not run on this machine, because of this.
    NotChecked(String),
}

impl Entry {
    pub(crate) fn heading(&self) -> String {
        format!("attempt {} ({}) in profile `{}`", self.number, self.title, self.profile.name())
    }
}

/// Writes `NAME.md` and `NAME.json` into the target folder.
pub(crate) fn write(name: &str, title: &str, sections: &[Section], entries: &[Entry]) {
    let folder = target();
    std::fs::write(folder.join(format!("{name}.md")), markdown(title, sections, entries)).unwrap();
    let elsewhere: Vec<Value> = sections
        .iter()
        .flat_map(|section| {
            section.elsewhere.iter().map(|held| json!({"origin": section.origin, "held": held}))
        })
        .collect();
    let json = json!({"kernel": kernel(), "entries": entries, "elsewhere": elsewhere});
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(&json).unwrap())
        .unwrap();
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into()
}

pub(crate) fn markdown(title: &str, sections: &[Section], entries: &[Entry]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| entries.iter().filter(|entry| wanted(&entry.verdict)).count();
    let mut text = format!(
        "# {title}\n\nLinux {}, {}. {} as expected, {} differ, {} not checked.{}\n",
        kernel(),
        std::env::consts::ARCH,
        count(|verdict| matches!(verdict, Verdict::AsExpected)),
        count(|verdict| matches!(verdict, Verdict::Differs(_))),
        count(|verdict| matches!(verdict, Verdict::NotChecked(_))),
        lesser_tier(entries),
    );
    for section in sections {
        let numbers: Vec<u32> = section.numbers().collect();
        writeln!(text, "\n## {}\n", section.name).unwrap();
        text.push_str("| # | attempt | profile | expected | seen | honest neighbour | wall | verdict |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for entry in entries.iter().filter(|entry| numbers.contains(&entry.number)) {
            text.push_str(&line(entry));
        }
        if !section.elsewhere.is_empty() {
            text.push_str("\nHeld by other tests:\n\n");
        }
        for held in &section.elsewhere {
            writeln!(text, "- {} ({}): `{}`", held.title, held.source, held.test).unwrap();
        }
    }
    text
}

/// How many ran without namespaces, if any did.
fn lesser_tier(entries: &[Entry]) -> String {
    match entries.iter().filter(|entry| entry.profile == Profile::Landlock).count() {
        0 => String::new(),
        count => format!(" {count} of them in the lesser tier, without namespaces (`landlock`)."),
    }
}

fn line(entry: &Entry) -> String {
    let source = if entry.source.is_empty() { String::new() } else { format!(" ({})", entry.source) };
    let verdict = match &entry.verdict {
        Verdict::AsExpected => "as expected".to_owned(),
        Verdict::Differs(points) => format!("DIFFERS: {}", points.join("; ")),
        Verdict::NotChecked(why) => format!("NOT CHECKED: {why}"),
    };
    let cells = [
        entry.number.to_string(),
        format!("{}{source}", entry.title),
        if entry.profile == Profile::Landlock { "landlock (lesser tier)" } else { entry.profile.name() }
            .into(),
        shown(&entry.expected),
        shown(&entry.seen),
        shown(&entry.neighbour),
        entry.wall.clone(),
        verdict,
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | "))
}

/// Objects with one field show as it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("result") => {
            cut(&fields["result"].to_string())
        }
        Value::String(text) => cut(text),
        value => cut(&value.to_string()),
    }
}
