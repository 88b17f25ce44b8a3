//! `find_files`.

use std::cmp::Reverse;
use std::time::{SystemTime, UNIX_EPOCH};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use llmc_core::prelude::*;
use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp, statx};

use crate::kind::Kind;
use crate::limits::{DEFAULT_FIND_ENTRIES, MAX_FIND_ENTRIES, MAX_GLOB_BYTES};
use crate::path::Place;
use crate::time::rfc3339;
use crate::walk::{self, Found, Options, Seen, Start, Wanted, push_name, push_notes};

/// Finds files and directories by name, size and age, sorted by path.
#[arguments(undocumented)]
pub struct FindFiles {
    /// Glob for the name, as in `*.rs`, or, with a `/`, for the path below `path`, as in `src/**/*.rs`.
    pattern: Option<String>,
    #[serde(default = "walk::top")]
    path: String,
    kind: Option<KindWish>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    /// Since the last change.
    min_age_seconds: Option<u64>,
    max_age_seconds: Option<u64>,
    /// Include dot files.
    #[serde(default)]
    hidden: bool,
    /// Include what ignore files hide.
    #[serde(default)]
    ignored: bool,
    /// Sort by time of change.
    #[serde(default)]
    newest_first: bool,
    /// Results to skip.
    #[serde(default)]
    offset: u32,
    /// Default: 200.
    #[schemars(range(min = 1, max = MAX_FIND_ENTRIES))]
    limit: Option<u32>,
}

/// Kinds that can be asked for.
#[arguments]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum KindWish {
    File,
    Dir,
    Symlink,
}

/// What was found.
#[output(custom_text)]
pub struct Findings {
    /// The results.
    entries: Vec<Finding>,
    /// Number of all results.
    total: usize,
    /// `offset` to read on with, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<usize>,
    /// What else the reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A result.
#[output]
struct Finding {
    /// In a form that can be asked for.
    path: String,
    /// What it is.
    #[schemars(with = "String")]
    kind: Kind,
    /// Its size, if sizes or times were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// When it changed, if sizes or times were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Tool for FindFiles {
    const NAME: &'static str = "find_files";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Findings;

    fn call(self, ctx: &Context) -> ToolResult<Findings> {
        let filter = Filter::new(&self)?;
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let start = Start::open("search", &place)?;
        let options = Options { hidden: self.hidden, ignored: self.ignored, max_depth: usize::MAX };
        let found = walk::walk(&start, options, &filter, ctx)?;
        Ok(self.page(&place.display(), &found))
    }
}

impl FindFiles {
    /// The part of the results that is asked for.
    fn page(&self, start: &str, found: &Found<Option<Facts>>) -> Findings {
        let mut results = Vec::new();
        found.each(|dir, entry| {
            if entry.note.is_some() {
                results.push((dir, entry));
            }
        });
        if self.newest_first {
            results.sort_by_key(|(_, entry)| Reverse(entry.note.flatten().map(Facts::modified)));
        }
        let total = results.len();
        let limit = self.limit.unwrap_or(DEFAULT_FIND_ENTRIES).clamp(1, MAX_FIND_ENTRIES) as usize;
        let mut path = Vec::new();
        let page = results.into_iter().skip(self.offset as usize).take(limit);
        let entries: Vec<_> = page
            .map(|(dir, entry)| {
                dir.path_of(entry, &mut path);
                let facts = entry.note.flatten();
                Finding {
                    path: walk::join(start, &path),
                    kind: entry.kind,
                    size_bytes: facts.map(|facts| facts.size_bytes).filter(|_| entry.kind == Kind::File),
                    modified: facts.map(|facts| rfc3339(facts.modified)),
                }
            })
            .collect();
        let end = self.offset as usize + entries.len();
        let next_offset = (end < total && !entries.is_empty()).then_some(end);
        let mut notes = Vec::new();
        if let Some(next) = next_offset {
            notes.push(format!("{} to {next} of {total}; read on with offset {next}", self.offset + 1));
        }
        if total == 0 {
            notes.extend(self.advice());
        }
        notes.extend(found.gaps.notes());
        Findings { entries, total, next_offset, notes }
    }

