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

#[path = "execute_code_calls_tests.rs"]
mod calls;
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
