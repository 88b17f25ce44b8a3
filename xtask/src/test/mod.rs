//! Runs every test of the workspace against a fresh stage and counts what they say.
//!
//! - [`tally`]: reads what the test programs print.

mod tally;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::canary::{self, Canary};
use crate::clients;
use crate::conformance;
use crate::packages;
use crate::stage::{self, Profile, Recipe, Stage};
use crate::workspace::{self, Workspace, shown};
use tally::Tally;

/// A program of the system that tests start: its name, its Debian package, and what is not tested without it.
/// It has to stand in [`FOLDERS`]: a jail shows its programs no other ones.
pub(crate) struct Prerequisite {
    program: &'static str,
    package: &'static str,
    /// Makes it say its version and end.
    version: &'static str,
    tests: &'static str,
}

const PREREQUISITES: &[Prerequisite] = &[
    Prerequisite {
        program: "python3",
        package: "python3",
        version: "--version",
        tests: "everything that runs Python code (`execute_code`)",
    },
    // Without it Debian's Python makes no virtual environments.
    Prerequisite {
        program: "python3",
        package: "python3-venv",
        version: "-cimport ensurepip",
        tests: "numpy and pandas in `execute_code`",
    },
    Prerequisite {
        program: "chromium-headless-shell",
        package: "chromium-headless-shell",
        version: "--version",
        tests: "the console in a browser",
    },
    Prerequisite {
        program: "git",
        package: "git",
        version: "--version",
        tests: "`run_command` with a real program",
    },
];

/// The balancer in front of several servers.
pub(crate) const NGINX: Prerequisite = Prerequisite {
    program: "nginx",
    package: "nginx-light",
    version: "-v",
    tests: "several servers behind nginx",
};

/// What servers on several machines share.
pub(crate) const REDIS: Prerequisite = Prerequisite {
    program: "redis-server",
    package: "redis-server",
    version: "--version",
    tests: "several servers that share a Redis database",
};

/// What tells servers another time.
pub(crate) const FAKETIME: Prerequisite = Prerequisite {
    program: "faketime",
    package: "faketime",
    version: "--version",
    tests: "jumps of the wall clock under load",
};

/// Words in the names of tests of what servers share. They run a second time, with a server for Redis databases, which
/// is built in on request only.
const SHARED_TESTS: [&str; 2] = ["common::", "shared::"];

/// Where clients of others are installed, beside the stage.
const CLIENTS: &str = "clients";

/// Where numpy and pandas are installed, beside the stage.
const PACKAGES: &str = "packages";

const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];

/// Builds, stages and tests; with a filter, runs only the tests whose name contains it.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    for prerequisite in PREREQUISITES {
        provide(prerequisite);
    }
    let stage = stage::build(workspace, Profile::Dev, stage::FOLDER)?;
    show_kernel(&stage);
    let clients = stage.dir.with_file_name(CLIENTS);
    clients::install(workspace, &clients);
    let packages = packages::install(workspace, &stage.dir.with_file_name(PACKAGES));

    let mut canary = Canary::new()?;
    let secret = canary.value().to_owned();
    let tests = |arguments: &[&str]| {
        let mut cargo = workspace.cargo(["test", "--workspace", "--no-fail-fast"]);
        cargo.env("LLMC_STAGE", &stage.dir).env("LLMC_STAGE_TESTS", &stage.tests);
        cargo.env(canary::VARIABLE, &secret);
        cargo.env("LLMC_CLIENTS", &clients);
        cargo.env("LLMC", stage.program());
        if let Some(packages) = &packages {
            cargo.env(packages::VARIABLE, packages);
        }
        if !arguments.is_empty() {
            cargo.arg("--").args(arguments);
        }
        cargo
    };

    let (mut tally, failure) = listen(tests(&filter.into_iter().collect::<Vec<_>>()), &mut canary)?;
    let alone = second_chance(&mut tally, |names| {
        println!("\nfailed beside others, so they run once more, alone: {}", names.join(", "));
        let arguments = ["--exact", "--test-threads=1"].into_iter().chain(names.iter().map(String::as_str));
        listen(tests(&arguments.collect::<Vec<_>>()), &mut canary).map(|(tally, _)| tally)
    })?;

    let mut failure = failure.filter(|_| alone.is_empty());
    if filter.is_none_or(|filter| SHARED_TESTS.iter().any(|name| name.contains(filter))) {
        let (second, failed) = with_redis(workspace, &mut canary)?;
        tally.passed += second.passed;
        tally.failed += second.failed;
        failure = failure.or(failed);
    }

    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if !alone.is_empty() {
        println!(
            "PASSED ONLY ALONE, which is a defect of the test or of what it tests: {}",
            alone.join(", ")
        );
    }
    let target = stage.dir.parent().context("the stage is in no folder")?;
    canary.search(&workspace.root, target)?;
    match (&tally, failure) {
        (Tally { failed: 1.., .. }, _) => bail!("some tests failed"),
        (_, Some(failure)) => bail!(failure),
        (Tally { passed: 0, .. }, _) => bail!("no test ran"),
        _ if filter.is_some() => Ok(()),
        _ => conformance::run_if_possible(workspace, &stage),
    }
}

