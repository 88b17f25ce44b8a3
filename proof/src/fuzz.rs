//! Runs fuzzers that were built for libFuzzer, each for some seconds, and counts what they did.

mod totals;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use llmc_proof::{Claim, Part, Table};

use self::totals::Total;
use crate::child::{self, Ended, now};

/// What an input may take, in seconds, and hold, in MiB.
const INPUT_SECONDS: u64 = 20;
const MEMORY_MIB: u64 = 2048;

/// What to run, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder with the built fuzzers.
    #[arg(long, value_name = "DIR")]
    binaries: PathBuf,
    /// Folder with their sources, whose first line says what each tries, beside `corpus`.
    #[arg(long, value_name = "DIR")]
    sources: PathBuf,
    /// Where inputs that were found are kept, those that made a target fail, and how many were tried in all runs.
    #[arg(long, value_name = "DIR")]
    work: PathBuf,
    /// How long each runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Folder for the part of the report.
    #[arg(long, value_name = "DIR")]
    parts: Option<PathBuf>,
    /// These targets; all if none is named.
    targets: Vec<String>,
}

/// What a fuzzer did.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    executions: u64,
    /// Edges of the program that inputs reached.
    coverage: u64,
    /// Inputs that reach something of their own.
    inputs: u64,
}

/// Runs them; whether no input made one fail.
///
/// # Errors
/// If a target is unknown or cannot be started.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let (began, start) = (now(), std::time::Instant::now());
    let known = known(&options.sources)?;
    if let Some(unknown) = options.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target `{unknown}`, only {}", known.join(", "));
    }
    let wanted = known.iter().filter(|name| options.targets.is_empty() || options.targets.contains(name));
    let mut part = Part {
        name: "fuzz".into(),
        title: "Fuzzing".into(),
        command: format!("cargo xtask fuzz --seconds {}", options.seconds),
        began,
        ..Part::default()
    };
    let mut rows = Vec::new();
    let (mut executions, mut in_all_runs) = (0, 0);
    for name in wanted {
        println!("=== {name}");
        let ended = fuzz(options, name)?;
        let counted = counted(&ended.lines);
        let total = totals::add(&options.work, name, counted.executions, ended.seconds)?;
        executions += counted.executions;
        in_all_runs += total.executions;
        part.claims.push(claim(name, &ended, &counted, &total));
        rows.push(row(options, name, &ended, &counted, &total));
    }
    part.seconds = start.elapsed().as_secs_f64();
    part.summary = format!(
        "{executions} executions of {} targets, guided by coverage; {in_all_runs} in all runs so far.",
        rows.len()
    );
    part.tables.push(Table {
        title: "Targets".into(),
        note: "Inputs that reached something new are kept and tried again in each run; the seeds are in fuzz/corpus. \
               Earlier runs count while their folder (target/fuzz) is kept."
            .into(),
        columns: [
            "target",
            "what must hold",
            "executions",
            "seconds",
            "edges reached",
            "inputs kept",
            "runs so far",
            "executions in all",
            "seconds in all",
        ]
        .map(String::from)
        .into(),
        rows,
    });
    println!("\n{}", part.summary);
    if let Some(folder) = &options.parts {
        part.write(folder)?;
    }
    Ok(part.holds())
}

