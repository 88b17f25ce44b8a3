//! Why an edit does not fit, in words that help to make it fit.

use llmc_core::ToolError;

use super::lenient::Lenient;
use super::{Edit, closest, find, lines};
use crate::limits::{MAX_REPLACEMENTS, MAX_WRITE_BYTES};

/// Shortest `new` that is worth mentioning when it is in the file already, in bytes.
const MIN_TELLING_BYTES: usize = 8;

/// Why an edit does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    #[error("`old` is empty; to add text, give the text beside it as `old` and repeat that in `new`")]
    EmptyOld,
    #[error("`old` and `new` are the same")]
    Same,
    #[error(
        "`old` and `new` differ only in how lines end, which `edit_file` keeps; `write_file` can change it"
    )]
    SameButEndings,
    #[error("too many lines nearly fit; leave out `ignore_whitespace` and give `old` exactly")]
    TooRepetitive,
    #[error("the file would have {0} bytes; at most {MAX_WRITE_BYTES} can be edited")]
    TooLarge(usize),
    #[error("`old` occurs {}, not {}; {}", times(*.actual), times(*.expected), advice(*.actual, .lines, *.overlap))]
    Count { actual: usize, expected: usize, lines: Vec<usize>, overlap: bool },
    #[error("`old` occurs {0} times; at most {MAX_REPLACEMENTS} places are replaced at once")]
    TooMany(usize),
    #[error("`old` is not in the file")]
    NotFound,
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn advice(actual: usize, lines: &[usize], overlap: bool) -> String {
    let numbers: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let more = if actual > lines.len() { ", ..." } else { "" };
    let lines = if actual == 1 { "line" } else { "lines" };
    let numbers = format!("{lines} {}{more}", numbers.join(", "));
    if overlap {
        return format!("places overlap ({numbers}): add the text around the one that is meant");
    }
    format!("{numbers}: add the text around the one that is meant, or set `expected_count` {actual}")
}

impl EditError {
    /// The error that the caller of a tool reads. `before` is the text before all edits, `now` before this one.
    pub(super) fn explain(self, edit: &Edit, before: &str, now: &str) -> ToolError {
        let text = self.to_string();
        match self {
            Self::EmptyOld | Self::Same | Self::SameButEndings => ToolError::invalid(text),
            Self::NotFound => ToolError::failed(text + &hints(edit, before, now)),
            _ => ToolError::failed(text),
        }
    }
}

/// What may have gone wrong when `old` is not there.
fn hints(edit: &Edit, before: &str, now: &str) -> String {
    let (old, new) = (lines::plain(&edit.old), lines::plain(&edit.new));
    let (before, now) = (lines::plain(before), lines::plain(now));
    let mut hints = String::new();
    if before.contains(&*old) {
        hints.push_str("; it was before the edits ahead of this one");
    }
    if new.len() >= MIN_TELLING_BYTES
        && let Some(place) = now.find(&*new)
    {
        let line = find::line_numbers(&now, &[place])[0];
        hints.push_str(&format!("; `new` is, at line {line}: maybe this edit was made already"));
    }
    let lenient = Lenient::new(&old, &new).and_then(|lenient| lenient.find(&now).ok());
    if let Some(first) = lenient.as_ref().and_then(|places| places.first()) {
        let line = find::line_numbers(&now, &[first.start])[0];
        hints.push_str(&format!("; but for whitespace it is, at line {line}: see `ignore_whitespace`"));
    }
    if let Some(closest) = closest::closest(&now, &old) {
        hints.push_str(&format!("; the closest place:\n{closest}"));
    }
    hints
}
