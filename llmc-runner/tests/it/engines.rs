//! Embedded interpreters in their jails, and which engine a name means.

use serde_json::{Value, json};

use super::*;

/// What came of a job.
struct Told {
    engine: String,
    /// The body of the last frame; null without one.
    report: Value,
    /// Whether its jail had waited for it.
    waited: bool,
    done: Finished,
}

fn engine(name: &str, change: impl FnOnce(&mut Limits)) -> Request {
    let mut request = request(Profile::Code, Program::Engine(name.into()), &["-I", "/llmc/boot.py"]);
    request.spec.files = vec![File { name: "boot.py".into(), contents: "unread".into() }];
    request.spec.job = true;
    change(&mut request.spec.limits);
    request
}

/// Hands over a job; `echo` answers every call with its arguments.
fn play(runner: &mut Runner, mut request: Request, code: &str) -> Told {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    request.job = Some(theirs.into());
    let run = runner.spawn(1, request).unwrap_or_else(|refused| panic!("{refused:?}"));
    let (mut engine, mut report, waited) = (String::new(), Value::Null, run.waited);
    while let Some((kind, body)) = receive(&mut ours) {
        match kind {
            b'r' => {
                engine = body["engine"].as_str().unwrap().to_owned();
                send(&mut ours, b'J', &json!({"code": code, "tools": null, "max_calls": 10, "max_open": 1}));
            }
            b'C' => send(&mut ours, b'R', &json!({"id": body["id"], "value": body["arguments"]})),
            b'D' => report = body,
            other => panic!("a frame of kind {other}"),
        }
    }
    Told { engine, report, waited, done: runner.finish(run) }
}

fn send(socket: &mut UnixStream, kind: u8, body: &Value) {
    let body = body.to_string().into_bytes();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    socket.write_all(&[&length[..], &[kind], &body].concat()).unwrap();
}

fn receive(socket: &mut UnixStream) -> Option<(u8, Value)> {
    let mut header = [0; 5];
    socket.read_exact(&mut header).ok()?;
    let [a, b, c, d, kind] = header;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    socket.read_exact(&mut body).unwrap();
    Some((kind, serde_json::from_slice(&body).unwrap()))
}

fn plain(_: &mut Limits) {}

#[test]
fn embedded_engines_work_in_their_jails() {
    let mut runner = Runner::start();
    for (name, engine_says, code, value) in [
        ("javascript", "QuickJS", "print('out'); console.error('err'); tools.echo({a: [1, 2]}).a", "[1,2]"),
        (
            "javascript",
            "QuickJS",
            "print('out'); console.error('err'); await new Promise((f) => setTimeout(f, 5)); 3",
            "3",
        ),
        ("monty", "monty", "print('out')\nfrom llmc import tools\ntools.echo(a=[1, 2])['a']", "[1,2]"),
        (
            "monty",
            "monty",
            "print('out')\nimport json, re, math, datetime\nlen(json.dumps([re.sub('a', 'b', 'aa')]))",
            "6",
        ),
    ] {
        let told = play(&mut runner, engine(name, plain), code);
        assert!(told.engine.starts_with(engine_says), "{}", told.engine);
        assert_eq!(told.report["value"]["json"], value, "{}", told.report);
        assert_eq!((told.done.stdout.as_str(), told.done.outcome.limit), ("out\n", None));
        assert_eq!(told.done.stderr, if name == "javascript" { "err\n" } else { "" });
        assert_eq!(told.done.outcome.status, Status::Exited(0));
    }
    let failed = play(&mut runner, engine("javascript", plain), "null.x");
    assert_eq!((failed.done.outcome.status, failed.done.outcome.limit), (Status::Exited(1), None));
}

