//! Code that wants more than this run gets: other tools, more calls, deeper nesting, other people's files. Each refusal
//! beside what is allowed.

use serde_json::{Value, json};

use crate::observe::descendants;
use crate::support::{Server, Setup, eventually};

fn serve(limits: &str, granted: &[&str]) -> Server {
    Setup::new(&format!(
        "[limits]\n{limits}\n[audit]\npath = 'audit.jsonl'\ndurability = 'call'\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.hello]\nlibrary = 'hello'\n[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.stress]\nlibrary = '{{stress}}'\ngrants = {{ tools = ['hello', 'stat'] }}\n\
         [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }}, tools = {granted:?} }}"
    ))
    .file("notes.txt", "0123456789".repeat(100))
    .serve()
}

#[track_caller]
fn result(server: &mut Server, arguments: Value) -> Value {
    let called = server.call("execute_code", arguments);
    called.ok()["result"].clone()
}

/// Calls each of `calls`, text of Python, and returns what came of it.
fn attempts(calls: &str) -> String {
    format!(
        "from llmc import tools, ToolError\ndef attempt(call):\n    try:\n        call()\n        return 'made'\n    \
         except ToolError as error:\n        return str(error)\n[attempt(call) for call in ({calls},)]"
    )
}

const BOTH: &str = "lambda: tools.hello(name='x'), lambda: tools.stat(path='notes.txt')";

#[test]
fn a_narrowed_run_calls_nothing_else_and_the_audit_knows() {
    let mut server = serve("", &["hello", "stat"]);
    let made = result(&mut server, json!({"code": attempts(BOTH)}));
    assert_eq!(made, json!(["made", "made"]));
    let narrowed = result(&mut server, json!({"code": attempts(BOTH), "tools": ["hello"]}));
    let refusal = "`stat` is not among the tools that this run was limited to: hello";
    assert_eq!(narrowed, json!(["made", refusal]));
    let records = server.setup.calls();
    let record = records.iter().rfind(|record| record["tool"] == "stat").unwrap();
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("denied"), &json!(refusal)));
    // The code's own list of tools means nothing: a frame of its own making is refused too.
    let forged = "from llmc import tools\nimport os, json\nbody = json.dumps({'id': 1, 'name': 'stat', 'arguments': {'path': 'notes.txt'}}).encode()\n\
                  os.write(3, len(body).to_bytes(4, 'big') + b'C' + body)\nanswer = os.read(3, 65536)\njson.loads(answer[5:])['error']['message']";
    assert_eq!(result(&mut server, json!({"code": forged, "tools": ["hello"]})), refusal);
    server.stop();
}

#[test]
fn a_list_of_tools_widens_nothing() {
    let mut server = serve("", &["hello"]);
    let arguments = json!({"code": attempts(BOTH), "tools": ["hello", "stat"]});
    let text = server.call("execute_code", arguments).error();
    assert!(text.contains("code may call no tool `stat`"), "{text}");
    let text = server.call("execute_code", json!({"code": "1", "tools": ["helo"]})).error();
    assert!(text.contains("did you mean `hello`?"), "{text}");
    assert_eq!(result(&mut server, json!({"code": "1", "tools": []})), 1);
    server.stop();
}

#[test]
fn narrowing_holds_for_code_that_runs_code_and_not_for_other_plugins() {
    let mut server = serve("", &["hello", "stat", "execute_code", "stress_nested"]);
    let inner = attempts(BOTH);
    let outer = format!("from llmc import tools\ntools.execute_code(code={inner:?})['result']");
    let made = result(&mut server, json!({"code": outer, "tools": ["execute_code", "hello"]}));
    assert_eq!(made[0], "made");
    assert!(made[1].as_str().unwrap().contains("was limited to"), "{made}");
    // The inner run narrows further and cannot take back what the outer one gave up.
    let regain = format!("from llmc import tools\ntools.execute_code(code={inner:?}, tools=['stat'])");
    let failed = server.call("execute_code", json!({"code": regain, "tools": ["execute_code", "hello"]}));
    assert!(failed.error().contains("code may call no tool `stat`"), "{}", failed.text());
    // What another plugin calls for itself goes by that plugin's grants.
    let nested = "from llmc import tools\ntools.stress_nested(tool='stat', arguments={'path': 'notes.txt'})";
    server.call("execute_code", json!({"code": nested, "tools": ["stress_nested"]})).ok();
    server.stop();
}

