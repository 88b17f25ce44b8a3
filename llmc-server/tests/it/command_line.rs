//! The commands beside `serve`.

use serde_json::Value;

use crate::support::Setup;

const FS: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\n\
                  [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn call_prints_the_text_or_the_whole_result() {
    let setup = Setup::new(FS).file("a.txt", "content of a\n");
    let arguments = r#"{"path": "work:a.txt"}"#;
    let output = setup.run("call", &["read_file", arguments]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "content of a\n");

    let output = setup.run("call", &["--json", "read_file", arguments]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["structured"]["text"], "content of a\n");
}

#[test]
fn a_failed_call_has_its_own_exit_code() {
    let setup = Setup::new(FS);
    let output = setup.run("call", &["read_file", r#"{"path": "work:missing"}"#]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let output = setup.run("call", &["read_file", "not json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("must be a JSON object"), "{}", text(&output.stderr));
    let output = setup.run("call", &["--no-such-flag"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_call_can_start_only_what_it_needs() {
    let setup = Setup::new(&format!("{FS}\n[plugins.hello]\nlibrary = 'hello'")).file("a.txt", "content\n");
    let started = |args: &[&str]| {
        let output =
            setup.run("call", &[args, &["read_file", r#"{"path": "a.txt"}"#, "--log", "debug"]].concat());
        assert_eq!(text(&output.stdout), "content\n", "{}", text(&output.stderr));
        text(&output.stderr).matches("host is ready").count()
    };
    assert_eq!((started(&[]), started(&["--only-needed"])), (2, 1));
    let output = setup.run("call", &["--only-needed", "no_such_tool"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
}

#[test]
fn tools_lists_names_plugins_and_descriptions() {
    let output = Setup::new(FS).run("tools", &[]);
    let listed = text(&output.stdout);
    assert!(listed.lines().any(|line| line.starts_with("read_file") && line.contains(" fs ")), "{listed}");
    let output = Setup::new(FS).run("tools", &["--json"]);
    let tools: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tools[0]["plugin"], "fs");
    assert_eq!(tools[0]["plugin_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn doctor_shows_the_layers_and_every_jail() {
    let output = Setup::new(FS).run("doctor", &["--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(findings["healthy"], output.status.success(), "{findings:#}");
    assert!(findings["layers"].as_array().is_some_and(|layers| layers.len() >= 5), "{findings:#}");
    assert_eq!(findings["server"]["plugins"][0]["name"], "fs", "{findings:#}");
    let layers = findings["server"]["plugins"][0]["jail"]["layers"].as_array().unwrap();
    assert!(layers.iter().any(|layer| layer["name"] == "landlock"), "{findings:#}");
}

/// `llmc` with these arguments, the configuration being that of a setup.
fn llmc(setup: &Setup, verbs: &[&str], args: &[&str]) -> std::process::Output {
    drop(setup.command("serve"));
    std::process::Command::new(crate::support::stage().join("bin/llmc"))
        .args(verbs)
        .arg("--config")
        .arg(setup.folder.path().join("llmc.toml"))
        .args(args)
        .output()
        .unwrap()
}

/// Commands over the work root, with more that is said.
fn commands(programs: &str, more: &str) -> Setup {
    Setup::new(&format!(
        "[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = [{programs}] }} }}\n{more}"
    ))
}

#[test]
fn policy_explain_tells_how_arguments_are_read_and_which_rule_decides() {
    let setup = commands("'ls', 'cat', 'true'", "[programs.cat]\ndeny_flags = ['-v']");
    let explain = |args: &[&str]| {
        let output = llmc(&setup, &["policy", "explain"], args);
        (output.status.code(), text(&output.stdout))
    };
    let (code, told) = explain(&["--", "ls", "-la", "sub", "/etc/ssl"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("   1  -la       flag\n   2  sub       operand\n"), "{told}");
    assert!(told.contains("3  /etc/ssl  operand  <- refused\n"), "{told}");
    assert!(told.contains("rule paths of ls: operands") && told.contains("[programs.ls] read = "), "{told}");

    let (code, told) = explain(&["--cwd", "/work/sub", "--", "ls", "../x", "--", "-l"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("operand after `--`") && told.contains("allowed: nothing in rule set `ls`"),
        "{told}"
    );
    let (code, told) = explain(&["--", "cat", "-nv", "a"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("the operator refuses it") && told.contains("[programs.cat] deny_flags = []"),
        "{told}"
    );
    let (code, told) = explain(&["--for", "cmd", "--", "true", "--anything"]);
    assert_eq!(code, Some(0));
    assert!(told.contains("no rules hold for program `true`"), "{told}");

    // Not granted: refused, and still explained.
    let (code, told) = explain(&["--", "find", "--version"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("allowed: nothing in rule set `find`") && told.contains("--program find"),
        "{told}"
    );

    let (code, told) = explain(&["--json", "--", "ls", "/etc"]);
    assert_eq!(code, Some(1));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["refusal"]["rule"], "paths of ls: operands", "{told:#}");
    assert_eq!(
        (&told["allowed"], &told["granted"], &told["rules"]),
        (&false.into(), &true.into(), &"ls".into())
    );

    assert_eq!(explain(&["ls"]).0, Some(2), "without `--`");
    assert_eq!(explain(&["--for", "cdm", "--", "ls"]).0, Some(2), "a plugin that does not exist");
}

#[test]
fn config_check_warns_about_launchers_whatever_they_are_called() {
    let setup = commands("'sh', 'ls=/usr/bin/env', 'find', 'true'", "");
    let output = llmc(&setup, &["config", "check"], &[]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        told.contains("warning: cmd: program `sh`") && told.contains("is a shell: it runs any"),
        "{told}"
    );
    assert!(
        told.contains("warning: cmd: program `ls` (`/usr/bin/env`) is a program that starts others"),
        "{told}"
    );
    assert!(
        told.contains("note: cmd: program `find`") && told.contains("the rules `find` restrict"),
        "{told}"
    );
    assert!(!told.contains("program `true`"), "{told}");

    let setup = Setup::new(
        "[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = { run = { profile = 'workspace', programs = ['true'], env = ['GIT_SSH_COMMAND', 'LANG'] } }",
    );
    let told = text(&llmc(&setup, &["config", "check"], &[]).stdout);
    assert!(told.contains("warning: cmd: variable `GIT_SSH_COMMAND` may be set: git takes"), "{told}");
    assert!(!told.contains("`LANG`"), "{told}");

    let setup = commands("'find'", "[programs.find]\nrules = 'none'");
    let told = text(&llmc(&setup, &["config", "check"], &[]).stdout);
    assert!(told.contains("warning: cmd: program `find`"), "{told}");
    let setup = commands("'true'", "[programs.true]\nrules = 'gti'");
    let output = llmc(&setup, &["config", "check"], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("there is no rule set `gti`"), "{output:?}");
}

#[test]
fn config_check_says_who_may_do_what() {
    let output = Setup::new(FS).run("config", &["check"]);
    // `config check --config FILE`: the flag belongs to the subcommand.
    assert_eq!(output.status.code(), Some(2), "the flag before the subcommand is a usage error");
    let setup = Setup::new(FS);
    let file = setup.folder.path().join("llmc.toml");
    drop(setup.command("serve"));
    let output = std::process::Command::new(crate::support::stage().join("bin/llmc"))
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("fs: roots work"), "{output:?}");
}
