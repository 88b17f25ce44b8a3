//! `llmc plugin list` and `inspect`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use llmc_core::Manifest;
use llmc_core::manifest::{Annotations, Item, ItemKind};
use serde_json::{Value, json};

use super::super::output::{Output, Paint};
use super::Place;
use super::lock::findings_text;
use crate::app;
use crate::config::{self, Config, ConfigError, Plugin};
use crate::lock::{self, Drift, Lock, grant_lines, line, lock_path, shown};
use crate::plugin::library::{Library, Sealed};
use crate::plugin::signature::Trust;
use crate::stage::Stage;

/// `llmc plugin list`
#[derive(Args)]
pub(in super::super) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// `llmc plugin inspect`
#[derive(Args)]
pub(in super::super) struct Inspect {
    /// Name of a plugin in the configuration, an installed library, or a `.so` file.
    plugin: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// A plugin of the configuration, without loading it.
struct Row {
    name: String,
    library: String,
    /// `enabled` or `disabled`.
    state: &'static str,
    /// What the lock says of its library and grants.
    lock: &'static str,
    /// The trusted key that signed the library.
    signed_by: Option<String>,
    grants: Vec<String>,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.place.flags())?;
        let stage = Stage::find(self.place.stage.as_deref())?;
        let lock = match &loaded.file {
            Some(file) => Lock::read(&lock_path(file))?,
            None => None,
        };
        let trust = Trust::of(&loaded.config).map_err(ConfigError::Invalid)?;
        let mut rows = Vec::new();
        let enabled = loaded.config.plugins.iter().map(|(name, plugin)| (name, plugin, "enabled"));
        let disabled = loaded.disabled.iter().map(|(name, plugin)| (name, plugin, "disabled"));
        for (name, plugin, state) in enabled.chain(disabled) {
            let library = sealed(&stage, plugin, &trust).await;
            rows.push(Row {
                name: name.clone(),
                library: plugin.library.clone(),
                state,
                lock: locked(&loaded.config, library.as_deref(), lock.as_ref(), name, plugin),
                signed_by: library.and_then(|library| library.signed_by.clone()),
                grants: grant_lines(&lock::grants(&loaded.config, plugin)),
            });
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        self.output.print(&json!(rows.iter().map(Row::json).collect::<Vec<_>>()), &table(&rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The library as it would be loaded; none if it is missing, or a trusted signature does not fit.
async fn sealed(stage: &Stage, plugin: &Plugin, trust: &Trust) -> Option<Arc<Sealed>> {
    let library = Library::open(&stage.plugin(&plugin.library).ok()?, None, trust).ok()?;
    library.sealed().await.ok()
}

/// What the lock says of the library and the grants; `verify` also asks the plugin for its tools.
fn locked(
    config: &Config,
    library: Option<&Sealed>,
    lock: Option<&Lock>,
    name: &str,
    plugin: &Plugin,
) -> &'static str {
    let Some(lock) = lock else { return "no lock" };
    let Some(pin) = lock.plugins.get(name) else { return "not pinned" };
    let Some(library) = library else { return "no library" };
    let drift = Drift::of(name, pin, config, &library.sha256, &lock::grants(config, plugin), None);
    if drift.is_some() { "drifted" } else { "pinned" }
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "library": self.library,
            "state": self.state,
            "lock": self.lock,
            "signed_by": self.signed_by,
            "grants": self.grants,
        })
    }
}

fn table(rows: &[Row]) -> String {
    let paint = Paint::for_stdout();
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (names, libraries) = (width(|row| &row.name), width(|row| &row.library));
    let mut text = String::new();
    for row in rows {
        let lock = format!("{:10}", row.lock);
        let lock = match row.lock {
            "pinned" => paint.good(&lock),
            "drifted" | "no library" => paint.bad(&lock),
            _ => paint.warning(&lock),
        };
        let grants = if row.grants.is_empty() { "nothing granted".to_owned() } else { grouped(&row.grants) };
        let signed = row.signed_by.as_ref().map_or(String::new(), |key| format!("  signed by {key}"));
        let Row { name, library, state, .. } = row;
        text.push_str(&format!("{name:names$}  {library:libraries$}  {state:8}  {lock}  {grants}{signed}\n"));
    }
    text
}

