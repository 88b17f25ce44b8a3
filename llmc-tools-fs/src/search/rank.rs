//! Definitions before uses, tests last.
//!
//! A line defines a symbol if it looks like that in one of the usual languages; nothing is parsed, so some lines are
//! misjudged: a definition that runs over several lines, say, or one made by a macro. Pure.

use std::ops::Range;

use llmc_core::output;

/// Languages put the defined name at the beginning of a line.
const MAX_LOOK_BYTES: usize = 500;

/// Words that stand directly before the name that they define.
const DEFINING: &[&str] = &[
    "class",
    "const",
    "constructor",
    "def",
    "defmacro",
    "defmodule",
    "defp",
    "defprotocol",
    "define",
    "enum",
    "extension",
    "fn",
    "fun",
    "func",
    "function",
    "interface",
    "macro",
    "macro_rules",
    "mod",
    "module",
    "namespace",
    "object",
    "package",
    "proc",
    "protocol",
    "record",
    "struct",
    "sub",
    "trait",
    "type",
    "typealias",
    "union",
];
/// The same, where local variables are not meant: only at the beginning of a line.
const DEFINING_AT_TOP: &[&str] = &["let", "val", "var"];
/// Modifying words that may also stand between a defining one and another, or a name.
const BETWEEN: &[&str] = &["async", "exists", "extern", "if", "mut", "not", "self", "unsafe"];
/// The same in SQL, after `create`; letter case does not matter.
const DEFINING_IN_SQL: &[&str] = &["function", "index", "procedure", "table", "trigger", "type", "view"];
/// Words that may stand before those.
const MODIFYING: &[&str] = &[
    "abstract",
    "actor",
    "annotation",
    "async",
    "companion",
    "constexpr",
    "crate",
    "data",
    "declare",
    "default",
    "explicit",
    "export",
    "extern",
    "final",
    "friend",
    "global",
    "impl",
    "inline",
    "inner",
    "internal",
    "local",
    "mut",
    "native",
    "open",
    "operator",
    "override",
    "partial",
    "private",
    "protected",
    "pub",
    "public",
    "readonly",
    "sealed",
    "self",
    "static",
    "suspend",
    "synchronized",
    "template",
    "typedef",
    "unsafe",
    "value",
    "virtual",
];
const MODIFYING_IN_SQL: &[&str] =
    &["create", "exists", "if", "materialized", "not", "or", "replace", "temp", "temporary", "unique"];
/// Words before a parenthesis that are no name of a function, and words that begin no declaration.
const STATEMENTS: &[&str] = &[
    "assert",
    "await",
    "case",
    "catch",
    "defer",
    "delete",
    "do",
    "elif",
    "else",
    "for",
    "foreach",
    "go",
    "if",
    "in",
    "lock",
    "match",
    "new",
    "not",
    "print",
    "return",
    "sizeof",
    "switch",
    "synchronized",
    "throw",
    "try",
    "until",
    "using",
    "when",
    "while",
    "with",
    "yield",
];
/// Directories of tests.
const TEST_DIRECTORIES: &[&str] =
    &["__tests__", "e2e", "spec", "specs", "test", "testdata", "testing", "tests"];
/// How the names of test files end, before the last dot.
const TEST_ENDINGS: &[&str] =
    &["-test", ".spec", ".test", ".tests", "Spec", "Test", "Tests", "_spec", "_test", "_tests"];
/// Endings of prose, which defines nothing.
const PROSE: &[&str] = &["adoc", "log", "md", "rst", "txt"];

/// What a match is. The order is that of the results.
#[output]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    Definition,
    Use,
    Test,
}

/// What the path of a file says about its matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Code,
    Prose,
    Test,
    /// Nobody asked: everything is a use.
    Any,
}

