//! Invariant 5: no secret in any child's environment; a granted one arrives by name and is masked wherever it shows.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::observe::descendants;
use crate::prerequisites::{is_root, not_checked};
use crate::support::{Server, Setup};

/// What a developer's shell typically holds.
const KEYS: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "sk-proj-5f0d7c2b9a"),
    ("ANTHROPIC_API_KEY", "sk-ant-5f0d7c2b9a"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/5f0d7c2b9a"),
    ("GITHUB_TOKEN", "ghp_5f0d7c2b9a"),
    ("DATABASE_URL", "postgres://u:5f0d7c2b9a@127.0.0.1/db"),
    ("SSH_AUTH_SOCK", "/tmp/agent.5f0d7c2b9a"),
];

/// Part of every value above.
const MARK: &str = "5f0d7c2b9a";

/// Variables through which a parent steers its children.
const LEVERS: &[(&str, &str)] = &[
    ("LD_LIBRARY_PATH", "/nowhere/5f0d7c2b9a"),
    ("PYTHONSTARTUP", "/nowhere/5f0d7c2b9a.py"),
    ("PYTHONPATH", "/nowhere/5f0d7c2b9a"),
    ("BASH_ENV", "/nowhere/5f0d7c2b9a"),
    ("GIT_SSH_COMMAND", "5f0d7c2b9a"),
    ("NODE_OPTIONS", "--require=/nowhere/5f0d7c2b9a"),
];

fn with_keys(config: &str) -> Setup {
    KEYS.iter().chain(LEVERS).fold(Setup::new(config), |setup, (name, value)| setup.env(name, value))
}

/// Checks every process below the server, except payloads, which cannot be looked into while they run.
fn no_child_knows(server: &Server, at_least: usize) {
    if !is_root() {
        return not_checked("the environment of hosts and runner in /proc, because only root may read it");
    }
    let below = descendants(server.pid());
    assert!(below.len() >= at_least, "{below:?}");
    for process in below {
        // A process that has ended meanwhile knows nothing either.
        let Ok(environment) = std::fs::read(format!("/proc/{}/environ", process.pid)) else { continue };
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!environment.contains(MARK), "{process:?}: {environment:?}");
        if process.name.starts_with("llmc-") {
            assert_eq!(environment, "", "{process:?} starts with an empty environment");
        }
        let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains(MARK), "{process:?}");
    }
}

#[test]
fn hosts_start_with_an_empty_environment() {
    let mut server =
        with_keys("[plugins.stress]\nlibrary = '{stress}'\n[plugins.hello]\nlibrary = 'hello'").serve();
    no_child_knows(&server, 2);
    assert_eq!(server.call("stress_constructor_report", json!({})).ok()["environment"], json!([]));
    // A host that replaces another is no exception.
    server.call("stress_abort", json!({})).error();
    assert_eq!(server.call("stress_constructor_report", json!({})).ok()["environment"], json!([]));
    no_child_knows(&server, 2);
    if is_root() {
        let own = std::fs::read(format!("/proc/{}/environ", server.pid())).unwrap();
        assert!(String::from_utf8_lossy(&own).contains(MARK), "the server itself does have it");
    }
    server.stop();
}

#[test]
fn code_sees_an_environment_of_its_own() {
    let config = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    let mut server = with_keys(config).serve();
    let code = "import os, sys\n{'environ': dict(os.environ), 'argv': sys.argv, 'path': sys.path}";
    let done = server.call("execute_code", json!({"code": code})).ok().clone();
    let seen = done["result"].to_string();
    assert!(done["result"]["environ"].is_object() && !seen.contains(MARK), "{done:#}");
    for (name, _) in KEYS.iter().chain(LEVERS) {
        assert!(done["result"]["environ"].get(name).is_none(), "{name}: {done:#}");
    }
    no_child_knows(&server, 2);
    server.stop();
}

#[test]
fn a_command_sees_an_environment_of_its_own_and_what_it_was_granted() {
    let config = "[roots]\nwork = { path = '{work}' }\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
                  grants = { roots = ['work'], run = { profile = 'workspace', programs = ['env'], env = ['LC_ALL'] } }";
    let mut server = with_keys(config).serve();
    let called = server.call("run_command", json!({"argv": ["env"], "env": {"LC_ALL": "C"}}));
    let stdout = called.ok()["stdout"].as_str().unwrap().to_owned();
    assert!(!stdout.contains(MARK), "{stdout}");
    assert!(stdout.lines().any(|line| line == "LC_ALL=C"), "{stdout}");

    let text = server.call("run_command", json!({"argv": ["env"], "env": {"LD_PRELOAD": "/x"}})).error();
    assert!(text.contains("`LD_PRELOAD`"), "{text}");
    no_child_knows(&server, 2);
    server.stop();
}

/// Long enough to be a secret, with characters that JSON, URLs and base64 write differently.
const SECRET: &str = "pa\"ss+wo/rd?77 äé";

