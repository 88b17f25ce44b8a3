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
fn tools_can_be_searched_and_described() {
    let mut play = Play::new(prepare);
    play.tools = Some(
        json!([
            {"name": "read_file", "description": "Reads a file.\nMore.", "input_schema": {"properties": {"path": {}}}},
            {"name": "list_dir", "description": "Lists files."},
        ])
        .to_string(),
    );
    let value = |code: &str| play.run(&format!("from llmc import tools, ToolError\n{code}")).value();
    assert_eq!(value("tools.search('path')"), json!([{"name": "read_file", "description": "Reads a file."}]));
    assert_eq!(value("[t['name'] for t in tools.search()]"), json!(["list_dir", "read_file"]));
    assert_eq!(
        value("len(tools.search(words='file', limit=1)), len(tools.search('file', 2))"),
        json!([1, 2])
    );
    assert_eq!(value("list(tools.describe('read_file')['input_schema']['properties'])"), json!(["path"]));
    assert_eq!(value("f = tools.describe\nf(name='list_dir')['description']"), "Lists files.");
    let unknown = "try:\n    tools.describe('raed')\nexcept ToolError as e:\n    result = str(e)";
    assert!(value(unknown).as_str().unwrap().contains("there is no tool `raed`"));
    for wrong in
        ["tools.search(1)", "tools.search('a', 'b')", "tools.describe()", "tools.search('a', words='b')"]
    {
        let told = play.run(&format!("from llmc import tools\n{wrong}"));
        assert_eq!((&told.error()["type"], told.calls.len()), (&json!("TypeError"), 0), "{wrong}");
    }
    // A tool of that name is reached by `call`.
    assert_eq!(play.run("from llmc import tools\ntools.call('search', q=1)").calls[0]["name"], "search");
}

#[test]
fn secrets_and_progress_are_functions_of_the_module() {
    let told = play("from llmc import secret\nsecret('KEY')");
    assert_eq!(
        (&told.calls[0]["name"], &told.calls[0]["arguments"]),
        (&json!("llmc.secret"), &json!({"name": "KEY"}))
    );
    assert_eq!(play("import llmc\nllmc.secret(name='KEY')").calls[0]["name"], "llmc.secret");
    let told = play("from llmc import progress\nprogress(1, 4, 'one')\nprogress(4, 4)\nprogress(5)\n7");
    assert_eq!(
        (told.value(), &told.progress[..]),
        (
            json!(7),
            &[
                json!({"done": 1.0, "total": 4.0, "message": "one"}),
                json!({"done": 4.0, "total": 4.0, "message": ""})
            ][..]
        )
    );
    for wrong in ["progress()", "progress('1')", "progress(float('nan'))", "progress(1, 2, 3)"] {
        assert_eq!(error(&format!("from llmc import progress\n{wrong}")).0, "TypeError", "{wrong}");
    }
    assert_eq!(error("from llmc import nothing_like_it").0, "AttributeError");
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
        ("exec('1')", "`exec`"),
        ("callable(len)", "`callable`"),
        ("raise ExceptionGroup('a', [])", "`ExceptionGroup`"),
        ("from json import *", "`from ... import *`"),
        ("from enum import Enum", "module `enum`"),
        ("import functools\nfunctools.lru_cache", "`lru_cache`"),
        ("import itertools\nitertools.groupby([1])", "`itertools.groupby`"),
        ("from dataclasses import field", "`field`"),
        ("import os\nos.path.join('a', 'b')", "`path`"),
        ("import os.path", "module `os.path`"),
        ("'%s' % 1", "`%` formatting"),
        ("x = 'a %(b)s'\nx %= {'b': 1}", "`%` formatting"),
        ("b'%d' % 1", "`%` formatting"),
        ("{1} <= {1, 2}", "`<=` of sets"),
        ("frozenset([1]) > {1, 2}", "`>` of sets"),
        ("{'a': 1} | {'b': 2}", "`|` of dicts"),
        ("isinstance(1, int | str)", "`|` of types"),
        ("x = [1, 2, 3]\nx[0:2] = [9]", "assignment to a slice"),
        ("import re\nre.sub('a', lambda m: 'b', 'aa')", "`re.sub`"),
        ("import re\nre.compile('a').sub(lambda m: 'b', 'aa')", "`re.sub`"),
        ("import sys\nprint('x', file=sys.stderr)", "`print` with `file`"),
        ("import sys\nsys.stdout.write('a')", "`write` of a standard stream"),
        ("import json\njson.dumps({}, default=str)", "`json.dumps`"),
        ("next(i for i in [1])", "generator expression"),
        ("bytes([1])", "`bytes` of a list"),
        ("list(map(str.strip, [' a ']))", "`str.strip`"),
        ("'a'.format_map({})", "`str.format_map`"),
        ("(5).bit_length()", "`int.bit_length`"),
        ("class A: pass\nA().__dict__", "`__dict__`"),
        (
            "from llmc import tools, ToolError\ntry:\n    tools.fail()\nexcept ToolError as e:\n    e.data",
            "`ToolError`",
        ),
        ("class A:\n    @property\n    def x(self): return 1", "property"),
        ("class A:\n    @staticmethod\n    def x(): return 1", "staticmethod"),
        ("class A:\n    @classmethod\n    def x(cls): return 1", "classmethod"),
        ("class A:\n    def __add__(self, o): return 1", "`__add__` (class `A`)"),
        ("class A:\n    def __lt__(self, o): return True", "`__lt__` (class `A`)"),
        ("class A:\n    def __bool__(self): return False", "`__bool__` (class `A`)"),
        ("from dataclasses import dataclass\n@dataclass(slots=True)\nclass A:\n    x: int", "slots"),
    ] {
        let (_, message, line) = error(code);
        assert!(message.contains(what), "{code}: {message}");
        assert!(
            message.contains(" is not supported by the embedded Python subset (monty); ")
                && message.ends_with("install CPython 3.9+ for full Python, or use language: \"javascript\""),
            "{code}: {message}"
        );
        assert!(line.is_some(), "{code}");
    }
    for module in "abc concurrent.futures contextlib copy csv decimal hashlib heapq io numpy operator random secrets \
                   sqlite3 statistics string struct subprocess tempfile textwrap threading time traceback types \
                   urllib.request uuid zlib"
        .split_whitespace()
    {
        let message = error(&format!("import {module}")).1;
        assert!(message.starts_with(&format!("module `{module}` is not supported by")), "{message}");
    }
    assert_eq!(error("raise NotImplementedError('later')").1, "later");
    // What is there beside what is not.
    let special = "class A:\n    def __init__(self): self.n = 0\n    def __iter__(self): return self\n    def __next__(self):\n        \
                   self.n += 1\n        if self.n > 2: raise StopIteration\n        return self.n\n    def __contains__(self, n): \
                   return n == 7\n    def __eq__(self, other): return True\n    def __str__(self): return 's'\n    def \
                   __index__(self): return 1\n    def __hash__(self): return 9\n    def __repr__(self): return 'r'\n    def \
                   __enter__(self): return 5\n    def __exit__(self, *error): return True\nwith A() as entered:\n    1 / 0\n\
                   list(A()), 7 in A(), 8 in A(), A() == 3, str(A()), repr(A()), [1, 2][A()], hash(A()), entered";
    assert_eq!(value(special), json!([[1, 2], true, false, true, "s", "r", 2, 9, 5]));
    assert_eq!(
        value("'{:.2f} {}'.format(2.5, 'a'), {1}.issubset({1, 2}), next(iter([1]))"),
        json!(["2.50 a", true, 1])
    );
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
