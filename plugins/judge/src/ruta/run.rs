//! `ruta run`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use judge::limits::MAX_ID_BYTES;
use judge::report::Report;
use judge::scenario::Scenario;
use judge::trace::{Event, Trace, rfc3339, write};

use crate::audit::Mark;
use crate::client::Client;
use crate::ground::Ground;
use crate::judged::judge;
use crate::record::{self, RangeArgs};
use crate::{Telling, complain, files, joined, script};

#[derive(Args)]
pub(crate) struct Run {
    /// The scenarios, YAML.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// The server program. Default: `llmc` beside this program, else the one in `PATH`.
    #[arg(long, value_name = "PROGRAM")]
    llmc: Option<PathBuf>,
    /// A configuration of yours for the server, instead of the scenario's preconditions.
    #[arg(long, value_name = "FILE", conflicts_with = "audit")]
    config: Option<PathBuf>,
    /// Judges a live session that others lead, by the audit file of its server, instead of making calls.
    #[arg(long, value_name = "FILE", requires = "for_s")]
    audit: Option<PathBuf>,
    /// How long to follow the audit, in seconds.
    #[arg(long, value_name = "SECONDS", requires = "audit")]
    for_s: Option<u64>,
    /// Keeps the traces in this folder, as `trace_RUN_TIME.jsonl`.
    #[arg(long, value_name = "DIR")]
    trace_dir: Option<PathBuf>,
    /// Name of the session. Default: the id of the scenario.
    #[arg(long)]
    run_id: Option<RunId>,
    /// Longest wait for an answer of the server, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 150)]
    timeout_s: u64,
    #[command(flatten)]
    telling: Telling,
}

/// A name that becomes part of a file's name, and so has no `/`.
#[derive(Clone, Debug)]
pub(crate) struct RunId(pub(crate) String);

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if text.is_empty() || text.len() > MAX_ID_BYTES || text.starts_with('.') || !text.chars().all(fits) {
            return Err(format!("1 to {MAX_ID_BYTES} letters, digits, `.`, `_` and `-`, no `.` in front"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut worst = 0;
        let mut reports = Vec::new();
        for file in &self.scenarios {
            match self.one(file) {
                Ok(report) => reports.push(report),
                // The others are judged all the same.
                Err(error) => worst = worst.max(complain(&error)),
            }
        }
        if !reports.is_empty() {
            worst = worst.max(self.telling.tell(&reports)?);
        }
        Ok(ExitCode::from(worst))
    }

    fn one(&self, file: &Path) -> Result<Report> {
        let scenario = files::scenario(file)?;
        // The id of a scenario is a name like that of a run.
        let run_id = self.run_id.clone().unwrap_or_else(|| RunId(scenario.id.clone()));
        let events = match (&self.audit, self.for_s) {
            (Some(audit), Some(seconds)) => follow(audit, Duration::from_secs(seconds), &run_id)?,
            _ => self.drive(&scenario, &run_id).with_context(|| format!("scenario `{}`", file.display()))?,
        };
        if let Some(folder) = &self.trace_dir {
            keep(&events, folder, &run_id)?;
        }
        Ok(judge(&scenario, &Trace { run_id: run_id.0, events }))
    }

    fn drive(&self, scenario: &Scenario, run_id: &RunId) -> Result<Vec<Event>> {
        if scenario.script.is_empty() {
            bail!(
                "it has no `script`; judge a recorded session with `ruta judge`, or a live one with --audit"
            );
        }
        let ground = match &self.config {
            None => Ground::of(&scenario.preconditions)?,
            Some(_) if has_ground(scenario) => {
                bail!("it has `preconditions`, which a configuration of yours (--config) does not fulfil")
            }
            Some(config) => Ground::configured(config)?,
        };
        let llmc = self.llmc.clone().unwrap_or_else(installed);
        let llmc = if llmc.components().count() > 1 { std::path::absolute(llmc)? } else { llmc };
        let mut client = Client::start(ground.command(&llmc), Duration::from_secs(self.timeout_s))?;
        let made = script::play(scenario, &mut client)?;
        client.end()?;
        Ok(joined::events(made, ground.records()?.as_deref(), &run_id.0)?)
    }
}

fn has_ground(scenario: &Scenario) -> bool {
    let json = |preconditions| serde_json::to_value(preconditions).ok();
    json(scenario.preconditions.clone()) != json(judge::scenario::Preconditions::default())
}

/// `llmc` beside this program, else by its name.
pub(crate) fn installed() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("llmc")));
    beside.filter(|file| file.exists()).unwrap_or_else(|| PathBuf::from("llmc"))
}

/// Waits, then reads what was added to an audit meanwhile.
fn follow(audit: &Path, patience: Duration, run_id: &RunId) -> Result<Vec<Event>> {
    let before = Mark::at_end_of(audit);
    eprintln!("following `{}` for {} s", audit.display(), patience.as_secs());
    std::thread::sleep(patience);
    record::events(audit, before, RangeArgs::default(), run_id)
}

/// Keeps a trace in a file of its own.
fn keep(events: &[Event], folder: &Path, run_id: &RunId) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let time: String = rfc3339(now_ms()).chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    let file = folder.join(format!("trace_{}_{time}.jsonl", run_id.0));
    write(events, &mut files::create(&file)?).with_context(|| format!("failed to write `{}`", file.display()))
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