fn with_secret(more: &str) -> Server {
    let config = format!(
        "[secrets]\nTOKEN = {{ env = 'TOKEN_VARIABLE' }}\nOTHER = {{ env = 'TOKEN_VARIABLE' }}\n\
         [plugins.stress]\nlibrary = '{{stress}}'\ngrants = {{ secrets = ['TOKEN'], tools = ['hello'] }}\n\
         [plugins.hello]\nlibrary = 'hello'\n{more}"
    );
    Setup::new(&config).env("TOKEN_VARIABLE", SECRET).log_filter("trace").serve()
}

/// Forms in which a secret travels.
fn forms() -> Vec<String> {
    let json = Value::from(SECRET).to_string();
    let percent = SECRET.bytes().map(|byte| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    vec![
        SECRET.to_owned(),
        json.trim_matches('"').to_owned(),
        percent.collect(),
        STANDARD.encode(SECRET),
        URL_SAFE.encode(SECRET),
        STANDARD.encode(format!("user:{SECRET}")),
        STANDARD.encode(format!("\n{SECRET}, and more")),
    ]
}

/// No form of the secret, whole, is in the text; nor, for base64, the part that does not depend on its neighbours.
#[track_caller]
fn masked(text: &str) {
    let forms = forms();
    let inner = forms.iter().map(|form| form.trim_end_matches('=')).map(|form| match form.len() {
        // Base64 with something around it: the middle stands for the secret alone.
        32.. => &form[6..form.len() - 6],
        _ => form,
    });
    for form in inner {
        assert!(!text.contains(form), "{form:?} is in: {}", text.chars().take(3000).collect::<String>());
    }
}

#[test]
fn a_granted_secret_arrives_and_is_masked_in_result_and_log() {
    let mut server = with_secret("");
    let called = server.call("stress_secret", json!({"name": "TOKEN"}));
    // The mask shows that the value was there.
    assert!(called.ok()["text"].as_str().unwrap().starts_with("the secret is [secret "), "{called:?}");
    masked(&called.0.to_string());
    let log = server.log_until("the secret is [secret ");
    masked(&log);
    server.stop();
}

#[test]
fn a_secret_is_masked_in_every_form_in_results() {
    let mut server = with_secret("");
    for form in forms() {
        let called = server.call("hello", json!({"name": form}));
        let text = called.ok()["text"].as_str().unwrap().to_owned();
        assert!(text.contains("[secret "), "{form:?}: {text}");
        masked(&text);
        masked(&called.text());
        // The same through a plugin that calls a plugin.
        let arguments = json!({"tool": "hello", "arguments": {"name": form}});
        let called = server.call("stress_nested", arguments);
        called.ok();
        masked(&called.0.to_string());
    }
    server.stop();
}

#[test]
fn a_secret_is_masked_in_errors_and_in_the_audit() {
    let mut server = with_secret("[audit]\npath = 'audit.jsonl'\ndurability = 'call'");
    let errors = [
        server.call(SECRET, json!({})).0,
        server.call("hello", json!({"name": "Ada", SECRET: 1})).0,
        server.call("stress_nested", json!({"tool": SECRET})).0,
        server.call("stress_nested", json!({"tool": "hello", "arguments": {SECRET: 1}})).0,
        server.call("stress_secret", json!({"name": SECRET})).0,
    ];
    for error in errors {
        assert!(error["error"].is_object() || error["result"]["isError"] == true, "{error}");
        masked(&error.to_string());
    }
    masked(&std::fs::read_to_string(server.setup.folder.path().join("audit.jsonl")).unwrap());
    server.stop();
}

#[test]
fn arguments_stay_out_of_the_log_at_every_level() {
    let mut server = with_secret(crate::support::canary::NO_AUDIT);
    server.call("hello", json!({"name": SECRET})).ok();
    server.call("hello", json!({"name": "a-diary-entry"})).ok();
    server.log_until("outcome=\"ok\"");
    let log = server.log();
    masked(&log);
    assert!(!log.contains("a-diary-entry"), "arguments and results are nobody's business: {log}");
    server.stop();
}

#[test]
fn a_secret_that_is_not_granted_does_not_arrive() {
    let mut server = with_secret("");
    let text = server.call("stress_secret", json!({"name": "OTHER"})).error();
    assert!(text.contains("plugin `stress` is not granted secret `OTHER`"), "{text}");
    let missing = server.call("stress_secret", json!({"name": "NO_SUCH"})).error();
    assert_eq!(missing.replace("NO_SUCH", "OTHER"), text, "a refusal does not tell which secrets there are");
    server.stop();
}

#[test]
fn no_command_prints_a_secret() {
    let setup =
        Setup::new("[secrets]\nTOKEN = { env = 'TOKEN_VARIABLE' }\n[plugins.hello]\nlibrary = 'hello'")
            .env("TOKEN_VARIABLE", SECRET);
    let command = setup.command("tools");
    let file = setup.folder.path().join("llmc.toml");
    for arguments in
        [vec!["config", "show"], vec!["config", "check"], vec!["tools"], vec!["doctor", "--json"]]
    {
        let mut other = std::process::Command::new(command.get_program());
        other.args(&arguments).arg("--config").arg(&file).env("TOKEN_VARIABLE", SECRET);
        let output = other.output().unwrap();
        masked(&String::from_utf8_lossy(&output.stdout));
        masked(&String::from_utf8_lossy(&output.stderr));
    }
}
