//! Invariant 1: a plugin that crashes, hangs, floods or lies costs its own call and nothing else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::neighbour::{PACE, call_beside_hello, config, hello};
use crate::observe::kib;
use crate::support::{PATIENCE, Server, Setup, eventually};

/// Short times and little memory, so that every limit is reached at once.
const LIMITS: &str = "[limits]\ncall_timeout_ms = 5000\ngrace_ms = 300\nhost_memory_bytes = 536870912";

/// More than the server may grow in memory over any attack: two results of the largest size, and some room.
const MAX_GROWTH_KIB: u64 = 32 << 10;

/// What becomes of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host {
    Survives,
    IsReplaced,
}

fn serve(limits: &str) -> Server {
    let mut server = Setup::new(&config(limits)).serve();
    hello(&mut server);
    server
}

/// Makes the call beside a stream of honest ones; returns its error, if it has one.
#[track_caller]
fn contained(limits: &str, tool: &str, arguments: Value, host: Host) -> Result<Value, String> {
    let mut server = serve(limits);
    let hosts = server.children("llmc-host");
    assert_eq!(hosts.len(), 2, "one host for each plugin");
    let memory = kib(server.pid(), "VmHWM");

    let (called, hellos) = call_beside_hello(&mut server, tool, arguments);
    assert!(hellos >= 60, "only {hellos} calls of hello");

    assert_eq!(
        server.call("stress_sleep", json!({"ms": 1})).ok()["text"],
        "slept 1 ms",
        "the plugin works again"
    );
    let kept = server.children("llmc-host").iter().filter(|host| hosts.contains(host)).count();
    assert_eq!(kept, if host == Host::Survives { 2 } else { 1 }, "hosts that are still the same");
    let growth = kib(server.pid(), "VmHWM").saturating_sub(memory);
    assert!(growth < MAX_GROWTH_KIB, "the server grew by {growth} KiB");
    let result = if called.is_error() { Err(called.error()) } else { Ok(called.ok().clone()) };
    server.stop();
    result
}

#[track_caller]
fn fails_with(limits: &str, tool: &str, arguments: Value, host: Host, parts: &[&str]) -> String {
    let error = contained(limits, tool, arguments, host).unwrap_err();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(error.len() < 500, "a readable error is short: {error}");
    error
}

#[test]
fn a_panic_names_file_and_line_and_costs_no_host() {
    let error = contained(LIMITS, "stress_panic", json!({}), Host::Survives).unwrap_err();
    let place = error.strip_prefix("panicked at plugins/stress/src/crash.rs:").expect(&error);
    let (line, rest) = place.split_once(':').unwrap();
    assert!(line.parse::<u32>().is_ok(), "{error}");
    assert!(rest.ends_with("panicked on request"), "{error}");
}

#[test]
fn an_abort_is_named() {
    fails_with(LIMITS, "stress_abort", json!({}), Host::IsReplaced, &["plugin `stress`", "SIGABRT"]);
}

#[test]
fn a_segmentation_fault_is_named() {
    fails_with(LIMITS, "stress_segfault", json!({}), Host::IsReplaced, &["plugin `stress`", "SIGSEGV"]);
}

#[test]
fn a_jump_out_of_the_call_is_named() {
    fails_with(LIMITS, "stress_long_jump", json!({}), Host::IsReplaced, &["plugin `stress`", "SIGSEGV"]);
}

#[test]
fn a_stack_overflow_is_named() {
    fails_with(
        LIMITS,
        "stress_overflow",
        json!({}),
        Host::IsReplaced,
        &["plugin `stress`", "overflowed its stack"],
    );
}

#[test]
fn an_exit_is_named_with_its_code() {
    let exit = |code: i32| format!("exited with code {code}");
    for code in [0, 3] {
        let parts = ["plugin `stress`", &exit(code)];
        fails_with(LIMITS, "stress_exit", json!({"code": code}), Host::IsReplaced, &parts);
    }
}

#[test]
fn a_leak_ends_at_the_limit_of_its_host() {
    let parts = ["plugin `stress`", "limits.host_memory_bytes"];
    fails_with(LIMITS, "stress_leak", json!({}), Host::IsReplaced, &parts);
    // The limit was the reason: less than it is no crime.
    let text = contained(LIMITS, "stress_leak", json!({"max_bytes": 10_000_000}), Host::Survives).unwrap();
    assert_eq!(text["text"], "nothing stopped it at 10000000 bytes");
}

