//! `search_code`.

use std::fmt::Write as _;

use llmc_core::prelude::*;

use super::{budget, commit, cost, place, unless_fresh};
use crate::filter::{Filter, Wanted};
use crate::grep::grep;
use crate::index::{self, Freshness};
use crate::limits::{
    DEFAULT_RESULTS, DEFAULT_TOKENS, MAX_GREP_TIME, MAX_RESULTS, MAX_TOKENS, MAX_WAIT, MIN_TOKENS,
};
use crate::pack::{Piece, pack};
use crate::query::Query;
use crate::rank::{self, Hit};
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
        let mut freshness = index.refresh_for(ctx, MAX_WAIT);
        let answer = index.ask(|reader| {
            if reader.meta(index::COMPLETE)?.is_none() && freshness != Freshness::Fresh {
                return Ok(None);
            }
            rank::hits(reader, &query, &filter, &mut texts).map(Some)
        });
        ctx.check()?;
        let (hits, source) = match answer {
            Ok(Some(hits)) => (hits, "index"),
            answer => {
                if let Err(error) = &answer {
                    freshness = match freshness {
                        Freshness::Fresh => Freshness::Stale(error.to_string()),
                        told => told,
                    };
                    // The broken one is built anew meanwhile.
                    index.refresh(MAX_GREP_TIME, std::time::Duration::ZERO, &|_| false);
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
        };
        Ok(self.fill(empty, hits, &query, &mut texts))
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

    fn fill(&self, mut found: Found, hits: Vec<Hit>, query: &Query, texts: &mut Texts<'_>) -> Found {
        let limit = self.limit.unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS) as usize;
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
            };
            cost(&alone)
        };
        let (pieces, more) = pack(hits, query, texts, limit, left, price);
        found.results = pieces.iter().map(|piece| self.piece(piece)).collect();
        found.more = more;
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
        text
    }
}
