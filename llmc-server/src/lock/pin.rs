//! What is pinned of a plugin.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use llmc_core::Manifest;
use llmc_core::manifest::ItemKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::Table;

use crate::call::Entry;
use crate::config::{self, Access, Config, SecretSource};

/// A plugin, as the operator agreed to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// SHA-256 of the library, in hexadecimal.
    pub(crate) sha256: String,
    /// SHA-256 of the tools in canonical JSON: `[{name, description, input_schema}]`, names and keys sorted.
    pub(crate) tools_sha256: String,
    /// Who agreed: user name and id of the process.
    pub(crate) accepted_by: String,
    /// When, in UTC.
    pub(crate) accepted_at: String,
    /// What it may reach, with directories and sources of secrets spelled out; see [`grants`].
    #[serde(default)]
    pub(crate) grants: Table,
    /// Its tools by the names that clients see.
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, PinnedTool>,
}

/// What a model is told about a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedTool {
    pub(crate) description: String,
    /// In canonical JSON.
    pub(crate) input_schema: String,
}

impl Pin {
    /// Pins a plugin for whoever runs this program.
    pub(crate) fn new(sha256: &str, grants: Table, tools: BTreeMap<String, PinnedTool>) -> Self {
        Self {
            sha256: sha256.to_owned(),
            tools_sha256: fingerprint(&tools),
            accepted_by: super::who(),
            accepted_at: super::now(),
            grants,
            tools,
        }
    }

    /// The grants as they would be under `policy.read_only`, if that is set now: it may be switched on without drift, as
    /// it takes away. Switched off, roots that were locked as read-only are others.
    pub(super) fn grants_under(&self, config: &Config) -> Table {
        let mut grants = self.grants.clone();
        if config.policy.read_only
            && let Some(toml::Value::Table(roots)) = grants.get_mut("roots")
        {
            for (_, root) in roots.iter_mut() {
                if let Some(path) = root.as_str().and_then(|root| root.strip_prefix("rw ")) {
                    *root = format!("ro {path}").into();
                }
            }
        }
        grants
    }

    /// Whether it is what was once written.
    ///
    /// # Errors
    ///
    /// When the parts do not belong together.
    pub(super) fn check(&self) -> Result<(), String> {
        if fingerprint(&self.tools) == self.tools_sha256 {
            return Ok(());
        }
        Err("`tools_sha256` is not that of its tools; the file was edited by hand, or cut off".into())
    }
}

/// What a plugin may reach: its grants, where each root says its directory and access, each secret its source, and each
/// program its settings. So a change in `[roots]`, `[secrets]` or `[programs]` is a change of the grants that use it.
///
/// With `policy.read_only` roots are pinned as read-only, since that is what they are.
pub(crate) fn grants(config: &Config, plugin: &config::Plugin) -> Table {
    // Grants hold strings, numbers and lists of them only; there is nothing that TOML could not write.
    let mut table = Table::try_from(&plugin.grants).unwrap_or_default();
    let named = |key: &str, table: Table| (!table.is_empty()).then(|| (key.to_owned(), table.into()));
    let roots = plugin.grants.roots.iter().map(|granted| root(config, granted)).collect();
    let secrets = plugin.grants.secrets.iter().map(|name| secret(config, name)).collect();
    table.extend(named("roots", roots));
    let run = plugin.grants.run.iter().flat_map(|run| &run.programs);
    let programs = run.filter_map(|granted| program(config, granted)).collect();
    table.extend(named("secrets", secrets));
    table.extend(named("programs", programs));
    sort(&mut table);
    table
}

fn root(config: &Config, granted: &str) -> (String, toml::Value) {
    let name = granted.strip_suffix(":ro").unwrap_or(granted);
    let described = config.roots.get(name).map_or_else(
        || "unknown".to_owned(),
        |root| {
            let is_writable =
                root.access == Access::Rw && name.len() == granted.len() && !config.policy.read_only;
            let path = std::fs::canonicalize(&root.path).unwrap_or_else(|_| root.path.clone());
            format!("{} {}", if is_writable { "rw" } else { "ro" }, path.display())
        },
    );
    (name.to_owned(), described.into())
}

fn secret(config: &Config, name: &str) -> (String, toml::Value) {
    let described = match config.secrets.get(name) {
        Some(SecretSource::File(path)) => format!("file {}", path.display()),
        Some(SecretSource::Env(variable)) => format!("env {variable}"),
        Some(SecretSource::Command(command)) => format!("command {}", shell_words::join(command)),
        None => "unknown".to_owned(),
    };
    (name.to_owned(), described.into())
}

/// What is set for a program beyond the defaults.
fn program(config: &Config, granted: &str) -> Option<(String, toml::Value)> {
    let name = config::name_of(granted);
    let settings = toml::Value::try_from(config.programs.get(name)?).ok()?;
    Some((name.to_owned(), settings))
}

