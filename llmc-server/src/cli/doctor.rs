//! `llmc doctor`

use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::exposed;
use super::output::Output;
use super::print;
use crate::app;
use crate::cli;
use crate::config::{self, Flags, MinIsolation};
use crate::stage::Stage;

/// Show which protections this machine gives, and what would be missing.
#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: Output,
}

/// What was found.
struct Findings {
    /// Layers of the kernel.
    layers: Vec<Layer>,
    /// What the runner tried in jails of its own, or why it could not.
    self_test: Result<Vec<Finding>, String>,
    /// The server with this configuration: its plugins, or why it does not start.
    server: Result<Value, String>,
    /// Variables of this environment that look like keys.
    exposed: Vec<String>,
    /// What names the configuration in a command.
    flag: String,
}

/// One layer of protection.
#[derive(serde::Deserialize, serde::Serialize)]
struct Layer {
    name: String,
    gives: String,
    status: Status,
    required_by: Vec<String>,
    how: String,
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active { detail: String },
    Missing { why: String },
}

/// One attempt of the self-test.
#[derive(serde::Deserialize, serde::Serialize)]
struct Finding {
    /// Profile of the jail; `outside` for what was seen from there.
    jail: String,
    probe: String,
    /// Separated by ` or `.
    expected: String,
    seen: String,
}

impl Finding {
    fn holds(&self) -> bool {
        self.expected.split(" or ").any(|expected| expected == self.seen)
    }
}

impl Doctor {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let stage = Stage::find(self.flags.stage.as_deref())?;
        let layers = ask(&stage, &["--survey"]).await?;
        let config = config::load(&self.flags).ok().map(|loaded| loaded.config);
        let exposed = exposed::names(config.as_ref());
        let lesser = config.is_some_and(|config| config.server.min_isolation == MinIsolation::Landlock);
        let self_test: &[&str] = if lesser { &["--self-test", "landlock"] } else { &["--self-test"] };
        let self_test = ask(&stage, self_test).await.map_err(|error| format!("{error:#}"));
        let flag = config::flag(self.flags.config.as_deref());
        let mut findings = Findings { layers, self_test, server: server(&self.flags).await, exposed, flag };
        findings.forgive_namespaces();
        let healthy = findings.healthy();
        print(&if self.output.is_json() { format!("{:#}\n", findings.json()) } else { findings.text() })?;
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Asks the runner, a small process of one thread: to try every layer on itself, or to try to get out of its jails.
async fn ask<T: serde::de::DeserializeOwned>(stage: &Stage, args: &[&'static str]) -> anyhow::Result<Vec<T>> {
    let runner = stage.runner()?;
    let args = args.to_vec();
    let what = args.join(" ");
    let output = tokio::task::spawn_blocking(move || {
        Command::new(&runner).args(args).env_clear().stdin(Stdio::null()).output()
    });
    let output = output.await?.context("failed to start the runner")?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}",
        what.trim_start_matches('-'),
        String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("llmc-runner: ")
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("the answer to `{what}` cannot be read"))
}

/// The layers of protection that this machine gives.
///
/// # Errors
///
/// When the runner cannot be asked.
pub(crate) async fn survey(stage: &Stage) -> anyhow::Result<Value> {
    let layers: Vec<Layer> = ask(stage, &["--survey"]).await?;
    Ok(serde_json::to_value(layers)?)
}

/// Starts everything as `llmc serve` would, and stops it again.
async fn server(flags: &Flags) -> Result<Value, String> {
    let started = async {
        let loaded = config::load(flags)?;
        let mut app = app::start(loaded.config, flags).await?;
        let processes = app.processes().await?;
        anyhow::Ok((app, processes))
    };
    let (app, processes) = started.await.map_err(|error| cli::chain(&error))?;
    let path = app.path();
    let plugins: Vec<Value> = app
        .config
        .plugins
        .keys()
        .map(|name| {
            let tools = path
                .registry
                .entries()
                .filter(|entry| entry.plugin().is_some_and(|plugin| &**plugin.name() == name));
            json!({
                "name": name,
                "tools": tools.map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
                "jail": processes.reports.get(name),
            })
        })
        .collect();
    Ok(json!({ "plugins": plugins, "runner": processes.runner, "stopped": app.stopped }))
}

impl Findings {
    /// Where the operator permits the lesser tier, and code runs in it, namespaces are missed by commands only.
    fn forgive_namespaces(&mut self) {
        let is_lesser =
            self.server.as_ref().is_ok_and(|server| server["runner"]["jails"]["Ok"] == "landlock");
        let is_spared = |layer: &Layer| layer.name.contains("namespace") || layer.name == "idmapped mounts";
        for layer in self.layers.iter_mut().filter(|layer| is_lesser && is_spared(layer)) {
            layer.required_by.retain(|by| !by.starts_with("commands"));
        }
    }

