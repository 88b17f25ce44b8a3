//! From rounds to sentences, and whether the numbers are good enough.

use llmc_proof::Claim;
use serde::Serialize;

use super::pool::Pool;
use super::rates::{CHECKED, IN_FLIGHT, Outputs};
use super::starts::{self, Kind};
use super::storm::{self, Blow};
use super::{FreeRound, PinnedRound};
use crate::cpu::Cpus;
use crate::report::{Chosen, Machine, Target};
use crate::stats::{Pair, Percentiles, Spread, median};

/// Most microseconds of a call-back.
const MOST_CALLBACK_US: f64 = 150.0;
/// Most milliseconds until a storm is gone.
const MOST_GONE_MS: f64 = 500.0;
/// Most by which a storm may delay the slowest hundredth of other calls.
const MOST_DELAY: f64 = 5.0;

/// Why one engine is not there.
const NO_MONTY: &str = "monty: not measured: `execute_code` runs it only where no CPython is found";

/// What is known beside the rounds.
pub(super) struct Facts<'a> {
    pub(super) cpus: &'a Cpus,
    pub(super) engine: String,
    /// Runs that were made to be looked at.
    pub(super) checked: Outputs,
    pub(super) pool: Result<Pool, String>,
    pub(super) left_out: Vec<String>,
}

/// All rounds.
pub(super) struct Measured {
    pub(super) pinned: Vec<PinnedRound>,
    pub(super) free: Vec<FreeRound>,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) engine: String,
    pub(super) targets: Vec<Target>,
    /// What is not measured, and why.
    pub(super) left_out: Vec<String>,
    pub(super) starts: Vec<StartSummary>,
    /// Medians of p50 and of p99, on one CPU and on all.
    pub(super) callback_us: [[f64; 2]; 2],
    pub(super) rates: Vec<RateSummary>,
    /// Of the runs that were made to be looked at, and of those whose rates were measured.
    pub(super) outputs: [Outputs; 2],
    /// Or why it could not be read.
    pub(super) pool: Result<Pool, String>,
    pub(super) storms: Vec<StormSummary>,
    pub(super) pinned_rounds: Chosen<PinnedRound>,
    pub(super) free_rounds: Chosen<FreeRound>,
}

/// A way to start over the rounds that count.
#[derive(Debug, Serialize)]
pub(super) struct StartSummary {
    pub(super) name: &'static str,
    /// Milliseconds, beside the bare interpreter.
    pub(super) p50_ms: Pair<Spread>,
    /// Median of the ratios of the rounds.
    pub(super) ratio: f64,
}

/// Runs per second over the rounds that count.
#[derive(Debug, Serialize)]
pub(super) struct RateSummary {
    pub(super) in_flight: usize,
    pub(super) per_second: Spread,
    pub(super) cpu_ms: f64,
}

/// A storm over the rounds that count.
#[derive(Debug, Serialize)]
pub(super) struct StormSummary {
    pub(super) name: &'static str,
    pub(super) processes: f64,
    pub(super) gone_ms: Spread,
    /// Slowest hundredth of `read_file`.
    pub(super) idle_p99_us: f64,
    pub(super) storm_p99_us: f64,
    /// Median of the ratios of the rounds.
    delay: f64,
}

