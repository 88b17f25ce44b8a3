//! A secret is given to whom it was granted and shown to nobody: not in results, errors, logs, progress, call-backs, kept
//! outputs or the audit, in whatever form it travels. Each server of the tests searches all it said for it when it ends.

use serde_json::{Value, json};

use crate::support::{CANARY_VARIABLE, Server, Setup, canary};

/// A server that grants the canary to code, to a plugin that shows it, and to nobody else.
fn server(grants: &str) -> Server {
    let setup = Setup::new("");
    let secret = setup.nest.path("granted");
    let text = format!(
        "[secrets]\nCANARY = {{ file = '{}' }}\n[audit]\npath = 'audit.jsonl'\narguments = 'redacted'\n[plugins.hello]\n\
         library = 'hello'\n[plugins.stress]\nlibrary = '{}'\ngrants = {{ secrets = ['CANARY'] }}\n[plugins.exec]\n\
         library = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }}, tools = ['hello']{grants} }}",
        secret.display(),
        crate::support::stress_library().display(),
    );
    setup.with_text(&text).serve()
}

fn run(server: &mut Server, code: &str) -> Value {
    let code = format!("from llmc import secret, tools, progress\ns = secret('CANARY')\n{code}");
    let id = server.send("tools/call", json!({
        "name": "execute_code", "arguments": {"code": code, "return_files": ["out/*"]}, "_meta": {"progressToken": 1},
    }));
    server.called(id).0["result"].clone()
}

#[test]
fn code_gets_it_and_shows_it_to_nobody() {
    let mut server = server(", secrets = ['CANARY']");
    // It really is the secret, and not a mask of it.
    let length = canary::value("granted").chars().count();
    let real = run(&mut server, "(len(s), s.startswith('granted+/'), s[::-1].endswith('/+detnarg'))");
    assert_eq!(real["structuredContent"]["result"], json!([length, true, true]), "{real}");
    for show in [
        "s",
        "print(s)",
        "import sys; sys.stderr.write(s)",
        "raise ValueError(s)",
        "{s: [s, {'deep': s}]}",
        "import json; json.dumps(json.dumps(s))",
        "import base64; [base64.b64encode(('x' * n + s).encode()).decode() for n in range(4)]",
        "import base64; base64.urlsafe_b64encode(s.encode()).decode()",
        "import urllib.parse as u; [u.quote(s), u.quote(s, safe=''), u.quote_plus(s)]",
        "s.encode().hex(), s.encode().hex().upper()",
        "tools.hello(name=s)",
        "tools.call(s)",
        "progress(1, 2, s); import time; time.sleep(0.3)",
        "import os; os.makedirs('/tmp/out'); open('/tmp/out/f', 'w').write(s)",
        "for n in range(3000): print(str(n) + s)",
        "print('x' * 100_000 + s + 'y' * 100_000)",
    ] {
        let shown = run(&mut server, show).to_string();
        assert!(!canary::sings(shown.as_bytes()), "{show}");
        if !show.contains("progress") && !show.contains("out/f") && !show.contains("100_000") {
            assert!(shown.contains("[secret CANARY]"), "{show}: {shown}");
        }
    }
    let uses = |records: &[Value]| records.iter().filter(|record| record["event"] == "secret").count();
    let records = server.setup.records(|records| uses(records) >= 17);
    let used = records.iter().find(|record| record["event"] == "secret").unwrap();
    assert_eq!(
        (&used["plugin"], &used["secret"], &used["outcome"]),
        (&json!("exec"), &json!("CANARY"), &json!("ok"))
    );
    let call =
        records.iter().find(|record| record["event"] == "call" && record["call"] == used["call"]).unwrap();
    assert_eq!(call["tool"], "execute_code", "each use names the call it was for");
    server.stop();
}

#[test]
fn what_is_kept_for_later_is_masked_at_every_cut() {
    let mut server = server(", secrets = ['CANARY']");
    let kept = run(&mut server, "for n in range(4000): print(s * 2)");
    let handle = kept.to_string();
    let handle = handle.split("handle").nth(1).and_then(|rest| rest.split('"').nth(2)).unwrap().to_owned();
    let handle = handle.trim_matches('\\').to_owned();
    for (offset, most) in [(0, 1000), (7, 61), (1234, 17), (100, 40)] {
        let read =
            server.call("read_more", json!({"handle": handle, "offset_bytes": offset, "max_bytes": most}));
        assert!(!canary::sings(read.0.to_string().as_bytes()));
    }
    server.stop();
}

