//! The place in a text that is most like something that is not in it.
//!
//! Cheap on purpose: lines of `old` that occur as they are, but for their indentation, vote for where `old` would
//! begin. If none does, the line most like the longest one of `old`, by pairs of bytes, decides. One pass over the
//! text each.

use std::collections::HashMap;
use std::fmt;

use crate::limits::{MAX_SHOWN_LINE_BYTES, MAX_SHOWN_LINES};

/// Votes that are counted; a text of many equal lines has more.
const MAX_VOTES: usize = 100_000;
/// Places of a line in `old` that vote.
const MAX_PLACES: usize = 8;
/// Least likeness, in percent, that is worth showing.
const MIN_LIKENESS: usize = 50;

/// Lines of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closest {
    /// Number of the first line, from 1.
    first: usize,
    lines: Vec<String>,
}

/// Finds the place, if there is one that is worth showing.
pub(super) fn closest(text: &str, old: &str) -> Option<Closest> {
    let start = by_same_lines(text, old).or_else(|| by_longest_line(text, old))?;
    let count = old.lines().count().clamp(1, MAX_SHOWN_LINES);
    let lines: Vec<String> = text.lines().skip(start).take(count).map(cut).collect();
    Some(Closest { first: start + 1, lines })
}

/// The line, from 0, where most lines of `old` are in their place.
fn by_same_lines(text: &str, old: &str) -> Option<usize> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, line) in old.lines().enumerate() {
        let line = line.trim();
        if line.chars().any(char::is_alphanumeric) {
            places.entry(line).or_default().push(index);
        }
    }
    places.retain(|_, places| places.len() <= MAX_PLACES);
    let mut votes: HashMap<usize, usize> = HashMap::new();
    let mut counted = 0;
    for (index, line) in text.lines().enumerate() {
        let Some(places) = places.get(line.trim()) else { continue };
        for place in places {
            *votes.entry(index.saturating_sub(*place)).or_default() += line.trim().len().min(80);
            counted += 1;
        }
        if counted > MAX_VOTES {
            break;
        }
    }
    votes.into_iter().max_by_key(|(start, votes)| (*votes, std::cmp::Reverse(*start))).map(|(start, _)| start)
}

/// The line, from 0, where `old` would begin if its longest line were the one most like it.
fn by_longest_line(text: &str, old: &str) -> Option<usize> {
    let (place, longest) = old.lines().map(str::trim).enumerate().max_by_key(|(_, line)| line.len())?;
    let mut pairs = Pairs::of(longest);
    let likeness = text.lines().enumerate().map(|(index, line)| (pairs.likeness(line), index));
    let (likeness, index) =
        likeness.max_by_key(|(likeness, index)| (*likeness, std::cmp::Reverse(*index)))?;
    (likeness >= MIN_LIKENESS).then(|| index.saturating_sub(place))
}

/// How often each pair of neighbouring bytes is in a line.
struct Pairs {
    counts: Box<[u16]>,
    total: usize,
    taken: Vec<usize>,
}

impl Pairs {
    fn of(line: &str) -> Self {
        let mut counts = vec![0; 1 << 16].into_boxed_slice();
        let mut total = 0;
        for pair in pairs(line) {
            counts[pair] += 1;
            total += 1;
        }
        Self { counts, total, taken: Vec::new() }
    }

    /// Pairs in common, in percent of all pairs (the Sørensen-Dice coefficient).
    fn likeness(&mut self, line: &str) -> usize {
        let mut others = 0;
        for pair in pairs(line) {
            others += 1;
            if self.counts[pair] > 0 {
                self.counts[pair] -= 1;
                self.taken.push(pair);
            }
        }
        let common = self.taken.len();
        self.taken.drain(..).for_each(|pair| self.counts[pair] += 1);
        (200 * common).checked_div(self.total + others).unwrap_or_default()
    }
}

fn pairs(line: &str) -> impl Iterator<Item = usize> {
    let line = line.trim().as_bytes();
    let line = &line[..line.len().min(MAX_SHOWN_LINE_BYTES)];
    line.windows(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]))
}

/// As much of a line as is shown.
fn cut(line: &str) -> String {
    if line.len() <= MAX_SHOWN_LINE_BYTES {
        return line.to_owned();
    }
    format!("{}…", &line[..line.floor_char_boundary(MAX_SHOWN_LINE_BYTES)])
}

impl fmt::Display for Closest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines.iter().enumerate() {
            let feed = if index == 0 { "" } else { "\n" };
            write!(f, "{feed}{} | {line}", self.first + index)?;
        }
        Ok(())
    }
}