    /// What to try when nothing was found.
    fn advice(&self) -> Option<String> {
        let pattern = self.pattern.as_deref()?;
        if !pattern.contains(['*', '?', '[', '{']) {
            Some(format!("no name is exactly `{pattern}`; `*{pattern}*` finds names that contain it"))
        } else if !self.hidden || !self.ignored {
            Some("hidden or ignored files were left out; `hidden` and `ignored` include them".to_owned())
        } else {
            None
        }
    }
}

/// Size and time of a result.
#[derive(Clone, Copy)]
struct Facts {
    size_bytes: u64,
    modified: StatxTimestamp,
}

impl Facts {
    fn modified(self) -> (i64, u32) {
        (self.modified.tv_sec, self.modified.tv_nsec)
    }
}

/// What is asked for, ready to be compared.
struct Filter {
    name: Option<GlobSet>,
    path: Option<GlobSet>,
    kind: Option<Kind>,
    bytes: Option<(u64, u64)>,
    /// Earliest and latest time of change, in seconds since 1970.
    changed: Option<(i64, i64)>,
    with_facts: bool,
}

impl Filter {
    fn new(wish: &FindFiles) -> ToolResult<Self> {
        let pattern = wish.pattern.as_deref().map(|pattern| pattern.trim_start_matches("./"));
        let (mut name, mut path) = (None, None);
        match pattern {
            Some(pattern) if pattern.contains('/') => path = Some(compile(pattern.trim_start_matches('/'))?),
            Some(pattern) => name = Some(compile(pattern)?),
            None => {}
        }
        let kind = wish.kind.map(|kind| match kind {
            KindWish::File => Kind::File,
            KindWish::Dir => Kind::Dir,
            KindWish::Symlink => Kind::Symlink,
        });
        let has_bytes = wish.min_bytes.or(wish.max_bytes).is_some();
        let bytes = has_bytes.then(|| (wish.min_bytes.unwrap_or(0), wish.max_bytes.unwrap_or(u64::MAX)));
        let has_age = wish.min_age_seconds.or(wish.max_age_seconds).is_some();
        let changed = has_age.then(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| seconds(time.as_secs()));
            let before = |age: u64| now.saturating_sub(seconds(age));
            let earliest = wish.max_age_seconds.map_or(i64::MIN, before);
            (earliest, wish.min_age_seconds.map_or(i64::MAX, before))
        });
        let with_facts = has_bytes || has_age || wish.newest_first;
        Ok(Self { name, path, kind, bytes, changed, with_facts })
    }
}

fn seconds(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A set of one: sets have fast ways for names, endings and the like.
fn compile(pattern: &str) -> ToolResult<GlobSet> {
    let invalid = |what: String| ToolError::invalid(format!("`pattern` is not a glob: {what}"));
    if pattern.len() > MAX_GLOB_BYTES {
        return Err(invalid(format!("it is longer than {MAX_GLOB_BYTES} bytes")));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| invalid(error.kind().to_string()))?;
    GlobSetBuilder::new().add(glob).build().map_err(|error| invalid(error.kind().to_string()))
}

impl Wanted for Filter {
    type Note = Option<Facts>;

    fn fits(&self, entry: &Seen<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == entry.kind)
            && (self.bytes.is_none() || entry.kind == Kind::File)
            && self.name.as_ref().is_none_or(|glob| glob.is_match(walk::as_path(entry.name)))
            && self.path.as_ref().is_none_or(|glob| glob.is_match(entry.path))
    }

    fn note(&self, entry: &Seen<'_>) -> Option<Option<Facts>> {
        if !self.with_facts {
            return Some(None);
        }
        let wanted = StatxFlags::SIZE | StatxFlags::MTIME;
        // What is gone by now is no result.
        let facts = statx(entry.dir, entry.name, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
        let facts = Facts { size_bytes: facts.stx_size, modified: facts.stx_mtime };
        let (least, most) = self.bytes.unwrap_or((0, u64::MAX));
        let (earliest, latest) = self.changed.unwrap_or((i64::MIN, i64::MAX));
        let fits = (least..=most).contains(&facts.size_bytes)
            && (earliest..=latest).contains(&facts.modified.tv_sec);
        fits.then_some(Some(facts))
    }
}

impl StructuredOutput for Findings {
    fn text(&self) -> String {
        let mut text = String::new();
        for Finding { path, kind, size_bytes, modified } in &self.entries {
            push_name(&mut text, path);
            text.push_str(&walk::mark(*kind));
            if let Some(size) = size_bytes {
                text.push_str(&format!("\t{size}"));
            }
            if let Some(time) = modified {
                text.push_str(&format!("\t{time}"));
            }
            text.push('\n');
        }
        if self.entries.is_empty() {
            text.push_str(if self.total == 0 { "(nothing found)\n" } else { "(no more results)\n" });
        }
        push_notes(&mut text, &self.notes);
        text
    }
}

#[cfg(test)]
#[path = "find_files_tests.rs"]
mod tests;
