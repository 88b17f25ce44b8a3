//! Searches the contents of files: what `search_files` rests on.
//!
//! A walk finds the files first; then several threads search them, a few at a time and in the order of their paths.
//! Results are put together in that order too, so a limit always gives the first results, whatever the threads did.
//! Once the limit is reached, matches are still counted, up to [`MAX_COUNTED_MATCHES`](crate::limits::MAX_COUNTED_MATCHES): below that the total is exact.
//!
//! Files are read, never mapped: somebody may cut them meanwhile, and reading beyond the end of a map kills.

mod clip;
mod filter;
mod gather;
mod pattern;
mod rank;
mod scan;
mod sink;

use grep_regex::RegexMatcher;
use llmc_core::{Context, ToolResult};

pub(crate) use self::filter::Filter;
pub(crate) use self::gather::{Summary, Tally};
pub(crate) use self::pattern::{Pattern, Pieces, compile};
pub(crate) use self::rank::Class;
pub(crate) use self::sink::Hit;

use self::gather::Batch;
use self::scan::Scanner;
use crate::path::Place;
use crate::root;
use crate::walk::{self, Options, Start};

/// Files that a thread takes at a time.
const BATCH_FILES: usize = 16;

/// What to look for, and how much of it to keep.
pub(crate) struct Plan {
    pub(crate) matcher: RegexMatcher,
    pub(crate) pieces: Pieces,
    /// Whether a match may run over several lines.
    pub(crate) multiline: bool,
    /// What to keep of a file.
    pub(crate) keep: Keep,
    /// Lines to keep before and after a match.
    pub(crate) context: usize,
    pub(crate) max_per_file: u64,
    /// Matches to keep, or files.
    pub(crate) limit: usize,
    /// Whether definitions come first and tests last.
    pub(crate) rank: bool,
}

/// What to keep of a file that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its matches.
    Lines,
    /// Its name. It is not read further than to the first match.
    Name,
    /// The number of its matches.
    Count,
}

/// Searches all files below a directory.
pub(crate) fn search_below(
    start: &Start,
    options: Options,
    filter: &Filter,
    plan: &Plan,
    ctx: &Context,
) -> ToolResult<Summary> {
    let found = walk::walk(start, options, filter, ctx)?;
    let mut files = Vec::new();
    found.each(|dir, entry| {
        if entry.note.is_some() {
            files.push((dir, entry));
        }
    });
    let mut summary = Summary::new(plan, found.gaps, files.len());
    let tally = Tally::default();
    walk::in_order(
        files.len().div_ceil(BATCH_FILES),
        || (Scanner::new(plan, ctx), Vec::new()),
        |(scanner, path), number| {
            let mut batch = Batch::new(plan, &tally);
            for (dir, entry) in files.iter().skip(number * BATCH_FILES).take(BATCH_FILES) {
                dir.path_of(entry, path);
                scanner.search(start.dir(), path, &mut batch)?;
            }
            Ok(batch)
        },
        |batch| summary.add(batch, &tally),
    )?;
    Ok(summary)
}

/// Searches one file.
pub(crate) fn search_file(place: &Place<'_>, plan: &Plan, ctx: &Context) -> ToolResult<Summary> {
    let (file, size) = root::open_file(place)?;
    let tally = Tally::default();
    let mut batch = Batch::new(plan, &tally);
    Scanner::new(plan, ctx).search_open(&file, size, b"", &mut batch)?;
    let mut summary = Summary::new(plan, walk::Gaps::default(), 1);
    summary.add(batch, &tally);
    Ok(summary)
}
