//! Measures the plugin `search`: whether it finds what is asked for, beside `rg` and beside tantivy, and what that costs.
//!
//! - [`questions`]: what is asked, and where the answer is.
//! - [`trees`]: the sources that are asked about, and the large one for [`size`].
//! - [`ripgrep`], and `bm25` with the feature `tantivy`: who else is asked.
//! - [`asking`]: the plugin, over MCP.
//! - [`size`]: indexing and asking at a million lines, and looking at twenty thousand files.
//! - [`report`]: what came of it.

mod asking;
#[cfg(feature = "tantivy")]
mod bm25;
mod questions;
mod report;
mod ripgrep;
mod size;
mod trees;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use self::asking::Searcher;
use self::questions::{QUESTIONS, Question, Ranked};
pub(crate) use self::report::Report;
use self::report::Row;
use self::ripgrep::Ripgrep;
use self::size::{Large, Many};
use crate::servers::locate;

/// What only this benchmark asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// Source of tokio; by default the newest one that cargo keeps.
    #[arg(long, value_name = "DIR")]
    tokio: Option<PathBuf>,
    /// Source of Django; fetched with `pip` into the target folder by default.
    #[arg(long, value_name = "DIR")]
    django: Option<PathBuf>,
    /// Lines of the large tree, from the crates that cargo keeps; 0 leaves that part out.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    lines: u64,
    /// Files of the tree of many files, the first lines of what cargo keeps; 0 leaves that part out.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    files: u64,
    /// Leave out the questions.
    #[arg(long)]
    no_questions: bool,
    /// Show the questions that were not answered among the first five files.
    #[arg(long)]
    missed: bool,
}

/// Asks everybody everything.
///
/// # Errors
/// If a tree cannot be had, or a program does not answer as it should.
pub(crate) fn measure(stage: &Path, options: &Options) -> Result<Report> {
    let stage = locate(stage)?;
    let rows = if options.no_questions { Vec::new() } else { relevance(&stage, options)? };
    let large = (options.lines > 0).then(|| Large::measure(&stage, options.lines)).transpose()?;
    let many = (options.files > 0).then(|| Many::measure(&stage, options.files)).transpose()?;
    Ok(Report::new(rows, large, many, options.missed))
}

fn relevance(stage: &Path, options: &Options) -> Result<Vec<Row>> {
    let questions = questions::parse(QUESTIONS)?;
    let mut rows: Vec<Row> = Vec::new();
    for (name, tree) in trees::find(stage, options)? {
        let own: Vec<&Question> = questions.iter().filter(|question| question.tree == name).collect();
        questions::check(&own, &tree)?;
        let mut searcher = Searcher::start(stage, &tree)?;
        rows.extend(asked("llmc search_code", &own, |question| searcher.files(question))?);
        if let Some(rg) = Ripgrep::find() {
            rows.extend(asked("rg, words then hits", &own, |question| rg.files(&tree, question))?);
        }
        #[cfg(feature = "tantivy")]
        {
            let whole = bm25::Tantivy::new(&tree, None)?;
            rows.extend(asked("tantivy, files", &own, |question| whole.files(question))?);
            let windows = bm25::Tantivy::new(&tree, Some(40))?;
            rows.extend(asked("tantivy, 40 lines", &own, |question| windows.files(question))?);
        }
    }
    Ok(rows)
}

/// A row for each question.
fn asked(
    who: &'static str,
    questions: &[&Question],
    mut files: impl FnMut(&str) -> Result<Vec<String>>,
) -> Result<Vec<Row>> {
    let rows = questions.iter().map(|question| {
        let place = Ranked(files(&question.text)?).place_of(question);
        Ok(Row {
            who,
            tree: question.tree.clone(),
            question: question.text.clone(),
            held_out: question.held_out,
            place,
        })
    });
    rows.collect()
}