#[test]
fn calls_below_one_call_are_counted_and_the_limit_is_named() {
    let mut server = serve("nested_calls = 10", &["hello", "execute_code"]);
    let code = |count: usize| {
        format!(
            "from llmc import tools, LimitError\nmade = 0\ntry:\n    for _ in range({count}):\n        tools.hello(name='x')\n        \
             made += 1\nexcept LimitError as error:\n    result = [made, str(error)]\nelse:\n    result = [made]"
        )
    };
    assert_eq!(result(&mut server, json!({"code": code(10)})), json!([10]));
    let over = result(&mut server, json!({"code": code(11)}));
    assert_eq!(over[0], 10);
    assert!(over[1].as_str().unwrap().contains("limits.nested_calls"), "{over}");
    // A run below a run spends from the same purse: the call that starts it, and its own.
    let outer = format!("from llmc import tools\ntools.execute_code(code={:?})['result']", code(20));
    assert_eq!(result(&mut server, json!({"code": outer}))[0], 9);
    assert_eq!(
        result(&mut server, json!({"code": code(10)})),
        json!([10]),
        "the next call has a purse of its own"
    );
    server.stop();
}

#[test]
fn bytes_below_one_call_are_counted_and_the_limit_is_named() {
    let mut server = serve("nested_bytes = 20000", &["read_file", "write_file"]);
    let read = "from llmc import tools, LimitError\ncount = 0\ntry:\n    while True:\n        tools.read_file(path='notes.txt')\n        count += 1\n\
                except LimitError as error:\n    result = [count, str(error)]";
    let done = result(&mut server, json!({"code": read}));
    assert!((3..20).contains(&done[0].as_u64().unwrap()), "{done}");
    assert!(done[1].as_str().unwrap().contains("limits.nested_bytes"), "{done}");
    // Arguments count too, and what is over the limit is not done.
    let write = "from llmc import tools, LimitError\ntools.write_file(path='small.txt', content='x' * 1000)\ntry:\n    \
                 tools.write_file(path='large.txt', content='x' * 30000)\nexcept LimitError as error:\n    result = str(error)";
    let done = result(&mut server, json!({"code": write}));
    assert!(done.as_str().unwrap().contains("limits.nested_bytes"), "{done}");
    assert!(server.setup.work("small.txt").exists() && !server.setup.work("large.txt").exists());
    server.stop();
}

#[test]
fn code_that_runs_code_has_an_end() {
    let mut server = serve("call_depth = 2", &["execute_code"]);
    let nest = |levels: usize| {
        (0..levels).fold("'bottom'".to_owned(), |inner, _| {
            format!("from llmc import tools\ntools.execute_code(code={inner:?})['result']")
        })
    };
    assert_eq!(result(&mut server, json!({"code": nest(2)})), "bottom");
    let text = server.call("execute_code", json!({"code": nest(3)})).error();
    assert!(text.contains("limits.call_depth"), "{text}");
    server.stop();
}

