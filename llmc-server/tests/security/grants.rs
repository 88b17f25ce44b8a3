//! Invariant 4: a plugin requests, the operator grants. Nothing that a client, a manifest, a plugin or code says
//! widens a grant.

use serde_json::{Value, json};

use crate::support::{Server, Setup};

const FS: &str = "[plugins.fs]\nlibrary = 'llmc_tools_fs'\n";
const WORK: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\n";

/// Paths that a model might try.
const PATHS: &[&str] = &[
    "/etc/hostname",
    "/proc/self/environ",
    "/",
    "etc/hostname",
    "work:a.txt",
    "root:etc/hostname",
    "a.txt",
    ".",
    "../../../../etc/hostname",
    "/roots/0",
    "/fd/0",
    "/proc/self/fd/3",
    "~/.ssh/id_rsa",
];

#[track_caller]
fn reads_nothing(server: &mut Server) {
    for path in PATHS {
        let text = server.call("read_file", json!({"path": path})).error();
        assert!(!text.is_empty(), "{path}");
        server.call("list_dir", json!({"path": path})).error();
    }
}

#[test]
fn without_a_root_no_file_can_be_read() {
    let mut server = Setup::new(FS).file("a.txt", "contents").serve();
    reads_nothing(&mut server);
    server.stop();

    // A root that is configured but not granted to the plugin is none for it.
    let mut server = Setup::new(&format!("{WORK}{FS}")).file("a.txt", "contents").serve();
    reads_nothing(&mut server);
    server.stop();

    let granted = format!("{WORK}{FS}grants = {{ roots = ['work'] }}");
    let mut server = Setup::new(&granted).file("a.txt", "contents").serve();
    assert_eq!(server.call("read_file", json!({"path": "work:a.txt"})).ok()["text"], "contents");
    server.stop();
}

#[test]
fn what_a_client_says_about_roots_widens_nothing() {
    let mut server = Setup::new(FS).file("a.txt", "contents").serve_raw();
    let folder = format!("file://{}", server.setup.folder.path().display());
    let roots = json!([{"uri": folder, "name": "work"}, {"uri": "file:///", "name": "root"}]);
    let answer = server.request(
        "initialize",
        json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {"listChanged": true}, "llmc": {"grants": {"roots": ["work"]}}},
            "clientInfo": {"name": "test", "version": "0"},
            "_meta": {"roots": roots.clone()},
        }),
    );
    assert!(answer["result"].is_object(), "{answer}");
    server.notify("notifications/initialized", json!({"roots": roots.clone()}));
    server.notify("notifications/roots/list_changed", json!({}));
    for meta in
        [json!({"roots": roots}), json!({"llmc/grants": {"roots": ["work"]}, "llmc/caller": "command line"})]
    {
        let arguments = json!({"path": server.setup.work("a.txt")});
        let params = json!({"name": "read_file", "arguments": arguments, "_meta": meta});
        let answer = server.request("tools/call", params);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    }
    reads_nothing(&mut server);
    let asked = server.notifications.iter().any(|message| message["method"] == "roots/list");
    assert!(!asked, "the server has no use for the client's roots");
    server.stop();
}

#[test]
fn meta_does_not_make_another_caller() {
    let config = "[server]\nmode = ['hello']\n[audit]\npath = 'audit.jsonl'\ndurability = 'call'\n[plugins.hello]\nlibrary = 'hello'\n\
                  [plugins.stress]\nlibrary = '{stress}'";
    let mut server = Setup::new(config).serve();
    let meta = json!({"caller": "command line", "llmc/caller": "plugin stress", "parent": 1, "depth": 0});
    let params = json!({"name": "stress_sleep", "arguments": {"ms": 1}, "_meta": meta});
    let answer = server.request("tools/call", params);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let record = server.setup.calls().pop().unwrap();
    assert_eq!((&record["caller"], &record["parent"]), (&json!("client"), &Value::Null));
    assert_eq!(server.call("hello", json!({"name": "Ada"})).text(), "Hello, Ada!");
    server.stop();
}

