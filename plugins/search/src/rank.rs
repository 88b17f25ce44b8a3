//! Which chunks answer a query best.
//!
//! Several lists are asked for, each sorted by its own measure: words of chunks, names, whole files, exact names, exact
//! letters, and the meaning if there is a model. They are fused by reciprocal rank (Cormack, Clarke, Büttcher, SIGIR 2009): a list gives a chunk at place `r`
//! the score `weight / (60 + r)`, so measures that cannot be compared need not be. Boosts then say what a reader would
//! rather see: definitions before uses before tests.

use std::collections::{HashMap, HashSet};

use crate::filter::Filter;
use crate::meaning::Model;
use crate::query::{self, Query};
use crate::store::{Brief, ChunkRow, Reader, StoreError};
use crate::texts::Texts;

/// The constant of the paper.
const FUSION: f64 = 60.0;
/// Rows of a list; more when a filter will leave some out.
const LIST_ROWS: u32 = 80;
const FILTERED_ROWS: u32 = 2_000;
/// Chunks that may contain a literal, of which each is looked into.
const LITERAL_ROWS: u32 = 400;
/// Definitions of one name.
const EXACT_ROWS: u32 = 20;
/// What is less alike by its meaning has nothing to do with it; a cosine.
const LEAST_LIKENESS: f32 = 0.35;

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
    /// It means nearly the same, by the model.
    Meaning,
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
            Self::Meaning => "meaning",
        }
    }

    /// In a sentence, what a file is about tells more than what a function is called.
    fn weight(self, is_sentence: bool) -> f64 {
        match self {
            Self::Words | Self::Exact => 1.0,
            Self::AllWords => 0.6,
            Self::Names if is_sentence => 0.5,
            Self::Files if is_sentence => 1.0,
            Self::Names | Self::Files | Self::Meaning => 0.8,
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

/// The best chunks, the very best first, at most `count`.
pub(crate) fn hits(
    reader: &Reader,
    question: &Question<'_>,
    count: usize,
    texts: &mut Texts<'_>,
) -> Result<Vec<Hit>, StoreError> {
    let Question { query, filter, model } = question;
    let mut fusion =
        Fusion { reader, filter, briefs: HashMap::new(), files: HashMap::new(), lists: Vec::new() };
    let limit = if filter.is_empty() { LIST_ROWS } else { FILTERED_ROWS };
    let all = match query.all_words() {
        Some(all) => reader.matching("text", TEXT_COLUMNS, &all, limit)?,
        None => Vec::new(),
    };
    if let Some(any) = query.any_word() {
        // Where many chunks have all words, those that lack some are not among the best; there are ten times as many.
        let rows = match all.len() >= LIST_ROWS as usize {
            true => all.clone(),
            false => reader.matching("text", TEXT_COLUMNS, &any, limit)?,
        };
        fusion.add(List::Words, rows)?;
        fusion.names(&any, limit)?;
        fusion.files(&any, limit)?;
    }
    fusion.add(List::AllWords, all)?;
    fusion.exact_names(query)?;
    for literal in &query.literals {
        fusion.literal(literal, texts)?;
    }
    if let Some(vector) = model.and_then(|model| model.vector(&query.text)) {
        let rows = reader.meaning(&vector, LEAST_LIKENESS, limit as usize)?;
        fusion.add(List::Meaning, rows)?;
    }
    fusion.hits(query, count)
}

/// What is wanted.
pub(crate) struct Question<'a> {
    pub(crate) query: &'a Query,
    pub(crate) filter: &'a Filter,
    pub(crate) model: Option<&'a Model>,
}

struct Fusion<'a> {
    reader: &'a Reader,
    filter: &'a Filter,
    /// What is known of each chunk; nothing if it is not wanted.
    briefs: HashMap<i64, Option<Brief>>,
    /// Whether chunks of a file can be wanted.
    files: HashMap<i64, bool>,
    lists: Vec<(List, Vec<i64>)>,
}

