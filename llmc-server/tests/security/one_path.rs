//! Invariant 3: one path for every call. Whoever calls, the same rules refuse with the same words, and the audit
//! knows who it was.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, Setup};

/// A way to call a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A client's call.
    Direct,
    /// A plugin's call.
    Nested,
    /// A call from running code.
    Code,
    /// `llmc call`.
    CommandLine,
}

/// A refusal as the caller saw it and as the audit has it.
#[derive(Debug)]
struct Refusal {
    text: String,
    record: Value,
    /// The record of the call that made it, if one did.
    above: Option<Value>,
}

/// Everything that a way needs; `rules` come first. Only code needs the runner.
fn config(way: Way, rules: &str, granted: &[&str]) -> String {
    let exec = format!(
        "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = {{ run = {{ profile = 'code' }}, tools = {granted:?} }}"
    );
    format!(
        "{rules}\n[audit]\npath = 'audit.jsonl'\ndurability = 'call'\n[plugins.hello]\nlibrary = 'hello'\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         [plugins.stress]\nlibrary = '{{stress}}'\ngrants = {{ tools = {granted:?} }}\n{}",
        if way == Way::Code { &exec } else { "" }
    )
}

/// Calls `tool` this way and expects a refusal.
#[track_caller]
fn refused(way: Way, rules: &str, granted: &[&str], tool: &str, arguments: &Value) -> Refusal {
    let setup = Setup::new(&config(way, rules, granted));
    let over_mcp = |call: fn(&mut Server, &str, &Value) -> String, setup: Setup| {
        let mut server = setup.serve();
        let text = call(&mut server, tool, arguments);
        let records = server.setup.calls();
        server.stop();
        (text, records)
    };
    let (text, records) = match way {
        Way::Direct => over_mcp(direct, setup),
        Way::Nested => over_mcp(nested, setup),
        Way::Code => over_mcp(from_code, setup),
        Way::CommandLine => {
            let output = setup.run("call", &[tool, &arguments.to_string()]);
            (command_line_refusal(&output), setup.calls())
        }
    };
    let of_tool: Vec<&Value> = records.iter().filter(|record| record["tool"] == tool).collect();
    assert_eq!(of_tool.len(), 1, "one record for the refused call: {records:#?}");
    let record = of_tool[0].clone();
    let above = records.iter().find(|other| !record["parent"].is_null() && other["call"] == record["parent"]);
    assert_eq!(above.is_some(), matches!(way, Way::Nested | Way::Code), "{records:#?}");
    Refusal { text, record, above: above.cloned() }
}

fn command_line_refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line =
        stderr.lines().find_map(|line| line.strip_prefix("llmc: ")).unwrap_or_else(|| panic!("{stderr}"));
    // The kind stands behind the sentence.
    line.rsplit_once(" [").unwrap().0.to_owned()
}

fn direct(server: &mut Server, tool: &str, arguments: &Value) -> String {
    let called = server.call(tool, arguments.clone());
    match called.0["error"]["message"].as_str() {
        Some(message) => message.to_owned(),
        None => called.error(),
    }
}

fn nested(server: &mut Server, tool: &str, arguments: &Value) -> String {
    server.call("stress_nested", json!({"tool": tool, "arguments": arguments})).error()
}

fn from_code(server: &mut Server, tool: &str, arguments: &Value) -> String {
    let code = format!(
        "import json\nimport llmc\nfrom llmc import tools\ntry:\n    getattr(tools, {tool:?})(**json.loads({:?}))\n\
         except llmc.ToolError as error:\n    result = str(error)",
        arguments.to_string()
    );
    let done = server.call("execute_code", json!({"code": code})).ok().clone();
    let result = done["result"].as_str();
    result.unwrap_or_else(|| panic!("the call was not refused: {done:#}")).to_owned()
}

