//! The commands that are enriched, and the way of all others.

mod cat;
mod diff;
mod find;
mod git;
mod grep;
mod list;
mod pattern;
mod status;
mod tests_of;
mod words;

use llmc_core::code;
use llmc_core::prelude::*;

use crate::answer::Found;
use crate::place::Here;
use crate::program;
use crate::te_run::REFUSED;

/// A command, where it stands, and what it may use.
pub(crate) struct Asked<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) here: Here<'a>,
    pub(crate) argv: &'a [String],
    pub(crate) stdin: Option<&'a str>,
    pub(crate) timeout_ms: u64,
}

/// Answers a command; `None` where its arguments ask for more than the enriched form offers.
type Answers = fn(&Asked<'_>, &[&str]) -> ToolResult<Option<Found>>;

/// First words of a command, what answers it, and its exit code for "it went wrong".
const ENRICHED: &[(&[&str], Answers, i32)] = &[
    (&["grep"], grep::basic, 2),
    (&["egrep"], grep::extended, 2),
    (&["fgrep"], grep::fixed, 2),
    (&["rg"], grep::ripgrep, 2),
    (&["find"], find::answer, 1),
    (&["cat"], cat::answer, 1),
    (&["ls"], list::ls, 2),
    (&["tree"], list::tree, 2),
    (&["repo", "read"], cat::repo_read, 1),
    (&["git", "log"], git::log, REFUSED),
    (&["git", "diff"], git::diff, REFUSED),
    (&["git", "status"], git::status, REFUSED),
    (&["cargo", "test"], tests_of::cargo, REFUSED),
    (&["pytest"], tests_of::pytest, REFUSED),
    (&["python", "-m", "pytest"], tests_of::pytest, REFUSED),
    (&["python3", "-m", "pytest"], tests_of::pytest, REFUSED),
    (&["npm", "test"], tests_of::npm, REFUSED),
    (&["npm", "run", "test"], tests_of::npm, REFUSED),
];

/// Answers a command. `te run COMMAND` is the command without enrichment.
pub(crate) fn run(asked: &Asked<'_>) -> ToolResult<Found> {
    let words: Vec<&str> = asked.argv.iter().map(String::as_str).collect();
    if let Some(("run", rest)) = words.split_first().map(|(first, rest)| (*first, rest))
        && !rest.is_empty()
    {
        return pass(asked, &asked.argv[1..]);
    }
    // What comes from standard input only the program itself can read.
    let known = ENRICHED.iter().filter(|_| asked.stdin.is_none());
    for (first, answers, wrong) in known {
        let Some(arguments) = words.strip_prefix(*first) else { continue };
        return match answers(asked, arguments) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => pass(asked, asked.argv),
            Err(error) if error.code() == code::CANCELLED => Err(error),
            Err(error) => Ok(Found::failed(&first.join(" "), *wrong, error.message())),
        };
    }
    pass(asked, asked.argv)
}

/// Runs a command as it is.
fn pass(asked: &Asked<'_>, argv: &[String]) -> ToolResult<Found> {
    let name = argv.first().map_or("", String::as_str);
    Ok(Found::of_program(name, program::run(asked, argv)?, None))
}
