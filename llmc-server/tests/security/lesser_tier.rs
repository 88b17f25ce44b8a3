//! Where the kernel gives no user namespaces: nothing runs, unless the operator permits the lesser tier; then code runs
//! in it, every result says so, and commands do not run.

use serde_json::{Value, json};

use crate::neighbour::{call_beside_hello, hello};
use crate::support::{Server, Setup};
use crate::without::{Missing, user_namespaces, without};

const CONFIG: &str = "[server]\nmin_isolation = 'landlock'\n[roots]\nwork = { path = '{work}', access = 'rw' }\n\
    [plugins.hello]\nlibrary = 'hello'\n[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n\
    [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
    grants = { roots = ['work'], run = { profile = 'workspace', programs = ['true'] } }\n\
    [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' }, tools = ['read_file'] }";

fn setup(missing: &[Missing]) -> Setup {
    Setup::new(CONFIG).file("notes.md", "granted").prepare(without(missing))
}

fn execute(server: &mut Server, code: &str) -> Value {
    let (called, _) = call_beside_hello(server, "execute_code", json!({"code": code, "timeout_ms": 20_000}));
    let done = called.0["result"]["structuredContent"].clone();
    assert!(done.is_object(), "{called:?}");
    done
}

#[test]
fn code_runs_in_the_lesser_tier_and_says_so() {
    let mut server = setup(&user_namespaces()).serve();
    hello(&mut server);
    let done = execute(&mut server, "import json, sqlite3\nprint('out')\n6 * 7");
    assert_eq!((&done["result"], &done["stdout"]), (&42.into(), &"out\n".into()), "{done:#}");
    assert_eq!(done["isolation"], "landlock");
    // Code mode, by the same path as ever.
    let done = execute(&mut server, "from llmc import tools\ntools.read_file(path='notes.md')['text']");
    assert_eq!((&done["result"], &done["isolation"]), (&"granted".into(), &"landlock".into()), "{done:#}");
    let done = execute(&mut server, "1 / 0");
    assert_eq!(
        (&done["error"]["type"], &done["isolation"]),
        (&"ZeroDivisionError".into(), &"landlock".into())
    );
    server.log_until("code runs behind Landlock and seccomp alone");

    let called = server.call("run_command", json!({"argv": ["true"]}));
    assert!(called.error().contains("`workspace` is not run without namespaces"), "{called:?}");
    hello(&mut server);
    server.stop();
}

#[test]
fn what_is_outside_stays_out_of_reach_in_the_lesser_tier() {
    let server = setup(&user_namespaces());
    let file = server.work("notes.md");
    let mut server = server.serve();
    let code = format!(
        r#"
import os, socket, errno
file = {file:?}
def attempt(f):
    try: f(); return 'POSSIBLE'
    except OSError as e: return errno.errorcode[e.errno]
dict(
    read=attempt(lambda: open(file)), write=attempt(lambda: open(file, 'w')), chmod=attempt(lambda: os.chmod(file, 0o777)),
    shadow=attempt(lambda: open('/etc/shadow')), temporary=attempt(lambda: open(f'/tmp/llmc-{{os.getpid()}}', 'x')),
    proc=attempt(lambda: os.listdir('/proc')), environ=attempt(lambda: open(f'/proc/{{os.getppid()}}/environ')),
    core=attempt(lambda: open('/proc/sys/kernel/core_pattern', 'w')), fork=attempt(os.fork),
    kill=attempt(lambda: os.kill(os.getppid(), 0)), inet=attempt(socket.socket),
    execute=attempt(lambda: os.execv('/bin/true', ['true'])), root=attempt(lambda: os.listdir('/')),
)
"#,
        file = file.to_str().unwrap(),
    );
    let done = execute(&mut server, &code);
    for (name, outcome) in done["result"].as_object().unwrap_or_else(|| panic!("{done:#}")) {
        assert!(["EACCES", "EPERM"].contains(&outcome.as_str().unwrap()), "{name}: {outcome}");
    }
    // Known and documented: that a file exists.
    let done = execute(&mut server, &format!("import os\nos.path.exists({:?})", file.to_str().unwrap()));
    assert_eq!(done["isolation"], "landlock");
    assert_ne!(done["result"], Value::Null, "{done:#}");
    if rustix::process::geteuid().is_root() {
        let done = execute(&mut server, "import os\n[os.getuid(), os.getgid(), os.getgroups()]");
        let (uid, gid) = (done["result"][0].as_u64().unwrap(), done["result"][1].as_u64().unwrap());
        assert!(uid >= 64_000 && gid >= 64_000 && done["result"][2] == json!([]), "{done:#}");
    }
    server.stop();
}

#[test]
fn limits_hold_in_the_lesser_tier() {
    let mut server = setup(&user_namespaces()).serve();
    hello(&mut server);
    let done = execute(
        &mut server,
        "x = []\nwhile True:\n    try: x.append(bytearray(1 << 20))\n    except MemoryError: pass",
    );
    assert_eq!((&done["limit"], &done["isolation"]), (&"memory".into(), &"landlock".into()), "{done:#}");
    let id = server
        .send_call("execute_code", json!({"code": "print('begun')\nwhile True: pass", "timeout_ms": 300}));
    let called = server.called(id);
    let done = &called.0["result"]["structuredContent"];
    assert_eq!((&done["limit"], &done["isolation"]), (&"wall".into(), &"landlock".into()), "{done:#}");
    assert_eq!(execute(&mut server, "6 * 7")["result"], 42);
    server.stop();
}

#[test]
fn whole_jails_stay_whole_where_the_lesser_tier_is_permitted() {
    let mut server = setup(&[]).serve();
    assert_eq!(execute(&mut server, "6 * 7")["isolation"], "namespaces");
    let called = server.call("run_command", json!({"argv": ["true"]}));
    assert_eq!((&called.ok()["exit_code"], &called.ok()["isolation"]), (&0.into(), &"namespaces".into()));
    server.stop();
}

/// There is nothing below the lesser tier.
#[test]
fn without_the_walls_of_the_lesser_tier_nothing_starts() {
    for missing in [
        Missing::call(libc::SYS_landlock_create_ruleset, libc::ENOSYS),
        Missing::call(libc::SYS_seccomp, libc::ENOSYS),
        Missing::prctl(libc::PR_SET_NO_NEW_PRIVS, libc::EINVAL),
    ] {
        let missing = [user_namespaces(), vec![missing]].concat();
        let output = setup(&missing).run("tools", &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}

#[test]
fn doctor_tells_which_tier_it_is() {
    let findings = |setup: Setup| -> (Option<i32>, Value) {
        let output = setup.run("doctor", &["--json"]);
        (
            output.status.code(),
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")),
        )
    };
    let (code, found) = findings(setup(&user_namespaces()));
    assert_eq!((code, &found["healthy"]), (Some(0), &true.into()), "{found:#}");
    assert_eq!(found["server"]["runner"]["jails"]["Ok"], "landlock", "{found:#}");
    assert_eq!(found["self_test"]["holds"], true, "{found:#}");
    let attempts = found["self_test"]["findings"].as_array().unwrap();
    let known = attempts.iter().find(|it| it["probe"] == "existence of a file outside").unwrap();
    assert_eq!(known["seen"], "possible", "what is weaker is shown");
    let output = setup(&user_namespaces()).run("doctor", &[]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("runner: jails landlock (code only; commands are refused)"), "{shown}");

    let (_, found) = findings(setup(&[]));
    assert_eq!(found["server"]["runner"]["jails"]["Ok"], "namespaces", "{found:#}");
}
