//! Line ends: matching them in either form, and keeping the form that a file has.
//!
//! A text is searched in a form where all lines end in a line feed, see [`View`]. What is put into it ends its lines
//! like most lines of the file; in a file of both forms, lines of a replaced part that stay keep what they have.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use memchr::{memchr_iter, memmem};

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Lf,
    CrLf,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// How most lines end; `None` if no line does.
pub(super) fn most_common(text: &str) -> Option<Ending> {
    let all = memchr_iter(b'\n', text.as_bytes()).count();
    let crlf = memmem::find_iter(text.as_bytes(), "\r\n").count();
    if all == 0 { None } else { Some(if crlf > all - crlf { Ending::CrLf } else { Ending::Lf }) }
}

/// The text with all lines ended by a line feed.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() }
}

/// A text as it is, and as it is searched.
pub(super) struct View<'a> {
    pub(super) raw: &'a str,
    /// Without the carriage returns before line feeds.
    pub(super) text: Cow<'a, str>,
    /// Places in `text` of the line feeds that lack theirs.
    bare: Vec<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(raw: &'a str) -> Self {
        let crlf = memmem::find_iter(raw.as_bytes(), "\r\n");
        let bare = crlf.enumerate().map(|(before, place)| place - before).collect();
        Self { raw, text: plain(raw), bare }
    }

    /// Where a part of `text` is in `raw`. A line end is inside or outside as a whole.
    pub(super) fn raw_range(&self, range: &Range<usize>) -> Range<usize> {
        let raw = |place: usize| place + self.bare.partition_point(|bare| *bare < place);
        raw(range.start)..raw(range.end)
    }
}

/// Appends `new`, which replaces `old` in a file whose lines end in `usual`.
pub(super) fn push_with_endings(result: &mut String, old: &str, new: &str, usual: Option<Ending>) {
    let Some(usual) = usual else { return result.push_str(new) };
    let mut lines = new.split('\n');
    result.push_str(lines.next().unwrap_or_default());
    for (ending, line) in endings(old, new, usual).into_iter().zip(lines) {
        result.push_str(ending.text());
        result.push_str(line);
    }
}

/// An ending for every line feed in `new`: that of the same line in `old`, or the usual one.
fn endings(old: &str, new: &str, usual: Ending) -> Vec<Ending> {
    let mut old = ended_lines(old);
    let mut new: Vec<&str> = new.split('\n').collect();
    new.pop(); // what follows the last line feed
    if old.iter().all(|(_, ending)| *ending == usual) {
        return vec![usual; new.len()];
    }
    let same = |pair: &(&(&str, Ending), &&str)| pair.0.0 == *pair.1;
    let first = old.iter().zip(&new).take_while(same).count();
    let last = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(same).count();
    let kept = old.split_off(old.len() - last);
    let mut between: HashMap<&str, VecDeque<Ending>> = HashMap::new();
    for (line, ending) in old.drain(first..) {
        between.entry(line).or_default().push_back(ending);
    }
    let mut endings: Vec<Ending> = old.into_iter().map(|(_, ending)| ending).collect();
    for line in &new[first..new.len() - last] {
        endings.push(between.get_mut(*line).and_then(VecDeque::pop_front).unwrap_or(usual));
    }
    endings.extend(kept.into_iter().map(|(_, ending)| ending));
    endings
}

/// Lines and how they end; what follows the last line feed is none.
fn ended_lines(text: &str) -> Vec<(&str, Ending)> {
    let split = |line: &'_ str| -> Option<(usize, Ending)> {
        let line = line.strip_suffix('\n')?;
        Some(line.strip_suffix('\r').map_or((line.len(), Ending::Lf), |line| (line.len(), Ending::CrLf)))
    };
    let lines = text.split_inclusive('\n');
    lines.filter_map(|line| split(line).map(|(length, ending)| (&line[..length], ending))).collect()
}
