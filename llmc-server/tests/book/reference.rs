//! The reference is what the staged program writes.

use std::process::Command;

use crate::support::stage;
use crate::{compared, docs};

#[test]
fn the_reference_is_that_of_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(stage().join("bin/llmc")).arg("reference").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let differences: Vec<String> = ["tools", "configuration", "commands", "errors", "interface"]
        .iter()
        .filter_map(|page| {
            let name = format!("{page}.md");
            let text = std::fs::read_to_string(folder.path().join(&name)).unwrap();
            compared(&docs().join("reference").join(name), &text)
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
