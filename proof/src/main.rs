//! Has every part of the proof made, each by a program of its own, and makes the report of them.
//!
//! - [`plan`]: which parts there are, and what makes each.
//! - [`child`]: runs what makes one, and keeps what it says.
//! - [`collect`]: parts of programs that do not write one themselves.
//! - [`document`]: what of it is committed.
//! - [`sources`]: which commit all of it is of.
//! - [`fuzz`]: runs fuzzers and counts what they did.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "telling what happens is this program's job")]

mod child;
mod collect;
mod document;
mod fuzz;
mod plan;
mod run;
mod sources;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Makes the parts of the proof and the report of them.
#[derive(Parser)]
#[command(
    name = "llmc-proof",
    after_help = "Exit codes: 0 everything held; 1 it could not be tried; 3 something did not hold or was not run."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Has the parts made, then reports.
    Run(run::Options),
    /// Makes the report of the parts that are there.
    Report {
        /// Folder with `parts`; the report goes there.
        #[arg(long, value_name = "DIR")]
        folder: PathBuf,
    },
    /// Runs fuzzers that were built.
    Fuzz(fuzz::Options),
}

fn main() -> Result<ExitCode> {
    let holds = match Cli::parse().verb {
        Verb::Run(options) => run::run(&options)?,
        Verb::Report { folder } => run::report(&folder)?,
        Verb::Fuzz(options) => fuzz::run(&options)?,
    };
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