/// Runs until one had a jail that waited.
fn play_waiting(runner: &mut Runner, request: impl Fn() -> Request, code: &str) -> Told {
    let begun = Instant::now();
    loop {
        let told = play(runner, request(), code);
        if told.waited {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no jail is made ahead of time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn jails_of_embedded_engines_wait_for_runs_that_come_again() {
    let mut runner = Runner::start_keeping(2, Command::new(RUNNER), 8, Isolation::Namespaces);
    for (name, code) in [("javascript", "print('out'); tools.echo({a: 1}).a"), ("monty", "print('out')\n1")] {
        let asked = || engine(name, plain);
        assert!(!play(&mut runner, asked(), code).waited, "nobody knows beforehand what will run");
        let told = play_waiting(&mut runner, asked, code);
        assert_eq!(told.report["value"]["json"], "1", "{name}: {}", told.report);
        assert_eq!((told.done.stdout.as_str(), told.done.outcome.status), ("out\n", Status::Exited(0)));
    }
    // Each is used once: nothing of a run is there in the next.
    let asked = || engine("javascript", plain);
    play_waiting(&mut runner, asked, "globalThis.left = 1; JSON.left = 1; Array.prototype.left = 1");
    let next = play_waiting(&mut runner, asked, "[typeof left, typeof JSON.left, [].left]");
    assert_eq!(next.report["value"]["json"], r#"["undefined","undefined",null]"#, "{}", next.report);
    // Its limits came with the run.
    let small = || engine("javascript", |limits| limits.memory_bytes = 64 << 20);
    let told = play_waiting(&mut runner, small, "print('out'); new Uint8Array(2 ** 27)");
    assert_eq!((told.done.outcome.limit, told.done.stdout.as_str()), (Some(Limit::Memory), "out\n"));
    let short = || engine("javascript", |limits| limits.wall_ms = 200);
    let told = play_waiting(&mut runner, short, "print('out'); for (;;) {}");
    assert_eq!((told.done.outcome.limit, told.done.stdout.as_str()), (Some(Limit::Wall), "out\n"));
    // More at a time than wait, up to the limit of jails.
    let sleep = "await new Promise((f) => setTimeout(f, 1e9))";
    assert_eq!(
        play(&mut runner, engine("javascript", |limits| limits.wall_ms = 50), sleep).done.outcome.limit,
        Some(Limit::Wall)
    );
    let nap = || request(Profile::Workspace, Program::File("/bin/sleep".into()), &["1000"]);
    let naps: Vec<_> = (0..8)
        .map(|call| runner.spawn(call + 10, nap()).unwrap_or_else(|refused| panic!("{refused:?}")))
        .collect();
    assert_eq!(runner.refused(nap()).layer, "busy");
    drop(naps);
}

#[test]
fn limits_of_embedded_engines_are_named_and_keep_what_was_printed() {
    let mut runner = Runner::start();
    let wall: fn(&mut Limits) = |limits| limits.wall_ms = 300;
    let cpu: fn(&mut Limits) = |limits| limits.cpu_ms = 300;
    let memory: fn(&mut Limits) = |limits| limits.memory_bytes = 96 << 20;
    for (name, change, code, limit) in [
        ("javascript", wall, "print('out'); await new Promise((f) => setTimeout(f, 1e9))", Limit::Wall),
        ("javascript", cpu, "print('out'); for (;;) {}", Limit::Cpu),
        (
            "javascript",
            memory,
            "print('out'); const a = []; for (;;) a.push(new Array(1000).fill(a.length))",
            Limit::Memory,
        ),
        ("monty", wall, "print('out')\nwhile True: pass", Limit::Wall),
        ("monty", cpu, "print('out')\nwhile True: pass", Limit::Cpu),
        ("monty", memory, "print('out')\nx = []\nwhile True: x.append([0] * 1000)", Limit::Memory),
        ("monty", memory, "print('out')\nx = 'x' * 10 ** 9", Limit::Memory),
        ("monty", memory, "print('out')\nx = 'x'\nwhile True: x += x", Limit::Memory),
    ] {
        let told = play(&mut runner, engine(name, change), code);
        assert_eq!(told.done.outcome.limit, Some(limit), "{code}: {}", told.report);
        assert_eq!((told.done.stdout.as_str(), &told.report["limit"]), ("out\n", &json!(true)), "{code}");
        assert!(told.report["error"]["message"].as_str().unwrap().contains("of the run was"), "{code}");
        // The next one starts afresh.
        assert_eq!(play(&mut runner, engine(name, plain), "1").report["value"]["json"], "1");
    }
}

#[test]
fn what_an_engine_cannot_stop_the_jail_does() {
    let mut runner = Runner::start();
    let told =
        play(&mut runner, engine("javascript", |limits| limits.cpu_ms = 300), "print('out'); 9n ** 9n ** 9n");
    assert!(told.report.is_null() || told.report["error"].is_object(), "{}", told.report);
    assert_eq!(told.done.stdout, "out\n");
    assert!(told.done.outcome.limit.is_some() || told.report["error"].is_object());
    assert_eq!(play(&mut runner, engine("javascript", plain), "1").report["value"]["json"], "1");
}

#[test]
fn nothing_is_left_for_the_next_run() {
    let mut runner = Runner::start();
    play(
        &mut runner,
        engine("javascript", plain),
        "globalThis.left = 1; Array.prototype.left = 1; Object.freeze(JSON)",
    );
    let told =
        play(&mut runner, engine("javascript", plain), "[typeof left, [].left, Object.isFrozen(JSON)]");
    assert_eq!(told.report["value"]["json"], "[\"undefined\",null,false]");
}

#[test]
fn python_is_cpython_where_there_is_one() {
    let mut runner = Runner::start();
    let done = runner.run(python("import sys; print(sys.implementation.name)"));
    assert_eq!(done.stdout, "cpython\n");
}

#[test]
fn without_cpython_python_is_the_embedded_subset() {
    // A mount namespace of its own, in which every interpreter is an empty file.
    let script = format!(
        "PATH=/usr/bin:/bin:/usr/sbin:/sbin; for f in /usr/bin/python3* /usr/local/bin/python3* /opt/*/bin/python3*; do \
         [ -f \"$f\" ] && mount --bind /dev/null \"$(realpath \"$f\")\"; done; exec {RUNNER}"
    );
    let unshare = ["/usr/bin/unshare", "/bin/unshare"].map(Path::new).into_iter().find(|path| path.exists());
    let mut command = Command::new(unshare.expect("this test needs unshare(1) of util-linux"));
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "/bin/sh", "-c", &script]);
    let mut runner = Runner::start_with(command, 2);
    let told = play(&mut runner, engine("python", plain), "print('out')\n6 * 7");
    assert!(told.engine.starts_with("monty"), "{}", told.engine);
    assert_eq!((&told.report["value"]["json"], told.done.stdout.as_str()), (&json!("42"), "out\n"));
}

/// A run that begins with this script.
fn script(text: &str) -> Request {
    let args = ["-I", "-S", "-X", "utf8", "/llmc/boot.py"];
    let mut request = request(Profile::Code, Program::Engine("python".into()), &args);
    request.spec.files = vec![File { name: "boot.py".into(), contents: text.into() }];
    request
}

#[test]
fn a_script_that_comes_again_is_compiled_once_and_does_the_same() {
    let told = "import sys\nprint(__name__, (lambda: 1).__code__.co_filename, open('/llmc/boot.py').read()[:6])\n\
                sys.stderr.write(sys.argv[0])\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n    \
                print(error.__traceback__.tb_lineno, __debug__)";
    let same = "__main__ /llmc/boot.py import\n5 True\n";
    let mut runner = Runner::start();
    let first = runner.run(script(told));
    assert_eq!((first.stdout.as_str(), first.stderr.as_str()), (same, "/llmc/boot.py"));
    let begun = Instant::now();
    loop {
        let done = runner.run(script(told));
        assert_eq!((done.stdout.as_str(), done.outcome.status), (same, Status::Exited(0)), "{}", done.stderr);
        if done.stderr == "/llmc/compiled.pyc" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never compiled");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another script is never taken for it, and one that cannot be compiled says so itself, every time.
    for number in 0..3 {
        assert_eq!(runner.run(script(&format!("print({number})"))).stdout, format!("{number}\n"));
        let broken = runner.run(script("print('out'"));
        assert!(broken.stderr.contains("SyntaxError"), "{}", broken.stderr);
        assert_eq!(broken.outcome.status, Status::Exited(1));
        std::thread::sleep(Duration::from_millis(200));
    }
}
