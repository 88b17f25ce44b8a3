//! The plugin `search`, as a client sees it: jailed, with an index in its state folder and nothing beside it.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server, Setup, eventually};
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

/// Kills that come in the middle of indexing; files, and how many of them each run finds changed.
const KILLS: usize = 100;
const FILES: usize = 300;
const CHANGED: usize = 100;
/// Runs that may be over before they are killed.
const MAX_RUNS: usize = 4 * KILLS;
/// Hosts that are killed before the server is replaced too: it waits longer after each of them.
const KILLS_PER_SERVER: usize = 2;

/// A server over the root of a folder, with its state under this name.
fn server_over(folder: &Path, state: &str) -> Server {
    let config = CONFIG
        .replace("{work}", folder.join("work").to_str().unwrap())
        .replace("'state'", &format!("'{}'", folder.join(state).display()));
    Setup::new("").with_text(&config).log_filter("warn").serve()
}

fn write_files(work: &Path, count: usize, generation: usize) {
    for file in 0..count {
        let function = |n: usize| {
            format!("/// Says {generation}.\nfn f{n}_of_{file}() {{\n    g{generation}_{n}();\n}}\n\n")
        };
        let folder = work.join(format!("d{}", file % 7));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("f{file}.rs")), (0..30).map(function).collect::<String>())
            .unwrap();
    }
}

/// Has the host killed while it indexes; tells whether it was still at it.
fn kill_in_the_middle(server: &mut Server, delay: Duration) -> bool {
    let params = json!({"name": "reindex", "arguments": {}, "_meta": {"progressToken": "killed"}});
    let id = server.send("tools/call", params);
    server.notifications.clear();
    let begun = Instant::now();
    let is_indexing = |server: &Server| {
        server.notifications.iter().any(|message| message["params"]["total"].as_f64().unwrap_or(0.0) > 0.0)
    };
    while !is_indexing(server) && begun.elapsed() < PATIENCE {
        if server.is_answered_within(id, Duration::from_millis(1)) {
            break;
        }
    }
    std::thread::sleep(delay);
    let hosts = server.children("llmc-host");
    let [host] = hosts.as_slice() else { panic!("one host: {hosts:?}") };
    // A child of the server's until that has seen its end, so the number is still its own.
    kill_process(Pid::from_raw(host.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let is_hit = server.called(id).is_error();
    eventually("the host is there again", || {
        server.children("llmc-host") != hosts && !server.call("index_status", json!({})).is_error()
    });
    is_hit
}

/// What a server tells of its index: what it holds, and what it finds.
fn told(server: &mut Server) -> Vec<Value> {
    let mut status = server.call("reindex", json!({})).ok().clone();
    assert_eq!((&status["freshness"], status.get("notes")), (&json!("fresh"), None), "{status}");
    status["bytes"].take();
    let mut told = vec![status];
    for file in (0..FILES).step_by(11) {
        // Found by all kinds of lists, with one best answer: what is equally good has no order.
        let name = format!("f{}_of_{file}", file % 30);
        for query in [name.clone(), format!("\"fn {name}\"")] {
            told.push(
                server.call("search_code", json!({"query": query, "limit": 1})).ok()["results"].clone(),
            );
        }
        told.push(server.call("symbol_lineage", json!({"name": name})).ok().clone());
        let path = format!("work:d{}/f{file}.rs", file % 7);
        told.push(server.call("inspect", json!({"target": path, "max_tokens": 2_000})).ok().clone());
    }
    for name in ["g0_3", "g1_3"] {
        told.push(server.call("where_used", json!({"name": name, "limit": 500})).ok().clone());
    }
    told
}

#[test]
fn a_hundred_hosts_killed_while_indexing_leave_the_index_that_one_run_makes() {
    let ground = Setup::new("");
    let (folder, work) = (ground.folder.path(), ground.work(""));
    write_files(&work, FILES, 0);
    let (mut hits, mut runs) = (0, 0);
    while hits < KILLS {
        let mut server = server_over(folder, "killed");
        for _ in 0..KILLS_PER_SERVER {
            runs += 1;
            assert!(runs < MAX_RUNS, "{hits} of {runs} kills came in the middle");
            write_files(&work, CHANGED, runs);
            let delay = Duration::from_millis((runs * 37 % 150).try_into().unwrap());
            hits += usize::from(kill_in_the_middle(&mut server, delay));
        }
        server.stop();
    }
    eprintln!("{hits} of {runs} kills came in the middle");
    let mut killed = server_over(folder, "killed");
    let mut undisturbed = server_over(folder, "undisturbed");
    let (after_kills, after_none) = (told(&mut killed), told(&mut undisturbed));
    assert_eq!(after_none[0]["files"], FILES);
    assert_eq!(after_kills, after_none);
    killed.stop();
    undisturbed.stop();
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
