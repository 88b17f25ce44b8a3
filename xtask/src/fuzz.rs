//! Builds the fuzzers with coverage for libFuzzer, on any toolchain, and has `llmc-proof` run and count them.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::{self, Workspace};

/// Has the compiler count the edges that an input reaches, as `cargo fuzz` does without a sanitizer. These options are
/// stable; a sanitizer would want a nightly compiler, and finds what safe Rust does not do.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Where they are built and what they find is kept, in the target folder.
const FOLDER: &str = "fuzz";

/// What is fuzzed, and for how long.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// These targets (the files in `fuzz/fuzz_targets`); all if none is named.
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Where the part of the report goes; `target/proof/parts` by default.
    #[arg(long, value_name = "DIR")]
    parts: Option<PathBuf>,
}

/// Builds and runs the fuzzers.
pub(crate) fn run(workspace: &Workspace, fuzz: &Fuzz) -> Result<ExitCode> {
    let target = workspace.members()?.target_directory;
    let folder = target.join(FOLDER);
    let host = host()?;
    let mut cargo =
        workspace.cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    // With a target of its own, build scripts and macros are built without the flags.
    cargo.arg("--target-dir").arg(folder.join("build")).env("RUSTFLAGS", FLAGS);
    for name in &fuzz.targets {
        cargo.args(["--bin", name]);
    }
    workspace::check(&mut cargo)?;

    let binaries = folder.join("build").join(host).join("release");
    let sources = workspace.root.join("fuzz/fuzz_targets");
    let parts = fuzz.parts.clone().unwrap_or_else(|| target.join("proof/parts"));
    let mut proof = workspace.cargo(["run", "--quiet", "-p", "llmc-proof", "--", "fuzz", "--binaries"]);
    proof.arg(binaries).arg("--sources").arg(sources).arg("--work").arg(folder).arg("--parts").arg(parts);
    crate::forward(proof.args(["--seconds", &fuzz.seconds.to_string()]).args(&fuzz.targets))
}

/// The platform that the compiler runs on.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("failed to start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}

#[test]
fn the_compiler_tells_its_host() {
    assert!(host().is_ok_and(|host| host.contains("linux")));
}