/// `tools a; tools b` as `tools a, b`.
fn grouped(lines: &[String]) -> String {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        let (place, value) = line.split_once(' ').unwrap_or((line, ""));
        match groups.last_mut() {
            Some((last, values)) if *last == place => values.push(value),
            _ => groups.push((place, vec![value])),
        }
    }
    groups
        .iter()
        .map(|(place, values)| format!("{place} {}", values.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}

impl Inspect {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let flags = self.place.flags();
        let loaded = config::load(&flags)?;
        let configured =
            loaded.config.plugins.get(&self.plugin).or_else(|| loaded.disabled.get(&self.plugin));
        let library = configured.map_or(self.plugin.as_str(), |plugin| plugin.library.as_str());
        let found = app::manifest(library, &flags).await?;
        let manifest: Manifest = serde_json::from_value(found.manifest.clone())?;
        let findings = lock::scan(&found.manifest);
        let grants = configured.map(|plugin| lock::grants(&loaded.config, plugin));
        let json = json!({
            "library": library,
            "sha256": found.sha256,
            "bytes": found.bytes,
            "manifest": found.manifest,
            "findings": findings,
            "grants": grants,
        });
        let granted = grants.as_ref().map(grant_lines);
        let head = format!("library {library}\nsha256 {}\n", found.sha256);
        let text = head
            + &described(&manifest, granted)
            + &findings_text(&self.plugin, &findings, Paint::for_stdout());
        self.output.print(&json, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What a plugin says of itself, and what it is granted.
pub(in super::super) fn described(manifest: &Manifest, granted: Option<Vec<String>>) -> String {
    let paint = Paint::for_stdout();
    let mut text = format!(
        "{} {} (interface {})\n",
        paint.bold(&line(&manifest.name)),
        line(&manifest.version),
        line(&manifest.abi)
    );
    if !manifest.description.is_empty() {
        text.push_str(&format!("{}\n", shown(&manifest.description)));
    }
    if !manifest.requests.is_empty() {
        text.push_str("\nasks for\n");
    }
    for request in &manifest.requests {
        let grant = serde_json::to_value(request.grant).unwrap_or_default();
        text.push_str(&format!("  {}: {}\n", grant.as_str().unwrap_or_default(), line(&request.reason)));
    }
    if let Some(granted) = granted {
        text.push_str("\nis granted\n");
        let granted = if granted.is_empty() { vec!["nothing".to_owned()] } else { granted };
        granted.iter().for_each(|grant| text.push_str(&format!("  {grant}\n")));
    }
    text.push_str("\ntools\n");
    for item in manifest.items.iter().filter(|item| item.kind == ItemKind::Tool) {
        text.push_str(&format!(
            "  {}({}){}\n",
            paint.bold(&line(&item.name)),
            arguments(item),
            hints(item.annotations)
        ));
        for line in shown(&item.description).lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// Names of arguments: those that are required, then the others with a question mark.
fn arguments(item: &Item) -> String {
    let required: Vec<&str> =
        item.input_schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all =
        item.input_schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys());
    let (first, then): (Vec<&String>, Vec<&String>) = all.partition(|name| required.contains(&name.as_str()));
    let then = then.into_iter().map(|name| line(name) + "?");
    first.into_iter().map(|name| line(name)).chain(then).collect::<Vec<_>>().join(", ")
}

fn hints(annotations: Annotations) -> &'static str {
    match annotations {
        Annotations { read_only: true, .. } => " [reads]",
        Annotations { destructive: false, .. } => " [adds]",
        _ => " [may destroy]",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn grants_of_one_kind_stand_together() {
        let lines = ["roots.a ro /a", "tools a", "tools b"].map(str::to_owned);
        assert_eq!(super::grouped(&lines), "roots.a ro /a; tools a, b");
    }
}
