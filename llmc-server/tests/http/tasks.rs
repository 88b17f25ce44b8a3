//! Calls that go on as tasks: whose they are, and how they end.

use serde_json::{Value, json};

use crate::client::{Http, Reply, configured, create_token, message};
use crate::support::eventually;
use crate::support::modern::with_meta;

fn capabilities() -> Value {
    json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}})
}

fn server(rest: &str) -> Http {
    let fixtures = "[plugins.fixtures]\nlibrary = '{fixtures}'\n";
    let setup = configured("tokens = 'tokens.json'", &format!("{rest}{fixtures}"));
    let token = create_token(&setup, &["good"]);
    Http { token: Some(token), ..Http::start(setup) }
}

fn send(http: &Http, method: &str, name: &str, params: Value) -> Reply {
    let headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\nMcp-Name: {name}\r\n");
    http.raw(http.request(&message(method, with_meta(params, &capabilities())), &headers)).unwrap()
}

fn call(http: &Http, tool: &str, arguments: Value) -> Value {
    send(http, "tools/call", tool, json!({"name": tool, "arguments": arguments})).json()["result"].clone()
}

fn get(http: &Http, task: &str) -> Value {
    send(http, "tasks/get", task, json!({"taskId": task})).json()
}

#[track_caller]
fn task(created: &Value) -> String {
    assert_eq!(created["resultType"], "task", "{created}");
    created["taskId"].as_str().unwrap().to_owned()
}

#[test]
fn a_long_call_is_a_task_of_its_client_alone() {
    let http = server("");
    let task = task(&call(&http, "slow_compute", json!({"seconds": 0.2, "label": "x"})));
    let other = create_token(&http.server.setup, &["other"]);
    let good = http.token.clone();
    let http = Http { token: Some(other), ..http };
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let params = |task: &str| json!({"taskId": task, "inputResponses": {}});
        let theirs = send(&http, method, &task, params(&task)).json()["error"].clone();
        let guessed = "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b";
        let none = send(&http, method, guessed, params(guessed)).json()["error"].clone();
        assert_eq!(theirs["code"], -32602, "{theirs}");
        assert_eq!(theirs, none, "nobody learns that there is such a task");
    }
    let http = Http { token: good, ..http };
    eventually("the task is done", || get(&http, &task)["result"]["status"] == "completed");
    let done = get(&http, &task);
    assert!(
        done["result"]["result"]["content"][0]["text"].as_str().unwrap().contains("slow_compute(x)"),
        "{done}"
    );
    http.works();
    http.server.stop();
}

#[test]
fn a_task_is_cancelled_and_asks() {
    let http = server("");
    let slow = task(&call(&http, "slow_compute", json!({"seconds": 600})));
    assert_eq!(get(&http, &slow)["result"]["status"], "working");
    let acknowledged = send(&http, "tasks/cancel", &slow, json!({"taskId": slow})).json();
    assert_eq!(acknowledged["result"]["resultType"], "complete", "{acknowledged}");
    eventually("it is cancelled", || get(&http, &slow)["result"]["status"] == "cancelled");

    let asks = task(&call(&http, "confirm_delete", json!({"filename": "x"})));
    eventually("it asks", || get(&http, &asks)["result"]["status"] == "input_required");
    let asked = get(&http, &asks);
    assert_eq!(asked["result"]["inputRequests"]["confirm"]["method"], "elicitation/create", "{asked}");
    let answer =
        json!({"confirm": {"action": "accept", "content": {"confirm": true}}, "other": {}, "third": 5});
    send(&http, "tasks/update", &asks, json!({"taskId": asks, "inputResponses": answer}));
    eventually("it is done", || get(&http, &asks)["result"]["status"] == "completed");
    assert!(
        get(&http, &asks)["result"]["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .ends_with("confirmed = true")
    );
    http.server.stop();
}

#[test]
fn any_call_becomes_a_task_when_it_takes_long_and_none_before() {
    let http = server("[limits]\ntask_after_ms = 300\n");
    let greeted = call(&http, "greet", json!({"name": "Ada"}));
    assert_eq!(greeted["content"][0]["text"], "Hello, Ada!", "{greeted}");
    let slept = task(&call(&http, "stress_sleep", json!({"ms": 60_000})));
    let cancelled = send(&http, "tasks/cancel", &slept, json!({"taskId": slept}));
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    eventually("it is cancelled", || get(&http, &slept)["result"]["status"] == "cancelled");

    // Who does not offer to wait for tasks waits for the result.
    let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: slow_compute\r\n";
    let params = json!({"name": "slow_compute", "arguments": {"seconds": 0.4}});
    let waited =
        http.raw(http.request(&message("tools/call", with_meta(params, &json!({}))), headers)).unwrap();
    assert!(waited.text().contains("done after"), "{waited:?}");
    let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tasks/get\r\nMcp-Name: x\r\n";
    let get = message("tasks/get", with_meta(json!({"taskId": "x"}), &json!({})));
    let lacking = http.raw(http.request(&get, headers)).unwrap();
    assert_eq!((lacking.status, &lacking.json()["error"]["code"]), (400, &json!(-32021)), "{lacking:?}");
    http.server.stop();
}

#[test]
fn a_client_has_so_many_tasks_and_no_more() {
    let http = server("");
    // Those that have ended count, too, as long as they are kept.
    for _ in 0..64 {
        task(&call(&http, "slow_compute", json!({"seconds": 0})));
    }
    let beyond = call(&http, "slow_compute", json!({"seconds": 0}));
    assert!(beyond["content"].is_array(), "no task, and served all the same: {beyond}");
    let other = create_token(&http.server.setup, &["other"]);
    let http = Http { token: Some(other), ..http };
    task(&call(&http, "slow_compute", json!({"seconds": 0})));
    http.server.stop();
}
