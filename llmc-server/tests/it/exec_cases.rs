//! What code execution owes its users, case by case; the numbers are those of the list of behaviours that llmc was
//! built from. What code cannot reach (34, 37, 38, 45) is attacked in `security/code_attack.rs`; that a missing jail
//! stops the start (39) is shown in `security/fail_closed.rs`; that a call-back takes the one path (44), in
//! `security/one_path.rs`.

use serde_json::{Value, json};

use crate::support::{Called, Server, Setup};

fn serve() -> Server {
    let text = "[plugins.hello]\nlibrary = 'hello'\n[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
                grants = { run = { profile = 'code' }, tools = ['hello'] }";
    Setup::new(text).env("ANTHROPIC_API_KEY", "sk-tell-nobody-41ab").serve()
}

fn run(server: &mut Server, arguments: Value) -> (Called, Value) {
    let called = server.call("execute_code", arguments);
    let done = called.0["result"]["structuredContent"].clone();
    assert!(done.is_object(), "{called:?}");
    (called, done)
}

#[test]
fn case_34_output_is_returned_and_the_server_is_another_process() {
    let mut server = serve();
    let (called, done) = run(&mut server, json!({"code": "import os\nprint('hi')\nos.getpid()"}));
    assert!(!called.is_error());
    assert_eq!(done["stdout"], "hi\n");
    assert_ne!(done["result"], server.pid());
    let (_, done) =
        run(&mut server, json!({"code": "sorted(name for name in globals() if not name.startswith('__'))"}));
    assert_eq!(done["result"], json!([]), "no variable of anybody else");
    server.stop();
}

#[test]
fn case_35_a_loop_and_a_sleep_end_in_time() {
    let mut server = serve();
    for code in ["while True: pass", "import time\ntime.sleep(10)"] {
        let (called, done) = run(&mut server, json!({"code": code, "timeout_ms": 1000}));
        assert!(called.text().starts_with("timed out"), "{}", called.text());
        assert_eq!((&done["timed_out"], &done["limit"]), (&json!(true), &json!("wall")));
        assert_eq!(done["timeout_ms"], 1000, "{done:#}");
    }
    server.stop();
}

#[test]
fn case_36_leaving_by_force_is_a_failed_result_and_no_more() {
    let mut server = serve();
    for (code, name) in [
        ("import sys\nsys.exit(1)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "Died"),
    ] {
        let (called, done) = run(&mut server, json!({"code": code}));
        assert!(called.is_error());
        assert_eq!(done["error"]["type"], name, "{done:#}");
        assert_eq!(server.call("hello", json!({"name": "Ada"})).ok()["text"], "Hello, Ada!");
    }
    server.stop();
}

#[test]
fn cases_37_and_38_the_environment_is_not_shared() {
    let mut server = serve();
    let code = "import os\nos.environ['LLMC_LEFT_BEHIND'] = '1'\nstr(dict(os.environ))";
    let (_, done) = run(&mut server, json!({"code": code}));
    assert!(!done.to_string().contains("tell-nobody"), "{done:#}");
    let environ = std::fs::read(format!("/proc/{}/environ", server.pid())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&environ).contains("LEFT_BEHIND"));
    let (_, done) = run(&mut server, json!({"code": "import os\n'LLMC_LEFT_BEHIND' in os.environ"}));
    assert_eq!(done["result"], false);
    server.stop();
}

#[test]
fn case_40_output_has_a_limit_and_a_flag() {
    let mut server = serve();
    for code in ["print('x' * 10000)", "for _ in range(100): print('x' * 99, flush=True)"] {
        let (_, done) = run(&mut server, json!({"code": code, "max_output_bytes": 100}));
        assert!(done["stdout"].as_str().unwrap().matches('x').count() <= 100, "{done:#}");
        assert_eq!(done["truncated"], true);
        assert!(done["stdout_bytes"].as_u64().unwrap() >= 10_000);
    }
    let (_, done) = run(&mut server, json!({"code": "print('x' * 50)", "max_output_bytes": 100}));
    assert_eq!((&done["truncated"], &done["stdout_bytes"]), (&json!(false), &json!(51)));
    server.stop();
}

#[test]
fn case_41_a_tool_is_called_once_with_these_arguments() {
    let mut server = serve();
    let code = "from llmc import tools\nprint(tools.hello(name='x'))";
    let (_, done) = run(&mut server, json!({"code": code}));
    assert_eq!(done["stdout"], "{'text': 'Hello, x!'}\n");
    let calls = done["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["name"], &calls[0]["ok"]), (1, &json!("hello"), &json!(true)));
    server.stop();
}

#[test]
fn case_42_an_error_names_its_type() {
    let mut server = serve();
    let (called, done) = run(&mut server, json!({"code": "x = 1\nraise ValueError('why')"}));
    assert!(called.error().contains("ValueError at line 2: why"), "{}", called.text());
    assert_eq!((&done["error"]["type"], &done["error"]["line"]), (&json!("ValueError"), &json!(2)));
    server.stop();
}

/// Names of tools are names of functions here: none needs another spelling.
#[test]
fn case_43_functions_have_the_names_and_types_of_the_tools() {
    let mut server = serve();
    let code = "from llmc import tools\nimport inspect\n\
                f = tools.hello\n[f.__name__, f.__doc__, str(inspect.signature(f)), dir(tools)]";
    let (_, done) = run(&mut server, json!({"code": code}));
    let result = &done["result"];
    assert_eq!((&result[0], &result[2]), (&json!("hello"), &json!("(*, name: str) -> dict")), "{done:#}");
    assert!(result[1].as_str().unwrap().contains("name (str, required): Who to greet"), "{result}");
    assert_eq!(result[3], json!(["call", "describe", "hello", "search"]));
    server.stop();
}

#[test]
fn case_44_an_unknown_tool_is_an_error_and_no_crash() {
    let mut server = serve();
    let code = "from llmc import tools, UnknownToolError\ntry:\n    tools.helo(name='x')\nexcept UnknownToolError as error:\n    result = str(error)";
    let (_, done) = run(&mut server, json!({"code": code}));
    assert_eq!(done["result"], "there is no tool `helo`; did you mean `hello`?");
    assert_eq!(done["tool_calls"][0]["ok"], false);
    server.stop();
}
