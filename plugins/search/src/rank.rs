//! Which chunks answer a query best.
//!
//! Several lists are asked for, each sorted by its own measure: words of chunks, names, whole files, exact names and exact
//! letters. They are fused by reciprocal rank (Cormack, Clarke, Büttcher, SIGIR 2009): a list gives a chunk at place `r`
//! the score `weight / (60 + r)`, so measures that cannot be compared need not be. Boosts then say what a reader would
//! rather see: definitions before uses before tests.

use std::collections::HashMap;

use crate::filter::{Filter, is_document};
use crate::query::{self, Query};
use crate::store::{ChunkRow, Reader, StoreError};
use crate::texts::Texts;

/// The constant of the paper.
const FUSION: f64 = 60.0;
/// Rows of a list; more when a filter will leave some out.
const LIST_ROWS: u32 = 80;
const FILTERED_ROWS: u32 = 2_000;
/// Chunks that may contain a literal, of which each is looked into.
const LITERAL_ROWS: u32 = 400;
/// Fused chunks that are looked at more closely.
const FUSED: usize = 100;

/// Weights of columns, in the order of the tables.
const TEXT_COLUMNS: &str = "6.0, 3.0, 2.0, 1.0";
const DEFS_COLUMNS: &str = "3.0, 1.0";
const DOCS_COLUMNS: &str = "4.0, 1.5, 1.0";

/// Where a chunk got its score from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    /// Any of the words is in the chunk.
    Words,
    /// All of them are.
    AllWords,
    /// A definition has them in its name.
    Names,
    /// A definition is called exactly so.
    Exact,
    /// The file is about them.
    Files,
    /// The text is there letter by letter.
    Literal,
}

impl List {
    /// As it stands in explanations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::AllWords => "all words",
            Self::Names => "names",
            Self::Exact => "exact name",
            Self::Files => "files",
            Self::Literal => "literal",
        }
    }

    /// In a sentence, what a file is about tells more than what a function is called.
    fn weight(self, is_sentence: bool) -> f64 {
        match self {
            Self::Words | Self::Exact => 1.0,
            Self::AllWords => 0.6,
            Self::Names if is_sentence => 0.5,
            Self::Files if is_sentence => 1.0,
            Self::Names | Self::Files => 0.8,
            Self::Literal => 1.6,
        }
    }
}

/// A chunk that answers.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) row: ChunkRow,
    pub(crate) score: f64,
    /// Its place in each list that has it, from 1.
    pub(crate) places: Vec<(List, usize)>,
    /// What its score was multiplied with, and why.
    pub(crate) boosts: Vec<(&'static str, f64)>,
}

/// The best chunks, the very best first.
pub(crate) fn hits(
    reader: &Reader,
    query: &Query,
    filter: &Filter,
    texts: &mut Texts<'_>,
) -> Result<Vec<Hit>, StoreError> {
    let mut fusion = Fusion { reader, filter, rows: HashMap::new(), lists: Vec::new() };
    let limit = if filter.is_empty() { LIST_ROWS } else { FILTERED_ROWS };
    if let Some(any) = query.any_word() {
        fusion.words(&any, limit)?;
        fusion.names(&any, limit)?;
        fusion.files(&any, limit)?;
    }
    if let Some(all) = query.all_words() {
        let rows = reader.matching("text", TEXT_COLUMNS, &all, limit)?;
        fusion.add(List::AllWords, rows)?;
    }
    fusion.exact_names(query)?;
    for literal in &query.literals {
        fusion.literal(literal, texts)?;
    }
    Ok(fusion.hits(query))
}

struct Fusion<'a> {
    reader: &'a Reader,
    filter: &'a Filter,
    rows: HashMap<i64, Option<ChunkRow>>,
    lists: Vec<(List, Vec<i64>)>,
}

