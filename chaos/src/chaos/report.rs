//! What is told of a storm.

use std::collections::BTreeMap;
use std::time::Duration;

use llmc_proof::{Chart, Claim, Part, Series, Shape, Table};

use super::ground::{CALL_TIMEOUT_MS, GRACE_MS};
use super::load::Shared;
use super::score::{Counts, IN_TIME, Late};
use super::storm::CLOCK_JUMPED;
use crate::claims::{claim, none};

/// What the server over HTTP may have more in the last quarter of the time than in the second one, in KiB: a quarter of
/// what it had, and as much as buffers and an allocator keep.
const SLACK_KIB: u64 = 24 << 10;

/// The same of descriptors: a quarter of what it had, and as many connections as come and go. What loses one now and then
/// loses hundreds in ten minutes.
const SLACK_DESCRIPTORS: u64 = 40;

/// From then on, it is no bad luck if a kind of fault does not strike: each would have 20 times and more.
const LONG: Duration = Duration::from_secs(600);

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Seen {
    /// How long it stormed.
    pub(super) lasted: Duration,
    /// How often each fault that can strike has.
    pub(super) struck: BTreeMap<&'static str, u64>,
    /// Seconds, KiB and descriptors of the server over HTTP.
    pub(super) samples: Vec<(f64, u64, u64)>,
    pub(super) server_lived: bool,
    pub(super) failing: Vec<String>,
    pub(super) lost: Vec<String>,
    pub(super) files: usize,
    pub(super) doubts: usize,
    pub(super) left_processes: Vec<String>,
    pub(super) left_files: Vec<String>,
    pub(super) left_mounts: Vec<String>,
    /// MiB of each file system that was filled now and then, and what is free of it.
    pub(super) room: Vec<(&'static str, [u64; 2])>,
    /// The largest of what is in them, and their bytes.
    pub(super) largest: Vec<(String, u64)>,
    pub(super) verified: (bool, String),
    pub(super) unrecorded: Vec<String>,
    pub(super) records: usize,
    /// How often the times of records jumped, where the clock of servers can.
    pub(super) clock_jumps: Option<usize>,
    pub(super) with_clocks: bool,
    pub(super) bound: Duration,
}

pub(super) fn part(shared: &Shared, seen: &Seen) -> Part {
    let counts = shared.score.counts();
    let faults: u64 = seen.struck.values().sum();
    let summary = format!(
        "{} calls under {faults} faults of {} kinds: {} answered well, {} with a typed error, {} cancelled, {} cut off \
         with their client or server. {} answers came after {:.0} s, deadline and grace; the longest took {:.1} s.",
        counts.made(),
        seen.struck.values().filter(|count| **count > 0).count(),
        counts.done,
        counts.failed.values().sum::<u64>(),
        counts.cancelled,
        counts.cut,
        counts.late(),
        IN_TIME.as_secs_f64(),
        counts.longest.as_secs_f64()
    );
    drop(counts);
    Part {
        name: "chaos".into(),
        title: "Chaos: random faults under mixed load".into(),
        summary,
        claims: claims(shared, seen),
        tables: tables(shared, seen),
        charts: charts(seen),
        left_out: left_out(seen),
        ..Part::default()
    }
}

fn claims(shared: &Shared, seen: &Seen) -> Vec<Claim> {
    let counts = shared.score.counts();
    let within = format!(
        "within {:.0} s: `call_timeout_ms` {CALL_TIMEOUT_MS}, `grace_ms` {GRACE_MS}, the rest for a busy machine",
        seen.bound.as_secs_f64()
    );
    let happened: u64 = seen.struck.values().sum();
    let worked = counts.done > 0 && happened > 0;
    let seen_work = format!("{} successes, {happened} faults", counts.done);
    let mut claims = vec![
        claim("there was work, and there were faults", "some of both", &seen_work, worked),
        in_time(&within, &counts),
        none("no call was dropped, and no answer is without form", "none", &counts.odd),
        none("what was answered as a success is right", "no wrong answer", &counts.wrong),
        none("no server ended that nobody ended, and those whose client died did", "none", &counts.broken),
        claim(
            "the server over HTTP lived all the time",
            "it lives",
            if seen.server_lived { "it lives" } else { "it ended" },
            seen.server_lived,
        ),
        none(
            &format!(
                "every acknowledged write is there and whole ({} files), every other one is whole or absent ({} changes)",
                seen.files, seen.doubts
            ),
            "none lost, none half",
            &seen.lost,
        ),
        claim("the chain of the audit verifies", "good", &seen.verified.1, seen.verified.0),
        none(
            &format!(
                "every answered call has a record in the audit ({} calls, {} records)",
                counts.recorded.len(),
                seen.records
            ),
            "none missing",
            &seen.unrecorded,
        ),
        none("nothing is left behind: processes", "none", &seen.left_processes),
        none("nothing is left behind: temporary files, scratch space, sockets", "none", &seen.left_files),
        none("nothing is left behind: mounts", "none", &seen.left_mounts),
        flat(seen, "memory", "KiB", SLACK_KIB, |(_, kib, _)| kib),
        none("afterwards every tool of every server works", "all work", &seen.failing),
    ];
    if has_descriptors(seen) {
        claims
            .push(flat(seen, "number of descriptors", "descriptors", SLACK_DESCRIPTORS, |(_, _, open)| open));
    }
    if seen.lasted >= LONG {
        claims.push(none("every kind of fault struck", "none that did not", &missed(seen)));
    }
    let jumped = seen.struck.get(CLOCK_JUMPED).copied().unwrap_or(0);
    if let Some(jumps) = seen.clock_jumps.filter(|_| jumped > 0) {
        let what =
            format!("the records of the audit show jumps of the wall clock, which was moved {jumped} times");
        claims.push(claim(&what, "some", &jumps.to_string(), jumps > 0));
    }
    claims
}

/// Answers in their time, and how many came before that is over but after what was promised.
fn in_time(within: &str, counts: &Counts) -> Claim {
    let mut claim = none("every call got an answer or a typed error in its time", within, &counts.overdue);
    claim.seen += &format!(
        "; {} answers after {:.0} s, the longest took {:.1} s",
        counts.late(),
        IN_TIME.as_secs_f64(),
        counts.longest.as_secs_f64()
    );
    claim
}

/// Kinds of faults that could have struck and did not.
fn missed(seen: &Seen) -> Vec<String> {
    seen.struck.iter().filter(|(_, count)| **count == 0).map(|(name, _)| (*name).to_owned()).collect()
}

/// Whether the kernel shows how many descriptors others have open.
fn has_descriptors(seen: &Seen) -> bool {
    seen.samples.iter().any(|(_, _, open)| *open > 0)
}

/// What the server takes, by the medians of two quarters.
fn flat(seen: &Seen, what: &str, unit: &str, slack: u64, of: impl Fn((f64, u64, u64)) -> u64) -> Claim {
    let quarter = seen.samples.len() / 4;
    let median = |from: usize, to: usize| -> u64 {
        let mut values: Vec<u64> = seen.samples[from.min(to)..to].iter().map(|sample| of(*sample)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let (second, last) = (median(quarter, 2 * quarter), median(3 * quarter, seen.samples.len()));
    let bound = second + second / 4 + slack;
    let held = quarter > 0 && last <= bound;
    claim(
        &format!(
            "the {what} of the server over HTTP stays flat, by the medians of the second and the last quarter of the time"
        ),
        &format!("at most {bound} {unit} after {second}"),
        &format!("{last} {unit}"),
        held,
    )
}

fn tables(shared: &Shared, seen: &Seen) -> Vec<Table> {
    let counts = shared.score.counts();
    let table = |title: &str, note: &str, columns: [&str; 2], rows: Vec<Vec<String>>| Table {
        title: title.into(),
        note: note.into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    };
    let pair = |name: &str, count: u64| vec![name.to_owned(), count.to_string()];
    let mut answers = vec![pair("result", counts.done)];
    answers.extend(counts.failed.iter().map(|(kind, count)| pair(kind, *count)));
    answers.push(pair("cancelled by the client, none expected", counts.cancelled));
    answers.push(pair("cut off: client or server killed", counts.cut));
    answers.push(pair("server not reached, nothing sent", counts.unreached));
    vec![
        table(
            "Faults",
            "How often each that can strike has.",
            ["fault", "times"],
            seen.struck.iter().map(|(name, count)| pair(name, *count)).collect(),
        ),
        table(
            "Calls",
            "By tool.",
            ["tool", "calls"],
            counts.calls.iter().map(|(tool, count)| pair(tool, *count)).collect(),
        ),
        table("Answers", "A result, or the kind of the typed error.", ["answer", "calls"], answers),
        late(&counts),
        Table {
            title: "Room at the end".into(),
            note: "Of the file systems that were filled now and then. What servers keep in them stays."
                .into(),
            columns: ["file system", "MiB", "MiB free"].map(str::to_owned).to_vec(),
            rows: seen.room.iter().map(room).collect(),
        },
        table(
            "The largest files at the end",
            "In these file systems.",
            ["file", "KiB"],
            seen.largest.iter().map(|(file, bytes)| pair(file, bytes >> 10)).collect(),
        ),
    ]
}

fn room((name, [size, free]): &(&str, [u64; 2])) -> Vec<String> {
    vec![(*name).to_owned(), size.to_string(), free.to_string()]
}

/// What came after deadline and grace.
fn late(counts: &Counts) -> Table {
    let row = |of: &str, late: &Late| {
        vec![of.to_owned(), late.count.to_string(), format!("{:.1}", late.longest.as_secs_f64())]
    };
    let mut rows: Vec<_> = counts.late.iter().map(|(tool, late)| row(tool, late)).collect();
    rows.push(row(
        "any, to a client that stopped reading meanwhile or read slowly",
        &counts.late_to_the_deaf,
    ));
    Table {
        title: format!("Answers that took longer than {:.0} s, deadline and grace", IN_TIME.as_secs_f64()),
        note:
            "Writing the record comes on top of what a call may take, and so does waiting for the processor."
                .into(),
        columns: ["tool", "answers", "longest, s"].map(str::to_owned).to_vec(),
        rows,
    }
}

fn charts(seen: &Seen) -> Vec<Chart> {
    let chart = |title: &str, y_label: &str, of: &dyn Fn(&(f64, u64, u64)) -> f64| Chart {
        title: title.into(),
        shape: Shape::Line,
        x_label: "seconds".into(),
        y_label: y_label.into(),
        series: vec![Series {
            name: "llmc".into(),
            points: seen.samples.iter().map(|sample| (sample.0, of(sample))).collect(),
        }],
        ..Chart::default()
    };
    let memory = chart("Memory of the server over HTTP", "resident MiB", &|(_, kib, _)| *kib as f64 / 1024.0);
    let open = chart("Descriptors of the server over HTTP", "open", &|(_, _, open)| *open as f64);
    if has_descriptors(seen) { vec![memory, open] } else { vec![memory] }
}

fn left_out(seen: &Seen) -> Vec<String> {
    let mut left_out = vec![
        "clients over stdio are threads: one that dies closes both pipes at once, which is what the kernel does for a \
         process that is killed"
            .to_owned(),
        "loss of power: file systems are in memory".to_owned(),
        "memory and descriptors over time of anything but the server over HTTP: the storm kills all others again and again"
            .to_owned(),
    ];
    if !has_descriptors(seen) {
        left_out.push("descriptors: this kernel does not show how many others have open".to_owned());
    }
    let missed = missed(seen);
    if !missed.is_empty() && seen.lasted < LONG {
        let name = missed.join(", ");
        left_out.push(format!("in less than {} s these faults did not strike: {name}", LONG.as_secs()));
    }
    if seen.clock_jumps.is_none() {
        left_out.push("jumps of the wall clock: `faketime` is not installed".to_owned());
    }
    match seen.with_clocks {
        true => left_out.push(
            "jumps of the monotonic clock while a server runs: its offset can only be chosen when a server starts, and \
             was, up to a year"
                .to_owned(),
        ),
        false => left_out.push("other monotonic clocks: the kernel gives no namespaces of time".to_owned()),
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(kib: impl Fn(u64) -> u64) -> Seen {
        let samples = (0..80).map(|at| (at as f64, kib(at), 10)).collect();
        Seen { samples, ..Seen::default() }
    }

    #[test]
    fn memory_that_grows_is_not_flat() {
        let held = |seen: &Seen| flat(seen, "memory", "KiB", SLACK_KIB, |(_, kib, _)| kib).held;
        assert!(held(&growing(|_| 50_000)));
        assert!(held(&growing(|at| 50_000 + at % 7 * 1_000)));
        assert!(!held(&growing(|at| 50_000 + at * 2_000)));
        assert!(!held(&Seen::default()), "nothing was seen");
    }

    #[test]
    fn descriptors_that_are_lost_now_and_then_are_seen() {
        let open = |open: fn(u64) -> u64| Seen {
            samples: (0..1_200).map(|at| (at as f64, 1, open(at))).collect(),
            ..Seen::default()
        };
        let held = |seen: &Seen| flat(seen, "x", "x", SLACK_DESCRIPTORS, |(_, _, open)| open).held;
        assert!(has_descriptors(&open(|_| 90)) && !has_descriptors(&open(|_| 0)));
        assert!(held(&open(|at| 90 + at % 25)));
        assert!(!held(&open(|at| 90 + at / 6)));
    }

    #[test]
    fn a_fault_that_did_not_strike_is_named() {
        let struck = [("a", 0), ("b", 3)].into();
        let short = Seen { struck, ..Seen::default() };
        assert_eq!(missed(&short), ["a"]);
        assert!(left_out(&short).iter().any(|line| line.ends_with("did not strike: a")));
        let long = Seen { lasted: LONG, ..short };
        assert!(!left_out(&long).iter().any(|line| line.contains("did not strike")));
    }

    #[test]
    fn answers_after_the_deadline_are_told_even_if_they_held() {
        let counts = Counts { longest: Duration::from_secs(11), ..Counts::default() };
        let claim = in_time("x", &counts);
        assert!(claim.held && claim.seen.ends_with("the longest took 11.0 s"), "{}", claim.seen);
    }
}
