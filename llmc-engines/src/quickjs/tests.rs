//! JavaScript over a socket pair, without a jail: what the jail itself promises is tested with it.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Play, Told};
use crate::{Ending, Limits, Streams};

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

fn limited(change: impl FnOnce(&mut Limits)) -> Play {
    let mut play = Play::new(prepare);
    change(&mut play.limits);
    play
}

/// Type, message and line of the error.
#[track_caller]
fn error(code: &str) -> (String, String, Option<u64>) {
    let told = play(code);
    let error = told.error();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("type"), text("message"), error["line"].as_u64())
}

#[test]
fn the_result_is_the_last_expression_or_a_variable() {
    assert_eq!(value("6 * 7"), 42);
    assert_eq!(value("const x = 1; x + 1"), 2);
    assert_eq!(value("({a: [1, 2.5, null], b: 'grüße 😀'})"), json!({"a": [1, 2.5, null], "b": "grüße 😀"}));
    for declaration in ["", "var ", "let ", "const "] {
        assert_eq!(value(&format!("{declaration}result = 5; print(2)")), 5, "{declaration}");
    }
    assert_eq!(value("let x = 1"), Value::Null);
    assert_eq!(value("// nothing but a comment"), Value::Null);
    assert_eq!(value("result = 1; 3"), 3);
    assert_eq!(play("").engine, ENGINE);
}

#[test]
fn values_without_a_json_form_are_shown() {
    assert_eq!(shown("NaN"), "NaN");
    assert_eq!(shown("2n ** 70n"), "1180591620717411303424n");
    assert_eq!(shown("new Map([['a', {b: 1}]])"), "Map(1) { a => { b: 1 } }".replace("a =>", "\"a\" =>"));
    assert_eq!(shown("new Set([1, 2])"), "Set(2) { 1, 2 }");
    assert_eq!(shown("(function f() {})"), "[Function: f]");
    assert_eq!(shown("class A {}; A"), "[class: A]");
    assert_eq!(shown("const x = {}; x.x = x; x"), "{ x: [Circular] }");
    assert_eq!(shown("[1n]"), "[1n]");
    let told = play("'x'.repeat(300000)");
    assert_eq!(told.report["value"]["repr"].as_str().unwrap().len(), 100_000);
    assert_eq!(told.report["value"]["bytes"], 300_002);
    assert_eq!(value(r"'\ud800'"), "\u{FFFD}");
}

#[test]
fn printing_goes_to_both_streams_in_readable_form() {
    let told = play(
        "console.log('a', 1, {b: [1, 'x'], c: null}); console.error('bad'); console.warn('hm'); print('p', undefined)
         console.log([new Date(0), /x/g, new Map([[1, 2]]), -0, Symbol('s'), () => 1, class B {}])",
    );
    assert!(
        told.stdout.starts_with("a 1 { b: [1, \"x\"], c: null }\np undefined\n[\n  1970-01-01T00:00:00.000Z"),
        "{}",
        told.stdout
    );
    assert_eq!(told.stderr, "bad\nhm\n");
    assert!(play("for (let i = 0; i < 5000; i++) console.log(i)").stdout.ends_with("4998\n4999\n"));
}

