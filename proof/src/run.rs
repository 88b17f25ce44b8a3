//! Has the parts made, one after the other, and makes the report.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use llmc_proof::report::{Report, read_all};
use llmc_proof::{Made, Part};

use crate::child::{self, Ended, now};
use crate::collect;
use crate::document;
use crate::plan::{self, STEPS, Step, Work};
use crate::sources;

/// What to make, and of what.
#[derive(Args)]
pub(crate) struct Options {
    /// The sources.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// Folder with `bin`, `libexec` and `lib` of a build.
    #[arg(long, value_name = "DIR")]
    pub(crate) stage: PathBuf,
    /// Folder whose `plugins` only tests may load.
    #[arg(long, value_name = "DIR")]
    pub(crate) stage_tests: PathBuf,
    /// Where cargo builds; the report goes to `proof` in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// The build is an optimised one.
    #[arg(long)]
    pub(crate) release: bool,
    /// Minutes instead of hours; for trying out.
    #[arg(long)]
    pub(crate) quick: bool,
    /// This part alone; may be said several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
}

impl Options {
    fn folder(&self) -> PathBuf {
        self.target.join("proof")
    }

    fn parts(&self) -> PathBuf {
        self.folder().join("parts")
    }

    /// What somebody types to repeat all of this.
    pub(crate) fn shown(&self) -> String {
        let flags = [(self.quick, " --quick"), (!self.release, " --debug")];
        let flags: String = flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, flag)| flag).collect();
        format!("cargo xtask prove{flags}")
    }
}

/// Has the wanted parts made; whether all of them hold.
///
/// # Errors
/// If a name is unknown, or the report cannot be written.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let steps = plan::wanted(&options.only).map_err(|unknown| {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        anyhow::anyhow!("there is no part `{unknown}`, only {}", known.join(", "))
    })?;
    let parts = options.parts();
    let at_start = sources::at(&options.root);
    for step in &steps {
        // What is there from before must not pass for what is made now.
        forget(&parts.join(format!("{}.json", step.name)))?;
        println!("\n=== {}", step.title);
        let mut part = make(step, options)?;
        part.made = Some(Made {
            release: options.release,
            full: !options.quick,
            sources: sources::over(&at_start, sources::at(&options.root)),
        });
        println!("=== {}: {}", part.name, if part.holds() { "held" } else { "DID NOT HOLD" });
        part.write(&parts)?;
    }
    let report = Report::new(ordered(read_all(&parts)?));
    let html = report.write(&options.folder())?;
    document::write(&report, options)?;
    let wanted: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let holds = report.parts.iter().filter(|part| wanted.contains(&&*part.name)).all(Part::holds);
    tell(&report, &html);
    Ok(holds)
}

/// Makes the report of the parts that are there; whether all hold.
///
/// # Errors
/// If a part cannot be read, or the report not written.
pub(crate) fn report(folder: &Path) -> Result<bool> {
    let parts = read_all(&folder.join("parts"))?;
    if parts.is_empty() {
        bail!("there are no parts in `{}`; `cargo xtask prove` makes them", folder.join("parts").display());
    }
    let report = Report::new(ordered(parts));
    let html = report.write(folder)?;
    tell(&report, &html);
    Ok(report.holds())
}

fn tell(report: &Report, html: &Path) {
    for (part, claim) in report.failures() {
        println!("FAILED {}: {} (expected {}, seen {})", part.name, claim.what, claim.expected, claim.seen);
    }
    println!("\n{} claims held, {} did not\nreport: {}", report.held, report.failed, html.display());
}

fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// In the order of the plan; parts that it does not know come last, and those that are not there show as not run.
fn ordered(mut found: Vec<Part>) -> Vec<Part> {
    let mut parts = Vec::new();
    for step in STEPS {
        parts.push(match found.iter().position(|part| part.name == step.name) {
            Some(at) => found.remove(at),
            None => {
                let command = format!("cargo xtask prove --only {}", step.name);
                Part::not_run(step.name, step.title, &command, "nobody asked for it")
            }
        });
    }
    parts.extend(found);
    parts
}

