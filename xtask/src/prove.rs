//! Stages what is to be proved, and has `llmc-proof` make the parts and the report.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::stage::{self, Profile};
use crate::workspace::Workspace;

/// What is proved, and how thoroughly.
#[derive(Args)]
pub(crate) struct Prove {
    /// Minutes instead of hours; for trying out.
    #[arg(long)]
    quick: bool,
    /// This part alone; may be said several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The build that tests use instead of the optimised one: for finding out what fails; nothing is measured.
    #[arg(long)]
    debug: bool,
}

/// Makes all parts; the exit code says whether everything held.
pub(crate) fn run(workspace: &Workspace, prove: &Prove) -> Result<ExitCode> {
    let (profile, folder) =
        if prove.debug { (Profile::Dev, stage::FOLDER) } else { (Profile::Release, stage::RELEASE_FOLDER) };
    let stage = stage::build(workspace, profile, folder)?;
    let target = stage.dir.parent().context("the stage is in no folder")?;
    let mut proof = workspace.cargo(["run", "--quiet", "-p", "llmc-proof", "--", "run", "--root"]);
    proof.arg(&workspace.root).arg("--stage").arg(&stage.dir).arg("--stage-tests").arg(&stage.tests);
    proof.arg("--target").arg(target);
    if !prove.debug {
        proof.arg("--release");
    }
    if prove.quick {
        proof.arg("--quick");
    }
    for name in &prove.only {
        proof.args(["--only", name]);
    }
    crate::forward(&mut proof)
}