impl Place {
    /// By the path from the start of the search, so that a search among tests does not find tests alone.
    pub(super) fn of(path: &[u8]) -> Self {
        let path = String::from_utf8_lossy(path);
        let (directories, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let is_test =
            directories.split('/').any(|part| TEST_DIRECTORIES.contains(&part.to_lowercase().as_str()))
                || matches!(stem, "conftest" | "test" | "tests")
                || stem.starts_with("test_")
                || TEST_ENDINGS.iter().any(|end| stem.ends_with(end));
        match () {
            () if is_test => Self::Test,
            () if PROSE.contains(&ending) => Self::Prose,
            () => Self::Code,
        }
    }

    /// What a match in such a file is.
    pub(super) fn class(self, line: &[u8], found: Range<usize>) -> Class {
        match self {
            Self::Test => Class::Test,
            Self::Code if defines(line, found) => Class::Definition,
            Self::Code | Self::Prose | Self::Any => Class::Use,
        }
    }
}

/// Whether a line defines a symbol whose name is, in part at least, what was found.
fn defines(line: &[u8], found: Range<usize>) -> bool {
    let line = &line[..line.len().min(MAX_LOOK_BYTES)];
    let line = match std::str::from_utf8(line) {
        Ok(line) => line,
        Err(error) => std::str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default(),
    };
    let overlaps = |name: Range<usize>| name.start < found.end && found.start < name.end;
    let names = [by_keyword(line), by_body(line), by_assignment(line)];
    names.into_iter().flatten().any(overlaps)
}

/// `pub fn NAME`, `export default class NAME`, `#define NAME`, `create table NAME`.
fn by_keyword(line: &str) -> Option<Range<usize>> {
    let mut rest = Rest { line, at: indent(line) };
    let is_at_top = rest.at == 0;
    if rest.skip("#") && !rest.left().trim_start().starts_with("define") {
        return None;
    }
    let is_sql = rest.left().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("create"));
    let mut has_keyword = false;
    loop {
        rest.skip_between(has_keyword);
        let name = rest.word()?;
        let word = &line[name.clone()];
        let lower = if is_sql { word.to_lowercase() } else { word.to_owned() };
        let lower = lower.as_str();
        let defining = if is_sql { DEFINING_IN_SQL } else { DEFINING };
        let modifying = if is_sql { MODIFYING_IN_SQL } else { MODIFYING };
        let is_defining = defining.contains(&lower) || is_at_top && DEFINING_AT_TOP.contains(&lower);
        // A word with no word behind it is a name, whatever it says otherwise: `type: string`, `fn open(`.
        let next = rest.left().trim_start().chars().next();
        let goes_on = next.is_some_and(|letter| is_letter(letter) || "(\"'[<*!&@.".contains(letter));
        let follows = !has_keyword || rest.left().starts_with(' ') && next.is_some_and(is_letter);
        match () {
            () if is_defining && goes_on && follows => has_keyword = true,
            () if modifying.contains(&lower) && goes_on && (!has_keyword || BETWEEN.contains(&lower)) => {}
            () if has_keyword => return Some(name),
            // `static NAME: u8`
            () if line[..name.start].contains("static ") && rest.left().starts_with(':') => {
                return Some(name);
            }
            () => return None,
        }
    }
}

/// `int NAME(int a) {`: a parameter list, then a body.
fn by_body(line: &str) -> Option<Range<usize>> {
    let start = indent(line);
    let end = line.trim_end().strip_suffix('{')?.len();
    let open = start + line[start..end].find('(')?;
    let close = open + closing(&line[open..end])?;
    if line[close..end].contains(['(', '"', '\'', '=']) {
        return None;
    }
    let before = line[start..open].trim_end();
    let name_start = start + before.rfind(|letter| !is_letter(letter)).map_or(0, |place| place + 1);
    let name = name_start..start + before.len();
    let types = &line[start..name.start];
    let first = types.split(|letter| !is_letter(letter)).next().unwrap_or_default();
    let is_type = |letter: char| is_letter(letter) || " \t:<>,*&~[]?@".contains(letter);
    let fits = !name.is_empty()
        && !STATEMENTS.contains(&&line[name.clone()])
        && !STATEMENTS.contains(&first)
        && types.chars().all(is_type);
    fits.then_some(name)
}

/// `NAME = 1`, `NAME: int = 1` or `NAME := 1` at the beginning of a line.
fn by_assignment(line: &str) -> Option<Range<usize>> {
    let end = line.find(|letter| !is_letter(letter))?;
    let rest = line[end..].trim_start();
    let rest = match rest.strip_prefix(':') {
        Some(after) if !after.starts_with([':', '=']) => &after[after.find('=')?..],
        Some(after) => after,
        None => rest,
    };
    let is_assignment = rest.starts_with('=') && !rest[1..].starts_with(['=', '~', '>']);
    (end > 0 && is_assignment).then_some(0..end)
}

/// A line and how far it was read.
struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn skip(&mut self, text: &str) -> bool {
        let is_there = self.left().starts_with(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    /// Skips what may stand between the words of a declaration: `(crate)`, `"C"`, `<T>`, `@Override`, `[Attribute]`,
    /// `!` and `*`. Groups behind a keyword are the receivers of methods in Go; in other languages, parameters.
    fn skip_between(&mut self, has_keyword: bool) {
        loop {
            let left = self.left();
            self.at += left.len() - left.trim_start().len();
            let left = self.left();
            let skipped = match left.chars().next() {
                Some('(') if !has_keyword || self.line[..self.at].trim_end().ends_with("func") => {
                    closing(left)
                }
                Some('[' | '<') if !has_keyword => closing(left),
                Some('"') => left[1..].find('"').map(|end| end + 2),
                Some('@') if !has_keyword => Some(
                    1 + left[1..]
                        .find(|letter| !is_letter(letter) && letter != '.')
                        .unwrap_or(left.len() - 1),
                ),
                Some('*' | '!' | '&') if has_keyword => Some(1),
                // `def self.name`
                Some('.') if self.line[..self.at].ends_with("self") => Some(1),
                _ => None,
            };
            match skipped {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }

    fn word(&mut self) -> Option<Range<usize>> {
        let left = self.left();
        let length = left.find(|letter| !is_letter(letter)).unwrap_or(left.len());
        let word = self.at..self.at + length;
        self.at += length;
        (length > 0).then_some(word)
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

/// Length of a group with the brackets around it, which `text` begins with.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, letter) in text.char_indices() {
        match letter {
            '(' | '[' | '<' => depth += 1,
            // The arrow of a function type is no bracket.
            '>' if text[..place].ends_with(['-', '=']) => {}
            ')' | ']' | '>' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(place + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
