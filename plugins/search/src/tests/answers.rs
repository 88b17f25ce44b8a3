//! What the tools answer.

use llmc_core::code;

use super::*;
use crate::{IndexStatus, Inspect, SymbolLineage, WhereUsed};

fn text<T: Tool>(harness: &Harness, arguments: Value) -> String {
    harness.call::<T>(arguments).unwrap().all_text()
}

#[test]
fn words_names_and_parts_of_names_are_found() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    for (query, path) in [
        ("total_price", "work:src/price.rs"),
        ("totalPrice", "work:src/price.rs"),
        ("total price", "work:src/price.rs"),
        ("get_user_name", "work:web/client.py"),
        ("HttpClient", "work:web/client.py"),
        ("http client", "work:web/client.py"),
        ("where is it checked that there is enough of a line?", "work:src/cart.rs"),
        ("C++", "work:engine/vec.cpp"),
        ("\"assert!(line.count\"", "work:src/cart.rs"),
        ("json.loads(path)", "work:web/client.py"),
        ("src/price.rs", "work:src/price.rs"),
        ("how to install", "work:README.md"),
        ("tests of total_price", "work:tests/cart_test.rs"),
        ("pric*", "work:src/price.rs"),
    ] {
        let answer = search(&harness, query);
        assert_eq!(paths(&answer).first(), Some(&path), "{query}: {answer}");
        assert_eq!((answer["source"].as_str(), answer.get("freshness")), (Some("index"), None), "{query}");
    }
    assert_eq!(search(&harness, "xylophone")["results"], json!([]));
}

#[test]
fn definitions_come_before_uses_and_tests() {
    let ground = Ground::new(PROJECT);
    let answer = search(&ground.harness(), "total_price");
    let mut files = paths(&answer);
    files.truncate(3);
    assert_eq!(files, ["work:src/price.rs", "work:src/cart.rs", "work:tests/cart_test.rs"]);
    let best = &answer["results"][0];
    assert_eq!((best["line"].as_u64(), best["end"].as_u64()), (Some(1), Some(4)));
    assert_eq!(best["symbol"], "function total_price");
    assert!(best["text"].as_str().unwrap().starts_with("/// Sums up prices"), "{best}");
}

#[test]
fn filters_hold() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    let found = |arguments: Value| {
        let answer = harness.call::<SearchCode>(arguments).unwrap().structured.unwrap();
        let mut found: Vec<String> = paths(&answer).into_iter().map(str::to_owned).collect();
        found.dedup();
        found
    };
    assert_eq!(found(json!({"query": "total_price", "kinds": ["tests"]})), ["work:tests/cart_test.rs"]);
    assert_eq!(found(json!({"query": "shop", "kinds": ["docs"]})), ["work:README.md"]);
    assert_eq!(found(json!({"query": "shop", "languages": ["python"]})), ["work:web/client.py"]);
    assert_eq!(found(json!({"query": "line", "kinds": ["class"]})), ["work:src/cart.rs"]);
    for path in ["src", "work:src", "work:src/", "src/*.rs", "./src"] {
        let found = found(json!({"query": "total_price", "path": path}));
        assert_eq!(found, ["work:src/price.rs", "work:src/cart.rs"], "{path}");
    }
    assert_eq!(found(json!({"query": "total_price", "path": "cart.rs"})), ["work:src/cart.rs"]);
    assert_eq!(found(json!({"query": "total_price", "path": "nowhere"})), [""; 0]);
    let error = harness.call::<SearchCode>(json!({"query": "x", "languages": ["cobol"]})).unwrap_err();
    assert!(error.message().contains("python"), "{error}");
}

#[test]
fn explanations_name_lists_and_boosts() {
    let ground = Ground::new(PROJECT);
    let answer =
        ground.harness().call::<SearchCode>(json!({"query": "total_price", "explain": true})).unwrap();
    let answer = answer.structured.unwrap();
    let why = |index: usize| answer["results"][index]["why"].as_str().unwrap().to_owned();
    assert!(why(0).contains("exact name 1") && why(0).contains("definition"), "{}", why(0));
    assert!(why(2).contains("test ×0.6"), "{}", why(2));
    assert_eq!(answer["took_us"].as_array().map(Vec::len), Some(3), "{answer}");
}

#[test]
fn an_empty_query_is_asked_for() {
    let ground = Ground::new(PROJECT);
    for query in ["", "  ", "\n"] {
        let error = ground.harness().call::<SearchCode>(json!({"query": query})).unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
        assert!(error.message().contains("required"), "{error}");
    }
}

