//! A new configuration while calls run: nothing is dropped, and what is wrong with it changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Server, Setup, eventually, stage, stress_library};

const FS: &str = "[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n";
const HELLO: &str = "[plugins.hello]\nlibrary = 'hello'\n";

fn stress() -> String {
    format!("[plugins.stress]\nlibrary = '{}'\n", stress_library().display())
}

/// A server over `work` with the tools for files; `head` comes before all tables.
fn with(plugins: &str) -> Setup {
    let setup = Setup::new("");
    let text = text(&setup, "", plugins);
    setup.with_text(&text).file("a.txt", "content of a")
}

/// Settings of `[server]`, the root and an audit, and then `plugins`.
fn text(setup: &Setup, server: &str, plugins: &str) -> String {
    format!(
        "[server]\n{server}\n[audit]\npath = 'audit.jsonl'\ndurability = 'call'\n[roots]\nwork = {{ path = '{}' }}\n{plugins}",
        setup.folder.path().join("work").display()
    )
}

fn file(server: &Server) -> PathBuf {
    server.setup.folder.path().join("llmc.toml")
}

/// Replaces the configuration as editors do.
fn write(server: &Server, plugins: &str) {
    write_text(server, &text(&server.setup, "", plugins));
}

fn write_text(server: &Server, text: &str) {
    let new = server.setup.folder.path().join("llmc.toml.new");
    // With the secret that the server was started with: other secrets, other hosts.
    std::fs::write(&new, server.setup.nest.configured(text)).unwrap();
    std::fs::rename(new, file(server)).unwrap();
}

