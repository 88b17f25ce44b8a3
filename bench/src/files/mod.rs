//! Measures the file tools beside the programs that people would use instead.
//!
//! - [`searches`], [`cases`], [`found`], [`tree`]: `search_files` and `find_files` beside `rg` and `fd`.
//! - [`calls`]: `read_file` and `list_dir` beside another MCP server.
//! - [`windows`]: a large file beside a small one.
//! - [`report`], [`table`]: what came of it.

mod calls;
mod cases;
mod found;
mod report;
mod searches;
mod table;
mod tree;
mod windows;

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use self::calls::Calls;
pub(crate) use self::calls::serving;
use self::cases::Rival;
pub(crate) use self::report::{Report, Searched};
use self::searches::{Rivals, Searches};
use self::windows::{Sizes, Windows};
use crate::client::Client;
use crate::cpu::{Cpus, Watch};
use crate::peers::install::rust_server;
use crate::processes;
use crate::program::Program;
use crate::servers::{llmc, locate};
use crate::stats::{Pair, Percentiles};

/// What only this benchmark asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// Tree to search. Default: the sources of crates that cargo keeps, else this workspace.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The program `rust-mcp-filesystem`, if it is not in `PATH`.
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Searches of each case and side in a round.
    turns: usize,
    /// Slices of each call and side in a round.
    slices: usize,
    /// Reads of each window while memory is watched.
    reads: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { rounds: 11, turns: 2, slices: 6, reads: 500 };
    pub(crate) const QUICK: Self = Self { rounds: 3, turns: 1, slices: 2, reads: 100 };
}

/// Where llmc is, and a folder for it to work in.
struct Setup {
    stage: PathBuf,
    folder: TempDir,
}

/// Calls and windows of one round, all on one CPU.
#[derive(Clone, Debug, Serialize)]
struct PinnedRound {
    foreign_share: f64,
    /// In the order of [`calls::NAMES`]; none without the peer.
    calls_us: Option<[Pair<Percentiles>; 2]>,
    /// In the order of [`windows::NAMES`].
    windows_us: [Sizes<f64>; 2],
}

/// Measures all rounds.
pub(crate) fn measure(stage: &Path, options: &Options, cpus: &Cpus, plan: Plan) -> Result<Report> {
    let setup = Setup::new(stage)?;
    let tree = tree::choose(options.tree.as_deref())?;
    let searches = Searches::new(Client::start(&mut setup.llmc(&tree))?, &tree, Rivals::find())?;
    let peer = match &options.peer {
        Some(file) => Some(Program::at(file.canonicalize().unwrap_or_else(|_| file.clone()))?),
        None => rust_server(&setup.stage),
    };
    let calls = peer.as_ref().map(|peer| Calls::new(&setup, peer, cpus)).transpose()?;
    let windows = Windows::new(&setup, cpus, plan.reads)?;
    let mut all = All { searches, calls, windows };
    let (searched, pinned) = all.rounds(cpus, plan)?;
    let mut missing = missing(all.searches.rivals());
    if peer.is_none() {
        missing.push(
            "read_file and list_dir: install `rust-mcp-filesystem` with `cargo xtask bench -- peers --install`, or name \
             it with `--peer`"
                .to_owned(),
        );
    }
    let versions = versions(all.searches.rivals(), peer.as_ref());
    let All { searches, windows, .. } = all;
    Ok(Report::new(report::Facts { cpus, tree, versions, missing, searches, windows }, searched, pinned))
}

/// Measures the searches alone, in so many rounds of so many turns.
pub(crate) fn search(
    stage: &Path,
    tree: Option<&Path>,
    cpus: &Cpus,
    [rounds, turns]: [usize; 2],
) -> Result<Searched> {
    let setup = Setup::new(stage)?;
    let tree = tree::choose(tree)?;
    let mut searches = Searches::new(Client::start(&mut setup.llmc(&tree))?, &tree, Rivals::find())?;
    let measured = (0..rounds).map(|_| searches.round(cpus, turns)).collect::<Result<_>>()?;
    Ok(Searched::new(&searches.cases, measured, missing(searches.rivals())))
}

impl Setup {
    fn new(stage: &Path) -> Result<Self> {
        let setup = Self { stage: locate(stage)?, folder: tempfile::tempdir()? };
        fs::create_dir(setup.work())?;
        Ok(setup)
    }

    /// A root for small things.
    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// llmc as its README starts it for reading.
    fn llmc(&self, root: &Path) -> Command {
        llmc(&self.stage, root.as_os_str(), self.folder.path())
    }
}

/// Everything that is measured.
struct All {
    searches: Searches,
    calls: Option<Calls>,
    windows: Windows,
}

impl All {
    fn rounds(&mut self, cpus: &Cpus, plan: Plan) -> Result<(Vec<searches::Round>, Vec<PinnedRound>)> {
        let is_watched = std::io::stderr().is_terminal();
        let (mut searched, mut pinned) = (Vec::new(), Vec::new());
        for round in 1..=plan.rounds {
            if is_watched {
                eprint!("\rround {round} of {} ", plan.rounds);
            }
            searched.push(self.searches.round(cpus, plan.turns)?);
            cpus.pin()?;
            pinned.push(self.pinned(cpus, plan.slices)?);
            cpus.unpin()?;
        }
        if is_watched {
            eprintln!();
        }
        Ok((searched, pinned))
    }

    fn pinned(&mut self, cpus: &Cpus, slices: usize) -> Result<PinnedRound> {
        let servers = self.calls.iter().flat_map(Calls::servers).chain([self.windows.server()]);
        let processes = servers.map(processes::tree).collect::<std::io::Result<Vec<_>>>()?.concat();
        let watch = Watch::start_in_ticks(Some(cpus.chosen), &processes)?;
        let calls_us = self.calls.as_mut().map(|calls| calls.round(slices)).transpose()?;
        let windows_us = self.windows.round(slices)?;
        Ok(PinnedRound { foreign_share: watch.foreign_share(cpus)?, calls_us, windows_us })
    }
}

/// What is not measured because a program is missing, and how to get it.
fn missing(rivals: &Rivals) -> Vec<String> {
    let mut missing = Vec::new();
    let mut note = |has: bool, text: &str| {
        if !has {
            missing.push(text.to_owned());
        }
    };
    note(rivals.get(Rival::Rg).is_some(), "search_files: `rg` is not in PATH; install ripgrep");
    note(rivals.get(Rival::Fd).is_some(), "find_files: neither `fd` nor `fdfind` is in PATH; install fd");
    missing
}

fn versions(rivals: &Rivals, peer: Option<&Program>) -> Vec<String> {
    let programs = [rivals.get(Rival::Rg), rivals.get(Rival::Fd), peer];
    programs.into_iter().flatten().map(|program| program.version.clone()).collect()
}
