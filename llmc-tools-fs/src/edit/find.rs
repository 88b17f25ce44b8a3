//! Finding what an edit is about, as it stands.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem::Finder;

use super::Found;
use super::error::EditError;
use super::lenient::Lenient;
use crate::limits::MAX_REPLACEMENTS;

/// Finds all places of `old`, which must be as many as expected: whole lines, if whitespace is ignored and lines are
/// found, or else the text as it stands.
pub(super) fn find<'a>(
    text: &str,
    old: &str,
    new: &'a str,
    expected: usize,
    ignore_whitespace: bool,
) -> Result<Vec<Found<'a>>, EditError> {
    if ignore_whitespace && let Some(lenient) = Lenient::new(old, new) {
        let ranges = lenient.find(text)?;
        if Places::of(&ranges).are_expected(expected) {
            return lenient.found(text, ranges);
        }
        if !ranges.is_empty() {
            return Err(Places::of(&ranges).unexpected(text, expected));
        }
    }
    let exact = Places::find(text, old);
    if !exact.are_expected(expected) {
        return Err(exact.unexpected(text, expected));
    }
    let found = |start: usize| Found { range: start..start + old.len(), new: Cow::Borrowed(new) };
    Ok(exact.starts.into_iter().map(found).collect())
}

/// Where something was found.
struct Places {
    count: usize,
    /// The first of them in order, none within another.
    starts: Vec<usize>,
    /// Whether it also begins within one of them, so that it is not clear which are meant.
    overlap: bool,
}

impl Places {
    fn find(text: &str, old: &str) -> Self {
        let finder = Finder::new(old);
        let text = text.as_bytes();
        let begins_within = |start: usize| {
            let end = text.len().min(start + 2 * old.len() - 1);
            finder.find(&text[start + 1..end]).is_some_and(|next| next + 1 < old.len())
        };
        let mut places = Self { count: 0, starts: Vec::new(), overlap: false };
        for start in finder.find_iter(text) {
            places.count += 1;
            places.overlap = places.overlap || begins_within(start);
            if places.count <= MAX_REPLACEMENTS {
                places.starts.push(start);
            }
        }
        places
    }

    fn of(ranges: &[Range<usize>]) -> Self {
        let starts: Vec<usize> = ranges.iter().map(|range| range.start).collect();
        let overlap = ranges.windows(2).any(|pair| pair[1].start < pair[0].end);
        Self { count: starts.len(), starts, overlap }
    }

    fn are_expected(&self, expected: usize) -> bool {
        self.count == expected && self.starts.len() == expected && !self.overlap
    }

    fn unexpected(&self, text: &str, expected: usize) -> EditError {
        let Self { count: actual, overlap, .. } = *self;
        if actual == 0 {
            EditError::NotFound
        } else if actual > MAX_REPLACEMENTS {
            EditError::TooMany(actual)
        } else {
            EditError::Count { actual, expected, overlap, lines: line_numbers(text, &self.starts) }
        }
    }
}

/// Places that an error names.
const MAX_NAMED_LINES: usize = 10;

/// The numbers of the lines that the first places are in.
pub(super) fn line_numbers(text: &str, starts: &[usize]) -> Vec<usize> {
    let (mut line, mut counted) = (1, 0);
    let number = |start: &usize| {
        line += memchr::memchr_iter(b'\n', &text.as_bytes()[counted..*start]).count();
        counted = *start;
        line
    };
    starts.iter().take(MAX_NAMED_LINES).map(number).collect()
}