#[test]
fn links_pipes_and_devices_are_no_result_files() {
    let mut server = serve("", &[]);
    let code = "import os\nopen('honest.txt', 'w').write('mine')\nos.symlink('/etc/hostname', 'link.txt')\n\
                os.symlink('/proc/self', 'proc')\nos.symlink('..', 'up')\nos.mkfifo('pipe.txt')\n\
                f = open('sparse.txt', 'w')\nos.ftruncate(f.fileno(), 15 << 20)\n\
                import threading, time\n\
                # A file that becomes a link while it is looked at.\n\
                def swap():\n    while True:\n        try:\n            open('turn.txt', 'w').close()\n            os.unlink('turn.txt')\n            \
                os.symlink('/llmc/boot.py', 'turn.txt')\n            os.unlink('turn.txt')\n        except OSError:\n            pass\n\
                threading.Thread(target=swap, daemon=True).start()";
    // A pipe without a writer that was waited for would end this at the time limit.
    let arguments = json!({"code": code, "return_files": ["*.txt", "proc/environ", "up/**", "proc/**"]});
    let called = server.call("execute_code", arguments);
    let done = called.ok();
    let files = done["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["path"] == "honest.txt" && file["text"] == "mine"), "{done:#}");
    for file in files {
        assert!(["honest.txt", "turn.txt"].contains(&file["path"].as_str().unwrap()), "{done:#}");
        assert!(!file["text"].to_string().contains("Runs one piece"), "{done:#}");
    }
    let omitted = done["files_omitted"].to_string();
    for part in ["link.txt", "pipe.txt", "sparse.txt", "proc", "up"] {
        assert!(omitted.contains(&format!("\"path\":\"{part}\"")), "{part}: {omitted}");
    }
    server.stop();
}

#[test]
fn input_files_stay_in_scratch_and_nothing_starts_otherwise() {
    let mut server = serve("", &[]);
    for path in ["/etc/x", "../x", "a/../../x", "", "a//b", "./a", "a\0b"] {
        let arguments = json!({"code": "print('ran')", "files": [{"path": path, "text": "x"}]});
        let text = server.call("execute_code", arguments).error();
        assert!(text.contains("`files[0]`: "), "{path:?}: {text}");
    }
    for pattern in ["/etc/*", "../*", "a/../b"] {
        let arguments = json!({"code": "print('ran')", "return_files": [pattern]});
        let text = server.call("execute_code", arguments).error();
        assert!(text.contains("`return_files[0]`: "), "{pattern:?}: {text}");
    }
    let arguments = json!({"code": "open('a/b/c').read()", "files": [{"path": "a/b/c", "text": "deep"}]});
    assert_eq!(result(&mut server, arguments), "deep");
    server.stop();
}

/// A flood of reports, files or nonsense on the job socket costs this run and nothing else.
#[test]
fn floods_on_the_job_socket_end_with_the_run() {
    let mut server = serve("", &[]);
    let write = |frame: &str| format!("import os\nframe = {frame}\nwhile True:\n    os.write(3, frame)");
    let progress = r#"(lambda body: len(body).to_bytes(4, "big") + b"P" + body)(b'{"done":1,"total":2}')"#;
    let file = r#"(lambda body: len(body).to_bytes(4, "big") + b"F" + body)(b'{"path":"a","text":"x"}')"#;
    for (frame, outcome) in [(progress, "limit"), (file, "protocol")] {
        let id = server.send_call("execute_code", json!({"code": write(frame), "timeout_ms": 2000}));
        assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
        let called = server.called(id);
        assert!(called.is_error());
        assert_eq!(called.0["result"]["structuredContent"]["error"]["kind"], outcome, "{called:?}");
    }
    assert_eq!(result(&mut server, json!({"code": "6 * 7"})), 42);
    server.stop();
}

#[test]
fn cancelling_the_request_ends_the_tree_at_once() {
    // Without jails that wait, every new process is the run's.
    let mut server = serve("parked_runs = 0", &["hello"]);
    assert_eq!(result(&mut server, json!({"code": "6 * 7"})), 42);
    let before = descendants(server.pid());
    for code in ["while True: pass", "from llmc import tools\nwhile True: tools.hello(name='x')"] {
        let id = server.send_call("execute_code", json!({"code": code}));
        eventually("the jail is there", || descendants(server.pid()).difference(&before).count() > 0);
        server.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"}));
        eventually("the tree is gone", || descendants(server.pid()).difference(&before).count() == 0);
        eventually("the audit knows", || {
            server
                .setup
                .calls()
                .iter()
                .any(|record| record["tool"] == "execute_code" && record["outcome"] == "cancelled")
        });
        assert_eq!(result(&mut server, json!({"code": "6 * 7"})), 42);
    }
    server.stop();
}