#[test]
fn without_roots_or_state_the_missing_grant_is_named() {
    let ground = Ground::new(PROJECT);
    let error =
        Harness::new().root("work", ground.work(), Access::Ro).call::<SearchCode>(json!({"query": "x"}));
    assert_eq!(error.unwrap_err().data(), Some(&json!({"missing_grant": "state"})));
    let error = Harness::new().state(ground.state()).call::<SearchCode>(json!({"query": "x"}));
    assert_eq!(error.unwrap_err().data(), Some(&json!({"missing_grant": "roots"})));
}

#[test]
fn where_used_tells_definitions_calls_and_imports() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    assert_eq!(
        text::<WhereUsed>(&harness, json!({"name": "total_price"})),
        "defined work:src/price.rs:2 (function) pub fn total_price(lines: &[Line]) -> u64 {\n\
         used work:src/cart.rs:1 (import) use crate::price::total_price;\n\
         used work:src/cart.rs:16 (call in sum) total_price(&self.lines)\n\
         used work:tests/cart_test.rs:3 (reference in total_price_of_an_empty_cart) assert_eq!(total_price(&[]), 0);"
    );
    let of_method = text::<WhereUsed>(&harness, json!({"name": "Cart::add_line()"}));
    assert!(of_method.starts_with("defined work:src/cart.rs:10 (function in Cart)"), "{of_method}");
    assert!(text::<WhereUsed>(&harness, json!({"name": "nothing"})).contains("no definition and no use"));
    let answer =
        harness.call::<WhereUsed>(json!({"name": "total_price", "limit": 1})).unwrap().structured.unwrap();
    assert_eq!((&answer["total"], &answer["truncated"]), (&json!(3), &json!(true)));
    for odd in ["", "()", "::"] {
        assert_eq!(
            harness.call::<WhereUsed>(json!({"name": odd})).unwrap_err().code(),
            code::INVALID_ARGUMENTS
        );
    }
}

#[test]
fn lineage_goes_both_ways_and_ends_in_circles() {
    let ground = Ground::new(&[(
        "a.py",
        "def one():\n    two()\n\ndef two():\n    three()\n    len('')\n\ndef three():\n    one()\n\none()\n",
    )]);
    let harness = ground.harness();
    assert_eq!(
        text::<SymbolLineage>(&harness, json!({"name": "two", "depth": 4})),
        "defined:\n  two work:a.py:4\ncalled by:\n    one work:a.py:2\n      three work:a.py:9\n        two work:a.py:5\n      \
         (file) work:a.py:11\ncalls:\n    three work:a.py:8\n      one work:a.py:1\n    len"
    );
    let callers = text::<SymbolLineage>(&harness, json!({"name": "three", "direction": "callers"}));
    assert_eq!(callers, "defined:\n  three work:a.py:8\ncalled by:\n    two work:a.py:5");
}

#[test]
fn inspect_outlines_files_and_symbols() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    assert_eq!(
        text::<Inspect>(&harness, json!({"target": "work:src/cart.rs", "max_tokens": 400})),
        "work:src/cart.rs rust, 22 lines\n 4 class Cart\n 8 impl Cart\n  10 function add_line\n  15 function sum\n \
         20 function check_stock"
    );
    let symbol = text::<Inspect>(&harness, json!({"target": "add_line", "max_tokens": 400}));
    assert!(symbol.contains("work:src/cart.rs:10-13 pub fn add_line(&mut self, line: Line)"), "{symbol}");
    assert!(symbol.contains("calls: check_stock"), "{symbol}");
    let called = text::<Inspect>(&harness, json!({"target": "total_price", "max_tokens": 400}));
    assert!(called.contains("called by: sum"), "{called}");
    assert!(crate::tokens::at_most(&text::<Inspect>(&harness, json!({"target": "work:src/cart.rs"}))) <= 100);
    let error = harness.call::<Inspect>(json!({"target": "nothing"})).unwrap_err();
    assert!(error.message().contains("search_code"), "{error}");
}

