//! What was refused is in the audit, with the rule; what is in the audit is what happened, however the server ends and
//! whoever writes to it.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, Setup, eventually, stage};

const AUDIT: &str = "[audit]\npath = 'audit.jsonl'\n";

fn llmc(server: &Server, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(stage().join("bin/llmc"));
    command.args(args).arg("--config").arg(server.setup.folder.path().join("llmc.toml")).output().unwrap()
}

/// Outcome and rule of the newest record of a tool.
fn judged(server: &Server, tool: &str, caller: &str) -> (String, Value) {
    let is_it = |record: &&Value| record["tool"] == tool && record["caller"] == caller;
    let records = server.setup.records(|records| records.iter().any(|record| is_it(&record)));
    let record = records.iter().rfind(is_it).unwrap();
    (record["outcome"].as_str().unwrap().to_owned(), record["rule"].clone())
}

/// Calls that are refused or fail, one after the other, and what the audit says of each.
#[test]
fn every_kind_of_refusal_is_recorded_with_its_rule() {
    let mut server = Setup::new(&format!(
        "{AUDIT}[policy]\ndeny = ['stress_leak']\n[limits]\ncall_timeout_ms = 8000\ngrace_ms = 200\ncall_depth = 1\n\
         max_result_bytes = 100000\n[plugins.hello]\nlibrary = 'hello'\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         [plugins.stress]\nlibrary = '{{stress}}'\ngrants = {{ tools = ['stress_nested'] }}"
    ))
    .serve();
    let nested = |tool: &str, arguments: Value| json!({"tool": tool, "arguments": arguments});
    let cases: [(&str, Value, &str, Value); 11] = [
        ("no_such_tool", json!({}), "unknown_tool", Value::Null),
        ("stress_leak", json!({}), "denied", json!("policy.deny")),
        ("hello", json!({"nam": 1}), "invalid_arguments", Value::Null),
        ("run_command", json!({"argv": ["true"]}), "denied", json!("plugin")),
        ("stress_secret", json!({"name": "TOKEN"}), "denied", json!("plugin")),
        ("stress_sleep", json!({"ms": 60_000}), "timed_out", json!("limits.call_timeout_ms")),
        ("stress_abort", json!({}), "plugin_failed", Value::Null),
        ("stress_panic", json!({}), "tool_failed", Value::Null),
        ("stress_bad_json", json!({}), "invalid_result", Value::Null),
        ("stress_huge", json!({"bytes": 200_000}), "limit", json!("plugin")),
        ("stress_nested", nested("hello", json!({"name": "Ada"})), "denied", json!("plugin")),
    ];
    for (tool, arguments, outcome, rule) in &cases {
        let answer = server.call(tool, arguments.clone());
        assert!(answer.is_error() || answer.0.get("error").is_some(), "{answer:?}");
        assert_eq!(
            judged(&server, tool, "client"),
            ((*outcome).to_owned(), rule.clone()),
            "{tool}: {answer:?}"
        );
    }
    assert_eq!(judged(&server, "hello", "plugin stress"), ("denied".into(), json!("grants.tools")));
    let deeper = nested("stress_nested", nested("stress_nested", nested("hello", json!({}))));
    server.call("stress_nested", deeper).error();
    let limited = |record: &Value| record["rule"] == "limits.call_depth" && record["outcome"] == "limit";
    server.setup.records(|records| records.iter().any(limited));
    // What a plugin asked for below its calls is recorded by itself.
    let of = |event: &str| {
        let records = server.setup.records(|records| records.iter().any(|record| record["event"] == event));
        records.into_iter().find(|record| record["event"] == event).unwrap()
    };
    assert_eq!((&of("secret")["outcome"], &of("secret")["secret"]), (&json!("denied"), &json!("TOKEN")));
    assert_eq!((&of("run")["outcome"], &of("run")["program"]), (&json!("denied"), &json!("true")));
    // The honest neighbour.
    server.call("hello", json!({"name": "Ada"})).ok();
    let is_good = |record: &Value| record["tool"] == "hello" && record["outcome"] == "ok";
    server.setup.records(|records| records.iter().any(is_good));
    let verified = llmc(&server, &["audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    server.stop();
}

#[test]
fn what_policy_and_mode_refuse_is_recorded() {
    for (config, rule) in
        [("[policy]\nread_only = true", "policy.read_only"), ("[server]\nmode = ['hello']", "server.mode")]
    {
        let mut server = Setup::new(&format!(
            "{config}\n{AUDIT}[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.hello]\nlibrary = 'hello'\n\
             [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}"
        ))
        .serve();
        server.call("write_file", json!({"path": "work:a", "content": "b"})).error();
        assert_eq!(judged(&server, "write_file", "client"), ("denied".into(), json!(rule)));
        server.call("hello", json!({"name": "Ada"})).ok();
        server.stop();
    }
}

#[test]
fn busy_cancelled_and_abandoned_calls_are_recorded() {
    let mut server = Setup::new(&format!(
        "{AUDIT}[limits]\nworkers_per_plugin = 1\nqueue_timeout_ms = 200\n[plugins.stress]\nlibrary = '{{stress}}'"
    ))
    .serve();
    let ids = [(); 2].map(|()| server.send_call("stress_sleep", json!({"ms": 60_000})));
    let busy = |record: &Value| record["outcome"] == "busy" && record["rule"] == "limits.workers_per_plugin";
    server.setup.records(|records| records.iter().any(busy));
    for id in ids {
        server.notify("notifications/cancelled", json!({"requestId": id}));
    }
    let is_cancelled = |record: &Value| {
        record["tool"] == "stress_sleep"
            && ["cancelled", "abandoned"].contains(&record["outcome"].as_str().unwrap_or(""))
    };
    server.setup.records(|records| records.iter().any(is_cancelled));
    server.stop();
}

#[test]
fn a_call_that_was_answered_survives_the_kill_of_the_server() {
    let mut folder = None;
    let config =
        "[audit]\npath = '{private}/audit.db'\ndurability = 'call'\n[plugins.hello]\nlibrary = 'hello'";
    let mut answered = 0;
    for round in 0..12 {
        let setup = Setup::new("");
        let private = folder.get_or_insert_with(|| tempfile::tempdir().unwrap()).path().to_owned();
        let mut server = setup.with_text(&config.replace("{private}", private.to_str().unwrap())).serve();
        // Some with calls under way.
        for _ in 0..round {
            server.call("hello", json!({"name": "Ada"})).ok();
            answered += 1;
        }
        for _ in 0..round % 3 {
            server.send_call("hello", json!({"name": "Bob"}));
        }
        server.kill();
        let verified = llmc(&server, &["audit", "verify"]);
        assert!(verified.status.success(), "{verified:?}");
        let found = llmc(&server, &["audit", "query", "--tool", "hello", "--limit", "1000", "--json"]);
        let records: Vec<Value> = serde_json::from_slice(&found.stdout).unwrap();
        assert!(records.len() >= answered, "round {round}: {answered} answers, {} records", records.len());
    }
}

#[test]
fn two_servers_write_one_audit_and_a_change_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let config = format!("[audit]\npath = '{}'\n[plugins.hello]\nlibrary = 'hello'", path.display());
    let (mut one, mut other) = (Setup::new(&config).serve(), Setup::new(&config).serve());
    for _ in 0..10 {
        one.call("hello", json!({"name": "Ada"})).ok();
        other.call("hello", json!({"name": "Bob"})).ok();
    }
    let calls = |server: &Server, more: &[&str]| {
        let args = [&["audit", "query", "--event", "call", "--json"], more].concat();
        let output = llmc(server, &args);
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    eventually("all calls are recorded", || calls(&one, &[]).len() == 20);
    assert_eq!(calls(&one, &["--tool", "hello", "--outcome", "ok", "--limit", "5"]).len(), 5);
    assert_eq!(calls(&one, &["--tool", "stat"]).len() + calls(&one, &["--refused"]).len(), 0);
    assert!(calls(&one, &["--since", "1h"]).len() == 20 && calls(&one, &["--until", "1h"]).is_empty());
    assert!(llmc(&one, &["audit", "verify"]).status.success());
    let kept = llmc(&one, &["audit", "export", "--checkpoints"]).stdout;
    let checkpoints = folder.path().join("checkpoints");
    std::fs::write(&checkpoints, &kept).unwrap();
    let stats = llmc(&one, &["audit", "stats", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&stats.stdout).unwrap()["counts"]["tools"]["hello"], 20);
    let csv = String::from_utf8(llmc(&one, &["audit", "export", "--form", "csv", "--event", "call"]).stdout)
        .unwrap();
    assert_eq!(csv.lines().count(), 21, "{csv}");
    let tail = String::from_utf8(llmc(&one, &["audit", "tail", "-n", "3"]).stdout).unwrap();
    assert!(tail.lines().count() == 3 && tail.contains("hello") && !tail.contains("Ada"), "{tail}");
    one.stop();
    other.stop();

    let database = rusqlite::Connection::open(&path).unwrap();
    let first = "SELECT min(seq) FROM records WHERE event = 'call'";
    let seq: i64 = database.query_row(first, [], |row| row.get(0)).unwrap();
    let change = "UPDATE records SET text = replace(text, 'client', 'nobody') WHERE seq = ?1";
    database.execute(change, [seq]).unwrap();
    let finding = format!("record {seq} was changed");
    let verify = |more: &[&str]| {
        let mut command = std::process::Command::new(stage().join("bin/llmc"));
        command.args(["audit", "verify", "--json", "--path"]).arg(&path).args(more).output().unwrap()
    };
    let found = verify(&["--checkpoints", checkpoints.to_str().unwrap()]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert!(report["findings"].to_string().contains(&finding), "{report:#}");
    // Whoever has the public key alone finds it, too; another key fits nothing.
    let public = report["public_key"].as_str().unwrap().to_owned();
    std::fs::remove_file(folder.path().join("audit.db.key")).unwrap();
    assert!(String::from_utf8_lossy(&verify(&["--public-key", &public]).stdout).contains(&finding));
    assert_eq!(verify(&[]).status.code(), Some(1), "without a key nothing is good");
}

#[test]
fn an_audit_that_tools_could_rewrite_is_refused() {
    let config = |access: &str| {
        format!(
            "[audit]\npath = '{{work}}/audit.db'\n[roots]\nwork = {{ path = '{{work}}', access = '{access}' }}\n\
                 [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}"
        )
    };
    let refused = Setup::new(&config("rw")).run("serve", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("writable root `work`"), "{refused:?}");
    let mut server = Setup::new(&config("ro")).serve();
    server.call("list_dir", json!({"path": "work:"})).ok();
    server.stop();
}