#[test]
fn errors_have_type_message_line_and_traceback() {
    let told = play("const a = 1;\nfunction f() {\n  throw new TypeError('no');\n}\n\nf();");
    let raised = told.error();
    assert_eq!(
        (&raised["type"], &raised["message"], &raised["line"]),
        (&json!("TypeError"), &json!("no"), &json!(3))
    );
    let traceback = raised["traceback"].as_str().unwrap();
    assert!(traceback.starts_with("TypeError: no\n    at f (<code>:3:"), "{traceback}");
    assert!(traceback.contains("<code>:6:") && !traceback.contains("prelude"), "{traceback}");
    assert_eq!(told.ending, Ending::Failed);

    assert_eq!(error_of("let x = ;"), ("SyntaxError".into(), Some(1)));
    assert_eq!(error_of("1;\n\nmissing.x"), ("ReferenceError".into(), Some(3)));
    assert_eq!(error("throw 'text'").0, "thrown string");
    assert_eq!(error("throw {code: 5}").1, "{ code: 5 }");
    assert_eq!(error("throw null").1, "null");
    assert_eq!(
        error("class MyError extends Error { name = 'MyError' }\nthrow new MyError('mine')").0,
        "MyError"
    );
    // What was printed and set before is kept.
    let told = play("result = [1]; print('before'); throw new Error('late')");
    assert_eq!((told.stdout.as_str(), &told.report["value"]["json"]), ("before\n", &json!("[1]")));
}

fn error_of(code: &str) -> (String, Option<u64>) {
    let (kind, _, line) = error(code);
    (kind, line)
}

#[test]
fn top_level_await_works_and_what_nobody_handles_is_an_error() {
    assert_eq!(value("const x = await Promise.resolve(20); x + 1"), 21);
    assert_eq!(value("async function main() { await null; return [1] }\nmain()"), json!([1]));
    assert_eq!(value("(await Promise.all([1, 2].map(async (x) => x * 2))).join()"), "2,4");
    assert_eq!(value("try { await Promise.reject(new Error('x')) } catch (e) { e.message }"), "x");
    assert_eq!(value("const p = Promise.reject(1); p.catch(() => 2)"), 2);
    assert_eq!(error_of("\nawait Promise.reject(new RangeError('x'))"), ("RangeError".into(), Some(2)));
    assert_eq!(error_of("(async () => { null.x })(); 5"), ("TypeError".into(), Some(1)));
    assert_eq!(error("Promise.reject(3); 1").1, "3");
    assert_eq!(error("await new Promise(() => {})").0, "Deadlock");
}

#[test]
fn timers_run_in_order_and_are_waited_for() {
    let code = "const seen = [];
        setTimeout((x) => seen.push(x), 30, 'late'); setTimeout(() => seen.push('soon'), 5);
        const gone = setTimeout(() => seen.push('never'), 1); clearTimeout(gone);
        let left = 3; const ticking = setInterval(() => { if (--left === 0) clearInterval(ticking) }, 1);
        await new Promise((done) => setTimeout(done, 40)); [seen, left]";
    assert_eq!(value(code), json!([["soon", "late"], 0]));
    let told = play("setTimeout(() => print('after the end'), 5); 1");
    assert_eq!((told.value(), told.stdout.as_str()), (json!(1), "after the end\n"));
    assert_eq!(error_of("setTimeout(() => { throw new RangeError('in a timer') }, 1)").0, "RangeError");
    assert_eq!(error("setTimeout('code')").0, "TypeError");
}

#[test]
fn standard_input_is_a_string() {
    let mut play = Play::new(prepare);
    play.stdin = "a\nb\n".into();
    assert_eq!(play.run("stdin.trim().split('\\n')").value(), json!(["a", "b"]));
    assert_eq!(play.run("stdin === stdin").value(), true);
    play.stdin.clear();
    assert_eq!(play.run("stdin").value(), "");
}

#[test]
fn tools_are_functions_with_plain_values() {
    let told = play("const r = tools.echo({path: 'x', n: [1, 2]}); r.n[1] + r.path");
    assert_eq!((told.value(), told.calls.len()), (json!("2x"), 1));
    assert_eq!(told.calls[0], json!({"id": 1, "name": "echo", "arguments": {"path": "x", "n": [1, 2]}}));
    assert_eq!(value("tools.call('echo', {a: 1}).a + (await tools.echo({a: 2})).a"), 3);
    assert_eq!(value("tools.echo()"), json!({}));
    assert_eq!(value("Object.keys(tools)"), json!(["echo", "fail"]));
    assert_eq!(
        value("['echo' in tools, 'other' in tools, typeof tools.then]"),
        json!([true, false, "undefined"])
    );
    assert_eq!(value("let n = 0; for (let i = 0; i < 200; i++) n += tools.echo({i}).i; n"), 19_900);
    assert_eq!(value("tools.call('big').text.length"), 1 << 20);
    assert_eq!(value("[...Array(3).keys()].map((i) => tools.echo({i}).i)"), json!([0, 1, 2]));
}

