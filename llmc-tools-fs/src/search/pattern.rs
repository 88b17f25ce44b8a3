//! From the text of a pattern to something that matches.

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use llmc_core::{ToolError, ToolResult};
use regex_syntax::ast::Span;
use regex_syntax::hir::{Hir, HirKind};

use crate::limits::{
    MAX_LIGHT_STEPS, MAX_MULTILINE_BYTES, MAX_PATTERN_BYTES, MAX_REGEX_BYTES, MAX_REGEX_CACHE_BYTES,
    MAX_REGEX_DEPTH, MAX_REGEX_STEPS, MAX_SEARCH_LINE_BYTES, MAX_SLOW_LINE_BYTES, MAX_SLOW_MULTILINE_BYTES,
};

/// A pattern and how it is meant.
pub(crate) struct Pattern<'a> {
    pub(crate) text: &'a str,
    /// Plain text, not a regular expression.
    pub(crate) literal: bool,
    pub(crate) ignore_case: bool,
    /// Only whole words.
    pub(crate) word: bool,
    /// Matches may run over several lines.
    pub(crate) multiline: bool,
}

/// How much is searched at a time. Nothing can stop a regular expression on its way through a piece of text, so for
/// one that may be slow the pieces are small: a call that is cancelled shall end soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Larger files are read in pieces of this size.
    pub(crate) bytes: usize,
    /// Longest line.
    pub(crate) line_bytes: usize,
    /// Largest file in which matches may run over several lines.
    pub(crate) multiline_bytes: usize,
}

const QUICK: Pieces =
    Pieces { bytes: 256 * 1024, line_bytes: MAX_SEARCH_LINE_BYTES, multiline_bytes: MAX_MULTILINE_BYTES };
const SLOW: Pieces =
    Pieces { bytes: 16 * 1024, line_bytes: MAX_SLOW_LINE_BYTES, multiline_bytes: MAX_SLOW_MULTILINE_BYTES };

/// Makes a matcher. Its time is linear in what is searched, and its memory is bounded.
pub(crate) fn compile(pattern: &Pattern<'_>) -> ToolResult<(RegexMatcher, Pieces)> {
    let steps = check(pattern)?;
    let pieces = if steps > MAX_LIGHT_STEPS { SLOW } else { QUICK };
    let mut builder = RegexMatcherBuilder::new();
    builder
        .fixed_strings(pattern.literal)
        .case_insensitive(pattern.ignore_case)
        .word(pattern.word)
        // `^` and `$` are about lines, also about those that end with a carriage return.
        .multi_line(true)
        .crlf(true)
        .ban_byte(Some(0))
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_CACHE_BYTES)
        .nest_limit(MAX_REGEX_DEPTH);
    if pattern.multiline {
        builder.line_terminator(None);
    }
    let matcher = builder.build(pattern.text).map_err(|error| {
        let advice = match error.kind() {
            grep_regex::ErrorKind::NotAllowed(_) => {
                "; with `multiline`, matches may run over line ends".to_owned()
            }
            grep_regex::ErrorKind::Banned(_) => "; files with NUL bytes are not searched".to_owned(),
            _ => String::new(),
        };
        ToolError::invalid(format!("cannot use `pattern`: {error}{advice}"))
    })?;
    Ok((matcher, pieces))
}

/// Finds what is wrong with a pattern; else tells its steps.
fn check(pattern: &Pattern<'_>) -> ToolResult<u64> {
    let Pattern { text, literal, multiline, .. } = *pattern;
    if text.is_empty() {
        return Err(ToolError::invalid("`pattern` is empty; `find_files` lists files"));
    }
    if text.len() > MAX_PATTERN_BYTES {
        return Err(ToolError::invalid(format!("`pattern` is longer than {MAX_PATTERN_BYTES} bytes")));
    }
    if text.contains('\n') && !multiline {
        return Err(ToolError::invalid(
            "`pattern` contains a line feed; set `multiline` to match over line ends",
        ));
    }
    if literal {
        return Ok(1);
    }
    // The matcher would tell of errors too, but not where they are in what was asked.
    let parser =
        regex_syntax::ParserBuilder::new().utf8(false).nest_limit(MAX_REGEX_DEPTH).build().parse(text);
    match parser.map(|regex| steps(&regex)) {
        Ok(steps) if steps <= MAX_REGEX_STEPS => Ok(steps),
        Ok(steps) => Err(ToolError::invalid(format!(
            "`pattern` is too large: its counts come to {steps} steps, {MAX_REGEX_STEPS} at most; use `*` or `+`"
        ))),
        Err(regex_syntax::Error::Parse(error)) => Err(wrong(text, error.kind(), error.span())),
        Err(regex_syntax::Error::Translate(error)) => Err(wrong(text, error.kind(), error.span())),
        Err(error) => Err(ToolError::invalid(format!("`pattern` is not a regular expression: {error}"))),
    }
}

/// How many places of a regular expression can be alive at a time, at most: what a byte costs at worst.
fn steps(regex: &Hir) -> u64 {
    match regex.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(_) | HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let count = repetition.max.unwrap_or(repetition.min).max(1);
            steps(&repetition.sub).saturating_mul(count.into())
        }
        HirKind::Capture(group) => steps(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(steps).fold(0, u64::saturating_add)
        }
    }
}

/// Names the place by what stands there.
fn wrong(pattern: &str, what: impl std::fmt::Display, span: &Span) -> ToolError {
    let (before, rest) = pattern.split_at(span.start.offset.min(pattern.len()));
    let character = before.chars().count() + 1;
    let shown: String = rest.chars().take(20).collect();
    let place =
        if shown.is_empty() { "the end".to_owned() } else { format!("`{shown}`, character {character}") };
    ToolError::invalid(format!(
        "`pattern` is not a regular expression: {what}, at {place}; set `literal` to search for it as plain text"
    ))
}