/// The targets that there are.
fn known(sources: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(sources).with_context(|| format!("cannot read {}", sources.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn fuzz(options: &Options, name: &str) -> Result<Ended> {
    let found = options.work.join("corpus").join(name);
    let failures = options.work.join("failures");
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&failures)?;
    let mut command = Command::new(options.binaries.join(name));
    // What is found goes to the first folder.
    command.arg(&found);
    let seeds = options.sources.with_file_name("corpus").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg(format!("-max_total_time={}", options.seconds));
    command.arg(format!("-artifact_prefix={}/{name}-", failures.display()));
    command.arg(format!("-timeout={INPUT_SECONDS}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.args(["-print_final_stats=1", "-verbosity=1", "-max_len=65536", "-len_control=20", "-seed=1"]);
    child::run(&mut command, &options.work.join(format!("{name}.log")))
}

fn claim(name: &str, ended: &Ended, counted: &Counted, total: &Total) -> Claim {
    let held = ended.status.success() && counted.executions > 0;
    let kept =
        ended.lines.iter().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
    let seen = match (held, kept) {
        (true, _) => {
            format!("{} executions, none failed; {} in all runs", counted.executions, total.executions)
        }
        (false, Some(path)) => format!("failed on the input in {path}"),
        (false, None) => ended.reason(),
    };
    Claim { what: format!("no input makes `{name}` fail"), expected: "none".into(), seen, held }
}

fn row(options: &Options, name: &str, ended: &Ended, counted: &Counted, total: &Total) -> Vec<String> {
    let source = std::fs::read_to_string(options.sources.join(format!("{name}.rs"))).unwrap_or_default();
    let words = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let what = words.collect::<Vec<_>>().join(" ");
    let counts = [
        counted.executions,
        ended.seconds.round() as u64,
        counted.coverage,
        counted.inputs,
        total.runs,
        total.executions,
        total.seconds.round() as u64,
    ];
    [name.to_owned(), what].into_iter().chain(counts.map(|count| count.to_string())).collect()
}

/// Reads what libFuzzer says: `#4096 pulse cov: 120 ft: 300 corp: 40/2kb ...` and its sums at the end.
fn counted(lines: &[String]) -> Counted {
    let mut counted = Counted::default();
    for line in lines {
        if let Some(sum) = line.strip_prefix("stat::number_of_executed_units:") {
            counted.executions = sum.trim().parse().unwrap_or(0);
        }
        let Some(line) = line.strip_prefix('#') else { continue };
        // One that was killed says no sums.
        let digits = line.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
        counted.executions = counted.executions.max(digits.parse().unwrap_or(0));
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let value = || pair[1].split('/').next().and_then(|value| value.parse().ok());
            match pair[0] {
                "cov:" => counted.coverage = value().unwrap_or(counted.coverage),
                "corp:" => counted.inputs = value().unwrap_or(counted.inputs),
                _ => {}
            }
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::ended;

    const SAID: [&str; 4] = [
        "INFO: Seed: 1",
        "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb",
        "#98765\tDONE   cov: 340 ft: 900 corp: 77/12Kb lim: 100 exec/s: 9876 rss: 60Mb",
        "stat::number_of_executed_units: 98765",
    ];

    #[test]
    fn what_a_fuzzer_says_is_counted() {
        let ended = ended(&SAID, 0);
        let counted = counted(&ended.lines);
        assert_eq!(counted, Counted { executions: 98765, coverage: 340, inputs: 77 });
        let total = Total { executions: 100_000, seconds: 60.4, runs: 2 };
        let claim = claim("edit", &ended, &counted, &total);
        assert!(claim.held);
        assert_eq!(claim.seen, "98765 executions, none failed; 100000 in all runs");
    }

    #[test]
    fn a_fuzzer_that_is_killed_is_counted_by_what_it_said_last() {
        let lines = ["#4096\tpulse  cov: 12 ft: 13 corp: 1/1b exec/s: 9 rss: 30Mb", "# no number", "#"];
        assert_eq!(counted(&lines.map(String::from)).executions, 4096);
    }

    #[test]
    fn rows_show_this_run_and_all_runs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("edit.rs"), "//! Edits:\n//! any.\n\nfn x() {}\n").unwrap();
        let options = Options {
            binaries: PathBuf::new(),
            sources: folder.path().to_owned(),
            work: PathBuf::new(),
            seconds: 60,
            parts: None,
            targets: Vec::new(),
        };
        let ended = ended(&SAID, 0);
        let total = Total { executions: 100_000, seconds: 60.4, runs: 2 };
        let row = row(&options, "edit", &ended, &counted(&ended.lines), &total);
        let seconds = ended.seconds.round().to_string();
        assert_eq!(row, ["edit", "Edits: any.", "98765", &seconds, "340", "77", "2", "100000", "60"]);
    }

    #[test]
    fn a_failure_names_its_input_and_silence_is_no_success() {
        let lines = [&SAID[..2], &["Test unit written to /x/edit-crash-1"]].concat();
        let failed = ended(&lines, 77);
        let claim_of = |ended: &Ended| claim("edit", ended, &counted(&ended.lines), &Total::default());
        assert_eq!(claim_of(&failed).seen, "failed on the input in /x/edit-crash-1");
        assert!(!claim_of(&failed).held);
        assert!(!claim_of(&ended(&[], 0)).held, "nothing was executed");
    }
}