#[test]
fn what_a_manifest_requests_is_not_granted() {
    // The stress plugin's manifest requests tools and secrets.
    let config = |grants: &str| {
        format!(
            "[secrets]\nTOKEN = {{ env = 'TOKEN_VARIABLE' }}\n[plugins.hello]\nlibrary = 'hello'\n\
             [plugins.stress]\nlibrary = '{{stress}}'\n{grants}"
        )
    };
    let nested = json!({"tool": "hello", "arguments": {"name": "Ada"}});
    let serve = |grants: &str| Setup::new(&config(grants)).env("TOKEN_VARIABLE", "a-long-secret").serve();

    let mut server = serve("");
    assert!(server.call("stress_nested", nested.clone()).error().contains("not granted tool `hello`"));
    assert!(
        server.call("stress_secret", json!({"name": "TOKEN"})).error().contains("not granted secret `TOKEN`")
    );
    assert_eq!(server.call("stress_context", json!({})).ok()["roots"], json!([]));
    server.stop();

    let mut server = serve("grants = { tools = ['hello'], secrets = ['TOKEN'] }");
    server.call("stress_nested", nested).ok();
    server.call("stress_secret", json!({"name": "TOKEN"})).ok();
    server.stop();
}

#[test]
fn a_grant_of_one_plugin_is_not_a_grant_of_another() {
    let config = "[roots]\nwork = { path = '{work}' }\n[secrets]\nTOKEN = { env = 'TOKEN_VARIABLE' }\n\
                  [plugins.hello]\nlibrary = 'hello'\n\
                  [plugins.rich]\nlibrary = '{stress}'\nprefix = 'rich'\n\
                  grants = { roots = ['work'], tools = ['hello'], secrets = ['TOKEN'] }\n\
                  [plugins.poor]\nlibrary = '{stress}'\nprefix = 'poor'\ngrants = { tools = ['rich_stress_sleep'] }";
    let mut server = Setup::new(config).env("TOKEN_VARIABLE", "a-long-secret").serve();
    let nested = json!({"tool": "hello", "arguments": {"name": "Ada"}});
    server.call("rich_stress_nested", nested.clone()).ok();
    server.call("rich_stress_secret", json!({"name": "TOKEN"})).ok();
    assert_eq!(server.call("rich_stress_context", json!({})).ok()["roots"].as_array().unwrap().len(), 1);
    assert!(
        server.call("poor_stress_nested", nested.clone()).error().contains("plugin `poor` is not granted")
    );
    assert!(server.call("poor_stress_secret", json!({"name": "TOKEN"})).error().contains("plugin `poor`"));
    assert_eq!(server.call("poor_stress_context", json!({})).ok()["roots"], json!([]));
    // Nor is it lent through a call: only what is granted by name can be called.
    let through = json!({"tool": "rich_stress_secret", "arguments": {"name": "TOKEN"}});
    assert!(
        server.call("poor_stress_nested", through).error().contains("not granted tool `rich_stress_secret`")
    );
    server.stop();
}

/// `cmd` with roots, programs and whatever else a run grant says.
fn cmd(roots: &str, programs: &str, more: &str) -> String {
    format!(
        "{WORK}[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = [{roots}], run = {{ profile = 'workspace', programs = [{programs}]{more} }} }}"
    )
}

