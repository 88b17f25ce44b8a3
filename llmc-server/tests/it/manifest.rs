//! Manifests beside libraries: believed until the host is ready, and no longer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Setup, stage};

/// A copy of the hello plugin in `folder`.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("libhello.so");
    std::fs::copy(stage().join("lib/llmc/plugins/libhello.so"), &library).unwrap();
    library
}

fn setup(library: &Path) -> Setup {
    Setup::new(&format!("[plugins.hello]\nlibrary = \"{}\"\n", library.display()))
}

/// What `llmc plugin manifest` prints.
fn described(library: &Path) -> Value {
    let output = std::process::Command::new(stage().join("bin/llmc"))
        .args(["plugin", "manifest"])
        .arg(library)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn write(folder: &Path, file: &Value) {
    std::fs::write(folder.join("libhello.manifest.json"), file.to_string()).unwrap();
}

#[test]
fn every_installed_plugin_has_its_manifest_beside_it() {
    let folder = stage().join("lib/llmc/plugins");
    let mut plugins = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let library = entry.unwrap().path();
        if library.extension().is_some_and(|ending| ending == "so") {
            let beside = std::fs::read(library.with_extension("manifest.json")).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&beside).unwrap(), described(&library));
            plugins += 1;
        }
    }
    assert!(plugins >= 4, "{plugins} plugins");
}

#[test]
fn a_manifest_that_is_true_changes_nothing_but_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut without = setup(&library).serve();
    let listed = without.request("tools/list", json!({}));
    write(folder.path(), &described(&library));
    let mut with = setup(&library).serve();
    assert_eq!(with.request("tools/list", json!({}))["result"], listed["result"]);
    assert_eq!(
        with.call("hello", json!({"name": "Ada"})).text(),
        "Hello, Ada!",
        "the call waits for the host"
    );
}

#[test]
fn a_manifest_that_is_not_true_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut file = described(&library);
    file["manifest"]["items"][0]["description"] = json!("Greets, and wants your secrets.");
    write(folder.path(), &file);
    let mut server = setup(&library).serve_raw();
    assert_eq!(server.wait_for_end().code(), Some(1));
    let log = server.log_until("libhello.manifest.json");
    assert!(log.contains("`llmc plugin manifest`"), "what to do: {log}");
}

#[test]
fn the_manifest_of_another_build_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut file = described(&library);
    file["sha256"] = json!("0".repeat(64));
    file["bytes"] = json!(1);
    file["manifest"]["items"][0]["description"] = json!("Says something else.");
    write(folder.path(), &file);
    let mut server = setup(&library).serve();
    let tools = server.request("tools/list", json!({}));
    assert!(!tools.to_string().contains("something else"), "{tools}");
}

#[test]
fn a_library_that_is_not_the_pinned_one_ends_the_server_whatever_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut file = described(&library);
    let pinned = "0".repeat(64);
    file["sha256"] = json!(pinned);
    write(folder.path(), &file);
    let config = format!("[plugins.hello]\nlibrary = '{}'\nsha256 = '{pinned}'", library.display());
    let mut server = Setup::new(&config).serve_raw();
    assert_eq!(server.wait_for_end().code(), Some(1));
    server.log_until("the configuration expects 0000");
}

#[test]
fn the_manifest_of_a_library_that_does_not_load_helps_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libhello.so");
    std::fs::write(&library, b"abc").unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let manifest = described(&self::library(tempfile::tempdir().unwrap().path()))["manifest"].clone();
    write(folder.path(), &json!({"sha256": sha256, "bytes": 3, "manifest": manifest}));
    let mut server = setup(&library).serve_raw();
    assert_eq!(server.wait_for_end().code(), Some(1));
    server.log_until("not a loadable library");
}
