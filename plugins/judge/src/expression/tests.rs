//! What expressions mean, and what they refuse.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_STEPS};
use crate::scenario::Query;
use crate::trace::{Call, ResultSummary};

/// Two searches for the same words in either order, one for a word with a keyword in it, one read that failed.
fn calls() -> Vec<Call> {
    let search = |place, query: &str, ids: &[&str]| Call {
        place,
        step: place as u64 * 2 + 1,
        tool: "search".into(),
        args: json!({"query": query, "limit": 10, "paths": ["a", "b"]}).as_object().cloned(),
        success: Some(true),
        outcome: Some("ok".into()),
        latency_ms: Some(1.5 + place as f64),
        summary: Some(ResultSummary {
            hit_count: Some(ids.len() as u64),
            truncated: Some(false),
            item_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            text: Some(ids.join("\n")),
        }),
        ..Call::default()
    };
    let read = Call {
        place: 3,
        step: 7,
        tool: "read_file".into(),
        label: Some("the read".into()),
        success: Some(false),
        outcome: Some("denied".into()),
        ..Call::default()
    };
    vec![
        search(0, "a b", &["1", "2", "3"]),
        search(1, "b a", &["3", "2", "4"]),
        search(2, "VECTOR", &["9"]),
        read,
    ]
}

fn evaluate_within(source: &str, budget: &mut Budget) -> Result<Value, ExpressionError> {
    let queries = BTreeMap::from([
        ("base".to_owned(), Query::One("a b".into())),
        ("variants".to_owned(), Query::Many(vec!["b a".into()])),
    ]);
    let calls = calls();
    let facts = Facts { calls: &calls, queries: &queries };
    Expression::parse(source, &[])?.evaluate(&facts, &[], budget)
}

fn evaluate(source: &str) -> Result<Value, ExpressionError> {
    evaluate_within(source, &mut Budget::default())
}

#[track_caller]
fn gives(source: &str, expected: serde_json::Value) {
    match evaluate(source) {
        Ok(value) => assert_eq!(value.to_json(), expected, "{source}"),
        Err(error) => panic!("{source}: {error}"),
    }
}

#[track_caller]
fn refused(source: &str, kind: Kind) -> ExpressionError {
    match evaluate(source) {
        Ok(value) => panic!("{source} gave {value:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{source}: {error}");
            error
        }
    }
}

#[test]
fn the_basics_hold() {
    gives("1 + 1", json!(2));
    gives("10 > 5", json!(true));
    gives("len([1,2,3])", json!(3));
    gives("2 + 3 * 4 - -1", json!(15));
    gives("(2 + 3) * 4", json!(20));
    gives("7 / 2", json!(3.5));
    gives("7 % 4", json!(3));
    gives("1.5e2 + 0.5", json!(150.5));
    gives("1 == 1.0 and 'a' != \"b\"", json!(true));
}

#[test]
fn words_and_signs_join_alike() {
    for (source, expected) in [
        ("true and not false", true),
        ("true AND NOT false", true),
        ("true && !false", true),
        ("false or false", false),
        ("false OR true", true),
        ("false || true", true),
        ("not 1 == 2", true),
        ("not true or true", true),
        ("true or false and false", true),
        ("2 in [1, 2] and 3 not in [1, 2]", true),
        ("'b' in 'abc'", true),
        ("1 if false else 2", false),
    ] {
        let expected = if source.starts_with('1') { json!(2) } else { json!(expected) };
        gives(source, expected);
    }
    gives("'x AND y OR NOT z'", json!("x AND y OR NOT z"));
    gives("[1, [2, 'a'],][1][-1]", json!("a"));
    gives("'a\\'b\\n' + \"\\\"\"", json!("a'b\n\""));
}

#[test]
fn the_second_side_is_computed_only_if_it_matters() {
    gives("true or 1 / 0 > 1", json!(true));
    gives("false and success('nothing')", json!(false));
    refused("false or 1 / 0 > 1", Kind::Arithmetic);
    refused("true or nothing()", Kind::Unknown);
}

