//! `search_files`.

use std::sync::Arc;

use llmc_core::prelude::*;

use crate::limits::{DEFAULT_MATCHES, MAX_CONTEXT_LINES, MAX_LINE_BYTES, MAX_MATCHES};
use crate::path::Place;
use crate::root::OpenError;
use crate::search::{self, Class, Filter, Hit, Keep, Pattern, Plan, Summary};
use crate::walk::{self, Options, Start, push_name, push_notes};

/// Searches the contents of text files, as ripgrep does; sorted by path.
#[arguments(undocumented)]
pub struct SearchFiles {
    /// Regular expression.
    pattern: String,
    /// Take `pattern` as plain text.
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    /// Whole words only.
    #[serde(default)]
    word: bool,
    /// Let matches run over line ends.
    #[serde(default)]
    multiline: bool,
    /// Directory or file.
    #[serde(default = "walk::top")]
    path: String,
    /// Files to search, as in `*.rs` or `src/**`; `!*.min.js` leaves out.
    #[serde(default)]
    glob: Vec<String>,
    /// Types of files by ripgrep's names, as in `rust`.
    #[serde(default)]
    types: Vec<String>,
    /// Include dot files.
    #[serde(default)]
    hidden: bool,
    /// Include what ignore files hide.
    #[serde(default)]
    ignored: bool,
    /// Lines around each match.
    #[serde(default)]
    #[schemars(range(max = MAX_CONTEXT_LINES))]
    context: u32,
    /// Most matches of a file.
    #[schemars(range(min = 1))]
    max_per_file: Option<u64>,
    /// Most matches, or files. Default: 100.
    #[schemars(range(min = 1, max = MAX_MATCHES))]
    limit: Option<u32>,
    /// `files`: only names. `counts`: names and numbers of matches.
    #[serde(default)]
    output: Wish,
    /// Definitions first, tests last.
    #[serde(default)]
    rank: bool,
}

/// What to tell of matches.
#[arguments]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Wish {
    #[default]
    Lines,
    Files,
    Counts,
}

/// What was found.
#[output(custom_text)]
pub struct Matches {
    /// The matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<Found>,
    /// The files, if these were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FoundFile>,
    /// Number of matching lines; with `multiline`, of runs of such; of files if only their names were asked for.
    total: u64,
    /// Number of files that match.
    total_files: u64,
    /// Whether there are more of both: the search ended early.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    /// Whether not all are here.
    truncated: bool,
    /// What else the reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A match.
#[output]
struct Found {
    /// Its file.
    path: String,
    /// Its first line.
    line: u64,
    /// Its first character there, from 1.
    column: u64,
    /// Its lines.
    text: String,
    /// Lines before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<String>,
    /// Lines after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    /// What it is, with `rank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    /// Matches of the file beyond `max_per_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_in_file: Option<u64>,
}

/// A file that matches.
#[output]
struct FoundFile {
    /// Its path.
    path: String,
    /// Number of its matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl Tool for SearchFiles {
    const NAME: &'static str = "search_files";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Matches;

    fn call(self, ctx: &Context) -> ToolResult<Matches> {
        let plan = self.plan()?;
        let filter = Filter::new(&self.glob, &self.types)?;
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let summary = match Start::try_open(&place) {
            Ok(start) => {
                let options = Options { hidden: self.hidden, ignored: self.ignored, max_depth: usize::MAX };
                search::search_below(&start, options, &filter, &plan, ctx)?
            }
            Err(OpenError::NotDirectory) => search::search_file(&place, &plan, ctx)?,
            Err(error) => return Err(error.explain("search", &place)),
        };
        Ok(self.matches(&place, summary))
    }
}

impl SearchFiles {
    fn plan(&self) -> ToolResult<Plan> {
        let (matcher, pieces) = search::compile(&Pattern {
            text: &self.pattern,
            literal: self.literal,
            ignore_case: self.ignore_case,
            word: self.word,
            multiline: self.multiline,
        })?;
        let keep = match self.output {
            Wish::Lines => Keep::Lines,
            Wish::Files => Keep::Name,
            Wish::Counts => Keep::Count,
        };
        Ok(Plan {
            matcher,
            pieces,
            multiline: self.multiline,
            keep,
            context: if keep == Keep::Lines { self.context.min(MAX_CONTEXT_LINES) as usize } else { 0 },
            max_per_file: self.max_per_file.unwrap_or(u64::MAX).max(1),
            limit: self.limit() as usize,
            rank: self.rank,
        })
    }

