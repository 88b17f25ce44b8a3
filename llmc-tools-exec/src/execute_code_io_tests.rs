//! Files that go in and come out, progress, and runs that may call fewer tools.

use super::*;

/// Runs code with more arguments; the structured result.
fn run_with(code: &str, more: Value) -> Value {
    let mut arguments = json!({"code": code});
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    machine().call::<ExecuteCode>(arguments).unwrap().structured.unwrap()
}

#[test]
fn files_go_in_and_come_out() {
    let code = "import os\nos.makedirs('out/deep')\nopen('out/deep/b.bin', 'wb').write(open('in/a.bin', 'rb').read() * 2)\n\
                open('out/ä.txt', 'w').write(open('notes.txt').read().upper())\nopen('other', 'w').write('x')\nos.listdir('in')";
    let files = json!([{"path": "notes.txt", "text": "grüße\n"}, {"path": "in/a.bin", "base64": "AP8="}]);
    let result = run_with(code, json!({"files": files, "return_files": ["out/**"]}));
    assert_eq!((result.get("error"), &result["result"]), (None, &json!(["a.bin"])));
    assert_eq!(
        result["files"],
        json!([
            {"path": "out/ä.txt", "bytes": 8, "text": "GRÜSSE\n"},
            {"path": "out/deep/b.bin", "bytes": 4, "base64": "AP8A/w=="},
        ])
    );
    assert_eq!(result.get("files_omitted"), None);
}

#[test]
fn files_come_out_after_a_failure_and_not_after_the_end_of_the_interpreter() {
    let wanted = || json!({"return_files": ["*.txt"]});
    for ending in ["1/0", "import sys; sys.exit(3)", "raise KeyboardInterrupt"] {
        let result = run_with(&format!("open('a.txt', 'w').write('kept')\n{ending}"), wanted());
        assert_eq!(result["files"][0]["text"], "kept", "{ending}");
        assert!(result["error"].is_object(), "{ending}");
    }
    let result = run_with("open('a.txt', 'w').write('kept')\nimport os\nos._exit(0)", wanted());
    assert_eq!(result.get("files"), None);
    assert_contains(&result["files_omitted"][0]["reason"], "was ended before");
}

#[test]
fn what_is_no_plain_file_is_left_out_with_the_reason() {
    let code = "import os, socket\nos.mkdir('d')\nopen('d/in', 'w').write('x')\nos.symlink('/etc/passwd', 'd/link')\n\
                os.symlink('d', 'elsewhere')\nos.mkfifo('d/pipe')\nsocket.socket(socket.AF_UNIX).bind('d/socket')\n\
                f = open('d/sparse', 'w')\nf.truncate(1 << 30)\nopen('d/large', 'w').write('x' * 600_000)\n\
                open(b'd/\\xff', 'w')\nopen('d/\\x01', 'w').write('\\x01' * 400_000)";
    let result = run_with(code, json!({"return_files": ["d/*", "elsewhere/*", "d", "nothing/*.txt"]}));
    assert_eq!(result.get("error"), None, "{result:#}");
    let names: Vec<_> = result["files"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
    assert_eq!(names, ["d/\u{1}", "d/in"]);
    assert_eq!(result["files"][0]["bytes"], 400_000, "six bytes of JSON each: sent in the other form");
    let omitted: Vec<(&str, &str)> = result["files_omitted"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["reason"].as_str().unwrap()))
        .collect();
    let reason = |path: &str| omitted.iter().find(|(name, _)| *name == path).map_or("", |(_, reason)| reason);
    for (path, part) in [
        ("d/link", "a link"),
        ("elsewhere", "a link"),
        ("d/pipe", "not a regular file"),
        ("d/socket", "not a regular file"),
        ("d/sparse", "1073741824 bytes, at most 524288"),
        ("d/large", "600000 bytes, at most 524288"),
        ("d/?", "not UTF-8"),
        ("d", "ask for `d/**`"),
        ("nothing/*.txt", "nothing fits"),
    ] {
        assert!(reason(path).contains(part), "{path}: {omitted:#?}");
    }
    assert_eq!(omitted.len(), 9, "{omitted:#?}");
}

