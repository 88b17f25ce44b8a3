//! `llmc call`

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use llmc_core::{Content, Envelope};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::output::Output;
use super::print;
use crate::app;
use crate::call::Request;
use crate::config::{self, ConfigError, Flags};

/// The tool ran and reported an error, or the call was refused.
pub(super) const TOOL_ERROR: u8 = 5;

/// Call a tool from here, through the same checks as a client's call.
#[derive(Args)]
pub(super) struct Call {
    /// Name of the tool.
    tool: String,
    /// Its arguments as a JSON object; `-` reads stdin, `@FILE` a file.
    #[arg(default_value = "{}")]
    arguments: String,
    /// Start only what this call needs: a layer that is missing refuses the call when it comes to need it.
    #[arg(long)]
    only_needed: bool,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: Output,
}

impl Call {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let arguments = arguments(&self.arguments)?;
        let loaded = config::load(&self.flags)?;
        let mut app =
            app::start_for(loaded.config, &self.flags, self.only_needed.then_some(&*self.tool)).await?;
        app.processes().await?;
        let request = Request::from_command_line(self.tool, arguments);
        match app.path().call(request).await {
            Ok(envelope) => {
                let failed = envelope.is_error;
                print(&if self.output.is_json() {
                    format!("{:#}\n", serde_json::to_value(&envelope)?)
                } else {
                    readable(&envelope)
                })?;
                Ok(if failed { ExitCode::from(TOOL_ERROR) } else { ExitCode::SUCCESS })
            }
            Err(error) => {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "llmc: {error} [{}]", error.kind.as_str());
                Ok(ExitCode::from(TOOL_ERROR))
            }
        }
    }
}

pub(super) fn arguments(text: &str) -> anyhow::Result<Map<String, Value>> {
    let text = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("failed to read `{file}`"))?,
        None if text == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("failed to read stdin")?;
            text
        }
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| {
        let problem = match error.classify() {
            // What is JSON and no object needs no place in it.
            Category::Data => String::new(),
            _ => format!(" ({error})"),
        };
        let form = "the arguments must be a JSON object, such as '{\"path\": \"README.md\"}'";
        ConfigError::Flag(format!("{form}{problem}")).into()
    })
}

/// Text as it is, everything else by its kind and size.
pub(super) fn readable(envelope: &Envelope) -> String {
    let mut text = String::new();
    for content in &envelope.content {
        match content {
            Content::Text { text: block, .. } => text.push_str(block),
            Content::Image { data, mime_type, .. } | Content::Audio { data, mime_type, .. } => {
                text.push_str(&format!("[{mime_type}, {} bytes of base64]", data.len()));
            }
            Content::ResourceLink { uri, .. } => text.push_str(&format!("[resource {uri}]")),
            Content::Resource { resource, .. } => text.push_str(&format!("[resource {}]", resource.uri)),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
