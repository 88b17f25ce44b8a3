//! The engine of `edit_file`: bytes and edits in, bytes out. Pure, and its work is bounded by the size of the file
//! times the number of edits.
//!
//! The bytes are a text in UTF-8, or in UTF-16 behind a byte order mark, and stay in that encoding. Edits are applied
//! in order, each to what the one before left, all or none. A line feed in an edit stands for the end of a line in
//! either form; what is inserted gets the form that most lines of the file have.

mod closest;
mod diff;
mod document;
mod error;
mod find;
mod lenient;
mod lines;

use std::borrow::Cow;
use std::ops::Range;

use llmc_core::{ToolError, ToolResult, arguments};

pub(crate) use self::diff::Diff;
use self::document::Document;
pub(crate) use self::document::encode;
use self::error::EditError;
use self::lines::{Ending, View};
use crate::limits::{MAX_EDITS, MAX_WRITE_BYTES};

/// One replacement. Of this only `expected_count` is explained to models; names and the tool say the rest.
#[arguments]
#[derive(Clone, Debug, PartialEq, Eq)]
#[schemars(description = "")]
pub struct Edit {
    /// Exact text to replace.
    #[schemars(description = "")]
    pub old: String,
    /// What to put there.
    #[schemars(description = "")]
    pub new: String,
    /// How often `old` occurs.
    #[serde(default = "once")]
    #[schemars(range(min = 1))]
    pub expected_count: u32,
}

fn once() -> u32 {
    1
}

/// What edits made of a file.
#[derive(Debug)]
pub struct Edited {
    /// The text before, without a byte order mark.
    pub before: String,
    /// The text after.
    pub after: String,
    /// The file after, in its encoding.
    pub bytes: Vec<u8>,
    /// Number of places that were replaced.
    pub replacements: usize,
}

/// A place in a text and what to put there.
#[derive(Debug, PartialEq, Eq)]
struct Found<'a> {
    range: Range<usize>,
    new: Cow<'a, str>,
}

/// Applies edits to the bytes of a file. `check` is asked before each of them and stops the work by an error.
///
/// With `ignore_whitespace`, an edit matches whole lines by their words, and what replaces them is indented like them;
/// only if no line fits, it matches as it stands.
///
/// # Errors
/// If the bytes are no text, or an edit does not fit as often as it says; the message names the edit.
pub fn apply(
    bytes: Vec<u8>,
    edits: &[Edit],
    ignore_whitespace: bool,
    mut check: impl FnMut() -> ToolResult<()>,
) -> ToolResult<Edited> {
    if edits.is_empty() || edits.len() > MAX_EDITS {
        return Err(ToolError::invalid(format!("`edits` takes 1 to {MAX_EDITS} edits, not {}", edits.len())));
    }
    let Document { encoding, text: before } = Document::read(bytes)?;
    let ending = lines::most_common(&before);
    let mut after = before.clone();
    let mut replacements = 0;
    for (index, edit) in edits.iter().enumerate() {
        check()?;
        let (text, count) = apply_one(&after, ending, edit, ignore_whitespace)
            .map_err(|error| error.explain(edit, &before, &after).context(number(index, edits)))?;
        after = text;
        replacements += count;
    }
    let bytes = encode(encoding, &after);
    Ok(Edited { before, after, bytes, replacements })
}

fn number(index: usize, edits: &[Edit]) -> String {
    format!("nothing was changed: edit {} of {}", index + 1, edits.len())
}

/// Applies an edit; returns the new text and how many places were replaced.
fn apply_one(
    text: &str,
    ending: Option<Ending>,
    edit: &Edit,
    ignore_whitespace: bool,
) -> Result<(String, usize), EditError> {
    let (old, new) = (lines::plain(&edit.old), lines::plain(&edit.new));
    if old.is_empty() {
        return Err(EditError::EmptyOld);
    }
    if old == new {
        return Err(if edit.old == edit.new { EditError::Same } else { EditError::SameButEndings });
    }
    // A file without any line end has no form to keep.
    let new = if ending.is_some() { &new } else { edit.new.as_str() };
    let view = View::new(text);
    let found = find::find(&view.text, &old, new, edit.expected_count as usize, ignore_whitespace)?;
    check_size(text, &found)?;
    Ok((spliced(&view, &found, ending), found.len()))
}

/// The result must not be larger than what can be edited again; checked before it is made.
fn check_size(text: &str, found: &[Found<'_>]) -> Result<(), EditError> {
    let mut size = text.len();
    for Found { range, new } in found {
        size = (size + new.len()).saturating_sub(range.len());
    }
    if size > MAX_WRITE_BYTES { Err(EditError::TooLarge(size)) } else { Ok(()) }
}

/// The text with all places replaced.
fn spliced(view: &View<'_>, found: &[Found<'_>], ending: Option<Ending>) -> String {
    let mut result = String::with_capacity(view.raw.len());
    let mut copied = 0;
    for Found { range, new } in found {
        let raw = view.raw_range(range);
        result.push_str(&view.raw[copied..raw.start]);
        lines::push_with_endings(&mut result, &view.raw[raw.clone()], new, ending);
        copied = raw.end;
    }
    result.push_str(&view.raw[copied..]);
    result
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
