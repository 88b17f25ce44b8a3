//! `search_code`.

use std::fmt::Write as _;
use std::time::Instant;

use llmc_core::prelude::*;

use super::{budget, commit, cost, place, unless_fresh};
use crate::filter::{Filter, Wanted};
use crate::grep::grep;
use crate::index::{self, Freshness};
use crate::limits::{
    DEFAULT_RESULTS, DEFAULT_TOKENS, MAX_GREP_TIME, MAX_RESULTS, MAX_TOKENS, MAX_WAIT, MIN_TOKENS,
};
use crate::pack::{Piece, candidates, pack};
use crate::query::Query;
use crate::rank::{self, Hit, Question};
use crate::syntax::Language;
use crate::texts::Texts;

/// Finds code and documents by words, names or phrases; ranked, best first. Not a regex.
#[arguments]
pub struct SearchCode {
    /// What to find: words, a question, an identifier, or a "quoted phrase".
    query: String,
    /// Only these.
    #[serde(default)]
    kinds: Vec<WantedKind>,
    /// Only these, as in `rust` or `python`.
    #[serde(default)]
    languages: Vec<String>,
    /// Only below this path, or files of this glob.
    path: Option<String>,
    /// Most results. Default: 10.
    #[schemars(range(min = 1, max = MAX_RESULTS))]
    limit: Option<u32>,
    /// Most tokens. Default: 4000.
    #[schemars(range(min = MIN_TOKENS, max = MAX_TOKENS))]
    max_tokens: Option<u32>,
    /// Tell why each result is there.
    #[serde(default)]
    explain: bool,
}

/// What a result is.
#[arguments]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum WantedKind {
    Code,
    Tests,
    Docs,
    Function,
    Class,
    Interface,
    Module,
    Type,
    Constant,
    Macro,
}

/// What was found.
#[output(custom_text)]
pub struct Found {
    /// The best first.
    results: Vec<FoundPiece>,
    /// Further ones that were left out.
    more: usize,
    /// `index`, or `grep` if there is none yet.
    source: String,
    /// How up to date, if not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<String>,
    /// The indexed commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Microseconds: look at the files, rank, pack. With `explain`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    took_us: Vec<u64>,
}

/// A piece of a file.
#[output]
#[derive(Clone)]
struct FoundPiece {
    /// Its file.
    path: String,
    /// Its first line.
    line: u32,
    /// Its last line.
    end: u32,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    /// Its lines.
    text: String,
    /// Why it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Tool for SearchCode {
    const NAME: &'static str = "search_code";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Found;

    fn call(self, ctx: &Context) -> ToolResult<Found> {
        let query = Query::parse(&self.query);
        if self.query.trim().is_empty() {
            return Err(ToolError::invalid("`query` is required: words, a question, or an identifier"));
        }
        self.check_languages()?;
        let index = index::of(ctx)?;
        let kinds = self.kinds.iter().map(|kind| kind.wanted()).collect();
        let filter = Filter::new(kinds, self.languages.clone(), self.path.as_deref(), &index.roots)?;
        let mut texts = Texts::new(&index.roots);
        let mut watch = Watch(Instant::now());
        let mut freshness = index.refresh_for(ctx, MAX_WAIT);
        let looked = watch.lap();
        let answer = index.ask(|reader| {
            if reader.meta(index::COMPLETE)?.is_none() && !freshness.is_whole() {
                return Ok(None);
            }
            let question = Question { query: &query, filter: &filter, model: index.model() };
            rank::hits(reader, &question, candidates(self.limit()), &mut texts).map(Some)
        });
        ctx.check()?;
        let (hits, source) = match answer {
            Ok(Some(hits)) => (hits, "index"),
            answer => {
                if let Err(error) = &answer {
                    freshness = match freshness {
                        Freshness::Fresh | Freshness::Aged(_) => Freshness::Stale(error.to_string()),
                        told => told,
                    };
                    // The broken one is built anew meanwhile.
                    index.refresh_later();
                }
                let grepped =
                    grep(&index.roots, &query, &filter, MAX_GREP_TIME.min(ctx.remaining() / 2), ctx);
                ctx.check()?;
                (grepped.hits, if grepped.complete { "grep" } else { "grep, not all files" })
            }
        };
        let empty = Found {
            results: Vec::new(),
            more: 0,
            source: source.into(),
            freshness: unless_fresh(&freshness),
            commit: if source == "index" { commit(&index) } else { None },
            took_us: if self.explain { vec![looked, watch.lap(), 0] } else { Vec::new() },
        };
        Ok(self.fill(empty, hits, &query, &mut texts, watch))
    }
}

