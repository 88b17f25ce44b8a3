//! What a plugin can say besides text: media, log lines, prompts, resources, completion. Over stdio.

use serde_json::{Value, json};

use crate::support::{Server, Setup};

fn server() -> Server {
    let text = "[roots]\nwork = { path = '{work}' }\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n\
         [plugins.fixtures]\nlibrary = '{fixtures}'";
    Setup::new(text).file("a b.txt", "first\nsecond\n").file("dir/c.txt", "third").serve()
}

fn read(server: &mut Server, uri: &str) -> Value {
    server.request("resources/read", json!({"uri": uri}))
}

#[test]
fn files_are_resources() {
    let mut server = server();
    let list = server.request("resources/list", json!({}));
    let resources = list["result"]["resources"].as_array().unwrap();
    assert!(resources.iter().any(|resource| resource["uri"] == "root://work/a%20b.txt"), "{list}");
    assert_eq!(
        read(&mut server, "root://work/a%20b.txt")["result"]["contents"][0]["text"],
        "first\nsecond\n"
    );
    assert_eq!(read(&mut server, "root://work/dir/c.txt")["result"]["contents"][0]["text"], "third");
    for uri in [
        "root://work/../../etc/passwd",
        "root://work/%2e%2e/%2e%2e/etc/passwd",
        "root://work//etc/passwd",
        "root://other/a",
        "root://work/",
        "root://work/dir",
        "file:///etc/passwd",
        "root://work/a%00b",
        "",
    ] {
        let refused = read(&mut server, uri);
        assert!(refused["error"].is_object() && !refused.to_string().contains("root:x:"), "{uri}: {refused}");
    }
    let templates = server.request("resources/templates/list", json!({}));
    let templates = templates["result"]["resourceTemplates"].as_array().unwrap();
    assert!(templates.iter().any(|template| template["uriTemplate"] == "root://{root}/{+path}"));
    // Nobody is told of changes of files, so nobody can ask to be.
    let subscribed = server.request("resources/subscribe", json!({"uri": "root://work/a%20b.txt"}));
    assert_eq!(subscribed["error"]["code"], -32602, "{subscribed}");
    let fixed = server.request("resources/subscribe", json!({"uri": "test://watched-resource"}));
    assert_eq!(fixed["result"], json!({}), "{fixed}");
    server.stop();
}

#[test]
fn prompts_are_listed_and_filled_in() {
    let mut server = server();
    let list = server.request("prompts/list", json!({}));
    let prompts = list["result"]["prompts"].as_array().unwrap();
    let of = |name: &str| prompts.iter().find(|prompt| prompt["name"] == name).unwrap();
    let arguments = &of("test_prompt_with_arguments")["arguments"];
    assert_eq!((&arguments[0]["name"], &arguments[0]["required"]), (&json!("arg1"), &json!(true)), "{list}");
    assert_eq!(arguments[1]["required"], json!(false));
    let params = json!({"name": "test_prompt_with_arguments", "arguments": {"arg1": "a"}});
    let got = server.request("prompts/get", params);
    assert!(got["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("arg1='a'"), "{got}");
    for params in [
        json!({"name": "test_prompt_with_arguments"}),
        json!({"name": "test_prompt_with_arguments", "arguments": {"arg1": "a", "more": "b"}}),
        json!({"name": "greet", "arguments": {}}),
        json!({"name": "none"}),
    ] {
        assert_eq!(server.request("prompts/get", params.clone())["error"]["code"], -32602, "{params}");
    }
    // A prompt is no tool.
    assert_eq!(server.call("test_simple_prompt", json!({})).0["error"]["code"], -32602);

    let complete = |server: &mut Server, reference: Value, name: &str| {
        let argument = json!({"name": name, "value": "par"});
        server.request("completion/complete", json!({"ref": reference, "argument": argument}))
    };
    let prompt = json!({"type": "ref/prompt", "name": "test_prompt_with_arguments"});
    let completed = complete(&mut server, prompt.clone(), "arg1");
    assert_eq!(completed["result"]["completion"]["values"], json!(["paris", "park", "party"]), "{completed}");
    assert_eq!(complete(&mut server, prompt, "none")["error"]["code"], -32602);
    let template = json!({"type": "ref/resource", "uri": "test://none/{x}"});
    assert_eq!(complete(&mut server, template, "x")["error"]["code"], -32602);
    server.stop();
}

#[test]
fn media_and_log_lines_arrive() {
    let mut server = server();
    let mixed = server.call("test_multiple_content_types", json!({})).0;
    let kinds: Vec<&Value> =
        mixed["result"]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["text", "image", "resource"]);

    // Only who asks for log lines gets them.
    server.call("test_tool_with_logging", json!({}));
    let logs = |server: &Server| {
        server.notifications.iter().filter(|message| message["method"] == "notifications/message").count()
    };
    assert_eq!(logs(&server), 0);
    assert_eq!(server.request("logging/setLevel", json!({"level": "info"}))["result"], json!({}));
    server.call("test_tool_with_logging", json!({}));
    assert_eq!(logs(&server), 3);
    assert_eq!(server.request("logging/setLevel", json!({"level": "error"}))["result"], json!({}));
    server.call("test_tool_with_logging", json!({}));
    assert_eq!(logs(&server), 3, "these lines matter less");
    server.stop();
}

#[test]
fn a_server_without_prompts_and_resources_offers_none() {
    let mut server = Setup::new("[plugins.hello]\nlibrary = 'hello'").serve_raw();
    let answer = server.initialize("2025-11-25");
    let capabilities = &answer["result"]["capabilities"];
    assert!(capabilities["tools"].is_object() && capabilities.get("prompts").is_none(), "{answer}");
    assert!(capabilities.get("resources").is_none() && capabilities.get("completions").is_none(), "{answer}");
    server.stop();
}
