//! What differs between a plugin and its pin, as a diff for a person.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use toml::Table;

use super::pin::PinnedTool;
use super::{Pin, line};
use crate::config::Config;

/// A plugin that is not what its pin says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Drift {
    pub(crate) plugin: String,
    /// Not in the lock at all.
    pub(crate) is_new: bool,
    pub(crate) changes: Vec<Change>,
}

/// What changed in one place, in lines; safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) place: String,
    pub(crate) removed: Vec<String>,
    pub(crate) added: Vec<String>,
}

impl Change {
    /// Lines that only one side has, each side in its own order.
    fn between(place: &str, before: &[String], after: &[String]) -> Option<Self> {
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            let those: BTreeSet<&String> = those.iter().collect();
            these.iter().filter(|line| !those.contains(line)).map(|text| line(text)).collect()
        };
        let (removed, added) = (only(before, after), only(after, before));
        let is_same = removed.is_empty() && added.is_empty();
        // Lines that changed places, or stand there twice, are a change, too.
        (!is_same || before != after).then(|| match is_same {
            true => {
                let all = |lines: &[String]| lines.iter().map(|text| line(text)).collect();
                Self { place: place.to_owned(), removed: all(before), added: all(after) }
            }
            false => Self { place: place.to_owned(), removed, added },
        })
    }
}

impl Drift {
    /// A plugin that the lock does not know.
    pub(crate) fn unknown(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), is_new: true, changes: Vec::new() }
    }

    /// The differences, as lines of a diff.
    pub(crate) fn differences(&self) -> String {
        let mut lines = vec![format!("plugin `{}` is not what the lock pins:", self.plugin)];
        for change in &self.changes {
            lines.push(format!("  {}", change.place));
            lines.extend(change.removed.iter().map(|line| format!("  - {line}")));
            lines.extend(change.added.iter().map(|line| format!("  + {line}")));
        }
        lines.join("\n")
    }

    /// The differences and what to do about them; `flag` is what names the configuration in a command.
    pub(crate) fn told(&self, flag: &str) -> String {
        let plugin = &self.plugin;
        if self.is_new {
            return format!(
                "plugin `{plugin}` is not in the lock; look at it with `llmc plugin inspect {plugin}{flag}`, then add \
                 it with `llmc plugin lock{flag}`"
            );
        }
        let mut text = self.differences();
        if self.changes.iter().any(|change| change.place == "library") {
            text.push_str(&format!(
                "\n`llmc plugin verify{flag}` also compares what the new library says of its tools"
            ));
        }
        text + &format!("\nif the change is wanted, accept it with `llmc plugin accept {plugin}{flag}`")
    }

    /// What differs, if anything; `tools` as far as they are known.
    pub(crate) fn of(
        plugin: &str,
        pin: &Pin,
        config: &Config,
        sha256: &str,
        grants: &Table,
        tools: Option<&BTreeMap<String, PinnedTool>>,
    ) -> Option<Self> {
        let mut changes = Vec::new();
        let line = |digest: &str| vec![format!("sha256 {digest}")];
        changes.extend(Change::between("library", &line(&pin.sha256), &line(sha256)));
        changes.extend(Change::between(
            "grants",
            &grant_lines(&pin.grants_under(config)),
            &grant_lines(grants),
        ));
        if let Some(tools) = tools {
            changes.extend(tool_changes(&pin.tools, tools));
        }
        (!changes.is_empty()).then(|| Self { plugin: plugin.to_owned(), is_new: false, changes })
    }
}

/// One line per thing that is granted.
pub(crate) fn grant_lines(grants: &Table) -> Vec<String> {
    fn lines(place: &str, value: &toml::Value, all: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    lines(&place, value, all);
                }
            }
            toml::Value::Array(values) => values.iter().for_each(|value| lines(place, value, all)),
            toml::Value::String(text) => all.push(format!("{place} {text}")),
            plain => all.push(format!("{place} {plain}")),
        }
    }
    let mut all = Vec::new();
    lines("", &toml::Value::Table(grants.clone()), &mut all);
    all.sort_unstable();
    all
}