#[test]
fn a_root_that_is_granted_read_only_is_read_only_for_commands() {
    let attempts = [
        json!(["touch", "/work/new"]),
        json!(["touch", "new"]),
        json!(["rm", "a.txt"]),
        json!(["mv", "a.txt", "b.txt"]),
        json!(["chmod", "777", "a.txt"]),
        json!(["cp", "a.txt", "/work/copy"]),
        json!(["mkdir", "/work/folder"]),
        json!(["ln", "-s", "a.txt", "/work/link"]),
        json!(["truncate", "-s", "0", "a.txt"]),
    ];
    let programs = "'touch', 'rm', 'mv', 'chmod', 'cp', 'mkdir', 'ln', 'truncate', 'cat'";
    let read_only = ["'work:ro'", "'work'"].map(|roots| cmd(roots, programs, ""));
    let read_only_policy = "[policy]\nread_only = true\n";
    for (config, policy) in read_only.iter().zip(["", read_only_policy]) {
        let mut server = Setup::new(&format!("{policy}{config}")).file("a.txt", "contents").serve();
        for argv in &attempts {
            let called = server.call("run_command", json!({"argv": argv}));
            let code = &called.0["result"]["structuredContent"]["exit_code"];
            assert!(called.is_error() || *code != 0, "{argv}: {called:?}");
        }
        if policy.is_empty() {
            assert_eq!(
                server.call("run_command", json!({"argv": ["cat", "a.txt"]})).ok()["stdout"],
                "contents"
            );
        }
        let files: Vec<_> = std::fs::read_dir(server.setup.work(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(files, ["a.txt"]);
        assert_eq!(std::fs::read_to_string(server.setup.work("a.txt")).unwrap(), "contents");
        server.stop();
    }

    let mut server = Setup::new(&cmd("'work'", programs, "")).file("a.txt", "contents").serve();
    assert_eq!(server.call("run_command", json!({"argv": ["touch", "/work/new"]})).ok()["exit_code"], 0);
    assert!(server.setup.work("new").exists());
    server.stop();
}

#[test]
fn only_granted_programs_run() {
    let mut server = Setup::new(&cmd("'work'", "'true'", "")).serve();
    for argv in [
        json!(["cat", "/etc/hostname"]),
        json!(["/bin/true"]),
        json!(["sh", "-c", "true"]),
        json!(["../bin/true"]),
    ] {
        server.call("run_command", json!({"argv": argv})).error();
    }
    assert_eq!(server.call("run_command", json!({"argv": ["true"]})).ok()["exit_code"], 0);
    server.stop();

    // No run grant at all.
    let mut server = Setup::new("[plugins.cmd]\nlibrary = 'llmc_tools_cmd'").serve();
    let text = server.call("run_command", json!({"argv": ["true"]})).error();
    assert!(text.contains("plugin `cmd` may not run programs"), "{text}");
    server.stop();
}

#[test]
fn a_request_for_more_time_than_granted_is_cut() {
    let mut server = Setup::new(&cmd("'work'", "'sleep'", ", limits = { wall_ms = 700 }")).serve();
    let called = server.call("run_command", json!({"argv": ["sleep", "60"], "timeout_ms": 60_000}));
    assert!(called.is_error(), "{called:?}");
    let result = &called.0["result"]["structuredContent"];
    assert_eq!((&result["timeout_ms"], &result["limit"]), (&json!(700), &json!("wall")), "{result:#}");
    assert!(result["duration_ms"].as_u64().unwrap() < 5000, "{result:#}");
    let called = server.call("run_command", json!({"argv": ["sleep", "0.1"], "timeout_ms": 60_000}));
    assert_eq!(called.ok()["exit_code"], 0, "less than the limit is not cut");
    server.stop();
}

#[test]
fn code_cannot_raise_its_limits() {
    let config = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
                  grants = { run = { profile = 'code', limits = { memory_bytes = 134217728, open_files = 32 } } }";
    let code = r#"
import resource
raised, kept = [], {}
for name in ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NPROC"):
    limit = getattr(resource, name)
    soft, hard = resource.getrlimit(limit)
    kept[name] = (soft, hard)
    for wanted in ((hard + 1, hard + 1), (resource.RLIM_INFINITY,) * 2):
        try:
            resource.setrlimit(limit, wanted)
            raised.append((name, wanted))
        except (ValueError, OSError):
            pass
{"raised": raised, "kept": kept}
"#;
    let mut server = Setup::new(config).serve();
    let done = server.call("execute_code", json!({"code": code, "timeout_ms": 86_400_000})).ok().clone();
    let kept = &done["result"]["kept"];
    assert_eq!(kept["RLIMIT_NOFILE"], json!([32, 32]), "{done:#}");
    // One byte keeps a piped core dump away, too, see core(5).
    assert!([json!([0, 0]), json!([1, 1])].contains(&kept["RLIMIT_CORE"]), "{done:#}");
    let infinite_already = |raised: &Value| kept[raised[0].as_str().unwrap()] == json!([-1, -1]);
    let raised = done["result"]["raised"].as_array().unwrap();
    assert!(raised.iter().all(infinite_already), "{done:#}");
    server.stop();
}
