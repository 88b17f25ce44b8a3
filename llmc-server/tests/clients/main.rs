//! Clients of others, over both transports: the SDKs for TypeScript and Python, and the command line of MCP Inspector.
//!
//! `cargo xtask test` installs them below `target/clients` from the lock files beside this one. Where they are not
//! there, because a registry could not be reached, the tests say so loudly.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../http/client.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod client;
#[path = "../security/prerequisites.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod prerequisites;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use client::{Http, configured, create_token};
use prerequisites::not_checked;
use support::{Setup, target};

/// Interpreters of others start slowly when everything runs at once.
const PATIENCE: Duration = Duration::from_secs(90);

/// An interpreter, the program that it runs, and the words before those of the transport.
struct Client {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
}

fn installed(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LLMC_CLIENTS").map_or_else(|| target().join("clients"), PathBuf::from);
    Some(folder.join(path)).filter(|path| path.exists())
}

fn node() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join("node")).find(|program| program.is_file())
}

/// The clients that are here; those that are not are named.
fn clients() -> Vec<Client> {
    let mut found = Vec::new();
    let script = |path: &Path| path.to_str().unwrap().to_owned();
    match (node(), installed("node/client.mjs")) {
        (Some(program), Some(path)) => {
            for version in ["v1", "v2"] {
                let args = vec![script(&path), version.to_owned()];
                found.push(Client { name: "TypeScript", program: program.clone(), args });
            }
        }
        _ => not_checked("the SDK for TypeScript, which `cargo xtask test` could not install (npm)"),
    }
    match (installed("python/bin/python"), installed("python/client.py")) {
        (Some(program), Some(path)) => {
            for mode in ["legacy", "auto", "2026-07-28"] {
                let args = vec![script(&path), mode.to_owned()];
                found.push(Client { name: "Python", program: program.clone(), args });
            }
        }
        _ => not_checked("the SDK for Python, which `cargo xtask test` could not install (PyPI)"),
    }
    found
}

/// What a client prints when all is well.
fn said(program: &Path, args: &[String]) -> Value {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (pid, (sender, output)) = (Pid::from_child(&child), channel());
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = output.recv_timeout(PATIENCE).map(Result::unwrap).unwrap_or_else(|_| {
        // Nobody has waited for it, so its number is still its own.
        let _ = kill_process(pid, Signal::KILL);
        panic!("{program:?} {args:?} did not end within {PATIENCE:?}")
    });
    assert!(output.status.success(), "{program:?} {args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{program:?} {args:?}: {error} in {text}"))
}

fn on_stdio() -> (Setup, Vec<String>) {
    let setup = Setup::new(
        "[roots]\nwork = { path = '{work}' }\n[plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }",
    )
    .file("a.txt", "first\nsecond\n");
    let command = setup.command("serve");
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_str().unwrap().to_owned()).collect();
    (setup, words)
}

#[track_caller]
fn is_good(name: &str, said: &Value) {
    assert!(said["tools"].as_array().unwrap().contains(&json!("read_file")), "{name}: {said}");
    assert!(said["text"].as_str().unwrap().contains("second"), "{name}: {said}");
    assert_eq!(said["is_error"], true, "{name}: what went wrong is told: {said}");
}

#[test]
fn sdks_work_over_stdio() {
    for client in clients() {
        let (_setup, words) = on_stdio();
        let args = [client.args.clone(), vec!["stdio".to_owned()], words].concat();
        is_good(client.name, &said(&client.program, &args));
    }
}

#[test]
fn sdks_work_over_http() {
    let found = clients();
    if found.is_empty() {
        return;
    }
    let setup = configured("tokens = 'tokens.json'", "");
    let token = create_token(&setup, &["sdk"]);
    let http = Http { token: Some(token.clone()), ..Http::start(setup) };
    for client in found {
        let transport = ["http".to_owned(), format!("http://{}/mcp", http.address), token.clone()];
        is_good(client.name, &said(&client.program, &[client.args.clone(), transport.to_vec()].concat()));
    }
    http.works();
    http.server.stop();
}

#[test]
fn the_inspector_lists_and_calls() {
    let script = installed("node/node_modules/@modelcontextprotocol/inspector-cli/build/index.js");
    let (Some(node), Some(script)) = (node(), script) else {
        return not_checked("MCP Inspector, which `cargo xtask test` could not install (npm)");
    };
    let inspect = |target: &[String], request: &[&str]| {
        let request = request.iter().map(|word| (*word).to_owned()).collect();
        let args = [vec![script.to_str().unwrap().to_owned()], target.to_vec(), request].concat();
        said(&node, &args)
    };
    let check = |target: &[String]| {
        let listed = inspect(target, &["--method", "tools/list"]);
        let names: Vec<&Value> =
            listed["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert!(names.contains(&&json!("read_file")), "{listed}");
        let read = inspect(
            target,
            &["--method", "tools/call", "--tool-name", "read_file", "--tool-arg", "path=work:a.txt"],
        );
        assert!(read["structuredContent"]["text"].as_str().unwrap().contains("second"), "{read}");
    };
    let (_setup, words) = on_stdio();
    check(&words);

    let setup = configured("tokens = 'tokens.json'", "");
    let token = create_token(&setup, &["inspector"]);
    let http = Http { token: Some(token.clone()), ..Http::start(setup) };
    let header = format!("Authorization: Bearer {token}");
    let over_http = [
        format!("http://{}/mcp", http.address),
        "--transport".into(),
        "http".into(),
        "--header".into(),
        header,
    ];
    check(&over_http);
    http.server.stop();
}