/// The part of a step; one that could not be made says so.
fn make(step: &Step, options: &Options) -> Result<Part> {
    let made = match &step.work {
        Work::Own(_) | Work::Bench(_) => return made_elsewhere(step, options),
        Work::Machine => collect::machine::part(options),
        Work::Tests(words) => {
            let mut command = cargo(options, &[&["test"], *words].concat());
            start(step, &mut command, options).map(|ended| collect::harness::part(step.name, &ended))
        }
        Work::Attacks => {
            let mut command = cargo(options, &["test", "-p", "llmc-server", "--test", "attempts"]);
            let ended = start(step, &mut command, options)?;
            collect::attacks::part(&options.target, &ended)
        }
        Work::Conformance => {
            let words: &[&str] = if options.release {
                &["xtask", "conformance", "--release"]
            } else {
                &["xtask", "conformance"]
            };
            let ended = start(step, &mut cargo(options, words), options)?;
            collect::conformance::part(&options.target, &ended)
        }
    };
    let command = format!("cargo xtask prove --only {}", step.name);
    let mut part =
        made.unwrap_or_else(|error| Part::not_run(step.name, step.title, &command, &format!("{error:#}")));
    (part.name, part.title, part.command) = (step.name.into(), step.title.into(), command);
    Ok(part)
}

/// The part of a step whose program writes it.
fn made_elsewhere(step: &Step, options: &Options) -> Result<Part> {
    let folder = options.parts();
    let profile = if options.release { "--release" } else { "--debug" };
    let fill =
        |word: &str| word.replace("{parts}", &folder.display().to_string()).replace("{profile}", profile);
    let words: Vec<String> = step.words(options.quick).into_iter().map(fill).collect();
    let mut command = cargo(options, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let not_made = |why: &str| {
        let command = format!("cargo xtask prove --only {}", step.name);
        Part::not_run(step.name, step.title, &command, why)
    };
    if matches!(step.work, Work::Bench(_)) && !options.release {
        return Ok(not_made("it would say nothing about a build that is not optimised"));
    }
    let began = now();
    let ended = start(step, &mut command, options)?;
    let path = folder.join(format!("{}.json", step.name));
    if !path.exists() {
        return Ok(not_made(&ended.reason()));
    }
    Ok(match Part::read(&path) {
        // Its command names the build, too.
        Ok(part) if part.began + 1 >= began => part,
        Ok(_) => not_made("what is there is of an earlier run"),
        Err(error) => not_made(&format!("{error:#}")),
    })
}

/// `cargo` at the sources, which finds the stage and shares where cargo builds.
fn cargo(options: &Options, words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(&options.root);
    command.env("LLMC_STAGE", &options.stage).env("LLMC_STAGE_TESTS", &options.stage_tests);
    command.env("LLMC", options.stage.join("bin/llmc")).env("CARGO_TARGET_DIR", &options.target);
    command
}

fn start(step: &Step, command: &mut Command, options: &Options) -> Result<Ended> {
    child::run(command, &options.folder().join("logs").join(format!("{}.log", step.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        let claim = llmc_proof::Claim { what: "it holds".into(), held: true, ..Default::default() };
        Part { name: name.into(), claims: vec![claim], ..Part::default() }
    }

    #[test]
    fn parts_stand_in_the_order_of_the_plan_and_none_is_silently_absent() {
        let parts = ordered(vec![part("added"), part("http"), part("machine")]);
        assert_eq!((&*parts[0].name, &*parts.last().unwrap().name), ("machine", "added"));
        let missing: Vec<&str> =
            parts.iter().filter(|part| !part.was_run()).map(|part| &*part.name).collect();
        assert!(missing.contains(&"fuzz") && !missing.contains(&"http"), "{missing:?}");
    }
}
