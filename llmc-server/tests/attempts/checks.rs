//! What concerns the programs around the jails: checked in code, through MCP, one function for each row.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::observe::{Process, adopt_orphans, descendants};
use crate::support::{Server, Setup, eventually, stage};
use crate::trial::Shown;
use crate::without::{Missing, user_namespaces, without};

/// A check of a row: what the attempt showed, and its neighbour.
pub(crate) type Check = fn() -> (Shown, Shown);

/// The check of this name.
pub(crate) fn find(name: &str) -> Option<Check> {
    let check: Check = match name {
        "killed_programs_take_their_jails_along" => killed_programs_take_their_jails_along,
        "jails_are_held_by_pidfd" => jails_are_held_by_pidfd,
        "constructors_run_in_the_jail" => constructors_run_in_the_jail,
        "hostile_plugins_cost_their_own_call" => hostile_plugins_cost_their_own_call,
        "a_missing_wall_stops_the_start" => a_missing_wall_stops_the_start,
        _ => return None,
    };
    Some(check)
}

const RUNS: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\n[plugins.hello]\nlibrary = 'hello'\n\
     [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\ngrants = { roots = ['work'], \
     run = { profile = 'workspace', programs = ['sh', 'python3'] } }\n\
     [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";

/// A daemon that is deaf, and a main process that sleeps.
const DAEMON: &str = "trap '' HUP INT TERM USR1 USR2; (setsid sleep 1000 &) ; touch ready; sleep 1000";
const SLEEPER: &str = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)";

/// What was expected, what was seen.
fn shown(expected: Value, seen: Value) -> Shown {
    let differs = (expected != seen).then(|| format!("{seen} and not {expected}")).into_iter().collect();
    Shown { expected, seen, differs }
}

fn is_well(server: &mut Server) -> bool {
    server.call("hello", json!({"name": "Ada"})).ok()["text"] == "Hello, Ada!"
}

/// Starts runs of both profiles and tells which processes came with them.
fn with_runs(server: &mut Server) -> BTreeSet<Process> {
    // Interpreters are looked for at first need, in jails that end again.
    server.call("execute_code", json!({"code": "1"})).ok();
    std::thread::sleep(Duration::from_millis(300));
    let before = descendants(server.pid());
    server.send_call("run_command", json!({"argv": ["sh", "-c", DAEMON]}));
    server.send_call("execute_code", json!({"code": SLEEPER}));
    let ready = server.setup.work("ready");
    eventually("a command runs", || ready.exists());
    let mut new = BTreeSet::new();
    // Process 1, shell, daemon and sleeper; process 1 and interpreter.
    eventually("both runs are there", || {
        new = descendants(server.pid()).difference(&before).cloned().collect();
        new.len() >= 6
    });
    new
}

fn killed_programs_take_their_jails_along() -> (Shown, Shown) {
    adopt_orphans();
    let mut seen = Vec::new();
    let mut well = Vec::new();
    for victim in ["llmc-runner", "llmc"] {
        let mut server = Setup::new(RUNS).serve();
        let jailed = with_runs(&mut server);
        match victim {
            "llmc" => server.kill(),
            _ => {
                let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
                let runner = Pid::from_raw(i32::try_from(runner).unwrap()).unwrap();
                kill_process(runner, Signal::KILL).unwrap();
            }
        }
        eventually("the jails end", || jailed.iter().all(|process| !process.lives()));
        seen.push(format!("{victim} killed: {} processes in jails, none lives", jailed.len().min(6)));
        well.push(victim == "llmc" || is_well(&mut server));
    }
    let expected =
        ["llmc-runner", "llmc"].map(|victim| format!("{victim} killed: 6 processes in jails, none lives"));
    (shown(json!(expected), json!(seen)), shown(json!([true, true]), json!(well)))
}

/// The kernel tells of a descriptor that it is a pidfd, and of which process.
fn pidfds_of(pid: u32) -> BTreeSet<u32> {
    let folder = format!("/proc/{pid}/fdinfo");
    let texts = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn jails_are_held_by_pidfd() -> (Shown, Shown) {
    let mut server = Setup::new(RUNS).serve();
    let id = server.send_call("run_command", json!({"argv": ["sh", "-c", "touch ready; sleep 1000"]}));
    let ready = server.setup.work("ready");
    eventually("a command runs", || ready.exists());
    let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
    // Process 1 of its jail is the child of the runner below which the shell is.
    let firsts = crate::support::children(runner);
    let runs_sleep = |&&first: &&u32| descendants(first).iter().any(|process| process.name == "sleep");
    eventually("it sleeps", || firsts.iter().any(|first| runs_sleep(&first)));
    let jail: Vec<&u32> = firsts.iter().filter(runs_sleep).collect();
    let held = pidfds_of(runner);
    // Nor do the sources know another way to end a jail than by its handle.
    let sources = [
        include_str!("../../../llmc-sandbox/src/jail/running.rs"),
        include_str!("../../../llmc-runner/src/serve.rs"),
    ];
    let by_number =
        sources.iter().any(|source| source.contains("kill_process(") || source.contains("libc::kill"));
    let is_held = jail.iter().all(|first| held.contains(first));
    let seen = json!({"jails": jail.len(), "held by pidfd": is_held, "killed by number": by_number});
    let expected = json!({"jails": 1, "held by pidfd": true, "killed by number": false});
    server.notify("notifications/cancelled", json!({"requestId": id, "reason": "enough"}));
    eventually("a cancelled run ends", || jail.iter().all(|first| !crate::support::lives(**first)));
    let well = is_well(&mut server);
    server.stop();
    (shown(expected, seen), shown(json!(true), json!(well)))
}

fn constructors_run_in_the_jail() -> (Shown, Shown) {
    let config = "[plugins.stress]\nlibrary = '{stress}'\n[plugins.hello]\nlibrary = 'hello'";
    let mut server = Setup::new(config).env("OPENAI_API_KEY", crate::ground::CANARY).serve();
    let report = server.call("stress_constructor_report", json!({})).ok().clone();
    // What may work, with no effect: both lead to /dev/null.
    let harmless = ["write_stdout", "write_stdin"];
    let attempts = report["attempts"].as_array().unwrap();
    let worked: Vec<&Value> = attempts
        .iter()
        .filter(|attempt| {
            attempt["outcome"] == "OK" && !harmless.contains(&attempt["name"].as_str().unwrap())
        })
        .collect();
    let aims_at_server = report["parent"] == server.pid();
    let seen = json!({"attempts": attempts.len() >= 100, "worked": worked, "environment": report["environment"], "aim at the server": aims_at_server,
        "canary": report.to_string().contains(crate::ground::CANARY)});
    let expected = json!({"attempts": true, "worked": [], "environment": [], "aim at the server": true, "canary": false});
    let well =
        is_well(&mut server) && server.call("stress_sleep", json!({"ms": 1})).ok()["text"] == "slept 1 ms";
    server.stop();
    (shown(expected, seen), shown(json!(true), json!(well)))
}

/// Calls of the plugin that misbehaves, and what the error must name.
const MISBEHAVIOUR: [(&str, &str); 10] = [
    ("stress_abort", "SIGABRT"),
    ("stress_segfault", "SIGSEGV"),
    ("stress_overflow", "SIG"),
    ("stress_long_jump", "SIGSEGV"),
    ("stress_panic", "panicked"),
    ("stress_exit", "stress"),
    ("stress_spin", "call_timeout_ms"),
    ("stress_bad_json", "stress"),
    ("stress_wrong_output", "stress"),
    ("stress_huge", "stress"),
];

fn hostile_plugins_cost_their_own_call() -> (Shown, Shown) {
    let config = "[limits]\ncall_timeout_ms = 3000\ngrace_ms = 300\n[plugins.stress]\nlibrary = '{stress}'\n\
                  [plugins.hello]\nlibrary = 'hello'";
    let (mut differs, mut well) = (Vec::new(), true);
    let mut server = Setup::new(config).serve();
    for (tool, part) in MISBEHAVIOUR {
        let arguments = match tool {
            "stress_exit" => json!({"code": 0}),
            "stress_huge" => json!({"bytes": 32 << 20}),
            _ => json!({}),
        };
        let called = server.call(tool, arguments);
        if !called.is_error() || !called.text().contains(part) {
            differs.push(format!("{tool}: {}", called.0));
        }
        well &= is_well(&mut server);
    }
    differs.extend(breaches());
    server.stop();
    let seen = json!({"calls": MISBEHAVIOUR.len(), "breaches": BREACHES.len(), "differ": differs});
    let expected = json!({"calls": MISBEHAVIOUR.len(), "breaches": BREACHES.len(), "differ": []});
    (shown(expected, seen), shown(json!(true), json!(well)))
}

/// What a library writes to the socket of its host in place of a greeting: each ends the start with the plugin's name.
const BREACHES: [(&str, &str); 4] = [
    ("length", "[255_u8; 24]"),
    ("kind", "[0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0_u8]"),
    ("noise", "[0x5a_u8; 4096]"),
    ("half", "[9_u8; 3]"),
];

fn breaches() -> Vec<String> {
    let refusal = |(name, bytes): &(&str, &str)| {
        let body = format!(
            "use std::io::Write; use std::os::fd::FromRawFd; use std::os::unix::fs::FileTypeExt;\n\
             let mut server = (3..64).find_map(|number| {{\n\
             // SAFETY: what is no socket is not touched.\n\
             let file = unsafe {{ std::fs::File::from_raw_fd(number) }};\n\
             let is_socket = file.metadata().is_ok_and(|metadata| metadata.file_type().is_socket());\n\
             if is_socket {{ Some(file) }} else {{ std::mem::forget(file); None }} }}).unwrap();\n\
             server.write_all(&{bytes}).unwrap(); println!(\"to descriptor 1\"); std::process::exit(0)"
        );
        let library = crate::compile::library(&format!("attempt_{name}"), &crate::compile::on_load(&body));
        let config =
            format!("[limits]\nload_timeout_ms = 1500\n[plugins.evil]\nlibrary = '{}'", library.display());
        let output = Setup::new(&config).run("serve", &[]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_refused =
            output.status.code() == Some(1) && output.stdout.is_empty() && stderr.contains("`evil`");
        (!is_refused).then(|| format!("{name}: {output:?}"))
    };
    BREACHES.iter().filter_map(refusal).collect()
}

fn a_missing_wall_stops_the_start() -> (Shown, Shown) {
    let missing = |call, errno| vec![Missing::call(call, errno)];
    let cases = [
        ("user namespace", user_namespaces()),
        ("landlock", missing(libc::SYS_landlock_create_ruleset, libc::ENOSYS)),
        ("landlock", missing(libc::SYS_landlock_restrict_self, libc::EPERM)),
        (
            "seccomp",
            vec![
                Missing::prctl(libc::PR_SET_SECCOMP, libc::EINVAL),
                Missing::call(libc::SYS_seccomp, libc::ENOSYS),
            ],
        ),
        ("no_new_privs", vec![Missing::prctl(libc::PR_SET_NO_NEW_PRIVS, libc::EINVAL)]),
        ("parent death", vec![Missing::prctl(libc::PR_SET_PDEATHSIG, libc::EINVAL)]),
    ];
    let expected: Vec<String> = cases.iter().map(|(layer, _)| format!("refused: `{layer}`")).collect();
    let seen: Vec<String> = cases.iter().map(|(layer, missing)| refusal(layer, missing)).collect();
    let whole = Setup::new(RUNS).run("tools", &[]);
    let offers = String::from_utf8_lossy(&whole.stdout).contains("execute_code");
    (shown(json!(expected), json!(seen)), shown(json!(true), json!(whole.status.success() && offers)))
}

fn refusal(layer: &str, missing: &[Missing]) -> String {
    let output = Setup::new(RUNS).prepare(without(missing)).run("serve", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let names_it =
        stderr.lines().any(|line| line.starts_with("llmc: ") && line.contains(&format!("`{layer}`")));
    if output.status.code() == Some(1) && output.stdout.is_empty() && names_it {
        format!("refused: `{layer}`")
    } else {
        format!("{layer}: {output:?} in {}", stage().display())
    }
}