impl Report {
    pub(super) fn new(facts: Facts<'_>, measured: Measured) -> Self {
        let Facts { cpus, engine, checked, pool, mut left_out } = facts;
        let pinned = Chosen::new(measured.pinned, |round| round.foreign_share);
        let free = Chosen::new(measured.free, |round| round.foreign_share);
        let starts: Vec<_> =
            starts::KINDS.iter().enumerate().map(|(number, kind)| start(number, kind, &pinned)).collect();
        let callback_us = callbacks(&pinned, &free);
        let rates =
            IN_FLIGHT.into_iter().enumerate().map(|(number, in_flight)| rate(number, in_flight, &free));
        let rates = rates.collect();
        let storms: Vec<_> = (0..storm::KINDS.len()).filter_map(|number| storm(number, &free)).collect();
        let mut targets: Vec<Target> = starts.iter().zip(&starts::KINDS).filter_map(start_target).collect();
        targets.push(callback_target(callback_us[0]));
        targets.extend(storms.iter().flat_map(StormSummary::targets));
        left_out.insert(0, NO_MONTY.to_owned());
        // Rounds in which others took processors count here, too.
        let outputs = free.rounds.iter().flat_map(|round| &round.rates).map(|rate| &rate.outputs);
        let outputs = outputs.fold(Outputs::default(), Outputs::and);
        Self {
            machine: Machine { cpus: cpus.count(), latency_cpu: cpus.chosen },
            engine,
            targets,
            left_out,
            starts,
            callback_us,
            rates,
            outputs: [checked, outputs],
            pool,
            storms,
            pinned_rounds: pinned,
            free_rounds: free,
        }
    }
}

impl Report {
    /// That runs never mix.
    pub(super) fn claims_of_outputs(&self) -> [Claim; 2] {
        let [checked, rates] = &self.outputs;
        let [one, four] = IN_FLIGHT;
        [
            own(format!("{CHECKED} runs, {four} in flight, do not mix"), CHECKED, checked),
            own(format!("all runs of the rates, {one} and {four} in flight, do not mix"), 1, rates),
        ]
    }
}

fn own(what: String, least: usize, outputs: &Outputs) -> Claim {
    let Outputs { runs, mixed, first } = outputs;
    let first = first.as_ref().map_or(String::new(), |first| format!(": {first}"));
    Claim {
        what,
        expected: "each has its own output and result".to_owned(),
        seen: format!("{} of {runs} have{first}", runs - mixed),
        held: *mixed == 0 && *runs >= least,
    }
}

fn start(number: usize, kind: &Kind, rounds: &Chosen<PinnedRound>) -> StartSummary {
    let llmc = move |round: &PinnedRound| round.starts_us[number].llmc;
    let bare = move |round: &PinnedRound| round.starts_us[number].baseline;
    StartSummary {
        name: kind.name,
        p50_ms: Pair {
            llmc: Spread::of(rounds.of(llmc).map(|us| us / 1e3)),
            baseline: Spread::of(rounds.of(bare).map(|us| us / 1e3)),
        },
        ratio: median(rounds.of(move |round| llmc(round) / bare(round))),
    }
}

fn start_target((start, kind): (&StartSummary, &Kind)) -> Option<Target> {
    let Pair { llmc, baseline } = &start.p50_ms;
    let context = format!("{:.2} ms, bare python3 {:.2} ms", llmc.median, baseline.median);
    Some(Target::at_most(
        format!("p50 of {}, beside bare python3", start.name),
        start.ratio,
        "x",
        kind.limit?,
        context,
    ))
}

fn callbacks(pinned: &Chosen<PinnedRound>, free: &Chosen<FreeRound>) -> [[f64; 2]; 2] {
    let both: [fn(&Percentiles) -> f64; 2] = [|times| times.p50, |times| times.p99];
    [
        both.map(|of| median(pinned.of(move |round| of(&round.callback_us)))),
        both.map(|of| median(free.of(move |round| of(&round.callback_us)))),
    ]
}

fn callback_target([p50, p99]: [f64; 2]) -> Target {
    let context = format!("p50 of 1000 `read_file` of 4 KB in one run, p99 {p99:.0} us");
    Target::at_most("p50 of a call-back".into(), p50, " us", MOST_CALLBACK_US, context)
}

fn rate(number: usize, in_flight: usize, rounds: &Chosen<FreeRound>) -> RateSummary {
    RateSummary {
        in_flight,
        per_second: Spread::of_rates(rounds.of(move |round| round.rates[number].per_second)),
        cpu_ms: median(rounds.of(move |round| round.rates[number].cpu_ms)),
    }
}

