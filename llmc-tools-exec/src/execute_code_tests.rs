//! `execute_code` with a real Python, started without a jail: what the jail itself promises is tested with it.
//!
//! `LLMC_TEST_PYTHON` names another interpreter than the system's.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::testing::{Harness, ProgramIo, item};
use llmc_core::{ToolError, code};
use llmc_tools_watch::testing::play;

use super::*;
use crate::frame::{Kind, encode};
use crate::limits::{MAX_CALL_RECORDS, MAX_CALLS, MAX_FRAME_BYTES, MAX_OPEN_CALLS, MAX_REPLY_BYTES};

#[path = "execute_code_io_tests.rs"]
mod io;

/// A machine with a Python and these tools: `echo` answers its arguments, `fail` fails, `say` answers text alone,
/// `big` answers much, `slow` takes its time.
fn machine() -> Harness {
    let slow = |_| {
        thread::sleep(Duration::from_millis(100));
        Ok(Envelope::text("slept"))
    };
    Harness::new()
        .program("python", python)
        .tool("echo", |arguments| Envelope::structured(&arguments, "ignored"))
        .tool("fail", |_| Ok(Envelope::structured(&json!({"left": 3}), "no such luck")?.as_error()))
        .tool("say", |_| Ok(Envelope::text("hello")))
        .tool("big", |_| Envelope::structured(&json!({"text": "x".repeat(MAX_REPLY_BYTES)}), ""))
        .tool("slow", slow)
        .tool("denied", |_| Err(ToolError::denied("not for you")))
        .tool("gone", |_| Err(ToolError::new(code::UNKNOWN_ITEM, "no tool `gone`")))
}

