//! The plugin `search`, as a client sees it: jailed, with an index in its state folder and nothing beside it.

use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{PATIENCE, Server, Setup};
use crate::without::{user_namespaces, without};

const CONFIG: &str = "\
    [server]\nstate = 'state'\n\
    [roots]\nwork = { path = '{work}' }\n\
    [plugins.search]\nlibrary = 'search'\ngrants = { roots = ['work'], state = true }\n";

fn setup(text: &str) -> Setup {
    Setup::new(text)
        .file("src/price.rs", "/// Sums up prices.\npub fn total_price() -> u64 {\n    add_tax(1)\n}\n")
        .file("src/cart.rs", "fn sum() -> u64 {\n    total_price()\n}\n")
}

fn best(server: &mut Server, query: &str) -> String {
    let answer = server.call("search_code", json!({"query": query})).ok().clone();
    assert_eq!(answer["source"], "index", "{answer}");
    answer["results"][0]["path"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn all_tools_answer_in_a_jail() {
    let mut server = setup(CONFIG).serve();
    assert_eq!(best(&mut server, "total price"), "work:src/price.rs");
    let uses = server.call("where_used", json!({"name": "total_price"})).ok().clone();
    assert_eq!(
        (&uses["definitions"][0]["line"], &uses["uses"][0]["path"]),
        (&json!(2), &json!("work:src/cart.rs"))
    );
    let lineage = server.call("symbol_lineage", json!({"name": "total_price"})).ok().clone();
    assert_eq!(
        (&lineage["callers"][0]["name"], &lineage["callees"][0]["name"]),
        (&json!("sum"), &json!("add_tax"))
    );
    let inspected = server.call("inspect", json!({"target": "total_price"})).ok().clone();
    assert!(inspected["summary"].as_str().unwrap().contains("work:src/price.rs:2-4"), "{inspected}");
    assert_eq!(server.call("index_status", json!({})).ok()["files"], 2);
    // What is new is found, and what is odd is answered.
    std::fs::write(server.setup.work("src/tea.rs"), "fn brew_oolong() {}\n").unwrap();
    server.call("reindex", json!({})).ok();
    assert_eq!(best(&mut server, "brew_oolong"), "work:src/tea.rs");
    for query in ["NEAR(", "\"", "* OR", "'; DROP TABLE files; --"] {
        server.call("search_code", json!({"query": query})).ok();
    }
    // What lies outside is not found, by whatever path.
    std::fs::write(server.setup.folder.path().join("outside.rs"), "fn outside_marker() {}\n").unwrap();
    std::os::unix::fs::symlink("../outside.rs", server.setup.work("link.rs")).unwrap();
    server.call("reindex", json!({"full": true})).ok();
    for path in ["..", "../outside.rs", "link.rs", "/", "work:../outside.rs"] {
        let answer =
            server.call("search_code", json!({"query": "outside_marker", "path": path})).ok().clone();
        assert_eq!(answer["results"], json!([]), "{path}");
        server.call("inspect", json!({"target": path})).error();
    }
    server.stop();
}

#[test]
fn without_namespaces_it_works_too() {
    let mut server = setup(CONFIG).prepare(without(&user_namespaces())).serve();
    assert_eq!(best(&mut server, "total_price"), "work:src/price.rs");
    server.call("where_used", json!({"name": "total_price"})).ok();
    server.stop();
}

#[test]
fn the_index_outlives_the_host() {
    let mut server = setup(CONFIG).serve();
    assert_eq!(best(&mut server, "total_price"), "work:src/price.rs");
    let hosts = server.children("llmc-host");
    let [host] = hosts.as_slice() else { panic!("one host: {hosts:?}") };
    // A child of the server's until that has seen its end, so the number is still its own.
    kill_process(Pid::from_raw(host.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let begun = Instant::now();
    while server.children("llmc-host") == hosts && begun.elapsed() < PATIENCE {
        server.call("index_status", json!({}));
    }
    let status = server.call("index_status", json!({})).ok().clone();
    assert_eq!((&status["files"], status.get("notes")), (&json!(2), None), "{status}");
    assert_eq!(best(&mut server, "total_price"), "work:src/price.rs");
    server.stop();
}

#[test]
fn without_its_grants_the_line_that_gives_them_is_told() {
    let mut server = setup(&CONFIG.replace(", state = true", "")).serve();
    let text = server.call("search_code", json!({"query": "total_price"})).error();
    assert!(text.contains("state = true"), "{text}");
    server.stop();
    let mut server = setup(&CONFIG.replace("roots = ['work'], ", "")).serve();
    let text = server.call("search_code", json!({"query": "total_price"})).error();
    assert!(text.contains("no root is granted"), "{text}");
    server.stop();
}