/// Nothing of a storm that was not let loose.
fn storm(number: usize, rounds: &Chosen<FreeRound>) -> Option<StormSummary> {
    rounds.rounds.first()?.storms[number]?;
    let of = |value: fn(&Blow) -> f64| {
        rounds.of(move |round| round.storms[number].as_ref().map_or(f64::NAN, value))
    };
    Some(StormSummary {
        name: storm::KINDS[number].name,
        processes: median(of(|blow| blow.processes as f64)),
        gone_ms: Spread::of(of(|blow| blow.gone_ms)),
        idle_p99_us: median(of(|blow| blow.idle_us.p99)),
        storm_p99_us: median(of(|blow| blow.storm_us.p99)),
        delay: median(of(|blow| blow.storm_us.p99 / blow.idle_us.p99)),
    })
}

impl StormSummary {
    /// The end of the worst round counts: whoever cancels wants it to be over each time.
    fn targets(&self) -> [Target; 2] {
        let Self { name, processes, gone_ms, idle_p99_us: idle, storm_p99_us: storm, delay } = self;
        let ended =
            format!("until {processes:.0} processes are gone, worst round; median {:.0} ms", gone_ms.median);
        let delayed = format!("p99 of `read_file` meanwhile {storm:.0} us, idle {idle:.0} us");
        [
            Target::at_most(format!("{name}, ended"), gone_ms.worst, " ms", MOST_GONE_MS, ended),
            Target::at_most(format!("{name}, others"), *delay, "x", MOST_DELAY, delayed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::rates::Rate;

    fn percentiles(p99: f64) -> Percentiles {
        Percentiles { p50: p99 / 2.0, p90: p99, p99 }
    }

    fn free(gone_ms: f64, storm_us: f64) -> FreeRound {
        let blow =
            Blow { idle_us: percentiles(100.0), storm_us: percentiles(storm_us), gone_ms, processes: 32 };
        let rates = [(); 2].map(|()| Rate { per_second: 1.0, cpu_ms: 1.0, outputs: Outputs::default() });
        let callback_us = percentiles(200.0);
        FreeRound { foreign_share: 0.0, rates, callback_us, storms: [Some(blow), None] }
    }

    #[test]
    fn the_worst_end_and_the_usual_delay_count() {
        let rounds = vec![free(40.0, 300.0), free(501.0, 900.0), free(30.0, 200.0)];
        let rounds = Chosen::new(rounds, |round| round.foreign_share);
        let [ended, others] = storm(0, &rounds).unwrap().targets();
        assert!(!ended.met && others.met, "{ended:?} {others:?}");
        assert!((others.value - 3.0).abs() < 1e-9);
        assert!(storm(1, &rounds).is_none(), "what was not let loose promises nothing");
    }

    #[test]
    fn a_run_with_the_output_of_another_breaks_the_promise() {
        let claim = |runs, mixed| {
            let first = (mixed > 0).then(|| "run 7".to_owned());
            own("runs do not mix".into(), 200, &Outputs { runs, mixed, first })
        };
        assert!(claim(200, 0).held && !claim(199, 0).held && !claim(200, 1).held);
        assert_eq!(claim(200, 1).seen, "199 of 200 have: run 7");
    }

    #[test]
    fn a_start_is_compared_within_its_round() {
        let pinned = |llmc, baseline| PinnedRound {
            foreign_share: 0.0,
            starts_us: [Pair { llmc, baseline }; starts::KINDS.len()],
            callback_us: percentiles(200.0),
        };
        let rounds = vec![pinned(2000.0, 10_000.0), pinned(4000.0, 20_000.0), pinned(3000.0, 10_000.0)];
        let rounds = Chosen::new(rounds, |round| round.foreign_share);
        let kind = &starts::KINDS[0];
        let target = start_target((&start(0, kind, &rounds), kind)).unwrap();
        assert!((target.value - 0.2).abs() < 1e-9 && target.met, "{target:?}");
        assert!(start_target((&start(1, &starts::KINDS[1], &rounds), &starts::KINDS[1])).is_none());
    }
}
