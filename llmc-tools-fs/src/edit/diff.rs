//! Unified diffs, with three lines of context. Lines end at line feeds only, as `patch(1)` has it.

use std::time::{Duration, Instant};

use memchr::memchr_iter;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use crate::limits::{MAX_DIFF_BYTES, MAX_DIFF_LINES};

/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// Time to look for the shortest diff; after that, a longer one will do.
const MAX_DIFF_TIME: Duration = Duration::from_millis(500);

/// The difference between two texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Diff {
    /// As a unified diff; empty if there is none.
    pub(crate) text: String,
    /// What is missing in it.
    pub(crate) note: Option<String>,
}

impl Diff {
    /// Compares two versions of the file that is called `name`.
    pub(crate) fn new(name: &str, before: &str, after: &str) -> Self {
        if before == after {
            return Self::default();
        }
        let Middle { before, after, skipped } = Middle::of(before, after);
        let before: Vec<&str> = before.split_inclusive('\n').take(MAX_DIFF_LINES + 1).collect();
        let after: Vec<&str> = after.split_inclusive('\n').take(MAX_DIFF_LINES + 1).collect();
        if before.len().max(after.len()) > MAX_DIFF_LINES {
            let note = format!(
                "diff left out: more than {MAX_DIFF_LINES} lines between the first change and the last"
            );
            return Self { text: String::new(), note: Some(note) };
        }
        let deadline = Some(Instant::now() + MAX_DIFF_TIME);
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, deadline);
        let mut writer = Writer { before: &before, after: &after, skipped, text: header(name), left_out: 0 };
        group_diff_ops(ops, CONTEXT_LINES).iter().for_each(|hunk| writer.hunk(hunk));
        let Writer { text, left_out, .. } = writer;
        let note = (left_out > 0).then(|| {
            format!("diff cut at {MAX_DIFF_BYTES} bytes: {left_out} more lines of it are not shown")
        });
        Self { text, note }
    }
}

fn header(name: &str) -> String {
    // A name with a line feed must not look like a hunk.
    let name: String = name
        .chars()
        .flat_map(|letter| {
            let escaped = letter.is_control().then(|| letter.escape_default());
            let plain = escaped.is_none().then_some(letter);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    format!("--- a/{name}\n+++ b/{name}\n")
}

/// The parts of two texts that differ, with some lines around.
struct Middle<'a> {
    before: &'a str,
    after: &'a str,
    /// Lines ahead of both.
    skipped: usize,
}

impl<'a> Middle<'a> {
    fn of(before: &'a str, after: &'a str) -> Self {
        let same = |(one, other): &(&u8, &u8)| one == other;
        let (one, other) = (before.as_bytes(), after.as_bytes());
        let first = one.iter().zip(other).take_while(same).count();
        let start = lines_back(one, first);
        let last = one[first..].iter().rev().zip(other[first..].iter().rev()).take_while(same).count();
        let tail = last - lines_on(&one[one.len() - last..]);
        Self {
            before: &before[start..before.len() - tail],
            after: &after[start..after.len() - tail],
            skipped: memchr_iter(b'\n', &one[..start]).count(),
        }
    }
}

/// The start of the line that is `CONTEXT_LINES` ahead of the one with `place` in it.
fn lines_back(text: &[u8], place: usize) -> usize {
    memchr_iter(b'\n', &text[..place]).rev().nth(CONTEXT_LINES).map_or(0, |feed| feed + 1)
}

/// The length of the first lines, the one begun already and `CONTEXT_LINES` more.
fn lines_on(text: &[u8]) -> usize {
    memchr_iter(b'\n', text).nth(CONTEXT_LINES).map_or(text.len(), |feed| feed + 1)
}

/// Writes hunks as long as they fit.
struct Writer<'a> {
    before: &'a [&'a str],
    after: &'a [&'a str],
    skipped: usize,
    text: String,
    left_out: usize,
}

impl Writer<'_> {
    fn hunk(&mut self, ops: &[DiffOp]) {
        let (Some(first), Some(last)) = (ops.first(), ops.last()) else { return };
        let before = self.range(first.old_range().start, last.old_range().end);
        let after = self.range(first.new_range().start, last.new_range().end);
        self.line(&format!("@@ -{before} +{after} @@\n"), "");
        for op in ops {
            if let DiffOp::Equal { .. } = op {
                self.lines(" ", &self.before[op.old_range()]);
            } else {
                self.lines("-", &self.before[op.old_range()]);
                self.lines("+", &self.after[op.new_range()]);
            }
        }
    }

    /// Number of the first line and of lines; of no lines, the number of the line ahead.
    fn range(&self, start: usize, end: usize) -> String {
        let first = self.skipped + start + usize::from(end > start);
        if end - start == 1 { first.to_string() } else { format!("{first},{}", end - start) }
    }

    fn lines(&mut self, sign: &str, lines: &[&str]) {
        lines.iter().for_each(|line| self.line(sign, line));
    }

    fn line(&mut self, sign: &str, line: &str) {
        if self.left_out > 0 || self.text.len() + sign.len() + line.len() > MAX_DIFF_BYTES {
            self.left_out += 1;
            return;
        }
        self.text.push_str(sign);
        self.text.push_str(line);
        if !self.text.ends_with('\n') {
            self.text.push_str("\n\\ No newline at end of file\n");
        }
    }
}