impl SearchCode {
    fn check_languages(&self) -> ToolResult<()> {
        let names = Language::names();
        match self.languages.iter().find(|language| !names.contains(&language.as_str())) {
            Some(unknown) => {
                let text = format!("`languages`: `{unknown}` is none of {}", names.join(", "));
                Err(ToolError::invalid(text))
            }
            None => Ok(()),
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS) as usize
    }

    fn fill(
        &self,
        mut found: Found,
        hits: Vec<Hit>,
        query: &Query,
        texts: &mut Texts<'_>,
        mut watch: Watch,
    ) -> Found {
        let limit = self.limit();
        let budget = budget(self.max_tokens, DEFAULT_TOKENS);
        found.more = usize::from(u16::MAX);
        let left = budget.saturating_sub(cost(&found));
        let price = |piece: &Piece| {
            let alone = Found {
                results: vec![self.piece(piece)],
                more: 0,
                source: String::new(),
                freshness: None,
                commit: None,
                took_us: Vec::new(),
            };
            cost(&alone)
        };
        let (pieces, more) = pack(hits, query, texts, limit, left, price);
        found.results = pieces.iter().map(|piece| self.piece(piece)).collect();
        found.more = more;
        if let Some(packed) = found.took_us.last_mut() {
            *packed = watch.lap();
        }
        let dropped = super::shorten(&mut found, budget, |found| found.results.pop().is_some());
        found.more += dropped;
        found
    }

    fn piece(&self, piece: &Piece) -> FoundPiece {
        let row = &piece.hit.row;
        FoundPiece {
            path: place(&row.root, &row.path),
            line: piece.first_line,
            end: piece.last_line,
            symbol: row.symbol.as_ref().map(|(name, kind)| format!("{kind} {name}")),
            text: piece.text.clone(),
            why: self.explain.then(|| why(&piece.hit)),
        }
    }
}

/// Tells how long each part of a call took.
struct Watch(Instant);

impl Watch {
    /// Microseconds since the last time.
    fn lap(&mut self) -> u64 {
        let took = self.0.elapsed();
        self.0 += took;
        took.as_micros().try_into().unwrap_or(u64::MAX)
    }
}

impl WantedKind {
    fn wanted(self) -> Wanted {
        match self {
            Self::Code => Wanted::Code,
            Self::Tests => Wanted::Tests,
            Self::Docs => Wanted::Docs,
            Self::Function => Wanted::Symbol("function"),
            Self::Class => Wanted::Symbol("class"),
            Self::Interface => Wanted::Symbol("interface"),
            Self::Module => Wanted::Symbol("module"),
            Self::Type => Wanted::Symbol("type"),
            Self::Constant => Wanted::Symbol("constant"),
            Self::Macro => Wanted::Symbol("macro"),
        }
    }
}

/// `0.0312 = words 1 + names 4, test ×0.6`.
fn why(hit: &Hit) -> String {
    let places: Vec<String> =
        hit.places.iter().map(|(list, place)| format!("{} {place}", list.name())).collect();
    let mut why = format!("{:.4} = {}", hit.score, places.join(" + "));
    for (reason, factor) in &hit.boosts {
        let _ = write!(why, ", {reason} ×{factor}");
    }
    why
}

impl StructuredOutput for Found {
    fn text(&self) -> String {
        let mut text = String::new();
        for piece in &self.results {
            let symbol = piece.symbol.as_ref().map_or(String::new(), |symbol| format!(" {symbol}"));
            let why = piece.why.as_ref().map_or(String::new(), |why| format!(" [{why}]"));
            let _ =
                write!(text, "{}:{}-{}{symbol}{why}\n{}\n\n", piece.path, piece.line, piece.end, piece.text);
        }
        if self.results.is_empty() {
            text.push_str("nothing found\n");
        }
        let more = if self.more > 0 { format!("{} more; ", self.more) } else { String::new() };
        let fresh = self.freshness.as_ref().map_or(String::new(), |told| format!(", {told}"));
        let commit = self.commit.as_ref().map_or(String::new(), |commit| format!(", commit {commit}"));
        let _ = write!(text, "({more}source: {}{fresh}{commit})", self.source);
        if let [looked, ranked, packed] = self.took_us[..] {
            let _ = write!(text, "\n(looked at files {looked} µs, ranked {ranked} µs, packed {packed} µs)");
        }
        text
    }
}
