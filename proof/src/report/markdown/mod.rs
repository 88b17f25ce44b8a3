//! What of a report means something on any machine, as Markdown: what held, ratios and counts, and what repeats them.
//!
//! - [`portable`]: tells a time, a size or a rate from a count or a ratio.
//! - [`tables`]: tables without what belongs to one machine.
//! - [`cell`]: texts that become no markup.

mod cell;
mod portable;
mod tables;

use std::borrow::Cow;
use std::fmt::Write as _;

use self::cell::{anchor, cell, code, heading};
use self::portable::{beginning, beside_before, share_of_bound};
use super::date::day;
use super::{MACHINE, Report};
use crate::{Claim, Part};

/// Claims of one part that are listed, and things that it left out.
const MOST_CLAIMS: usize = 60;
const MOST_LEFT_OUT: usize = 20;

/// Longest text of a cell.
const MOST_CHARS: usize = 160;

/// The document; `how` says how the report was made.
#[must_use]
pub fn markdown(report: &Report, how: &str) -> String {
    let mut text = String::from("# Proof\n\n<!-- Written by `cargo xtask prove`: do not edit. -->\n\n");
    let (held, all) = (report.held, report.held + report.failed);
    let _ = writeln!(
        text,
        "What {} found when it last ran whole, {}: **{held} of {all} claims held.** Here are counts and ratios. Times, \
         sizes and rates belong to one machine, so run it on yours: it writes `target/proof/report.html`, with every \
         input, figure and chart. Where a bound is a time or a size, what was seen is told as a part of it.",
        code(how),
        days(report)
    );
    failures(&mut text, report);
    let commits = report.sources();
    if let [commit] = &*commits {
        let _ = writeln!(text, "\nAll of it is of {}, in the optimised build.", named(commit));
    } else if !commits.is_empty() {
        let _ = writeln!(
            text,
            "\nThe parts were made one by one in the optimised build, at {} states of the sources: the table names that of \
             each.",
            commits.len()
        );
    }
    contents(&mut text, report, commits.len() > 1);
    report.parts.iter().filter(|part| part.was_run()).for_each(|part| self::part(&mut text, part));
    text
}

/// When its parts were made.
fn days(report: &Report) -> String {
    let began = || report.parts.iter().filter(|part| part.was_run()).map(|part| day(part.began));
    match (began().min(), began().max()) {
        (Some(first), Some(last)) if first != last => format!("from {first} to {last}"),
        (Some(first), _) => format!("on {first}"),
        _ => "never".into(),
    }
}

/// A state of the sources, in a sentence.
fn named(sources: &str) -> String {
    match sources.split_once(' ') {
        Some((commit, rest)) if commit.chars().all(|c| c.is_ascii_hexdigit()) => {
            format!("commit {} {}", code(commit), cell(rest))
        }
        None => format!("commit {}", code(sources)),
        _ => cell(sources),
    }
}

fn failures(text: &mut String, report: &Report) {
    if report.failed == 0 {
        return;
    }
    text.push_str("\nWhat did not hold:\n\n");
    for part in report.parts.iter().filter(|part| !part.held()) {
        let _ = writeln!(text, "- {}", linked(part));
        for claim in part.claims.iter().filter(|claim| !claim.held) {
            let [expected, seen] = shown(claim);
            let _ = writeln!(text, "  - {}: expected {expected}, seen {seen}", cell(&claim.what));
        }
    }
}

fn contents(text: &mut String, report: &Report, with_commits: bool) {
    let (head, rule) = if with_commits { (" Commit |", "---|") } else { ("", "") };
    let _ = writeln!(text, "\n| Part | Claims that held |{head} Repeat it with |\n|---|---|{rule}---|");
    for part in &report.parts {
        let commit = match &part.made {
            _ if !with_commits => String::new(),
            Some(made) => format!(" {} |", cell(&made.sources.to_string())),
            None => " |".into(),
        };
        let _ = writeln!(text, "| {} | {} |{commit} {} |", linked(part), state(part), code(&part.command));
    }
}

/// The title of a part, as a link to its section if it has one.
fn linked(part: &Part) -> String {
    let title = heading(&part.title);
    if part.was_run() { format!("[{title}](#{})", anchor(&title)) } else { title }
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
    let _ = writeln!(text, "\n## {}\n", heading(&part.title));
    if let Some(summary) = beginning(&part.summary, &["; ", ". "]) {
        let _ = writeln!(text, "{}.\n", cell(summary.trim_end_matches('.')));
    }
    claims(text, &part.claims);
    if part.name == MACHINE {
        part.tables.iter().take(1).for_each(|versions| tables::words(text, versions));
    } else {
        part.tables.iter().for_each(|table| tables::table(text, table));
    }
    left_out(text, &part.left_out);
}

fn claims(text: &mut String, claims: &[Claim]) {
    if claims.is_empty() {
        return;
    }
    text.push_str("| Claim | Expected | Seen | |\n|---|---|---|---|\n");
    let (held, failed): (Vec<&Claim>, Vec<&Claim>) = claims.iter().partition(|claim| claim.held);
    // Those that failed are few, or nothing else matters.
    let count = failed.len() + held.len().min(MOST_CLAIMS.saturating_sub(failed.len()));
    for claim in failed.iter().chain(&held).take(count) {
        let [expected, seen] = shown(claim);
        let state = if claim.held { "held" } else { "**failed**" };
        let _ = writeln!(text, "| {} | {expected} | {seen} | {state} |", cell(&claim.what));
    }
    if count < claims.len() {
        let _ = writeln!(text, "\nAnd {} more, which held.", claims.len() - count);
    }
}

