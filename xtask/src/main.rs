//! `cargo xtask <verb>`: every build, test, check and measurement of llmc starts here.
//!
//! Plain processes and plain text: no async runtime, no crate of this workspace, so that it builds first and fast.

#![expect(clippy::print_stdout, reason = "telling the builder what happens is this program's job")]

mod audit;
mod book;
mod canary;
mod ci;
mod clients;
mod conformance;
mod dist;
mod fuzz;
mod new_plugin;
mod packages;
mod prove;
mod rust_text;
mod sdk;
mod stage;
mod test;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::stage::{Profile, Recipe};
use crate::workspace::Workspace;

/// Builds, tests, checks and shows llmc.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds the programs and plugins and stages them in `target/stage`.
    Build {
        /// Optimised, as it would be shipped.
        #[arg(long)]
        release: bool,
        /// Features of the server that are built in, such as `redis`.
        #[arg(long, value_name = "LIST", value_delimiter = ',')]
        features: Vec<String>,
    },
    /// Builds, then shows llmc at work.
    Demo,
    /// Builds, stages and runs every test of the workspace.
    Test {
        /// Runs only the tests whose name contains this text.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Builds, stages and runs the official conformance suite of the protocol; needs Node.js and npm.
    Conformance {
        /// The optimised build.
        #[arg(long)]
        release: bool,
    },
    /// Runs every check that a change must pass, and stops at the first failure.
    Ci,
    /// Checks what the compiler does not: dependency directions, lints, documents, places of `unsafe`.
    Tidy,
    /// Checks the licences, sources and known weaknesses of all dependencies against `deny.toml`.
    Audit,
    /// Makes `plugins/NAME` from the hello plugin, builds it, tests it and stages it.
    NewPlugin {
        /// Small letters, digits and underscores, a letter first; it becomes the crate, the library and the tool.
        name: String,
    },
    /// Measures the release build; the arguments after `--` go to `llmc-bench`.
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Has everything proved that can be: attacks, conformance, fuzzing, storms, measurements; one report of it.
    Prove(prove::Prove),
    /// Fuzzes what takes text from models, plugins and clients, guided by coverage.
    Fuzz(fuzz::Fuzz),
    /// Breaks what servers stand on while clients use them; the arguments after `--` go to `llmc-chaos chaos`.
    Chaos(Proof),
    /// Makes very many calls and looks what they cost over time; the arguments after `--` go to `llmc-chaos soak`.
    Soak(Proof),
    /// Runs three servers behind nginx and kills one; the arguments after `--` go to `llmc-chaos replicas`.
    Replicas(Proof),
    /// Makes what is published, in `target/dist`: tarball, Debian package, MCPB bundle, SBOM, checksums.
    Dist(dist::Dist),
    /// Checks the book in `docs` against the staged programs, and renders it if `mdbook` is installed.
    Book {
        /// Writes its reference and its transcripts anew.
        #[arg(long)]
        bless: bool,
    },
    /// Compares the plugin ABI with its stored layout.
    Abi {
        /// Stores the present layout as the right one.
        #[arg(long)]
        bless: bool,
    },
}

