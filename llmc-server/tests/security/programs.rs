//! Argument rules of granted programs: what would turn a program into another one is refused, by the server and with
//! words, and everyday use of the same program goes on. The attacks are real: without rules each of them works.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Called, Server, Setup};

/// `cmd` with programs over a writable root, and more.
fn cmd(programs: &str, more: &str) -> Setup {
    Setup::new(&format!(
        "[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.hello]\nlibrary = 'hello'\n\
         [audit]\npath = 'audit.jsonl'\ndurability = 'call'\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = [{programs}], env = ['ASKED'] }} }}\n\
         {more}"
    ))
}

fn run(server: &mut Server, argv: &[&str]) -> Called {
    server.call("run_command", json!({"argv": argv}))
}

/// Runs what must succeed, and returns its output.
#[track_caller]
fn works(server: &mut Server, argv: &[&str]) -> String {
    let called = run(server, argv);
    assert_eq!(called.ok()["exit_code"], 0, "{argv:?}: {called:?}");
    called.ok()["stdout"].as_str().unwrap().to_owned()
}

/// The audit's record of the last call.
fn last_record(server: &Server) -> Value {
    server.setup.calls().pop().unwrap()
}

/// Who commits; no configuration is written, and none outside the repository is seen.
const IDENTITY: &str = "env = { GIT_AUTHOR_NAME = 'Ada', GIT_AUTHOR_EMAIL = 'ada@example.org', \
                        GIT_COMMITTER_NAME = 'Ada', GIT_COMMITTER_EMAIL = 'ada@example.org' }\n";

/// A server over a repository with two commits and a ref that is named like an option.
fn repository(rules: &str) -> Server {
    let mut server =
        cmd("'git'", &format!("[programs.git]\n{rules}{IDENTITY}")).file("a.txt", "one\n").serve();
    works(&mut server, &["git", "init", "-q", "-b", "main", "."]);
    for message in ["first", "second"] {
        std::fs::write(server.setup.work("a.txt"), message).unwrap();
        works(&mut server, &["git", "add", "a.txt"]);
        works(&mut server, &["git", "commit", "-q", "-m", message]);
    }
    let head = std::fs::read(server.setup.work(".git/refs/heads/main")).unwrap();
    std::fs::write(server.setup.work(".git/refs/heads/--output=evil.txt"), head).unwrap();
    server
}

/// Each writes a file `evil.txt` where no rule refuses it.
const GIT_ATTACKS: &[&[&str]] = &[
    &["git", "log", "--output=evil.txt"],
    &["git", "diff", "--outp", "evil.txt", "HEAD~1"],
    &["git", "-c", "alias.x=!touch evil.txt", "x"],
    &["git", "-c", "core.pager=touch evil.txt", "-p", "log"],
    &["git", "rebase", "-q", "--force-rebase", "--exec=touch evil.txt", "HEAD~1"],
    &["git", "rebase", "-q", "-f", "-x", "touch evil.txt", "HEAD~1"],
    &["git", "clone", "-q", "--no-local", "--upload-pack=touch evil.txt; git-upload-pack", ".", "copy"],
    &["git", "clone", "-q", "--no-local", "-u", "touch evil.txt; git-upload-pack", ".", "copy"],
    &["git", "grep", "-O touch evil.txt;:", "second"],
    &["git", "bisect", "run", "touch", "evil.txt"],
];

