//! `llmc grant`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::output::{Output, Paint};
use super::plugin::{Place, no_plugin, tell_of_lock};
use crate::config::{self, Editor, GrantWord};
use crate::lock::{self, grant_lines};
use crate::runner::Granted;

/// Show and change what plugins may reach; a running server learns of it when it is started again.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what plugins are granted, with where it leads.
    Show(Show),
    /// Grant a plugin something more.
    Add(Change),
    /// Take something back from a plugin.
    Remove(Change),
}

#[derive(Args)]
pub(super) struct Show {
    /// Name of a plugin in the configuration; all without it.
    plugin: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Change {
    /// Name of a plugin in the configuration.
    plugin: String,
    /// What kind of thing.
    #[arg(value_enum)]
    kind: GrantWord,
    /// The things; for a root NAME, NAME:ro, or NAME=PATH[:rw] to add the directory to the configuration, too.
    #[arg(required = true)]
    values: Vec<String>,
    #[command(flatten)]
    place: Place,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Show(show) => show.run(),
            Self::Add(change) => change.run("add", Editor::grant),
            Self::Remove(change) => change.run("remove", Editor::withdraw),
        }
    }
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.place.flags())?;
        if let Some(name) = self.plugin.as_ref().filter(|name| !loaded.config.plugins.contains_key(*name)) {
            anyhow::bail!(no_plugin(name, &loaded));
        }
        let paint = Paint::for_stdout();
        let (mut json, mut text) = (Map::new(), String::new());
        let is_wanted = |name: &str| self.plugin.as_ref().is_none_or(|wanted| wanted == name);
        for (name, plugin) in loaded.config.plugins.iter().filter(|(name, _)| is_wanted(name)) {
            let grants = lock::grants(&loaded.config, plugin);
            let lines = grant_lines(&grants);
            let nothing = if lines.is_empty() { "  nothing\n" } else { "" };
            text.push_str(&format!("{}\n{nothing}", paint.bold(name)));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            json.insert(name.clone(), json!(grants));
        }
        self.output.print(&json.into(), &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Change {
    fn run(
        self,
        verb: &str,
        change: fn(&mut Editor, &str, GrantWord, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let mut editor = Editor::open(self.place.config.as_deref())?;
        for value in &self.values {
            change(&mut editor, &self.plugin, self.kind, value)?;
        }
        if verb == "add" && self.kind == GrantWord::Program {
            // One that cannot be run would keep the server from starting.
            let programs = editor.config()?.programs;
            for value in &self.values {
                Granted::new(&self.plugin, value, &programs)?;
            }
        }
        let file = editor.file.clone();
        let told = format!("grant {verb} {} {} {}", self.plugin, self.kind.word(), self.values.join(" "));
        if editor.save(told)? {
            tell_of_lock(&file, &self.plugin)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
