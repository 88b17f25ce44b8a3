//! Where all this happened: programs, kernel, and the layers of protection that `llmc doctor` finds.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use llmc_proof::{Claim, Part, Table};
use serde::Deserialize;

use super::versions;
use crate::child::now;
use crate::run::Options;

/// A server of every kind of jail: of plugins, and of code.
const CONFIG: &str = "[plugins.hello]\nlibrary = 'hello'\n[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
     grants = { run = { profile = 'code' } }\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
     grants = { run = { profile = 'workspace', programs = ['sh'] } }\n";

/// What `llmc doctor --json` says, as far as it is shown.
#[derive(Deserialize)]
struct Findings {
    layers: Vec<Layer>,
    self_test: SelfTest,
    server: Server,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    gives: String,
    status: Status,
    required_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active { detail: String },
    Missing { why: String },
}

#[derive(Deserialize)]
struct SelfTest {
    #[serde(default)]
    findings: Vec<Finding>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Finding {
    jail: String,
    probe: String,
    expected: String,
    seen: String,
}

#[derive(Deserialize)]
struct Server {
    starts: bool,
    error: Option<String>,
}

/// The part of this machine.
///
/// # Errors
/// If the program cannot be started, or says what cannot be read.
pub(crate) fn part(options: &Options) -> Result<Part> {
    let (began, start) = (now(), Instant::now());
    let findings = ask(options)?;
    let versions = versions::table(options);
    let of = |name: &str| versions.iter().find(|row| row[0] == name).map_or("", |row| &row[1]);
    let active = findings.layers.iter().filter(|layer| matches!(layer.status, Status::Active { .. })).count();
    let summary = format!(
        "{} ({}, {}) on Linux {}, {active} of {} layers of protection in force",
        of("llmc"),
        of("commit"),
        of("build"),
        of("kernel"),
        findings.layers.len()
    );
    let tables = vec![
        Table {
            title: "Versions".into(),
            columns: vec!["what".into(), "version".into()],
            rows: versions,
            ..Table::default()
        },
        layers(&findings.layers),
        self_test(&findings.self_test),
    ];
    let left_out = findings.layers.iter().filter_map(|layer| match &layer.status {
        Status::Missing { why } => Some(format!("layer {} ({}): {why}", layer.name, layer.gives)),
        Status::Active { .. } => None,
    });
    let left_out = left_out.collect();
    let claims = claims(&findings);
    Ok(Part {
        summary,
        began,
        seconds: start.elapsed().as_secs_f64(),
        claims,
        tables,
        left_out,
        ..Part::default()
    })
}

fn ask(options: &Options) -> Result<Findings> {
    let config = options.target.join("proof/machine.toml");
    std::fs::create_dir_all(options.target.join("proof"))?;
    std::fs::write(&config, CONFIG)?;
    let mut doctor = Command::new(options.stage.join("bin/llmc"));
    doctor.args(["doctor", "--json", "--config"]).arg(&config).env_clear().env("PATH", "/usr/bin:/bin");
    let output = doctor.stdin(Stdio::null()).output().context("cannot start `llmc doctor`")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("`llmc doctor --json` said: {}", String::from_utf8_lossy(&output.stderr).trim())
    })
}

fn layers(layers: &[Layer]) -> Table {
    let row = |layer: &Layer| {
        let (state, detail) = match &layer.status {
            Status::Active { detail } => ("in force", detail),
            Status::Missing { why } => ("missing", why),
        };
        vec![
            layer.name.clone(),
            layer.gives.clone(),
            state.into(),
            detail.clone(),
            layer.required_by.join(", "),
        ]
    };
    Table {
        title: "Layers of protection".into(),
        note: "What this kernel enforces, tried out by the runner on itself.".into(),
        columns: ["layer", "gives", "state", "detail", "required by"].map(String::from).into(),
        rows: layers.iter().map(row).collect(),
    }
}

fn self_test(test: &SelfTest) -> Table {
    let row = |finding: &Finding| {
        vec![finding.jail.clone(), finding.probe.clone(), finding.expected.clone(), finding.seen.clone()]
    };
    Table {
        title: "Self-test in real jails".into(),
        columns: ["jail", "probe", "expected", "seen"].map(String::from).into(),
        rows: test.findings.iter().map(row).collect(),
        ..Table::default()
    }
}

fn claims(findings: &Findings) -> Vec<Claim> {
    let required = || findings.layers.iter().filter(|layer| !layer.required_by.is_empty());
    let (all, active) = (
        required().count(),
        required().filter(|layer| matches!(layer.status, Status::Active { .. })).count(),
    );
    let probes = &findings.self_test.findings;
    let holds = |finding: &&Finding| finding.expected.split(" or ").any(|expected| expected == finding.seen);
    let held = probes.iter().filter(holds).count();
    let seen = match &findings.self_test.error {
        Some(error) => error.clone(),
        None => format!("{held} of {}", probes.len()),
    };
    let error = findings.server.error.clone().unwrap_or_default();
    vec![
        Claim {
            what: "every required layer of protection is in force".into(),
            expected: format!("{all} of {all}"),
            seen: format!("{active} of {all}"),
            held: active == all && all > 0,
        },
        Claim {
            what: "attempts to get out of real jails end as expected".into(),
            expected: format!("{0} of {0}", probes.len()),
            seen,
            held: held == probes.len() && held > 0,
        },
        Claim {
            what: "the server starts with plugins, commands and code".into(),
            expected: "starts".into(),
            seen: if findings.server.starts { "starts".into() } else { error },
            held: findings.server.starts,
        },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(status: serde_json::Value, seen: &str, starts: bool) -> Findings {
        let findings = json!({"healthy": true, "layers": [{"name": "landlock", "gives": "files", "status": status,
            "required_by": ["plugins"], "how": "a newer kernel"}], "self_test": {"holds": true, "findings": [{"jail": "code",
            "probe": "connect", "expected": "EPERM or EACCES", "seen": seen}]}, "server": {"starts": starts, "error": "why"},
            "exposed_variables": []});
        serde_json::from_value(findings).unwrap()
    }

    fn held(findings: &Findings) -> Vec<bool> {
        claims(findings).iter().map(|claim| claim.held).collect()
    }

    #[test]
    fn layers_jails_and_the_start_are_claims() {
        let active = json!({"active": {"detail": "version 6"}});
        assert_eq!(held(&findings(active.clone(), "EACCES", true)), [true, true, true]);
        assert_eq!(held(&findings(active, "OK", false)), [true, false, false]);
        let missing = json!({"missing": {"why": "old kernel"}});
        assert_eq!(held(&findings(missing, "EPERM", true)), [false, true, true]);
    }
}