impl Fusion<'_> {
    /// The row of a chunk, if it is wanted.
    fn row(&mut self, id: i64) -> Result<Option<&ChunkRow>, StoreError> {
        if !self.rows.contains_key(&id) {
            let row = match self.reader.chunk(id)? {
                Some(row) if self.filter.takes(&row, self.reader)? => Some(row),
                _ => None,
            };
            self.rows.insert(id, row);
        }
        Ok(self.rows.get(&id).and_then(Option::as_ref))
    }

    fn add(&mut self, list: List, chunks: Vec<i64>) -> Result<(), StoreError> {
        let mut wanted: Vec<i64> = Vec::new();
        for id in chunks {
            if wanted.len() >= LIST_ROWS as usize {
                break;
            }
            if self.row(id)?.is_some() && !wanted.contains(&id) {
                wanted.push(id);
            }
        }
        self.lists.push((list, wanted));
        Ok(())
    }

    fn words(&mut self, expression: &str, limit: u32) -> Result<(), StoreError> {
        let rows = self.reader.matching("text", TEXT_COLUMNS, expression, limit)?;
        self.add(List::Words, rows)
    }

    fn names(&mut self, expression: &str, limit: u32) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for symbol in self.reader.matching("defs", DEFS_COLUMNS, expression, limit)? {
            let Some(symbol) = self.reader.symbol(symbol)? else { continue };
            chunks.extend(self.reader.chunk_at(symbol.file, symbol.name_line)?.map(|row| row.id));
        }
        self.add(List::Names, chunks)
    }

    /// A file stands for its best chunk: the first in the list of words, else its first one.
    fn files(&mut self, expression: &str, limit: u32) -> Result<(), StoreError> {
        let mut best: HashMap<i64, i64> = HashMap::new();
        for id in self.lists.iter().find(|(list, _)| *list == List::Words).map_or(&[][..], |(_, ids)| ids) {
            if let Some(Some(row)) = self.rows.get(id) {
                best.entry(row.file).or_insert(*id);
            }
        }
        let mut chunks = Vec::new();
        for file in self.reader.matching("docs", DOCS_COLUMNS, expression, limit)? {
            match best.get(&file) {
                Some(id) => chunks.push(*id),
                None => chunks.extend(self.reader.chunk_at(file, 1)?.map(|row| row.id)),
            }
        }
        self.add(List::Files, chunks)
    }

    fn exact_names(&mut self, query: &Query) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for name in query.names() {
            for symbol in self.reader.symbols_named(name, 20)? {
                chunks.extend(self.reader.chunk_at(symbol.file, symbol.name_line)?.map(|row| row.id));
            }
        }
        self.add(List::Exact, chunks)
    }

    /// Chunks whose text contains the literal. The letters say which may; the text says which do.
    fn literal(&mut self, literal: &str, texts: &mut Texts<'_>) -> Result<(), StoreError> {
        let candidates = match query::grams(literal) {
            Some(expression) => self.reader.containing(&expression, LITERAL_ROWS)?,
            None => self.lists.iter().flat_map(|(_, ids)| ids.iter().copied()).collect(),
        };
        let mut found: Vec<(bool, bool, usize, i64)> = Vec::new();
        for id in candidates {
            let Some(row) = self.row(id)?.cloned() else { continue };
            let Some(text) = texts.chunk(&row) else { continue };
            let count = text
                .lines(row.first_line, row.last_line)
                .iter()
                .filter(|line| line.to_lowercase().contains(literal))
                .count();
            if count > 0 {
                found.push((row.is_test, is_document(&row.language), usize::MAX - count, id));
            }
        }
        found.sort_unstable();
        self.add(List::Literal, found.into_iter().map(|(.., id)| id).collect())
    }

    fn hits(mut self, query: &Query) -> Vec<Hit> {
        let mut scores: HashMap<i64, (f64, Vec<(List, usize)>)> = HashMap::new();
        for (list, ids) in &self.lists {
            for (index, id) in ids.iter().enumerate() {
                let place = index + 1;
                let (score, places) = scores.entry(*id).or_default();
                *score += list.weight(query.is_sentence()) / (FUSION + place as f64);
                places.push((*list, place));
            }
        }
        let mut hits: Vec<Hit> = scores
            .into_iter()
            .filter_map(|(id, (score, places))| {
                let row = self.rows.remove(&id).flatten()?;
                let boosts = boosts(&row, query);
                let score = boosts.iter().fold(score, |score, (_, factor)| score * factor);
                Some(Hit { row, score, places, boosts })
            })
            .collect();
        // Ties are broken by place, so that the same question has the same answer.
        hits.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then_with(|| {
                (&one.row.path, one.row.first_line).cmp(&(&other.row.path, other.row.first_line))
            })
        });
        hits.truncate(FUSED);
        hits
    }
}

fn boosts(row: &ChunkRow, query: &Query) -> Vec<(&'static str, f64)> {
    let mut boosts = Vec::new();
    if row.is_test && !query.wants_tests {
        boosts.push(("test", 0.6));
    }
    if row.is_test && query.wants_tests {
        boosts.push(("test", 1.6));
    }
    if is_document(&row.language) && !query.wants_docs {
        boosts.push(("document", 0.7));
    }
    if is_document(&row.language) && query.wants_docs {
        boosts.push(("document", 1.3));
    }
    if let Some((name, kind)) = &row.symbol {
        let is_named = query.names().any(|wanted| wanted.eq_ignore_ascii_case(name));
        if is_named && kind != "heading" {
            boosts.push(("definition", 1.3));
        }
    }
    boosts
}