/// Runs the tests of what servers share with a server for Redis databases.
fn with_redis(workspace: &Workspace, canary: &mut Canary) -> Result<(Tally, Option<String>)> {
    provide(&REDIS);
    let features = stage::features_of_server(&["redis".into()]);
    let stage = stage::build(workspace, Recipe { features, ..Profile::Dev.into() }, stage::REDIS_FOLDER)?;
    // The whole workspace again: for the server alone cargo would choose other features of what it uses, and build
    // hundreds of crates a second time.
    let mut cargo =
        workspace.cargo(["test", "--workspace", "--features", "llmc-server/redis", "--no-fail-fast"]);
    cargo.env("LLMC_STAGE", &stage.dir).env("LLMC_STAGE_TESTS", &stage.tests);
    cargo.env(canary::VARIABLE, canary.value());
    cargo.args(["--lib", "--test", "http", "--"]).args(SHARED_TESTS);
    listen(cargo, canary)
}

/// Runs tests, shows what they print, and counts; with how cargo failed, if it did.
fn listen(mut cargo: Command, canary: &mut Canary) -> Result<(Tally, Option<String>)> {
    let (reader, writer) = std::io::pipe().context("no pipe")?;
    // One pipe for both: which program a test is of is told on the one, how it ended on the other.
    cargo.stdout(writer.try_clone()?).stderr(writer);
    let mut child = cargo.spawn().context("failed to start cargo")?;
    let what = shown(&cargo);
    // The command holds ends of the pipe.
    drop(cargo);
    let mut tally = Tally::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        if canary.hears(&line) {
            println!("[a line with the canary of this run]");
            continue;
        }
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait()?;
    tally.end();
    Ok((tally, (!status.success()).then(|| format!("`{what}` failed ({status})"))))
}

/// Where a few tests failed, each by its name, `run` runs them alone: a busy machine is not a defect of the program.
/// Attacks get no such chance: what succeeds once has succeeded. Returns what passed then.
fn second_chance(tally: &mut Tally, run: impl FnOnce(&[String]) -> Result<Tally>) -> Result<Vec<String>> {
    let Some(names) = tally.to_repeat() else { return Ok(Vec::new()) };
    let second = run(&names)?;
    // One that was not found again has not passed.
    let passed = second.passed.min(names.len() as u64);
    if second.failed > 0 || passed < names.len() as u64 {
        return Ok(Vec::new());
    }
    tally.passed += tally.failed;
    tally.failed = 0;
    Ok(names)
}

/// Makes sure that a program can be started, or says what stays untested.
pub(crate) fn provide(wanted: &Prerequisite) {
    let Prerequisite { program, package, version, tests } = wanted;
    if is_there(program, version) {
        return;
    }
    if is_root() && is_there("apt-get", "--version") {
        println!("`{program}` is missing in {}; installing the package `{package}`", FOLDERS.join(" and "));
        let installed = apt_get(&["update", "-qq"])
            .and_then(|()| apt_get(&["install", "-qq", "-y", "--no-install-recommends", package]));
        match installed {
            Ok(()) if is_there(program, version) => return,
            Ok(()) => println!("`{program}` still cannot be started"),
            Err(error) => println!("{error:#}"),
        }
    }
    println!("NOT TESTED without `{program}`: {tests}. Install it and run the tests again.");
}

/// Whether one of the folders has the program and it starts.
fn is_there(program: &str, version: &str) -> bool {
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).any(|file| {
        let mut command = Command::new(file);
        command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Whether this process may install packages; `/proc/self` belongs to whoever runs it.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    workspace::check(command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
}

/// Shows which layers of protection this kernel gives; tests of a missing one say so themselves.
fn show_kernel(stage: &Stage) {
    let mut doctor = Command::new(stage.dir.join("bin/llmc"));
    doctor.arg("doctor").stdin(Stdio::null());
    if let Err(error) = workspace::check(&mut doctor) {
        println!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_passes_alone_counts_and_is_named() {
        let said = |passed: u64, failed: u64| {
            let mut tally = Tally::default();
            let result = format!("test result: FAILED. {passed} passed; {failed} failed; 0 ignored");
            let output =
                ["     Running tests/it/main.rs (x)", "running 3 tests", "test a ... FAILED", &result];
            output.iter().for_each(|line| tally.read(line));
            tally
        };
        let chance = |passed: u64, failed: u64| {
            let mut tally = said(2, 1);
            let alone = second_chance(&mut tally, |names| {
                assert_eq!(names, ["a"]);
                Ok(said(passed, failed))
            });
            (alone.unwrap(), tally.passed, tally.failed)
        };
        assert_eq!(chance(1, 0), (vec!["a".into()], 3, 0));
        assert_eq!(chance(0, 1), (vec![], 2, 1));
        assert_eq!(chance(0, 0), (vec![], 2, 1), "it was not found again");
    }

    #[test]
    fn a_missing_program_is_noticed() {
        assert!(is_there("env", "--version"));
        assert!(!is_there("llmc-no-such-program", "--version"));
    }
}
