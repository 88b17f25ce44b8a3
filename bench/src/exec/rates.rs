//! Runs per second, what each costs, and that many at a time do not mix.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::code::done;
use crate::balance::Balance;
use crate::client::Client;

/// Runs under way at the same time, in the order in which it is reported.
pub(super) const IN_FLIGHT: [usize; 2] = [1, 4];

/// Runs that are looked at for each other's output.
pub(super) const CHECKED: usize = 200;

/// Whether runs had their own output, and nobody else's.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outputs {
    /// Runs that were looked at.
    pub(super) runs: usize,
    /// Those that had what is not their own.
    pub(super) mixed: usize,
    /// What the first of these had.
    pub(super) first: Option<String>,
}

impl Outputs {
    /// Counts a run.
    fn add(&mut self, own: Result<(), String>) {
        self.runs += 1;
        if let Err(why) = own {
            self.mixed += 1;
            self.first.get_or_insert(why);
        }
    }

    /// Both together.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.runs += other.runs;
        self.mixed += other.mixed;
        self.first = self.first.or_else(|| other.first.clone());
        self
    }
}

/// How often code runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Processor time of the server, its hosts, the runner and its jails for each run, in milliseconds. The kernel
    /// counts by sampling, so a short measurement is a coarse one.
    pub(super) cpu_ms: f64,
    pub(super) outputs: Outputs,
}

/// Keeps so many runs under way for `time`, and looks at the output of each.
pub(super) fn measure(llmc: &mut Client, in_flight: usize, time: Duration) -> Result<Rate> {
    let (begun, balance) = (Instant::now(), Balance::start()?);
    let outputs = keep_running(llmc, in_flight, |_| begun.elapsed() < time)?;
    let runs = outputs.runs as f64;
    let per_second = runs / begun.elapsed().as_secs_f64();
    let cpu_ms = balance.of_servers()? * 1e3 / runs;
    Ok(Rate { per_second, cpu_ms, outputs })
}

/// Has [`CHECKED`] runs, as many at a time as is measured at most, show whether one has the output of another.
pub(super) fn checked(llmc: &mut Client) -> Result<Outputs> {
    let most = IN_FLIGHT.into_iter().max().unwrap_or(1);
    keep_running(llmc, most, |number| number < CHECKED)
}

/// Starts runs as long as `more` says so of their numbers.
///
/// # Errors
/// If one fails, or is answered twice.
fn keep_running(llmc: &mut Client, in_flight: usize, more: impl Fn(usize) -> bool) -> Result<Outputs> {
    let mut outputs = Outputs::default();
    let mut waiting = BTreeMap::new();
    let mut number = 0;
    loop {
        while waiting.len() < in_flight && more(number) {
            let code = format!("print('out {number} ' * 20)\nresult = {number}");
            waiting.insert(llmc.send("execute_code", &json!({"code": code}))?, number);
            number += 1;
        }
        if waiting.is_empty() {
            return Ok(outputs);
        }
        let (id, result) = llmc.next_answer()?;
        let number = waiting.remove(&id).context("a run was answered twice, or never made")?;
        outputs.add(check(number, &done(result)?));
    }
}

fn check(number: usize, done: &Value) -> Result<(), String> {
    let printed = format!("out {number} ").repeat(20) + "\n";
    match done["stdout"] == printed && done["result"] == number && done["stderr"] == "" {
        true => Ok(()),
        false => Err(format!("run {number} was given what is not its own: {done}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_another_run_is_noticed() {
        let of = |number: usize, result: usize| json!({"stdout": format!("out {number} ").repeat(20) + "\n", "stderr": "", "result": result});
        check(7, &of(7, 7)).unwrap();
        assert!(check(7, &of(8, 7)).is_err() && check(7, &of(7, 8)).is_err());
        let mut outputs = Outputs::default();
        for run in [of(7, 7), of(7, 8), of(8, 7)] {
            outputs.add(check(7, &run));
        }
        let both = Outputs { runs: 10, ..Outputs::default() }.and(&outputs);
        assert_eq!((both.runs, both.mixed, both.first), (13, 2, check(7, &of(7, 8)).err()));
    }
}
