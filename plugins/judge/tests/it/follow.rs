//! `ruta record` and `--audit`: what the audit of a server tells, and what it does not.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{Folder, asserting, expecting};

const CONFIG: &str = "[roots]\nwork = { path = \"work\" }\n[audit]\npath = \"audit.jsonl\"\n";

fn folder(scenario: &str) -> Folder {
    Folder::new(&[("s.yaml", scenario), ("llmc.toml", CONFIG), ("work/a.md", "alpha\n")])
}

#[test]
fn an_audit_becomes_a_trace_that_has_no_arguments() {
    let folder = folder(&expecting("  must_use_tools: [read_file]\n  must_not_use_tools: [\"write_*\"]"));
    let read = ["call", "read_file", r#"{"path": "work:a.md"}"#, "--config", "llmc.toml"];
    folder.llmc(&read).with_code(0);
    folder.ruta(&["record", "audit.jsonl", "--run-id", "mine", "--output", "t.jsonl"]).with_code(0);
    let trace = folder.read("t.jsonl");
    assert_eq!(trace.lines().count(), 2);
    assert!(trace.contains("\"run_id\":\"mine\"") && !trace.contains("a.md"), "{trace}");
    folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(0);
    // What the audit does not hold is not judged, whichever answer would be hoped for.
    for constraint in [
        "arg('read_file', 'path') == null",
        "contains(text('read_file'), 'alpha')",
        "results('read_file') == []",
    ] {
        std::fs::write(folder.path("s.yaml"), asserting(constraint)).unwrap();
        let told = folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1).stdout();
        assert!(told.contains("the trace tells no"), "{told}");
    }
    let error = folder.ruta(&["record", "audit.jsonl", "--to-ms", "1"]).with_code(1).stderr();
    assert!(error.contains("has no call in that range"), "{error}");
    let error = folder.ruta(&["record", "audit.jsonl", "--output", "t.jsonl"]).with_code(1).stderr();
    assert!(error.contains("must not exist yet"), "{error}");
}

#[test]
fn a_configuration_of_the_operator_is_used_as_it_is() {
    let folder = folder(
        &(expecting("  must_use_tools: [read_file]\n  must_not_use_tools: [write_file]")
            + "script: [{ call: read_file, with: { path: \"work:a.md\" } }]\n"),
    );
    let told = folder.ruta(&["run", "s.yaml", "--config", "llmc.toml"]).with_code(0).stdout();
    assert!(told.starts_with("PASS  s  (run s, 1 calls"), "{told}");
    // Only what was added to the audit counts.
    folder.ruta(&["run", "s.yaml", "--config", "llmc.toml"]).with_code(0);
    assert_eq!(folder.read("audit.jsonl").matches("\"event\":\"call\"").count(), 2);
    let with_ground = folder.read("s.yaml") + "preconditions: { access: rw }\n";
    std::fs::write(folder.path("s.yaml"), with_ground).unwrap();
    let error = folder.ruta(&["run", "s.yaml", "--config", "llmc.toml"]).with_code(1).stderr();
    assert!(error.contains("does not fulfil"), "{error}");
}

#[test]
fn a_live_session_is_judged_by_what_is_added_to_the_audit() {
    let record = |call: u32, tool: &str| {
        format!(
            "{{\"time_ms\":1000,\"call\":{call},\"caller\":\"client\",\"tool\":\"{tool}\",\"argument_bytes\":2,\
             \"outcome\":\"ok\",\"result_bytes\":2,\"duration_us\":10}}\n"
        )
    };
    let folder = folder(&expecting("  must_use_tools: [read_file]\n  must_not_use_tools: [write_file]"));
    std::fs::write(folder.path("audit.jsonl"), record(1, "write_file")).unwrap();
    let mut command = folder.command("ruta", &["run", "s.yaml", "--audit", "audit.jsonl", "--for-s", "3"]);
    let mut ruta = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(ruta.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "following `audit.jsonl` for 3 s\n");
    let mut audit = std::fs::OpenOptions::new().append(true).open(folder.path("audit.jsonl")).unwrap();
    audit.write_all(record(2, "read_file").as_bytes()).unwrap();
    let output = ruta.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.starts_with("PASS  s  (run s, 1 calls"), "{told}");
    // Nothing at all was added.
    let error =
        folder.ruta(&["run", "s.yaml", "--audit", "audit.jsonl", "--for-s", "0"]).with_code(1).stderr();
    assert!(error.contains("has no call in that range"), "{error}");
}

#[test]
fn a_database_is_read_as_well_as_lines() {
    let scenario = expecting("  must_use_tools: [read_file]\n  must_not_use_tools: [write_file]")
        + "script: [{ call: read_file, with: { path: \"work:a.md\" } }]\n";
    let folder = folder(&scenario);
    std::fs::write(folder.path("llmc.toml"), CONFIG.replace("audit.jsonl", "audit.db")).unwrap();
    let write = ["call", "write_file", r#"{"path": "work:b.md", "content": "b"}"#, "--config", "llmc.toml"];
    // Refused, as the root is read-only, and so recorded as tried.
    folder.llmc(&write);
    // Only what was added counts.
    let told = folder.ruta(&["run", "s.yaml", "--config", "llmc.toml"]).with_code(0).stdout();
    assert!(told.starts_with("PASS  s  (run s, 1 calls"), "{told}");
    folder.ruta(&["record", "audit.db", "--output", "t.jsonl"]).with_code(0);
    folder.ruta(&["judge", "s.yaml", "t.jsonl"]).with_code(1);
    std::fs::write(folder.path("audit.db"), b"SQLite format 3\0 and no more").unwrap();
    let error = folder.ruta(&["record", "audit.db"]).with_code(1).stderr();
    assert!(error.contains("audit `audit.db`"), "{error}");
}