#[test]
fn tools_can_be_searched_and_described() {
    let mut play = Play::new(prepare);
    let schema = json!({"properties": {"path": {"type": "string"}}});
    play.tools = Some(
        json!([
            {"name": "read_file", "description": "Reads a file.\nMore.", "input_schema": schema},
            {"name": "list_dir", "description": "Lists what a directory holds."},
            {"name": "search", "description": "Finds text in files."},
        ])
        .to_string(),
    );
    let value = |code: &str| play.run(code).value();
    assert_eq!(
        value("tools.search('file')"),
        json!([
            {"name": "read_file", "description": "Reads a file."},
            {"name": "search", "description": "Finds text in files."},
        ])
    );
    assert_eq!(value("tools.search('path').map((tool) => tool.name)"), json!(["read_file"]));
    assert_eq!(value("tools.search().length + tools.search('', 1).length"), 4);
    assert_eq!(value("tools.search('zebra')"), json!([]));
    assert_eq!(value("tools.describe('read_file').input_schema"), schema);
    assert_eq!(value("Object.keys(tools)"), json!(["read_file", "list_dir", "search"]));
    assert_eq!(
        value("try { tools.describe('nothing') } catch (e) { [e.name, e.tool] }"),
        json!(["ToolError", "nothing"])
    );
    let told = play.run("tools.call('echo', {a: 1}).a");
    assert_eq!((told.value(), told.calls.len()), (json!(1), 1), "by name any tool can be asked for");
}

#[test]
fn tools_that_fail_throw_what_the_server_says() {
    let code =
        "try { tools.fail() } catch (e) { [e instanceof ToolError, e.name, e.message, e.tool, e.data.left] }";
    assert_eq!(value(code), json!([true, "ToolError", "no such luck", "fail", 3]));
    let told = play("\ntools.fail()");
    let raised = told.error();
    assert_eq!(
        (&raised["type"], &raised["message"], &raised["line"]),
        (&json!("ToolError"), &json!("no such luck"), &json!(2))
    );
    assert_eq!(error_of("tools.nothing_like_it({})").0, "ToolError");
    assert_eq!(error("tools.echo('x')").0, "TypeError");
    assert_eq!(error("tools.echo([1])").0, "TypeError");
    assert_eq!(error("tools.echo({n: 1n})").0, "TypeError");
    assert!(error("tools.echo({text: 'x'.repeat(2 ** 21)})").1.contains("at most 1048576"));
    let mut few = Play::new(prepare);
    few.max_calls = 3;
    let told = few.run("for (;;) tools.echo()");
    assert_eq!(told.error()["message"], "more than 3 tool calls in one run");
    assert_eq!(told.calls.len(), 3);
}

