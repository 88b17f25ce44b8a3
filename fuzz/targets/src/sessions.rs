//! What `ruta` and `judge_trace` read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::from_utf8;
use std::sync::LazyLock;

use judge::Facts;
use judge::expression::{Budget, Expression, Type};
use judge::judgment::judge;
use judge::scenario::{Query, parse};
use judge::trace::{self, Call, calls};

const TRACE: &str = r#"{"run_id":"r","step":1,"event":"tool_call","tool_name":"a","args":{"q":"x","n":[1,{"k":null}]},"label":"l"}
{"run_id":"r","step":2,"event":"tool_result","tool_name":"a","success":true,"latency_ms":1.5,"result_summary":{"hit_count":2,"item_ids":["1","2"],"text":"t"}}
{"run_id":"r","step":3,"event":"tool_call","tool_name":"b"}"#;

static EVENTS: LazyLock<trace::Trace> =
    LazyLock::new(|| trace::parse(TRACE).expect("the trace here is sound"));
static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| calls(&EVENTS.events));

/// Steps that an expression may take.
const BUDGET: u64 = 10_000;

/// Any text is read or refused, keeps the type that it promises, and costs no more than its budget.
pub fn expression(input: &[u8]) {
    let Ok(source) = from_utf8(input) else { return };
    let queries = BTreeMap::from([("q".to_owned(), Query::One("x".to_owned()))]);
    let facts = Facts { calls: &CALLS, queries: &queries };
    let Ok(expression) = Expression::parse(source, &[]) else { return };
    let mut budget = Budget::new(BUDGET);
    let Ok(value) = expression.evaluate(&facts, &[], &mut budget) else { return };
    assert!(expression.kind() == Type::Any || expression.kind() == value.kind());
    // The same text means the same each time.
    let again = expression.evaluate(&facts, &[], &mut Budget::new(BUDGET));
    assert_eq!(again.map(|again| again.to_json()), Ok(value.to_json()));
    let _ = expression.why_false(&facts, &[], &mut budget);
}

/// Any text is read or refused; what is read can be written, read again, and judged.
pub fn scenario(input: &[u8]) {
    let Ok(scenario) = from_utf8(input).map_err(|_| ()).and_then(|text| parse(text).map_err(|_| ())) else {
        return;
    };
    let json = serde_json::to_string(&scenario).expect("a scenario is JSON");
    // JSON is YAML; only its size may be too much.
    if let Ok(again) = parse(&json) {
        assert_eq!(serde_json::to_string(&again).expect("a scenario is JSON"), json);
    }
    let Ok(report) = judge(&scenario, &EVENTS, || Ok::<(), Infallible>(()));
    assert!(!report.checks.is_empty());
}
