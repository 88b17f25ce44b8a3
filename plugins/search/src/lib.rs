//! Finds code and documents: full text, names and their uses, from an index of the granted roots. Works offline.
//!
//! - `files`: which files there are, and reading them below their roots.
//! - `syntax`, `chunk`, `words`, `document`: what a file is turned into.
//! - `store`: the database; `index`: keeping it up to date.
//! - `query`, `filter`, `rank`, `pack`, `tokens`: from a question to an answer within its budget.
//! - `grep`: an answer while there is no index.
//! - `meaning`: what texts mean, by a model of the operator's; behind the feature `embeddings`.
//! - `tools`: what a model calls.
//!
//! Left out on purpose: anything that has to be downloaded, and watching for changes, see `files::walk`. Uses are names
//! at places: no types are inferred.
#![forbid(unsafe_code)]

mod chunk;
mod document;
mod files;
mod filter;
mod grep;
mod index;
mod limits;
mod meaning;
mod pack;
mod query;
mod rank;
mod store;
mod syntax;
#[cfg(test)]
mod tests;
mod texts;
mod tokens;
mod tools;
mod words;

use llmc_core::prelude::*;

pub use tools::{IndexStatus, Inspect, Reindex, SearchCode, SymbolLineage, WhereUsed};

/// What the index is asked for a text, for fuzzing: expressions for the table of words and for that of letters.
#[doc(hidden)]
pub fn expressions(text: &str) -> (Vec<String>, Vec<String>) {
    let query = query::Query::parse(text);
    let words = [query.any_word(), query.all_words()].into_iter().flatten().collect();
    (words, query.literals.iter().filter_map(|literal| query::grams(literal)).collect())
}

export_plugin!("search":
SearchCode, WhereUsed, SymbolLineage, Inspect, IndexStatus, Reindex;
grants = [
    roots: "reads the files that it indexes",
    state: "keeps the index",
]);
