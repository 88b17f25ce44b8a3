//! Scenario files: any text is read or refused; what is read can be written, read again, and judged.

#![no_main]

use std::convert::Infallible;

use judge::judgment::judge;
use judge::scenario::parse;
use judge::trace;
use libfuzzer_sys::fuzz_target;

const TRACE: &str = r#"{"run_id":"r","step":1,"event":"tool_result","tool_name":"search","success":true}"#;

fuzz_target!(|text: &str| {
    let Ok(scenario) = parse(text) else { return };
    let json = serde_json::to_string(&scenario).unwrap();
    // JSON is YAML; only its size may be too much.
    if let Ok(again) = parse(&json) {
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
    }
    let trace = trace::parse(TRACE).unwrap();
    let Ok(report) = judge(&scenario, &trace, || Ok::<(), Infallible>(()));
    assert!(!report.checks.is_empty());
});
