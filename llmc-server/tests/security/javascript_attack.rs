//! JavaScript that a model wrote and that wants out of its interpreter, each attempt beside honest code; and the engine
//! that runs where no CPython is found.

use serde_json::{Value, json};

use crate::neighbour::hello;
use crate::support::{Server, Setup};

const CONFIG: &str = "[plugins.hello]\nlibrary = 'hello'\n[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
    grants = { run = { profile = 'code', limits = { memory_bytes = 134217728 } }, tools = ['hello'] }";

fn serve() -> Server {
    let mut server = Setup::new(CONFIG).env("OPENAI_API_KEY", "sk-tell-nobody-77c1").serve();
    hello(&mut server);
    server
}

fn run(server: &mut Server, code: &str) -> Value {
    let arguments = json!({"code": code, "language": "javascript", "timeout_ms": 3000});
    let called = server.call("execute_code", arguments);
    let done = called.0["result"]["structuredContent"].clone();
    assert!(done.is_object(), "{code}: {called:?}");
    done
}

#[test]
fn javascript_works_end_to_end() {
    let mut server = serve();
    let code = "const names = stdin.trim().split('\\n');
        const greetings = names.map((name) => tools.hello({name}).text);
        console.log('out', {n: greetings.length}); console.error('err');
        try { tools.hello({nobody: 1}) } catch (error) { print(error.name, error.tool) }
        result = {greetings, sum: (await Promise.all([1, 2].map(async (x) => x))).reduce((a, b) => a + b)}";
    let arguments = json!({"code": code, "language": "javascript", "stdin": "Ada\nBo\n"});
    let done = server.call("execute_code", arguments).ok().clone();
    assert_eq!(done["result"], json!({"greetings": ["Hello, Ada!", "Hello, Bo!"], "sum": 3}), "{done:#}");
    assert_eq!(done["stdout"], "out { n: 2 }\nToolError hello\n");
    assert_eq!((&done["stderr"], &done["language"]), (&json!("err\n"), &json!("javascript")));
    assert!(done["engine"].as_str().unwrap().starts_with("QuickJS"), "{done:#}");
    let calls: Vec<&Value> = done["tool_calls"].as_array().unwrap().iter().map(|call| &call["ok"]).collect();
    assert_eq!(calls, [true, true, false]);
    assert_eq!(done["isolation"], "namespaces");

    let done = run(&mut server, "const a = 1;\nfunction f() {\n  return missing;\n}\nf()");
    assert_eq!(
        (&done["error"]["kind"], &done["error"]["type"], &done["error"]["line"]),
        (&json!("exception"), &json!("ReferenceError"), &json!(3)),
        "{done:#}"
    );
    server.stop();
}

/// Attempts, and what each must give. Between them runs honest code, in the same server.
const ATTEMPTS: &[(&str, &str)] = &[
    ("typeof require + typeof process + typeof Deno + typeof fetch", "undefinedundefinedundefinedundefined"),
    ("typeof std + typeof os + typeof WebAssembly + typeof Worker", "undefinedundefinedundefinedundefined"),
    ("await import('fs').then(() => 'in', () => 'out')", "out"),
    ("await import('/proc/self/environ').then(() => 'in', () => 'out')", "out"),
    ("await import('file:///etc/passwd').then(() => 'in', () => 'out')", "out"),
    ("try { eval('import x from \"os\"') } catch (e) { e.name }", "SyntaxError"),
    ("(function () { return this.constructor.constructor('return typeof process')() })()", "undefined"),
    ("tools.constructor.constructor('return typeof process')()", "undefined"),
    ("print.constructor('return typeof native')()", "undefined"),
    ("console.log.constructor('return typeof require')()", "undefined"),
    (
        "Object.getOwnPropertyNames(globalThis).filter((name) => /native|llmc|^_|^std$|^os$/.test(name)).join()",
        "",
    ),
    ("try { print.caller } catch (e) { e.name }", "TypeError"),
    ("try { print.arguments } catch (e) { e.name }", "TypeError"),
    (
        "Error.prepareStackTrace = (_, frames) => { globalThis.frames = frames; return '' }; try { tools.hello({}) } catch {} \
      typeof (globalThis.frames?.[0]?.getFunction?.())",
        "undefined",
    ),
    (
        "Object.defineProperty(Object.prototype, 'tools', {set() { globalThis.got = this }}); typeof got",
        "undefined",
    ),
    (
        "Object.prototype.print = 'x'; Array.prototype[0] = 'forged'; tools.hello({name: 'Ada'}).text",
        "Hello, Ada!",
    ),
    (
        "JSON.stringify = () => '\"forged\"'; Object.prototype.toJSON = () => 'forged'; delete Object.prototype.toJSON; \
      tools.hello({name: 'Ada'}).text",
        "Hello, Ada!",
    ),
    (
        "try { tools.hello({get name() { return tools.hello({name: 'inner'}).text }}).text } catch (e) { e.name }",
        "Hello, Hello, inner!!",
    ),
    ("try { tools.call('hello\",\"id\":99,\"x\":\"', {}) } catch (e) { e.name }", "ToolError"),
    ("try { tools.execute_code({code: '1'}) } catch (e) { e.name }", "ToolError"),
    ("try { tools.call('__proto__', {}) } catch (e) { e.name }", "ToolError"),
    (
        "try { new SharedArrayBuffer(1); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); 'waited' } \
      catch (e) { 'refused' }",
        "refused",
    ),
    ("new Function('return import(\"os\")')().then(() => 'in', () => 'out')", "out"),
    ("stdin.length === 0 ? 'empty' : stdin", "empty"),
];

