//! `ruta judge`, and telling judgments.

use std::convert::Infallible;
use std::fs;
use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use judge::judgment;
use judge::report::{Report, junit, table};
use judge::scenario::Scenario;
use judge::trace::Trace;

use crate::{FAILED, Format, Telling, files};

#[derive(Args)]
pub(crate) struct Judge {
    /// The scenario, YAML.
    scenario: PathBuf,
    /// The trace, a JSON object a line.
    trace: PathBuf,
    #[command(flatten)]
    telling: Telling,
}

impl Judge {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let scenario = files::scenario(&self.scenario)?;
        let trace = files::trace(&self.trace)?;
        let report = judge(&scenario, &trace);
        self.telling.tell(&[report]).map(ExitCode::from)
    }
}

/// Judges to the end.
pub(crate) fn judge(scenario: &Scenario, trace: &Trace) -> Report {
    let Ok(report) = judgment::judge(scenario, trace, || Ok::<(), Infallible>(()));
    report
}

impl Telling {
    /// Prints or writes reports and returns the exit code.
    pub(crate) fn tell(&self, reports: &[Report]) -> Result<u8> {
        let text = match self.format {
            Format::Table => table(reports),
            Format::Json => json(reports)?,
            Format::Junit => junit(reports),
        };
        match &self.output {
            Some(file) => {
                fs::write(file, text).with_context(|| format!("failed to write `{}`", file.display()))?;
                print(&table(reports))?;
            }
            None => print(&text)?,
        }
        let failed = reports.iter().any(|report| report.fails_at(self.fail_on));
        Ok(if failed { FAILED } else { 0 })
    }
}

/// Prints a text. A reader that left, as `head` does, is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to stdout"),
    }
}

/// One report as an object, several as a list.
fn json(reports: &[Report]) -> Result<String> {
    Ok(match reports {
        [report] => report.json() + "\n",
        reports => serde_json::to_string_pretty(reports)? + "\n",
    })
}
