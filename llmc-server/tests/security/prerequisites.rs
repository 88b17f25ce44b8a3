//! What a machine must have for a test to mean something. What is missing is said loudly.

use std::io::Write;

use serde_json::Value;

use crate::support::Setup;

/// Says that something stays unchecked, past the capture of test output.
pub(crate) fn not_checked(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nNOT CHECKED: {what}\n");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether plugin hosts get namespaces of their own here, so that not even the existence of a file shows.
pub(crate) fn hosts_have_namespaces() -> bool {
    let output = Setup::new("[plugins.hello]\nlibrary = 'hello'").run("doctor", &["--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    match findings["server"]["plugins"][0]["jail"]["isolation"].as_str() {
        Some("namespaces") => true,
        Some("landlock") => {
            not_checked("namespaces of plugin hosts, because this machine permits none");
            false
        }
        _ => panic!("doctor shows no isolation: {findings:#}"),
    }
}