/// Does what the runner does, without the jail. A shell moves the job socket to descriptor 3.
fn python(request: RunRequest, mut io: ProgramIo) -> RunStatus {
    let dir = tempfile::tempdir().unwrap();
    let llmc = dir.path().join("llmc");
    std::fs::create_dir(&llmc).unwrap();
    for file in &request.files {
        std::fs::write(llmc.join(&file.path), &file.contents).unwrap();
    }
    assert_eq!(request.args.last().unwrap(), "/llmc/boot.py");
    let input = dir.path().join("stdin");
    let mut typed = Vec::new();
    if let Some(mut pipe) = io.stdin.take() {
        pipe.read_to_end(&mut typed).unwrap();
    }
    std::fs::write(&input, typed).unwrap();
    let python = std::env::var("LLMC_TEST_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec 3<&0; exec <"$0"; exec "$@""#]).arg(input).arg(python);
    command.args(&request.args[..request.args.len() - 1]).arg(llmc.join("boot.py"));
    command.stdin(OwnedFd::from(io.job.take().unwrap())).env_clear().current_dir(dir.path());
    play(&mut command, io)
}

fn envelope(harness: &Harness, code: &str) -> Envelope {
    harness.call::<ExecuteCode>(json!({"code": code})).unwrap()
}

/// Runs code and returns the structured result.
fn run(code: &str) -> Value {
    envelope(&machine(), code).structured.unwrap()
}

/// The value of code that must succeed.
fn value(code: &str) -> Value {
    let result = run(code);
    assert_eq!(result.get("error"), None, "{code}");
    result["result"].clone()
}

/// The error of code that must fail.
fn error(code: &str) -> Value {
    run(code)["error"].clone()
}

#[track_caller]
fn assert_contains(text: &Value, part: &str) {
    assert!(text.as_str().unwrap_or_default().contains(part), "`{part}` is not in {text}");
}

#[test]
fn what_is_printed_and_what_is_the_result() {
    let answer = envelope(&machine(), "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7");
    assert!(!answer.is_error);
    let result = answer.structured.as_ref().unwrap();
    assert_eq!((&result["stdout"], &result["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!((&result["result"], result.get("error")), (&json!(42), None));
    assert_eq!((&result["language"], &result["isolation"]), (&json!("python"), &json!("namespaces")));
    assert_eq!(result["accounting"], "tree");
    assert_contains(&result["engine"], "CPython 3.");
    let text = answer.all_text();
    assert!(text.starts_with("ok, "), "{text}");
    assert!(text.ends_with("\nresult: 42\nstdout:\nout\nstderr:\nerr"), "{text}");
}

#[test]
fn the_result_is_the_last_expression_or_a_variable() {
    assert_eq!(value("x = 1\nx + 1"), 2);
    assert_eq!(value("result = {'a': [1, 2.5, None]}"), json!({"a": [1, 2.5, null]}));
    assert_eq!(value("result = 1\nprint(2)"), 1, "an expression without a value does not count");
    assert_eq!(value("result = 1\n3"), 3);
    assert_eq!(value("x = 1"), Value::Null);
    assert_eq!(value("# nothing but a comment"), Value::Null);
    assert_eq!(value("'grüße 😀'"), "grüße 😀");
    assert_eq!(value("0.1 + 0.2"), 0.1 + 0.2);
    assert_eq!(value("\u{FEFF}1\r\n2\r\n"), 2);
}

#[test]
fn values_without_a_json_form_are_shown() {
    for (code, shown) in [
        ("{1}", "{1}"),
        ("float('nan')", "nan"),
        ("2 ** 70", "1180591620717411303424"),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n  x: int\nA(1)", "A(x=1)"),
        ("class B:\n  def __repr__(self): raise OSError\nB()", "<B; its repr failed: OSError>"),
        ("x = []\nx.append(x)\nx", "[[...]]"),
    ] {
        let result = run(code);
        assert_eq!(
            (&result["result_repr"], result.get("result"), result.get("error")),
            (&json!(shown), None, None),
            "{code}"
        );
    }
    let result = run("'x' * 300_000");
    assert_eq!(
        (&result["truncated"], result["result_repr"].as_str().unwrap().len()),
        (&json!(true), 100_000)
    );
    assert_eq!(value(r"'\ud800'"), "?", "half a surrogate pair has no JSON form");
}

#[test]
fn errors_name_type_message_and_line() {
    let failed = error("x = 1\n\ndef f():\n    raise ValueError('no')\n\nf()");
    assert_eq!(
        (&failed["kind"], &failed["type"], &failed["message"]),
        (&json!("exception"), &json!("ValueError"), &json!("no"))
    );
    assert_eq!(failed["line"], 4);
    let traceback = failed["traceback"].as_str().unwrap();
    assert!(traceback.starts_with(
        "Traceback (most recent call last):\n  File \"<code>\", line 6, in <module>\n    f()\n"
    ));
    assert!(traceback.contains("line 4, in f\n    raise ValueError('no')"), "{traceback}");
    assert!(!traceback.contains("llmc/"), "{traceback}");

    let answer = envelope(&machine(), "1/0");
    assert!(answer.is_error);
    assert!(
        answer.all_text().contains(" with ZeroDivisionError at line 1: division by zero"),
        "{}",
        answer.all_text()
    );
}

#[test]
fn causes_are_shown_and_own_frames_are_not() {
    let failed = error(
        "from llmc import tools\ntry:\n  tools.fail()\nexcept Exception as e:\n  raise KeyError('k') from e",
    );
    let traceback = &failed["traceback"];
    assert_contains(traceback, "llmc.ToolError: no such luck");
    assert_contains(traceback, "direct cause");
    assert!(!traceback.as_str().unwrap().contains("llmc/"), "{traceback}");
    assert_eq!(failed["line"], 5);
}

#[test]
fn code_that_is_no_python_is_told_where() {
    let failed = error("x = 1\nif x\n  pass");
    assert_eq!((&failed["type"], &failed["line"]), (&json!("SyntaxError"), &json!(2)));
    assert_contains(&failed["traceback"], "if x");
    assert_eq!(error("a\0b")["kind"], "exception");
    assert_eq!(error(&format!("{}1{}", "(".repeat(5000), ")".repeat(5000)))["kind"], "exception");
    assert_eq!(error("def f(): f()\nf()")["type"], "RecursionError");
}

#[test]
fn ways_to_leave() {
    let result = run("import sys\nprint('bye')\nsys.exit(3)");
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(3), &json!("bye\n")));
    assert_eq!(
        (&result["error"]["kind"], &result["error"]["message"]),
        (&json!("exit"), &json!("exit code 3"))
    );
    let result = run("result = 5\nexit()");
    assert_eq!((&result["exit_code"], &result["result"], result.get("error")), (&json!(0), &json!(5), None));
    assert_eq!(run("raise SystemExit('reason')")["stderr"], "reason\n");
    assert_eq!(error("raise KeyboardInterrupt")["type"], "KeyboardInterrupt");
    // Non-daemon threads and exit handlers belong to a program.
    let code = "import threading, time, atexit\natexit.register(print, 'end')\n\
                threading.Thread(target=lambda: (time.sleep(.1), print('late'))).start()";
    assert_eq!(run(code)["stdout"], "late\nend\n");
}

#[test]
fn await_works_at_the_top() {
    assert_eq!(value("import asyncio\nx = await asyncio.sleep(0, 5)\nx + await asyncio.sleep(0, 1)"), 6);
    let failed = error("async def f():\n  raise ValueError\nawait f()");
    assert_eq!(failed["line"], 2);
    assert!(!failed["traceback"].as_str().unwrap().contains("asyncio"), "{failed}");
}

#[test]
fn the_namespace_is_the_codes_own() {
    assert_eq!(value("__name__"), "__main__");
    let names = "sorted(n for n in globals() if not n.startswith('__'))";
    assert_eq!(value(names), json!([]));
    assert_eq!(value("import sys, __main__\nx = 1\n__main__.x, sys.argv"), json!([1, ["<code>"]]));
    assert_eq!(
        value("import os\nos.environ['A'] = 'b'\nlen(os.environ)"),
        value("import os\nlen(os.environ) + 1")
    );
    assert_eq!(std::env::var("A"), Err(std::env::VarError::NotPresent));
}

#[test]
fn input_arrives() {
    let answer =
        machine().call::<ExecuteCode>(json!({"code": "input() + input()", "stdin": "a\nb\n"})).unwrap();
    assert_eq!(answer.structured.unwrap()["result"], "ab");
    assert_eq!(error("input()")["type"], "EOFError");
}

#[test]
fn tools_are_called_and_counted() {
    let result = run(
        "from llmc import tools\nprint(tools.echo(query='x', n=[1, None]))\ntools.call('echo', name='y', self=1)",
    );
    assert_eq!(result["stdout"], "{'n': [1, None], 'query': 'x'}\n");
    assert_eq!(result["result"], json!({"name": "y", "self": 1}));
    let calls = result["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!((&calls[0]["name"], &calls[0]["ok"]), (&json!("echo"), &json!(true)));
    assert!(calls[0]["ms"].is_u64());
    assert_eq!(value("import llmc\nllmc.tools.say()"), "hello", "text where there is no structured content");
    assert_eq!(
        value("from llmc import tools\nimport pathlib\ntools.echo(path=pathlib.Path('a/b'))"),
        json!({"path": "a/b"})
    );
    assert_contains(
        &json!(envelope(&machine(), "from llmc import tools\ntools.say()").all_text()),
        "1 tool calls, 0 of them failed",
    );
}

#[test]
fn failures_of_tools_are_exceptions() {
    let code = "from llmc import tools, ToolError\ntry:\n  tools.fail()\nexcept ToolError as e:\n  result = [str(e), e.tool, e.data]";
    let result = run(code);
    assert_eq!(result["result"], json!(["no such luck", "fail", {"left": 3}]));
    assert_eq!(result["tool_calls"][0]["ok"], false);
    assert_eq!(result.get("error"), None);
    let failed = error("from llmc import tools\ntools.denied()");
    assert_eq!(failed["type"], "llmc.ToolError");
    assert_eq!(failed["message"], "not for you");
    assert_eq!(error("from llmc import tools\ntools.gone()")["type"], "llmc.UnknownToolError");
    assert_contains(
        &error("from llmc import tools\ntools.big()")["message"],
        "at most 8388608 reach the code",
    );
    assert_contains(
        &error("from llmc import tools\ntools.echo(x='y' * 2_000_000)")["message"],
        "at most 1048576",
    );
    assert_contains(
        &error("from llmc import tools\ntools.echo(x={1})")["message"],
        "tools.echo: the arguments cannot be written",
    );
    assert_contains(
        &error("from llmc import tools\ntools.echo('a')")["message"],
        "takes its arguments by name",
    );
    assert_contains(&error("from llmc import tools\ntools.echo(x='\\udc80')")["message"], "surrogate");
}

#[test]
fn tools_are_known_by_name() {
    let with_tools = |code: &str| value(&format!("from llmc import tools\n{code}"));
    let names = ["big", "call", "denied", "describe", "echo", "fail", "gone", "say", "search", "slow"];
    assert_eq!(with_tools("dir(tools)"), json!(names));
    assert_eq!(
        with_tools("hasattr(tools, 'echo'), 'x' in dir(tools), hasattr(tools, '__len__')"),
        json!([true, false, false])
    );
    let result = run("from llmc import tools\ntools.ehco()");
    // The server is asked, because a refusal that it does not see is in no audit.
    assert_contains(&result["error"]["message"], "ehco");
    assert_eq!(result["tool_calls"][0]["ok"], false);
    let none = Harness::new().program("python", python);
    let none = envelope(&none, "from llmc import tools\ntools.echo()").structured.unwrap();
    assert_contains(&none["error"]["message"], "echo");
    assert_eq!(error("import llmc\nllmc.nothing")["type"], "AttributeError");
    // Code that finds the module without naming it may try any name.
    assert_eq!(value("__import__('ll' + 'mc').tools.say()"), "hello");
}

#[test]
fn tools_explain_themselves() {
    let described = || {
        let properties = json!({
            "from": {"type": "integer"},
            "kind": {"enum": ["file", null], "type": ["string", "null"]},
            "limit": {"type": ["integer", "null"], "default": 200},
            "names": {"type": "array", "items": {"type": "string"}},
            "path": {"type": "string", "description": "Where."},
        });
        let schema = json!({"properties": properties, "required": ["path"]});
        json!([
            {"name": "read_file", "title": "Read file", "description": "Reads a file.\nAll of it.", "input_schema": schema},
            {"name": "search", "description": "Looks for notes.", "input_schema": {}},
            {"name": "write_file", "description": "Writes a file.", "input_schema": {}},
        ])
    };
    let harness = Harness::new().program("python", move |request, io| {
        python_with_job(request, io, move |job| job["tools"] = json!(described().to_string()))
    });
    let run = |code: &str| envelope(&harness, &format!("from llmc import tools\n{code}")).structured.unwrap();
    assert_contains(&run("tools.read_file('a')")["error"]["message"], "tools.read_file(path=...)");
    let help = run("help(tools.read_file)");
    assert_contains(&help["stdout"], "Reads a file.");
    assert_contains(&help["stdout"], "path (str, required): Where.");
    assert_contains(&help["stdout"], "limit (int | None, optional): Default: 200.");
    let signature =
        "(*, path: str, kind: 'file' | None = ..., limit: int | None = 200, names: list[str] = ..., **more)";
    assert_contains(&help["stdout"], signature);
    let inspected = "import inspect\nf = inspect.signature(tools.read_file)\n\
                     [str(f), f.parameters['path'].annotation is str, f.parameters['path'].default is f.empty]";
    let inspected = run(inspected)["result"].clone();
    assert_eq!(inspected, json!([format!("{signature} -> dict | str"), true, true]));

    assert_eq!(
        run("tools.search('reading files')")["result"],
        json!([
            {"name": "read_file", "description": "Reads a file."},
            {"name": "write_file", "description": "Writes a file."},
        ])
    );
    assert_eq!(
        run("len(tools.search()), len(tools.search(limit=1)), tools.search('zebra')")["result"],
        json!([3, 1, []])
    );
    assert_eq!(run("tools.describe('read_file')['input_schema']['required']")["result"], json!(["path"]));
    assert_eq!(run("tools.describe('nothing')")["error"]["type"], "llmc.UnknownToolError");
    // The tool of that name is called all the same.
    let called = run("tools.call('search', name='x')");
    assert_eq!(
        (&called["tool_calls"][0]["name"], called["tool_calls"].as_array().unwrap().len()),
        (&json!("search"), 1)
    );
}

/// [`python`] behind a relay in the job socket that changes the first frame, the job.
fn python_with_job(
    request: RunRequest,
    mut io: ProgramIo,
    change: impl FnOnce(&mut Value) + Send + 'static,
) -> RunStatus {
    let outer = io.job.take().unwrap();
    let (inner, theirs) = UnixStream::pair().unwrap();
    io.job = Some(theirs);
    let (mut from_code, mut to_plugin) = (inner.try_clone().unwrap(), outer.try_clone().unwrap());
    let (mut from_plugin, mut to_code) = (outer, inner);
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut from_code, &mut to_plugin);
        let _ = to_plugin.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut header = [0; 5];
        from_plugin.read_exact(&mut header).unwrap();
        let mut body = vec![0; u32::from_be_bytes(*header.first_chunk().unwrap()) as usize];
        from_plugin.read_exact(&mut body).unwrap();
        let mut job = serde_json::from_slice(&body).unwrap();
        change(&mut job);
        to_code.write_all(&encode(Kind::Job, job.to_string().as_bytes())).unwrap();
        let _ = std::io::copy(&mut from_plugin, &mut to_code);
    });
    let status = python(request, io);
    // A run that has ended has sent everything: so must its relay.
    answers.join().unwrap();
    status
}