#[test]
fn endless_code_ends_in_time_with_what_it_printed() {
    for code in [
        "print('here'); for (;;) {}",
        "print('here'); while (true) { try { for (;;) {} } catch {} finally { continue } }",
        "print('here'); setInterval(() => {}, 0)",
        "print('here'); await new Promise((done) => setTimeout(done, 1e12))",
        "print('here'); result = { toJSON() { for (;;) {} } }",
        "print('here'); ({ get x() { for (;;) {} } })",
        "print('here'); throw { get message() { for (;;) {} }, __proto__: Error.prototype }",
        "print('here'); /^(a+)+$/.test('a'.repeat(40) + 'b')",
        "print('here'); function* g() { for (;;) yield 1 }; for (const x of g()) {}",
        "print('here'); new Proxy({}, { ownKeys() { for (;;) {} } })",
        "print('here'); tools.silent({})",
        "print('here'); try { tools.silent({}) } catch {} for (;;) {}",
        "print('here'); eval('for (;;) {}')",
        "print('here'); new Function('for (;;) {}')()",
    ] {
        let told = limited(|limits| limits.wall_ms = 300).run(code);
        assert_eq!((told.ending, told.stdout.as_str()), (Ending::Limit(Spent::Wall), "here\n"), "{code}");
        assert_eq!(
            (&told.error()["type"], &told.report["limit"]),
            (&json!("TimedOut"), &json!(true)),
            "{code}"
        );
    }
    let told = limited(|limits| limits.cpu_ms = 100).run("for (;;) {}");
    assert_eq!((told.ending, &told.error()["type"]), (Ending::Limit(Spent::Cpu), &json!("LimitExceeded")));
    assert_eq!(
        limited(|limits| limits.wall_ms = 5000).run("let i = 0; while (i < 1e5) i++; i").value(),
        100_000
    );
}

#[test]
fn memory_is_bounded_and_named() {
    let small = || limited(|limits| limits.memory_bytes = 96 << 20);
    for code in [
        "const a = []; for (;;) a.push(new Array(1000).fill(1))",
        "const s = 'x'.repeat(2 ** 20); const a = []; for (let i = 0; ; i++) a.push(s.toUpperCase())",
        "const a = new Uint8Array(2 ** 30)",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, {i})",
        "'x'.repeat(2 ** 28).split('')",
    ] {
        let told = small().run(&format!("print('here'); {code}"));
        assert_eq!(
            (told.ending, told.stdout.as_str()),
            (Ending::Limit(Spent::Memory), "here\n"),
            "{code}: {}",
            told.report
        );
        assert_eq!(told.error()["message"], "the memory of the run was used up");
    }
    // Where the last allocation was made for a promise nobody can be told of it: then the promise is never settled.
    let told = small().run("const f = () => Promise.resolve().then(f); f()");
    let is_named = told.ending == Ending::Limit(Spent::Memory) || told.error()["type"] == "Deadlock";
    assert!(is_named, "{:?} {}", told.ending, told.report);
    assert_eq!(error("throw null").1, "null");
    // Code may catch it and go on with what is left; what it throws itself is no limit.
    assert_eq!(
        small().run("try { new Uint8Array(2 ** 30) } catch (e) { e.message }").value(),
        "out of memory"
    );
    let told = play("throw Object.assign(new Error('out of memory'), {name: 'InternalError'})");
    assert_eq!((told.ending, &told.error()["type"]), (Ending::Failed, &json!("InternalError")));
    assert_eq!(play("typeof InternalError").value(), "undefined");
}

#[test]
fn recursion_is_bounded_and_can_be_caught() {
    assert_eq!(error_of("function f() { f() }\nf()").0, "RangeError");
    assert_eq!(value("function f() { return f() + 1 }; try { f() } catch (e) { e.name }"), "RangeError");
    for code in [
        "let x = []; for (let i = 0; i < 1e5; i++) x = [x]; JSON.stringify(x)",
        "JSON.parse('['.repeat(1e5))",
        "eval('('.repeat(1e5))",
        "new RegExp('('.repeat(1e5))",
        "const p = new Proxy({}, {}); Object.setPrototypeOf(p, new Proxy(p, {})); p.x",
    ] {
        assert_eq!(play(code).ending, Ending::Failed, "{code}");
    }
    // The prelude that shows values goes down five levels only.
    assert!(
        play("let x = []; for (let i = 0; i < 1e5; i++) x = [x]; print(x)")
            .stdout
            .starts_with("[[[[[[Array]]]]]]")
    );
    assert!(play("let x = []; for (let i = 0; i < 1e5; i++) x = [x]; x").report["value"]["repr"].is_string());
}

