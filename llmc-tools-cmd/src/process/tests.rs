//! The tools for processes over real programs, started without a jail: what the jail promises is tested with it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use llmc_core::code;
use llmc_core::prelude::*;
use llmc_core::run::{RunRequest, RunStatus};
use llmc_core::testing::{Harness, item};
use llmc_tools_watch::testing::play;

use crate::limits::{MAX_ENDED, MAX_PENDING_BYTES, MAX_TEXT_BYTES};
use crate::{ListProcesses, ReadOutput, SendInput, StartProcess, StopProcess};

/// A wait that is long enough for anything that comes at all; it ends early.
const LONG_MS: u64 = 20_000;

/// A caller with these programs. Processes of all tests share one table, so each has a caller of its own.
fn machine(caller: &str, config: Value) -> Harness {
    let harness = Harness::new().config(config);
    harness.set_caller(caller);
    ["sh", "cat", "seq", "sleep"].into_iter().fold(harness, |harness, program| {
        harness.program(program, move |request: RunRequest, io| {
            assert!(request.detached && request.stdin && request.pty.is_none());
            let mut command = Command::new(program);
            command.args(&request.args).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
            play(&mut command, io)
        })
    })
}

fn ok<T: Tool>(harness: &Harness, arguments: Value) -> Value {
    harness.call::<T>(arguments).unwrap().structured.unwrap()
}

fn refusal<T: Tool>(harness: &Harness, arguments: Value) -> ToolError {
    harness.call::<T>(arguments).unwrap_err()
}

/// Starts a program and returns its handle.
fn start(harness: &Harness, argv: &[&str]) -> String {
    let started = ok::<StartProcess>(harness, json!({"argv": argv, "wait_ms": 0}));
    started["process"].as_str().unwrap().to_owned()
}

fn shell(harness: &Harness, script: &str) -> String {
    start(harness, &["sh", "-c", script])
}

/// Reads until a text has come, or the end.
fn read_until(harness: &Harness, process: &str, wanted: &str) -> Value {
    let mut text = String::new();
    loop {
        let mut seen = ok::<ReadOutput>(harness, json!({"process": process, "wait_ms": LONG_MS}));
        text += seen["text"].as_str().unwrap();
        if text.contains(wanted) || seen["running"] == false {
            seen["text"] = text.into();
            return seen;
        }
    }
}

/// Waits for the end.
fn ended(harness: &Harness, process: &str) -> Value {
    read_until(harness, process, "\0 never printed")
}

#[test]
fn a_conversation_has_state_and_an_end() {
    let harness = machine("conversation", json!({}));
    let process =
        shell(&harness, "n=0; while read line; do n=$((n+1)); echo $n: $line; done; echo bye; exit 3");
    for (number, text) in ["hello", "wörld"].into_iter().enumerate() {
        let arguments = json!({"process": process, "text": format!("{text}\n"), "wait_ms": LONG_MS});
        let seen = ok::<SendInput>(&harness, arguments);
        assert_eq!(seen["text"], format!("{}: {text}\n", number + 1));
        assert_eq!((&seen["running"], seen.get("streams")), (&json!(true), None));
    }
    let closed = ok::<SendInput>(&harness, json!({"process": process, "close": true, "wait_ms": 0}));
    let seen = ended(&harness, &process);
    let text = [&closed, &seen].map(|seen| seen["text"].as_str().unwrap()).concat();
    assert_eq!((text.as_str(), &seen["exit_code"], seen.get("limit")), ("bye\n", &json!(3), None));
    let again = ok::<ReadOutput>(&harness, json!({"process": process, "cursor": 0}));
    assert_eq!(again["text"], "1: hello\n2: wörld\nbye\n", "an earlier cursor reads again");
    let late = refusal::<SendInput>(&harness, json!({"process": process, "text": "x"}));
    assert!(late.message().contains("has ended"), "{late}");
}

#[test]
fn streams_are_one_text_and_told_apart() {
    let harness = machine("streams", json!({}));
    let process = shell(&harness, "echo out; sleep 0.3; echo err >&2; sleep 0.3; echo out again");
    let answer = ended(&harness, &process);
    assert_eq!(answer["text"], "out\nerr\nout again\n");
    let seen = ok::<ReadOutput>(&harness, json!({"process": process, "cursor": 0}));
    let pieces = json!([
        {"stream": "stdout", "bytes": 4}, {"stream": "stderr", "bytes": 4}, {"stream": "stdout", "bytes": 10},
    ]);
    assert_eq!(seen["streams"], pieces);
}

