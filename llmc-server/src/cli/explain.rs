//! `llmc config explain`

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::output::{Output, Paint};
use super::plugin::Place;
use crate::config::{self, Config};

/// What a key of `llmc.toml` means, its default, and what it is here.
#[derive(Args)]
pub(super) struct Explain {
    /// A key such as `limits.call_timeout_ms` or `plugins.NAME.grants.run`; without one, the keys at the top.
    key: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// A key of the schema.
struct Key<'a> {
    path: String,
    /// Its own schema, with the docs of the place that refers to it.
    description: String,
    schema: &'a Value,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let schema = serde_json::to_value(schemars::schema_for!(Config))?;
        let key = find(&schema, self.key.as_deref().unwrap_or_default())?;
        let default = at(&serde_json::to_value(Config::default())?, &key.path).cloned();
        // A configuration that cannot be read is no reason not to explain how it should be.
        let here = config::load(&self.place.flags()).ok();
        let here = here.and_then(|loaded| at(&serde_json::to_value(loaded.config).ok()?, &key.path).cloned());
        let children: Map<String, Value> = children(&schema, &key)
            .into_iter()
            .map(|(name, description)| (name, description.into()))
            .collect();
        let kind = kind(&schema, key.schema);
        let text = key.text(&kind, default.as_ref(), here.as_ref(), &children);
        let json = json!({
            "key": key.path,
            "description": key.description,
            "type": kind,
            "default": default,
            "value": here,
            "keys": children,
        });
        self.output.print(&json, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Key<'_> {
    fn text(
        &self,
        kind: &str,
        default: Option<&Value>,
        here: Option<&Value>,
        children: &Map<String, Value>,
    ) -> String {
        let paint = Paint::for_stdout();
        let mut text = String::new();
        if !self.path.is_empty() {
            text.push_str(&format!("{}: {kind}\n", paint.bold(&self.path)));
        }
        if !self.description.is_empty() {
            text.push_str(&format!("{}\n", self.description));
        }
        if children.is_empty() {
            let shown = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
            text.push_str(&format!("default  {}\n", shown(default)));
            if here.is_some() && here != default {
                text.push_str(&format!("here     {}\n", shown(here)));
            }
            return text;
        }
        let width = children.keys().map(String::len).max().unwrap_or(0);
        for (name, description) in children {
            let first = description.as_str().unwrap_or_default().lines().next().unwrap_or_default();
            text.push_str(&format!("  {name:width$}  {first}\n"));
        }
        text
    }
}

/// Follows a key through the schema; below `roots`, `plugins` and `secrets` any name is a key.
fn find<'a>(schema: &'a Value, path: &str) -> anyhow::Result<Key<'a>> {
    let mut key = Key { path: String::new(), description: described(schema), schema };
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let known = properties(schema, key.schema);
        let found = known.and_then(|known| known.get(part)).or_else(|| any_name(schema, key.schema));
        let Some(found) = found else {
            let names: Vec<&str> =
                known.into_iter().flat_map(|known| known.keys()).map(String::as_str).collect();
            let place =
                if key.path.is_empty() { "the configuration".to_owned() } else { format!("`{}`", key.path) };
            if names.is_empty() {
                anyhow::bail!("{place} has no keys below it");
            }
            let nearest = crate::call::nearest(part, names.iter().copied());
            let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            anyhow::bail!("{place} has no key `{part}`{hint} (it has: {})", names.join(", "));
        };
        let dot = if key.path.is_empty() { "" } else { "." };
        let description = described(found);
        let target = resolved(schema, found);
        let description = if description.is_empty() { described(target) } else { description };
        // A text under a name that the operator chooses is what its table says.
        let description = if description.is_empty() { key.description } else { description };
        key = Key { path: format!("{}{dot}{part}", key.path), description, schema: target };
    }
    Ok(key)
}

