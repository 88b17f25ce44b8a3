//! Tests of the tools that are harmless outside a jail. The attacks are tested where there is one.

use std::time::{Duration, Instant};

use llmc_core::code;
use llmc_core::prelude::*;
use llmc_core::testing::{Harness, item};

use crate::context::{StressContext, StressNested, StressSecret};
use crate::crash::StressPanic;
use crate::hang::{StressLeak, StressSleep};
use crate::noise::{StressLogSpam, StressProgressSpam};
use crate::results::{StressBadJson, StressHuge, StressWrongOutput};
use crate::sys::{Attempt, Call, errno_name};

#[test]
fn a_panic_names_its_place() {
    let error = Harness::new().call::<StressPanic>(json!({})).unwrap_err();
    assert_eq!(error.code(), code::PANICKED);
    assert!(error.message().starts_with("panicked at plugins/stress/src/crash.rs:"), "{error}");
}

#[test]
fn results_are_as_bad_as_promised() {
    let harness = Harness::new();
    assert_eq!(harness.call::<StressBadJson>(json!({})).unwrap_err().code(), code::PROTOCOL);
    let wrong = harness.call::<StressWrongOutput>(json!({})).unwrap().structured.unwrap();
    assert!(wrong["count"].is_string());
    let schema = item::<StressWrongOutput>().output_schema.unwrap();
    assert_eq!(schema["properties"]["count"]["type"], "integer");
    assert_eq!(harness.call::<StressHuge>(json!({"bytes": 70_000})).unwrap().all_text().len(), 70_000);
}

#[test]
fn a_leak_stops_before_the_machine_does() {
    let answer = Harness::new().call::<StressLeak>(json!({"max_bytes": 3_000_000})).unwrap();
    assert_eq!(answer.all_text(), "nothing stopped it at 3000000 bytes");
}

#[test]
fn sleep_heeds_cancellation() {
    let harness = Harness::new();
    assert_eq!(harness.call::<StressSleep>(json!({"ms": 3})).unwrap().all_text(), "slept 3 ms");
    harness.cancel();
    let start = Instant::now();
    assert_eq!(harness.call::<StressSleep>(json!({"ms": 60_000})).unwrap_err().code(), code::CANCELLED);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn spam_is_counted() {
    let harness = Harness::new();
    harness.call::<StressLogSpam>(json!({"lines": 7})).unwrap();
    harness.call::<StressProgressSpam>(json!({"count": 5})).unwrap();
    assert_eq!((harness.logs().len(), harness.progress().len()), (7, 5));
}

#[test]
fn the_context_is_used_as_asked() {
    let harness = Harness::new()
        .config(json!({"marker": "m"}))
        .root("src", env!("CARGO_MANIFEST_DIR"), Access::Ro)
        .secret("KEY", "hush")
        .tool("echo", |arguments| Envelope::structured(&arguments, ""));
    let seen = harness.call::<StressContext>(json!({})).unwrap().structured.unwrap();
    assert_eq!(seen["marker"], "m");
    assert_eq!(seen["roots"], json!([format!("src={}:ro", env!("CARGO_MANIFEST_DIR"))]));
    let secret = harness.call::<StressSecret>(json!({"name": "KEY"})).unwrap();
    assert_eq!(secret.all_text(), "the secret is hush");
    let nested = harness.call::<StressNested>(json!({"tool": "echo", "arguments": {"a": 1}})).unwrap();
    assert_eq!(nested.structured, Some(json!({"a": 1})));
}

#[test]
fn attempts_name_their_outcome() {
    assert_eq!(Attempt::new("a", Ok(3)).outcome, "OK");
    assert_eq!(Attempt::new("a", Err(libc::EPERM)).outcome, "EPERM");
    assert_eq!(errno_name(4095), "errno 4095");
    let closing_nothing = |permitted| {
        let call = Call { permitted, ..Call::new("close", libc::SYS_close, [usize::MAX]) };
        // SAFETY: there are no pointers among the arguments.
        unsafe { call.make() }.outcome
    };
    assert_eq!(closing_nothing(&[]), "EBADF");
    assert_eq!(closing_nothing(&[libc::EBADF]), "OK");
}
