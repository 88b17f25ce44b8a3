//! From rounds to sentences, as in the report of calls.

use std::path::PathBuf;

use serde::Serialize;

use super::PinnedRound;
use super::calls;
use super::cases::{Form, Rival};
use super::found::Agreed;
use super::searches::{Checked, Round, Searches};
use super::windows::{self, Sizes, Windows};
use crate::cpu::Cpus;
use crate::report::{Chosen, Machine, Target};
use crate::stats::{Pair, Spread, median};

/// Most that `rg`, `fd` and the peer may be outdone by.
const MOST: f64 = 1.0;

/// Most that a large file may cost more than a small one.
const MOST_FOR_SIZE: f64 = 1.2;

/// Most by which the memory of a host may grow with the size of a file, in MiB. A thousandth of the file: threads
/// tell the kernel of new pages 32 or more at a time, so less than a quarter of it may be noise.
const MOST_GROWTH_MIB: f64 = 1.0;

/// What is known beside the rounds.
pub(super) struct Facts<'a> {
    pub(super) cpus: &'a Cpus,
    pub(super) tree: PathBuf,
    pub(super) versions: Vec<String>,
    pub(super) missing: Vec<String>,
    pub(super) searches: Searches,
    pub(super) windows: Windows,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) tree: PathBuf,
    pub(super) versions: Vec<String>,
    pub(super) targets: Vec<Target>,
    pub(super) searched: Searched,
    /// In the order of [`calls::NAMES`]; empty without the peer.
    pub(super) calls_us: Vec<Pair<Spread>>,
    /// In the order of [`windows::NAMES`].
    pub(super) windows_us: Vec<Sizes<Spread>>,
    pub(super) peak_kib: Sizes<u64>,
    pub(super) pinned_rounds: Chosen<PinnedRound>,
}

/// All searches.
#[derive(Debug, Serialize)]
pub(crate) struct Searched {
    pub(crate) cases: Vec<CaseSummary>,
    pub(crate) rounds: Chosen<Round>,
    /// What is not measured, and why.
    pub(crate) missing: Vec<String>,
}

/// One case over the rounds that count.
#[derive(Debug, Serialize)]
pub(crate) struct CaseSummary {
    pub(super) name: &'static str,
    pub(super) rival: Rival,
    pub(super) agreed: Agreed,
    pub(super) times_ms: Pair<Spread>,
    /// Median of the ratios of the rounds.
    ratio: f64,
}

impl Report {
    pub(super) fn new(facts: Facts<'_>, searched: Vec<Round>, pinned: Vec<PinnedRound>) -> Self {
        let Facts { cpus, tree, versions, missing, searches, windows } = facts;
        let pinned = Chosen::new(pinned, |round| round.foreign_share);
        let searched = Searched::new(&searches.cases, searched, missing);
        let (calls_us, call_targets) = calls(&pinned);
        let (windows_us, window_targets) = window_times(&pinned);
        let mut targets = searched.targets();
        targets.extend(call_targets.into_iter().chain(window_targets));
        targets.push(growth(windows.peak_kib));
        Self {
            machine: Machine { cpus: cpus.count(), latency_cpu: cpus.chosen },
            tree,
            versions,
            targets,
            searched,
            calls_us,
            windows_us,
            peak_kib: windows.peak_kib,
            pinned_rounds: pinned,
        }
    }
}

impl Searched {
    pub(super) fn new(cases: &[Checked], rounds: Vec<Round>, missing: Vec<String>) -> Self {
        let rounds = Chosen::new(rounds, |round| round.foreign_share);
        let cases = cases.iter().enumerate().map(|(number, case)| summary(number, case, &rounds)).collect();
        Self { cases, rounds, missing }
    }

    /// At most as long as the program beside it.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.cases.iter().map(CaseSummary::target).collect()
    }
}

fn summary(number: usize, case: &Checked, rounds: &Chosen<Round>) -> CaseSummary {
    let ratio = median(rounds.of(|round| round.times_ms[number].llmc / round.times_ms[number].baseline));
    let times_ms = Pair {
        llmc: Spread::of(rounds.of(|round| round.times_ms[number].llmc)),
        baseline: Spread::of(rounds.of(|round| round.times_ms[number].baseline)),
    };
    CaseSummary { name: case.case.name, rival: case.case.rival, agreed: case.agreed, times_ms, ratio }
}

impl CaseSummary {
    fn target(&self) -> Target {
        let Pair { llmc, baseline } = &self.times_ms;
        let (llmc, baseline, rival) = (llmc.median, baseline.median, self.rival.names()[0]);
        let context = format!("{llmc:.1} ms, {rival} {baseline:.1} ms; {}", self.agreed.sentence());
        Target::at_most(format!("{}, beside {rival}", self.name), self.ratio, "x", MOST, context)
    }
}

