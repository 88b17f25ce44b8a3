//! Takes the matches of one file.

use std::io;

use grep_matcher::Matcher as _;
use grep_regex::RegexMatcher;
use grep_searcher::{Searcher, Sink, SinkContext, SinkContextKind, SinkMatch};
use memchr::memchr;

use super::clip::{characters, clip};
use super::gather::{FileHits, Room};
use super::rank::{self, Class};
use super::{Keep, Plan};
use crate::limits::MAX_MATCH_LINES;

/// Memory of a match beside its text, about, in bytes. Also a part of what it takes in a result.
const HIT_BYTES: usize = 64;

/// A match, or with `multiline` a run of lines that hold some.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Number of its first line, from 1.
    pub(crate) line: u64,
    /// First character of the match in that line, from 1.
    pub(crate) column: u64,
    /// Its lines, without the last line end.
    pub(crate) text: String,
    /// Whether a line of it, or of the context, was cut.
    pub(crate) is_cut: bool,
    /// Lines before it that are not shown with another match.
    pub(crate) before: Vec<String>,
    /// Lines after it, up to the next match.
    pub(crate) after: Vec<String>,
    pub(crate) class: Class,
    /// Matches of the file after it, beyond the most that it may have.
    pub(crate) more: u64,
}

impl Hit {
    pub(super) fn bytes(&self) -> usize {
        let context = self.before.iter().chain(&self.after).map(|line| line.len() + HIT_BYTES / 4);
        HIT_BYTES + self.text.len() + context.sum::<usize>()
    }
}

/// Takes matches as they are found.
pub(super) struct Taker<'a> {
    plan: &'a Plan,
    matcher: &'a RegexMatcher,
    room: &'a mut Room,
    /// The whole file, if it is in memory and is text unless there is a NUL byte in it.
    whole: Option<&'a [u8]>,
    place: rank::Place,
    before: Vec<String>,
    before_is_cut: bool,
    /// Whether the lines that come belong to the last match.
    is_open: bool,
    /// Whether the last match is the last one that the file may have.
    is_full: bool,
    hits: Vec<Hit>,
    count: u64,
    pub(super) is_binary: bool,
}

impl<'a> Taker<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        matcher: &'a RegexMatcher,
        room: &'a mut Room,
        whole: Option<&'a [u8]>,
        path: &[u8],
    ) -> Self {
        Self {
            plan,
            matcher,
            room,
            whole,
            place: if plan.rank { rank::Place::of(path) } else { rank::Place::Any },
            before: Vec::new(),
            before_is_cut: false,
            is_open: false,
            is_full: false,
            hits: Vec::new(),
            count: 0,
            is_binary: false,
        }
    }

    /// What was found in the file.
    pub(super) fn finish(self, path: &[u8]) -> FileHits {
        let Self { mut hits, count, is_full, .. } = self;
        if is_full && let Some(last) = hits.last_mut() {
            last.more = count - self.plan.max_per_file;
        }
        FileHits { path: path.into(), count, hits }
    }

    fn hit(&mut self, found: &SinkMatch<'_>) -> Option<Hit> {
        let range = found.bytes_range_in_buffer();
        let lines = found.bytes();
        // Matches that find no room count too: how much room is left depends on other threads, and results must not.
        if self.count > self.plan.max_per_file || !self.room.has_any() {
            return None;
        }
        let first = &lines[..memchr(b'\n', lines).unwrap_or(lines.len())];
        // A match over several lines may need to see the line end; of a single line, it is no part.
        let upto = if self.plan.multiline { range.end } else { range.start + first.len() };
        let at = self.matcher.find_at(&found.buffer()[..upto], range.start).ok().flatten();
        let (start, end) = at.map_or((0, 0), |at| (at.start() - range.start, at.end() - range.start));
        let class = self.place.class(first, start.min(first.len())..end.min(first.len()));
        if !self.room.has(class) {
            return None;
        }
        let (text, is_cut) = text_of(lines, start);
        Some(Hit {
            line: found.line_number().unwrap_or(0),
            column: characters(&first[..start.min(first.len())]) + 1,
            text,
            is_cut: is_cut || self.before_is_cut,
            before: std::mem::take(&mut self.before),
            after: Vec::new(),
            class,
            more: 0,
        })
    }
}

/// The lines of a match.
fn text_of(lines: &[u8], at: usize) -> (String, bool) {
    let mut text = String::new();
    let mut is_cut = false;
    for (number, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number == MAX_MATCH_LINES {
            text.push_str("\n…");
            return (text, true);
        }
        if number > 0 {
            text.push('\n');
        }
        let (line, cut) = clip(line, if number == 0 { at } else { 0 });
        text.push_str(&line);
        is_cut |= cut;
    }
    (text, is_cut)
}

impl Sink for Taker<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.count == 0 && self.whole.is_some_and(|bytes| memchr(0, bytes).is_some()) {
            self.is_binary = true;
            return Ok(false);
        }
        self.count += 1;
        if self.plan.keep != Keep::Lines {
            return Ok(self.plan.keep == Keep::Count);
        }
        let hit = self.hit(found);
        self.is_open = hit.is_some();
        self.before.clear();
        self.before_is_cut = false;
        if let Some(hit) = hit {
            self.room.take(&hit);
            self.hits.push(hit);
            self.is_full = self.count == self.plan.max_per_file;
        }
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> Result<bool, io::Error> {
        let is_before = *line.kind() == SinkContextKind::Before;
        if is_before && self.room.has_any() {
            let (text, cut) = clip(line.bytes(), 0);
            self.before.push(text);
            self.before_is_cut |= cut;
        } else if !is_before
            && self.is_open
            && let Some(hit) = self.hits.last_mut()
        {
            let (text, cut) = clip(line.bytes(), 0);
            self.room.take_more(hit.class, text.len());
            hit.after.push(text);
            hit.is_cut |= cut;
        }
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, io::Error> {
        self.is_binary = true;
        Ok(false)
    }
}
