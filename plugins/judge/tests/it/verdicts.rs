//! `ruta judge`: verdicts, exit codes, errors, formats.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, TRACE, asserting, expecting};

fn folder(scenario: &str) -> Folder {
    Folder::new(&[("s.yaml", scenario), ("t.jsonl", TRACE)])
}

/// The report of a judgment that ends with this code.
#[track_caller]
fn report(folder: &Folder, code: i32) -> Value {
    let ended = folder.ruta(&["judge", "s.yaml", "t.jsonl", "--format", "json"]).with_code(code);
    serde_json::from_str(&ended.stdout()).unwrap()
}

#[test]
fn expressions_that_attack_do_nothing() {
    for constraint in [
        "__import__('os').system('touch hit')",
        "open('hit', 'w')",
        "(1).__class__.__base__.__subclasses__()",
        "s.secret",
        "'a' * 1000000000 == ''",
        "9**9**9 > 0",
        "1<<10**9 > 0",
        &"(".repeat(3_000),
    ] {
        let folder = folder(&asserting(constraint));
        let report = report(&folder, 1);
        assert_eq!((&report["status"], &report["incidents"][0]["severity"]), (&"FAIL".into(), &"P1".into()));
        assert_eq!(report["incidents"][0]["type"], "PROPERTY_ERROR", "{constraint}");
        assert!(!folder.path("hit").exists(), "{constraint}");
    }
    let honest = folder(&asserting("result_count('x AND y') > 0 AND NOT success('write_file')"));
    assert_eq!(report(&honest, 0)["status"], "PASS");
}

#[test]
fn a_scenario_of_a_megabyte_is_refused() {
    let folder = folder(&asserting(&"1 + ".repeat(1 << 18)));
    let error = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stderr();
    assert!(error.contains("`s.yaml` is longer than"), "{error}");
}

#[test]
fn tools_and_severities_decide() {
    let folder = folder(&expecting("  must_use_tools: [read_file]\n  must_not_use_tools: [\"write_*\"]"));
    let report = report(&folder, 1);
    let kinds: Vec<_> =
        report["incidents"].as_array().unwrap().iter().map(|incident| &incident["type"]).collect();
    assert_eq!(kinds, ["TOOL_NOT_USED", "TOOL_FORBIDDEN"]);
    assert_eq!(report["metrics"]["total_tool_calls"], 2);
    folder.ruta(&["judge", "s.yaml", "t.jsonl", "--fail-on", "P0"]).with_code(0);
    folder.ruta(&["judge", "s.yaml", "t.jsonl", "--fail-on", "P1"]).with_code(1);
    folder.ruta(&["judge", "s.yaml", "t.jsonl", "--fail-on", "P7"]).with_code(2);
}

#[test]
fn no_trace_passes_nothing() {
    let folder = folder(&expecting("  must_not_use_tools: [nothing]"));
    folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(0);
    fs::write(folder.path("t.jsonl"), "").unwrap();
    let error = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stderr();
    assert_eq!(
        error,
        "error: trace `t.jsonl`: the trace is empty: nothing was recorded, so nothing can be judged\n"
    );
    let error = folder.ruta(&["judge", "s.yaml", "none.jsonl"]).with_code(1).stderr();
    assert!(error.starts_with("error: failed to open `none.jsonl`"), "{error}");
}

#[test]
fn errors_name_file_and_line() {
    let folder = folder("id: s\nexpectations:\n  must_use: [x]\n");
    let error = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stderr();
    assert!(
        error.starts_with("error: scenario `s.yaml`: line 3, column 3: unknown field `must_use`"),
        "{error}"
    );
    fs::write(folder.path("s.yaml"), "id: [").unwrap();
    let error = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stderr();
    assert!(error.starts_with("error: scenario `s.yaml`: line "), "{error}");
    fs::write(folder.path("s.yaml"), asserting("true")).unwrap();
    fs::write(folder.path("t.jsonl"), TRACE.replace("\"step\":3", "\"stop\":3")).unwrap();
    let error = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stderr();
    assert!(error.starts_with("error: trace `t.jsonl`: line 3: unknown field `stop`"), "{error}");
    folder.ruta(&["judge", "s.yaml"]).with_code(2);
    folder.ruta(&["juge"]).with_code(2);
}

#[test]
fn reports_are_written_for_programs() {
    let folder = folder(&asserting("success()"));
    let ended =
        folder.ruta(&["judge", "s.yaml", "t.jsonl", "--format", "junit", "--output", "r.xml"]).with_code(1);
    assert!(
        ended.stdout().starts_with("FAIL  s  (run r, 2 calls, 1 expectations)\n  P2  p  "),
        "{}",
        ended.stdout()
    );
    let xml = folder.read("r.xml");
    assert!(xml.contains(r#"<testsuite name="s" tests="1" failures="1" errors="0" id="r">"#), "{xml}");
    assert!(xml.contains(r#"<failure type="PROPERTY_VIOLATION" message="P2: `p` does not hold"#), "{xml}");
}

#[test]
fn the_published_schema_says_what_is_accepted() {
    let folder = folder("");
    let schema = folder.ruta(&["schema", "scenario"]).with_code(0).stdout();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let scenarios = fs::read_dir(crate::support::repository().join("scenarios")).unwrap();
    let mut count = 0;
    for file in scenarios {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let json: Value = serde_saphyr::from_str(&text).unwrap();
        let problems: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        let mut wrong = json;
        wrong["script"][0]["coll"] = "x".into();
        assert!(!validator.is_valid(&wrong));
        count += 1;
    }
    assert!(count > 0);
    let trace: Value =
        serde_json::from_str(&folder.ruta(&["schema", "trace"]).with_code(0).stdout()).unwrap();
    let validator = jsonschema::validator_for(&trace).unwrap();
    assert!(TRACE.lines().all(|line| validator.is_valid(&serde_json::from_str(line).unwrap())));
    assert!(!validator.is_valid(&serde_json::json!({"run_id": "r"})));
    folder.ruta(&["schema", "report"]).with_code(0);
}
