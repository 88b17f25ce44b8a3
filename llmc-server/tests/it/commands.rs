//! Commands as people use them: a session in a real repository, long outputs, order, progress, cancellation.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, Setup};

fn serve(programs: &[&str]) -> Server {
    setup(programs).serve()
}

fn setup(programs: &[&str]) -> Setup {
    Setup::new(&format!(
        "[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = {programs:?} }} }}"
    ))
}

/// Runs a command that must succeed and returns what it printed.
#[track_caller]
fn run(server: &mut Server, argv: &[&str]) -> String {
    let called = server.call("run_command", json!({"argv": argv}));
    let result = called.ok();
    assert_eq!(result["exit_code"], 0, "{argv:?}: {}", called.text());
    result["stdout"].as_str().unwrap().to_owned()
}

/// What a person did before a server was started: a repository with an identity.
fn repository(dir: &Path) {
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["config", "user.name", "A. Person"],
        &["config", "user.email", "person@example.org"],
    ] {
        let mut git = Command::new("git");
        git.args(args).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.status().unwrap().success(), "git {args:?}");
    }
}

#[test]
fn a_session_in_a_repository() {
    let mut server = serve(&["git"]);
    repository(&server.setup.work(""));
    let text: String = (1..=50).map(|n| format!("line {n}\n")).collect();
    server.call("write_file", json!({"path": "notes.txt", "content": text})).ok();
    assert!(run(&mut server, &["git", "status", "--short"]).contains("?? notes.txt"));
    run(&mut server, &["git", "add", "notes.txt"]);
    run(&mut server, &["git", "commit", "-m", "Add notes; with $HOME and `ticks`"]);
    let edit = json!({"old": "line 25\n", "new": "line five-and-twenty\n"});
    server.call("edit_file", json!({"path": "notes.txt", "edits": [edit]})).ok();
    let diff = run(&mut server, &["git", "diff", "--stat"]);
    assert!(diff.contains("notes.txt | 2 +-"), "{diff}");
    let diff = run(&mut server, &["git", "diff"]);
    assert!(diff.contains("-line 25\n+line five-and-twenty\n"), "{diff}");
    run(&mut server, &["git", "commit", "-a", "-m", "Spell it out"]);
    let log = run(&mut server, &["git", "log", "--format=%an: %s"]);
    assert_eq!(log, "A. Person: Spell it out\nA. Person: Add notes; with $HOME and `ticks`\n");
    let status = server.call("run_command", json!({"command": "git status --porcelain=v2 --branch"}));
    assert!(status.ok()["stdout"].as_str().unwrap().contains("# branch.head main\n"), "{}", status.text());
    // An exit code is a result.
    let failed = server.call("run_command", json!({"argv": ["git", "show", "nothing"]}));
    assert_eq!(failed.ok()["exit_code"], 128);
    assert!(
        failed.ok()["stderr"].as_str().unwrap().contains("ambiguous argument 'nothing'"),
        "{}",
        failed.text()
    );
    // Its files belong to whom the directory belongs to.
    let owner = |path: &str| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(server.setup.work(path)).unwrap().uid()
    };
    assert_eq!(owner(".git/HEAD"), owner(".git/COMMIT_EDITMSG"));
    server.stop();
}

#[test]
fn a_crate_is_built_and_tested() {
    // The toolchain that builds these tests, wherever it is.
    let toolchain = Path::new(env!("CARGO")).ancestors().nth(2).unwrap();
    let (cargo, toolchain) = (toolchain.join("bin/cargo"), toolchain.display());
    let cargo = cargo.display();
    let config = format!(
        "[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['cargo={cargo}'] }} }}\n\
         [programs.cargo]\nread = ['{toolchain}']\n\
         env = {{ CARGO_HOME = '/tmp/cargo', PATH = '{toolchain}/bin:/usr/bin:/bin' }}\n"
    );
    let code =
        "pub fn double(n: u32) -> u32 { n * 2 }\n\n#[test]\nfn doubles() { assert_eq!(double(21), 42); }\n";
    let setup = Setup::new(&config)
        .file(
            "Cargo.toml",
            "[package]\nname = \"twice\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
        )
        .file("src/lib.rs", code);
    let mut server = setup.serve();
    let built = server.call("run_command", json!({"command": "cargo build --offline"}));
    assert_eq!(built.ok()["exit_code"], 0, "{}", built.text());
    assert!(server.setup.work("target/debug/libtwice.rlib").exists());
    let tested = run(&mut server, &["cargo", "test", "--offline", "--lib"]);
    assert!(tested.contains("test doubles ... ok"), "{tested}");
    let refused =
        server.call("run_command", json!({"command": "cargo --config build.rustc='/work/x' build"})).error();
    assert!(refused.contains("`--config`"), "{refused}");
    server.stop();
}