#[test]
fn threads_call_at_the_same_time() {
    let most = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicUsize::new(0));
    let (count, peak) = (open.clone(), most.clone());
    let harness = machine().tool("slow_echo", move |arguments| {
        peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        count.fetch_sub(1, Ordering::SeqCst);
        Envelope::structured(&arguments, "")
    });
    let code = "from llmc import tools\nfrom concurrent.futures import ThreadPoolExecutor\n\
                with ThreadPoolExecutor(40) as pool:\n  \
                  answers = list(pool.map(lambda n: tools.slow_echo(n=n)['n'], range(200)))\n\
                answers == list(range(200))";
    let result = envelope(&harness, code).structured.unwrap();
    assert_eq!((&result["result"], result.get("error")), (&json!(true), None));
    assert_eq!(result["tool_calls"].as_array().unwrap().len(), MAX_CALL_RECORDS);
    assert_eq!(result["tool_calls_omitted"], 200 - MAX_CALL_RECORDS);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=MAX_OPEN_CALLS).contains(&most), "{most} at the same time");
}

/// The thread that answered the first call listens for the next one, and is kept by it.
#[test]
fn a_call_that_takes_long_keeps_no_other_waiting() {
    let (release, released) = std::sync::mpsc::channel();
    let released = Mutex::new(released);
    let harness = machine()
        .tool("hold", move |_| {
            let released = released.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok();
            Envelope::structured(&json!({"released": released}), "")
        })
        .tool("release", move |_| {
            release.send(()).unwrap();
            Ok(Envelope::text("done"))
        });
    let code = "import threading, time\nfrom llmc import tools\n\
                answers = [tools.echo(n=n)['n'] for n in range(3)]\n\
                holder = threading.Thread(target=lambda: answers.append(tools.hold()['released']))\n\
                holder.start()\ntime.sleep(0.05)\ntools.release()\nholder.join()\n\
                answers.append(tools.echo(n='last')['n'])\nanswers";
    let result = envelope(&harness, code).structured.unwrap();
    assert_eq!(result["result"], json!([0, 1, 2, true, "last"]), "{result}");
}

