//! What is told of a storm.

use std::collections::BTreeMap;
use std::time::Duration;

use llmc_proof::{Chart, Claim, Part, Series, Shape, Table};

use super::ground::{CALL_TIMEOUT_MS, GRACE_MS};
use super::load::Shared;
use crate::claims::{claim, none};

/// What the server over HTTP may have more in the last quarter of the time than in the second one, in KiB: a quarter of
/// what it had, and as much as buffers and an allocator keep.
const SLACK_KIB: u64 = 24 << 10;

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Seen {
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
    pub(super) verified: (bool, String),
    pub(super) unrecorded: Vec<String>,
    pub(super) records: usize,
    pub(super) with_clocks: bool,
    pub(super) bound: Duration,
}

pub(super) fn part(shared: &Shared, seen: &Seen) -> Part {
    let counts = shared.score.counts();
    let faults: u64 = seen.struck.values().sum();
    let summary = format!(
        "{} calls under {faults} faults of {} kinds: {} answered well, {} with a typed error, {} cancelled, {} cut off \
         with their client or server; the longest took {:.1} s.",
        counts.made(),
        seen.struck.len(),
        counts.done,
        counts.failed.values().sum::<u64>(),
        counts.cancelled,
        counts.cut,
        counts.longest.as_secs_f64()
    );
    drop(counts);
    Part {
        name: "chaos".into(),
        title: "Chaos: random faults under mixed load".into(),
        summary,
        claims: claims(shared, seen),
        tables: tables(shared, seen),
        charts: vec![memory(seen)],
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
    vec![
        claim("there was work, and there were faults", "some of both", &seen_work, worked),
        none("every call got an answer or a typed error in its time", &within, &counts.overdue),
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
        flat(seen),
        none("afterwards every tool of every server works", "all work", &seen.failing),
    ]
}

/// Memory of the server, by the medians of two quarters.
fn flat(seen: &Seen) -> Claim {
    let quarter = seen.samples.len() / 4;
    let median = |from: usize, to: usize| -> u64 {
        let mut values: Vec<u64> = seen.samples[from.min(to)..to].iter().map(|(_, kib, _)| *kib).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let (second, last) = (median(quarter, 2 * quarter), median(3 * quarter, seen.samples.len()));
    let bound = second + second / 4 + SLACK_KIB;
    let held = quarter > 0 && last <= bound;
    claim(
        "the memory of the server stays flat, by the medians of the second and the last quarter of the time",
        &format!("at most {bound} KiB after {second} KiB"),
        &format!("{last} KiB"),
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
            "How often each struck.",
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
    ]
}

fn memory(seen: &Seen) -> Chart {
    let mib = seen.samples.iter().map(|(seconds, kib, _)| (*seconds, *kib as f64 / 1024.0));
    Chart {
        title: "Memory of the server over HTTP".into(),
        shape: Shape::Line,
        x_label: "seconds".into(),
        y_label: "resident MiB".into(),
        series: vec![Series { name: "llmc".into(), points: mib.collect() }],
        ..Chart::default()
    }
}

fn left_out(seen: &Seen) -> Vec<String> {
    let mut left_out = vec![
        "jumps of the wall clock: the kernel has one for all namespaces, and the machine's is left alone. Instead, times \
         of files jump by a day and back while they are in use"
            .to_owned(),
        "clients over stdio are threads: one that dies closes both pipes at once, which is what the kernel does for a \
         process that is killed"
            .to_owned(),
        "loss of power: file systems are in memory".to_owned(),
    ];
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
        assert!(flat(&growing(|_| 50_000)).held);
        assert!(flat(&growing(|at| 50_000 + at % 7 * 1_000)).held);
        assert!(!flat(&growing(|at| 50_000 + at * 2_000)).held);
        assert!(!flat(&Seen::default()).held, "nothing was seen");
    }
}
