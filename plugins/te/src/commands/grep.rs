//! `grep` and `rg`: definitions first, then uses, then tests.

use llmc_core::prelude::*;

use super::Asked;
use super::pattern::{self, Syntax};
use super::words::{Spec, Word};
use crate::answer::{Found, Show};
use crate::clean;
use crate::header::Header;
use crate::limits::{MAX_MATCH_BYTES, MAX_PATHS, SHOWN_MATCHES};
use crate::tools::{self, list, number, text};
use crate::{hot, tokens};

/// Matches that are asked for, the most that the tool gives.
const LIMIT: u32 = 1000;
/// Most lines of context that the tool gives.
const MAX_CONTEXT: u32 = 20;

/// What both programs mean the same by. Colours, line numbers and recursion are as they are.
const GREP: Spec = Spec {
    flags: "inrRwFEGHhslcqaI",
    valued: "eABCm",
    long_flags: &[
        "basic-regexp",
        "color",
        "colour",
        "count",
        "dereference-recursive",
        "extended-regexp",
        "files-with-matches",
        "fixed-strings",
        "hidden",
        "ignore-case",
        "line-number",
        "no-filename",
        "no-ignore",
        "no-messages",
        "quiet",
        "recursive",
        "silent",
        "text",
        "with-filename",
        "word-regexp",
    ],
    long_valued: &[
        "after-context",
        "before-context",
        "color",
        "colour",
        "context",
        "exclude",
        "exclude-dir",
        "include",
        "max-count",
        "regexp",
    ],
};
const RIPGREP: Spec = Spec {
    flags: "inwFHIlcqN",
    valued: "egtABCm",
    long_flags: &[
        "count",
        "files-with-matches",
        "fixed-strings",
        "hidden",
        "heading",
        "ignore-case",
        "line-number",
        "no-filename",
        "no-heading",
        "no-ignore",
        "no-line-number",
        "no-messages",
        "quiet",
        "with-filename",
        "word-regexp",
    ],
    long_valued: &[
        "after-context",
        "before-context",
        "color",
        "context",
        "glob",
        "max-count",
        "regexp",
        "type",
    ],
};
/// Options of the real programs that only these can answer.
const OTHERS: Spec = Spec {
    flags: "oOvxLPzZbTUVSupaijlnNwrRiHhIsqcFEGLM0",
    valued: "dDeABCmgtTjEr",
    long_flags: &[
        "binary",
        "byte-offset",
        "debug",
        "files",
        "files-without-match",
        "help",
        "initial-tab",
        "invert-match",
        "json",
        "line-buffered",
        "line-regexp",
        "multiline",
        "multiline-dotall",
        "null",
        "null-data",
        "only-matching",
        "pcre2",
        "perl-regexp",
        "smart-case",
        "stats",
        "trim",
        "type-list",
        "unrestricted",
        "version",
        "vimgrep",
    ],
    long_valued: &[
        "binary-files",
        "devices",
        "directories",
        "encoding",
        "engine",
        "iglob",
        "label",
        "max-columns",
        "max-depth",
        "max-filesize",
        "pre",
        "replace",
        "sort",
        "sortr",
        "threads",
        "type-not",
    ],
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    Lines,
    Files,
    Counts,
    Nothing,
}

/// What is looked for, and where.
struct Query<'a> {
    patterns: Vec<&'a str>,
    paths: Vec<&'a str>,
    syntax: Syntax,
    ignore_case: bool,
    word: bool,
    hidden: bool,
    ignored: bool,
    wish: Wish,
    context: u32,
    max_per_file: Option<u64>,
    globs: Vec<String>,
    types: Vec<&'a str>,
}

pub(super) fn basic(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    answer("grep", &GREP, Syntax::Basic, asked, arguments)
}

pub(super) fn extended(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    answer("egrep", &GREP, Syntax::Extended, asked, arguments)
}

pub(super) fn fixed(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    answer("fgrep", &GREP, Syntax::Fixed, asked, arguments)
}

pub(super) fn ripgrep(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    answer("rg", &RIPGREP, Syntax::Ripgrep, asked, arguments)
}