/// Something that is tried and reported on.
#[derive(Args)]
struct Proof {
    /// Try the optimised build; `soak` does so unless told otherwise.
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Try the unoptimised build.
    #[arg(long)]
    debug: bool,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = Workspace::locate().and_then(|workspace| run(&workspace, Cli::parse().verb));
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(workspace: &Workspace, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Build { release, features } => {
            let profile = if release { Profile::Release } else { Profile::Dev };
            let features = stage::features_of_server(&features);
            stage::build(workspace, Recipe { features, ..profile.into() }, stage::FOLDER)?;
        }
        Verb::Demo => return demo(workspace),
        Verb::Test { filter } => test::run(workspace, filter.as_deref())?,
        Verb::Conformance { release } => {
            let (profile, folder) = if release {
                (Profile::Release, stage::RELEASE_FOLDER)
            } else {
                (Profile::Dev, stage::FOLDER)
            };
            let stage = stage::build(workspace, profile, folder)?;
            conformance::run(workspace, &stage)?;
        }
        Verb::Ci => ci::run(workspace)?,
        Verb::Tidy => tidy::run(workspace)?,
        Verb::Audit => audit::run(workspace)?,
        Verb::NewPlugin { name } => new_plugin::run(workspace, &name)?,
        Verb::Bench { args } => return bench(workspace, &args),
        Verb::Prove(prove) => return prove::run(workspace, &prove),
        Verb::Fuzz(fuzz) => return fuzz::run(workspace, &fuzz),
        Verb::Chaos(proof) => {
            test::provide(&test::FAKETIME);
            return try_out(workspace, "chaos", &proof, Profile::Dev);
        }
        Verb::Soak(proof) => return try_out(workspace, "soak", &proof, Profile::Release),
        Verb::Replicas(proof) => {
            test::provide(&test::NGINX);
            if wants_redis(&proof) {
                test::provide(&test::REDIS);
            }
            return try_out(workspace, "replicas", &proof, Profile::Dev);
        }
        Verb::Dist(dist) => dist::run(workspace, &dist)?,
        Verb::Book { bless } => book::run(workspace, bless)?,
        Verb::Abi { bless } => abi(workspace, bless)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn demo(workspace: &Workspace) -> Result<ExitCode> {
    let stage = stage::build(workspace, Profile::Dev, stage::FOLDER)?;
    let mut cargo =
        workspace.cargo(["run", "--quiet", "-p", "llmc-server", "--example", "demo", "--", "--stage"]);
    forward(cargo.arg(stage.dir))
}

fn bench(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let stage = stage::build(workspace, Profile::Release, stage::RELEASE_FOLDER)?;
    let mut cargo = workspace.cargo(["run", "--quiet", "--release", "-p", "llmc-bench"]);
    // Only the search is compared with it, and it takes long to build.
    if args.iter().any(|arg| arg == "search") {
        cargo.args(["--features", "tantivy"]);
    }
    forward(cargo.args(["--", "--stage"]).arg(stage.dir).args(args))
}

/// Runs a verb of `llmc-chaos` on a fresh stage; its report goes to the others.
fn try_out(workspace: &Workspace, verb: &str, proof: &Proof, usual: Profile) -> Result<ExitCode> {
    let profile = match (proof.release, proof.debug) {
        (true, _) => Profile::Release,
        (_, true) => Profile::Dev,
        (false, false) => usual,
    };
    let (folder, features) = match (profile, wants_redis(proof)) {
        (Profile::Release, false) => (stage::RELEASE_FOLDER, Vec::new()),
        (Profile::Dev, false) => (stage::FOLDER, Vec::new()),
        (_, true) => (stage::REDIS_FOLDER, stage::features_of_server(&["redis".into()])),
    };
    let stage = stage::build(workspace, Recipe { features, ..profile.into() }, folder)?;
    let mut cargo = workspace.cargo(["run", "--quiet", "-p", "llmc-chaos"]);
    let flag = (profile == Profile::Release).then_some("--release");
    let parts = stage.dir.with_file_name("proof").join("parts");
    cargo.args(flag).args(["--", "--stage"]).arg(stage.dir).arg("--parts").arg(parts);
    // The second one is for the program: the commands that repeat its run say it.
    forward(cargo.args(flag).arg(verb).args(&proof.args))
}

/// Whether servers are to share a Redis database.
fn wants_redis(proof: &Proof) -> bool {
    let words: Vec<_> = proof.args.iter().map(|word| word.to_string_lossy()).collect();
    words.iter().any(|word| word == "--store=redis")
        || words.windows(2).any(|two| two == ["--store", "redis"])
}

/// Runs the layout snapshot test of the ABI; `LLMC_BLESS` makes it store what it finds.
fn abi(workspace: &Workspace, bless: bool) -> Result<()> {
    let mut cargo = workspace.cargo(["test", "-p", "llmc-abi", "--test", "layout"]);
    if bless {
        cargo.env("LLMC_BLESS", "1");
    }
    workspace::check(&mut cargo)
}

/// Runs a program whose exit code is ours.
fn forward(command: &mut Command) -> Result<ExitCode> {
    let status = workspace::status(command)?;
    Ok(ExitCode::from(exit_code(status)))
}

/// The exit code of a program, or 128 + the signal that ended it as shells report it.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// The names of all verbs, for the check that documents name no other.
fn verbs() -> Vec<String> {
    Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_redis_database_is_wanted_where_it_is_named() {
        let wants = |words: &[&str]| {
            let args = words.iter().map(OsString::from).collect();
            wants_redis(&Proof { release: false, debug: false, args })
        };
        assert!(wants(&["--store", "redis"]) && wants(&["--seconds", "5", "--store=redis"]));
        assert!(!wants(&["--store", "file"]) && !wants(&["redis"]) && !wants(&[]));
    }

    #[test]
    fn a_signal_becomes_a_shell_exit_code() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
    }
}