#[test]
fn the_rest_of_a_long_output_is_read() {
    let mut server = serve(&["seq"]);
    let whole: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let called = server.call("run_command", json!({"argv": ["seq", "100000"], "max_output_bytes": 2000}));
    let result = called.ok();
    let handle = result["stdout_handle"].as_str().unwrap();
    assert_eq!((&result["truncated"], &result["stdout_bytes"]), (&json!(true), &json!(whole.len())));
    let note = format!("`read_more` with handle {handle}, offset 1000");
    assert!(called.text().contains(&note), "{}", called.text());

    let (mut seen, mut next) = (String::new(), Some(0));
    while let Some(offset) = next {
        let part = server.call("read_more", json!({"handle": handle, "offset": offset, "max_bytes": 77_777}));
        let part = part.ok();
        assert_eq!((&part["offset"], &part["total_bytes"]), (&json!(offset), &json!(whole.len())));
        seen += part["text"].as_str().unwrap();
        next = part["next_offset"].as_u64();
    }
    assert_eq!(seen, whole);
    let part = server.call("read_more", json!({"handle": handle, "offset": 1000, "max_bytes": 1024}));
    assert!(
        part.text().ends_with(&format!("\n[{} bytes more: offset 2024]", whole.len() - 2024)),
        "{}",
        part.text()
    );
    let refused = server.call("read_more", json!({"handle": "0".repeat(32)})).error();
    assert!(refused.contains("no kept output of this handle"), "{refused}");
    // What fits is not kept.
    let short = server.call("run_command", json!({"argv": ["seq", "3"]}));
    assert_eq!(short.ok().get("stdout_handle"), None);
    server.stop();
}

#[test]
fn a_kept_output_expires() {
    let text = "[limits]\nkept_ms = 300\n[roots]\nwork = { path = '{work}' }\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
                grants = { roots = ['work'], run = { profile = 'workspace', programs = ['seq'] } }";
    let mut server = Setup::new(text).serve();
    let called = server.call("run_command", json!({"argv": ["seq", "1000"], "max_output_bytes": 1024}));
    let handle = called.ok()["stdout_handle"].clone();
    std::thread::sleep(Duration::from_millis(350));
    let refused = server.call("read_more", json!({"handle": handle})).error();
    assert!(refused.contains("no longer (`limits.kept_ms`"), "{refused}");
    server.stop();
}

#[test]
fn both_streams_keep_their_order_on_request() {
    let mut server = serve(&["sh"]);
    let script = "for n in 1 2 3; do echo out $n; echo err $n >&2; done";
    let merged = server.call("run_command", json!({"argv": ["sh", "-c", script], "merge_stderr": true}));
    assert_eq!(merged.ok()["stdout"], "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    let apart = server.call("run_command", json!({"argv": ["sh", "-c", script]}));
    assert_eq!(
        (&apart.ok()["stdout"], &apart.ok()["stderr"]),
        (&json!("out 1\nout 2\nout 3\n"), &json!("err 1\nerr 2\nerr 3\n"))
    );
    server.stop();
}

#[test]
fn a_long_command_tells_how_far_it_is() {
    let mut server = serve(&["sh"]);
    let arguments = json!({"argv": ["sh", "-c", "echo compiling; sleep 1.3; echo done"]});
    let params = json!({"name": "run_command", "arguments": arguments, "_meta": {"progressToken": "t"}});
    let id = server.send("tools/call", params);
    let progress = server.notification("notifications/progress");
    let message = progress["params"]["message"].as_str().unwrap();
    assert_eq!(message, "1 s, 10 bytes of output: compiling");
    assert_eq!(server.called(id).ok()["stdout"], "compiling\ndone\n");
    server.stop();
}

#[test]
fn a_cancelled_command_ends_at_once_with_its_tree() {
    let mut server = serve(&["sh"]);
    let script = "echo $$ > pid; (sleep 600 &); sleep 600";
    let id = server.send_call("run_command", json!({"argv": ["sh", "-c", script]}));
    let begun = Instant::now();
    crate::support::eventually("the command begins", || server.setup.work("pid").exists());
    let jails = || server_jails(&server);
    assert!(jails() > 0);
    let cancelled = Instant::now();
    let params: Value = json!({"requestId": id, "reason": "test"});
    server.notify("notifications/cancelled", params);
    crate::support::eventually("its processes end", || server_jails(&server) == 0);
    assert!(cancelled.elapsed() < Duration::from_secs(5) && begun.elapsed() < Duration::from_secs(30));
    assert_eq!(run(&mut server, &["sh", "-c", "echo next"]), "next\n");
    server.stop();
}

/// Processes below the runner.
fn server_jails(server: &Server) -> usize {
    let runner = server.children("llmc-runner");
    runner.into_iter().map(|runner| crate::support::children(runner).len()).sum()
}