#[test]
fn a_flood_is_read_exactly_or_counted() {
    let harness = machine("flood", json!({}));
    let process = start(&harness, &["seq", "-w", "400000"]);
    let (mut expected, mut cursor, mut lost, mut read) = (1_u64, 0, 0, 0);
    for step in (0..).map(|round: u64| [1009, 4096, 77_777][usize::try_from(round % 3).unwrap()]) {
        let arguments = json!({"process": process, "cursor": cursor, "max_bytes": step, "wait_ms": LONG_MS});
        let seen = ok::<ReadOutput>(&harness, arguments);
        let (text, next) = (seen["text"].as_str().unwrap(), seen["cursor"].as_u64().unwrap());
        let omitted = seen["omitted_bytes"].as_u64().unwrap();
        assert_eq!(next, cursor + omitted + text.len() as u64);
        // Lines are 7 bytes long, so a position tells what has to stand there.
        for (index, byte) in text.bytes().enumerate() {
            let position = cursor + omitted + index as u64;
            let line = format!("{:06}\n", position / 7 + 1);
            assert_eq!(byte, line.as_bytes()[usize::try_from(position % 7).unwrap()], "at {position}");
        }
        lost += omitted;
        read += text.len() as u64;
        expected += 1;
        cursor = next;
        if seen["running"] == false && seen["unread_bytes"] == 0 {
            break;
        }
    }
    assert_eq!((cursor, lost + read), (2_800_000, 2_800_000), "after {expected} reads");
}

#[test]
fn only_the_caller_has_its_processes() {
    let harness = machine("mine", json!({}));
    let process = start(&harness, &["cat"]);
    let unknown = refusal::<ReadOutput>(&harness, json!({"process": "0123456789abcdef0123456789abcdef"}));
    assert_eq!(ok::<ListProcesses>(&harness, json!({}))["processes"].as_array().unwrap().len(), 1);
    harness.set_caller("somebody else");
    assert_eq!(ok::<ListProcesses>(&harness, json!({}))["processes"], json!([]));
    for refused in [
        refusal::<ReadOutput>(&harness, json!({"process": process})),
        refusal::<SendInput>(&harness, json!({"process": process, "text": "x"})),
        refusal::<StopProcess>(&harness, json!({"process": process})),
    ] {
        assert_eq!((refused.code(), refused.message()), (unknown.code(), unknown.message()));
    }
    harness.set_caller("mine");
    let seen = ok::<SendInput>(&harness, json!({"process": process, "text": "still\n", "wait_ms": LONG_MS}));
    assert_eq!((&seen["text"], &seen["running"]), (&json!("still\n"), &json!(true)));
    ok::<StopProcess>(&harness, json!({"process": process}));
}

#[test]
fn the_number_of_processes_is_limited() {
    let harness = machine("number", json!({"processes_per_caller": 2}));
    let processes: Vec<String> = (0..2).map(|_| start(&harness, &["cat"])).collect();
    let refused = refusal::<StartProcess>(&harness, json!({"argv": ["cat"]}));
    assert_eq!(refused.code(), code::LIMIT);
    assert!(
        refused.message().contains("2 processes run for you") && refused.message().contains("stop_process")
    );
    ok::<StopProcess>(&harness, json!({"process": processes[0]}));
    let next = start(&harness, &["cat"]);
    for process in [&processes[1], &next] {
        ok::<StopProcess>(&harness, json!({"process": process, "grace_ms": 0}));
    }
    // A program that is refused takes no place.
    for _ in 0..3 {
        assert_eq!(refusal::<StartProcess>(&harness, json!({"argv": ["nothing"]})).code(), code::DENIED);
    }
    let none = machine("nobody", json!({"processes": 0}));
    assert!(refusal::<StartProcess>(&none, json!({"argv": ["cat"]})).message().contains("(`processes`)"));
}

