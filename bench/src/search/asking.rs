//! The plugin, asked over MCP as a client would.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;

/// A server with the plugin over one tree.
pub(super) struct Searcher {
    pub(super) client: Client,
    /// Configuration and state.
    _folder: TempDir,
}

impl Searcher {
    /// Starts it and has everything indexed.
    pub(super) fn start(stage: &Path, tree: &Path) -> Result<Self> {
        let mut searcher = Self::start_empty(stage, tree)?;
        searcher.reindex()?;
        Ok(searcher)
    }

    /// Starts it without an index.
    pub(super) fn start_empty(stage: &Path, tree: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("llmc.toml");
        let config = json!({
            "server": {"state": folder.path().join("state")},
            "roots": {"tree": {"path": tree}},
            "plugins": {"search": {"library": "search", "grants": {"roots": ["tree"], "state": true}}},
            "limits": {"call_timeout_ms": 1_800_000},
        });
        // A JSON value in TOML: tables are written inline.
        let lines = config
            .as_object()
            .context("a table")?
            .iter()
            .map(|(key, value)| format!("{key} = {}\n", inline(value)));
        fs::write(&file, lines.collect::<String>())?;
        let mut command = Command::new(stage.join("bin/llmc"));
        command.args(["serve", "--config"]).arg(&file).env("XDG_CONFIG_HOME", folder.path());
        Ok(Self { client: Client::start(&mut command)?, _folder: folder })
    }

    /// Waits until all files are indexed; returns the status.
    pub(super) fn reindex(&mut self) -> Result<Value> {
        let answer = self.client.ask("reindex", &json!({}))?;
        let status = answer["structuredContent"].clone();
        ensure!(status["freshness"] == "fresh", "`reindex` answered {answer}");
        Ok(status)
    }

    /// Files of the answer, the best first.
    pub(super) fn files(&mut self, question: &str) -> Result<Vec<String>> {
        let arguments = json!({"query": question, "limit": 30, "max_tokens": 50_000});
        let answer = self.client.ask("search_code", &arguments)?;
        let results = answer["structuredContent"]["results"].as_array();
        let results = results.with_context(|| format!("`search_code` answered {answer}"))?;
        let path = |piece: &Value| Some(piece["path"].as_str()?.strip_prefix("tree:")?.to_owned());
        Ok(results.iter().filter_map(path).collect())
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        value => value.to_string(),
    }
}