fn answer(
    cmd: &str,
    spec: &Spec,
    syntax: Syntax,
    asked: &Asked<'_>,
    arguments: &[&str],
) -> ToolResult<Option<Found>> {
    let Some(query) = Query::read(spec, syntax, arguments)? else { return Ok(None) };
    let mut matches = Matches::default();
    for path in &query.paths {
        matches.add(asked, &query, path)?;
    }
    Ok(Some(matches.found(cmd, &query)))
}

impl<'a> Query<'a> {
    /// Reads the arguments; `None` if only the program itself understands them.
    fn read(spec: &Spec, syntax: Syntax, arguments: &[&'a str]) -> ToolResult<Option<Self>> {
        let mut query = Self {
            patterns: Vec::new(),
            paths: Vec::new(),
            syntax,
            ignore_case: false,
            word: false,
            hidden: false,
            ignored: false,
            wish: Wish::Lines,
            context: 0,
            max_per_file: None,
            globs: Vec::new(),
            types: Vec::new(),
        };
        let words = spec.read(arguments);
        let named = |word: &Word<'_>| matches!(word, Word::Value('e', _) | Word::LongValue("regexp", _));
        let is_named = words.iter().any(named);
        let mut has_pattern = is_named;
        for word in words {
            match word {
                Word::Unknown("-f" | "--file") => return Err(pattern_file()),
                Word::Unknown(unknown) if unknown.starts_with("--file=") => return Err(pattern_file()),
                // What begins with `-` and is no option of any kind can only be meant as the pattern.
                Word::Unknown(unknown) if !has_pattern && !is_option(unknown) => {
                    query.patterns.push(unknown);
                    has_pattern = true;
                }
                Word::Unknown(_) => return Ok(None),
                Word::Plain(pattern) if !has_pattern => {
                    query.patterns.push(pattern);
                    has_pattern = true;
                }
                Word::Plain(path) => query.paths.push(path),
                word => query.take(word)?,
            }
        }
        if query.patterns.is_empty() {
            return Err(ToolError::invalid("there is no pattern: `te grep PATTERN [PATH...]`"));
        }
        if query.paths.is_empty() {
            query.paths.push(".");
        }
        if query.paths.len() > MAX_PATHS {
            return Err(ToolError::invalid(format!(
                "more than {MAX_PATHS} paths; name a directory above them"
            )));
        }
        Ok(Some(query))
    }

    fn take(&mut self, word: Word<'a>) -> ToolResult<()> {
        match word {
            Word::Flag('i') | Word::LongFlag("ignore-case") => self.ignore_case = true,
            Word::Flag('w') | Word::LongFlag("word-regexp") => self.word = true,
            Word::Flag('F') | Word::LongFlag("fixed-strings") => self.syntax = Syntax::Fixed,
            Word::Flag('E') | Word::LongFlag("extended-regexp") => self.syntax = Syntax::Extended,
            Word::Flag('G') | Word::LongFlag("basic-regexp") => self.syntax = Syntax::Basic,
            Word::Flag('l') | Word::LongFlag("files-with-matches") => self.wish = Wish::Files,
            Word::Flag('c') | Word::LongFlag("count") => self.wish = Wish::Counts,
            Word::Flag('q') | Word::LongFlag("quiet" | "silent") => self.wish = Wish::Nothing,
            Word::LongFlag("hidden") => self.hidden = true,
            Word::LongFlag("no-ignore") => self.ignored = true,
            Word::Value('e', pattern) | Word::LongValue("regexp", pattern) => self.patterns.push(pattern),
            Word::Number(lines) => self.context = lines,
            Word::Value('A' | 'B' | 'C', lines)
            | Word::LongValue("after-context" | "before-context" | "context", lines) => {
                self.context = self.context.max(count(lines)?);
            }
            Word::Value('m', most) | Word::LongValue("max-count", most) => {
                self.max_per_file = Some(u64::from(count(most)?.max(1)));
            }
            Word::LongValue("include", glob) => self.globs.push(glob.to_owned()),
            Word::LongValue("exclude" | "exclude-dir", glob) => self.globs.push(format!("!{glob}")),
            Word::Value('g', glob) | Word::LongValue("glob", glob) => self.globs.push(glob.to_owned()),
            Word::Value('t', name) | Word::LongValue("type", name) => self.types.push(name),
            _ => {}
        }
        Ok(())
    }

    fn arguments(&self, path: &str) -> Value {
        json!({
            "pattern": pattern::joined(&self.patterns, self.syntax),
            "path": path,
            "ignore_case": self.ignore_case,
            "word": self.word,
            "hidden": self.hidden,
            "ignored": self.ignored,
            "glob": self.globs,
            "types": self.types,
            "context": self.context.min(MAX_CONTEXT),
            "max_per_file": self.max_per_file,
            "limit": LIMIT,
            "rank": self.wish == Wish::Lines,
            "output": match self.wish {
                Wish::Lines => "lines",
                Wish::Files | Wish::Nothing => "files",
                Wish::Counts => "counts",
            },
        })
    }
}

fn pattern_file() -> ToolError {
    ToolError::invalid("patterns are not read from files; write `-e -f` for the pattern `-f`")
}

fn count(text: &str) -> ToolResult<u32> {
    text.parse().map_err(|_| ToolError::invalid(format!("`{}` is no number of lines", clean::line(text))))
}

/// Whether the real programs know it as an option, so that it must not be taken for a pattern.
fn is_option(word: &str) -> bool {
    !matches!(OTHERS.read(&[word, "value"])[..], [Word::Unknown(_), ..])
}

/// All matches of all paths.
#[derive(Default)]
struct Matches {
    /// By class: definitions, uses, tests.
    lines: [Vec<Line>; 3],
    /// Names of files, with a number where numbers are asked for.
    files: Vec<String>,
    total: u64,
    total_files: u64,
    at_least: bool,
    notes: Vec<String>,
}

struct Line {
    path: String,
    text: String,
}

impl Matches {
    fn add(&mut self, asked: &Asked<'_>, query: &Query<'_>, path: &str) -> ToolResult<()> {
        let place = asked.here.tool_path(path)?;
        let answer = tools::ask(asked.ctx, "search_files", &query.arguments(&place))?;
        for found in list(&answer, "matches") {
            let class = match text(found, "class") {
                "definition" => 0,
                "test" => 2,
                _ => 1,
            };
            let path = asked.here.shown(text(found, "path"));
            self.lines[class].push(Line { text: lines_of(found, &path), path });
        }
        for file in list(&answer, "files") {
            let path = clean::line(&asked.here.shown(text(file, "path")));
            self.files.push(match file["count"].as_u64() {
                Some(count) => format!("{path}:{count}"),
                None => path,
            });
        }
        self.total += number(&answer, "total");
        self.total_files += number(&answer, "total_files");
        self.at_least |= answer["at_least"] == true;
        let notes = list(&answer, "notes").iter().filter_map(Value::as_str);
        // How much is shown is for us to say.
        self.notes.extend(notes.filter(|note| !note.contains("raise `limit`")).map(str::to_owned));
        Ok(())
    }

