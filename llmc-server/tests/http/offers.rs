//! Resources and prompts over HTTP, as far as a token goes.

use serde_json::{Value, json};

use crate::client::{Http, configured, create_token, message};

fn send(http: &Http, method: &str, params: Value) -> Value {
    http.raw(http.request(&message(method, params), "MCP-Protocol-Version: 2025-11-25\r\n")).unwrap().json()
}

fn uris(http: &Http) -> Vec<String> {
    let list = send(http, "resources/list", json!({}));
    let resources = list["result"]["resources"].as_array().unwrap_or_else(|| panic!("{list}"));
    resources.iter().map(|resource| resource["uri"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_token_opens_files_as_its_tools_do() {
    let setup = configured("tokens = 'tokens.json'", "[plugins.fixtures]\nlibrary = '{fixtures}'\n");
    let all = create_token(&setup, &["all"]);
    let reads = create_token(&setup, &["reads", "--tools", "read_file"]);
    let lists = create_token(&setup, &["lists", "--tools", "list_dir"]);
    let http = Http { token: Some(all), ..Http::start(setup) };
    let file = json!({"uri": "root://work/a.txt"});
    assert!(uris(&http).contains(&"root://work/a.txt".to_owned()));
    let read = send(&http, "resources/read", file.clone());
    assert_eq!(read["result"]["contents"][0]["text"], "first\nsecond\n", "{read}");
    let static_text = json!({"uri": "test://static-text"});
    assert!(send(&http, "resources/read", static_text.clone())["result"]["contents"].is_array());
    assert!(
        send(&http, "prompts/get", json!({"name": "test_simple_prompt"}))["result"]["messages"].is_array()
    );

    let http = Http { token: Some(reads), ..http };
    assert_eq!(
        send(&http, "resources/read", file.clone())["result"]["contents"][0]["mimeType"],
        "text/plain"
    );
    assert_eq!(uris(&http), [""; 0], "names are what `list_dir` shows");
    // What belongs to no tool of the token does not exist for it.
    assert_eq!(send(&http, "resources/read", static_text)["error"]["code"], -32002);
    assert_eq!(send(&http, "prompts/list", json!({}))["result"]["prompts"], json!([]));
    assert!(send(&http, "prompts/get", json!({"name": "test_simple_prompt"}))["error"].is_object());

    let http = Http { token: Some(lists), ..http };
    let refused = send(&http, "resources/read", file);
    assert_eq!(refused["error"]["code"], -32002, "{refused}");
    assert_eq!(uris(&http), [""; 0], "what cannot be read need not be named");
    http.server.stop();
}
