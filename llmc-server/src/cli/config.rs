//! `llmc config`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Output;
use super::print;
use crate::config::{self, Config, ConfigError, Flags};
use crate::runner::{Grant, Granted};

/// Show, check or explain the configuration.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the configuration in effect, with every default.
    Show(Source),
    /// Read the configuration and say whether it can be used, exit code 2 if not; warn about granted programs that
    /// start others, and about granted variables that make them.
    Check(Source),
    /// Print the JSON Schema of `llmc.toml`.
    Schema,
    /// Say what a key means, its default, and what it is here.
    Explain(super::explain::Explain),
}

/// Where the configuration comes from.
#[derive(Args)]
pub(super) struct Source {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: Output,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = match self {
            Self::Show(source) => {
                let config = config::load(&source.flags)?.config;
                source.output.print(&serde_json::to_value(&config)?, &toml::to_string_pretty(&config)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::Check(source) => {
                let loaded = config::load(&source.flags)?;
                let json = json!({ "file": loaded.file, "grants": loaded.config.grants() });
                let file =
                    loaded.file.map_or("no file, flags only".into(), |file| file.display().to_string());
                let programs = programs(&loaded.config).map_err(ConfigError::Invalid)?;
                let text = format!("{file}: ok\n{}{programs}", summary(&loaded.config));
                source.output.print(&json, &text)?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::Explain(explain) => return explain.run(),
            Self::Schema => format!("{:#}\n", serde_json::to_value(schemars::schema_for!(Config))?),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Who may do what, a line per plugin.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    for (name, plugin) in &config.plugins {
        let grants = &plugin.grants;
        let mut parts = Vec::new();
        if !grants.roots.is_empty() {
            parts.push(format!("roots {}", grants.roots.join(", ")));
        }
        if let Some(run) = &grants.run {
            let programs =
                if run.programs.is_empty() { "no program".into() } else { run.programs.join(", ") };
            parts.push(match run.profile {
                config::RunProfile::Code => "runs code in a jail".to_owned(),
                config::RunProfile::Workspace => format!("runs {programs} in a jail"),
            });
        }
        if !grants.tools.is_empty() {
            parts.push(format!("calls {}", grants.tools.join(", ")));
        }
        if !grants.secrets.is_empty() {
            parts.push(format!("secrets {}", grants.secrets.join(", ")));
        }
        if grants.state {
            parts.push("keeps state".to_owned());
        }
        let parts = if parts.is_empty() { "nothing granted".to_owned() } else { parts.join("; ") };
        text.push_str(&format!("{name}: {parts}\n"));
    }
    text
}

/// What granting shells, interpreters and other launchers means, and variables that do as much; a line each.
fn programs(config: &Config) -> Result<String, String> {
    let mut text = String::new();
    for (plugin, run) in
        config.plugins.iter().filter_map(|(name, plugin)| Some((name, plugin.grants.run.as_ref()?)))
    {
        Grant::check(plugin, run).map_err(|error| error.to_string())?;
        for entry in &run.programs {
            let granted = Granted::new(plugin, entry, &config.programs).map_err(|error| error.to_string())?;
            text.push_str(&about(plugin, &granted));
        }
        let steering = |name: &String| Some((name.clone(), llmc_rules::steering(name)?));
        for (name, why) in run.env.iter().filter_map(steering) {
            text.push_str(&format!(
                "warning: {plugin}: variable `{name}` may be set: {why}, and rules for arguments do not see it\n"
            ));
        }
    }
    Ok(text)
}

/// A line about a launcher; nothing about any other program.
fn about(plugin: &str, granted: &Granted) -> String {
    let Some(launcher) = granted.launcher() else { return String::new() };
    let (name, file) = (&granted.name, granted.file.display());
    match &granted.rules {
        Some(rules) => format!(
            "note: {plugin}: program `{name}` (`{file}`) is {}; the rules `{}` restrict its arguments\n",
            launcher.what,
            rules.name()
        ),
        None => format!(
            "warning: {plugin}: program `{name}` (`{file}`) is {}: {}. Nothing but its jail bounds it\n",
            launcher.what, launcher.means
        ),
    }
}