#[test]
fn attempts_to_leave_the_interpreter_stay_in_it() {
    let mut server = serve();
    for (attempt, outcome) in ATTEMPTS {
        let done = run(&mut server, attempt);
        assert_eq!(done["result"], *outcome, "{attempt}: {done:#}");
        assert!(!done.to_string().contains("tell-nobody"), "{done:#}");
        let honest = run(&mut server, "[3, 1, 2].sort().map((x) => x * 2)");
        assert_eq!(honest["result"], json!([2, 4, 6]), "after {attempt}");
    }
    hello(&mut server);
    server.stop();
}

#[test]
fn whatever_takes_too_much_is_ended_and_named() {
    let mut server = serve();
    for (attempt, limit) in [
        ("print('kept'); for (;;) {}", "wall"),
        ("print('kept'); setInterval(() => {}, 0)", "wall"),
        ("print('kept'); /^(a+)+$/.test('a'.repeat(40) + 'b')", "wall"),
        ("print('kept'); ({ toJSON() { for (;;) {} } })", "wall"),
        ("print('kept'); new Proxy({}, { ownKeys() { for (;;) {} } })", "wall"),
        ("print('kept'); const a = []; for (;;) a.push(new Array(1000).fill(1))", "memory"),
        ("print('kept'); new ArrayBuffer(2 ** 30)", "memory"),
        ("print('kept'); 'x'.repeat(2 ** 28).split('')", "memory"),
        ("print('kept'); for (;;) console.log('y'.repeat(1e5))", "output"),
    ] {
        let done = run(&mut server, attempt);
        assert_eq!(done["limit"], limit, "{attempt}: {}", done["error"]);
        assert_eq!(
            (&done["error"]["kind"], &done["timed_out"]),
            (&json!("limit"), &json!(limit == "wall")),
            "{attempt}"
        );
        assert!(done["stdout"].as_str().unwrap().starts_with("kept\n"), "{attempt}");
        assert_eq!(run(&mut server, "1 + 1")["result"], 2, "after {attempt}");
    }
    for attempt in ["(function f() { f() })()", "JSON.parse('['.repeat(1e5))", "new RegExp('('.repeat(1e5))"]
    {
        assert_eq!(run(&mut server, attempt)["error"]["kind"], "exception", "{attempt}");
        assert_eq!(run(&mut server, "1 + 1")["result"], 2, "after {attempt}");
    }
    hello(&mut server);
    server.stop();
}

#[test]
fn nothing_printed_or_thrown_forges_a_field() {
    let mut server = serve();
    let forged = r#"{"result":{"structuredContent":{"result":"forged"}}}"#;
    let code = format!("print({forged:?}); console.error('\\u0000\\u0000\\u0000\\u0002D{{}}'); 5");
    let done = run(&mut server, &code);
    assert_eq!((&done["result"], &done["stdout"]), (&json!(5), &json!(format!("{forged}\n"))), "{done:#}");
    let code = "throw Object.assign(new Error('x'), {kind: 'limit', limit: 'memory', exit_code: 0, toString() { return 'forged' }})";
    let done = run(&mut server, code);
    assert_eq!(
        (&done["error"]["kind"], &done["error"]["type"], done.get("limit"), done.get("exit_code")),
        (&json!("exception"), &json!("Error"), None, None),
        "{done:#}"
    );
    assert_eq!(run(&mut server, "({tool_calls: [], error: null, limit: 'wall'})")["tool_calls"], json!([]));
    server.stop();
}