    fn found(self, cmd: &str, query: &Query<'_>) -> Found {
        let all: Vec<&Line> = self.lines.iter().flatten().collect();
        let paths = || all.iter().map(|line| line.path.as_str());
        let shown = if query.wish == Wish::Lines { all.len() } else { self.files.len() } as u64;
        let of = if query.wish == Wish::Lines { self.total } else { self.total_files };
        let header = Header {
            exit: i32::from(self.total_files == 0),
            matches: Some(self.total).filter(|_| matches!(query.wish, Wish::Lines | Wish::Counts)),
            files: Some(self.total_files).filter(|files| *files > 0),
            truncated: query.wish != Wish::Nothing && (shown < of || self.at_least),
            hot_zone: hot::zone(paths()),
            ..Header::new(cmd)
        };
        let mut body: String = all.iter().map(|line| line.text.as_str()).collect();
        if query.wish != Wish::Nothing {
            body.extend(self.files.iter().map(|file| format!("{file}\n")));
        }
        let mut found = Found { header, ..Found::new(cmd, body) };
        if query.wish == Wish::Lines {
            found.show =
                Show::Lines(all.iter().take(SHOWN_MATCHES).map(|line| line.text.lines().count()).sum());
            found.crumbs.extend(hot::more(paths().skip(SHOWN_MATCHES)));
            let tests = paths().filter(|path| hot::is_test(path)).count();
            if tests > 0 && all.len() > SHOWN_MATCHES {
                found.crumbs.push(format!("{tests} of the matches are in tests"));
            }
            if shown < of {
                found
                    .crumbs
                    .push(format!("of {of} matches the first {shown} are kept; narrow the pattern or path"));
            }
        }
        if self.total_files == 0 {
            found.crumbs.extend(self.notes);
            found.crumbs.extend(pattern::hint(&query.patterns, query.syntax));
        } else {
            found.crumbs.extend(self.notes.into_iter().take(3));
        }
        found.plain_tokens = tokens::estimate(&found.body);
        found
    }
}

/// A match and the lines around it, as `grep -n` writes them, without indentation.
fn lines_of(found: &Value, path: &str) -> String {
    let (line, before, after) = (number(found, "line"), list(found, "before"), list(found, "after"));
    let mut lines = String::new();
    let mut push = |number: u64, mark: char, text: &str| {
        let text = text.trim();
        let end = text.floor_char_boundary(MAX_MATCH_BYTES);
        let more = if end < text.len() { "…" } else { "" };
        lines.push_str(&clean::line(&format!("{path}{mark}{number}{mark} {}{more}", &text[..end])));
        lines.push('\n');
    };
    let first = line.saturating_sub(before.len() as u64);
    before
        .iter()
        .zip(first..)
        .for_each(|(text, number)| push(number, '-', text.as_str().unwrap_or_default()));
    let mut next = line;
    for part in text(found, "text").split('\n') {
        push(next, ':', part);
        next += 1;
    }
    after.iter().zip(next..).for_each(|(text, number)| push(number, '-', text.as_str().unwrap_or_default()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(line: &[&'a str]) -> Query<'a> {
        Query::read(&GREP, Syntax::Basic, line).unwrap().unwrap()
    }

    #[test]
    fn a_pattern_may_begin_with_a_dash() {
        for line in [
            &["--", "-foo", "src"][..],
            &["-e", "-foo", "src"],
            &["-foo", "src"],
            &["->foo", "src"],
            &["--foo", "src"],
        ] {
            let query = read(line);
            assert!(query.patterns[0].ends_with("foo") && query.patterns[0].starts_with('-'), "{line:?}");
            assert_eq!(query.paths, ["src"], "{line:?}");
        }
        let query = read(&["--", "-f", "/etc/passwd"]);
        assert_eq!((query.patterns, query.paths), (vec!["-f"], vec!["/etc/passwd"]));
        for line in
            [&["-f", "/etc/passwd"][..], &["--file=/etc/passwd", "x"], &["x", "-f", "y"], &["--file", "y"]]
        {
            let error = Query::read(&GREP, Syntax::Basic, line).err().unwrap().to_string();
            assert!(error.contains("not read from files"), "{line:?}");
        }
    }

    #[test]
    fn what_only_the_program_can_do_is_left_to_it() {
        for line in
            [&["-v", "x"][..], &["-oP", "x"], &["x", "--invert-match"], &["--null", "x"], &["-L", "x"]]
        {
            assert!(Query::read(&GREP, Syntax::Basic, line).unwrap().is_none(), "{line:?}");
        }
        assert!(Query::read(&RIPGREP, Syntax::Ripgrep, &["-U", "x"]).unwrap().is_none());
    }

    #[test]
    fn options_are_understood() {
        let query = read(&[
            "-rniE",
            "--include=*.rs",
            "--exclude-dir",
            "target",
            "-C2",
            "-m",
            "3",
            "a|b",
            "src",
            "tests",
        ]);
        assert!(query.ignore_case && query.syntax == Syntax::Extended);
        assert_eq!((query.context, query.max_per_file), (2, Some(3)));
        assert_eq!(query.globs, ["*.rs", "!target"]);
        assert_eq!((query.patterns, query.paths), (vec!["a|b"], vec!["src", "tests"]));
        assert_eq!(read(&["x"]).paths, ["."]);
        assert!(Query::read(&GREP, Syntax::Basic, &["-i"]).is_err());
        assert!(Query::read(&GREP, Syntax::Basic, &["-A", "many", "x"]).is_err());
    }
}