impl Fusion<'_> {
    /// What is known of a chunk, if it is wanted.
    fn brief(&mut self, id: i64) -> Result<Option<Brief>, StoreError> {
        if let Some(known) = self.briefs.get(&id) {
            return Ok(*known);
        }
        let brief = match self.reader.brief(id)? {
            Some(brief) if self.takes(&brief)? => Some(brief),
            _ => None,
        };
        self.briefs.insert(id, brief);
        Ok(brief)
    }

    fn takes(&mut self, brief: &Brief) -> Result<bool, StoreError> {
        if self.filter.is_empty() {
            return Ok(true);
        }
        let takes_file = match self.files.get(&brief.file) {
            Some(known) => *known,
            None => {
                let file = self.reader.file_row(brief.file)?;
                let takes = file.is_some_and(|file| {
                    self.filter.takes_file(&file.root, &file.path, &file.language, file.is_test)
                });
                self.files.insert(brief.file, takes);
                takes
            }
        };
        Ok(takes_file && self.filter.takes_chunk(brief, self.reader)?)
    }

    fn add(&mut self, list: List, chunks: Vec<i64>) -> Result<(), StoreError> {
        let (mut wanted, mut seen) = (Vec::new(), HashSet::new());
        for id in chunks {
            if wanted.len() >= LIST_ROWS as usize {
                break;
            }
            if self.brief(id)?.is_some() && seen.insert(id) {
                wanted.push(id);
            }
        }
        self.lists.push((list, wanted));
        Ok(())
    }

    fn names(&mut self, expression: &str, limit: u32) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for symbol in self.reader.matching("defs", DEFS_COLUMNS, expression, limit)? {
            chunks.extend(self.reader.chunk_of(symbol)?);
        }
        self.add(List::Names, chunks)
    }

    /// A file stands for its best chunk: the first in the list of words, else its first one.
    fn files(&mut self, expression: &str, limit: u32) -> Result<(), StoreError> {
        let mut best: HashMap<i64, i64> = HashMap::new();
        for id in self.lists.iter().find(|(list, _)| *list == List::Words).map_or(&[][..], |(_, ids)| ids) {
            if let Some(Some(brief)) = self.briefs.get(id) {
                best.entry(brief.file).or_insert(*id);
            }
        }
        let mut chunks = Vec::new();
        for file in self.reader.matching("docs", DOCS_COLUMNS, expression, limit)? {
            match best.get(&file) {
                Some(id) => chunks.push(*id),
                None => chunks.extend(self.reader.first_chunk(file)?),
            }
        }
        self.add(List::Files, chunks)
    }

    fn exact_names(&mut self, query: &Query) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for name in query.names() {
            chunks.extend(self.reader.chunks_named(name, EXACT_ROWS)?);
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
            let Some(brief) = self.brief(id)? else { continue };
            let Some(file) = self.reader.file_row(brief.file)? else { continue };
            let Some(text) = texts.of(&file.root, &file.path) else { continue };
            let lines = text.part(brief.first_line, brief.last_line).to_lowercase();
            let count = lines.lines().filter(|line| line.contains(literal)).count();
            if count > 0 {
                found.push((brief.is_test, brief.is_document, usize::MAX - count, id));
            }
        }
        found.sort_unstable();
        self.add(List::Literal, found.into_iter().map(|(.., id)| id).collect())
    }

    fn hits(self, query: &Query, count: usize) -> Result<Vec<Hit>, StoreError> {
        let mut scores: HashMap<i64, (f64, Vec<(List, usize)>)> = HashMap::new();
        for (list, ids) in &self.lists {
            for (index, id) in ids.iter().enumerate() {
                let place = index + 1;
                let (score, places) = scores.entry(*id).or_default();
                *score += list.weight(query.is_sentence()) / (FUSION + place as f64);
                places.push((*list, place));
            }
        }
        let mut named = HashSet::new();
        for name in query.names() {
            named.extend(self.reader.name_ids(name)?);
        }
        let mut best = Vec::with_capacity(scores.len());
        for (id, (score, places)) in scores {
            let Some(Some(brief)) = self.briefs.get(&id) else { continue };
            let boosts = boosts(brief, query, &named);
            let score = boosts.iter().fold(score, |score, (_, factor)| score * factor);
            best.push((score, id, places, boosts));
        }
        best.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let mut hits = Vec::new();
        for (score, id, places, boosts) in best.into_iter().take(count) {
            hits.extend(self.reader.chunk(id)?.map(|row| Hit { row, score, places, boosts }));
        }
        // Ties are broken by place, so that the same question has the same answer.
        hits.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then_with(|| {
                (&one.row.path, one.row.first_line).cmp(&(&other.row.path, other.row.first_line))
            })
        });
        Ok(hits)
    }
}

/// `named` are the names that the query may be about.
fn boosts(brief: &Brief, query: &Query, named: &HashSet<i64>) -> Vec<(&'static str, f64)> {
    let mut boosts = Vec::new();
    if brief.is_test {
        boosts.push(("test", if query.wants_tests { 1.6 } else { 0.6 }));
    }
    if brief.is_document {
        boosts.push(("document", if query.wants_docs { 1.3 } else { 0.7 }));
    }
    if brief.name.is_some_and(|name| named.contains(&name)) {
        boosts.push(("definition", 1.3));
    }
    boosts
}
