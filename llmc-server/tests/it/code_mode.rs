//! Code mode: what clients see, how the other tools are found, and what code may do with them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Server, Setup};

/// All built-in plugins and `hello`, with this mode.
fn setup(mode: &str, granted: &[&str]) -> Setup {
    Setup::new(&format!(
        "[server]\nmode = {mode}\n[audit]\npath = 'audit.jsonl'\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.hello]\nlibrary = 'hello'\n[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }}, tools = {granted:?} }}"
    ))
    .file("notes.txt", "some text")
}

const GRANTED: [&str; 4] = ["read_file", "search_files", "search_tools", "write_file"];

fn listed(server: &mut Server) -> Vec<String> {
    let list = server.request("tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn run(server: &mut Server, code: &str) -> Value {
    server.call("execute_code", json!({"code": code})).ok()["result"].clone()
}

#[test]
fn clients_see_what_finds_tools_and_what_runs_code() {
    let mut server = setup("'code'", &GRANTED).serve();
    let six = ["describe_tool", "execute_code", "list_dir", "read_file", "read_more", "search_tools"];
    assert_eq!(listed(&mut server), six);
    assert_eq!(server.call("read_file", json!({"path": "notes.txt"})).ok()["text"], "some text");

    let text = server.call("write_file", json!({"path": "a.txt", "content": "x"})).error();
    assert!(text.contains("server.mode") && text.contains("`tools.write_file(...)`"), "{text}");
    let text = server.call("delete_path", json!({"path": "notes.txt"})).error();
    assert!(text.contains("add it to `server.mode`"), "code may not call it either: {text}");
    assert!(server.setup.work("notes.txt").exists() && !server.setup.work("a.txt").exists());

    let code = "from llmc import tools\ntools.write_file(path='a.txt', content='x')\ntools.read_file(path='a.txt')['text']";
    assert_eq!(run(&mut server, code), "x");
    server.stop();
}

#[test]
fn the_server_tells_how_code_mode_works_and_only_then() {
    for (mode, told) in [("'code'", true), ("'all'", false)] {
        let mut server = setup(mode, &GRANTED).serve_raw();
        let info = server.initialize("2025-11-25");
        let instructions = info["result"]["instructions"].as_str().unwrap();
        assert_eq!(instructions.contains("search_tools"), told, "{instructions}");
        // Every client pays for them with every conversation.
        let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(instructions).len();
        assert!(tokens < 300, "{tokens} tokens: {instructions}");
        server.stop();
    }
}

#[test]
fn tools_are_found_and_described() {
    let mut server = setup("'code'", &GRANTED).serve();
    let found = server.call("search_tools", json!({"query": "search text in files", "limit": 1}));
    assert_eq!(found.ok()["tools"][0]["name"], "search_files");
    assert_eq!(
        (&found.ok()["tools"][0]["code_only"], &found.ok()["tools"][0]["plugin"]),
        (&json!(true), &json!("fs"))
    );
    assert!(found.text().starts_with("search_files (from code): "), "{}", found.text());
    // All that can be reached, and nothing else: `hello` and most of fs are neither shown nor granted to code.
    let all = server.call("search_tools", json!({"query": ""})).ok().clone();
    let names: Vec<&str> =
        all["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["execute_code", "list_dir", "read_file", "search_files", "write_file"]);
    assert_eq!(server.call("search_tools", json!({"query": "zebra"})).ok()["total"], 0);

    let described = server.call("describe_tool", json!({"name": "write_file"})).ok().clone();
    assert_eq!(described["input_schema"]["required"][0], "path", "{described:#}");
    assert_eq!(described["annotations"]["read_only"], false);
    for hidden in ["hello", "delete_path", "search_tools"] {
        let text = server.call("describe_tool", json!({"name": hidden})).error();
        assert!(text.contains(&format!("there is no tool `{hidden}`")), "{text}");
    }
    let text = server.call("describe_tool", json!({"name": "raed_file"})).error();
    assert!(text.contains("did you mean `read_file`?"), "{text}");
    let text = server.call("search_tools", json!({"query": 5})).error();
    assert!(text.contains("`/query`"), "the server's own tools take the same path: {text}");
    let text = server.call("search_tools", json!({"query": "x".repeat(600)})).error();
    assert!(text.contains("`/query`"), "{text}");

    // From code too, if it is granted; then it tells what code may call.
    let code = "from llmc import tools\n[tool['name'] for tool in tools.search_tools(query='file')['tools']]";
    let names = run(&mut server, code);
    assert!(names.to_string().contains("write_file") && !names.to_string().contains("list_dir"), "{names}");
    let code = "from llmc import tools, ToolError\ntry:\n  tools.describe_tool(name='read_file')\nexcept ToolError as e:\n  result = str(e)";
    let refused = run(&mut server, code);
    assert!(refused.as_str().unwrap().contains("is not granted tool `describe_tool`"), "{refused}");

    let is_searched = |record: &&Value| record["tool"] == "search_tools";
    let records = server.setup.records(|records| records.iter().any(|record| is_searched(&record)));
    let record = records.iter().find(is_searched).unwrap();
    assert_eq!((&record["caller"], &record["outcome"]), (&json!("client"), &json!("ok")));
    assert_eq!(record.get("plugin"), None);
    server.stop();
}

#[test]
fn with_all_tools_in_the_list_nothing_finds_them() {
    let mut server = setup("'all'", &GRANTED).serve();
    let names = listed(&mut server);
    assert!(names.contains(&"hello".to_owned()) && !names.contains(&"search_tools".to_owned()), "{names:?}");
    assert!(server.call("search_tools", json!({"query": ""})).error().contains("server.mode"));
    server.stop();
    let mut server = setup("['search_tools', 'stat']", &[]).serve();
    assert_eq!(listed(&mut server), ["search_tools", "stat"]);
    let found = server.call("search_tools", json!({"query": ""})).ok().clone();
    assert_eq!(found["tools"].as_array().unwrap().len(), 1, "{found:#}");
    server.stop();
}

#[test]
fn a_mode_that_cannot_work_stops_the_start() {
    let refusal = |text: &str| {
        let output = Setup::new(text).run("serve", &[]);
        assert!(output.stdout.is_empty() && !output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let hello = "[plugins.hello]\nlibrary = 'hello'";
    let text = refusal(&format!("[server]\nmode = 'code'\n{hello}"));
    assert!(text.contains("needs the tool `execute_code`"), "{text}");
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    let text = refusal(&format!("[server]\nmode = 'code'\n[policy]\nread_only = true\n{exec}"));
    assert!(text.contains("policy.read_only"), "{text}");
    let text = refusal(&format!("[server]\nmode = 'code'\n{exec}\nprefix = 'my'"));
    assert!(text.contains("without a `prefix`"), "{text}");
    let text = refusal(&format!("[server]\nmode = 'coed'\n{hello}"));
    assert!(text.contains("\"code\" or a list of tool names"), "{text}");
    let text = refusal(&format!("[server]\nmode = ['helo']\n{hello}"));
    assert!(text.contains("did you mean `hello`?"), "{text}");
}

#[test]
fn the_flag_alone_is_enough() {
    let setup = Setup::new("").file("notes.txt", "x");
    let work = format!("{}:rw", setup.folder.path().join("work").display());
    let mut server =
        setup.arg("--mode").arg("code").arg("--root").arg(&work).arg("--program").arg("true").serve();
    assert_eq!(listed(&mut server).len(), 6);
    let code = "from llmc import tools\ntools.run_command(argv=['true'])['exit_code'], tools.stat(path='notes.txt')['size_bytes']";
    assert_eq!(run(&mut server, code), json!([0, 1]));
    server.stop();
}

#[test]
fn functions_have_the_signatures_of_the_tools() {
    let mut server = setup("'all'", &GRANTED).serve();
    let code = "from llmc import tools\nimport inspect\nprint(inspect.signature(tools.search_files))\nhelp(tools.read_file)\n\
                result = [tools.search('write')[0]['name'], tools.describe('write_file')['input_schema']['required'], \
                tools.describe('read_file')['output_schema']['type'], dir(tools)]";
    let done = server.call("execute_code", json!({"code": code})).ok().clone();
    let (stdout, result) = (done["stdout"].as_str().unwrap(), &done["result"]);
    assert!(stdout.starts_with("(*, pattern: str, "), "{stdout}");
    assert!(stdout.contains("output: 'lines' | 'files' | 'counts' = 'lines'"), "{stdout}");
    assert!(stdout.contains("read_file(*, path: str") && stdout.contains("path (str, required)"), "{stdout}");
    assert_eq!(
        (&result[0], &result[1][0], &result[2]),
        (&json!("write_file"), &json!("path"), &json!("object"))
    );
    let names = ["call", "describe", "read_file", "search", "search_files", "search_tools", "write_file"];
    assert_eq!(result[3], json!(names));
    server.stop();
}

/// Every schema of the shipped tools makes a function.
#[test]
fn every_shipped_tool_has_a_signature() {
    let setup = Setup::new("");
    let work = format!("{}:rw", setup.folder.path().join("work").display());
    let mut server = setup.arg("--root").arg(&work).serve();
    let code = "from llmc import tools\nimport inspect\n\
                {name: str(inspect.signature(getattr(tools, name))) for name in dir(tools) if name not in ('call', 'search', 'describe')}";
    let signatures = run(&mut server, code);
    assert_eq!(signatures.as_object().unwrap().len(), 14, "{signatures:#}");
    for (name, signature) in signatures.as_object().unwrap() {
        let signature = signature.as_str().unwrap();
        assert!(signature.starts_with("(*, ") && signature.ends_with(" -> dict"), "{name}{signature}");
    }
    server.stop();
}

#[test]
fn progress_of_code_reaches_the_client() {
    let mut server = setup("'all'", &[]).serve();
    let code = "from llmc import progress\nimport time\nfor n in range(4):\n    progress(n + 1, 4, f'step {n + 1}')\n    time.sleep(0.2)";
    let params = json!({"name": "execute_code", "arguments": {"code": code}, "_meta": {"progressToken": 7}});
    let id = server.send("tools/call", params);
    let first = server.notification("notifications/progress");
    assert_eq!(first["params"]["progressToken"], 7);
    assert_eq!(
        (&first["params"]["total"], &first["params"]["message"]),
        (&json!(4.0), &json!("step 1")),
        "{first}"
    );
    server.called(id).ok();
    let more = server.notifications.iter().filter(|message| message["method"] == "notifications/progress");
    assert!(more.clone().count() >= 1 && more.clone().all(|message| message["params"]["total"] == 4.0));
    // Who did not ask is not told.
    server.notifications.clear();
    server.call("execute_code", json!({"code": code})).ok();
    assert_eq!(server.notifications, Vec::<Value>::new());
    server.stop();
}

#[test]
fn files_go_in_and_come_out() {
    let mut server = setup("'all'", &[]).serve();
    let code = "import csv, os\nrows = list(csv.reader(open('in/a.csv')))\nos.mkdir('out')\n\
                open('out/sum.txt', 'w').write(str(sum(int(n) for _, n in rows)))\nopen('out/raw', 'wb').write(b'\\0\\xff')\nos.getcwd()";
    let arguments = json!({
        "code": code, "files": [{"path": "in/a.csv", "text": "x,1\ny,41\n"}], "return_files": ["out/**", "none.*"],
    });
    let called = server.call("execute_code", arguments);
    let done = called.ok();
    assert_eq!(done["result"], "/tmp");
    assert_eq!(done["files"][0], json!({"path": "out/raw", "bytes": 2, "base64": "AP8="}));
    assert_eq!(done["files"][1], json!({"path": "out/sum.txt", "bytes": 2, "text": "42"}));
    assert_eq!(done["files_omitted"], json!([{"path": "none.*", "reason": "nothing fits"}]));
    assert!(called.text().contains("file out/sum.txt (2 bytes):\n42"), "{}", called.text());
    // Also after an exception.
    let arguments = json!({"code": "open('a', 'w').write('kept')\n1/0", "return_files": ["a"]});
    let failed = server.call("execute_code", arguments);
    failed.error();
    assert_eq!(failed.0["result"]["structuredContent"]["files"][0]["text"], "kept");
    // Nothing of it is there in the next run.
    assert_eq!(run(&mut server, "import os\nos.listdir('/tmp')"), json!([]));
    server.stop();
}

/// Starts the server in a mount namespace of its own, in which every Python is an empty file.
fn without_cpython(command: &mut Command) {
    const SCRIPT: &str = "for f in /usr/bin/python3* /usr/local/bin/python3* /opt/*/bin/python3*; do [ -f \"$f\" ] && mount --bind \
         /dev/null \"$(realpath \"$f\")\"; done; exec \"$@\"";
    let unshare = ["/usr/bin/unshare", "/bin/unshare"].map(Path::new).into_iter().find(|path| path.exists());
    let mut wrapped = Command::new(unshare.expect("this test needs unshare(1) of util-linux"));
    if !rustix::process::geteuid().is_root() {
        wrapped.args(["--user", "--map-root-user"]);
    }
    wrapped
        .args(["--mount", "/bin/sh", "-c", SCRIPT, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().expect("it has one"));
    *command = wrapped;
}

#[test]
fn without_cpython_tools_are_called_from_the_embedded_subset() {
    let mut server = setup("'all'", &["read_file"]).prepare(without_cpython).serve();
    let code = "from llmc import tools, ToolError\ntext = tools.read_file(path='notes.txt')['text']\ntry:\n    \
                tools.write_file(path='a.txt', content='x')\nexcept ToolError as error:\n    refusal = str(error)\n\
                [text, refusal, [t['name'] for t in tools.search('read')], tools.describe('read_file')['input_schema']['required']]";
    let done = server.call("execute_code", json!({"code": code})).ok().clone();
    assert!(done["engine"].as_str().unwrap().starts_with("monty "), "{done}");
    let result = &done["result"];
    assert_eq!(
        (&result[0], &result[2], &result[3]),
        (&json!("some text"), &json!(["read_file"]), &json!(["path"]))
    );
    assert!(result[1].as_str().unwrap().contains("is not granted tool `write_file`"), "{result}");
    assert!(!server.setup.work("a.txt").exists());
    let calls = done["tool_calls"].as_array().unwrap();
    let calls: Vec<_> = calls.iter().map(|call| (call["name"].as_str().unwrap(), &call["ok"])).collect();
    assert_eq!(calls, [("read_file", &json!(true)), ("write_file", &json!(false))]);
    for (tool, outcome) in [("read_file", "ok"), ("write_file", "denied")] {
        let is_it = |record: &Value| record["tool"] == tool;
        let records = server.setup.records(|records| records.iter().any(is_it));
        let record = records.iter().find(|record| is_it(record)).unwrap();
        assert_eq!(
            (&record["caller"], &record["outcome"]),
            (&json!("plugin exec"), &json!(outcome)),
            "{record}"
        );
    }
    // What is missing says so, with the way out.
    let called = server.call("execute_code", json!({"code": "'%s' % 1"}));
    let message = &called.0["result"]["structuredContent"]["error"]["message"];
    assert!(
        message.as_str().unwrap().contains("use an f-string or `str.format`, or install CPython"),
        "{message}"
    );
    server.stop();
}
