//! Finding lines whatever their whitespace, and indenting what replaces them.
//!
//! `old` stands for whole lines here; a line fits if it has the same words, and a blank line fits a blank one. A line
//! feed at the end of `old` or `new` makes no difference, and an empty `new` deletes the lines. Of the replacement:
//! - a line that `old` has too, letter by letter, stays as it is in the file;
//! - another one is indented like the line of the file that stands in its place, plus or minus what it is indented
//!   more or less than the line of `old` there;
//! - inner and trailing whitespace is as given.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::Found;
use super::error::EditError;
use crate::limits::{MAX_REPLACEMENTS, MAX_WRITE_BYTES};

/// Bytes of lines that are compared for one edit: a text can be made so that all lines nearly fit everywhere.
const MAX_COMPARED_BYTES: usize = 64 * 1024 * 1024;
/// What comparing a line costs apart from its length, in bytes.
const LINE_COST_BYTES: usize = 8;
/// Time to find which lines of `old` and `new` are the same; without an answer, none of the rest is.
const MAX_ALIGN_TIME: Duration = Duration::from_millis(500);

/// An edit by lines.
pub(super) struct Lenient<'a> {
    old: Vec<&'a str>,
    new: Vec<&'a str>,
    /// From `old` to `new`.
    ops: Vec<DiffOp>,
    /// The first line of `old` with an indentation.
    by_indent: HashMap<&'a str, usize>,
    /// For each line of `old` the nearest one that is not blank: before it, or else the first.
    text_lines: Vec<usize>,
}

impl<'a> Lenient<'a> {
    /// `None` if there is nothing in `old` but whitespace.
    pub(super) fn new(old: &'a str, new: &'a str) -> Option<Self> {
        let old = lines_of(old);
        let new = if new.is_empty() { Vec::new() } else { lines_of(new) };
        let is_text = |line: &&str| !line.trim().is_empty();
        let mut last = old.iter().position(is_text)?;
        let mut text_lines = Vec::with_capacity(old.len());
        let mut by_indent = HashMap::new();
        for (index, line) in old.iter().enumerate() {
            if is_text(line) {
                last = index;
                by_indent.entry(indent(line)).or_insert(index);
            }
            text_lines.push(last);
        }
        let deadline = Some(Instant::now() + MAX_ALIGN_TIME);
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
        Some(Self { old, new, ops, by_indent, text_lines })
    }

    /// Finds all places where the lines of `old` fit, also such as begin within others; without the last line end.
    pub(super) fn find(&self, text: &str) -> Result<Vec<Range<usize>>, EditError> {
        let words: Vec<Vec<&str>> = self.old.iter().map(|line| line.split_whitespace().collect()).collect();
        let mut found = Vec::new();
        let (mut start, mut left_bytes) = (0, MAX_COMPARED_BYTES);
        while start < text.len() {
            if let Some(length) = fit(&text[start..], &words, &mut left_bytes) {
                found.push(start..start + length);
            }
            if left_bytes == 0 || found.len() > MAX_REPLACEMENTS {
                return Err(EditError::TooRepetitive);
            }
            start = text[start..].find('\n').map_or(text.len(), |end| start + end + 1);
        }
        Ok(found)
    }

    /// What to put into the places.
    pub(super) fn found(
        &self,
        text: &str,
        places: Vec<Range<usize>>,
    ) -> Result<Vec<Found<'static>>, EditError> {
        let least_bytes: usize = self.new.iter().map(|line| line.trim().len()).sum();
        if places.len().saturating_mul(least_bytes) > MAX_WRITE_BYTES {
            return Err(EditError::TooLarge(places.len().saturating_mul(least_bytes)));
        }
        let found = |mut range: Range<usize>| {
            let new = self.replacement(&text[range.clone()]);
            if self.new.is_empty() && text[range.end..].starts_with('\n') {
                range.end += 1;
            }
            Found { range, new: Cow::Owned(new) }
        };
        Ok(places.into_iter().map(found).collect())
    }

    /// What to put in place of these lines of the file.
    fn replacement(&self, file: &str) -> String {
        let file: Vec<&str> = file.split('\n').collect();
        let mut lines: Vec<Cow<'_, str>> = Vec::with_capacity(self.new.len());
        for op in &self.ops {
            match *op {
                DiffOp::Equal { old_index, len, .. } => {
                    lines.extend(file[old_index..old_index + len].iter().map(|line| Cow::Borrowed(*line)));
                }
                DiffOp::Delete { .. } => {}
                DiffOp::Insert { old_index, new_index, new_len } => {
                    let beside = old_index.saturating_sub(1);
                    let indented = |index| self.indented(self.new[new_index + index], beside, &file);
                    lines.extend((0..new_len).map(indented));
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    let beside = |index: usize| old_index + index.min(old_len - 1);
                    let indented = |index| self.indented(self.new[new_index + index], beside(index), &file);
                    lines.extend((0..new_len).map(indented));
                }
            }
        }
        lines.join("\n")
    }

    /// A new line, indented like its neighbour `beside` in the file.
    fn indented<'l>(&self, line: &'l str, beside: usize, file: &[&str]) -> Cow<'l, str> {
        let given = indent(line);
        let content = &line[given.len()..];
        if content.is_empty() {
            return line.into();
        }
        let beside = self.text_lines[beside];
        let (old, there) = (indent(self.old[beside]), indent(file[beside]));
        if given == old {
            return format!("{there}{content}").into();
        }
        if let Some(alike) = self.by_indent.get(given) {
            return format!("{}{content}", indent(file[*alike])).into();
        }
        if let Some(more) = given.strip_prefix(old) {
            return format!("{there}{more}{content}").into();
        }
        let less = old.chars().count().saturating_sub(given.chars().count());
        let kept = there.chars().count().saturating_sub(less);
        there.chars().take(kept).chain(content.chars()).collect()
    }
}

/// The length of the lines that a text begins with, if they have these words.
fn fit(text: &str, words: &[Vec<&str>], left_bytes: &mut usize) -> Option<usize> {
    let mut end = 0;
    for (index, words) in words.iter().enumerate() {
        if index > 0 {
            text[end..].strip_prefix('\n')?;
            end += 1;
        }
        // A line feed at the end of the text begins no line.
        let rest = Some(&text[end..]).filter(|rest| !rest.is_empty())?;
        let line = rest.split('\n').next().unwrap_or(rest);
        *left_bytes = left_bytes.saturating_sub(line.len() + LINE_COST_BYTES);
        if *left_bytes == 0 || !line.split_whitespace().eq(words.iter().copied()) {
            return None;
        }
        end += line.len();
    }
    Some(end)
}

fn lines_of(text: &str) -> Vec<&str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n').collect()
}

/// The whitespace that a line begins with.
fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}