fn tool_changes(before: &BTreeMap<String, PinnedTool>, after: &BTreeMap<String, PinnedTool>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let text = |tool: Option<&PinnedTool>| -> Vec<String> {
            tool.map(|tool| tool.description.lines().map(str::to_owned).collect()).unwrap_or_default()
        };
        let (old, new) = (before.get(name), after.get(name));
        let name = line(name);
        let place = match (old, new) {
            (None, _) => format!("tool `{name}` (new)"),
            (_, None) => format!("tool `{name}` (gone)"),
            _ => format!("tool `{name}`"),
        };
        if old.is_none() || new.is_none() {
            let lines = |tool: Option<&PinnedTool>| text(tool).iter().map(|text| line(text)).collect();
            changes.push(Change { place, removed: lines(old), added: lines(new) });
            continue;
        }
        changes.extend(Change::between(&place, &text(old), &text(new)));
        let place = format!("{place}, arguments");
        changes.extend(Change::between(&place, &schema_lines(old), &schema_lines(new)));
    }
    changes
}

/// One line per leaf of a schema, such as `/properties/name/type "string"`.
fn schema_lines(tool: Option<&PinnedTool>) -> Vec<String> {
    fn lines(place: &str, value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                map.iter().for_each(|(key, value)| lines(&format!("{place}/{key}"), value, all));
            }
            Value::Array(values) if !values.is_empty() => {
                values
                    .iter()
                    .enumerate()
                    .for_each(|(index, value)| lines(&format!("{place}/{index}"), value, all));
            }
            plain => all.push(format!("{place} {plain}")),
        }
    }
    let Some(tool) = tool else { return Vec::new() };
    let mut all = Vec::new();
    match serde_json::from_str(&tool.input_schema) {
        Ok(schema) => lines("", &schema, &mut all),
        Err(_) => all.push(tool.input_schema.clone()),
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::super::pin::{tests as pins, tools};
    use super::*;

    fn drift(
        change: impl FnOnce(&mut String, &mut Table, &mut BTreeMap<String, PinnedTool>),
    ) -> Option<String> {
        let pin = pins::pin();
        let (mut sha256, mut grants, mut tools) = (pin.sha256.clone(), pin.grants.clone(), pin.tools.clone());
        change(&mut sha256, &mut grants, &mut tools);
        Drift::of("hello", &pin, &Config::default(), &sha256, &grants, Some(&tools))
            .map(|drift| drift.told(""))
    }

    #[test]
    fn nothing_changed_is_no_drift() {
        assert_eq!(drift(|_, _, _| ()), None);
    }

    #[test]
    fn each_change_is_a_line() {
        let text = drift(|sha256, _, _| *sha256 = "1".repeat(64)).unwrap();
        assert!(
            text.contains(&format!("- sha256 {}\n  + sha256 {}", "0".repeat(64), "1".repeat(64))),
            "{text}"
        );
        let text = drift(|_, grants, _| {
            *grants = "roots = { work = 'rw /a' }\ntools = ['a', 'b', 'c']".parse().unwrap()
        });
        let text = text.unwrap();
        assert!(
            text.contains("  grants\n  - roots.work ro /a\n  + roots.work rw /a\n  + tools c\n"),
            "{text}"
        );
        let text =
            drift(|_, _, all| *all = tools(&pins::manifest("Greets\u{202e}."), None).unwrap()).unwrap();
        assert!(text.contains("tool `hello`\n  - Greets someone by name.\n  + Greets\\u{202e}.\n"), "{text}");
        let text = drift(|_, _, all| *all = tools(&pins::manifest("x"), Some("p")).unwrap()).unwrap();
        assert!(text.contains("tool `hello` (gone)") && text.contains("tool `p_hello` (new)"), "{text}");
        let schema = |all: &mut BTreeMap<String, PinnedTool>| {
            let tool = all.get_mut("hello").unwrap();
            tool.input_schema = tool.input_schema.replace("Who.", "Who, and a password.");
        };
        let text = drift(|_, _, all| schema(all)).unwrap();
        assert!(text.contains("+ /properties/name/description \"Who, and a password.\""), "{text}");
        assert!(text.ends_with("`llmc plugin accept hello`"), "{text}");
    }

    #[test]
    fn a_plugin_cannot_write_lines_of_its_own() {
        let text = drift(|_, _, all| {
            let mut tool = all.remove("hello").unwrap();
            tool.input_schema = r#"{"a\nplugin `fs` is fine":1}"#.into();
            all.insert("x`\nplugin `fs` is fine".into(), tool.clone());
            all.insert("hello".into(), tool);
        });
        let text = text.unwrap();
        assert!(text.contains("is fine") && !text.contains("\nplugin `fs`"), "{text}");
    }

    #[test]
    fn lines_in_another_order_are_a_change() {
        let change = |before: &str, after: &str| {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            Change::between("x", &lines(before), &lines(after)).is_some()
        };
        assert!(change("a\nb", "b\na") && change("a", "a\na") && !change("a\nb", "a\nb"));
    }
}
