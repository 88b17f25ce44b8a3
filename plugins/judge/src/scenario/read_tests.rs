//! What a scenario may say, and how it is told what it may not.

use super::*;
use crate::scenario::{PropertyKind, Query, Severity};

const SMALL: &str = "id: small\nexpectations:\n  must_use_tools: [search]\n";

/// As in the program that the format comes from.
const ORIGINAL: &str = r#"
id: vector-search
version: 1
suite: rag
description: Two orders of words.
goal: Find the same.
interfaces: [mcp, cli]
preconditions: {}
queries:
  base: "a b"
  variants: ["b a"]
  hard: VECTOR
expectations:
  must_use_tools: [rag_search]
  must_not_use_tools: [run_cmd]
  properties:
    - name: order
      type: metamorphic
      relation: jaccard(results("base"), results("variants[0]"))
      constraint: jaccard >= 0.5
    - name: works
      type: assertion
      constraint: result.success == true
    - name: few
      type: heuristic
      constraint: len(calls()) < 9
severity_policy:
  property_failures: { order: P0 }
"#;

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn scenarios_are_read() {
    assert_eq!(parse(SMALL).unwrap().expectations.must_use_tools, ["search"]);
    let scenario = parse(ORIGINAL).unwrap();
    assert_eq!(scenario.queries["variants"], Query::Many(vec!["b a".into()]));
    assert_eq!(scenario.expectations.properties[2].kind, PropertyKind::Heuristic);
    assert_eq!(scenario.severity_policy.property_failures["order"], Severity::P0);
}

#[test]
fn unknown_fields_are_refused_with_their_line() {
    let told = error(&ORIGINAL.replace("goal:", "gaol:"));
    assert!(told.starts_with("line 6, column 1: unknown field `gaol`"), "{told}");
    let told = error(&ORIGINAL.replace("      relation:", "      relatoin:"));
    assert!(told.starts_with("line 19, column 7: unknown field `relatoin`"), "{told}");
    let told = error(&format!("{SMALL}  must_use: [x]\n"));
    assert!(told.starts_with("line 4, column 3: unknown field `must_use`"), "{told}");
    let told = error(&ORIGINAL.replace("type: heuristic", "type: hunch"));
    assert!(told.starts_with("line 25, column 13: unknown variant `hunch`"), "{told}");
    assert!(error(&ORIGINAL.replace("order: P0", "order: P9")).contains("unknown variant `P9`"));
    assert!(
        error(&format!("{SMALL}id: again\n")).contains("line 4"),
        "{}",
        error(&format!("{SMALL}id: again\n"))
    );
}

#[test]
fn what_expects_nothing_is_refused() {
    assert!(error("id: x\nexpectations: {}\n").contains("nothing is expected"));
    assert!(error("id: x\n").contains("missing field `expectations`"), "{}", error("id: x\n"));
    assert!(error(&ORIGINAL.replace("jaccard >= 0.5", "\" \"")).contains("nothing could be judged"));
}

#[test]
fn parts_have_to_fit_together() {
    for (from, to, expected) in [
        ("id: vector-search", "id: ../etc", "`id`"),
        ("id: vector-search", "id: .hidden", "`id`"),
        ("id: vector-search", "id: a/b", "`id`"),
        ("version: 1", "version: 2", "`version`: 2 is unknown"),
        ("name: works", "name: order", "`order` is the name of two properties"),
        ("{ order: P0 }", "{ ordre: P0 }", "there is no property `ordre`"),
        ("[run_cmd]", "[rag_search]", "must be used and must not be used"),
        ("[run_cmd]", "[a, a]", "`a` is there twice"),
        ("[run_cmd]", "[\"a b\"]", "is no name of a tool"),
        ("preconditions: {}", "script: [{ call: x, for_each: { a: [1], b: [2] } }]", "one variable"),
        ("preconditions: {}", "script: [{ call: x, repeat: 0 }]", "at least 1"),
        ("preconditions: {}", "script: [{ call: x, repeat: 2, for_each: { a: [1] } }]", "do not go together"),
        ("preconditions: {}", "script: [{ call: x, save: { a-b: /x } }]", "no name of a variable"),
    ] {
        let told = error(&ORIGINAL.replace(from, to));
        assert!(told.contains(expected), "{to}: {told}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("id: bomb\nqueries:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    let nested: String = ('b'..='i')
        .zip('a'..='h')
        .map(|(name, before)| format!("  {name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", ")))
        .collect();
    bomb.push_str(&nested);
    bomb.push_str("expectations: { must_use_tools: [x] }\n");
    assert!(parse(&bomb).is_err());
    let deep = format!("id: {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&deep).is_err());
    let deep = format!("{SMALL}script:\n- call: x\n  with: {{ a: {}1{} }}\n", "[".repeat(60), "]".repeat(60));
    assert!(parse(&deep).is_err());
    let wide = format!("{SMALL}interfaces: [{}]\n", "x, ".repeat(30_000));
    assert!(parse(&wide).is_err());
    assert_eq!(parse(&" ".repeat(1 << 20)).unwrap_err(), ScenarioError::TooLarge(1 << 20));
    // The honest neighbour: an alias, some depth, a list.
    let fine = format!(
        "{SMALL}queries: {{ a: &a [x, y], b: *a }}\nscript: [{{ call: x, with: {{ a: [[[[1]]]] }} }}]\n"
    );
    assert_eq!(parse(&fine).unwrap().queries["b"], Query::Many(vec!["x".into(), "y".into()]));
}

#[test]
fn no_value_is_guessed() {
    let version = error(&ORIGINAL.replace("version: 1", "version: yes"));
    assert!(version.starts_with("line 3"), "{version}");
    let words = parse(&ORIGINAL.replace("VECTOR", "no")).unwrap();
    assert_eq!(words.queries["hard"], Query::One("no".into()));
    assert!(parse("").is_err() && parse("[]").is_err() && parse("--- {}\n--- {}\n").is_err());
    assert!(parse("id: \u{0}\n").is_err());
}