#[test]
fn nothing_of_the_machine_is_there() {
    for name in [
        "require",
        "process",
        "Deno",
        "Bun",
        "fetch",
        "XMLHttpRequest",
        "WebAssembly",
        "std",
        "os",
        "load",
        "Worker",
        "scriptArgs",
        "native",
        "gc",
        "InternalError",
        "readFile",
        "global",
        "window",
    ] {
        assert_eq!(value(&format!("typeof {name}")), "undefined", "{name}");
    }
    for code in
        ["await import('fs')", "await import('./x.js')", "await import('/etc/passwd')", "await import('std')"]
    {
        assert_eq!(play(code).ending, Ending::Failed, "{code}");
    }
    let frames =
        "Error.prepareStackTrace = (_, frames) => frames; try { tools.fail() } catch (e) { typeof e.stack }";
    assert_eq!(value(frames), "string");
    assert_eq!(error("import fs from 'fs'").0, "SyntaxError");
    assert_eq!(value("typeof (function () { return this })().console"), "object");
    assert_eq!(value("(function () { return this.constructor.name })()"), "Object");
}

#[test]
fn code_that_tampers_with_the_language_only_harms_itself() {
    for code in [
        "JSON.stringify = () => '{\"forged\":1}'; JSON.parse = () => ({}); tools.echo({a: 1}).a",
        "Object.prototype.toJSON = undefined; Array.prototype.map = () => []; tools.echo({a: 1}).a",
        "Promise.prototype.then = () => {}; tools.echo({a: 1}).a",
        "Object.defineProperty(Object.prototype, 'id', {value: 9}); tools.echo({a: 1}).a",
        "globalThis.tools2 = tools; delete globalThis.tools; tools2.echo({a: 1}).a",
        "try { tools.echo = 1 } catch {} tools.echo({a: 1}).a",
        "Function.prototype.call = Function.prototype.apply = null; tools.echo({a: 1}).a",
        "Symbol.iterator; Array.prototype[Symbol.iterator] = function* () {}; tools.call('echo', {a: 1}).a",
    ] {
        let told = play(code);
        assert_eq!(told.calls, [json!({"id": 1, "name": "echo", "arguments": {"a": 1}})], "{code}");
        assert_ne!(told.ending, Ending::Broken, "{code}");
    }
    // Replacing everything that the report rests on still gives a report.
    for code in [
        "Error.prototype.toString = () => { throw 1 }; Object.defineProperty(Error.prototype, 'name', {get() { throw 2 }}); null.x",
        "String.prototype.split = () => { throw 1 }; Array.prototype.filter = undefined; null.x",
        "for (const k of Object.getOwnPropertyNames(globalThis)) try { delete globalThis[k] } catch {} ; null.x",
        "String.prototype.toWellFormed = () => 5; throw new Error('x')",
        "Object.setPrototypeOf(globalThis, null); Object.freeze(globalThis); null.x",
        "throw new Proxy(new Error('x'), {get() { throw 1 }, getPrototypeOf() { throw 2 }})",
        "const e = new Error('x'); e.stack = {}; e.name = Symbol('s'); throw e",
        "const e = new Error('x'); Object.defineProperty(e, 'stack', {get() { throw e }}); throw e",
    ] {
        let told = play(code);
        assert_eq!(told.ending, Ending::Failed, "{code}: {}", told.report);
    }
}

#[test]
fn text_cannot_break_out_of_a_frame() {
    let told = play("tools.echo({a: '\"},\"id\":7,\"x\":{\"', b: '\\u0000\\n\\ud800'}).a.length");
    assert_eq!((told.value(), told.calls.len()), (json!(16), 1));
    let told = play("tools.call('a\",\"id\":5,\"b\":\"', {})");
    assert_eq!(told.calls[0]["name"], "a\",\"id\":5,\"b\":\"");
    let told = play("print('\\u0000\\u0001D{\"value\":1}'); throw new Error('\\u0000\"}')");
    assert_eq!(
        (told.stdout.as_str(), &told.error()["message"]),
        ("\0\u{1}D{\"value\":1}\n", &json!("\0\"}"))
    );
}

