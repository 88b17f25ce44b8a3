//! The Python subset over a socket pair, without a jail.

use serde_json::{Value, json};

use super::*;
use crate::Ending;
use crate::testing::{Play, Told};

fn play(code: &str) -> Told {
    Play::new(prepare).run(code)
}

#[track_caller]
fn value(code: &str) -> Value {
    play(code).value()
}

#[track_caller]
fn shown(code: &str) -> String {
    let told = play(code);
    told.report["value"]["repr"].as_str().unwrap_or_else(|| panic!("{}", told.report)).to_owned()
}

/// Type, message and line of the error.
#[track_caller]
fn error(code: &str) -> (String, String, Option<u64>) {
    let told = play(code);
    let raised = told.error();
    let text = |name: &str| raised[name].as_str().unwrap().to_owned();
    (text("type"), text("message"), raised["line"].as_u64())
}

#[test]
fn the_result_is_the_last_expression_or_a_variable() {
    assert_eq!(value("6 * 7"), 42);
    assert_eq!(
        value("x = [i * i for i in range(4)]\n{'a': x, 'b': (1, None), 2: 0.5}"),
        json!({"a": [0, 1, 4, 9], "b": [1, null], "2": 0.5})
    );
    assert_eq!(value("result = {'a': 1}"), json!({"a": 1}));
    assert_eq!(value("result = 1\nprint(2)"), 1);
    assert_eq!(value("result = 1\n3"), 3);
    assert_eq!(value("x = 1"), Value::Null);
    assert_eq!(value("# nothing but a comment"), Value::Null);
    assert_eq!(value("'grüße 😀'"), "grüße 😀");
    assert_eq!(value("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(15)"), 610);
    assert_eq!(value("import json\njson.loads('[1, 2]')[1]"), 2);
    assert_eq!(play("").engine, ENGINE);
    assert_eq!(play("2 ** 70").report["value"]["json"], "1180591620717411303424");
    assert_eq!(shown("{1}"), "{1}");
    assert_eq!(shown("float('nan')"), "nan");
    let told = play("'x' * 300_000");
    assert_eq!(
        (told.report["value"]["repr"].as_str().unwrap().len(), &told.report["value"]["bytes"]),
        (100_000, &json!(300_002))
    );
}

#[test]
fn what_is_printed_is_passed_on() {
    let told = play("print('a', 1, sep='-')\nprint('b', end='')\nx = 1");
    assert_eq!(told.stdout, "a-1\nb");
    assert!(play("for i in range(5000):\n    print(i)").stdout.ends_with("4998\n4999\n"));
}

#[test]
fn errors_have_type_message_line_and_traceback() {
    let told = play("x = 1\n\ndef f():\n    raise ValueError('no')\n\nf()");
    let raised = told.error();
    assert_eq!(
        (&raised["type"], &raised["message"], &raised["line"]),
        (&json!("ValueError"), &json!("no"), &json!(4))
    );
    let traceback = raised["traceback"].as_str().unwrap();
    assert!(
        traceback.starts_with("Traceback (most recent call last):\n  File \"<code>\", line 6, in <module>"),
        "{traceback}"
    );
    assert!(traceback.ends_with("ValueError: no"), "{traceback}");
    assert_eq!(error("x = 1\nif x\n  pass").2, Some(2));
    assert_eq!(error("x = 1\nif x\n  pass").0, "SyntaxError");
    assert_eq!(error("def f(): f()\nf()").0, "RecursionError");
    assert_eq!(error("1 / 0").0, "ZeroDivisionError");
    let told = play("result = [1]\nprint('before')\n{}['k']");
    assert_eq!((told.stdout.as_str(), &told.report["value"]["json"]), ("before\n", &json!("[1]")));
    assert_eq!(told.ending, Ending::Failed);
}

#[test]
fn ways_to_leave() {
    for (code, exit_code) in
        [("exit()", 0), ("result = 5\nexit(3)", 3), ("exit(300)", 44), ("quit('why')", 1)]
    {
        let told = play(code);
        assert_eq!(
            (&told.report["exit_code"], told.report["error"].is_null()),
            (&json!(exit_code), exit_code == 0),
            "{code}"
        );
    }
}

#[test]
fn standard_input_comes_line_by_line() {
    let mut play = Play::new(prepare);
    play.stdin = "a\nb\n".into();
    assert_eq!(play.run("[input(), input()]").value(), json!(["a", "b"]));
    assert_eq!(
        play.run("input()\ninput()\ninput()").error()["message"],
        "end of the input when reading a line"
    );
}

#[test]
fn tools_are_functions_with_plain_values() {
    let told =
        play("from llmc import tools\nr = tools.echo(path='x', n=[1, {'k': None}])\nr['n'][0], r['path']");
    assert_eq!((told.value(), told.calls.len()), (json!([1, "x"]), 1));
    assert_eq!(
        told.calls[0],
        json!({"id": 1, "name": "echo", "arguments": {"path": "x", "n": [1, {"k": null}]}})
    );
    assert_eq!(value("import llmc\nllmc.tools.echo(a=1)['a']"), 1);
    assert_eq!(value("from llmc import tools as t\nt.call('echo', a=1)['a']"), 1);
    assert_eq!(
        value("from llmc import tools\nf = tools.echo\n[f(i=i)['i'] for i in range(3)]"),
        json!([0, 1, 2])
    );
    assert_eq!(
        value(
            "def f(i):\n    from llmc import tools\n    return tools.echo(i=i)['i']\nsum([f(i) for i in range(200)])"
        ),
        19_900
    );
    assert_eq!(value("from llmc import tools\nlen(tools.call('big')['text'])"), 1 << 20);
    assert_eq!(value("from llmc import tools\ntools.echo(x=2 ** 70)['x'] > 10 ** 20"), true);
}