fn hang_up(server: &Server) {
    kill_process(Pid::from_raw(server.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
}

/// Asks for a reload and waits for its end.
fn reload(server: &Server) {
    let before = ends(server);
    hang_up(server);
    eventually("reload is over", || ends(server) > before);
}

/// Reloads that are over, however they ended.
fn ends(server: &Server) -> usize {
    let log = server.log();
    ["configuration reloaded", "is not taken up", "nothing has changed"]
        .iter()
        .map(|end| log.matches(end).count())
        .sum()
}

fn tools(server: &mut Server) -> BTreeSet<String> {
    let list = server.request("tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn works(server: &mut Server) {
    assert_eq!(server.call("read_file", json!({"path": "work:a.txt"})).ok()["text"], "content of a");
}

fn audit(server: &Server) -> String {
    std::fs::read_to_string(server.setup.folder.path().join("audit.jsonl")).unwrap()
}

#[test]
fn a_call_under_way_ends_well_though_its_plugin_is_gone() {
    let mut server = with(&format!("{FS}{}", stress())).serve();
    let capabilities = server.initialize("2025-11-25")["result"]["capabilities"].clone();
    assert_eq!(capabilities["tools"]["listChanged"], true);
    works(&mut server);
    let hosts: BTreeSet<u32> = server.children("llmc-host").into_iter().collect();
    let call = server.send_call("stress_sleep", json!({"ms": 2_500}));
    // It is under way once the server has answered something that came after it.
    tools(&mut server);
    write(&server, &format!("{FS}{HELLO}"));
    reload(&server);
    server.notification("notifications/tools/list_changed");
    let names = tools(&mut server);
    assert!(names.contains("hello") && !names.contains("stress_sleep"), "{names:?}");
    assert!(server.call("hello", json!({"name": "Ada"})).text().contains("Ada"));
    works(&mut server);
    let gone = server.request("tools/call", json!({"name": "stress_sleep", "arguments": {"ms": 1}}));
    assert_eq!(gone["error"]["code"], -32602, "{gone}");
    assert!(!server.is_answered_within(call, Duration::ZERO), "the call outlives the reload");
    let slept = server.called(call);
    assert!(slept.text().contains("slept 2500"), "{slept:?}");
    let now = |server: &Server| server.children("llmc-host").into_iter().collect::<BTreeSet<u32>>();
    eventually("the old host is gone", || now(&server).len() == 2);
    assert_eq!(now(&server).intersection(&hosts).count(), 1, "the host of the file tools was kept");
    assert!(audit(&server).contains("\"outcome\":\"reloaded\""));
    server.stop();
}

#[test]
fn what_code_calls_stays_as_it_was_until_its_end() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
                grants = { run = { profile = 'code' }, tools = ['read_file'] }\n";
    let mut server = with(&format!("{FS}{exec}")).serve();
    let code = "import time\nfrom llmc import tools\ntexts = set()\n\
                for _ in range(30):\n    texts.add(tools.read_file(path='work:a.txt')['text'])\n    time.sleep(0.1)\nsorted(texts)";
    let call = server.send_call("execute_code", json!({"code": code}));
    std::thread::sleep(Duration::from_millis(300));
    // Both the tool's host and what code may call are others now.
    write(&server, "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n");
    reload(&server);
    server.log_until("configuration reloaded");
    assert!(!server.is_answered_within(call, Duration::ZERO), "the call outlives the reload");
    let result = server.called(call);
    assert_eq!(result.ok()["result"], json!(["content of a"]), "{result:?}");
    let after = server
        .call("execute_code", json!({"code": "from llmc import tools\ntools.read_file(path='work:a.txt')"}));
    assert!(after.error().contains("there is no tool `read_file`"), "{after:?}");
    server.stop();
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let mut server = with(FS).serve();
    works(&mut server);
    let host = server.children("llmc-host");
    let not_elf = server.setup.work("libnothing.so");
    std::fs::write(&not_elf, "no library").unwrap();
    let fails = stress_library();
    for (plugins, reason) in [
        ("[plugins", "llmc.toml"),
        ("[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { rots = [] }\n", "did you mean `roots`?"),
        ("[plugins.fs]\nlibrary = 'no_such_library'\n", "no_such_library"),
        (&format!("{FS}[plugins.hello]\nlibrary = 'hello'\nsha256 = '{}'\n", "0".repeat(64)), "has SHA-256"),
        (&format!("{FS}[plugins.x]\nlibrary = '{}'\n", not_elf.display()), "plugin `x`"),
        (&format!("{FS}{HELLO}[policy]\ndeny = ['read_fil']\n"), "did you mean `read_file`?"),
        (&format!("{FS}{HELLO}[plugins.b]\nlibrary = 'hello'\n"), "same name"),
        (&format!("{FS}{HELLO}[secrets]\nTOKEN = {{ env = 'NO_SUCH_VARIABLE' }}\n"), "NO_SUCH_VARIABLE"),
        (
            &format!("{FS}[plugins.y]\nlibrary = '{}'\n[limits]\nload_timeout_ms = 1\n", fails.display()),
            "load_timeout_ms",
        ),
    ] {
        let before = server.log().len();
        write(&server, plugins);
        reload(&server);
        let log = server.log()[before..].to_owned();
        assert!(log.contains("is not taken up") && log.contains(reason), "{reason}: {log}");
        works(&mut server);
        eventually("what was started for it is gone", || server.children("llmc-host") == host);
    }
    std::fs::remove_file(file(&server)).unwrap();
    reload(&server);
    works(&mut server);
    let records = audit(&server);
    assert_eq!(records.matches("\"outcome\":\"reload_refused\"").count(), 10, "{records}");
    write(&server, &format!("{FS}{HELLO}"));
    reload(&server);
    assert!(tools(&mut server).contains("hello"), "a good one is taken up");
    server.stop();
}

/// A configuration with the hello plugin's library in a folder of its own.
fn with_own_library() -> (Setup, PathBuf) {
    let setup = with("");
    let library = setup.folder.path().join("libhello.so");
    std::fs::copy(stage().join("lib/llmc/plugins/libhello.so"), &library).unwrap();
    let text = text(&setup, "", &format!("{FS}[plugins.hello]\nlibrary = '{}'\n", library.display()));
    (setup.with_text(&text), library)
}

/// Another build of the plugin: the end of a library is nobody's.
fn rebuild(library: &Path) {
    let mut bytes = std::fs::read(library).unwrap();
    bytes.extend_from_slice(b"another build");
    std::fs::write(library, bytes).unwrap();
}

fn llmc(setup: &Setup, args: &[&str]) {
    let mut command = Command::new(stage().join("bin/llmc"));
    let output = command
        .args(args)
        .arg("--config")
        .arg(setup.folder.path().join("llmc.toml"))
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_library_that_was_replaced_is_taken_up_by_itself() {
    let (setup, library) = with_own_library();
    let mut server = setup.serve();
    assert!(server.call("hello", json!({"name": "Ada"})).text().contains("Ada"));
    let before: BTreeSet<u32> = server.children("llmc-host").into_iter().collect();
    rebuild(&library);
    server.log_until("configuration reloaded");
    assert!(server.call("hello", json!({"name": "Bob"})).text().contains("Bob"));
    let now = |server: &Server| server.children("llmc-host").into_iter().collect::<BTreeSet<u32>>();
    eventually("one host was replaced", || {
        now(&server).len() == 2 && now(&server).intersection(&before).count() == 1
    });
    server.stop();
}

#[test]
fn a_library_that_the_lock_does_not_know_waits_for_the_operator() {
    let (setup, library) = with_own_library();
    drop(setup.command("serve"));
    llmc(&setup, &["plugin", "lock"]);
    let mut server = setup.serve();
    assert!(server.call("hello", json!({"name": "Ada"})).text().contains("Ada"));
    let before = server.children("llmc-host");
    rebuild(&library);
    let log = server.log_until("is not taken up");
    assert!(log.contains("llmc plugin accept hello"), "{log}");
    assert!(server.call("hello", json!({"name": "Bob"})).text().contains("Bob"), "the old one goes on");
    assert_eq!(server.children("llmc-host"), before);

    llmc(&server.setup, &["plugin", "accept", "hello"]);
    server.log_until("configuration reloaded");
    assert!(server.call("hello", json!({"name": "Eve"})).text().contains("Eve"));
    eventually("replaced", || {
        server.children("llmc-host").len() == 2 && server.children("llmc-host") != before
    });

    // Without the lock nothing would be pinned any more.
    std::fs::remove_file(server.setup.folder.path().join("llmc.lock")).unwrap();
    reload(&server);
    server.log_until("the lock beside the configuration is gone");
    works_and_greets(&mut server);
    server.stop();
}

fn works_and_greets(server: &mut Server) {
    works(server);
    assert!(server.call("hello", json!({"name": "Ada"})).text().contains("Ada"));
}

#[test]
fn a_plugin_that_was_stopped_begins_once_it_is_accepted() {
    let (setup, library) = with_own_library();
    drop(setup.command("serve"));
    llmc(&setup, &["plugin", "lock"]);
    rebuild(&library);
    let mut server = setup.serve();
    assert!(!tools(&mut server).contains("hello"));
    llmc(&server.setup, &["plugin", "accept", "hello"]);
    server.notification("notifications/tools/list_changed");
    works_and_greets(&mut server);
    server.stop();
}

#[test]
fn changes_are_noticed_unless_tools_could_have_made_them() {
    let mut server = with(FS).serve();
    works(&mut server);
    write(&server, &format!("{FS}{HELLO}"));
    server.notification("notifications/tools/list_changed");
    assert!(tools(&mut server).contains("hello"));
    server.stop();

    // The whole folder is a root that tools may write to.
    let setup = Setup::new("");
    let root = format!("[roots]\nhere = {{ path = '{}', access = 'rw' }}\n", setup.folder.path().display());
    let mut server = setup.with_text(&root).serve();
    let log = server.log_until("not watched");
    assert!(log.contains("llmc.toml") && log.contains("here"), "{log}");
    write_text(&server, &format!("{root}{HELLO}"));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!tools(&mut server).contains("hello"), "nobody asked for it");
    reload(&server);
    assert!(tools(&mut server).contains("hello"), "the operator did");
    server.stop();

    let setup = with("");
    let quiet = |setup: &Setup, plugins: &str| text(setup, "watch = false", plugins);
    let first = quiet(&setup, FS);
    let mut server = setup.with_text(&first).file("a.txt", "content of a").serve();
    works(&mut server);
    write_text(&server, &quiet(&server.setup, &format!("{FS}{HELLO}")));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!tools(&mut server).contains("hello"));
    reload(&server);
    assert!(tools(&mut server).contains("hello"));
    server.stop();
}

#[test]
fn what_needs_a_new_start_is_named_and_the_rest_is_taken_up() {
    let mut server = with(FS).serve();
    works(&mut server);
    let text =
        text(&server.setup, "http = { listen = '127.0.0.1:0', auth = 'none' }", &format!("{FS}{HELLO}"))
            .replace("audit.jsonl", "other.jsonl")
            + "[limits]\nmax_message_bytes = 1000\n";
    write_text(&server, &text);
    reload(&server);
    let log = server.log();
    for key in ["`server.http`", "`audit`", "`limits.max_message_bytes`"] {
        assert!(log.lines().any(|line| line.contains(key) && line.contains("started anew")), "{key}: {log}");
    }
    works_and_greets(&mut server);
    assert!(audit(&server).contains("hello"), "records go where they went");
    assert!(!server.setup.folder.path().join("other.jsonl").exists());
    server.stop();
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

#[test]
fn fifty_reloads_leave_nothing_behind() {
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n";
    let setup = with("");
    let of = |setup: &Setup, number: usize| {
        let (graces, runs) = (900 + number % 2, 4 + number % 10 / 9);
        text(
            setup,
            "watch = false",
            &format!("{FS}{exec}[limits]\ngrace_ms = {graces}\nconcurrent_runs = {runs}\nparked_runs = 0\n"),
        )
    };
    let first = of(&setup, 0);
    let mut server = setup.with_text(&first).file("a.txt", "content of a").serve();
    let code = |server: &mut Server| {
        assert_eq!(server.call("execute_code", json!({"code": "6 * 7"})).ok()["result"], 42);
    };
    works(&mut server);
    code(&mut server);
    let is_settled = |server: &Server| {
        (server.children("llmc-host").len(), server.children("llmc-runner").len()) == (2, 1)
    };
    eventually("settled", || is_settled(&server));
    let before = descriptors(&server);
    let first_host = server.children("llmc-host");
    for number in 1..=50 {
        write_text(&server, &of(&server.setup, number));
        reload(&server);
        if number % 10 == 0 {
            works(&mut server);
            code(&mut server);
        }
    }
    assert_eq!(server.log().matches("configuration reloaded").count(), 50);
    works(&mut server);
    code(&mut server);
    eventually("old processes are gone", || is_settled(&server));
    assert!(server.children("llmc-host").iter().all(|host| !first_host.contains(host)));
    eventually("old descriptors are gone", || descriptors(&server) <= before);
    server.stop();
}

#[test]
fn a_client_of_the_stateless_revision_listens() {
    let mut server = with(FS).serve_raw();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let discovered = server.request("server/discover", json!({"_meta": meta}));
    assert_eq!(discovered["result"]["capabilities"]["tools"]["listChanged"], true, "{discovered}");
    let listening = server.send(
        "subscriptions/listen",
        json!({"_meta": meta, "notifications": {"toolsListChanged": true, "promptsListChanged": true}}),
    );
    let accepted = server.notification("notifications/subscriptions/acknowledged");
    assert_eq!(accepted["params"]["notifications"], json!({"toolsListChanged": true}), "{accepted}");
    // Another limit is no other list of tools.
    write(&server, &format!("{FS}[limits]\ngrace_ms = 900\n"));
    reload(&server);
    write(&server, &format!("{FS}{HELLO}[limits]\ngrace_ms = 900\n"));
    reload(&server);
    let changed = server.notification("notifications/tools/list_changed");
    let id = &changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(*id, Value::from(listening), "{changed}");
    let list = server.request("tools/list", json!({"_meta": meta}));
    assert!(list.to_string().contains("\"hello\""), "{list}");
    assert!(server.notifications.iter().all(|other| other["method"] != "notifications/tools/list_changed"));
    server.stop();
}
