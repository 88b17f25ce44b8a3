//! Tools that code calls.

use super::*;

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
