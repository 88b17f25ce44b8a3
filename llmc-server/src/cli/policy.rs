//! `llmc policy`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use llmc_rules::{Decision, Explanation, Refusal};
use serde_json::{Value, json};

use super::output::Output;
use super::print;
use crate::app;
use crate::call::{ConsentRule, Entry};
use crate::config::{self, Config, ConfigError, Flags, Grants, RunProfile};
use crate::runner::{Granted, shown};

/// The command line is refused.
const REFUSED: u8 = 1;

/// Explain what the rules of a program decide, and which tools need consent.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Print how each argument of a command line is read and which rule decides, without running anything; exit code 1
    /// if it is refused.
    Explain(Explain),
    /// Print which tools need the consent of a person before each call, whose, and which keys say so.
    Consent(Consent),
}

#[derive(Args)]
pub(super) struct Consent {
    /// Only this tool.
    tool: Option<String>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Explain {
    #[command(flatten)]
    flags: Flags,
    /// The plugin that asks; by default the first that is granted the program.
    #[arg(long = "for", value_name = "PLUGIN")]
    plugin: Option<String>,
    /// Where the command starts, as a jail shows it: /ROOT or a directory below; by default the first granted root.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// The program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "ARGV")]
    argv: Vec<String>,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let explain = match self {
            Self::Explain(explain) => explain,
            Self::Consent(consent) => return consent.run().await,
        };
        let config = config::load(&explain.flags)?.config;
        let explained = Explained::new(&config, &explain).map_err(ConfigError::Invalid)?;
        print(&match explain.json {
            true => format!("{:#}\n", explained.json()),
            false => explained.text(),
        })?;
        Ok(if explained.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

impl Consent {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = config::load(&self.flags)?.config;
        let mut app = app::start(config, &self.flags).await?;
        app.processes().await?;
        let path = app.path();
        let wanted = |entry: &&Arc<Entry>| self.tool.as_ref().is_none_or(|tool| *tool == entry.name);
        let entries: Vec<_> = path.registry.entries().filter(wanted).collect();
        if let (Some(tool), true) = (&self.tool, entries.is_empty()) {
            anyhow::bail!("there is no tool `{tool}`; `llmc tools` lists those that there are");
        }
        let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
        let (mut text, mut json) = (String::new(), Vec::new());
        for entry in entries {
            let ConsentRule { is_needed, confirm: (_, because), by: (by, by_because) } =
                path.consent_rule(entry);
            let by = serde_json::to_value(by)?;
            text.push_str(&match is_needed {
                true => {
                    let by = by.as_str().unwrap_or_default();
                    format!("{:width$}  asks {by:7}  `{because}`, `{by_because}`\n", entry.name)
                }
                false => format!("{:width$}  runs          `{because}`\n", entry.name),
            });
            json.push(json!({
                "tool": entry.name,
                "plugin": entry.owner(),
                "needs_consent": is_needed,
                "because": because,
                "by": by,
                "by_because": by_because,
            }));
        }
        self.output.print(&Value::Array(json), &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All there is to tell about a command line.
struct Explained {
    argv: Vec<String>,
    plugin: Option<String>,
    /// What grants the program, if nothing does.
    grant_line: Option<String>,
    program: Granted,
    explanation: Option<Explanation>,
}

impl Explained {
    fn new(config: &Config, explain: &Explain) -> Result<Self, String> {
        let (name, args) = explain.argv.split_first().ok_or("no program is named")?;
        let (plugin, grants) = asking(config, explain.plugin.as_deref(), name)?;
        let entries = grants.run.iter().flat_map(|run| &run.programs);
        let entry = entries.into_iter().find(|entry| config::name_of(entry) == name);
        let grant_line = entry.is_none().then(|| {
            grants.line_with(plugin.as_deref().unwrap_or("cmd"), |grants| {
                grants.run_mut().programs.push(name.clone());
            })
        });
        // What is not granted is still explained, by the rules that would hold.
        let entry = entry.unwrap_or(name);
        let of_plugin = plugin.as_deref().unwrap_or("cmd");
        let program = Granted::new(of_plugin, entry, &config.programs).map_err(|error| error.to_string())?;
        let roots: Vec<PathBuf> = grants
            .roots
            .iter()
            .map(|root| Path::new("/").join(root.strip_suffix(":ro").unwrap_or(root)))
            .collect();
        let cwd = explain.cwd.as_deref().or(roots.first().map(PathBuf::as_path));
        let explanation = program.explain(args, cwd, roots.iter().map(PathBuf::as_path));
        Ok(Self { argv: explain.argv.clone(), plugin, grant_line, program, explanation })
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.explanation.as_ref()?.decision {
            Decision::Refused(refusal) => Some(refusal),
            Decision::Allowed => None,
        }
    }

    fn is_allowed(&self) -> bool {
        self.grant_line.is_none() && self.refusal().is_none()
    }

    /// Each argument with what it is, or nothing where no rules read it.
    fn roles(&self) -> impl Iterator<Item = (&str, String)> {
        let readings = self.explanation.iter().flat_map(|explanation| &explanation.readings);
        readings.map(|reading| (reading.arg.as_str(), reading.role.describe()))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let width = self.roles().map(|(arg, _)| shown(arg).chars().count()).max().unwrap_or(0);
        for (index, (arg, role)) in self.roles().enumerate() {
            let mark = match self.refusal() {
                Some(refusal) if refusal.index == index => "  <- refused",
                _ => "",
            };
            text.push_str(&format!("{:>4}  {:width$}  {role}{mark}\n", index + 1, shown(arg)));
        }
        let name = &self.program.name;
        let set = self.program.rules.as_ref().map(|set| format!("rule set `{}`", set.name()));
        text.push_str(&match (self.refusal(), set) {
            (Some(refusal), _) => format!("refused: {}\n", self.program.refusal(refusal)),
            (None, Some(set)) => format!("allowed: nothing in {set} refuses it\n"),
            (None, None) => format!("allowed: no rules hold for program `{name}`, only its jail\n"),
        });
        if let (None, Some(launcher)) = (&self.program.rules, self.program.launcher()) {
            text.push_str(&format!("it is {}: {}\n", launcher.what, launcher.means));
        }
        if let Some(line) = &self.grant_line {
            text.push_str(&format!(
                "not granted: no plugin that was looked at may run `{name}`; start with `--program {name}` or write {line}\n"
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let arguments = self.roles().map(|(argument, role)| json!({"argument": argument, "role": role}));
        let refusal = self.refusal().map(|refusal| {
            json!({
                "argument": refusal.arg,
                "index": refusal.index,
                "rule": refusal.rule.to_string(),
                "kind": refusal.rule.kind.as_str(),
                "why": refusal.why,
                "allow": self.program.line(refusal).trim_matches('`'),
            })
        });
        json!({
            "argv": self.argv,
            "allowed": self.is_allowed(),
            "granted": self.grant_line.is_none(),
            "plugin": self.plugin,
            "file": self.program.file,
            "rules": self.program.rules.as_ref().map(|set| set.name()),
            "arguments": arguments.collect::<Vec<_>>(),
            "refusal": refusal,
        })
    }
}

/// The plugin that would ask, and what it is granted: the named one, or the first that may run the program, or the
/// first that may run any.
fn asking(config: &Config, named: Option<&str>, program: &str) -> Result<(Option<String>, Grants), String> {
    if let Some(name) = named {
        let plugin = config.plugins.get(name).ok_or_else(|| {
            let known: Vec<_> = config.plugins.keys().map(String::as_str).collect();
            format!("--for {name}: there is no such plugin, only {}", known.join(", "))
        })?;
        return Ok((Some(name.to_owned()), plugin.grants.clone()));
    }
    let runs = |grants: &Grants| grants.run.as_ref().is_some_and(|run| run.profile == RunProfile::Workspace);
    let grants_it = |grants: &Grants| {
        grants.run.iter().flat_map(|run| &run.programs).any(|entry| config::name_of(entry) == program)
    };
    let commands = || config.plugins.iter().filter(|(_, plugin)| runs(&plugin.grants));
    let found = commands().find(|(_, plugin)| grants_it(&plugin.grants)).or_else(|| commands().next());
    Ok(found.map_or((None, Grants::default()), |(name, plugin)| (Some(name.clone()), plugin.grants.clone())))
}