#[test]
fn the_budget_is_never_passed_and_lines_stay_whole() {
    let long: String =
        (0..400).map(|n| format!("    let value_{n} = compute_total(value_{n}, \"{n}\");\n")).collect();
    let mut files: Vec<(String, String)> =
        (0..12).map(|n| (format!("src/f{n}.rs"), format!("fn compute_{n}() {{\n{long}}}\n"))).collect();
    files.push(("src/small.rs".into(), "fn compute_total() {}\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let ground = Ground::new(&files);
    let harness = ground.harness();
    reindex(&harness);
    let exact = tiktoken_rs::o200k_base().unwrap();
    for budget in [100, 150, 300, 1_000, 5_000] {
        for limit in [1, 5, 50] {
            let arguments = json!({"query": "compute_total", "max_tokens": budget, "limit": limit});
            let answer = harness.call::<SearchCode>(arguments).unwrap();
            let structured = answer.structured.clone().unwrap();
            for form in [answer.all_text(), structured.to_string()] {
                assert!(exact.encode_ordinary(&form).len() <= budget, "{budget}: {form}");
            }
            let pieces = structured["results"].as_array().unwrap();
            assert!(
                pieces.len() <= limit && (budget < 300 || !pieces.is_empty()),
                "{budget} {limit}: {structured}"
            );
            for piece in pieces {
                let path = piece["path"].as_str().unwrap().strip_prefix("work:").unwrap();
                let file = std::fs::read_to_string(ground.work().join(path)).unwrap();
                let lines: Vec<&str> = file.lines().collect();
                let line = |key: &str| piece[key].as_u64().unwrap() as usize;
                assert_eq!(piece["text"], lines[line("line") - 1..line("end")].join("\n"));
            }
        }
    }
    for (tool, answer) in [
        ("where_used", text::<WhereUsed>(&harness, json!({"name": "compute_total", "max_tokens": 200}))),
        (
            "symbol_lineage",
            text::<SymbolLineage>(&harness, json!({"name": "compute_total", "max_tokens": 200})),
        ),
        ("inspect", text::<Inspect>(&harness, json!({"target": "compute_total"}))),
    ] {
        assert!(exact.encode_ordinary(&answer).len() <= 200, "{tool}: {answer}");
    }
}

#[test]
fn limits_are_clamped_to_their_range() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    for arguments in [
        json!({"query": "the", "limit": 0, "max_tokens": 0}),
        json!({"query": "the", "limit": u32::MAX, "max_tokens": u32::MAX}),
    ] {
        let answer = harness.call::<SearchCode>(arguments).unwrap().structured.unwrap();
        assert!(answer["results"].as_array().unwrap().len() <= 50);
    }
    assert_eq!(
        harness.call::<SearchCode>(json!({"query": "a", "limit": -1})).unwrap_err().code(),
        code::INVALID_ARGUMENTS
    );
}

#[test]
fn changes_are_seen_and_copies_are_shown_once() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    let before = reindex(&harness);
    assert_eq!((&before["files"], &before["freshness"]), (&json!(6), &json!("fresh")));

    ground.write("src/tea.rs", "pub fn brew_oolong() {}\n");
    ground.write("src/copy.rs", "pub fn brew_oolong() {}\n");
    std::fs::remove_file(ground.work().join("src/price.rs")).unwrap();
    ground.write("web/client.py", "class Renamed:\n    pass\n");
    reindex(&harness);
    assert_eq!(paths(&search(&harness, "brew_oolong")).len(), 1);
    assert_eq!(paths(&search(&harness, "Renamed")), ["work:web/client.py"]);
    assert_eq!(paths(&search(&harness, "HttpClient")), [""; 0]);
    assert!(!paths(&search(&harness, "total_price")).contains(&"work:src/price.rs"));

    // What was kept piece by piece is what a new index would hold.
    let kept = ground.dump();
    harness.call::<Reindex>(json!({"full": true})).unwrap();
    assert_eq!(ground.dump(), kept);
}

#[test]
fn an_edit_is_found_by_the_next_search() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    reindex(&harness);
    for round in 0..5 {
        let name = format!("brew_{round}_oolong");
        ground.write("src/tea.rs", &format!("pub fn {name}() {{}}\n"));
        let answer = search(&harness, &name);
        assert_eq!((paths(&answer), answer.get("freshness")), (vec!["work:src/tea.rs"], None), "{answer}");
        assert!(harness.call::<WhereUsed>(json!({"name": name})).unwrap().all_text().contains("defined"));
    }
    std::fs::remove_file(ground.work().join("src/tea.rs")).unwrap();
    assert_eq!(paths(&search(&harness, "brew_4_oolong")), [""; 0]);
}

