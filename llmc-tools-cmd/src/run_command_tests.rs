//! `run_command` over real programs, started without a jail: what the jail itself promises is tested with it.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::testing::{Harness, item};
use llmc_core::{ToolError, code};
use llmc_tools_watch::testing::play;
use tempfile::TempDir;

use super::*;

/// Roots `work` and these programs.
fn machine(programs: &[&'static str]) -> (TempDir, Harness) {
    let work = tempfile::tempdir().unwrap();
    let harness = Harness::new().root("work", work.path(), Access::Rw);
    let harness = programs.iter().copied().fold(harness, |harness, program| {
        let work = work.path().to_owned();
        harness.program(program, move |request, io| {
            assert!(!request.job && request.files.is_empty());
            play(&mut command(program, &request, &work), io)
        })
    });
    (work, harness)
}

fn command(program: &str, request: &RunRequest, work: &Path) -> Command {
    let cwd = request.cwd.clone().unwrap();
    assert_eq!(cwd.root, "work");
    let mut command = Command::new(program);
    command.args(&request.args).env_clear().env("PATH", "/usr/bin:/bin").envs(&request.env);
    command.current_dir(work.join(cwd.path)).stdin(std::process::Stdio::null());
    command
}

/// Calls and returns the structured result.
fn run(harness: &Harness, arguments: Value) -> Value {
    harness.call::<RunCommand>(arguments).unwrap().structured.unwrap()
}

fn refusal(harness: &Harness, arguments: Value) -> ToolError {
    harness.call::<RunCommand>(arguments).unwrap_err()
}

#[test]
fn output_and_exit_code_are_told_apart() {
    let (_work, harness) = machine(&["sh"]);
    let answer = harness.call::<RunCommand>(json!({"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}));
    let answer = answer.unwrap();
    assert!(!answer.is_error, "an exit code is a result");
    let result = answer.structured.as_ref().unwrap();
    assert_eq!(result["exit_code"], 3);
    assert_eq!((&result["stdout"], &result["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!((&result["stdout_bytes"], &result["truncated"]), (&json!(4), &json!(false)));
    assert_eq!((&result["isolation"], &result["accounting"]), (&json!("namespaces"), &json!("tree")));
    let text = answer.all_text();
    let (ending, output) = text.split_once('\n').unwrap();
    assert!(ending.starts_with("exit code 3, "), "{ending}");
    assert_eq!(output, "out\nstderr:\nerr\n");
}

#[test]
fn silence_is_said() {
    let (_work, harness) = machine(&["true"]);
    let text = harness.call::<RunCommand>(json!({"argv": ["true"]})).unwrap().all_text();
    assert!(text.starts_with("exit code 0, ") && text.ends_with(", no output"), "{text}");
}

#[test]
fn shell_characters_are_plain_text() {
    let (work, harness) = machine(&["echo"]);
    let tricks =
        ["safe; touch X", "A && touch X", "$(touch X)", "`touch X`", "| tee X", "> X", "*", "$HOME", "a\nb"];
    for trick in tricks {
        assert_eq!(run(&harness, json!({"argv": ["echo", trick]}))["stdout"], format!("{trick}\n"));
    }
    assert_eq!(run(&harness, json!({"argv": ["echo", "a; b", "-n", "--"]}))["stdout"], "a; b -n --\n");
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0, "nothing was created");
}

#[test]
fn what_is_no_command_starts_nothing() {
    let harness = Harness::new();
    for (argv, words) in [
        (json!([]), "the command is empty"),
        (json!([""]), "the command is empty"),
        (json!([" \t"]), "the command is empty"),
        (json!(["/usr/bin/node"]), "not by a path"),
        (json!(["./x"]), "not by a path"),
        (json!(["git status"]), "one string for each argument"),
        (json!(["echo", "a\0b"]), "NUL"),
        (json!(["echo", "x".repeat(MAX_ARGUMENT_BYTES)]), "too long"),
        (json!(vec!["echo"; MAX_ARGUMENTS + 1]), "too long"),
    ] {
        let error = refusal(&harness, json!({"argv": argv}));
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
        assert!(error.message().contains(words), "{error}");
    }
    let error = refusal(&harness, json!({"argv": ["echo"], "env": {"A=B": "c"}}));
    assert!(error.message().contains('='), "{error}");
}

#[test]
fn a_command_line_is_split_or_refused() {
    let (work, harness) = machine(&["echo"]);
    assert_eq!(run(&harness, json!({"command": "echo 'a  b' c"}))["stdout"], "a  b c\n");
    assert_eq!(run(&harness, json!({"command": "echo '$(touch X); > Y'\n"}))["stdout"], "$(touch X); > Y\n");
    for (command, words) in [
        ("echo safe; touch X", "`;` at character 10 of `command` is the end of a command"),
        ("echo $(touch X)", "`$(` at character 6 of `command` is a command substitution"),
        ("echo 'open", "the quote ' at character 6 of `command` is not closed"),
        ("", "the command is empty"),
        (" \n", "the command is empty"),
        ("/usr/bin/echo a", "not by a path"),
    ] {
        let error = refusal(&harness, json!({"command": command}));
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
        assert!(error.message().contains(words), "{error}");
    }
    assert!(refusal(&harness, json!({})).message().contains("there is no command"));
    let both = refusal(&harness, json!({"argv": ["echo"], "command": "echo"}));
    assert!(both.message().contains("not both"), "{both}");
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0, "nothing was created");
}

#[test]
fn merged_streams_keep_their_order() {
    let (_work, harness) = machine(&["sh"]);
    let script = "for n in 1 2 3; do echo out $n; echo err $n >&2; done";
    let arguments = json!({"argv": ["sh", "-c", script], "merge_stderr": true});
    let result = run(&harness, arguments);
    assert_eq!(result["stdout"], "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    assert_eq!((&result["stderr"], &result["stderr_bytes"]), (&json!(""), &json!(0)));
}

#[test]
fn only_granted_programs_start() {
    let (_work, harness) = machine(&["ls", "echo"]);
    assert_eq!(run(&harness, json!({"argv": ["ls"]}))["exit_code"], 0);
    for argv in
        [json!(["whoami"]), json!(["bash", "-c", "ls"]), json!(["env", "ls"]), json!(["python3", "-c", "1"])]
    {
        assert_eq!(refusal(&harness, json!({"argv": argv})).code(), code::DENIED);
    }
}

#[test]
fn the_directory_is_one_in_a_root() {
    let (work, harness) = machine(&["pwd"]);
    std::fs::create_dir(work.path().join("sub")).unwrap();
    let top = work.path().canonicalize().unwrap();
    for (cwd, expected) in [(".", top.clone()), ("work:sub", top.join("sub")), ("/work/sub", top.join("sub"))]
    {
        let result = run(&harness, json!({"argv": ["pwd", "-P"], "cwd": cwd}));
        assert_eq!(result["stdout"], format!("{}\n", expected.display()));
    }
    for cwd in ["/", "..", "sub/../..", "/etc", "work:../x"] {
        assert_eq!(refusal(&harness, json!({"argv": ["pwd"], "cwd": cwd})).code(), code::DENIED, "{cwd}");
    }
}

#[test]
fn input_and_environment_arrive() {
    let (_work, harness) = machine(&["cat", "sh"]);
    assert_eq!(run(&harness, json!({"argv": ["cat"], "stdin": "grüße\n"}))["stdout"], "grüße\n");
    assert_eq!(run(&harness, json!({"argv": ["cat"]}))["stdout"], "", "no input is an empty one");
    let result = run(&harness, json!({"argv": ["sh", "-c", "echo $A; echo $HOME"], "env": {"A": "b c"}}));
    assert_eq!(result["stdout"], "b c\n\n");
}

#[test]
fn input_that_nobody_reads_blocks_nothing() {
    let (_work, harness) = machine(&["true", "cat"]);
    let input = "x".repeat(MAX_STDIN_BYTES);
    assert_eq!(run(&harness, json!({"argv": ["true"], "stdin": input}))["exit_code"], 0);
    // Much in and much out at the same time.
    let result = run(&harness, json!({"argv": ["cat"], "stdin": input}));
    assert_eq!((&result["exit_code"], &result["stdout_bytes"]), (&json!(0), &json!(MAX_STDIN_BYTES)));
    let error = refusal(&harness, json!({"argv": ["cat"], "stdin": input + "x"}));
    assert!(error.message().contains("`stdin` is longer"), "{error}");
}

#[test]
fn long_output_keeps_both_ends() {
    let (_work, harness) = machine(&["seq"]);
    let result = run(&harness, json!({"argv": ["seq", "100000"], "max_output_bytes": 1024}));
    let stdout = result["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("1\n2\n") && stdout.ends_with("\n99999\n100000\n"), "{stdout}");
    assert_eq!(result["stdout_bytes"], 588_895);
    assert_eq!(result["stdout_omitted_bytes"], 588_895 - 1024);
    let note = format!("[... {} bytes left out: `read_more` with handle 0, offset 512 ...]", 588_895 - 1024);
    assert!(stdout.contains(&note), "{stdout}");
    assert_eq!((&result["truncated"], &result["exit_code"]), (&json!(true), &json!(0)));
    assert_eq!((&result["stdout_handle"], result.get("stderr_handle")), (&json!("0"), None));
    let kept = harness.kept();
    assert_eq!((kept.len(), kept[0].len()), (1, 588_895), "the whole is kept, in pieces");
    assert_eq!(kept[0].lines().count(), 100_000);
}

#[test]
fn endless_output_ends_the_command() {
    let (_work, harness) = machine(&["yes"]);
    let started = Instant::now();
    let answer = harness.call::<RunCommand>(json!({"argv": ["yes"]})).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    let result = answer.structured.as_ref().unwrap();
    assert_eq!((&result["limit"], &result["signal"]), (&json!("output"), &json!("SIGKILL")));
    assert!(result["stdout_bytes"].as_u64().unwrap() > HARD_OUTPUT_BYTES);
    assert!(result["stdout"].as_str().unwrap().len() < 2 * DEFAULT_OUTPUT_BYTES as usize);
    assert!(answer.is_error && answer.all_text().contains("printed too much"));
}

#[test]
fn a_timeout_keeps_what_was_printed() {
    let (_work, harness) = machine(&["sh"]);
    let started = Instant::now();
    let arguments = json!({"argv": ["sh", "-c", "echo begun; sleep 30 & sleep 30"], "timeout_ms": 500});
    let answer = harness.call::<RunCommand>(arguments).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    let result = answer.structured.as_ref().unwrap();
    assert_eq!(result["stdout"], "begun\n");
    assert_eq!(
        (&result["timed_out"], &result["limit"], &result["timeout_ms"]),
        (&json!(true), &json!("wall"), &json!(500))
    );
    assert!(answer.is_error);
    assert!(answer.all_text().starts_with("timed out after "), "{}", answer.all_text());
}

#[test]
fn the_deadline_of_the_call_is_a_timeout_too() {
    let (_work, harness) = machine(&["sleep"]);
    let harness = harness.time_left(Duration::from_millis(1500));
    let started = Instant::now();
    let result = run(&harness, json!({"argv": ["sleep", "30"], "timeout_ms": 600_000_000}));
    assert!(started.elapsed() < Duration::from_millis(1500), "answered before the deadline");
    assert_eq!(result["timed_out"], true);
    assert!(result["timeout_ms"].as_u64().unwrap() <= 1500, "longer than possible is cut");
}

#[test]
fn a_cancelled_call_ends_the_command() {
    let (_work, harness) = machine(&["sleep"]);
    thread::scope(|scope| {
        let call = scope.spawn(|| run(&harness, json!({"argv": ["sleep", "30"]})));
        thread::sleep(Duration::from_millis(200));
        harness.cancel();
        assert_eq!(call.join().unwrap()["limit"], "cancelled");
    });
}

#[test]
fn long_commands_tell_their_progress() {
    let (_work, harness) = machine(&["sh"]);
    run(&harness, json!({"argv": ["sh", "-c", "echo hello; sleep 1.2"], "timeout_ms": 20_000}));
    let progress = harness.progress();
    assert_eq!(progress.len(), 1);
    assert_eq!(progress[0].message, "1 s, 6 bytes of output: hello");
    assert_eq!(progress[0].total, Some(20.0));
}

#[test]
fn output_that_is_not_text_is_marked() {
    let (_work, harness) = machine(&["printf"]);
    let result = run(&harness, json!({"argv": ["printf", "a\\377b\\0"]}));
    assert_eq!((&result["stdout"], &result["lossy"]), (&json!("a\u{FFFD}b\0"), &json!(true)));
    assert_eq!(result["stdout_bytes"], 4);
}

#[test]
fn a_signal_is_named() {
    let (_work, harness) = machine(&["sh"]);
    let answer = harness.call::<RunCommand>(json!({"argv": ["sh", "-c", "kill -SEGV $$"]})).unwrap();
    assert!(answer.all_text().starts_with("ended by SIGSEGV, "), "{}", answer.all_text());
    let result = answer.structured.unwrap();
    assert_eq!(
        (result.get("exit_code"), &result["signal"], result.get("limit")),
        (None, &json!("SIGSEGV"), None)
    );
}

#[test]
fn a_command_that_closes_its_output_is_waited_for() {
    let (_work, harness) = machine(&["sh"]);
    let result = run(&harness, json!({"argv": ["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7"]}));
    assert_eq!(result["exit_code"], 7);
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<RunCommand>();
    let properties = &item.input_schema["properties"];
    assert_eq!(properties["argv"]["minItems"], 1);
    assert_eq!(properties["max_output_bytes"]["maximum"], MAX_OUTPUT_BYTES);
    for (name, default) in
        [("timeout_ms", DEFAULT_TIMEOUT_MS), ("max_output_bytes", DEFAULT_OUTPUT_BYTES.into())]
    {
        let text = properties[name]["description"].as_str().unwrap();
        assert!(text.contains(&format!("Default: {default}.")), "{name}: {text}");
    }
    assert_eq!(item.input_schema.get("required"), None, "`argv` or `command`");
    assert!(item.output_schema.is_some() && item.annotations.destructive && !item.annotations.open_world);
}