#[test]
fn the_trace_is_asked() {
    gives(r#"result_count("VECTOR") > 0 AND jaccard(results("a b"),results("b a")) >= 0.5"#, json!(true));
    gives("jaccard(results('a b'), results('b a'))", json!(0.5));
    gives("results('base') == results('a b') and results('variants[0]') == results('b a')", json!(true));
    gives("query('base') + '!'", json!("a b!"));
    gives("calls('search')", json!([1, 3, 5]));
    gives("len(calls()) == 4 and len(calls('*_file')) == 1 and len(calls('nothing')) == 0", json!(true));
    gives("before('search', 'read_file') and not before('read_file', 'search')", json!(true));
    gives("max(latencies_ms('search'))", json!(3.5));
    gives("latency_ms('base') < latency_ms('VECTOR')", json!(true));
    gives("arg('VECTOR', 'limit') == 10 and arg('VECTOR', 'none') == null", json!(true));
    gives("arg('VECTOR', 'paths')[1]", json!("b"));
    gives("args('search', 'query')", json!(["a b", "b a", "VECTOR"]));
    gives("outcome('the read')", json!("denied"));
    gives("not success('the read') and success('search')", json!(true));
    gives("success()", json!(false));
    gives("result.success == true", json!(false));
    gives("not truncated('base') and contains(text('base'), '2')", json!(true));
}

#[test]
fn functions_over_values() {
    gives("sum([1, 2, 3.5])", json!(6.5));
    gives("min(3, 1, 2) + max([4, 9])", json!(10));
    gives("abs(-3) + abs(2)", json!(5));
    gives("round(2.567, 1)", json!(2.6));
    gives("round(2.5)", json!(3.0));
    gives("distinct([1, 1.0, 'a', 'a'])", json!([1, "a"]));
    gives("subset(['a'], ['b', 'a']) and same(['a', 'b'], ['b', 'a', 'a'])", json!(true));
    gives("all([true, 1 < 2]) and any([false, true])", json!(true));
    gives("lower('ÄB') == 'äb' and starts_with('abc', 'ab') and ends_with('abc', 'bc')", json!(true));
    gives("len('äöü')", json!(3));
}

#[test]
fn attacks_on_other_languages_mean_nothing_here() {
    for (source, kind) in [
        ("__import__('os').system('touch /tmp/x')", Kind::Unknown),
        ("open('/etc/passwd').read()", Kind::Unknown),
        ("eval('1')", Kind::Unknown),
        ("exec('import os')", Kind::Unknown),
        ("getattr(1, '__class__')", Kind::Unknown),
        ("globals()", Kind::Unknown),
        ("(1).__class__.__base__.__subclasses__()", Kind::Syntax),
        ("''.__class__", Kind::Syntax),
        ("results('a b').append", Kind::Syntax),
        ("s.secret", Kind::Syntax),
        ("result.secret", Kind::Syntax),
        ("result.success.x", Kind::Syntax),
        ("secret", Kind::Unknown),
        ("import os", Kind::Syntax),
        ("lambda: 1", Kind::Syntax),
        ("[x for x in [1]]", Kind::Syntax),
        ("{1: 2}", Kind::Syntax),
        ("x = 1", Kind::Syntax),
        ("x := 1", Kind::Syntax),
        ("1; 2", Kind::Syntax),
        ("`ls`", Kind::Syntax),
        ("$(ls)", Kind::Syntax),
        ("f'{1}'", Kind::Syntax),
        ("print", Kind::Unknown),
        ("len", Kind::Unknown),
        ("len.name", Kind::Syntax),
        ("'a' 'b'", Kind::Syntax),
        ("1 < 2 < 3", Kind::Syntax),
        ("", Kind::Syntax),
        ("(", Kind::Syntax),
        ("1 +", Kind::Syntax),
        ("'open", Kind::Syntax),
        ("0x10", Kind::Syntax),
        ("\u{0}", Kind::Syntax),
    ] {
        refused(source, kind);
    }
}

#[test]
fn results_without_bounds_have_no_form() {
    for source in ["9**9**9", "2 ** 3", "1<<10", "1 << 10**9", "1 >> 1"] {
        assert!(refused(source, Kind::Syntax).message.contains("no bound"), "{source}");
    }
    refused("'a' * 1000000000", Kind::Type);
    refused("[1] * 1000000000", Kind::Type);
    refused("1000000000 * 'a'", Kind::Type);
    refused("arg('VECTOR', 'query') * 1000000000", Kind::Type);
    refused("99999999999999999999", Kind::Syntax);
    refused("1e999", Kind::Syntax);
    refused("9223372036854775807 + 1", Kind::Arithmetic);
    refused("9223372036854775807 * 9223372036854775807", Kind::Arithmetic);
    refused("1e308 * 10", Kind::Arithmetic);
    refused("1 / 0", Kind::Arithmetic);
    refused("1 % 0.0", Kind::Arithmetic);
    refused("-9223372036854775807 - 2", Kind::Arithmetic);
    refused("sum([9223372036854775807, 1])", Kind::Arithmetic);
    gives("3 * 4 == 12", json!(true));
}

#[test]
fn size_and_depth_are_bounded() {
    let mega = "1 + ".repeat(1 << 18) + "1";
    assert!(mega.len() > 1_000_000);
    refused(&mega, Kind::Limit);
    refused(&"(".repeat(1 << 20), Kind::Limit);
    refused(&format!("'{}'", "x".repeat(MAX_EXPRESSION_BYTES)), Kind::Limit);
    for (open, close) in
        [("(", ")"), ("[", "]"), ("not ", ""), ("- ", ""), ("len(", ")"), ("1 if true else ", "")]
    {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        refused(&nested(200), Kind::Limit);
        let error = evaluate(&nested(10));
        assert!(!matches!(error, Err(ExpressionError { kind: Kind::Limit, .. })), "{open}: {error:?}");
    }
    refused(&("1+".repeat(400) + "1"), Kind::Limit);
    gives(&("1+".repeat(100) + "1"), json!(101));
    refused(&"1,".repeat(600), Kind::Limit);
    refused(&("[1]".to_owned() + &"[0]".repeat(200)), Kind::Limit);
}

#[test]
fn steps_are_bounded_together() {
    let mut budget = Budget::new(1_000);
    assert!(evaluate_within("1 + 1 == 2", &mut budget).is_ok());
    assert_eq!(budget.steps_left(), 1_000 - 5);
    // Lists that double: the text is short, the work is not.
    let wide = "len(".to_owned() + &"[1,2,3,4,5,6,7,8]+".repeat(50) + "[1])";
    let error = evaluate_within(&wide, &mut budget).unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert_eq!(
        evaluate_within("true", &mut budget).unwrap_err().kind,
        Kind::Limit,
        "what is used up stays so"
    );
    let mut budget = Budget::default();
    assert!(evaluate_within(&wide, &mut budget).is_ok());
    assert!(MAX_STEPS - budget.steps_left() < 50_000, "{}", budget.steps_left());
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    for source in [
        "success('nothing')",
        "results('the read')",
        "result_count('the read') == 0",
        "latency_ms('the read') < 100",
        "arg('the read', 'path') == null",
        "jaccard([], [])",
        "all([])",
        "any(distinct([]))",
        "max([])",
        "before('search', 'never')",
        "query('none')",
        "query('variants')",
        "query('variants[9]')",
        "results('base')[17]",
        "arg('VECTOR', 'paths')[2]",
    ] {
        refused(source, Kind::Unjudgeable);
    }
}

#[test]
fn types_are_checked_before_anything_is_computed() {
    for source in [
        "true + 1",
        "'a' + 1",
        "'1' == 1",
        "1 and 2",
        "not 1",
        "-'a'",
        "len()",
        "len(1, 2)",
        "jaccard('a', 'b')",
        "result_count(1)",
        "1 in 2",
        "1 in 'a'",
        "'a'[0]",
        "[1]['a']",
        "1 if 1 else 2",
        "false and 'a' < 1",
        "round(1, 2, 3)",
    ] {
        refused(source, Kind::Type);
    }
    // Only the trace tells these.
    refused("arg('VECTOR', 'query') + 1", Kind::Type);
    refused("len(arg('VECTOR', 'limit'))", Kind::Type);
    refused("arg('VECTOR', 'limit') and true", Kind::Type);
    refused("len(1) == 1", Kind::Type);
    refused("sum(['a'])", Kind::Type);
    refused("round(1, 99)", Kind::Type);
}

#[test]
fn errors_tell_where_and_what_instead() {
    let error = |source: &str| evaluate(source).unwrap_err().to_string();
    assert_eq!(
        error("1 + result_counts('x')"),
        "there is no function `result_counts`; did you mean `result_count`? (at character 5)"
    );
    assert_eq!(error("a = 1"), "`=` means nothing here; `==` compares (at character 3)");
    assert_eq!(error("'ä' + 1"), "`+` does not go with text and a number (at character 5)");
    assert_eq!(
        error("jaccard"),
        "there is no name `jaccard`; the function `jaccard` is called with parentheses (at character 1)"
    );
    assert!(
        error("len(1, 2)").contains("`len` takes 1 arguments, not 2: `len(value)`"),
        "{}",
        error("len(1, 2)")
    );
}

#[test]
fn a_false_comparison_shows_its_sides() {
    let queries = BTreeMap::new();
    let calls = calls();
    let facts = Facts { calls: &calls, queries: &queries };
    let why = |source: &str| {
        let expression = Expression::parse(source, &[]).unwrap();
        expression.why_false(&facts, &[], &mut Budget::default())
    };
    assert_eq!(why("true and len(calls()) >= 5"), Some("4 >= 5".to_owned()));
    assert_eq!(why("result_count('VECTOR') == 2 and true"), Some("1 == 2".to_owned()));
    assert_eq!(why("true and success()"), Some("the part at character 10 is false".to_owned()));
}

#[test]
fn variables_are_those_that_are_given() {
    let queries = BTreeMap::new();
    let facts = Facts { calls: &[], queries: &queries };
    let names = [("jaccard", Type::Number)];
    let expression = Expression::parse("jaccard >= 0.5 and jaccard([1], [1]) == 1", &names).unwrap();
    let value = expression.evaluate(&facts, &[("jaccard", Value::Float(0.75))], &mut Budget::default());
    assert_eq!(value, Ok(Value::Bool(true)));
    assert_eq!(Expression::parse("jaccard + ''", &names).unwrap_err().kind, Kind::Type);
}

#[test]
fn the_readme_names_every_function() {
    let readme = include_str!("../../README.md");
    for function in functions::FUNCTIONS {
        let line = format!("| `{}` | {} |", function.signature(), function.about);
        assert!(readme.contains(&line), "the README lacks the line\n{line}");
    }
}