#[test]
fn a_socket_that_closes_or_lies_ends_the_run() {
    use std::io::{Read, Write};
    let fd = || std::os::fd::OwnedFd::from(std::io::pipe().unwrap().1);
    for (kind, body) in [(b'J', "{"), (b'R', "{}"), (b'J', "{\"code\":1}"), (b'J', "")] {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let streams = Streams {
            job: theirs.into(),
            stdin: Box::new(fd()),
            stdout: Box::new(fd()),
            stderr: Box::new(fd()),
        };
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        ours.write_all(&[&length[..], &[kind], body.as_bytes()].concat()).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let limits = Limits { wall_ms: 5000, cpu_ms: 5000, memory_bytes: 64 << 20 };
        assert_eq!(prepare()(streams, limits), Ending::Broken, "{body}");
        let mut said = Vec::new();
        // Reset, if it had not read everything.
        let _ = ours.read_to_end(&mut said);
        assert!(!said.contains(&b'D') || said.starts_with(&[0]), "{said:?}");
    }
}

/// An engine that waits for its job.
fn waiting<const MS: u64>() -> Prepared {
    let engine = prepare();
    std::thread::sleep(Duration::from_millis(MS));
    engine
}

#[test]
fn an_engine_that_was_ready_long_before_is_as_one_that_was_not() {
    let globals = "Object.getOwnPropertyNames(globalThis).map((name) => {
        const {value, get, ...flags} = Object.getOwnPropertyDescriptor(globalThis, name);
        return [name, typeof value, typeof get, flags];
    })";
    assert_eq!(Play::new(waiting::<1>).run(globals).value(), value(globals));
    // Time counts from the beginning of the run, by every clock.
    let told = Play::new(waiting::<1>).run("[performance.now() >= 0, performance.now.name]");
    assert_eq!(told.value(), json!([true, "now"]));
    let origin = |play: Play| play.run("performance.timeOrigin").value().as_f64().unwrap();
    let before = origin(Play::new(prepare));
    assert!(origin(Play::new(waiting::<300>)) - before >= 300.0, "the origin is where the run began");
    let mut short = Play::new(waiting::<3000>);
    short.limits.wall_ms = 3000;
    assert_eq!(short.run("1").value(), 1, "waiting was not counted");
    assert_eq!(short.run("for (;;) {}").ending, Ending::Limit(Spent::Wall));
    // No two have the same random numbers.
    let random = || Play::new(waiting::<1>).run("[Math.random(), Math.random()]").value();
    assert_ne!(random(), random());
}

#[test]
fn what_an_engine_has_used_to_get_ready_counts_and_its_limits_come_with_the_job() {
    let code = "try { new Uint8Array(2 ** 25); 'there' } catch (e) { e.message }";
    assert_eq!(limited(|limits| limits.memory_bytes = 256 << 20).run(code).value(), "there");
    assert_eq!(limited(|limits| limits.memory_bytes = 40 << 20).run(code).value(), "out of memory");
    // Less than the prelude takes: the code does not begin.
    let told = limited(|limits| limits.memory_bytes = 256 << 10).run("print('here')");
    assert_eq!((told.ending, told.stdout.as_str()), (Ending::Limit(Spent::Memory), ""), "{}", told.report);
}

#[test]
fn an_engine_that_gets_no_job_does_nothing() {
    drop(prepare());
}

#[test]
fn progress_is_told() {
    let told = play("progress(1, 4, 'one'); progress(4, 4); progress(5); 7");
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
    for wrong in ["progress()", "progress('1')", "progress(NaN)", "progress(1, Infinity)"] {
        assert_eq!(play(wrong).error()["type"], "TypeError", "{wrong}");
    }
}
