//! The call path: limits, deadlines, cancellation, progress, nesting, audit.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, Server, Setup, eventually, stage};

fn stress(more: &str) -> Setup {
    Setup::new(&format!(
        "[plugins.stress]\nlibrary = '{{stress}}'\n{more}\n[plugins.hello]\nlibrary = 'hello'"
    ))
}

#[test]
fn a_cancelled_call_ends_at_once_and_is_not_answered() {
    let mut server = stress("").serve();
    let id = server.send_call("stress_sleep", json!({"ms": 60_000}));
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
    server.log_until("outcome=\"cancelled\"");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
    server.stop();
}

#[test]
fn a_call_over_its_deadline_is_an_error_that_names_the_limit() {
    let mut server =
        Setup::new("[limits]\ncall_timeout_ms = 300\n[plugins.stress]\nlibrary = '{stress}'").serve();
    let text = server.call("stress_sleep", json!({"ms": 60_000})).error();
    assert!(text.contains("300 ms") || text.contains("cancel") || text.contains("deadline"), "{text}");
    server.stop();
}

#[test]
fn a_text_that_travels_once_counts_as_often_as_the_client_gets_it() {
    let mut server =
        Setup::new("[limits]\nmax_result_bytes = 10000\n[plugins.hello]\nlibrary = 'hello'").serve();
    let name = |bytes| json!({"name": "x".repeat(bytes)});
    assert!(!server.call("hello", name(4_500)).is_error());
    let text = server.call("hello", name(6_000)).error();
    assert!(text.contains("limits.max_result_bytes"), "{text}");
    server.stop();
}

#[test]
fn progress_reaches_a_client_that_asked_for_it() {
    let mut server = stress("").serve();
    let params = json!({
        "name": "stress_progress_spam", "arguments": {"count": 2000},
        "_meta": {"progressToken": "token-1"},
    });
    let id = server.send("tools/call", params);
    let first = server.notification("notifications/progress");
    assert_eq!(first["params"]["progressToken"], "token-1", "{first}");
    server.called(id).ok();
    let more =
        server.notifications.iter().filter(|message| message["method"] == "notifications/progress").count();
    assert!(more < 100, "2000 reports became {more} notifications");
    server.stop();
}

#[test]
fn a_plugin_calls_only_tools_that_it_was_granted() {
    let nested = |tool: &str| json!({"tool": tool, "arguments": {"name": "Ada"}});
    let mut server = stress("grants = { tools = ['hello'] }").serve();
    let called = server.call("stress_nested", nested("hello"));
    assert!(
        called.ok().to_string().contains("Hello, Ada!") || called.text().contains("Hello, Ada!"),
        "{called:?}"
    );

    let mut server = stress("").serve();
    let text = server.call("stress_nested", nested("hello")).error();
    assert!(text.contains("plugin `stress` is not granted tool `hello`"), "{text}");
    assert!(text.contains("[plugins.stress] grants = { tools = [\"hello\"] }"), "{text}");
}

#[test]
fn nesting_has_an_end() {
    let mut arguments = json!({"tool": "hello", "arguments": {"name": "Ada"}});
    for _ in 0..6 {
        arguments = json!({"tool": "stress_nested", "arguments": arguments});
    }
    let mut server = stress("grants = { tools = ['hello', 'stress_nested'] }").serve();
    let text = server.call("stress_nested", arguments).error();
    assert!(text.contains("limits.call_depth"), "{text}");
    server.stop();
}

#[test]
fn a_busy_plugin_says_so_and_others_do_not_notice() {
    let limits = "[limits]\nworkers_per_plugin = 2\nqueue_timeout_ms = 300";
    let mut server = stress(limits).serve();
    let sleeping: Vec<u64> = (0..3).map(|_| server.send_call("stress_sleep", json!({"ms": 3000}))).collect();
    assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
    let answers: Vec<_> = sleeping.into_iter().map(|id| server.called(id)).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.is_error()).collect();
    assert_eq!(refused.len(), 1, "two workers, three calls: {answers:?}");
    let text = refused[0].error();
    assert!(text.contains("`stress` is busy") && text.contains("limits.workers_per_plugin"), "{text}");
    server.stop();
}

