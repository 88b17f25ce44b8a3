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
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("must be a JSON object"), "{}", text(&output.stderr));
    let output = setup.run("call", &["--no-such-flag"]);
    assert_eq!(output.status.code(), Some(2));
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