/// Lists of names mean the same in any order.
fn sort(table: &mut Table) {
    for (_, value) in table.iter_mut() {
        match value {
            toml::Value::Table(table) => sort(table),
            toml::Value::Array(values) => values.sort_by_key(ToString::to_string),
            _ => {}
        }
    }
}

/// The tools of a manifest, by the names that clients see, and what else a client is shown, as `prompt NAME` and
/// `resource NAME`.
///
/// # Errors
///
/// When it is no manifest.
pub(crate) fn tools(
    manifest: &Value,
    prefix: Option<&str>,
) -> Result<BTreeMap<String, PinnedTool>, serde_json::Error> {
    let manifest: Manifest = serde_json::from_value(manifest.clone())?;
    let known = manifest.items.into_iter().filter(|item| item.kind != ItemKind::Unknown);
    Ok(known
        .map(|item| {
            let name = prefix.map_or(item.name.clone(), |prefix| format!("{prefix}_{}", item.name));
            let name = Entry::shown(item.kind, &name);
            let input_schema = match &item.resource {
                Some(resource) => canonical(&serde_json::to_value(resource).unwrap_or_default()),
                None => canonical(&item.input_schema),
            };
            (name, PinnedTool { description: item.description, input_schema })
        })
        .collect())
}

fn fingerprint(tools: &BTreeMap<String, PinnedTool>) -> String {
    let mut text = String::from("[");
    for (index, (name, tool)) in tools.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (name, description) = (quoted(name), quoted(&tool.description));
        let _ = write!(
            text,
            r#"{comma}{{"description":{description},"input_schema":{},"name":{name}}}"#,
            tool.input_schema
        );
    }
    text.push(']');
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// JSON with sorted keys and no spaces, whatever order a map of this build keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let parts: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", quoted(key), canonical(value)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn manifest(description: &str) -> Value {
        let schema =
            json!({"type": "object", "properties": {"name": {"type": "string", "description": "Who."}}});
        json!({
            "name": "hello", "version": "1", "abi": "1",
            "items": [{"kind": "tool", "name": "hello", "description": description, "input_schema": schema}],
        })
    }

    pub(in super::super) fn pin() -> Pin {
        let grants = "roots = { work = 'ro /a' }\ntools = ['a', 'b']".parse().unwrap();
        Pin::new(&"0".repeat(64), grants, tools(&manifest("Greets someone by name."), None).unwrap())
    }

    #[test]
    fn the_fingerprint_follows_every_word_a_model_reads_and_no_order() {
        let of = |manifest: &Value| fingerprint(&tools(manifest, None).unwrap());
        let before = manifest("Greets.");
        assert_eq!(of(&before), of(&manifest("Greets.")));
        assert_ne!(of(&before), of(&manifest("Greets!")));
        let mut after = before.clone();
        after["items"][0]["input_schema"]["properties"]["name"]["description"] =
            json!("Who, and their password.");
        assert_ne!(of(&before), of(&after));
        assert_ne!(fingerprint(&tools(&before, Some("x")).unwrap()), of(&before));
        assert_eq!(
            canonical(&json!({"b": [1, {"d": 1, "c": "\n"}], "a": null})),
            r#"{"a":null,"b":[1,{"c":"\n","d":1}]}"#
        );
    }

    #[test]
    fn grants_say_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut config: Config = toml::from_str(&format!(
            "[roots]\nwork = {{ path = '{0}', access = 'rw' }}\ndocs = {{ path = '{0}', access = 'rw' }}\n\
             [secrets]\nT = {{ env = 'TOKEN' }}\n[plugins.p]\nlibrary = 'x'\n\
             grants = {{ roots = ['work', 'docs:ro'], secrets = ['T'], tools = ['b', 'a'], \
             run = {{ profile = 'workspace', programs = ['git', 'rg=/usr/bin/rg'] }} }}\n\
             [programs.rg]\nrules = 'none'\n[programs.cat]\nmax_args = 1",
            path.display()
        ))
        .unwrap();
        let pinned = |config: &Config| grants(config, &config.plugins["p"]);
        let table = pinned(&config);
        assert_eq!(table["roots"]["work"].as_str().unwrap(), format!("rw {}", path.display()));
        assert_eq!(table["roots"]["docs"].as_str().unwrap(), format!("ro {}", path.display()));
        assert_eq!(table["secrets"]["T"].as_str(), Some("env TOKEN"));
        assert_eq!(table["tools"].to_string(), r#"["a", "b"]"#);
        assert_eq!(
            table["programs"].to_string(),
            r#"{ rg = { rules = "none" } }"#,
            "granted ones, as they are set"
        );
        config.policy.read_only = true;
        assert!(pinned(&config)["roots"]["work"].as_str().unwrap().starts_with("ro "));
    }
}
