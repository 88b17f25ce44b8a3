//! The tools, a file each, and what their answers have in common.

mod index_status;
mod inspect;
mod reindex;
mod search_code;
mod symbol_lineage;
mod where_used;

pub use index_status::IndexStatus;
pub use inspect::Inspect;
pub use reindex::Reindex;
pub use search_code::SearchCode;
pub use symbol_lineage::SymbolLineage;
pub use where_used::WhereUsed;

use llmc_core::prelude::*;

use crate::index::{Freshness, Index};
use crate::limits::{MAX_TOKENS, MIN_TOKENS};
use crate::tokens;

/// The commit that the index knows all files of, if there is one root that is a repository.
fn commit(index: &Index) -> Option<String> {
    let commits = index.ask(|reader| reader.commits()).ok()?;
    let mut known = commits.into_iter().filter_map(|(_, commit)| commit);
    known.next().filter(|_| known.next().is_none()).map(|commit| commit[..12].to_owned())
}

/// Says it only if there is something to say.
fn unless_fresh(freshness: &Freshness) -> Option<String> {
    (*freshness != Freshness::Fresh).then(|| freshness.text())
}

/// A budget within its range.
fn budget(wanted: Option<u32>, default: u32) -> usize {
    wanted.unwrap_or(default).clamp(MIN_TOKENS.min(default), MAX_TOKENS) as usize
}

/// The most tokens that an answer takes, whichever of its forms the client shows to the model.
fn cost(answer: &impl StructuredOutput) -> usize {
    let json = llmc_core::serde_json::to_string(answer).unwrap_or_default();
    tokens::at_most(&answer.text()).max(tokens::at_most(&json))
}

/// Takes items from the end of an answer until it fits. Returns how many were taken.
fn shorten<A: StructuredOutput>(answer: &mut A, budget: usize, drop_last: impl Fn(&mut A) -> bool) -> usize {
    let mut dropped = 0;
    while cost(answer) > budget && drop_last(answer) {
        dropped += 1;
    }
    dropped
}

/// `work:src/a.rs`.
fn place(root: &str, path: &str) -> String {
    format!("{root}:{path}")
}

/// Why nothing can be answered: there is no index, and this question needs one.
fn needs_index(freshness: &Freshness, why: &crate::store::StoreError) -> ToolError {
    let text = format!(
        "the index cannot be asked ({why}; {}); `search_files` and `read_file` look into the files themselves",
        freshness.text()
    );
    ToolError::failed(text)
}