#[test]
fn stopping_asks_first_and_happens_once() {
    let harness = machine("stop", json!({}));
    // Nobody forks any more once it says so: a shell may lose a signal that comes while it does.
    let polite = shell(&harness, "trap 'echo stopping; exit 5' TERM; sleep 1000 & echo ready; wait");
    read_until(&harness, &polite, "ready");
    let seen = ok::<StopProcess>(&harness, json!({"process": polite, "grace_ms": LONG_MS}));
    // The shell may also tell what became of its child.
    assert!(seen["text"].as_str().unwrap().ends_with("stopping\n"), "{seen}");
    assert_eq!(seen["exit_code"], 5);
    let again = ok::<StopProcess>(&harness, json!({"process": polite}));
    assert_eq!((&again["text"], &again["exit_code"]), (&json!(""), &json!(5)));

    let deaf = shell(&harness, "trap '' TERM; sleep 1000 & echo ready; wait");
    read_until(&harness, &deaf, "ready");
    let seen = ok::<StopProcess>(&harness, json!({"process": deaf, "grace_ms": 200}));
    assert_eq!(
        (&seen["running"], &seen["signal"], seen.get("limit")),
        (&json!(false), &json!("SIGKILL"), None)
    );
}

#[test]
fn an_interrupt_reaches_the_program() {
    let harness = machine("interrupt", json!({}));
    let process = shell(&harness, "trap 'echo caught' INT; sleep 1000 & echo ready; while :; do wait; done");
    read_until(&harness, &process, "ready");
    ok::<SendInput>(&harness, json!({"process": process, "interrupt": true, "wait_ms": 0}));
    assert_eq!(read_until(&harness, &process, "caught")["running"], true);
    ok::<StopProcess>(&harness, json!({"process": process, "grace_ms": 0}));
}

#[test]
fn a_process_that_nobody_asks_about_is_ended() {
    let harness = machine("idle", json!({"idle_ms": 2000}));
    let (idle, asked) = (start(&harness, &["cat"]), start(&harness, &["cat"]));
    let is_idle_over = || {
        let listed = ok::<ListProcesses>(&harness, json!({}));
        let lines = listed["processes"].as_array().unwrap().clone();
        lines.iter().any(|line| line["process"] == *idle && line["state"] != "running")
    };
    while !is_idle_over() {
        assert_eq!(ok::<ReadOutput>(&harness, json!({"process": asked, "wait_ms": 50}))["running"], true);
    }
    let seen = ok::<ReadOutput>(&harness, json!({"process": idle}));
    assert_eq!((&seen["limit"], &seen["running"]), (&json!("idle"), &json!(false)));
    let stopped = ok::<StopProcess>(&harness, json!({"process": asked}));
    assert_eq!((&stopped["signal"], stopped.get("limit")), (&json!("SIGTERM"), None));
}

#[test]
fn input_that_nobody_reads_is_bounded() {
    let harness = machine("input", json!({}));
    let process = start(&harness, &["sleep", "1000"]);
    let text = "x".repeat(MAX_TEXT_BYTES);
    let send = || harness.call::<SendInput>(json!({"process": process, "text": text, "wait_ms": 0}));
    // A pipe takes 64 KiB, the rest has to wait.
    let sent = (0..20).take_while(|_| send().is_ok()).count();
    assert!((MAX_PENDING_BYTES / MAX_TEXT_BYTES..20).contains(&sent), "{sent}");
    let refused = send().unwrap_err();
    assert_eq!(refused.code(), code::LIMIT);
    assert!(refused.message().contains("has not read"), "{refused}");
    let long = json!({"process": process, "text": format!("{text}x")});
    assert!(refusal::<SendInput>(&harness, long).message().contains("`text` is longer"));
    ok::<StopProcess>(&harness, json!({"process": process, "grace_ms": 0}));
}

#[test]
fn much_input_arrives_whole() {
    let harness = machine("much", json!({}));
    let process = shell(&harness, "sleep 0.5; cat | wc -c");
    let text = "x".repeat(MAX_TEXT_BYTES);
    for close in [false, false, true] {
        ok::<SendInput>(&harness, json!({"process": process, "text": text, "close": close, "wait_ms": 0}));
    }
    let closed = refusal::<SendInput>(&harness, json!({"process": process, "text": "x"}));
    assert!(closed.message().contains("closed") || closed.message().contains("ended"), "{closed}");
    assert_eq!(ended(&harness, &process)["text"].as_str().unwrap().trim(), (3 * MAX_TEXT_BYTES).to_string());
}