/// Two plugins that are the same library and may call each other and themselves, with few workers.
fn circle(limits: &str) -> Setup {
    let tools = "grants = { tools = ['hello', 'stress_nested', 'stress_sleep', 'b_stress_nested', 'b_stress_sleep'] }";
    Setup::new(&format!(
        "[limits]\n{limits}\n[plugins.a]\nlibrary = '{{stress}}'\n{tools}\n\
         [plugins.b]\nlibrary = '{{stress}}'\nprefix = 'b'\n{tools}\n[plugins.hello]\nlibrary = 'hello'"
    ))
}

/// The arguments of a tool that calls these one below the other, and sleeps at the bottom: so all that may begin at
/// the same time do.
fn chain(tools: &[&str]) -> serde_json::Value {
    match tools {
        [] => json!({"ms": 50}),
        [tool, below @ ..] => json!({"tool": tool, "arguments": chain(below)}),
    }
}

#[test]
fn calls_below_calls_never_wait_for_the_places_of_those_above() {
    // Whoever waited for its own caller would be refused long before the calls end.
    let limits = "workers_per_plugin = 2\nqueue_timeout_ms = 30000\ncall_timeout_ms = 300000";
    let (own, other) = ("stress_nested", "b_stress_nested");
    for (what, first, below) in [
        ("another plugin", own, vec!["b_stress_sleep"]),
        ("the same plugin", own, vec!["stress_sleep"]),
        ("as deep as it goes", own, vec![own, own, own, "stress_sleep"]),
        ("to the other and back", own, vec![other, own, other, "stress_sleep"]),
    ] {
        let mut server = circle(limits).serve();
        let ids: Vec<u64> = (0..16).map(|_| server.send_call(first, chain(&below))).collect();
        for id in ids {
            let called = server.called(id);
            assert!(called.ok().to_string().contains("slept 50 ms"), "{what}: {called:?}");
        }
        server.stop();
    }

    // From both ends at once: each holds what the other one would wait for.
    let mut server = circle(limits).serve();
    let ends = [(own, ["b_stress_sleep"]), (other, ["stress_sleep"])];
    let ids: Vec<u64> =
        (0..8).flat_map(|_| ends).map(|(first, below)| server.send_call(first, chain(&below))).collect();
    for id in ids {
        let called = server.called(id);
        assert!(called.ok().to_string().contains("slept 50 ms"), "{called:?}");
    }
    server.stop();
}

#[test]
fn calls_below_calls_have_a_limit_of_their_own() {
    let mut server = circle("workers_per_plugin = 1\nqueue_timeout_ms = 300").serve();
    // Two callers, one place below them.
    let below = json!({"tool": "b_stress_sleep", "arguments": {"ms": 3000}});
    let ids = ["stress_nested", "b_stress_nested"].map(|tool| server.send_call(tool, below.clone()));
    let answers = ids.map(|id| server.called(id));
    let refused: Vec<_> = answers.iter().filter(|answer| answer.is_error()).collect();
    assert_eq!(refused.len(), 1, "one worker at that depth, two calls: {answers:?}");
    let text = refused[0].error();
    assert!(text.contains("`b` is busy") && text.contains("limits.workers_per_plugin"), "{text}");
    server.stop();
}

#[test]
fn every_call_is_audited_refused_or_not() {
    let mut server = Setup::new(
        "[policy]\ndeny = ['stress_sleep']\n[audit]\npath = 'audit.jsonl'\n\
         [plugins.stress]\nlibrary = '{stress}'\ngrants = { tools = ['hello'] }\n[plugins.hello]\nlibrary = 'hello'",
    )
    .serve();
    server.call("hello", json!({"name": "Ada"})).ok();
    server.call("hello", json!({"nam": 1})).error();
    server.call("stress_sleep", json!({"ms": 1})).error();
    server.call("no_such_tool", json!({}));
    server.call("stress_nested", json!({"tool": "hello", "arguments": {"name": "Bob"}})).ok();
    let records = server.recorded_calls(6);
    let seen: Vec<(&str, &str, &str)> = records
        .iter()
        .map(|record| {
            let field = |name: &str| record[name].as_str().unwrap_or_default();
            (field("caller"), field("tool"), field("outcome"))
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("client", "hello", "ok"),
            ("client", "hello", "invalid_arguments"),
            ("client", "stress_sleep", "denied"),
            ("client", "no_such_tool", "unknown_tool"),
            ("plugin stress", "hello", "ok"),
            ("client", "stress_nested", "ok"),
        ]
    );
    assert_eq!(records[4]["parent"], records[5]["call"], "a nested call names the call above it");
    assert!(!records[0].to_string().contains("Ada"), "arguments hold secrets and stay out");
    server.stop();
}