#[test]
fn git_stays_git() {
    let mut server = repository("");
    for argv in GIT_ATTACKS {
        let refusal = run(&mut server, argv).error();
        assert!(
            refusal.contains("program `git` is refused argument") && refusal.contains("(rule "),
            "{refusal}"
        );
        assert!(refusal.contains("to allow it, write `[programs.git] allow_"), "{refusal}");
        let record = last_record(&server);
        assert_eq!(record["tool"], "run_command", "{record}");
        assert_ne!(record["outcome"], "ok", "{record}");
        assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("(rule ")), "{record}");
    }
    for outside in ["../../../.kube/config", "/etc/passwd"] {
        let refusal = run(&mut server, &["git", "add", outside]).error();
        assert!(refusal.contains("outside the granted directories"), "{refusal}");
    }
    assert!(!server.setup.work("evil.txt").exists());

    // Everyday use, with the names of the attacks where they are no flags.
    assert_eq!(works(&mut server, &["git", "log", "--format=%s"]), "second\nfirst\n");
    assert_eq!(works(&mut server, &["git", "log", "--oneline", "--", "--output=evil.txt"]), "");
    assert!(works(&mut server, &["git", "branch", "--list"]).contains("--output=evil.txt"));
    assert!(works(&mut server, &["git", "diff", "HEAD~1", "--stat"]).contains("a.txt"));
    works(&mut server, &["git", "commit", "-q", "--allow-empty", "--message=--exec is refused"]);
    works(&mut server, &["git", "clone", "-q", ".", "copy"]);
    assert_eq!(works(&mut server, &["git", "-C", "copy", "status", "--short"]), "");
    assert!(!server.setup.work("evil.txt").exists());
    server.stop();
}

#[test]
fn without_rules_the_attacks_are_real() {
    let mut server = repository("rules = 'none'\n");
    let evil = server.setup.work("evil.txt");
    let mut worked = Vec::new();
    for argv in GIT_ATTACKS.iter().filter(|argv| argv[1] != "bisect") {
        run(&mut server, argv);
        // The pager needs a terminal.
        if std::fs::remove_file(&evil).is_ok() {
            worked.push(argv[1..3].join(" "));
        }
        let _ = std::fs::remove_dir_all(server.setup.work("copy"));
    }
    assert!(worked.len() >= 7, "only {worked:?} did what it was meant to do");
    server.stop();
}

#[test]
fn the_line_of_a_refusal_allows_what_was_refused_and_no_more() {
    let mut server = repository("");
    let refusal = run(&mut server, &["git", "log", "--output=kept.txt"]).error();
    let line =
        refusal.split('`').find_map(|quoted| quoted.strip_prefix("[programs.git] ")).unwrap().to_owned();
    server.stop();
    let mut server = repository(&format!("{line}\n"));
    works(&mut server, &["git", "log", "--output=kept.txt"]);
    assert!(server.setup.work("kept.txt").exists());
    assert!(run(&mut server, &["git", "diff", "--output=kept.txt"]).error().contains("(rule deny_flags"));
    assert!(run(&mut server, &["git", "log", "--output=/etc/kept.txt"]).error().contains("(rule paths"));
    server.stop();
}

#[test]
fn find_finds_and_starts_nothing() {
    let mut server = cmd("'find', 'cat'", "").file("a.txt", "contents").serve();
    for argv in [
        &["find", ".", "-exec", "touch", "evil.txt", ";"][..],
        &["find", ".", "-name", "a.txt", "-delete"],
        &["find", ".", "-fprint", "evil.txt"],
        &["find", "/"],
        &["cat", "/proc/self/environ"],
        &["cat", "a.txt", "../etc/passwd"],
    ] {
        let refusal = run(&mut server, argv).error();
        assert!(refusal.contains("(rule "), "{refusal}");
    }
    assert!(!server.setup.work("evil.txt").exists());
    assert_eq!(works(&mut server, &["find", ".", "-name", "*.txt"]), "./a.txt\n");
    assert_eq!(works(&mut server, &["cat", "/work/a.txt"]), "contents");
    server.stop();
}

