//! Runs per second, what each costs, and that many at a time do not mix.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::code::done;
use crate::balance::Balance;
use crate::client::Client;

/// Runs under way at the same time, in the order in which it is reported.
pub(super) const IN_FLIGHT: [usize; 2] = [1, 4];

/// Runs that are looked at for each other's output.
pub(super) const CHECKED: usize = 200;

/// How often code runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Processor time of the server, its hosts, the runner and its jails for each run, in milliseconds. The kernel
    /// counts by sampling, so a short measurement is a coarse one.
    pub(super) cpu_ms: f64,
}

/// Keeps so many runs under way for `time`; each must have its own output.
pub(super) fn measure(llmc: &mut Client, in_flight: usize, time: Duration) -> Result<Rate> {
    let (begun, balance) = (Instant::now(), Balance::start()?);
    let runs = keep_running(llmc, in_flight, |_| begun.elapsed() < time)? as f64;
    let per_second = runs / begun.elapsed().as_secs_f64();
    let cpu_ms = balance.of_servers()? * 1e3 / runs;
    Ok(Rate { per_second, cpu_ms })
}

/// Has [`CHECKED`] runs, as many at a time as is measured at most, show whether one has the output of another.
///
/// # Errors
/// If it does.
pub(super) fn never_mix(llmc: &mut Client) -> Result<()> {
    let most = IN_FLIGHT.into_iter().max().unwrap_or(1);
    let runs = keep_running(llmc, most, |number| number < CHECKED)?;
    ensure!(runs == CHECKED, "{runs} of {CHECKED} runs were made");
    Ok(())
}

/// Starts runs as long as `more` says so of their numbers, and returns how many there were.
fn keep_running(llmc: &mut Client, in_flight: usize, more: impl Fn(usize) -> bool) -> Result<usize> {
    let mut waiting = BTreeMap::new();
    let mut number = 0;
    loop {
        while waiting.len() < in_flight && more(number) {
            let code = format!("print('out {number} ' * 20)\nresult = {number}");
            waiting.insert(llmc.send("execute_code", &json!({"code": code}))?, number);
            number += 1;
        }
        if waiting.is_empty() {
            return Ok(number);
        }
        let (id, result) = llmc.next_answer()?;
        let number = waiting.remove(&id).context("a run was answered twice, or never made")?;
        check(number, &done(result)?)?;
    }
}

fn check(number: usize, done: &Value) -> Result<()> {
    let printed = format!("out {number} ").repeat(20) + "\n";
    ensure!(
        done["stdout"] == printed && done["result"] == number && done["stderr"] == "",
        "run {number} was given what is not its own: {done}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_another_run_is_noticed() {
        let of = |number: usize, result: usize| json!({"stdout": format!("out {number} ").repeat(20) + "\n", "stderr": "", "result": result});
        check(7, &of(7, 7)).unwrap();
        assert!(check(7, &of(8, 7)).is_err() && check(7, &of(7, 8)).is_err());
    }
}
