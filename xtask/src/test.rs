//! Runs every test of the workspace against a fresh stage and counts what they say.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::canary::{self, Canary};
use crate::clients;
use crate::conformance;
use crate::stage::{self, Profile, Stage};
use crate::workspace::{self, Workspace, shown};

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

/// Where clients of others are installed, beside the stage.
const CLIENTS: &str = "clients";

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

    let mut cargo = workspace.cargo(["test", "--workspace", "--no-fail-fast"]);
    let mut canary = Canary::new()?;
    cargo.env("LLMC_STAGE", &stage.dir).env("LLMC_STAGE_TESTS", &stage.tests);
    cargo.env(canary::VARIABLE, canary.value());
    cargo.env("LLMC_CLIENTS", &clients);
    cargo.env("LLMC", stage.program());
    cargo.args(filter.map(|filter| ["--", filter]).into_iter().flatten());

    let mut child = cargo.stdout(Stdio::piped()).spawn().context("failed to start cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
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

    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    let target = stage.dir.parent().context("the stage is in no folder")?;
    canary.search(&workspace.root, target)?;
    match tally {
        Tally { failed: 1.., .. } => bail!("some tests failed"),
        _ if !status.success() => bail!("`{}` failed ({status})", shown(&cargo)),
        Tally { passed: 0, .. } => bail!("no test ran"),
        _ if filter.is_some() => Ok(()),
        _ => conformance::run_if_possible(workspace, &stage),
    }
}

/// What the test programs reported so far.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// A program has begun and not yet said how it ended.
    running: bool,
}

impl Tally {
    fn read(&mut self, line: &str) {
        if line.starts_with("running ") && (line.ends_with(" test") || line.ends_with(" tests")) {
            self.end();
            self.running = true;
        }
        if let Some((passed, failed)) = result(line) {
            self.passed += passed;
            self.failed += failed;
            self.running = false;
        }
    }

    /// A program that died before its result line counts as one failed test.
    fn end(&mut self) {
        self.failed += u64::from(self.running);
        self.running = false;
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = counts.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
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

    fn tally(output: &str) -> (u64, u64) {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally.end();
        (tally.passed, tally.failed)
    }

    #[test]
    fn results_are_summed() {
        let output = "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n\
            running 1 test\ntest result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(tally(output), (5, 1));
    }

    #[test]
    fn a_program_that_dies_counts_as_failed() {
        let died_first = "running 2 tests\nrunning 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored";
        assert_eq!(tally(died_first), (1, 1));
        assert_eq!(tally("running 4 tests\ntest a ... ok"), (0, 1));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(tally("test result: who knows\nrunning late"), (0, 0));
    }

    #[test]
    fn a_missing_program_is_noticed() {
        assert!(is_there("env", "--version"));
        assert!(!is_there("llmc-no-such-program", "--version"));
    }
}