/// The refusal is the same on all four ways: words, kind, and who is said to have called.
#[track_caller]
fn same_everywhere(rules: &str, granted: &[&str], tool: &str, arguments: &Value, outcome: &str, part: &str) {
    let ways = [
        (Way::Direct, "client", None),
        (Way::Nested, "plugin stress", Some("stress_nested")),
        (Way::CommandLine, "command line", None),
        (Way::Code, "plugin exec", Some("execute_code")),
    ];
    let mut texts = Vec::new();
    for (way, caller, above) in ways {
        let refusal = refused(way, rules, granted, tool, arguments);
        assert_eq!(refusal.record["outcome"], outcome, "{way:?}: {refusal:?}");
        assert_eq!(refusal.record["caller"], caller, "{way:?}: {refusal:?}");
        let tool_above = refusal.above.as_ref().map(|record| record["tool"].as_str().unwrap());
        assert_eq!(tool_above, above, "{way:?}: {refusal:?}");
        assert!(refusal.text.contains(part), "{way:?}: {}", refusal.text);
        assert_eq!(refusal.record["reason"], refusal.text, "{way:?}: the audit has the words of the refusal");
        texts.push(refusal.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "the words differ: {texts:#?}");
}

#[test]
fn a_denied_tool_is_denied_to_everyone() {
    let rules = "[policy]\ndeny = ['hello']";
    same_everywhere(rules, &["hello"], "hello", &json!({"name": "Ada"}), "denied", "policy.deny");
}

#[test]
fn wrong_arguments_are_refused_to_everyone() {
    let arguments = json!({"name": 5, "more": 1});
    same_everywhere("", &["hello"], "hello", &arguments, "invalid_arguments", "`/name`");
}

#[test]
fn a_tool_that_does_not_exist_exists_for_nobody() {
    let part = "there is no tool `zzzzzzzzzzzz`";
    same_everywhere("", &["zzzzzzzzzzzz"], "zzzzzzzzzzzz", &json!({}), "unknown_tool", part);
}

#[test]
fn a_tool_that_may_change_something_is_refused_to_everyone_under_read_only_policy() {
    // Not from code: `execute_code` is such a tool itself.
    let arguments = json!({"argv": ["true"]});
    let mut texts = Vec::new();
    for way in [Way::Direct, Way::Nested, Way::CommandLine] {
        let refusal = refused(way, "[policy]\nread_only = true", &["run_command"], "run_command", &arguments);
        assert_eq!(refusal.record["outcome"], "denied", "{refusal:?}");
        texts.push(refusal.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    assert!(texts[0].contains("policy.read_only"), "{texts:?}");
}

#[test]
fn a_tool_that_is_not_granted_is_refused_to_plugins_and_code() {
    for (way, plugin) in [(Way::Nested, "stress"), (Way::Code, "exec")] {
        let refusal = refused(way, "", &[], "hello", &json!({"name": "Ada"}));
        assert_eq!(refusal.record["outcome"], "denied", "{refusal:?}");
        assert_eq!(refusal.record["caller"], format!("plugin {plugin}"));
        let expected = format!("plugin `{plugin}` is not granted tool `hello`");
        assert!(refusal.text.contains(&expected), "{}", refusal.text);
    }
}

#[test]
fn a_tool_that_is_not_offered_to_clients_is_refused_to_them_and_not_to_others() {
    let rules = "[server]\nmode = ['stress_nested']";
    let refusal = refused(Way::Direct, rules, &["hello"], "hello", &json!({"name": "Ada"}));
    assert!(refusal.text.contains("server.mode"), "{}", refusal.text);

    let mut server = Setup::new(&config(Way::Nested, rules, &["hello"])).serve();
    let arguments = json!({"tool": "hello", "arguments": {"name": "Ada"}});
    assert!(server.call("stress_nested", arguments).text().contains("Hello, Ada!"));
    server.stop();
}

#[test]
fn an_allowed_call_is_made_on_every_way() {
    let setup = Setup::new(&config(Way::CommandLine, "", &["hello"]));
    let output = setup.run("call", &["hello", r#"{"name": "Ada"}"#]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, Ada!\n");

    let mut server = Setup::new(&config(Way::Nested, "", &["hello"])).serve();
    assert_eq!(server.call("hello", json!({"name": "Ada"})).text(), "Hello, Ada!");
    let arguments = json!({"tool": "hello", "arguments": {"name": "Ada"}});
    assert!(server.call("stress_nested", arguments).text().contains("Hello, Ada!"));
    server.stop();

    let mut server = Setup::new(&config(Way::Code, "", &["hello"])).serve();
    let code = "from llmc import tools\ntools.hello(name='Ada')['text']";
    assert_eq!(server.call("execute_code", json!({"code": code})).ok()["result"], "Hello, Ada!");
    server.stop();
}
