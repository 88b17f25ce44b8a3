//! Very many calls over stdio, and what they cost over time: memory, descriptors and latency must not grow.
//!
//! - [`mod@slope`]: how much something grows, by least squares.

mod slope;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use llmc_proof::{Chart, Claim, Part, Series, Shape, Table};
use serde_json::{Value, json};

use self::slope::slope;
use crate::answer::Answer;
use crate::build::Build;
use crate::claims::claim;
use crate::dice::Dice;
use crate::processes::{children, descriptors, proportional_kib, resident_kib};
use crate::stdio::{Heard, Stdio, start_ready};

/// Calls that are under way at the same time.
const IN_FLIGHT: usize = 4;

/// Longest wait for any answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Windows of the whole run; in each, memory is measured and latency is summed up.
const WINDOWS: u64 = 100;

/// The first part of the windows is left out of slopes: caches fill, and every thread starts once.
const WARM_UP: usize = 10;

/// Most growth of the memory of all processes of a program, in KiB per 100,000 calls: little more than a byte a call.
const MAX_KIB: f64 = 128.0;

/// What memory may grow over the whole run besides, in KiB, by program: caches that fill late, such as
/// SQLite's for the audit, which may take 2 MiB. After the first tenth of 720,000 calls, the server was seen to grow by
/// 1.5 MiB, the hosts by 0.4 MiB, the runner not at all.
const ONCE_KIB: [f64; PROGRAMS.len()] = [1_536.0, 512.0, 256.0];

/// The same of descriptors: less than one in 200,000 calls, and one or two that happen to be open at the end.
const MAX_DESCRIPTORS: f64 = 0.4;
const ONCE_DESCRIPTORS: f64 = 1.5;

/// Most growth of the median latency from the first third of the run to the last one, as a part of what it was: 15 % were
/// seen on a machine that others kept busy.
const MAX_P50: f64 = 0.25;

/// The same of the 99th percentile: one call in a hundred waits for jails that start, so it swings more; 42 % were seen then.
const MAX_P99: f64 = 0.5;

/// Bytes of the audit: so few that the oldest records are taken out from the warm-up on, as they are in a server that has
/// run for long.
const AUDIT_BYTES: u64 = 16 << 20;

const CALLS_OF_SLOPES: f64 = 100_000.0;

const NOTE_TEXT: &str = "the quick brown fox\njumps over the lazy dog\n";

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// Calls.
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after so many minutes, however many calls were made by then.
    #[arg(long)]
    minutes: Option<f64>,
}

impl Options {
    /// What repeats it.
    fn arguments(&self) -> String {
        let minutes = self.minutes.map_or_else(String::new, |minutes| format!(" --minutes {minutes}"));
        format!("--calls {} --seed {}{minutes}", self.calls, self.seed)
    }
}

/// What a window showed.
#[derive(Clone, Debug, Default)]
struct Window {
    /// Calls until its end.
    calls: u64,
    p50_us: f64,
    p99_us: f64,
    /// Of the server, the hosts, the runner: KiB and descriptors.
    costs: Vec<(u64, u64)>,
}

const PROGRAMS: [&str; 3] = ["server", "hosts", "runner"];

