//! Known ways out of a jail, each tried by a probe inside a real jail that was asked for over MCP, beside an honest
//! neighbour that must work.
//!
//! The rows are data (`tests/attacks/*.toml` of the workspace, one file per section, and `everyday.toml` here); adding
//! one, or a file of them, takes no code: `tests/attacks/README.md` tells what a row may say. What a probe saw is compared with what
//! the row expects, the machine outside is compared with what it was, and the whole is written as a table to
//! `attempts.md` and `attempts.json` in the target folder.
//!
//! `LLMC_ATTEMPTS=12,14` runs these rows only and writes no table.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

#[path = "../security/compile.rs"]
mod compile;
#[path = "../security/observe.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod observe;
#[path = "../security/prerequisites.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod prerequisites;
#[path = "../security/without.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod without;

mod call;
mod checks;
mod coverage;
mod elsewhere;
mod ground;
mod outside;
mod packages;
mod pattern;
mod report;
mod row;
mod step;
mod trial;
mod work;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use report::{Entry, Verdict};
use row::Section;

/// Fewest attempts that there are: a file that is not found must not go unnoticed.
const LEAST_ATTEMPTS: usize = 220;
/// What models write every day, which must work.
const EVERYDAY: &str = include_str!("everyday.toml");
/// Fewest rows of it.
const LEAST_EVERYDAY: usize = 60;

#[test]
fn every_attempt_is_refused_and_its_neighbour_works() {
    let sections = sections();
    let mut numbers: Vec<u32> = sections.iter().flat_map(|section| section.numbers()).collect();
    assert!(numbers.len() >= LEAST_ATTEMPTS, "{} attempts", numbers.len());
    numbers.sort_unstable();
    let doubled: Vec<_> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubled.is_empty(), "every attempt has a number of its own: {doubled:?}");
    sections.iter().flat_map(|section| &section.row).for_each(row::Row::check);
    sections.iter().for_each(elsewhere::check);
    judge("attempts", "The attempts", &sections);
}

#[test]
fn every_known_attack_is_held() {
    coverage::check(&sections());
}

#[test]
fn everyday_python_works() {
    let section = Section::read(EVERYDAY);
    assert!(section.row.len() >= LEAST_EVERYDAY, "{} rows", section.row.len());
    section.row.iter().for_each(row::Row::check);
    judge("everyday", "Everyday Python", &[section]);
}

/// The attempts, a section from each file.
fn sections() -> Vec<Section> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    files.iter().map(|file| Section::read(&std::fs::read_to_string(file).unwrap())).collect()
}

/// Where the attempts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/attacks")
}

/// Runs all rows, writes the table and fails with the rows that differ.
#[track_caller]
fn judge(name: &str, title: &str, sections: &[Section]) {
    let wanted = std::env::var("LLMC_ATTEMPTS").ok();
    let wanted: Option<Vec<u32>> = wanted.map(|list| list.split(',').flat_map(str::parse).collect());
    let is_wanted = |number| wanted.as_ref().is_none_or(|wanted| wanted.contains(&number));
    let entries = work::run_all(sections, is_wanted);
    if wanted.is_none() {
        report::write(name, title, sections, &entries);
    } else {
        let _ = write!(std::io::stderr(), "{}", report::markdown(title, sections, &entries));
    }
    let unchecked: Vec<&Entry> =
        entries.iter().filter(|entry| matches!(entry.verdict, Verdict::NotChecked(_))).collect();
    for entry in unchecked {
        prerequisites::not_checked(&format!("{}: {:?}", entry.heading(), entry.verdict));
    }
    let differing = entries.iter().filter_map(|entry| match &entry.verdict {
        Verdict::Differs(points) => Some(format!("{}:\n    {}", entry.heading(), points.join("\n    "))),
        Verdict::AsExpected | Verdict::NotChecked(_) => None,
    });
    let differing: Vec<String> = differing.collect();
    assert!(differing.is_empty(), "{} rows differ:\n{}", differing.len(), differing.join("\n"));
}
