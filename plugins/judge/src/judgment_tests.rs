//! Verdicts: what passes, what fails, and what cannot be judged.

use std::convert::Infallible;

use super::*;
use crate::report::IncidentKind::{
    MetamorphicError, MetamorphicViolation, PropertyError, PropertyViolation, ToolForbidden, ToolNotUsed,
    TraceEmpty,
};
use crate::scenario;
use crate::trace;

const SEARCHES: &str = r#"{"run_id":"r","step":1,"event":"tool_call","tool_name":"search","args":{"query":"a b"}}
{"run_id":"r","step":2,"event":"tool_result","tool_name":"search","success":true,"result_summary":{"hit_count":2,"item_ids":["1","2"]}}
{"run_id":"r","step":3,"event":"tool_call","tool_name":"search","args":{"query":"b a"}}
{"run_id":"r","step":4,"event":"tool_result","tool_name":"search","success":true,"result_summary":{"hit_count":2,"item_ids":["2","3"]}}
"#;

const FAILED: &str = r#"{"run_id":"r","step":5,"event":"tool_call","tool_name":"read"}
{"run_id":"r","step":6,"event":"tool_result","tool_name":"read","success":false}
"#;

fn judged(expectations: &str, trace: &str) -> Report {
    let scenario = scenario::parse(&format!("id: s\nexpectations:\n{expectations}")).unwrap();
    let trace = trace::parse(trace).unwrap();
    let Ok(report) = judge(&scenario, &trace, || Ok::<(), Infallible>(()));
    report
}

fn property(kind: &str, constraint: &str) -> String {
    format!("  properties: [{{ name: p, type: {kind}, constraint: {constraint:?} }}]\n")
}

/// Severity and kind of all incidents.
fn incidents(report: &Report) -> Vec<(Severity, IncidentKind)> {
    assert_eq!(report.status == Status::Pass, report.incidents.is_empty());
    report.incidents.iter().map(|incident| (incident.severity, incident.kind)).collect()
}

#[track_caller]
fn check(kind: &str, constraint: &str, trace: &str, expected: &[(Severity, IncidentKind)]) {
    assert_eq!(incidents(&judged(&property(kind, constraint), trace)), expected, "{constraint}");
}

#[test]
fn what_holds_passes() {
    check("assertion", "result.success == true", SEARCHES, &[]);
    check(
        "metamorphic",
        "jaccard(results('a b'), results('b a')) > 0.3 AND result_count('a b') == 2",
        SEARCHES,
        &[],
    );
    check("heuristic", "len(calls()) < 3", SEARCHES, &[]);
    let report = judged("  must_use_tools: [search]\n  must_not_use_tools: [write]\n", SEARCHES);
    assert_eq!(
        (report.status, report.metrics.total_steps, report.metrics.total_tool_calls),
        (Status::Pass, 4, 2)
    );
}

#[test]
fn tools_that_must_and_must_not_be_used() {
    let all = format!("{SEARCHES}{FAILED}");
    assert_eq!(incidents(&judged("  must_use_tools: [write]\n", SEARCHES)), [(Severity::P1, ToolNotUsed)]);
    assert_eq!(
        incidents(&judged("  must_not_use_tools: [search]\n", SEARCHES)),
        [(Severity::P1, ToolForbidden)]
    );
    assert_eq!(
        incidents(&judged("  must_not_use_tools: [\"se*\"]\n", SEARCHES)),
        [(Severity::P1, ToolForbidden)]
    );
    // What failed was not of use, and was still tried.
    let report = judged("  must_use_tools: [read]\n", &all);
    assert_eq!(incidents(&report), [(Severity::P1, ToolNotUsed)]);
    assert_eq!(report.incidents[0].summary, "`read` was called 1 times and is not known to have succeeded");
    assert_eq!(incidents(&judged("  must_not_use_tools: [read]\n", &all)), [(Severity::P1, ToolForbidden)]);
    // Nobody said how it ended.
    let open = FAILED.lines().next().unwrap();
    assert_eq!(incidents(&judged("  must_use_tools: [read]\n", open)), [(Severity::P1, ToolNotUsed)]);
}

