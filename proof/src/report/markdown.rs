//! What of a report means something on any machine, as Markdown: what held, ratios and counts, and what repeats them.

use std::fmt::Write as _;

use super::date::utc;
use super::{MACHINE, Report};
use crate::{Claim, Part};

/// Claims of one part that are listed.
const MOST_CLAIMS: usize = 60;

/// Units of what differs from machine to machine.
const UNITS: [&str; 31] = [
    "ns", "µs", "μs", "us", "ms", "s", "sec", "second", "seconds", "min", "minute", "minutes", "h", "hours",
    "B", "byte", "bytes", "kB", "KB", "KiB", "MB", "MiB", "GB", "GiB", "Hz", "MHz", "GHz", "calls/s", "MB/s",
    "MiB/s", "req/s",
];

/// The document; `how` says how the report was made.
#[must_use]
pub fn markdown(report: &Report, how: &str) -> String {
    let mut text = String::from("# Proof\n\n<!-- Written by `cargo xtask prove`: do not edit. -->\n\n");
    let machine = report.parts.iter().find(|part| part.name == MACHINE);
    let began = machine.map(|machine| utc(machine.began)).unwrap_or_default();
    let (held, all) = (report.held, report.held + report.failed);
    let _ = writeln!(
        text,
        "What `{how}` found when it last ran whole, on {began}: **{held} of {all} claims held.** Here are counts and ratios; \
         times and sizes belong to one machine, so run it on yours. It writes `target/proof/report.html`, with every \
         input, figure and chart."
    );
    if let Some(machine) = machine {
        let _ = writeln!(text, "\n{}.", cell(&machine.summary));
    }
    text.push_str("\n| Part | Claims that held | Repeat it with |\n|---|---|---|\n");
    for part in &report.parts {
        let _ = writeln!(text, "| {} | {} | `{}` |", cell(&part.title), state(part), cell(&part.command));
    }
    for part in report.parts.iter().filter(|part| part.was_run()) {
        self::part(&mut text, part);
    }
    text
}

fn state(part: &Part) -> String {
    if !part.was_run() {
        return "**not run**".into();
    }
    let held = part.claims.iter().filter(|claim| claim.held).count();
    let text = format!("{held} of {}", part.claims.len());
    if part.holds() { text } else { format!("**{text}**") }
}

fn part(text: &mut String, part: &Part) {
    let _ = writeln!(text, "\n## {}\n", cell(&part.title));
    if is_portable(&part.summary) && part.name != MACHINE {
        let _ = writeln!(text, "{}\n", cell(&part.summary));
    }
    text.push_str("| Claim | Expected | Seen | |\n|---|---|---|---|\n");
    let (failed, held): (Vec<&Claim>, Vec<&Claim>) = part.claims.iter().partition(|claim| !claim.held);
    for claim in failed.iter().chain(&held).take(MOST_CLAIMS) {
        let seen = if is_portable(&claim.seen) { cell(&claim.seen) } else { "(of one machine)".into() };
        let state = if claim.held { "held" } else { "**failed**" };
        let _ = writeln!(text, "| {} | {} | {seen} | {state} |", cell(&claim.what), cell(&claim.expected));
    }
    if part.claims.len() > MOST_CLAIMS {
        let _ = writeln!(text, "\nAnd {} more, which held.", part.claims.len() - MOST_CLAIMS);
    }
}

/// A text in one line of a table.
fn cell(text: &str) -> String {
    let text: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

/// Whether a text names no time, size or rate.
fn is_portable(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    !words.iter().enumerate().any(|(at, word)| {
        let word = word.trim_matches(['(', ')', ',', ';', ':', '.', '≤', '≥', '<', '>', '~']);
        let end = word.rfind(|c: char| c.is_ascii_digit()).map(|last| last + 1);
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        let (true, Some(end)) = (is_number, end) else { return false };
        let unit = match &word[end..] {
            "" => words.get(at + 1).map_or("", |next| next.trim_matches([',', ';', ':', '.', '(', ')'])),
            glued => glued,
        };
        UNITS.contains(&unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_stay_out() {
        for text in ["1.2 ms", "took 30 s.", "12 MiB, more", "5000 calls/s", "1.5µs", "(3 ms)", "≤ 20 ms"]
        {
            assert!(!is_portable(text), "{text}");
        }
        for text in
            ["1.4 times the limit", "98 %", "3 of 3", "×1.2", "Linux 6.1", "no second server", "sha256"]
        {
            assert!(is_portable(text), "{text}");
        }
    }

    #[test]
    fn the_document_says_what_held_and_how_to_repeat_it() {
        let claim = |what: &str, seen: &str, held| Claim {
            what: what.into(),
            seen: seen.into(),
            held,
            ..Claim::default()
        };
        let part = Part {
            title: "Calls | more".into(),
            command: "cargo xtask bench".into(),
            claims: vec![claim("fast", "3.1 ms", true), claim("a <b>", "1.2 times", false)],
            ..Part::default()
        };
        let text =
            markdown(&Report::new(vec![part, Part::not_run("x", "X", "c", "gone")]), "cargo xtask prove");
        assert!(text.contains("**1 of 3 claims held.**"), "{text}");
        assert!(text.contains("| Calls \\| more | **1 of 2** | `cargo xtask bench` |"), "{text}");
        assert!(text.contains("| X | **not run** | `c` |"), "{text}");
        assert!(
            !text.contains("3.1 ms") && text.contains("| a &lt;b> |  | 1.2 times | **failed** |"),
            "{text}"
        );
    }
}
