//! `search_files` and `find_files` beside `rg` and `fd`, over a real tree in the page cache.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::cases::{self, Case, Rival};
use super::found::{self, Agreed, Answer};
use crate::client::Client;
use crate::cpu::{Cpus, Watch};
use crate::processes::tree;
use crate::program::Program;
use crate::stats::{Pair, Spread};

/// Everything that takes part.
pub(super) struct Searches {
    llmc: Client,
    tree: PathBuf,
    rivals: Rivals,
    pub(super) cases: Vec<Checked>,
    /// What a program printed.
    printed: Vec<u8>,
    turns: usize,
}

/// The programs that are installed.
pub(super) struct Rivals {
    rg: Option<Program>,
    fd: Option<Program>,
}

/// A case on which both sides agree.
pub(super) struct Checked {
    pub(super) case: Case,
    pub(super) agreed: Agreed,
    answer: Answer,
    printed_bytes: usize,
}

/// One round of all cases.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(super) foreign_share: f64,
    /// Milliseconds of the best turn, in the order of the cases.
    pub(super) times_ms: Vec<Pair<f64>>,
}

impl Rivals {
    pub(super) fn find() -> Self {
        let find = |rival: Rival| Program::find(rival.names());
        Self { rg: find(Rival::Rg), fd: find(Rival::Fd) }
    }

    pub(super) fn get(&self, rival: Rival) -> Option<&Program> {
        match rival {
            Rival::Rg => self.rg.as_ref(),
            Rival::Fd => self.fd.as_ref(),
        }
    }

    fn known(&self, rival: Rival) -> Result<&Program> {
        self.get(rival).with_context(|| format!("`{}` is not installed", rival.names()[0]))
    }
}

impl Searches {
    /// Runs every case on both sides for the first time; what is read then stays in the page cache.
    ///
    /// # Errors
    /// If two sides do not find the same.
    pub(super) fn new(llmc: Client, tree: &Path, rivals: Rivals) -> Result<Self> {
        let (tree, printed) = (tree.to_path_buf(), Vec::new());
        let mut searches = Self { llmc, tree, rivals, cases: Vec::new(), printed, turns: 0 };
        for case in cases::all() {
            if searches.rivals.get(case.rival).is_some() {
                let name = case.name;
                let checked = searches.check(case).with_context(|| {
                    format!("case \"{name}\" in `{}`: the sides differ", searches.tree.display())
                })?;
                searches.cases.push(checked);
            }
        }
        Ok(searches)
    }

    pub(super) fn rivals(&self) -> &Rivals {
        &self.rivals
    }

    fn check(&mut self, case: Case) -> Result<Checked> {
        let (answer, _) = ask(&mut self.llmc, &case)?;
        self.rivals.known(case.rival)?.run(&case.flags, &self.tree, &mut self.printed)?;
        let rival = found::of_rival(case.form, &self.printed)?;
        let agreed = found::compare(case.form, &answer, &rival)?;
        Ok(Checked { case, agreed, answer, printed_bytes: self.printed.len() })
    }

    /// Runs every case `turns` times on each side, in turns.
    pub(super) fn round(&mut self, cpus: &Cpus, turns: usize) -> Result<Round> {
        let processes = tree(self.llmc.process())?;
        let watch = Watch::start_in_ticks(None, &processes)?;
        let mut times_ms = Vec::new();
        for case in &self.cases {
            let program = self.rivals.known(case.case.rival)?;
            let mut times = Pair::<Vec<f64>>::default();
            for turn in self.turns..self.turns + turns {
                // Each is first in every other turn.
                for side in [turn, turn + 1] {
                    if side.is_multiple_of(2) {
                        times.llmc.push(ms(case.ask(&mut self.llmc)?));
                    } else {
                        times.baseline.push(ms(case.run(program, &self.tree, &mut self.printed)?));
                    }
                }
            }
            // Nothing but noise makes a search slower.
            let best = |times: Vec<f64>| Spread::of(times).best;
            times_ms.push(Pair { llmc: best(times.llmc), baseline: best(times.baseline) });
        }
        self.turns += turns;
        Ok(Round { foreign_share: watch.foreign_share(cpus)?, times_ms })
    }
}

impl Checked {
    fn ask(&self, llmc: &mut Client) -> Result<Duration> {
        let (answer, took) = ask(llmc, &self.case)?;
        // Where llmc stops counting depends on its threads; what it shows does not.
        ensure!(answer.shown == self.answer.shown, "llmc answered \"{}\" differently", self.case.name);
        Ok(took)
    }

    fn run(&self, program: &Program, tree: &Path, printed: &mut Vec<u8>) -> Result<Duration> {
        let took = program.run(&self.case.flags, tree, printed)?;
        let name = self.case.name;
        ensure!(printed.len() == self.printed_bytes, "the tree was changed: \"{name}\" finds something else");
        Ok(took)
    }
}

/// From the request to the parsed answer.
fn ask(llmc: &mut Client, case: &Case) -> Result<(Answer, Duration)> {
    let begun = Instant::now();
    let result = llmc.ask(case.rival.tool(), &case.arguments)?;
    let took = begun.elapsed();
    Ok((found::of_llmc(case.form, &result)?, took))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
