//! `index_status`.

use std::fmt::Write as _;

use llmc_core::prelude::*;

use crate::index::{self, Freshness, Index};
use crate::store;

/// Tells what the index holds and how up to date it is.
#[arguments]
pub struct IndexStatus;

/// The state of the index.
#[output(custom_text)]
pub struct Status {
    /// `fresh`, or what is missing.
    freshness: String,
    files: i64,
    lines: i64,
    chunks: i64,
    symbols: i64,
    /// Size of the database.
    bytes: u64,
    /// Numbers of files.
    languages: Vec<Languages>,
    roots: Vec<IndexedRoot>,
    /// What else the reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[output]
struct Languages {
    name: String,
    files: i64,
}

#[output]
struct IndexedRoot {
    name: String,
    /// The indexed commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

impl Tool for IndexStatus {
    const NAME: &'static str = "index_status";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Status;

    fn call(self, ctx: &Context) -> ToolResult<Status> {
        let index = index::of(ctx)?;
        let freshness = index.refresh_for(ctx, std::time::Duration::from_millis(200));
        Ok(status(&index, &freshness))
    }
}

/// What there is to tell, whatever can be read of it.
pub(super) fn status(index: &Index, freshness: &Freshness) -> Status {
    let counts = index.ask(|reader| reader.counts());
    let commits = index.ask(|reader| reader.commits()).unwrap_or_default();
    let mut notes = Vec::new();
    if let Err(error) = &counts {
        notes.push(format!("the index cannot be read: {error}"));
    }
    {
        let status = index.status();
        notes.extend(status.rebuilt.as_ref().map(|why| format!("built anew: {why}")));
        notes.extend(index.no_model.clone());
        if status.too_many_files {
            notes.push(format!(
                "there are more than {} files; the rest is left out",
                crate::limits::MAX_FILES
            ));
        }
    }
    let counts = counts.unwrap_or_default();
    Status {
        freshness: freshness.text(),
        files: counts.files,
        lines: counts.lines,
        chunks: counts.chunks,
        symbols: counts.symbols,
        bytes: std::fs::metadata(store::file(index.folder())).map_or(0, |metadata| metadata.len()),
        languages: counts.languages.into_iter().map(|(name, files)| Languages { name, files }).collect(),
        roots: commits.into_iter().map(|(name, commit)| IndexedRoot { name, commit }).collect(),
        notes,
    }
}

impl StructuredOutput for Status {
    fn text(&self) -> String {
        let mut text = format!(
            "{}; {} files, {} lines, {} chunks, {} symbols, {} bytes",
            self.freshness, self.files, self.lines, self.chunks, self.symbols, self.bytes
        );
        let languages: Vec<String> =
            self.languages.iter().map(|language| format!("{} {}", language.name, language.files)).collect();
        if !languages.is_empty() {
            let _ = write!(text, "\n{}", languages.join(", "));
        }
        for root in &self.roots {
            let commit = root.commit.as_deref().unwrap_or("no commit");
            let _ = write!(text, "\n{}: {commit}", root.name);
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}");
        }
        text
    }
}