#[test]
fn old_ends_are_forgotten() {
    let harness = machine("forgotten", json!({}));
    let processes: Vec<String> = (0..=MAX_ENDED)
        .map(|_| {
            let process = shell(&harness, "echo done");
            ended(&harness, &process);
            process
        })
        .collect();
    assert_eq!(ok::<ListProcesses>(&harness, json!({}))["processes"].as_array().unwrap().len(), MAX_ENDED);
    let error = refusal::<ReadOutput>(&harness, json!({"process": processes[0]}));
    assert!(error.message().contains("no such process"), "{error}");
    let kept = ok::<ReadOutput>(&harness, json!({"process": processes[1], "cursor": 0}));
    assert_eq!(kept["text"], "done\n");
}

#[test]
fn a_terminal_is_typed_into_and_read() {
    let harness = Harness::new().program("echo", |request, mut io| {
        let size = request.pty.unwrap();
        assert!(!request.stdin && request.detached);
        let mut terminal = io.terminal.take().unwrap();
        writeln!(terminal, "{}x{}", size.rows, size.cols).unwrap();
        let mut typed = [0; 6];
        terminal.read_exact(&mut typed).unwrap();
        terminal.write_all(&typed).unwrap();
        RunStatus::Exited(i32::from(typed[5]))
    });
    harness.set_caller("terminal");
    let started =
        ok::<StartProcess>(&harness, json!({"argv": ["echo"], "pty": true, "cols": 100, "wait_ms": LONG_MS}));
    assert_eq!(started["text"], "24x100\n");
    let process = started["process"].as_str().unwrap();
    ok::<SendInput>(&harness, json!({"process": process, "text": "\u{3}1234", "wait_ms": 0}));
    ok::<SendInput>(&harness, json!({"process": process, "close": true, "wait_ms": 0}));
    assert_eq!(ended(&harness, process)["exit_code"], 4);
    let seen = ok::<ReadOutput>(&harness, json!({"process": process, "cursor": started["cursor"]}));
    assert_eq!(seen["text"], "\u{3}1234\u{4}");
}

#[test]
fn what_is_no_command_starts_nothing() {
    let harness = machine("nothing", json!({}));
    for (arguments, words) in [
        (json!({"argv": []}), "the command is empty"),
        (json!({"argv": ["/bin/cat"]}), "not by a path"),
        (json!({"argv": ["cat -n"]}), "one string for each argument"),
        (json!({"argv": ["cat", "a\0b"]}), "NUL"),
        (json!({"argv": ["cat"], "rows": 10}), "set `pty` to true"),
    ] {
        let error = refusal::<StartProcess>(&harness, arguments);
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
        assert!(error.message().contains(words), "{error}");
    }
    let beyond = start(&harness, &["cat"]);
    let error = refusal::<ReadOutput>(&harness, json!({"process": beyond, "cursor": 1}));
    assert!(error.message().contains("beyond the end"), "{error}");
    ok::<StopProcess>(&harness, json!({"process": beyond, "grace_ms": 0}));
}

#[test]
fn a_start_that_nobody_waits_for_leaves_nothing() {
    let harness = machine("cancelled", json!({}));
    thread::scope(|scope| {
        let call = scope.spawn(|| ok::<StartProcess>(&harness, json!({"argv": ["cat"], "wait_ms": LONG_MS})));
        while ok::<ListProcesses>(&harness, json!({}))["processes"] == json!([]) {
            thread::sleep(Duration::from_millis(5));
        }
        harness.cancel();
        call.join().unwrap();
    });
    let is_over = || ok::<ListProcesses>(&harness, json!({}))["processes"][0]["state"] != "running";
    while !is_over() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn descriptions_tell_defaults() {
    let item = item::<StartProcess>();
    let properties = &item.input_schema["properties"];
    for (name, default) in [("wait_ms", "1000"), ("rows", "24"), ("cols", "80")] {
        let text = properties[name]["description"].as_str().unwrap();
        assert!(text.contains(&format!("Default: {default}.")), "{name}: {text}");
    }
    assert_eq!(item.input_schema.get("required"), None, "`argv` or `command`");
}
