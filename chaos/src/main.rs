//! Breaks what an llmc server stands on, and looks whether it held.
//!
//! - [`chaos`]: random faults under mixed load, in a throw-away namespace.
//! - [`soak`]: very many calls, and what they cost over time.
//! - [`replicas`]: several servers behind nginx, one of which is killed.
//! - [`stdio`], [`http`], [`answer`]: clients; [`processes`]: what is seen of servers from outside.
//! - [`claims`], [`dice`]: what had to hold; chance that can be repeated. [`build`]: what repeats a run.

#![expect(clippy::print_stdout, reason = "progress and the summary are what this program is for")]

mod answer;
mod build;
mod chaos;
mod claims;
mod dice;
mod http;
mod processes;
mod replicas;
mod soak;
mod stdio;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use llmc_proof::Part;

use self::build::Build;

/// Breaks what an llmc server stands on, and looks whether it held.
#[derive(Parser)]
#[command(
    name = "llmc-chaos",
    after_help = "Exit codes: 0 every claim held; 1 it could not be tried; 3 a claim did not hold."
)]
struct Cli {
    /// Folder with `bin`, `libexec` and `lib` of a build.
    #[arg(long, value_name = "DIR")]
    stage: PathBuf,
    /// What is staged is the optimised build; commands that repeat a run say so.
    #[arg(long)]
    release: bool,
    /// Folder for the part of the report.
    #[arg(long, value_name = "DIR")]
    parts: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Random faults under mixed load.
    Chaos(chaos::Options),
    /// Very many calls.
    Soak(soak::Options),
    /// Three servers behind nginx.
    Replicas(replicas::Options),
    /// The part of `chaos` that runs inside the namespace.
    #[command(hide = true)]
    Inside(chaos::Inside),
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    ensure!(
        cli.stage.join("bin/llmc").is_file(),
        "`{}` holds no installation; run `cargo xtask build` first",
        cli.stage.display()
    );
    let stage = cli.stage.canonicalize()?;
    let (build, began) = (Build::new(cli.release), SystemTime::now());
    let part = match cli.verb {
        Verb::Inside(inside) => return chaos::inside(&stage, &inside).map(|()| ExitCode::SUCCESS),
        Verb::Chaos(options) => chaos::run(&stage, build, &options)?,
        Verb::Soak(options) => soak::run(&stage, build, &options)?,
        Verb::Replicas(options) => replicas::run(&stage, build, &options)?,
    };
    finish(part, began, cli.parts.as_deref())
}

fn finish(mut part: Part, began: SystemTime, parts: Option<&Path>) -> Result<ExitCode> {
    part.began = began.duration_since(UNIX_EPOCH)?.as_secs();
    part.seconds = began.elapsed()?.as_secs_f64();
    println!("\n{}\n", part.summary);
    claims::print(&part);
    if let Some(folder) = parts {
        part.write(folder)?;
        println!("wrote `{}`", folder.join(format!("{}.json", part.name)).display());
    }
    Ok(if part.held() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
