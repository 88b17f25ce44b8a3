//! Honest work beside an attack: calls of `hello`, each with an answer of its own.

use std::time::Duration;

use serde_json::json;

use crate::support::{Called, Server};

/// Calls of `hello` before, between and after an attack.
const BATCH: usize = 20;

/// Pause between calls: without one, a client and a server that wake each other starve everything else.
pub(crate) const PACE: Duration = Duration::from_millis(20);

/// The plugin that misbehaves and the one that must not notice.
pub(crate) fn config(more: &str) -> String {
    format!("{more}\n[plugins.stress]\nlibrary = '{{stress}}'\n[plugins.hello]\nlibrary = 'hello'")
}

/// Makes a call while `hello` is called all the time, and returns its answer and the calls of `hello`.
pub(crate) fn call_beside_hello(
    server: &mut Server,
    tool: &str,
    arguments: serde_json::Value,
) -> (Called, usize) {
    let before = send_hellos(server, "before");
    let attack = server.send_call(tool, arguments);
    let during = send_hellos(server, "during");
    check_hellos(server, "before", &before);
    let mut count = before.len() + during.len();
    while !server.is_answered_within(attack, PACE) {
        hello(server);
        count += 1;
    }
    check_hellos(server, "during", &during);
    let called = server.called(attack);
    let after = send_hellos(server, "after");
    check_hellos(server, "after", &after);
    (called, count + after.len())
}

/// One call of `hello`, answered correctly.
#[track_caller]
pub(crate) fn hello(server: &mut Server) {
    assert_eq!(server.call("hello", json!({"name": "neighbour"})).ok()["text"], "Hello, neighbour!");
}

fn send_hellos(server: &mut Server, when: &str) -> Vec<u64> {
    (0..BATCH).map(|n| server.send_call("hello", json!({"name": format!("{when} {n}")}))).collect()
}

#[track_caller]
fn check_hellos(server: &mut Server, when: &str, ids: &[u64]) {
    for (n, &id) in ids.iter().enumerate() {
        assert_eq!(server.called(id).ok()["text"], format!("Hello, {when} {n}!"));
    }
}
