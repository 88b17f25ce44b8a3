//! The official conformance suite of the Model Context Protocol against the staged server.
//!
//! The suite calls tools, prompts and resources of fixed names; the plugin `fixtures`, which only tests may load, has
//! them. What is pinned and what is excluded stands in `xtask/conformance`.

mod results;
mod server;
mod suite;

use anyhow::{Result, bail};

use crate::stage::Stage;
use crate::workspace::Workspace;
use results::{Baseline, Row};
use server::Server;
use suite::Suite;

/// Revisions whose requirements are run.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// Runs the suite.
///
/// # Errors
///
/// When it cannot be run, or a scenario ended otherwise than the baseline says.
pub(crate) fn run(workspace: &Workspace, stage: &Stage) -> Result<()> {
    let suite = Suite::install(workspace)?;
    check(workspace, stage, &suite)
}

/// Runs the suite if it can be had, and says loudly what is not checked if not.
///
/// # Errors
///
/// When a scenario ended otherwise than the baseline says.
pub(crate) fn run_if_possible(workspace: &Workspace, stage: &Stage) -> Result<()> {
    match Suite::install(workspace) {
        Ok(suite) => check(workspace, stage, &suite),
        Err(error) => {
            println!(
                "NOT CHECKED: the official conformance suite of the protocol, because {error:#}. `cargo xtask \
                 conformance` runs it alone."
            );
            Ok(())
        }
    }
}

fn check(workspace: &Workspace, stage: &Stage, suite: &Suite) -> Result<()> {
    let baseline = Baseline::read(&workspace.root)?;
    let mut rows = Vec::new();
    for revision in REVISIONS {
        // A server for each: what one run leaves behind must not help the other.
        let server = Server::start(stage, suite.folder())?;
        let scored = suite.scored(revision)?;
        let folder = suite.run(revision, server.url())?;
        rows.extend(results::read(&folder, revision, &scored)?);
    }
    show(&rows, &baseline);
    results::leave(&rows, &baseline, suite.folder())?;
    let surprises = baseline.surprises(&rows);
    if !surprises.is_empty() {
        bail!("conformance: {}", surprises.join("; "));
    }
    Ok(())
}

fn show(rows: &[Row], baseline: &Baseline) {
    println!("\n{:<11} {:<46} {:>6} {:>6}  outcome", "revision", "scenario", "passed", "failed");
    for row in rows {
        let outcome = baseline.outcome(row);
        let unscored = if row.scored { "" } else { " (not scored)" };
        println!(
            "{:<11} {:<46} {:>6} {:>6}  {outcome}{unscored}",
            row.revision, row.scenario, row.passed, row.failed
        );
    }
    for revision in REVISIONS {
        let of = |scored| rows.iter().filter(move |row| row.revision == revision && row.scored == scored);
        let green = |scored| of(scored).filter(|row| row.passes()).count();
        println!(
            "{revision}: {} of {} scored scenarios pass, {} of {} others",
            green(true),
            of(true).count(),
            green(false),
            of(false).count()
        );
    }
}
