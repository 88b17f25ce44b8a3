//! `llmc tools`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::print;
use crate::app;
use crate::call::{Caller, Entry};
use crate::config::{self, Flags};

/// List the tools with their plugins.
#[derive(Args)]
pub(super) struct Tools {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: Output,
}

impl Tools {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.flags)?;
        let mut app = app::start(loaded.config, &self.flags).await?;
        app.processes().await?;
        let path = app.path();
        let tools: Vec<_> = path.visible(&Caller::Client).collect();
        let text = if self.output.is_json() {
            let tools: Vec<_> = tools.iter().map(|entry| described(entry)).collect();
            format!("{:#}\n", json!(tools))
        } else {
            let width = tools.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
            let line = |entry: &&std::sync::Arc<Entry>| {
                let first = entry.description.lines().next().unwrap_or_default();
                format!("{:width$}  {:8}  {first}\n", entry.name, entry.owner())
            };
            tools.iter().map(line).collect()
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn described(entry: &Entry) -> serde_json::Value {
    json!({
        "name": entry.name,
        "title": entry.title,
        "description": entry.description,
        "plugin": entry.owner(),
        "plugin_sha256": entry.plugin().and_then(|plugin| plugin.library.sha256()),
        "annotations": entry.annotations,
        "input_schema": entry.input_schema,
        "output_schema": entry.output_schema,
    })
}
