//! `judge_trace` in a jailed host, called through the server.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Ended, Folder, TRACE, asserting};

const CONFIG: &str = "[roots]\nwork = { path = \"work\" }\n[plugins.judge]\nlibrary = \"judge\"\n";

fn folder(grants: &str) -> Folder {
    let config = format!("{CONFIG}grants = {grants}\n");
    let scenario = asserting("not success('write_file')");
    Folder::new(&[
        ("llmc.toml", &config),
        ("work/s.yaml", &scenario),
        ("work/t.jsonl", TRACE),
        ("outside/t.jsonl", TRACE),
    ])
}

fn judge(folder: &Folder, arguments: &Value) -> Ended {
    folder.llmc(&["call", "judge_trace", &arguments.to_string(), "--config", "llmc.toml"])
}

#[test]
fn texts_need_no_grant() {
    let folder = folder("{}");
    let passed = judge(&folder, &json!({"scenario": asserting("success('search_files')"), "trace": TRACE}));
    let told = passed.with_code(0).stdout();
    assert!(told.contains("PASS  s  (run r, 2 calls, 1 expectations)"), "{told}");
    let failed = judge(&folder, &json!({"scenario": asserting("success()"), "trace": TRACE}));
    assert!(failed.with_code(0).stdout().contains("FAIL  s"), "a verdict is a result, not an error");
    let refused = judge(&folder, &json!({"scenario_path": "work:s.yaml", "trace": TRACE})).with_code(5);
    let said = refused.stdout() + &refused.stderr();
    assert!(said.contains("no directory is granted"), "{said}");
}

#[test]
fn paths_are_those_of_granted_roots() {
    let folder = folder("{ roots = [\"work\"] }");
    symlink(folder.path("outside/t.jsonl"), folder.path("work/link.jsonl")).unwrap();
    symlink("t.jsonl", folder.path("work/inner.jsonl")).unwrap();
    for trace in ["work:t.jsonl", "t.jsonl", "work:inner.jsonl"] {
        let told = judge(&folder, &json!({"scenario_path": "work:s.yaml", "trace_path": trace}))
            .with_code(0)
            .stdout();
        assert!(told.contains("PASS  s"), "{told}");
    }
    let outside = folder.path("outside/t.jsonl");
    for trace in [
        "work:../outside/t.jsonl",
        "work:link.jsonl",
        "work:none/../../outside/none.jsonl",
        outside.to_str().unwrap(),
        "work:",
        "work:.",
    ] {
        let ended =
            judge(&folder, &json!({"scenario_path": "work:s.yaml", "trace_path": trace})).with_code(5);
        let said = ended.stdout() + &ended.stderr();
        assert!(!said.contains("PASS"), "{trace}: {said}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = folder("{ roots = [\"work\"] }");
    let good = asserting("true");
    for (arguments, expected) in [
        (
            json!({"scenario": "id: s\nx: 1\n", "trace": TRACE}),
            "scenario: line 2, column 1: unknown field `x`",
        ),
        (json!({"scenario": good, "trace": ""}), "trace: the trace is empty"),
        (json!({"scenario": good, "trace": "{}"}), "trace: line 1: missing field"),
        (json!({"scenario": good}), "give either `trace` or `trace_path`"),
        (
            json!({"scenario": good, "trace": TRACE, "trace_path": "t.jsonl"}),
            "give either `trace` or `trace_path`",
        ),
        (json!({"scenario": good, "trace_path": "work:none.jsonl"}), "cannot read `work:none.jsonl`"),
    ] {
        let ended = judge(&folder, &arguments).with_code(5);
        let said = ended.stdout() + &ended.stderr();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_is_deep_or_large_costs_no_host() {
    let folder = folder("{ roots = [\"work\"] }");
    let nested = |depth: usize| format!("{}true{}", "not (".repeat(depth), ")".repeat(depth));
    // As deep as is allowed, on the stack that a host gives to a call.
    for (constraint, verdict) in [
        (nested(14), "PASS  s"),
        ("1+".repeat(126) + "1 == 127", "PASS  s"),
        (nested(40), "nested more than"),
        ("1+".repeat(400) + "1 == 401", "parts deep"),
        ("(".repeat(900), "nested more than"),
    ] {
        let arguments = json!({"scenario": asserting(&constraint), "trace": TRACE});
        let told = judge(&folder, &arguments).with_code(0).stdout();
        assert!(told.contains(verdict), "{constraint}: {told}");
    }
    for bomb in [
        format!("id: {}", "[".repeat(200_000)),
        "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nid: *c\n"
            .to_owned(),
        format!("id: {}\n", "x".repeat(300_000)),
    ] {
        std::fs::write(folder.path("work/bomb.yaml"), &bomb).unwrap();
        let ended = judge(&folder, &json!({"scenario_path": "work:bomb.yaml", "trace": TRACE})).with_code(5);
        let said = ended.stdout() + &ended.stderr();
        let is_refused = said.contains("scenario: line") || said.contains("longer than");
        assert!(is_refused && !said.contains("plugin `judge` failed"), "{said}");
    }
}