#[test]
fn tools_that_fail_raise_what_the_server_says() {
    let told = play("from llmc import (\n    tools,\n)\ntools.fail()");
    let raised = told.error();
    assert_eq!(
        (&raised["type"], &raised["message"], &raised["line"]),
        (&json!("llmc.ToolError"), &json!("no such luck"), &json!(4))
    );
    assert_eq!(
        value(
            "from llmc import tools, ToolError\ntry:\n    tools.fail()\nexcept ToolError as e:\n    result = str(e)"
        ),
        "no such luck"
    );
    assert_eq!(error("from llmc import tools\ntools.nothing_like_it()").1, "no tool `nothing_like_it`");
    assert_eq!(error("from llmc import tools\ntools.echo('x')").0, "TypeError");
    assert_eq!(error("from llmc import tools\ntools.echo(x={1})").0, "TypeError");
    let mut few = Play::new(prepare);
    few.max_calls = 3;
    let told = few.run("from llmc import tools\nwhile True: tools.echo()");
    assert_eq!(
        (&told.error()["message"], told.calls.len()),
        (&json!("more than 3 tool calls in one run"), 3)
    );
}

#[test]
fn what_the_subset_lacks_is_named_with_the_way_out() {
    for (code, what) in [
        ("import random", "module `random`"),
        ("from functools import wraps", "`wraps` of module `functools`"),
        ("def g():\n    yield 1", "yield"),
        ("class A(Exception): pass", "inherit"),
        ("match 1:\n    case 1: pass", "match"),
        ("x = 1\ndel x", "del"),
        ("eval('1')", "`eval`"),
    ] {
        let (_, message, line) = error(code);
        assert!(message.contains(what), "{code}: {message}");
        assert!(
            message.contains("is not supported by the embedded Python subset (monty); install CPython 3.9+"),
            "{code}: {message}"
        );
        assert!(line.is_some(), "{code}");
    }
    assert_eq!(error("raise NotImplementedError('later')").1, "later");
}

#[test]
fn nothing_of_the_machine_is_there() {
    for code in [
        "open('/etc/passwd')",
        "from pathlib import Path\nPath('/etc/passwd').read_text()",
        "from pathlib import Path\nPath('/').exists()",
        "import os\nos.listdir('/')",
        "import subprocess",
        "import socket",
        "import ctypes",
        "__import__('os')",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 0).__globals__",
        "(lambda: 0).__code__",
        "__llmc.__class__.__init__.__globals__",
    ] {
        assert_eq!(play(code).ending, Ending::Failed, "{code}");
    }
    assert_eq!(value("import os\nos.getenv('PATH', 'none')"), "none");
    assert!(value("from datetime import datetime\ndatetime.now().year").as_i64().unwrap() >= 2024);
}

#[test]
fn endless_code_ends_in_time_with_what_it_printed() {
    for code in [
        "print('here')\nwhile True: pass",
        "print('here')\nwhile True:\n    try:\n        while True: pass\n    except BaseException:\n        pass",
        "print('here')\nfrom llmc import tools\ntools.silent()",
        "print('here')\nfrom llmc import tools\ntry:\n    tools.silent()\nexcept BaseException:\n    pass",
        "print('here')\nsum(range(10 ** 12))",
        "print('here')\nsorted([3, 1], key=lambda x: [0 for _ in range(10 ** 9)])",
        "print('here')\nimport re\nre.match('(a+)+$', 'a' * 40 + 'b')\nwhile True: pass",
    ] {
        let mut play = Play::new(prepare);
        play.limits.wall_ms = 300;
        let told = play.run(code);
        assert_eq!(
            (told.ending, told.stdout.as_str()),
            (Ending::Limit(Spent::Wall), "here\n"),
            "{code}: {}",
            told.report
        );
        assert_eq!(
            (&told.error()["type"], &told.report["limit"]),
            (&json!("TimedOut"), &json!(true)),
            "{code}"
        );
    }
    let mut play = Play::new(prepare);
    play.limits.cpu_ms = 100;
    let told = play.run("while True: pass");
    assert_eq!((told.ending, &told.error()["type"]), (Ending::Limit(Spent::Cpu), &json!("LimitExceeded")));
    let told = self::play("raise TimeoutError('time limit exceeded: by me')");
    assert_eq!((told.ending, &told.error()["type"]), (Ending::Failed, &json!("TimeoutError")));
}

#[test]
fn nesting_is_bounded() {
    for code in [
        format!("{}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}1", "-".repeat(5000)),
        format!("import json\njson.loads('{}')", "[".repeat(100_000)),
        format!("from llmc import tools\n{}1{}", "[".repeat(5000), "]".repeat(5000)),
    ] {
        assert_eq!(play(&code).ending, Ending::Failed, "{}", &code[..40]);
    }
    let told = play("x = []\nfor i in range(100): x = [x]\nx");
    assert!(told.value().is_array());
    assert!(play("x = []\nx.append(x)\nx").report["value"]["repr"].is_string());
}
