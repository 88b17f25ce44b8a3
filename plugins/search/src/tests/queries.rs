//! Nothing that a user types is an error of the database.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::*;
use crate::filter::Filter;
use crate::query::Query;
use crate::rank::{self, Hit, Question};
use crate::store::{Reader, StoreError};
use crate::texts::Texts;

/// An index that queries are asked of.
static GROUND: LazyLock<Ground> = LazyLock::new(|| {
    let ground = Ground::new(PROJECT);
    reindex(&ground.harness());
    ground
});

pub(super) fn hits(reader: &Reader, query: &Query, texts: &mut Texts<'_>) -> Result<Vec<Hit>, StoreError> {
    rank::hits(reader, &Question { query, filter: &Filter::default(), model: None }, 25, texts)
}

/// Asks the database itself, where an error is not hidden by a degraded answer.
fn ask(reader: &Reader, query: &str) -> usize {
    let ctx = GROUND.harness().context();
    let mut texts = Texts::new(ctx.roots().unwrap());
    let hits = hits(reader, &Query::parse(query), &mut texts);
    hits.unwrap_or_else(|error| panic!("{query:?}: {error}")).len()
}

/// Pieces of which odd queries are made.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "*",
    "(",
    ")",
    "{",
    "}",
    "^",
    ":",
    "-",
    "+",
    ".",
    ",",
    "NEAR",
    "NEAR(",
    "AND",
    "OR",
    "NOT",
    " ",
    "\0",
    "\n",
    "names",
    "names:",
    "a",
    "the",
    "total_price",
    "C++",
    "fn()",
    "a.b",
    "é",
    "\u{202e}",
    "日本",
    "🦀",
    "\u{0}",
    "%",
    "_",
    "\\",
    ";",
    "--",
    "/*",
    "]",
    "[",
    "0",
    "rank",
    "MATCH",
    "\u{fffd}",
    "ǅ",
    "İ",
    "ß",
    "ﬀ",
];

#[test]
fn known_odd_queries_answer() {
    let reader = Reader::open(&GROUND.state()).unwrap();
    for query in [
        "foo-bar",
        "foo:bar",
        "fn()",
        "C++",
        "a.b",
        "what is foo?",
        "it's",
        "\"open",
        "(",
        "*",
        "foo AND",
        "NEAR(",
        "\0",
        "\"",
        "\"\"",
        "\"\"\"",
        "names : x",
        "{names path} : x",
        "^foo",
        "foo^",
        "-foo",
        "foo NOT",
        "NOT NOT",
        "a* b* *",
        "'; DROP TABLE files; --",
        "rank",
        "text",
        "\u{0}\u{1}",
        "AND OR NOT NEAR",
    ] {
        ask(&reader, query);
        GROUND.harness().call::<SearchCode>(json!({"query": query})).unwrap();
    }
    for query in ["model", "system", "data", "the", "shop"] {
        let ground = Ground::new(&[("a.txt", &format!("one line with {query} in it\n"))]);
        assert_eq!(paths(&search(&ground.harness(), query)), ["work:a.txt"], "{query}");
    }
    assert!(ask(&reader, &"total_price ".repeat(100_000)) > 0);
}

proptest::proptest! {
    #[test]
    fn any_text_answers(query in "\\PC{0,80}") {
        ask(&Reader::open(&GROUND.state()).unwrap(), &query);
    }

    #[test]
    fn any_mixture_of_operators_answers(pieces in proptest::collection::vec(0..PIECES.len(), 0..30)) {
        let query: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        ask(&Reader::open(&GROUND.state()).unwrap(), &query);
    }
}

/// One million texts, as many as `LLMC_QUERIES` says: random letters, and pieces of the query language.
#[test]
#[ignore = "takes minutes"]
fn a_million_queries_answer() {
    let count: u64 = std::env::var("LLMC_QUERIES").map_or(1_000_000, |count| count.parse().unwrap());
    let reader = Reader::open(&GROUND.state()).unwrap();
    let ctx = GROUND.harness().context();
    let mut texts = Texts::new(ctx.roots().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut longest = (Duration::ZERO, String::new());
    for _ in 0..count {
        let mut query = String::new();
        for _ in 0..random(12) {
            match random(4) {
                0 => query.push(char::from_u32(random(0x11_0000) as u32).unwrap_or('\u{fffd}')),
                1 => query.push(char::from(random(128) as u8)),
                _ => query.push_str(PIECES[random(PIECES.len())]),
            }
        }
        let begun = Instant::now();
        let parsed = Query::parse(&query);
        if let Err(error) = hits(&reader, &parsed, &mut texts) {
            panic!("{query:?}: {error}");
        }
        if begun.elapsed() > longest.0 {
            longest = (begun.elapsed(), query);
        }
    }
    println!("{count} queries; the longest took {:?}: {:?}", longest.0, longest.1);
}