/// Makes the calls, and tells what grew.
pub(crate) fn run(stage: &Path, build: Build, options: &Options) -> Result<Part> {
    ensure!(options.calls >= WINDOWS * 10, "a soak has at least {} calls", WINDOWS * 10);
    let folder = tempfile::tempdir()?;
    let (work, config) = (folder.path().join("work"), folder.path().join("llmc.toml"));
    std::fs::create_dir(&work)?;
    std::fs::write(work.join("note.txt"), NOTE_TEXT)?;
    std::fs::write(&config, text(&work))?;
    let mut command = std::process::Command::new(stage.join("bin/llmc"));
    command.arg("serve").arg("--config").arg(&config).args(["--log", "error"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(folder.path());
    let mut soak = Soak {
        stdio: start_ready(&mut command, PATIENCE)?,
        dice: Dice::new(options.seed),
        tools: std::collections::BTreeMap::new(),
    };
    let begun = Instant::now();
    let windows = soak.windows(options, begun)?;
    let tools = soak.tools;
    soak.stdio.leave(PATIENCE)?;
    let part = part(build, options, &windows, begun.elapsed());
    Ok(Part { tables: [part.tables, vec![made(&tools)]].concat(), ..part })
}

fn text(work: &Path) -> String {
    format!(
        "[limits]\nparked_runs = 2\n[audit]\npath = 'audit.db'\nmax_bytes = {AUDIT_BYTES}\n\
         [roots]\nwork = {{ path = '{}', access = 'rw' }}\n[plugins.hello]\nlibrary = 'hello'\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['cat'] }} }}\n\
         [plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = {{ tools = ['hello'], run = {{ profile = 'code' }} }}\n",
        work.display()
    )
}

struct Soak {
    stdio: Stdio,
    dice: Dice,
    tools: std::collections::BTreeMap<&'static str, u64>,
}

impl Soak {
    fn windows(&mut self, options: &Options, begun: Instant) -> Result<Vec<Window>> {
        let each = options.calls / WINDOWS;
        let mut windows = Vec::new();
        for window in 0..WINDOWS {
            if options.minutes.is_some_and(|minutes| begun.elapsed().as_secs_f64() > minutes * 60.0) {
                break;
            }
            let rest = if window + 1 == WINDOWS { options.calls % WINDOWS } else { 0 };
            let mut seen = self.window(each + rest)?;
            seen.calls = window * each + each + rest;
            if window % 10 == 9 {
                println!(
                    "{} calls, {:.0} s, p50 {:.0} µs, p99 {:.0} µs, KiB and descriptors {:?}",
                    seen.calls,
                    begun.elapsed().as_secs_f64(),
                    seen.p50_us,
                    seen.p99_us,
                    seen.costs
                );
            }
            windows.push(seen);
        }
        ensure!(windows.len() > 2 * WARM_UP, "{} windows are too few to tell anything", windows.len());
        Ok(windows)
    }

    /// So many calls, each answered as it must be.
    fn window(&mut self, calls: u64) -> Result<Window> {
        let mut pending = std::collections::BTreeMap::new();
        let mut latencies = Vec::new();
        let (mut sent, mut answered) = (0, 0);
        while answered < calls {
            while pending.len() < IN_FLIGHT && sent < calls {
                let (tool, arguments, expected) = call(&mut self.dice);
                *self.tools.entry(tool).or_default() += 1;
                let id = self.stdio.send(tool, &arguments, None);
                pending.insert(id, (tool, expected, Instant::now()));
                sent += 1;
            }
            match self.stdio.hear(PATIENCE) {
                Heard::Answer(id, answer) => {
                    let call = pending.remove(&id).context("an answer to nothing")?;
                    let (tool, expected, begun): (&str, &str, Instant) = call;
                    latencies.push(begun.elapsed().as_secs_f64() * 1e6);
                    check(tool, expected, &answer)?;
                    answered += 1;
                }
                Heard::Nothing => bail!("{} calls are not answered within {PATIENCE:?}", pending.len()),
                Heard::End => bail!("the server has ended"),
            }
        }
        latencies.sort_by(f64::total_cmp);
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(f64::NAN);
        Ok(Window { p50_us: at(50), p99_us: at(99), costs: costs(self.stdio.pid()), calls: 0 })
    }
}

/// A call and what must be in its answer: nearly all are short, some start a jail.
fn call(dice: &mut Dice) -> (&'static str, Value, &'static str) {
    match dice.below(1_000) {
        0..450 => ("hello", json!({"name": "Ada"}), "Hello, Ada!"),
        450..750 => ("read_file", json!({"path": "note.txt"}), "lazy dog"),
        750..900 => ("stat", json!({"path": "note.txt"}), "note.txt"),
        900..970 => ("list_dir", json!({"path": "."}), "note.txt"),
        970..994 => {
            ("write_file", json!({"path": "out.txt", "content": "x\n", "overwrite": true}), "out.txt")
        }
        994..997 => ("run_command", json!({"argv": ["cat", "note.txt"]}), "lazy dog"),
        997..999 => ("execute_code", json!({"code": "str(6 * 7)"}), "42"),
        _ => (
            "execute_code",
            json!({"code": "from llmc import tools\ntools.hello(name='Bob')"}),
            "Hello, Bob!",
        ),
    }
}

fn check(tool: &str, expected: &str, answer: &Answer) -> Result<()> {
    let Answer::Done(result) = answer else { bail!("`{tool}` was answered with {}", answer.shown()) };
    ensure!(result.to_string().contains(expected), "`{tool}` should say {expected:?}: {}", answer.shown());
    Ok(())
}

/// KiB and descriptors of the server, of all hosts, of the runner.
fn costs(server: u32) -> Vec<(u64, u64)> {
    let kib = |pid: u32| proportional_kib(pid).or_else(|| resident_kib(pid)).unwrap_or(0);
    let cost = |pid: u32| (kib(pid), descriptors(pid).unwrap_or(0));
    let below = children(server);
    let of = |program: &str| {
        let fitting = below.iter().filter(|process| process.program() == program);
        fitting.map(|process| cost(process.pid)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    vec![cost(server), of("llmc-host"), of("llmc-runner")]
}

fn part(build: Build, options: &Options, windows: &[Window], took: Duration) -> Part {
    let calls = windows.last().map_or(0, |window| window.calls);
    let settled = &windows[WARM_UP..];
    let points = |value: &dyn Fn(&Window) -> f64, windows: &[Window]| -> Vec<(f64, f64)> {
        windows.iter().map(|window| (window.calls as f64, value(window))).collect()
    };
    let mut claims = vec![claim(
        "all calls were made; a wrong answer would have ended the run",
        &format!("{} right answers", options.calls),
        &format!("{calls} right answers"),
        calls >= options.calls,
    )];
    let mut rows = Vec::new();
    let hundred_thousands =
        settled.last().map_or(0, |last| last.calls - settled[0].calls) as f64 / CALLS_OF_SLOPES;
    let most = |each: f64, once: f64| each + once / hundred_thousands;
    for (at, program) in PROGRAMS.iter().enumerate() {
        let kib = slope(&points(&|window| window.costs[at].0 as f64, settled)) * CALLS_OF_SLOPES;
        let open = slope(&points(&|window| window.costs[at].1 as f64, settled)) * CALLS_OF_SLOPES;
        claims.push(grows("memory", program, kib, most(MAX_KIB, ONCE_KIB[at]), "KiB"));
        claims.push(grows(
            "the number of descriptors",
            program,
            open,
            most(MAX_DESCRIPTORS, ONCE_DESCRIPTORS),
            "descriptors",
        ));
        let last = settled.last().map_or((0, 0), |window| window.costs[at]);
        rows.push(vec![
            (*program).to_owned(),
            format!("{kib:+.1}"),
            format!("{open:+.3}"),
            last.0.to_string(),
            last.1.to_string(),
        ]);
    }
    let thirds: Vec<Thirds> = LATENCIES.iter().map(|(.., of)| Thirds::of(&points(of, settled))).collect();
    let latencies = LATENCIES.iter().zip(&thirds);
    claims.extend(latencies.clone().map(|((name, bound, _), thirds)| thirds.claim(name, *bound)));
    let latency_rows = latencies.map(|((name, ..), thirds)| thirds.row(name)).collect();
    let chart = |title: &str, y_label: &str, series: Vec<(&str, Vec<(f64, f64)>)>| Chart {
        title: title.into(),
        shape: Shape::Line,
        x_label: "calls".into(),
        y_label: y_label.into(),
        series: series.into_iter().map(|(name, points)| Series { name: name.into(), points }).collect(),
        ..Chart::default()
    };
    let memory = PROGRAMS.iter().enumerate();
    let memory =
        memory.map(|(at, program)| (*program, points(&|window| window.costs[at].0 as f64 / 1024.0, windows)));
    let latencies = LATENCIES.iter().map(|(name, _, of)| (*name, points(of, windows))).collect();
    Part {
        name: "soak".into(),
        title: "Soak: very many calls over stdio".into(),
        command: build.command("soak", &options.arguments()),
        summary: format!(
            "{calls} calls, {IN_FLIGHT} under way at a time; slopes by least squares, without the first {WARM_UP} of {} \
             windows; it took {:.0} s.",
            windows.len(),
            took.as_secs_f64()
        ),
        claims,
        tables: vec![
            Table {
                title: "Growth per 100,000 calls, and what there was at the end".into(),
                note: "Memory with shared pages counted in parts, where the kernel shows that.".into(),
                columns: ["of", "KiB", "descriptors", "KiB at the end", "descriptors at the end"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
            },
            Table {
                title: "Latency".into(),
                note: format!(
                    "Medians of the windows of the first and the last third of the run; {IN_FLIGHT} calls are under way at a time."
                ),
                columns: ["of", "µs at first", "µs at last", "growth", "µs more per 100,000 calls"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: latency_rows,
            },
        ],
        charts: vec![
            chart("Memory over calls", "MiB", memory.collect()),
            chart("Latency over calls", "µs", latencies),
        ],
        left_out: match calls == options.calls {
            true => Vec::new(),
            false => vec![format!("{} of {} calls: the time was over", options.calls - calls, options.calls)],
        },
        ..Part::default()
    }
}

fn grows(what: &str, program: &str, slope: f64, bound: f64, unit: &str) -> Claim {
    claim(
        &format!("{what} of the {program} does not grow"),
        &format!("at most {bound:.2} {unit} per 100,000 calls"),
        &format!("{slope:+.2} {unit}"),
        slope <= bound,
    )
}

/// What is looked at of latencies: its name, how much it may grow, and where it is.
type Latency = (&'static str, f64, fn(&Window) -> f64);
const LATENCIES: [Latency; 2] =
    [("p50", MAX_P50, |window| window.p50_us), ("p99", MAX_P99, |window| window.p99_us)];

/// Latency at the beginning and at the end. Medians of windows, so that something else that keeps the machine busy for a
/// while does not pass for growth.
struct Thirds {
    first: f64,
    last: f64,
    slope: f64,
}

impl Thirds {
    fn of(points: &[(f64, f64)]) -> Self {
        let third = points.len() / 3;
        let median = |points: &[(f64, f64)]| {
            let mut values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            first: median(&points[..third]),
            last: median(&points[points.len() - third..]),
            slope: slope(points) * CALLS_OF_SLOPES,
        }
    }

    fn growth(&self) -> f64 {
        self.last / self.first - 1.0
    }

    fn claim(&self, name: &str, bound: f64) -> Claim {
        claim(
            &format!("latency does not grow over the run: {name}"),
            &format!("in the last third at most {:.0} % more than in the first one", bound * 100.0),
            &format!("{:+.1} %", self.growth() * 100.0),
            self.growth() <= bound,
        )
    }

    fn row(&self, name: &str) -> Vec<String> {
        let growth = format!("{:+.1} %", self.growth() * 100.0);
        vec![
            name.to_owned(),
            format!("{:.0}", self.first),
            format!("{:.0}", self.last),
            growth,
            format!("{:+.1}", self.slope),
        ]
    }
}

fn made(tools: &std::collections::BTreeMap<&'static str, u64>) -> Table {
    Table {
        title: "Calls".into(),
        note: String::new(),
        columns: ["tool", "calls"].map(str::to_owned).to_vec(),
        rows: tools.iter().map(|(tool, calls)| vec![(*tool).to_owned(), calls.to_string()]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(kib: impl Fn(u64) -> u64) -> Vec<Window> {
        let window = |at: u64| Window {
            calls: (at + 1) * 1_000,
            p50_us: 100.0 + (at % 3) as f64,
            p99_us: 900.0,
            costs: vec![(kib(at), 20), (9_000, 40), (3_000, 9)],
        };
        (0..50).map(window).collect()
    }

    #[test]
    fn what_grows_breaks_its_claim_and_no_other() {
        let options = Options { calls: 50_000, seed: 1, minutes: None };
        let held = |windows: &[Window]| {
            let part = part(Build::Optimised, &options, windows, Duration::from_secs(1));
            part.claims.iter().filter(|claim| !claim.held).map(|claim| claim.what.clone()).collect::<Vec<_>>()
        };
        assert_eq!(held(&windows(|at| 30_000 + at % 5)), Vec::<String>::new());
        assert_eq!(held(&windows(|at| 30_000 + at * 100)), ["memory of the server does not grow"]);
    }

    #[test]
    fn latency_that_doubles_is_seen() {
        let points: Vec<(f64, f64)> =
            (0..50).map(|at| (f64::from(at), 100.0 + f64::from(at) * 2.0)).collect();
        let held = |points: &[(f64, f64)]| Thirds::of(points).claim("p50", MAX_P50).held;
        assert!(!held(&points));
        assert!(held(&points.iter().map(|(x, _)| (*x, 100.0)).collect::<Vec<_>>()));
        // Something else kept the machine busy for a while.
        let busy = |at: i32| if (40..45).contains(&at) { 900.0 } else { 100.0 };
        assert!(held(&(0..50).map(|at| (f64::from(at), busy(at))).collect::<Vec<_>>()));
    }

    #[test]
    fn a_long_run_shows_a_small_leak_and_a_short_one_what_is_taken_once() {
        let held = |calls: u64, kib: fn(u64) -> u64| {
            let options = Options { calls, seed: 1, minutes: None };
            let mut windows = windows(kib);
            for window in &mut windows {
                window.calls *= calls / 50_000;
            }
            let part = part(Build::Optimised, &options, &windows, Duration::from_secs(1));
            part.claims.iter().all(|claim| claim.held)
        };
        assert!(held(50_000, |at| 30_000 + at * 8), "400 KiB over a short run");
        assert!(!held(50_000, |at| 30_000 + at * 50), "2,500 KiB over a short run");
        assert!(!held(1_000_000, |at| 30_000 + at * 80), "400 KiB each 100,000 calls");
        assert!(held(1_000_000, |at| 30_000 + if at > 25 { 400 } else { 0 }), "once");
    }
}
