//! Every check a change must pass, quick ones first.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::workspace::{self, Workspace, shown};
use crate::{audit, test, tidy};

/// A named check.
struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    Cargo(fn(&Workspace) -> Command),
    /// A verb of xtask, run in this process.
    Verb(fn(&Workspace) -> Result<()>),
}

const STEPS: &[Step] = &[
    Step { name: "fmt", work: Work::Cargo(|workspace| workspace.cargo(["fmt", "--all", "--check"])) },
    Step { name: "tidy", work: Work::Verb(tidy::run) },
    Step { name: "audit", work: Work::Verb(audit::run) },
    Step { name: "clippy", work: Work::Cargo(clippy) },
    Step { name: "doc", work: Work::Cargo(doc) },
    Step { name: "test", work: Work::Verb(|workspace| test::run(workspace, None)) },
];

/// Runs all steps and stops at the first that fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut times = Vec::new();
    for step in STEPS {
        let command = step.command(workspace);
        println!("\n=== {}: {command}", step.name);
        let start = Instant::now();
        let result = step.run(workspace);
        let seconds = start.elapsed().as_secs_f32();
        if let Err(error) = result {
            bail!("step `{}` failed after {seconds:.1} s: {error:#}\nrepeat it with: {command}", step.name);
        }
        println!("=== {}: ok, {seconds:.1} s", step.name);
        times.push(format!("{} {seconds:.1} s", step.name));
    }
    println!("\nci passed: {}", times.join(", "));
    Ok(())
}

impl Step {
    /// What one types to run this step alone.
    fn command(&self, workspace: &Workspace) -> String {
        match self.work {
            Work::Cargo(command) => shown(&command(workspace)),
            Work::Verb(_) => format!("cargo xtask {}", self.name),
        }
    }

    fn run(&self, workspace: &Workspace) -> Result<()> {
        match self.work {
            Work::Cargo(command) => workspace::check(&mut command(workspace)),
            Work::Verb(verb) => verb(workspace),
        }
    }
}

fn clippy(workspace: &Workspace) -> Command {
    let features = "llmc-bench/tantivy,llmc-server/redis,search/embeddings";
    let what = ["clippy", "--workspace", "--all-targets", "--features", features];
    workspace.cargo(what.into_iter().chain(["--", "-D", "warnings"]))
}

fn doc(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo(["doc", "--workspace", "--no-deps"]);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_tells_how_to_repeat_it() {
        let workspace = Workspace::locate().unwrap();
        let commands: Vec<_> = STEPS.iter().map(|step| step.command(&workspace)).collect();
        assert_eq!(commands[0], "cargo fmt --all --check");
        assert_eq!(commands[4], "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps");
        let verbs = crate::verbs();
        for step in STEPS.iter().filter(|step| matches!(step.work, Work::Verb(_))) {
            assert!(verbs.iter().any(|verb| verb == step.name), "no verb `{}`", step.name);
        }
    }
}