#[test]
fn a_launcher_does_not_hide_behind_another_name() {
    let mut server = cmd("'report=/usr/bin/python3'", "").file("evil.py", "print('ran')").serve();
    for argv in [
        &["report", "-c", "print('ran')"][..],
        &["report", "-Ic", "print('ran')"],
        &["report", "evil.py"],
        &["report", "-m", "evil"],
        &["report", "-"],
        &["report"],
    ] {
        let called = server.call("run_command", json!({"argv": argv, "stdin": "print('ran')"}));
        let refusal = called.error();
        assert!(
            refusal.contains("program `report` is refused") && refusal.contains("of python"),
            "{refusal}"
        );
    }
    assert!(works(&mut server, &["report", "--version"]).starts_with("Python 3"));
    server.stop();

    // By the operator's word it is an interpreter again.
    let mut server = cmd("'report=/usr/bin/python3'", "[programs.report]\nrules = 'none'").serve();
    assert_eq!(works(&mut server, &["report", "-c", "print('ran')"]), "ran\n");
    server.stop();
}

#[test]
fn another_digest_of_a_program_stops_the_start() {
    let wrong = cmd("'true'", &format!("[programs.true]\nsha256 = '{}'", "0".repeat(64)));
    let output = wrong.run("serve", &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("[programs.true]: program `") && text.contains("the configuration expects 0000"),
        "{text}"
    );

    let found = text.split("has SHA-256 ").nth(1).unwrap()[..64].to_owned();
    let mut server = cmd("'true'", &format!("[programs.true]\nsha256 = '{found}'")).serve();
    works(&mut server, &["true"]);
    server.stop();
}

#[test]
fn what_a_program_reads_and_its_variables_come_from_the_operator() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().canonicalize().unwrap();
    // Whoever a jail runs as may read it.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let note = folder.join("note.txt");
    std::fs::write(&note, "from outside").unwrap();
    let note = note.to_str().unwrap();
    let script = "test -w . && echo writable; echo x > note.txt; echo \"$KEPT\"";
    let in_folder = |script: &str| format!("cd {} && {{ {script}; }}", folder.display());

    let settings = format!(
        "[programs.cat]\nread = [{folder:?}]\n[programs.sh]\nread = [{folder:?}]\n\
         env = {{ KEPT = 'as configured' }}",
        folder = folder.to_str().unwrap()
    );
    let mut server = cmd("'cat', 'sh', 'head'", &settings).serve();
    assert_eq!(works(&mut server, &["cat", note]), "from outside");
    assert_eq!(works(&mut server, &["sh", "-c", &in_folder(script)]), "as configured\n", "read-only");
    assert_eq!(std::fs::read_to_string(note).unwrap(), "from outside");
    // It is shown to these programs alone.
    assert_ne!(run(&mut server, &["head", note]).ok()["exit_code"], 0);

    let asked = |value: &str| json!({"argv": ["sh", "-c", "echo $KEPT"], "env": {"KEPT": value}});
    let refusal = server.call("run_command", asked("changed")).error();
    assert!(
        refusal.contains("may not change variable `KEPT`") && refusal.contains("[programs.sh] env"),
        "{refusal}"
    );
    assert_eq!(server.call("run_command", asked("as configured")).ok()["stdout"], "as configured\n");
    let granted = json!({"argv": ["sh", "-c", "echo $ASKED $KEPT"], "env": {"ASKED": "asked,"}});
    assert_eq!(server.call("run_command", granted).ok()["stdout"], "asked, as configured\n");
    server.stop();

    for (read, part) in [("/", "more than one program needs"), ("/no/such/place", "cannot be found")] {
        let output = cmd("'cat'", &format!("[programs.cat]\nread = ['{read}']")).run("serve", &[]);
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{output:?}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn rules_of_a_program_do_not_depend_on_who_asks() {
    // The same rules, from the command line and from a client.
    let setup = cmd("'ls'", "");
    let output = setup.run("call", &["run_command", r#"{"argv": ["ls", "/etc"]}"#]);
    assert_eq!(output.status.code(), Some(5));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("(rule paths of ls: operands)"), "{said}");
    let mut server = setup.file("a.txt", "").serve();
    assert!(run(&mut server, &["ls", "/etc"]).error().contains("(rule paths of ls: operands)"));
    assert_eq!(works(&mut server, &["ls"]), "a.txt\n");
    server.stop();
}
