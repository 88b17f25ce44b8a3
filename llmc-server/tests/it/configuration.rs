//! A configuration that cannot be used stops the start, with the reason and a non-zero exit code.

use crate::support::Setup;

fn refusal(text: &str) -> (Option<i32>, String) {
    let output = Setup::new(text).run("serve", &[]);
    assert!(output.stdout.is_empty(), "nothing is said before the start succeeds");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn unknown_keys_are_named_with_the_nearest_valid_one() {
    let (code, text) = refusal("[policy]\nread_onyl = true");
    assert_eq!(code, Some(2));
    assert!(text.contains("read_onyl") && text.contains("did you mean `read_only`?"), "{text}");
}

#[test]
fn a_missing_root_stops_the_start() {
    let (code, text) = refusal("[roots]\nwork = { path = '/no/such/folder' }");
    assert_eq!(code, Some(1));
    assert!(text.contains("root `work`") && text.contains("/no/such/folder"), "{text}");
}

#[test]
fn a_plugin_that_is_not_installed_is_named_with_those_that_are() {
    let (code, text) = refusal("[plugins.x]\nlibrary = 'nothing_like_this'");
    assert_eq!(code, Some(1));
    assert!(text.contains("nothing_like_this") && text.contains("llmc_tools_fs"), "{text}");
}

#[test]
fn another_digest_stops_the_start() {
    let (code, text) = refusal(&format!("[plugins.hello]\nlibrary = 'hello'\nsha256 = '{}'", "0".repeat(64)));
    assert_eq!(code, Some(1));
    assert!(text.contains("has SHA-256") && text.contains("the configuration expects 0000"), "{text}");
}

#[test]
fn two_tools_of_one_name_need_a_prefix() {
    let two = "[plugins.a]\nlibrary = 'hello'\n[plugins.b]\nlibrary = 'hello'\n";
    let (code, text) = refusal(two);
    assert_eq!(code, Some(1));
    assert!(text.contains("tool `hello`") && text.contains("`prefix`"), "{text}");

    let mut server = Setup::new(&format!("{two}prefix = 'other'")).serve();
    let list = server.request("tools/list", serde_json::json!({}));
    let names: Vec<_> =
        list["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["hello", "other_hello", "read_more"]);
    server.stop();
}

#[test]
fn a_configuration_in_the_working_directory_is_not_trusted() {
    // The command runs in a folder whose `llmc.toml` grants everything; without --config it must not count.
    let setup = Setup::new(
        "[roots]\nwork = { path = '/' }\n[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }",
    );
    drop(setup.command("serve"));
    let output = std::process::Command::new(crate::support::stage().join("bin/llmc"))
        .args(["call", "read_file", r#"{"path": "/etc/hostname"}"#])
        .env_clear()
        .env("HOME", setup.folder.path())
        .current_dir(setup.folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn a_restriction_of_a_tool_that_does_not_exist_stops_the_start() {
    for rule in ["[policy]\ndeny = ['helo']", "[server]\nmode = ['helo']"] {
        let (code, text) = refusal(&format!("{rule}\n[plugins.hello]\nlibrary = 'hello'"));
        assert_eq!(code, Some(1));
        assert!(text.contains("there is no tool `helo`; did you mean `hello`?"), "{text}");
    }
}

#[test]
fn a_plugin_s_own_configuration_is_checked_at_the_start() {
    let (code, text) = refusal("[plugins.stress]\nlibrary = '{stress}'\nconfig = { no_such_setting = 1 }");
    assert_eq!(code, Some(1));
    assert!(text.contains("plugin `stress`") && text.contains("no_such_setting"), "{text}");
}

#[test]
fn the_schema_of_the_configuration_is_printed() {
    let output = std::process::Command::new(crate::support::stage().join("bin/llmc"))
        .args(["config", "schema"])
        .output()
        .unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["roots"].is_object() && schema["additionalProperties"] == false, "{schema}");
}