#[test]
fn long_texts_arrive_as_they_are() {
    let code = "from llmc import tools\nfrom concurrent.futures import ThreadPoolExecutor\n\
                texts = ['', 'x' * 511, 'x' * 512, '\u{e4}\\n\"\\\\' * 300, '\u{1f30d}\\0' * 50_000, 'T' * 300_000]\n\
                def same(n):\n  \
                  sent = {'first': texts[n % 6], 'n': n, 'other': 'y' * 1000, 'inner': {'text': texts[2]}}\n  \
                  back = tools.echo(**sent)\n  \
                  return back == sent and sorted(back) == sorted(sent)\n\
                alone = [same(n) for n in range(12)]\n\
                with ThreadPoolExecutor(8) as pool:\n  \
                  together = list(pool.map(same, range(48)))\n\
                all(alone), all(together), len(alone + together)";
    assert_eq!(value(code), json!([true, true, 60]));
}

/// What a jail whose interpreter says this of itself hears after its job when it echoes a long text.
fn answer_to(ready: &'static str) -> Vec<u8> {
    let (heard, hears) = std::sync::mpsc::channel();
    let harness = machine().program("python", move |_, io| {
        let mut socket = io.job.as_ref().unwrap().try_clone().unwrap();
        let call = format!(r#"{{"id":1,"name":"echo","arguments":{{"a":"{}"}}}}"#, "x".repeat(2000));
        let frames = [encode(Kind::Ready, ready.as_bytes()), encode(Kind::Call, call.as_bytes())];
        socket.write_all(&frames.concat()).unwrap();
        let mut kinds = Vec::new();
        while kinds.last() != Some(&b'R') {
            let mut header = [0; 5];
            socket.read_exact(&mut header).unwrap();
            let [a, b, c, d, kind] = header;
            socket.read_exact(&mut vec![0; u32::from_be_bytes([a, b, c, d]) as usize]).unwrap();
            kinds.push(kind);
        }
        heard.send(kinds).unwrap();
        socket.write_all(&encode(Kind::Done, b"{}")).unwrap();
        RunStatus::Exited(0)
    });
    assert!(!envelope(&harness, "1").is_error);
    hears.recv().unwrap()
}

#[test]
fn long_texts_go_beside_answers_only_to_those_who_take_them() {
    assert_eq!(answer_to(r#"{"v":1,"engine":"x","texts":true}"#), b"JTR");
    assert_eq!(answer_to(r#"{"v":1,"engine":"x"}"#), b"JR");
}

#[test]
fn calls_are_limited_in_words_first() {
    let code = "from llmc import tools\nfor n in range(10001):\n  tools.echo(n=n)";
    let result = run(code);
    assert_eq!(result["error"]["type"], "llmc.LimitError");
    assert_eq!(result["error"]["message"], format!("more than {MAX_CALLS} tool calls in one run"));
    assert_eq!(result["tool_calls"].as_array().unwrap().len(), MAX_CALL_RECORDS);
    assert_eq!(result["tool_calls_omitted"], MAX_CALLS - MAX_CALL_RECORDS as u64);
}

#[test]
fn patched_modules_do_not_matter() {
    let code = "import json, posix, os, sys\njson.dumps = json.loads = posix.write = posix.read = os.write = None\n\
                sys.stdout = None\nfrom llmc import tools\ntools.echo(a=1)";
    assert_eq!(value(code), json!({"a": 1}));
}

#[test]
fn a_closed_job_socket_is_told() {
    let started = Instant::now();
    let result = run("import os, time\nprint('before')\nos.close(3)\ntime.sleep(30)");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((&result["stdout"], &result["error"]["kind"]), (&json!("before\n"), &json!("died")));
    assert_contains(&result["error"]["message"], "closed descriptor 3");
    // Something else under its number gets no frame.
    let result =
        run("import os\nos.close(3)\nf = open('f', 'w+')\nassert f.fileno() == 3\nprint(open('f').read())");
    assert_eq!((&result["stdout"], &result["error"]["kind"]), (&json!("\n"), &json!("died")));
}

#[test]
fn a_dead_interpreter_is_told() {
    let result = run("import os\nprint('last words')\nos._exit(9)");
    assert_eq!(result["stdout"], "last words\n");
    assert_eq!(result["error"]["message"], "the interpreter ended without a result: exit code 9");
    let result = run("import os\nos.abort()");
    assert_eq!((&result["error"]["kind"], result.get("result")), (&json!("died"), None));
    assert_contains(&result["error"]["message"], "SIGABRT");
}

#[test]
fn a_timeout_keeps_what_was_printed() {
    for code in ["while True: pass", "import time\ntime.sleep(30)", "await __import__('asyncio').sleep(30)"] {
        let code = format!("print('begun')\n{code}");
        let started = Instant::now();
        let answer = machine().call::<ExecuteCode>(json!({"code": code, "timeout_ms": 2000})).unwrap();
        assert!(started.elapsed() < Duration::from_secs(8));
        assert!(
            answer.is_error && answer.all_text().starts_with("timed out after "),
            "{}",
            answer.all_text()
        );
        let result = answer.structured.unwrap();
        assert_eq!(
            (&result["stdout"], &result["timed_out"], &result["limit"]),
            (&json!("begun\n"), &json!(true), &json!("wall"))
        );
        assert_eq!(
            (&result["error"]["kind"], &result["error"]["type"]),
            (&json!("limit"), &json!("TimedOut"))
        );
    }
}

#[test]
fn a_slow_tool_does_not_hold_up_the_end() {
    let harness = machine().tool("stuck", |_| {
        thread::sleep(Duration::from_secs(30));
        Ok(Envelope::text("late"))
    });
    let started = Instant::now();
    let code = "from llmc import tools\ntools.stuck()";
    let answer = harness.call::<ExecuteCode>(json!({"code": code, "timeout_ms": 2000})).unwrap();
    assert!(started.elapsed() < Duration::from_secs(8));
    let result = answer.structured.unwrap();
    assert_eq!((&result["timed_out"], &result["tool_calls"][0]["ok"]), (&json!(true), &json!(false)));
}

#[test]
fn a_cancelled_call_ends_the_code() {
    let harness = machine();
    thread::scope(|scope| {
        let call = scope.spawn(|| envelope(&harness, "print(1)\nwhile True: pass").structured.unwrap());
        thread::sleep(Duration::from_millis(1500));
        harness.cancel();
        let result = call.join().unwrap();
        assert_eq!((&result["limit"], &result["stdout"]), (&json!("cancelled"), &json!("1\n")));
    });
}

#[test]
fn floods_are_cut() {
    let arguments = json!({"code": "print('a' * 10000)", "max_output_bytes": 100});
    let result = machine().call::<ExecuteCode>(arguments).unwrap().structured.unwrap();
    assert_eq!((&result["stdout_bytes"], &result["truncated"]), (&json!(10001), &json!(true)));
    let shown = result["stdout"].as_str().unwrap().lines().filter(|line| !line.contains("left out"));
    assert!(shown.map(str::len).sum::<usize>() <= 100, "{result}");

    let started = Instant::now();
    let result = run("while True: print('x' * 10_000)");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((&result["limit"], &result["error"]["kind"]), (&json!("output"), &json!("limit")));
}

#[test]
fn empty_code_starts_nothing() {
    for code in ["", " \n\t"] {
        let error = Harness::new().call::<ExecuteCode>(json!({"code": code})).unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
    }
    let error =
        Harness::new().call::<ExecuteCode>(json!({"code": "#".repeat(MAX_CODE_BYTES + 1)})).unwrap_err();
    assert!(error.message().contains("longer than"), "{error}");
    let error = Harness::new().call::<ExecuteCode>(json!({"code": "1", "language": "perl"})).unwrap_err();
    assert!(error.message().contains("python"), "{error}");
    let error = Harness::new().call::<ExecuteCode>(json!({"code": "1"})).unwrap_err();
    assert_eq!(error.code(), code::DENIED, "no program is granted");
}

/// A jail that writes these bytes to the job socket and then waits to be ended.
fn hostile(bytes: Vec<u8>) -> Value {
    let harness = Harness::new().program("python", move |_, io| {
        // On a thread of its own, as it may have to wait: nobody reads any more once the run is to be ended.
        let (mut socket, bytes) = (io.job.as_ref().unwrap().try_clone().unwrap(), bytes.clone());
        thread::spawn(move || socket.write_all(&bytes));
        while !io.killed() {
            thread::sleep(Duration::from_millis(2));
        }
        RunStatus::Signalled(9)
    });
    let started = Instant::now();
    let result = envelope(&harness, "1").structured.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "it is not waited for");
    result
}

#[test]
fn a_breach_of_the_protocol_ends_the_run() {
    let ready = || encode(Kind::Ready, br#"{"v":1,"engine":"x"}"#);
    let call =
        |id: u64| encode(Kind::Call, format!(r#"{{"id":{id},"name":"a","arguments":{{}}}}"#).as_bytes());
    let too_long = [&u32::MAX.to_be_bytes()[..], b"D"].concat();
    for (bytes, words) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "frame of unknown kind"),
        (too_long, "at most 1048576 are allowed"),
        (encode(Kind::Done, b"{}"), "an unexpected Done frame before the job"),
        ([ready(), ready()].concat(), "an unexpected Ready frame during the job"),
        ([ready(), call(2)].concat(), "call 2, expected call 1"),
        ([ready(), encode(Kind::Done, b"not json")].concat(), "a Done frame that cannot be read"),
        (
            [ready(), encode(Kind::Call, &vec![b' '; MAX_FRAME_BYTES])].concat(),
            "a Call frame that cannot be read",
        ),
        ([ready(), (1..=MAX_CALLS + 1).flat_map(call).collect()].concat(), "more than"),
    ] {
        let result = hostile(bytes);
        assert_eq!(
            (&result["error"]["kind"], &result["error"]["type"]),
            (&json!("protocol"), &json!("ProtocolError"))
        );
        assert_contains(&result["error"]["message"], words);
        assert_eq!(result.get("limit"), None);
    }
}

#[test]
fn the_first_end_counts() {
    let ready = encode(Kind::Ready, br#"{"v":1,"engine":"x"}"#);
    let done = |json: &str| encode(Kind::Done, format!(r#"{{"value":{{"json":"{json}"}}}}"#).as_bytes());
    let result = hostile([ready, done("1"), done("2"), b"garbage".to_vec()].concat());
    assert_eq!((&result["result"], result.get("error"), result.get("limit")), (&json!(1), None, None));
}

#[test]
fn half_a_frame_waits_no_longer_than_the_job() {
    let harness = Harness::new().program("python", |_, io| {
        io.job.as_ref().unwrap().write_all(&[0, 0, 1, 0, b'r', b'{']).unwrap();
        while !io.killed() {
            thread::sleep(Duration::from_millis(2));
        }
        RunStatus::Signalled(9)
    });
    let started = Instant::now();
    let answer = harness.call::<ExecuteCode>(json!({"code": "1", "timeout_ms": 300})).unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(answer.structured.unwrap()["limit"], "wall");
}

#[test]
fn code_that_reads_no_answers_holds_up_nothing() {
    let harness =
        Harness::new().tool("a", |_| Ok(Envelope::text("x".repeat(512 << 10)))).program("python", |_, io| {
            let mut socket = io.job.as_ref().unwrap();
            socket.write_all(&encode(Kind::Ready, br#"{"v":1,"engine":"x"}"#)).unwrap();
            for id in 1..=MAX_OPEN_CALLS {
                let call = format!(r#"{{"id":{id},"name":"a","arguments":{{}}}}"#);
                socket.write_all(&encode(Kind::Call, call.as_bytes())).unwrap();
            }
            while !io.killed() {
                thread::sleep(Duration::from_millis(2));
            }
            RunStatus::Signalled(9)
        });
    let started = Instant::now();
    let answer = harness.call::<ExecuteCode>(json!({"code": "1", "timeout_ms": 500})).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    let result = answer.structured.unwrap();
    assert_eq!((&result["limit"], &result["timeout_ms"]), (&json!("wall"), &json!(500)));
    assert_eq!(result["tool_calls"].as_array().unwrap().len(), MAX_OPEN_CALLS);
}

#[test]
fn a_forged_end_is_only_words() {
    let code = "import os, json\nbody = json.dumps({'value': {'json': '\"forged\"'}, 'tool_calls': [{'name': 'x'}], 'usage': {}}).encode()\n\
                os.write(3, len(body).to_bytes(4, 'big') + b'D' + body)\nwhile True: pass";
    let result = run(code);
    assert_eq!(result["result"], "forged");
    assert_eq!(result["tool_calls"], json!([]));
    assert!(result["usage"]["wall_ms"].as_u64().unwrap() > 0);
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<ExecuteCode>();
    let properties = &item.input_schema["properties"];
    assert_eq!(item.input_schema["required"], json!(["code"]));
    assert_contains(&json!(properties["language"].to_string()), "python");
    for (name, default) in
        [("timeout_ms", DEFAULT_TIMEOUT_MS), ("max_output_bytes", DEFAULT_OUTPUT_BYTES.into())]
    {
        assert_contains(&properties[name]["description"], &format!("Default: {default}."));
    }
    assert!(!item.annotations.read_only && !item.annotations.open_world);
    assert!(item.description.len() < 800, "descriptions are paid for in every session");
}
