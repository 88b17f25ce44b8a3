//! `ruta`: drives a server by a scenario, makes traces, and judges them.
//!
//! Exit codes: 0 all scenarios passed; 1 one failed, or a scenario or trace cannot be used; 2 wrong usage; 3 a server
//! could not be driven.

#![forbid(unsafe_code)]

mod audit;
mod client;
mod files;
mod ground;
mod joined;
mod judged;
mod record;
mod run;
mod schema;
mod script;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use judge::scenario::Severity;

/// Something failed, or could not be judged.
const FAILED: u8 = 1;
/// A server could not be started, or did not do as agreed.
const NOT_DRIVEN: u8 = 3;

/// Judges sessions of tool calls by scenarios.
#[derive(Parser)]
#[command(
    name = "ruta",
    version,
    after_help = "Exit codes: 0 passed; 1 failed, or a scenario or trace cannot be used; 2 wrong usage; 3 a server could not be driven."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs the scripts of scenarios against a server and judges what happened.
    Run(run::Run),
    /// Judges a trace by a scenario.
    Judge(judged::Judge),
    /// Makes a trace of a range of a server's audit file.
    Record(record::Record),
    /// Prints the JSON Schema of a format.
    Schema(schema::Schema),
}

/// How judgments are told.
#[derive(Args)]
struct Telling {
    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes the report to a file; a table is printed then as well.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Least bad severity that fails: P0, P1, P2 or P3.
    #[arg(long, value_name = "SEVERITY", default_value = "P3", value_parser = severity)]
    fail_on: Severity,
}

/// Forms of reports.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// All of it.
    Json,
    /// For programs that collect test results.
    Junit,
}

/// A server could not be driven. Anything else that goes wrong is the scenario's or the trace's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ServerError(String);

fn severity(text: &str) -> Result<Severity, String> {
    serde_json::from_value(text.into()).map_err(|_| "one of P0, P1, P2, P3".to_owned())
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Judge(judge) => judge.run(),
        Verb::Record(record) => record.run(),
        Verb::Schema(schema) => schema.run(),
    };
    done.unwrap_or_else(|error| ExitCode::from(complain(&error)))
}

/// Tells an error and returns the exit code for it.
fn complain(error: &anyhow::Error) -> u8 {
    eprintln!("error: {error:#}");
    if error.is::<ServerError>() { NOT_DRIVEN } else { FAILED }
}