#[test]
fn a_call_whose_client_left_is_audited() {
    let mut server =
        Setup::new("[audit]\npath = 'audit.jsonl'\n[plugins.stress]\nlibrary = '{stress}'").serve();
    server.send_call("stress_sleep", json!({"ms": 60_000}));
    // Once this is answered, the one before it is under way.
    server.call("stress_context", json!({})).ok();
    // Open, because the folder goes with the server.
    let audit = std::fs::File::open(server.setup.folder.path().join("audit.jsonl")).unwrap();
    server.stop();
    let text = std::io::read_to_string(audit).unwrap();
    let record =
        text.lines().find(|line| line.contains("\"stress_sleep\"")).unwrap_or_else(|| panic!("{text}"));
    assert!(record.contains("\"cancelled\"") || record.contains("\"abandoned\""), "{record}");
}

#[test]
fn calls_are_refused_while_the_audit_cannot_be_written() {
    let setup = |on_failure: &str| {
        Setup::new(&format!(
            "[audit]\npath = 'audit.db'\non_failure = '{on_failure}'\n[plugins.hello]\nlibrary = 'hello'"
        ))
    };
    // Somebody else holds the database, as a full disk would.
    let block = |server: &Server| {
        let database = rusqlite::Connection::open(server.setup.folder.path().join("audit.db")).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        database
    };
    let mut server = setup("refuse").serve();
    server.call("hello", json!({"name": "Ada"})).ok();
    let database = block(&server);
    // The first calls find out that their records are not written.
    let refused = loop {
        let called = server.call("hello", json!({"name": "Ada"}));
        if called.is_error() {
            break called;
        }
    };
    assert!(refused.error().contains("audit.on_failure"), "{refused:?}");
    server.log_until("audit record could not be written");
    database.execute_batch("ROLLBACK").unwrap();
    drop(database);
    eventually("calls go on", || !server.call("hello", json!({"name": "Ada"})).is_error());
    let (folder, config) =
        (server.setup.folder.path().to_owned(), server.setup.folder.path().join("llmc.toml"));
    let verified = std::process::Command::new(stage().join("bin/llmc"))
        .args(["audit", "verify", "--config"])
        .arg(config)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    server.stop();

    let mut server = setup("warn").serve();
    server.call("hello", json!({"name": "Ada"})).ok();
    let database = block(&server);
    while !server.log().contains("audit record could not be written") {
        server.call("hello", json!({"name": "Ada"})).ok();
    }
    server.call("hello", json!({"name": "Ada"})).ok();
    database.execute_batch("ROLLBACK").unwrap();
    server.stop();
}

#[test]
fn read_only_policy_leaves_only_tools_that_change_nothing() {
    let config = |policy: &str| {
        Setup::new(&format!(
            "{policy}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.hello]\nlibrary = 'hello'\n\
             [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
             grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['true'] }} }}"
        ))
    };
    let mut server = config("[policy]\nread_only = true").serve();
    let list = server.request("tools/list", json!({})).to_string();
    assert!(list.contains("\"hello\"") && !list.contains("run_command"), "{list}");
    let text = server.call("run_command", json!({"argv": ["true"]})).error();
    assert!(text.contains("policy.read_only"), "{text}");
    server.stop();

    let mut server = config("").serve();
    assert_eq!(server.call("run_command", json!({"argv": ["true"]})).ok()["exit_code"], 0);
    server.stop();
}
