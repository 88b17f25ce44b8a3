//! `git log`, `git diff` and `git status`: summaries of what the program says.

use llmc_core::prelude::*;

use super::{Asked, diff, status};
use crate::answer::{Found, Show};
use crate::limits::{SHOWN_COMMITS, SHOWN_DIFF_LINES};
use crate::program::{self, Ran};

/// Options that ask `git log` for another form than a line for each commit.
const LOG_FORMS: &[&str] = &[
    "-p",
    "-u",
    "-L",
    "-z",
    "--patch",
    "--stat",
    "--shortstat",
    "--numstat",
    "--dirstat",
    "--summary",
    "--name-only",
    "--name-status",
    "--oneline",
    "--graph",
    "--format",
    "--pretty",
    "--raw",
    "--show-signature",
    "--help",
    "--cc",
];
/// The same of `git diff`.
const DIFF_FORMS: &[&str] = &[
    "-z",
    "--stat",
    "--shortstat",
    "--numstat",
    "--dirstat",
    "--summary",
    "--name-only",
    "--name-status",
    "--raw",
    "--check",
    "--word-diff",
    "--color-words",
    "--quiet",
    "--exit-code",
    "--help",
    "--binary",
    "-s",
    "--no-patch",
    "--color",
    "--output",
    "--ext-diff",
    "--graph",
];

pub(super) fn log(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    if asks_for(LOG_FORMS, arguments) {
        return Ok(None);
    }
    let ran = git(asked, &["log", "--no-color", "--date=short", "--format=%h %ad%x1f%an%x1f%s"], arguments)?;
    if ran.exit != 0 || ran.error.is_some() {
        return Ok(Some(Found::of_program("git log", ran, None)));
    }
    let (body, author) = commits(&ran.stdout);
    let mut found = Found::of_program("git log", ran, Some(body));
    found.header.commits = Some(found.body.lines().count() as u64);
    found.crumbs.extend(author.map(|author| format!("all by {author}")));
    found.show = Show::Lines(SHOWN_COMMITS);
    Ok(Some(found))
}

pub(super) fn diff(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    if asks_for(DIFF_FORMS, arguments) {
        return Ok(None);
    }
    let ran = git(asked, &["diff", "--no-color"], arguments)?;
    if ran.exit != 0 || ran.error.is_some() {
        return Ok(Some(Found::of_program("git diff", ran, None)));
    }
    let files = diff::files(&ran.stdout);
    let summary: String = files.iter().map(diff::File::line).collect();
    let hunks: String = files.iter().map(|file| file.text.as_str()).collect();
    let mut found = Found::of_program("git diff", ran, Some(format!("{summary}{hunks}")));
    found.header.files = Some(files.len() as u64);
    found.header.lines = Some(hunks.lines().count() as u64);
    found.show = Show::Lines(files.len() + SHOWN_DIFF_LINES);
    Ok(Some(found))
}

pub(super) fn status(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    if !arguments.is_empty() {
        return Ok(None);
    }
    let ran = git(asked, &["status", "--porcelain=v2", "--branch"], arguments)?;
    if ran.exit != 0 || ran.error.is_some() {
        return Ok(Some(Found::of_program("git status", ran, None)));
    }
    let (body, files) = status::summary(&ran.stdout);
    let mut found = Found::of_program("git status", ran, Some(body));
    found.header.files = Some(files);
    found.show = Show::All;
    Ok(Some(found))
}

/// A line for each commit, with its author unless all have the same one, who is told then.
fn commits(log: &str) -> (String, Option<String>) {
    let parts: Vec<Vec<&str>> = log.lines().map(|line| line.splitn(3, '\x1f').collect()).collect();
    let author = |parts: &Vec<&str>| parts.get(1).map(|author| (*author).to_owned());
    let first = parts.first().and_then(author);
    let only = first.filter(|first| parts.iter().all(|parts| parts.get(1) == Some(&first.as_str())));
    let line = |parts: &Vec<&str>| match (parts.as_slice(), &only) {
        ([when, _, about], Some(_)) => format!("{when} {about}\n"),
        ([when, author, about], None) => format!("{when} {author}: {about}\n"),
        (other, _) => format!("{}\n", other.join(" ")),
    };
    (parts.iter().map(line).collect(), only)
}

/// Whether an option asks for one of the forms, also with a value: `--format=%h`, `-U3` not among them.
fn asks_for(forms: &[&str], arguments: &[&str]) -> bool {
    let options = arguments.iter().take_while(|word| **word != "--");
    options.into_iter().any(|word| {
        forms.iter().any(|form| {
            let rest = word.strip_prefix(form);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || *form == "-L")
        })
    })
}

fn git(asked: &Asked<'_>, ours: &[&str], theirs: &[&str]) -> ToolResult<Ran> {
    let argv: Vec<String> = ["git"].iter().chain(ours).chain(theirs).map(|word| (*word).to_owned()).collect();
    program::run(asked, &argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_of_all_is_told_once() {
        let log = "a1 2026-01-02\x1fAda\x1fOne\nb2 2026-01-01\x1fAda\x1fTwo\n";
        assert_eq!(commits(log), ("a1 2026-01-02 One\nb2 2026-01-01 Two\n".into(), Some("Ada".into())));
        let both = commits(&log.replacen("Ada", "Bob", 1)).0;
        assert_eq!(both, "a1 2026-01-02 Bob: One\nb2 2026-01-01 Ada: Two\n");
        assert_eq!(commits(""), (String::new(), None));
    }

    #[test]
    fn other_forms_are_left_to_git() {
        for line in [&["--stat"][..], &["-3", "--format=%h"], &["-p"], &["-L1,3:a"]] {
            assert!(asks_for(LOG_FORMS, line), "{line:?}");
        }
        for line in
            [&[][..], &["-3"], &["--", "-p"], &["--author=x"], &["--since", "yesterday"], &["-S", "x"]]
        {
            assert!(!asks_for(LOG_FORMS, line), "{line:?}");
        }
    }
}
