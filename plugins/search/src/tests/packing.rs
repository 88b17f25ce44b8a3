//! What is chosen from what was found: within the budget, and not the same thing twice.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use tiktoken_rs::CoreBPE;

use super::*;
use crate::pack::pack;
use crate::query::Query;
use crate::rank::Hit;
use crate::store::ChunkRow;
use crate::texts::Texts;

static EXACT: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::o200k_base().unwrap());

/// Eight lines around a name, with one line of their own.
fn relative(name: &str, own: &str) -> String {
    let same = "    let mut parts = input.splitn(2, ':');\n    let key = parts.next().unwrap_or_default();\n    \
                let value = parts.next().unwrap_or_default();\n    let header = Header { key, value };\n";
    format!(
        "/// Parses a header.\npub fn {name}(input: &str) -> Header {{\n{same}    {own}\n    header\n}}\n"
    )
}

/// Packs files as if they had been found with these scores.
fn packed(files: &[(&str, &str, f64)], limit: usize) -> Vec<String> {
    let ground = Ground::new(&files.iter().map(|(path, text, _)| (*path, *text)).collect::<Vec<_>>());
    let ctx = ground.harness().context();
    let mut texts = Texts::new(ctx.roots().unwrap());
    let hit = |(path, text, score): &(&str, &str, f64)| Hit {
        row: ChunkRow {
            id: 0,
            file: 0,
            root: "work".into(),
            path: (*path).to_owned(),
            language: "rust".into(),
            is_test: false,
            first_line: 1,
            last_line: text.lines().count().try_into().unwrap(),
            symbol: None,
        },
        score: *score,
        places: Vec::new(),
        boosts: Vec::new(),
    };
    let hits = files.iter().map(hit).collect();
    let query = Query::parse("header");
    let (pieces, _) = pack(hits, &query, &mut texts, limit, 10_000, |piece| piece.text.len());
    pieces.into_iter().map(|piece| piece.hit.row.path).collect()
}

#[test]
fn what_says_the_same_comes_after_what_says_something_else() {
    let [apples, pears, plums] =
        ["apples", "pears", "plums"].map(|name| relative(name, &format!("log({name});")));
    let other = "fn refuse(request: &Request) {\n    assert!(request.is_whole(), \"refused\");\n}\n";
    let files =
        [("a.rs", &*apples, 1.0), ("b.rs", &*pears, 0.99), ("c.rs", &*plums, 0.98), ("z.rs", other, 0.9)];
    assert_eq!(packed(&files, 4), ["a.rs", "z.rs", "b.rs", "c.rs"]);
    // What is hardly found at all does not come first by being different; a copy does not come at all.
    let files =
        [("a.rs", &*apples, 1.0), ("b.rs", &*pears, 0.99), ("copy.rs", &*apples, 0.9), ("z.rs", other, 0.5)];
    assert_eq!(packed(&files, 4), ["a.rs", "b.rs", "z.rs"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is in the files and however little is allowed, no form of an answer has more tokens.
    #[test]
    fn no_answer_is_over_its_budget(
        lines in proptest::collection::vec("(marker |[a-z]{1,12} |[A-Z_]{1,6}|[0-9]{1,8}|\\PC|[\"'{}()=<>/]){0,25}", 1..160),
        asked in proptest::collection::vec((100..3_000usize, 1..20usize, any::<bool>()), 1..8),
    ) {
        let text: Vec<String> = lines.iter().map(|line| format!("marker {line}")).collect();
        let files: BTreeSet<String> = text.chunks(40).map(|lines| lines.join("\n")).collect();
        let files: Vec<(String, String)> =
            files.into_iter().enumerate().map(|(number, text)| (format!("f{number}.txt"), text)).collect();
        let ground =
            Ground::new(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
        let harness = ground.harness();
        for (budget, limit, explain) in asked {
            let arguments = json!({"query": "marker", "max_tokens": budget, "limit": limit, "explain": explain});
            let answer = harness.call::<SearchCode>(arguments).unwrap();
            let structured = answer.structured.clone().unwrap();
            for form in [answer.all_text(), structured.to_string()] {
                let tokens = EXACT.encode_ordinary(&form).len();
                prop_assert!(tokens <= budget, "{tokens} > {budget}: {form}");
            }
            let pieces = structured["results"].as_array().unwrap();
            prop_assert!(pieces.len() <= limit && (budget < 2_000 || !pieces.is_empty()));
        }
    }
}