#[test]
fn an_endless_loop_ends_with_its_deadline() {
    let limits = "[limits]\ncall_timeout_ms = 1000\ngrace_ms = 200";
    let begun = Instant::now();
    let parts = ["`stress_spin`", "1000 ms", "limits.call_timeout_ms"];
    fails_with(limits, "stress_spin", json!({}), Host::IsReplaced, &parts);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_result_that_is_no_json_is_refused() {
    fails_with(
        LIMITS,
        "stress_bad_json",
        json!({}),
        Host::Survives,
        &["`stress_bad_json`", "plugin `stress`", "no result"],
    );
}

#[test]
fn a_result_against_its_own_schema_is_refused() {
    let parts = ["`stress_wrong_output`", "plugin `stress`", "schema", "`/count`"];
    fails_with(LIMITS, "stress_wrong_output", json!({}), Host::Survives, &parts);
}

#[test]
fn a_huge_result_is_refused_before_it_is_sent() {
    // With the default memory of a host, the result can be made; the limit of results is what stops it.
    let limits = "[limits]\ncall_timeout_ms = 30000";
    let parts = ["1000000", "the limit is 4194304 bytes", "limits.max_result_bytes"];
    fails_with(limits, "stress_huge", json!({"bytes": 100_000_000}), Host::Survives, &parts);
}

#[test]
fn a_result_of_just_the_limit_passes() {
    let bytes = 4 * 1024 * 1024 - 100;
    let mut server = serve(LIMITS);
    assert_eq!(server.call("stress_huge", json!({"bytes": bytes})).text().len(), bytes);
    server.stop();
}

/// Lines of the log that contain a text.
fn logged(server: &Server, text: &str) -> usize {
    server.log().lines().filter(|line| line.contains(text)).count()
}

/// Floods a channel; returns the server and how many of its lines reached the log.
#[track_caller]
fn flood(tool: &str, arguments: Value, marker: &str) -> (Server, usize) {
    let mut server = serve("[limits]\nplugin_log_lines_per_second = 50");
    let memory = kib(server.pid(), "VmHWM");
    let begun = Instant::now();
    let (called, _) = call_beside_hello(&mut server, tool, arguments);
    called.ok();
    // Lines on stderr may still be on their way when the result is there.
    let mut lines = 0;
    eventually("the log is quiet", || std::mem::replace(&mut lines, logged(&server, marker)) == lines);
    let most = 50 * (begun.elapsed().as_secs() as usize + 2);
    assert!(lines <= most, "{lines} lines reached the log, {most} are allowed");
    let growth = kib(server.pid(), "VmHWM").saturating_sub(memory);
    assert!(growth < MAX_GROWTH_KIB, "the server grew by {growth} KiB");
    (server, lines)
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted() {
    let (mut server, lines) = flood("stress_log_spam", json!({"lines": 50_000}), "log line ");
    assert!(lines >= 50, "{lines}");
    // What was dropped is said with the next line that passes.
    std::thread::sleep(Duration::from_millis(1100));
    server.call("stress_log_spam", json!({"lines": 1})).ok();
    assert!(server.log_until("lines over the rate were dropped").contains("dropped="));
    server.stop();
}

#[test]
fn a_flood_on_stderr_is_cut_and_cannot_address_a_terminal() {
    let (server, lines) = flood("stress_stderr_spam", json!({"lines": 50_000}), "stderr line ");
    assert!(lines >= 50, "{lines}");
    assert!(!server.log().contains(['\x1b', '\x07', '\r']), "control characters reached the log");
    server.stop();
}

#[test]
fn a_flood_of_progress_is_merged() {
    let mut server = serve(LIMITS);
    let begun = Instant::now();
    let arguments = json!({
        "name": "stress_progress_spam", "arguments": {"count": 50_000}, "_meta": {"progressToken": 7},
    });
    let attack = server.send("tools/call", arguments);
    while !server.is_answered_within(attack, PACE) {
        hello(&mut server);
    }
    server.called(attack).ok();
    let most = 20 * (begun.elapsed().as_secs() as usize + 2);
    let reports = server.notifications.iter().filter(|message| message["method"] == "notifications/progress");
    let done: Vec<f64> = reports.map(|report| report["params"]["progress"].as_f64().unwrap()).collect();
    assert!((1..=most).contains(&done.len()), "50000 reports became {}", done.len());
    assert!(done.is_sorted(), "progress only increases: {done:?}");
    server.stop();
}

#[test]
fn a_crash_costs_the_calls_under_way_in_its_own_plugin_only() {
    let mut server = serve(LIMITS);
    let bystander = server.send_call("stress_sleep", json!({"ms": 60_000}));
    let crash = server.send_call("stress_abort", json!({}));
    for id in [crash, bystander] {
        let error = server.called(id).error();
        assert!(error.contains("plugin `stress`") && error.contains("SIGABRT"), "{error}");
    }
    hello(&mut server);
    server.stop();
}

#[test]
fn a_plugin_that_keeps_crashing_is_started_more_and_more_slowly() {
    let mut server = serve("[limits]\ncall_timeout_ms = 10000");
    let mut took = Vec::new();
    for _ in 0..6 {
        let begun = Instant::now();
        server.call("stress_abort", json!({})).error();
        took.push(begun.elapsed());
        hello(&mut server);
    }
    assert!(took[5] > took[1] + Duration::from_millis(200), "{took:?}");
    assert!(took.iter().sum::<Duration>() < PATIENCE, "{took:?}");

    // While it is held back, nobody else waits for it.
    let attack = server.send_call("stress_abort", json!({}));
    for _ in 0..20 {
        hello(&mut server);
    }
    assert!(
        !server.is_answered_within(attack, PACE),
        "the next start should have been held back longer than that"
    );
    server.called(attack).error();
    server.call("stress_sleep", json!({"ms": 1})).ok();
    server.stop();
}

#[test]
fn a_call_that_cannot_wait_for_the_next_start_is_told_so() {
    let mut server = serve("[limits]\ncall_timeout_ms = 300");
    for _ in 0..5 {
        server.call("stress_abort", json!({})).error();
    }
    let mut last = String::new();
    eventually("a call is refused at once", || {
        let called = server.call("stress_abort", json!({}));
        last = called.error();
        last.contains("is not available")
    });
    assert!(last.contains("plugin `stress`") && last.contains("ended repeatedly"), "{last}");
    hello(&mut server);
    server.stop();
}