#[test]
fn failures_have_the_severity_of_the_policy() {
    let all = format!("{SEARCHES}{FAILED}");
    check("assertion", "result.success == true", &all, &[(Severity::P2, PropertyViolation)]);
    check("heuristic", "result.success == true", &all, &[(Severity::P3, PropertyViolation)]);
    check("metamorphic", "success()", &all, &[(Severity::P2, MetamorphicViolation)]);
    let policy = property("assertion", "success()") + "severity_policy: { property_failures: { p: P0 } }\n";
    assert_eq!(incidents(&judged(&policy, &all)), [(Severity::P0, PropertyViolation)]);
}

#[test]
fn what_cannot_be_judged_never_passes() {
    for constraint in [
        "everything is fine",
        "results.ok == true",
        "result.success",
        "unknown('x') > 0",
        "true or unknown()",
        "1 + 1",
        "'true'",
        "latency_ms('a b') < 1000",
        "success('never called')",
        "__import__('os').system('true')",
        "9**9**9",
    ] {
        let expected =
            if constraint == "result.success" { vec![] } else { vec![(Severity::P1, PropertyError)] };
        check("assertion", constraint, SEARCHES, &expected);
    }
    check("metamorphic", "unknown()", SEARCHES, &[(Severity::P1, MetamorphicError)]);
    check("heuristic", "unknown()", SEARCHES, &[(Severity::P1, PropertyError)]);
    // A milder policy makes a failure milder, not an unknown.
    let policy = property("assertion", "unknown()") + "severity_policy: { property_failures: { p: P3 } }\n";
    assert_eq!(incidents(&judged(&policy, SEARCHES)), [(Severity::P1, PropertyError)]);
}

#[test]
fn relations_are_bound_and_their_errors_told() {
    let with = |relation: &str, constraint: &str| {
        let property = format!(
            "  properties: [{{ name: p, type: metamorphic, relation: {relation:?}, constraint: {constraint:?} }}]\n"
        );
        judged(&property, SEARCHES)
    };
    let relation = "jaccard(results('a b'), results('b a'))";
    assert_eq!(incidents(&with(relation, "jaccard > 0.3 and relation == jaccard")), []);
    let low = with(relation, "jaccard >= 0.5");
    assert_eq!(incidents(&low), [(Severity::P2, MetamorphicViolation)]);
    assert!(low.incidents[0].summary.ends_with("0.3333333333333333 >= 0.5"), "{}", low.incidents[0].summary);
    let broken = with("jaccard(results('a b'), results('never'))", "true");
    assert_eq!(incidents(&broken), [(Severity::P1, MetamorphicError)]);
    assert!(broken.incidents[0].summary.contains("`relation`"), "{}", broken.incidents[0].summary);
    assert_eq!(incidents(&with("'a' * 1000000000", "true")), [(Severity::P1, MetamorphicError)]);
}

#[test]
fn a_session_without_calls_fails_whatever_is_expected() {
    let thought = r#"{"run_id":"r","step":1,"event":"thought"}"#;
    let report = judged("  must_not_use_tools: [write]\n", thought);
    assert_eq!(incidents(&report), [(Severity::P0, TraceEmpty)]);
    check("assertion", "true", thought, &[(Severity::P0, TraceEmpty)]);
    check(
        "assertion",
        "result.success == true",
        thought,
        &[(Severity::P0, TraceEmpty), (Severity::P1, PropertyError)],
    );
}

#[test]
fn expressions_share_one_budget() {
    // Each looks at some 600,000 items; all together are too many.
    let ids: Vec<String> = (0..10_000).map(|id| format!("\"{id}\"")).collect();
    let trace = SEARCHES.replace("\"1\",\"2\"", &ids.join(","));
    let list = ["results('a b')"; 10].join(" + ");
    let properties: String = (0..50)
        .map(|place| {
            format!("  - {{ name: p{place}, type: assertion, constraint: \"len({list}) == 100000\" }}\n")
        })
        .collect();
    let report = judged(&format!("  properties:\n{properties}"), &trace);
    let judged: Vec<_> = report.incidents.iter().map(|incident| incident.check.as_str()).collect();
    assert!(!judged.contains(&"p0") && !judged.contains(&"p20") && judged.contains(&"p49"), "{judged:?}");
    let last = report.incidents.last().unwrap();
    assert!(last.summary.contains("too many steps together"), "{}", last.summary);
}

#[test]
fn whoever_waits_can_give_up() {
    let scenario =
        scenario::parse(&format!("id: s\nexpectations:\n{}", property("assertion", "true"))).unwrap();
    let trace = trace::parse(SEARCHES).unwrap();
    assert_eq!(judge(&scenario, &trace, || Err("late")), Err("late"));
}