    fn matches(&self, place: &Place<'_>, summary: Summary) -> Matches {
        let start = place.display();
        let Summary { total, total_files, searched, .. } = summary;
        let at_least = !summary.is_complete();
        let gap_notes = summary.gap_notes();
        let mut summary = summary;
        let names: Vec<_> = std::mem::take(&mut summary.files)
            .into_iter()
            .map(|(path, count)| FoundFile {
                path: walk::join(&start, &path),
                count: (self.output == Wish::Counts).then_some(count),
            })
            .collect();
        let hits = summary.into_hits();
        let is_cut = hits.iter().any(|(_, hit)| hit.is_cut);
        let matches: Vec<_> = hits.into_iter().map(|(path, hit)| self.found(&start, &path, hit)).collect();
        let shown = if self.output == Wish::Lines { matches.len() } else { names.len() } as u64;
        let all = if self.output == Wish::Lines { total } else { total_files };
        let truncated = shown < all || at_least;
        let mut notes = Vec::new();
        if truncated {
            notes.push(self.truncation(shown, all, total_files, at_least));
        }
        if all == 0 {
            let left_out = match (self.hidden, self.ignored) {
                (true, true) => "",
                _ => "; hidden or ignored files were left out",
            };
            notes.push(format!("{} searched{left_out}", files(searched as u64)));
        }
        if is_cut {
            notes.push(format!("lines longer than {MAX_LINE_BYTES} bytes, or many lines, were cut at `…`"));
        }
        notes.extend(gap_notes);
        Matches { matches, files: names, total, total_files, at_least, truncated, notes }
    }

    fn found(&self, start: &str, path: &Arc<[u8]>, hit: Hit) -> Found {
        Found {
            path: walk::join(start, path),
            line: hit.line,
            column: hit.column,
            text: hit.text,
            before: hit.before,
            after: hit.after,
            class: self.rank.then_some(hit.class),
            more_in_file: (hit.more > 0).then_some(hit.more),
        }
    }

    /// How much is missing, and what would show more.
    fn truncation(&self, shown: u64, all: u64, total_files: u64, at_least: bool) -> String {
        let about = if at_least { "at least " } else { "" };
        let what = match self.output {
            Wish::Lines => format!("matches in {about}{}", files(total_files)),
            Wish::Files | Wish::Counts => "files".to_owned(),
        };
        let is_full = shown >= self.limit().into();
        let more = match self.max_per_file {
            _ if is_full => "narrow `pattern`, `path` or `glob`, or raise `limit`",
            Some(_) => "`max_per_file` leaves out the rest",
            None => "they are too long to show more; narrow `pattern`, `path` or `glob`",
        };
        format!("{shown} of {about}{all} {what}; {more}")
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_MATCHES).clamp(1, MAX_MATCHES)
    }
}

fn files(count: u64) -> String {
    format!("{count} {}", if count == 1 { "file" } else { "files" })
}

impl StructuredOutput for Matches {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut before: Option<&Found> = None;
        for found in &self.matches {
            found.write(before, &mut text);
            before = Some(found);
        }
        for file in &self.files {
            push_name(&mut text, &file.path);
            if let Some(count) = file.count {
                text.push_str(&format!(": {count}"));
            }
            text.push('\n');
        }
        if self.total == 0 {
            text.push_str("(no matches)\n");
        }
        push_notes(&mut text, &self.notes);
        text
    }
}

impl Found {
    /// Adds the match to the text; `before` is the match before it.
    fn write(&self, before: Option<&Self>, text: &mut String) {
        let is_new_class = before.is_none_or(|before| before.class != self.class);
        let is_new_file = is_new_class || before.is_none_or(|before| before.path != self.path);
        let first = self.line.saturating_sub(self.before.len() as u64);
        if is_new_file && before.is_some() {
            text.push('\n');
        }
        if let Some(class) = self.class.filter(|_| is_new_class) {
            text.push_str(match class {
                Class::Definition => "[definitions]\n",
                Class::Use => "[uses]\n",
                Class::Test => "[tests]\n",
            });
        }
        let has_context = |found: &Self| !found.before.is_empty() || !found.after.is_empty();
        if is_new_file {
            push_name(text, &self.path);
            text.push('\n');
        } else if let Some(before) = before
            && (has_context(self) || has_context(before))
            && before.end() != first
        {
            text.push_str("--\n");
        }
        let mut line = first;
        let mut write = |part: &str, mark: char| {
            text.push_str(&format!("{line}{mark} {part}\n"));
            line += 1;
        };
        self.before.iter().for_each(|part| write(part, '-'));
        self.text.split('\n').for_each(|part| write(part, ':'));
        self.after.iter().for_each(|part| write(part, '-'));
        if let Some(more) = self.more_in_file {
            text.push_str(&format!("[{more} more in this file]\n"));
        }
    }

    /// Number of the line after it and its context.
    fn end(&self) -> u64 {
        self.line + self.text.split('\n').count() as u64 + self.after.len() as u64
    }
}

#[cfg(test)]
#[path = "search_files_tests.rs"]
mod tests;