#[test]
fn javascript_gets_it_and_shows_it_to_nobody() {
    let mut server = server(", secrets = ['CANARY']");
    let code =
        "const s = secret('CANARY'); console.log(s); [s.startsWith('granted+/'), s, encodeURIComponent(s)]";
    let shown = server.call("execute_code", json!({"code": code, "language": "javascript"}));
    assert_eq!(shown.ok()["result"][0], true, "{shown:?}");
    assert_eq!(shown.ok()["result"][1], "[secret CANARY]");
    server.stop();
}

#[test]
fn who_is_not_granted_it_gets_nothing() {
    let mut server = server("");
    let refused = run(&mut server, "s").to_string();
    assert!(refused.contains("not granted secret `CANARY`"), "{refused}");
    let records = server.setup.records(|records| records.iter().any(|record| record["event"] == "secret"));
    let denied = records.iter().find(|record| record["event"] == "secret").unwrap();
    assert_eq!((&denied["outcome"], &denied["plugin"]), (&json!("denied"), &json!("exec")));
    // Another plugin that is granted it shows and logs it, and all that is masked.
    assert_eq!(
        server.call("stress_secret", json!({"name": "CANARY"})).text(),
        "the secret is [secret CANARY]"
    );
    server.log_until("the secret is [secret CANARY]");
    server.stop();
}

#[test]
fn a_run_that_was_narrowed_gets_none() {
    let mut server = server(", secrets = ['CANARY']");
    let code = "from llmc import secret\nlen(secret('CANARY'))";
    let refused = server.call("execute_code", json!({"code": code, "tools": ["hello"]}));
    assert!(refused.0.to_string().contains("limited to some tools"), "{refused:?}");
    let given = server.call("execute_code", json!({"code": code}));
    assert!(given.ok()["result"].as_u64().is_some(), "{given:?}");
    server.stop();
}

#[test]
fn no_child_has_one_in_its_environment_or_its_arguments() {
    let mut server = server(", secrets = ['CANARY']");
    let id = server.send_call(
        "execute_code",
        json!({
            "code": "from llmc import secret\ns = secret('CANARY')\nimport time\ntime.sleep(2)",
        }),
    );
    server.setup.records(|records| records.iter().any(|record| record["event"] == "secret"));
    let mut seen = 0;
    let mut generation = vec![server.pid()];
    while !generation.is_empty() {
        generation = generation.into_iter().flat_map(crate::support::children).collect();
        for pid in &generation {
            for file in ["environ", "cmdline"] {
                // A process that has just ended has neither.
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                seen += 1;
                canary::check(file, &bytes);
                assert!(!String::from_utf8_lossy(&bytes).contains(CANARY_VARIABLE), "{pid}");
            }
        }
    }
    assert!(seen > 8, "hosts, runner and jails were looked at");
    server.called(id).ok();
    server.stop();
}

#[test]
fn a_command_gives_it_or_the_server_does_not_start() {
    let setup = Setup::new("");
    let secret = setup.nest.path("granted");
    let config = |command: &str| {
        format!(
            "[secrets]\nCANARY = {{ command = [{command}] }}\n[plugins.stress]\nlibrary = '{}'\n\
             grants = {{ secrets = ['CANARY'] }}",
            crate::support::stress_library().display()
        )
    };
    let file = secret.display();
    let failing = setup.with_text(&config(&format!("'/bin/sh', '-c', 'cat {file}; exit 7'")));
    let failed = failing.run("serve", &[]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("exit status: 7"), "{failed:?}");
    let mut server = failing.with_text(&config(&format!("'/bin/cat', '{file}'"))).serve();
    assert_eq!(
        server.call("stress_secret", json!({"name": "CANARY"})).text(),
        "the secret is [secret CANARY]"
    );
    server.stop();
}

#[test]
fn doctor_names_variables_that_look_like_keys() {
    let setup = Setup::new("");
    let told = setup.run("doctor", &["--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["exposed_variables"], json!([CANARY_VARIABLE]));
}
