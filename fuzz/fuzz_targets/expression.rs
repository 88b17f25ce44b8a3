//! The expression language of scenarios: any text is read or refused, keeps the type that it promises, and costs no more
//! than its budget.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use judge::Facts;
use judge::expression::{Budget, Expression, Type};
use judge::scenario::Query;
use judge::trace::{Call, calls, parse};
use libfuzzer_sys::fuzz_target;

const TRACE: &str = r#"{"run_id":"r","step":1,"event":"tool_call","tool_name":"a","args":{"q":"x","n":[1,{"k":null}]},"label":"l"}
{"run_id":"r","step":2,"event":"tool_result","tool_name":"a","success":true,"latency_ms":1.5,"result_summary":{"hit_count":2,"item_ids":["1","2"],"text":"t"}}
{"run_id":"r","step":3,"event":"tool_call","tool_name":"b"}"#;

static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| calls(&parse(TRACE).unwrap().events));

fuzz_target!(|source: &str| {
    let queries = BTreeMap::from([("q".to_owned(), Query::One("x".to_owned()))]);
    let facts = Facts { calls: &CALLS, queries: &queries };
    let Ok(expression) = Expression::parse(source, &[]) else { return };
    let mut budget = Budget::new(10_000);
    let Ok(value) = expression.evaluate(&facts, &[], &mut budget) else { return };
    assert!(expression.kind() == Type::Any || expression.kind() == value.kind());
    // The same text means the same each time.
    let again = expression.evaluate(&facts, &[], &mut Budget::new(10_000));
    assert_eq!(again.map(|again| again.to_json()), Ok(value.to_json()));
    let _ = expression.why_false(&facts, &[], &mut budget);
});
