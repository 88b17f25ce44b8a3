//! Everything that can be tried with a path: each tool, and both ends of those that have two.

use std::collections::BTreeSet;

use serde_json::json;

use crate::ground::{Call, Ground};

/// A file of the root that is moved and copied to places outside. It must be there.
pub(crate) const BAIT: &str = "bait.txt";
/// A name in the root that is free: where loot would go.
pub(crate) const LOOT: &str = "loot";

/// Calls that only look.
pub(crate) fn looks(path: &str) -> Vec<Call> {
    vec![
        ("read_file", json!({"path": path})),
        ("read_file", json!({"path": path, "encoding": "base64"})),
        ("read_file", json!({"path": path, "tail_lines": 3})),
        ("read_files", json!({"paths": [path]})),
        ("list_dir", json!({"path": path, "hidden": true, "with_sizes": true})),
        ("tree", json!({"path": path, "hidden": true, "ignored": true})),
        ("stat", json!({"path": path})),
        ("find_files", json!({"path": path, "hidden": true, "newest_first": true})),
        ("search_files", json!({"path": path, "pattern": ".", "hidden": true, "context": 2})),
        ("copy_path", json!({"from": path, "to": LOOT})),
    ]
}

/// Calls that change what is at the path.
pub(crate) fn changes(path: &str) -> Vec<Call> {
    vec![
        ("write_file", json!({"path": path, "content": "planted"})),
        ("write_file", json!({"path": path, "content": "planted", "overwrite": true})),
        ("append_file", json!({"path": path, "content": "planted"})),
        ("edit_file", json!({"path": path, "edits": [{"old": "honest", "new": "planted"}]})),
        ("create_dir", json!({"path": path})),
        ("move_path", json!({"from": path, "to": LOOT})),
        ("move_path", json!({"from": BAIT, "to": path})),
        ("move_path", json!({"from": BAIT, "to": path, "overwrite": true})),
        ("copy_path", json!({"from": BAIT, "to": path})),
        ("delete_path", json!({"path": path})),
        ("delete_path", json!({"path": path, "recursive": true})),
    ]
}

/// All of them.
pub(crate) fn all(path: &str) -> Vec<Call> {
    [looks(path), changes(path)].concat()
}

/// A tool that is added must be attacked too.
#[test]
fn every_tool_is_attempted() {
    let mut ground = Ground::new();
    let list = ground.server.request("tools/list", json!({}));
    let offered = list["result"]["tools"].as_array().unwrap();
    // The server's own tool takes no path.
    let offered = || offered.iter().filter(|tool| tool["name"] != "read_more");
    let names: BTreeSet<&str> = offered().map(|tool| tool["name"].as_str().unwrap()).collect();
    let attempted: BTreeSet<&str> = all("x").into_iter().map(|(tool, _)| tool).collect();
    assert_eq!(attempted, names);
    let read_only: BTreeSet<&str> = looks("x").into_iter().map(|(tool, _)| tool).collect();
    for tool in offered() {
        let name = tool["name"].as_str().unwrap();
        // `copy_path` only reads what it copies.
        let looks_only = read_only.contains(name) && name != "copy_path";
        assert_eq!(tool["annotations"]["readOnlyHint"], looks_only, "{name}");
    }
    ground.end();
}