/// What was expected and seen, as far as it means something on any machine: a size beside its bound, or beside what it
/// was before, is a ratio, too.
fn shown(claim: &Claim) -> [String; 2] {
    if let Some(ratios) = beside_before(&claim.expected, &claim.seen) {
        return ratios;
    }
    let seen = beginning(&claim.seen, &[" (", "; ", ", "]).map(|seen| cell(&short(seen)));
    let share = || share_of_bound(&claim.expected, &claim.seen);
    let seen = seen.or_else(share).unwrap_or_else(|| "(of one machine)".into());
    [cell(&short(&claim.expected)), seen]
}

/// No cell is a page; the report has all of it.
fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn left_out(text: &mut String, left_out: &[String]) {
    if left_out.is_empty() {
        return;
    }
    text.push_str("\nLeft out:\n\n");
    for what in left_out.iter().take(MOST_LEFT_OUT) {
        let _ = writeln!(text, "- {}", cell(what));
    }
    if left_out.len() > MOST_LEFT_OUT {
        let _ = writeln!(text, "- and {} more, which the report names", left_out.len() - MOST_LEFT_OUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Made, Sources};

    fn claim(what: &str, expected: &str, seen: &str, held: bool) -> Claim {
        Claim { what: what.into(), expected: expected.into(), seen: seen.into(), held }
    }

    fn part(title: &str, claims: Vec<Claim>) -> Part {
        Part { title: title.into(), command: "cargo xtask bench".into(), claims, ..Part::default() }
    }

    fn made(commit: &str, clean: bool) -> Option<Made> {
        let sources = Sources { commit: Some(commit.into()), clean };
        Some(Made { release: true, full: true, sources })
    }

    #[test]
    fn the_document_says_what_held_and_how_to_repeat_it() {
        let calls = part(
            "Calls | more",
            vec![claim("fast", "", "3.1 ms", true), claim("a <b>", "1x", "1.2 times", false)],
        );
        let text =
            markdown(&Report::new(vec![calls, Part::not_run("x", "X", "c", "gone")]), "cargo xtask prove");
        assert!(text.contains("**1 of 3 claims held.**"), "{text}");
        assert!(text.contains("| [Calls more](#calls-more) | **1 of 2** | `cargo xtask bench` |"), "{text}");
        assert!(text.contains("\n## Calls more\n") && text.contains("| X | **not run** | `c` |"), "{text}");
        assert!(
            text.contains(
                "- [Calls more](#calls-more)\n  - a &lt;b>: expected 1x, seen 1.2 times\n- X\n  - "
            ),
            "{text}"
        );
        assert!(!text.contains("3.1 ms") && text.contains("| fast |  | (of one machine) | held |"), "{text}");
        assert!(text.contains("| a &lt;b> | 1x | 1.2 times | **failed** |"), "{text}");
    }

    #[test]
    fn of_benchmarks_the_ratios_are_shown() {
        let claims = vec![
            claim("p50", "at most 2.5x", "0.67x (55.1 us, baseline 82.2 us)", true),
            claim("calls/s", "at least 0.5x", "0.40x (12000/s, baseline 30000/s)", false),
            claim("memory", "at most 1.5 MiB", "1.20 MiB (private, with `hello` after load)", true),
            claim("flat", "at most 1500 KiB after 1000 KiB", "1100 KiB", true),
            claim("growth", "at most 512 KiB per 100,000 calls", "+12.80 KiB", true),
        ];
        let text = markdown(&Report::new(vec![part("Calls", claims)]), "x");
        for row in [
            "| p50 | at most 2.5x | 0.67x | held |",
            "| calls/s | at least 0.5x | 0.40x | **failed** |",
            "| memory | at most 1.5 MiB | 0.80 of the bound | held |",
            "| flat | at most 1.50x of what it was | 1.10x | held |",
            "| growth | at most 512 KiB per 100,000 calls | 0.03 of the bound | held |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
        assert!(!text.contains("12000") && !text.contains("55.1") && !text.contains("12.80"), "{text}");
    }

    #[test]
    fn parts_of_several_commits_are_named_as_such() {
        let of = |title: &str, made| Part { made, ..part(title, vec![claim("c", "", "1", true)]) };
        let one = Report::new(vec![of("A", made("0a1b", true)), of("B", made("0a1b", true))]);
        let text = markdown(&one, "x");
        assert!(text.contains("All of it is of commit `0a1b`, in the optimised build."), "{text}");
        assert!(text.contains("| Part | Claims that held | Repeat it with |\n|---|---|---|"), "{text}");
        let two = Report::new(vec![of("A", made("0a1b", true)), of("B", made("0a1b", false))]);
        let text = markdown(&two, "x");
        assert!(text.contains("at 2 states of the sources"), "{text}");
        assert!(text.contains("| [A](#a) | 1 of 1 | 0a1b | `cargo xtask bench` |"), "{text}");
        assert!(text.contains("| [B](#b) | 1 of 1 | 0a1b with changes | `cargo xtask bench` |"), "{text}");
    }

    #[test]
    fn a_summary_is_shown_up_to_its_first_time_and_long_lists_are_cut() {
        let many = vec![claim("c", "", &"x".repeat(MOST_CHARS + 1), true); MOST_CLAIMS + 5];
        let chaos = Part {
            summary: "5 calls, 2 faults; the longest took 9.2 s.".into(),
            left_out: vec!["bwrap: it is not installed".into(); MOST_LEFT_OUT + 2],
            ..part("Chaos", many)
        };
        let text = markdown(&Report::new(vec![chaos]), "x");
        assert!(text.contains("\n5 calls, 2 faults.\n") && !text.contains("9.2 s"), "{text}");
        assert!(text.contains(&format!("| {}… | held |", "x".repeat(MOST_CHARS))), "{text}");
        assert!(text.contains("And 5 more, which held.") && text.contains("- and 2 more"), "{text}");
    }
}