impl Agreed {
    /// What both sides found, and how much of it llmc shows.
    pub(super) fn sentence(self) -> String {
        let Self { form, printed, shown, .. } = self;
        let what = match form {
            Form::Lines => "lines",
            Form::Files | Form::Counts => "files",
            Form::Names => "names",
        };
        let stopped = if self.is_complete { "" } else { ", not all counted" };
        match shown == printed {
            true => format!("{printed} {what}"),
            false => format!("{shown} of {printed} {what}{stopped}"),
        }
    }
}

fn calls(rounds: &Chosen<PinnedRound>) -> (Vec<Pair<Spread>>, Vec<Target>) {
    if rounds.rounds.iter().any(|round| round.calls_us.is_none()) {
        return (Vec::new(), Vec::new());
    }
    let summary = |call: usize| {
        let of = move |round: &PinnedRound| round.calls_us.map_or(f64::NAN, |calls| calls[call].llmc.p50);
        let of_peer =
            move |round: &PinnedRound| round.calls_us.map_or(f64::NAN, |calls| calls[call].baseline.p50);
        let spread = Pair { llmc: Spread::of(rounds.of(of)), baseline: Spread::of(rounds.of(of_peer)) };
        let ratio = median(rounds.of(move |round| of(round) / of_peer(round)));
        let (llmc, peer) = (spread.llmc.median, spread.baseline.median);
        let what = format!("{}, beside {}", calls::NAMES[call], calls::PEER);
        let context = format!("{llmc:.1} us, {} {peer:.1} us", calls::PEER);
        (spread, Target::at_most(what, ratio, "x", MOST, context))
    };
    (0..calls::NAMES.len()).map(summary).unzip()
}

fn window_times(rounds: &Chosen<PinnedRound>) -> (Vec<Sizes<Spread>>, Vec<Target>) {
    let summary = |window: usize| {
        let of = move |round: &PinnedRound| round.windows_us[window].large;
        let of_small = move |round: &PinnedRound| round.windows_us[window].small;
        let spread = Sizes { large: Spread::of(rounds.of(of)), small: Spread::of(rounds.of(of_small)) };
        let ratio = median(rounds.of(move |round| of(round) / of_small(round)));
        let context = format!("{:.1} us, in 1 MiB {:.1} us", spread.large.median, spread.small.median);
        let what = format!("{} in 1 GiB, beside 1 MiB", windows::NAMES[window]);
        (spread, Target::at_most(what, ratio, "x", MOST_FOR_SIZE, context))
    };
    (0..windows::NAMES.len()).map(summary).unzip()
}

fn growth(peak_kib: Sizes<u64>) -> Target {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let context = format!(
        "most after 1 MiB: {:.2} MiB, after 1 GiB: {:.2} MiB",
        mib(peak_kib.small),
        mib(peak_kib.large)
    );
    Target::at_most("growth of the host".into(), mib(peak_kib.growth()), " MiB", MOST_GROWTH_MIB, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Percentiles;

    fn round(llmc: f64, peer: f64, windows: Sizes<f64>) -> PinnedRound {
        let of = |p50| Percentiles { p50, p90: p50, p99: p50 };
        let call = Pair { llmc: of(llmc), baseline: of(peer) };
        PinnedRound { foreign_share: 0.0, calls_us: Some([call; 2]), windows_us: [windows; 2] }
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        let windows = |large| Sizes { large, small: 100.0 };
        let rounds = [
            round(10.0, 5.0, windows(100.0)),
            round(9.0, 10.0, windows(130.0)),
            round(8.0, 10.0, windows(125.0)),
        ];
        let rounds = Chosen::new(rounds.to_vec(), |round| round.foreign_share);
        let (times, targets) = calls(&rounds);
        assert_eq!((times.len(), targets.len()), (2, 2));
        assert!((targets[0].value - 0.9).abs() < 1e-9 && targets[0].met, "{targets:?}");
        let (_, targets) = window_times(&rounds);
        assert!((targets[1].value - 1.25).abs() < 1e-9 && !targets[1].met, "{targets:?}");
    }

    #[test]
    fn without_the_peer_nothing_is_said_about_it() {
        let mut lonely = round(1.0, 1.0, Sizes { large: 1.0, small: 1.0 });
        lonely.calls_us = None;
        let (times, targets) = calls(&Chosen::new(vec![lonely], |round| round.foreign_share));
        assert!(times.is_empty() && targets.is_empty());
    }

    #[test]
    fn a_host_may_not_grow_with_the_file() {
        assert!(growth(Sizes { large: 8192, small: 8000 }).met);
        assert!(!growth(Sizes { large: 1 << 20, small: 8000 }).met);
    }

    #[test]
    fn what_was_found_is_told_shortly() {
        let agreed = Agreed { form: Form::Lines, printed: 5, shown: 5, counted: 5, is_complete: true };
        assert_eq!(agreed.sentence(), "5 lines");
        let cut = Agreed { shown: 2, ..agreed };
        assert_eq!(cut.sentence(), "2 of 5 lines");
        assert_eq!(Agreed { is_complete: false, ..cut }.sentence(), "2 of 5 lines, not all counted");
    }
}