#[test]
fn returned_files_have_a_budget() {
    let code = "for n in range(70):\n  open(f'{n:02}', 'w').write('x' * (400_000 if n < 3 else 1))";
    let result = run_with(code, json!({"return_files": ["*"]}));
    assert_eq!(result["files"].as_array().unwrap().len(), 64);
    let omitted = &result["files_omitted"];
    assert_contains(&omitted[0]["reason"], "400000 bytes, and only 248576 of all returned bytes are left");
    assert_contains(&omitted[1]["reason"], "at most 64 files");
}

#[test]
fn a_file_that_cannot_be_placed_ends_the_run_before_the_code() {
    let result = run_with("print('ran')", json!({"files": [{"path": "llmc/boot.py/x", "text": ""}]}));
    assert_eq!((&result["stdout"], &result["error"]["type"]), (&json!(""), &json!("NotADirectoryError")));
    assert_contains(&result["error"]["message"], "`llmc/boot.py/x` cannot be placed");
    let arguments = json!({"code": "1", "files": [{"path": "../x", "text": ""}]});
    let error = machine().call::<ExecuteCode>(arguments).unwrap_err();
    assert_eq!(error.code(), code::INVALID_ARGUMENTS);
}

#[test]
fn files_that_nobody_asked_for_end_the_run() {
    let ready = || encode(Kind::Ready, br#"{"v":1,"engine":"x"}"#);
    let file = |path: &str| encode(Kind::File, json!({"path": path, "text": "x"}).to_string().as_bytes());
    for (path, words) in
        [("a", "a file that was not asked for"), ("../a", "`..`"), ("/etc/x", "an absolute path")]
    {
        let result = hostile([ready(), file(path)].concat());
        assert_eq!(result["error"]["kind"], "protocol");
        assert_contains(&result["error"]["message"], words);
        assert_eq!(result.get("files"), None);
    }
}

#[test]
fn code_tells_its_progress() {
    let harness = machine();
    let code = "from llmc import progress\nprogress(1, 4, 'reading')\nprogress(2, 4)\nfor n in range(20_000):\n  progress(3, 4)\n\
                progress(4, 4, 'done')";
    assert_eq!(envelope(&harness, code).structured.unwrap().get("error"), None);
    let told = harness.progress();
    assert_eq!((told[0].done, told[0].total, told[0].message.as_str()), (1.0, Some(4.0), "reading"));
    let last = told.last().unwrap();
    assert_eq!((last.done, last.total, last.message.as_str()), (4.0, Some(4.0), "done"));
    assert!(told.len() < 1000, "{} reports", told.len());
    assert!(told.iter().all(|report| report.total == Some(4.0)), "nothing else is mixed in: {told:?}");
    assert_eq!(error("from llmc import progress\nprogress(float('nan'))")["type"], "ValueError");
    assert_eq!(error("from llmc import progress\nprogress('x')")["type"], "ValueError");
}

#[test]
fn a_run_can_be_narrowed_to_some_tools() {
    let try_all = "from llmc import tools, ToolError\nresult = dir(tools)\nfor name in ('echo', 'say', 'denied'):\n  \
                   try:\n    result.append(tools.call(name))\n  except ToolError as e:\n    result.append(str(e))";
    let result = run_with(try_all, json!({"tools": ["say"]}));
    let no = |name: &str| format!("`{name}` is not within the tools of this call");
    assert_eq!(
        result["result"],
        json!(["call", "describe", "say", "search", no("echo"), "hello", no("denied")])
    );
    // Also for code that finds its way without the word that asks for a list.
    let result = run_with("__import__('ll' + 'mc').tools.echo()", json!({"tools": []}));
    assert_contains(&result["error"]["message"], &no("echo"));
    let arguments = json!({"code": "1", "tools": ["say", "ehco"]});
    let error = machine().call::<ExecuteCode>(arguments).unwrap_err();
    assert_eq!(error.code(), code::INVALID_ARGUMENTS);
    assert_eq!(error.message(), "`tools`: code may call no tool `ehco`; did you mean `echo`?");
}

#[test]
fn limits_of_the_server_are_errors_of_their_own_kind() {
    let harness =
        machine().tool("much", |_| Err(ToolError::new(code::LIMIT, "more than 5 calls (`limits.x`)")));
    let code = "from llmc import tools, LimitError\ntry:\n  tools.much()\nexcept LimitError as e:\n  result = str(e)";
    assert_eq!(envelope(&harness, code).structured.unwrap()["result"], "more than 5 calls (`limits.x`)");
}
