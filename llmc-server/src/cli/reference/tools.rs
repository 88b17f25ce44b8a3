//! Every tool that is installed, from what the plugins say of themselves.

use llmc_core::manifest::{Annotations, Item, ItemKind, Manifest, ResourceItem};
use serde_json::Value;

use super::schema::{Row, rows};
use super::text::{code, head, shown, table};
use crate::app;
use crate::call::builtin_items;
use crate::config::Flags;
use crate::stage::Stage;

const FROM: &str = "\
What each installed plugin says of itself: a model reads the descriptions to choose a tool and to fill in its \
arguments. `llmc tools` lists those that your configuration offers, `llmc plugin inspect NAME` shows one plugin. Only \
the first three are there without a `[plugins]` table; the others stay off until one names them.";

/// Plugins that a server without `[plugins]` has; they come first.
const FIRST: [&str; 3] = ["llmc_tools_fs", "llmc_tools_cmd", "llmc_tools_exec"];

pub(super) async fn page(stage: &Stage) -> anyhow::Result<String> {
    let mut libraries = stage.libraries();
    libraries.sort_by_key(|library| {
        (FIRST.iter().position(|first| first == library).unwrap_or(FIRST.len()), library.clone())
    });
    let mut text = head("Tools", FROM);
    for library in libraries {
        let flags = Flags { stage: Some(stage.folder().to_owned()), ..Flags::default() };
        let found = app::manifest(&library, &flags).await?;
        text.push_str(&plugin(&library, &serde_json::from_value(found.manifest)?));
    }
    text.push_str("\n## The server's own\n\n`search_tools` and `describe_tool` are for [code mode](../code-mode.md); `get_metrics` is there with `telemetry.get_metrics`.\n");
    for item in builtin_items() {
        text.push_str(&tool(&item));
    }
    Ok(text)
}

fn plugin(library: &str, manifest: &Manifest) -> String {
    let Manifest { name, description, items, requests, config_schema, .. } = manifest;
    let mut text = format!("\n## {name}\n\n{}\n\nLibrary {}.", shown(description), code(library));
    let asks: Vec<String> = requests
        .iter()
        .map(|request| {
            let grant = serde_json::to_value(request.grant).unwrap_or_default();
            format!("`grants.{}` ({})", grant.as_str().unwrap_or_default(), shown(&request.reason))
        })
        .collect();
    match asks.is_empty() {
        true => text.push_str(" Asks for no grant.\n"),
        false => text.push_str(&format!(" Asks for {}.\n", asks.join("; "))),
    }
    if let Some(schema) = config_schema {
        text.push_str("\nIts own configuration (`[plugins.NAME] config`):\n");
        text.push_str(&table(["Key", "Type", "Default", "Meaning"], rows(schema).iter().map(input)));
    }
    for item in items.iter().filter(|item| item.kind == ItemKind::Tool) {
        text.push_str(&tool(item));
    }
    let prompts = items.iter().filter(|item| item.kind == ItemKind::Prompt);
    text.push_str(&table(
        ["Prompt", "Meaning"],
        prompts.map(|item| [code(&item.name), shown(&item.description)]),
    ));
    let resource = |item: &Item| {
        let ResourceItem { uri, .. } = item.resource.clone().unwrap_or_default();
        [code(&uri), shown(&item.description)]
    };
    let resources = items.iter().filter(|item| item.kind == ItemKind::Resource);
    text.push_str(&table(["Resource", "Meaning"], resources.map(resource)));
    text
}

fn tool(item: &Item) -> String {
    let mut text = format!("\n### `{}`\n\n{}\n\n{}\n", item.name, shown(&item.description), hints(item));
    text.push_str(&table(
        ["Argument", "Type", "Default", "Meaning"],
        rows(&item.input_schema).iter().map(input),
    ));
    let results = item.output_schema.as_ref().map(rows).unwrap_or_default();
    text.push_str(&table(["Result", "Type"], results.iter().map(|row| [code(&row.path), shown(&row.kind)])));
    text
}

fn input(row: &Row) -> [String; 4] {
    let default = match &row.default {
        _ if row.is_required => "needed".to_owned(),
        Some(Value::Null) | None => String::new(),
        Some(default) => code(&default.to_string()),
    };
    [code(&row.path), shown(&row.kind), default, shown(&row.text)]
}

/// The annotations, in words.
fn hints(item: &Item) -> String {
    let Annotations { read_only, destructive, idempotent, open_world } = item.annotations;
    let mut words = vec![match (read_only, destructive) {
        (true, _) => "Changes nothing",
        (false, false) => "Adds, and destroys nothing",
        (false, true) => "May destroy or overwrite",
    }];
    if idempotent && !read_only {
        words.push("doing it twice is doing it once");
    }
    if open_world {
        words.push("may reach beyond the granted directories");
    }
    if item.long {
        words.push("usually takes long");
    }
    format!("*{}.*", words.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_is_told_in_words() {
        let manifest = serde_json::from_value(json!({
            "name": "cards", "version": "1.0.0", "abi": "1.0.0", "description": "Greets",
            "requests": [{"grant": "roots", "reason": "reads <cards>"}],
            "items": [
                {
                    "kind": "tool", "name": "greet", "description": "Greets.",
                    "input_schema": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string", "description": "Who."},
                        "loud": {"type": "boolean", "description": "Shouts.", "default": false},
                    }},
                    "output_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
                    "annotations": {"read_only": true, "destructive": false, "idempotent": true, "open_world": false},
                },
                {"kind": "resource", "name": "r", "description": "A card.", "input_schema": {}, "resource": {"uri": "card://{name}"}},
            ],
        }))
        .unwrap();
        let text = plugin("libcards", &manifest);
        for part in [
            "## cards\n\nGreets\n\nLibrary `libcards`. Asks for `grants.roots` (reads &lt;cards>).\n",
            "### `greet`\n\nGreets.\n\n*Changes nothing.*\n",
            "| `name` | string | needed | Who. |",
            "| `loud` | true or false | `false` | Shouts. |",
            "| `text` | string |",
            "| `card://{name}` | A card. |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