/// What a reference leads to; of an optional thing, the thing.
pub(super) fn resolved<'a>(schema: &'a Value, mut at: &'a Value) -> &'a Value {
    loop {
        let is_null = |option: &&Value| option["type"] == "null";
        let optional = at["anyOf"]
            .as_array()
            .filter(|options| options.len() == 2 && options.iter().any(|option| is_null(&option)));
        let some = optional.and_then(|options| options.iter().find(|option| !is_null(option)));
        let next = at["$ref"]
            .as_str()
            .and_then(|reference| schema.pointer(reference.trim_start_matches('#')))
            .or(some.filter(|some| some["$ref"].is_string()));
        match next {
            Some(next) => at = next,
            None => return at,
        }
    }
}

fn properties<'a>(schema: &'a Value, at: &'a Value) -> Option<&'a Map<String, Value>> {
    resolved(schema, at)["properties"].as_object()
}

/// What stands under names that the operator chooses.
fn any_name<'a>(schema: &'a Value, at: &'a Value) -> Option<&'a Value> {
    let any = &resolved(schema, at)["additionalProperties"];
    any.is_object().then_some(any)
}

fn children(schema: &Value, key: &Key<'_>) -> Vec<(String, String)> {
    let named = any_name(schema, key.schema).map(|any| ("NAME".to_owned(), described(resolved(schema, any))));
    let own = properties(schema, key.schema).into_iter().flatten();
    own.map(|(name, child)| (name.clone(), described(child))).chain(named).collect()
}

/// Line breaks of the source are none of the text.
pub(super) fn described(at: &Value) -> String {
    let text = at["description"].as_str().unwrap_or_default();
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n")
}

/// A short name of the type.
fn kind(schema: &Value, at: &Value) -> String {
    let at = resolved(schema, at);
    let constants: Vec<String> = at["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(at["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]))
        .filter(|value| !value.is_null())
        .map(Value::to_string)
        .collect();
    if !constants.is_empty() {
        return constants.join(" or ");
    }
    for options in [&at["anyOf"], &at["oneOf"]] {
        if let Some(options) = options.as_array() {
            return options.iter().map(|option| kind(schema, option)).collect::<Vec<_>>().join(" or ");
        }
    }
    let names = match &at["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match names {
        Some("object") => "table".to_owned(),
        Some("array") => format!("list of {}", kind(schema, &at["items"])),
        Some("boolean") => "true or false".to_owned(),
        Some(name) => name.to_owned(),
        None => "anything".to_owned(),
    }
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| value.get(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        serde_json::to_value(schemars::schema_for!(Config)).unwrap()
    }

    /// Every key of the schema can be reached and says what it is.
    #[test]
    fn every_key_is_explained() {
        fn walk(schema: &Value, path: &str, seen: &mut usize) {
            let key = find(schema, path).unwrap();
            assert!(path.is_empty() || !key.description.is_empty(), "{path}");
            assert!(!kind(schema, key.schema).is_empty(), "{path}");
            *seen += 1;
            for (name, _) in children(schema, &key) {
                walk(schema, format!("{path}.{name}").trim_start_matches('.'), seen);
            }
        }
        let mut seen = 0;
        walk(&schema(), "", &mut seen);
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn types_are_named_shortly() {
        let schema = schema();
        for (path, expected) in [
            ("limits.call_timeout_ms", "integer"),
            ("policy.deny", "list of string"),
            ("policy.read_only", "true or false"),
            ("server.mode", "\"all\" or \"code\" or list of string"),
            ("plugins.fs.grants", "table"),
            ("plugins.fs.grants.run.limits.wall_ms", "integer"),
            ("roots.work.path", "string"),
            ("audit.on_failure", "\"refuse\" or \"warn\""),
        ] {
            assert_eq!(kind(&schema, find(&schema, path).unwrap().schema), expected, "{path}");
        }
    }

    #[test]
    fn a_misspelt_key_is_told_with_the_nearest_one() {
        let refused = |path: &str| find(&schema(), path).err().unwrap().to_string();
        assert!(refused("limit").contains("did you mean `limits`?"));
        assert!(refused("limits.call_timeout").contains("`limits` has no key `call_timeout`; did you mean"));
        assert!(refused("limits.grace_ms.x").contains("has no keys below it"));
    }
}