    /// A missing layer counts when something needs it; so do a jail that does not hold, a server that
    /// does not start, and a plugin that is not what the lock pins.
    fn healthy(&self) -> bool {
        let lacking =
            |layer: &Layer| matches!(layer.status, Status::Missing { .. }) && !layer.required_by.is_empty();
        let holds = self.self_test.iter().flatten().all(Finding::holds);
        let is_whole =
            self.server.as_ref().is_ok_and(|server| server["stopped"].as_array().is_none_or(Vec::is_empty));
        !self.layers.iter().any(lacking) && holds && is_whole
    }

    fn json(&self) -> Value {
        let server = match &self.server {
            Ok(server) => json!({
                "starts": true,
                "plugins": server["plugins"],
                "runner": server["runner"],
                "stopped": server["stopped"],
            }),
            Err(error) => json!({ "starts": false, "error": error }),
        };
        let self_test = match &self.self_test {
            Ok(findings) => json!({ "holds": findings.iter().all(Finding::holds), "findings": findings }),
            Err(error) => json!({ "error": error }),
        };
        json!({
            "healthy": self.healthy(),
            "layers": self.layers,
            "self_test": self_test,
            "server": server,
            "exposed_variables": self.exposed,
        })
    }

    fn text(&self) -> String {
        let width = self.layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for layer in &self.layers {
            let name = &layer.name;
            match &layer.status {
                Status::Active { detail } => {
                    text.push_str(&format!("ok       {name:width$}  {} ({detail})\n", layer.gives));
                }
                Status::Missing { why } => {
                    let needed = match layer.required_by.as_slice() {
                        [] => "missing ",
                        _ => "REQUIRED",
                    };
                    text.push_str(&format!("{needed} {name:width$}  {}: {why}\n", layer.gives));
                    if !layer.required_by.is_empty() {
                        text.push_str(&format!(
                            "         {:width$}  needed by {}\n",
                            "",
                            layer.required_by.join(", ")
                        ));
                    }
                    text.push_str(&format!("         {:width$}  to get it: {}\n", "", layer.how));
                }
            }
        }
        text.push('\n');
        text.push_str(&self.self_test_text());
        text.push('\n');
        match &self.server {
            Ok(server) => {
                for plugin in server["plugins"].as_array().into_iter().flatten() {
                    let name = plugin["name"].as_str().unwrap_or_default();
                    let jail = plugin["jail"]["isolation"].as_str().unwrap_or("unknown");
                    let tools: Vec<&str> =
                        plugin["tools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    text.push_str(&format!("plugin {name}: jail {jail}; tools {}\n", tools.join(", ")));
                }
                if let Some(runner) = server["runner"].as_object() {
                    let of =
                        |key: &str| runner.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
                    let jails = runner["jails"]["Ok"].as_str().unwrap_or("none");
                    let commands =
                        if jails == "landlock" { " (code only; commands are refused)" } else { "" };
                    text.push_str(&format!(
                        "runner: jails {jails}{commands}; {}; {}\n",
                        of("payload_identity"),
                        of("accounting")
                    ));
                }
                for plugin in server["stopped"].as_array().into_iter().flatten() {
                    let name = plugin["plugin"].as_str().unwrap_or_default();
                    text.push_str(&format!(
                        "STOPPED plugin {name}: it is not what the lock pins; `llmc plugin verify{}` shows the difference\n",
                        self.flag
                    ));
                }
                text.push_str("the server starts with this configuration\n");
            }
            Err(error) => text.push_str(&format!("the server does not start: {error}\n")),
        }
        if !self.exposed.is_empty() {
            text.push_str(&format!(
                "warning: variables here look like keys: {}; no plugin or run gets them, but start the server without \
                 them (`env -u NAME llmc serve`), or name those that it needs in [secrets]\n",
                self.exposed.join(", ")
            ));
        }
        text
    }

    /// A line for each probe with the jails that saw the same.
    fn self_test_text(&self) -> String {
        let findings = match &self.self_test {
            Ok(findings) => findings,
            Err(error) => return format!("self-test: no jail could be tried: {error}\n"),
        };
        let mut rows: Vec<(&Finding, Vec<&str>)> = Vec::new();
        for finding in findings {
            let same = |row: &&mut (&Finding, Vec<&str>)| {
                (&row.0.probe, &row.0.expected, &row.0.seen)
                    == (&finding.probe, &finding.expected, &finding.seen)
            };
            match rows.iter_mut().find(same) {
                Some((_, jails)) => jails.push(&finding.jail),
                None => rows.push((finding, vec![&finding.jail])),
            }
        }
        let wrong = findings.iter().filter(|finding| !finding.holds()).count();
        let mut text =
            format!("self-test: {} attempts in real jails, {wrong} not as expected\n", findings.len());
        let width = rows.iter().map(|(finding, _)| finding.probe.len()).max().unwrap_or(0);
        for (finding, jails) in rows {
            let mark = if finding.holds() { "ok      " } else { "BROKEN  " };
            let Finding { probe, expected, seen, .. } = finding;
            let jails = jails.join(", ");
            text.push_str(&format!("{mark} {probe:width$}  {seen} (expected {expected}; {jails})\n"));
        }
        text
    }
}
