//! An answer without an index: reads the files, counts words, within a limited time.

use std::time::{Duration, Instant};

use llmc_core::{Context, Root};

use crate::files;
use crate::filter::{Filter, Wanted};
use crate::query::Query;
use crate::rank::Hit;
use crate::store::ChunkRow;

/// Lines around a match that are looked at together.
const WINDOW_LINES: usize = 20;
/// Matches that are kept.
const MAX_HITS: usize = 100;

/// What was found, and whether all files were looked at.
pub(crate) struct Grepped {
    pub(crate) hits: Vec<Hit>,
    pub(crate) complete: bool,
}

/// Looks for the words of a query in the files themselves.
pub(crate) fn grep(roots: &[Root], query: &Query, filter: &Filter, time: Duration, ctx: &Context) -> Grepped {
    let begun = Instant::now();
    let go_on = || begun.elapsed() < time && !ctx.cancelled();
    let needles = query.needles();
    // What kind of symbol a line defines is not known without an index.
    let by_symbol = filter.kinds.iter().any(|kind| matches!(kind, Wanted::Symbol(_)));
    let mut grepped = Grepped { hits: Vec::new(), complete: true };
    for root in roots {
        let Some(walked) = files::walk(root.dir, &mut files::Lists::default(), &go_on) else {
            grepped.complete = false;
            continue;
        };
        for file in walked.files {
            if !go_on() {
                grepped.complete = false;
                break;
            }
            let (is_test, language) = (files::is_test(&file.path), file.language.name());
            let is_wanted = by_symbol && filter.takes_path(&root.name, &file.path)
                || filter.takes_file(&root.name, &file.path, language, is_test);
            let text = if is_wanted { files::read_text(root.dir, &file.path).ok().flatten() } else { None };
            let Some((first_line, last_line, score)) =
                text.and_then(|text| best_window(&text, &file.path, &needles))
            else {
                continue;
            };
            let row = ChunkRow {
                id: 0,
                file: 0,
                root: root.name.clone(),
                path: file.path,
                language: language.to_owned(),
                is_test,
                first_line,
                last_line,
                symbol: None,
            };
            let score = if is_test && !query.wants_tests { score * 0.6 } else { score };
            grepped.hits.push(Hit { row, score, places: Vec::new(), boosts: Vec::new() });
        }
    }
    grepped.hits.sort_by(|one, other| {
        other.score.total_cmp(&one.score).then_with(|| one.row.path.cmp(&other.row.path))
    });
    grepped.hits.truncate(MAX_HITS);
    grepped
}

/// The lines with the most different needles in them.
fn best_window(text: &str, path: &str, needles: &[String]) -> Option<(u32, u32, f64)> {
    let text = text.to_lowercase();
    let lines: Vec<Vec<usize>> = text
        .lines()
        .map(|line| (0..needles.len()).filter(|index| line.contains(needles[*index].as_str())).collect())
        .collect();
    let in_path = needles.iter().filter(|needle| path.to_lowercase().contains(needle.as_str())).count();
    let mut best: Option<(usize, usize, f64)> = None;
    for (start, here) in lines.iter().enumerate().filter(|(_, here)| !here.is_empty()) {
        let end = (start + WINDOW_LINES).min(lines.len());
        let mut seen: Vec<usize> = lines[start..end].iter().flatten().copied().collect();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        let score = seen.len() as f64 * 10.0 + here.len() as f64 + (count.min(9) as f64) / 10.0;
        if best.is_none_or(|(.., before)| score > before) {
            best = Some((start, end, score));
        }
    }
    let line = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    best.map(|(start, end, score)| (line(start) + 1, line(end), score + 5.0 * in_path as f64))
}