#[test]
fn with_many_files_an_answer_tells_when_they_were_looked_at() {
    let ground = Ground::new(PROJECT);
    for file in 0..50 {
        ground.write(&format!("many/f{file}.rs"), &format!("fn many_{file}() {{}}\n"));
    }
    let harness = ground.harness();
    reindex(&harness);
    ground.write("src/tea.rs", "pub fn brew_oolong() {}\n");
    let answer = search(&harness, "brew_oolong");
    let says_its_age = answer["freshness"].as_str().is_some_and(|told| told.starts_with("of "));
    assert!(says_its_age || paths(&answer) == ["work:src/tea.rs"], "{answer}");
    reindex(&harness);
    assert_eq!(paths(&search(&harness, "brew_oolong")), ["work:src/tea.rs"]);
}

#[test]
fn what_is_no_text_is_read_once_and_again_when_it_becomes_one() {
    let ground = Ground::new(&[("a.rs", "fn a() {}\n")]);
    std::fs::write(ground.work().join("notes.dat"), b"\0\0brew_oolong").unwrap();
    let harness = ground.harness();
    assert_eq!(reindex(&harness)["files"], 1);
    assert_eq!(paths(&search(&harness, "brew_oolong")), [""; 0]);
    ground.write("notes.dat", "brew_oolong, and more of it\n");
    assert_eq!(paths(&search(&harness, "brew_oolong")), ["work:notes.dat"]);
    std::fs::write(ground.work().join("notes.dat"), b"\0brew_oolong").unwrap();
    assert_eq!(paths(&search(&harness, "brew_oolong")), [""; 0]);
}

#[test]
fn a_change_in_the_same_moment_and_of_the_same_size_is_seen() {
    let ground = Ground::new(&[("a.rs", "fn first_name() {}\n")]);
    let harness = ground.harness();
    for name in ["other_name", "third_name", "fourt_name"] {
        reindex(&harness);
        let file = ground.work().join("a.rs");
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, format!("fn {name}() {{}}\n")).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        reindex(&harness);
        assert_eq!(paths(&search(&harness, name)), ["work:a.rs"], "{name}");
    }
}

#[test]
fn a_root_that_lies_elsewhere_now_is_read_anew() {
    let ground = Ground::new(PROJECT);
    reindex(&ground.harness());
    let other = Ground::new(&[("only.rs", "fn only_here() {}\n")]);
    // Another process, which was granted another directory by the same name.
    let state = tempfile::tempdir().unwrap();
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let from = ground.state().join(name);
        if from.exists() {
            std::fs::copy(from, state.path().join(name)).unwrap();
        }
    }
    let harness = harness_of(&other.work(), state.path());
    assert_eq!(reindex(&harness)["files"], 1);
    assert_eq!(paths(&search(&harness, "only_here")), ["work:only.rs"]);
    assert_eq!(paths(&search(&harness, "total_price")), [""; 0]);
}

#[test]
fn the_commit_and_the_counts_are_told() {
    let ground = Ground::new(PROJECT);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    ground.write(".git/HEAD", &format!("{commit}\n"));
    let harness = ground.harness();
    reindex(&harness);
    assert_eq!(search(&harness, "cart")["commit"], commit[..12]);
    let status = harness.call::<IndexStatus>(json!({})).unwrap().structured.unwrap();
    assert_eq!(status["roots"], json!([{"name": "work", "commit": commit}]));
    assert!(status["symbols"].as_i64().unwrap() > 10 && status["bytes"].as_u64().unwrap() > 0, "{status}");
    assert!(
        status["languages"].as_array().unwrap().contains(&json!({"name": "rust", "files": 3})),
        "{status}"
    );
}

#[test]
fn descriptions_are_short() {
    use llmc_core::testing::item;
    let items = [
        item::<SearchCode>(),
        item::<WhereUsed>(),
        item::<SymbolLineage>(),
        item::<Inspect>(),
        item::<IndexStatus>(),
        item::<Reindex>(),
    ];
    let listed = json!(
        items
            .iter()
            .map(|item| json!({
                "name": item.name, "title": item.title, "description": item.description,
                "inputSchema": item.input_schema, "outputSchema": item.output_schema,
                "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false},
            }))
            .collect::<Vec<_>>()
    );
    let count = tiktoken_rs::o200k_base().unwrap().encode_ordinary(&listed.to_string()).len();
    println!("{count} tokens");
    assert!(count < 2_200, "{count}");
    assert!(items.iter().all(|item| item.annotations.read_only));
}
