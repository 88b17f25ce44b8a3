//! A session as a model would have it, with every tool, from finding to deleting.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};

use crate::ground::Ground;
use crate::observe::kib;
use crate::support::Called;

/// A root and the schemas of results.
struct Session {
    ground: Ground,
    schemas: BTreeMap<String, Value>,
    used: BTreeMap<String, usize>,
}

impl Session {
    fn new() -> Self {
        let mut ground = Ground::new();
        let list = ground.server.request("tools/list", json!({}));
        let tools = list["result"]["tools"].as_array().unwrap().iter();
        let schemas: BTreeMap<String, Value> = tools
            .filter(|tool| tool["name"] != "read_more")
            .map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool["outputSchema"].clone()))
            .collect();
        Self { ground, schemas, used: BTreeMap::new() }
    }

    /// A call that must succeed; its result must be what the tool promises, and have a text for the model.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: Value) -> Called {
        let called = self.ground.call(tool, arguments.clone());
        let schema = &self.schemas[tool];
        assert_eq!(schema["type"], "object", "{tool}");
        let validator = jsonschema::validator_for(schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(called.ok()).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{tool} {arguments}: {}", called.ok());
        assert!(!called.text().is_empty(), "{tool} {arguments}");
        *self.used.entry(tool.to_owned()).or_default() += 1;
        called
    }

    #[track_caller]
    fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        self.call(tool, arguments).ok().clone()
    }
}

const LIB: &str = "//! Adds.\n\n/// Adds two numbers.\npub fn add(a: u32, b: u32) -> u32 {\n    a + b\n}\n";
const MAIN: &str = "fn main() {\n    println!(\"{}\", demo::add(1, 2));\n}\n";

#[test]
fn a_session_with_every_tool() {
    let mut session = Session::new();
    session.ground.file(".git/HEAD", "ref: refs/heads/main\n").file("target/debug/out.rs", "fn add() {}\n");

    // Writing new files, with the directories above them.
    let written = session.ok("write_file", json!({"path": "src/lib.rs", "content": LIB}));
    assert_eq!((&written["created"], &written["size_bytes"]), (&json!(true), &json!(LIB.len())));
    session.ok("write_file", json!({"path": "src/main.rs", "content": MAIN}));
    session.ok("write_file", json!({"path": ".gitignore", "content": "target/\n"}));
    session.ok("create_dir", json!({"path": "tests"}));
    session.ok("append_file", json!({"path": "tests/it.rs", "content": "#[test]\nfn adds() {\n"}));
    let appended =
        session.ok("append_file", json!({"path": "tests/it.rs", "content": "    demo::add(1, 2);\n}\n"}));
    assert_eq!(appended["created"], false);

    // Finding and looking round; what is ignored stays out unless it is asked for.
    let paths = |found: &Value, list: &str| -> Vec<String> {
        let entries = found[list].as_array().unwrap().iter();
        entries.map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    };
    let found = session.ok("find_files", json!({"pattern": "*.rs"}));
    assert_eq!(paths(&found, "entries"), ["work:src/lib.rs", "work:src/main.rs", "work:tests/it.rs"]);
    assert_eq!(session.ok("find_files", json!({"pattern": "*.rs", "ignored": true}))["total"], 4);
    let drawn = session.call("tree", json!({}));
    assert!(drawn.text().contains("src/") && drawn.text().contains("lib.rs"), "{}", drawn.text());
    assert!(!drawn.text().contains("out.rs"), "{}", drawn.text());
    let listing = session.ok("list_dir", json!({"path": "src", "with_sizes": true}));
    assert_eq!(listing["entries"][0], json!({"name": "lib.rs", "kind": "file", "size_bytes": LIB.len()}));
    assert_eq!(session.ok("stat", json!({"path": "src"}))["kind"], "dir");

    // Searching, with context.
    let found = session.call("search_files", json!({"pattern": "fn \\w+\\(", "context": 1, "rank": true}));
    assert_eq!(found.ok()["total"], 3);
    let of_lib =
        found.ok()["matches"].as_array().unwrap().iter().find(|found| found["path"] == "work:src/lib.rs");
    let of_lib = of_lib.unwrap();
    assert_eq!((&of_lib["line"], &of_lib["before"]), (&json!(4), &json!(["/// Adds two numbers."])));
    assert!(found.text().contains("4: pub fn add(a: u32, b: u32) -> u32 {"), "{}", found.text());
    let counts =
        session.ok("search_files", json!({"pattern": "add", "output": "counts", "glob": ["src/**"]}));
    assert_eq!(paths(&counts, "files"), ["work:src/lib.rs", "work:src/main.rs"]);

    // A window of what was found, and the way on.
    let window =
        session.call("read_file", json!({"path": "work:src/lib.rs", "start_line": 3, "max_lines": 2}));
    assert_eq!(window.ok()["text"], "/// Adds two numbers.\npub fn add(a: u32, b: u32) -> u32 {\n");
    assert_eq!(window.ok()["next_start_line"], 5);
    assert!(window.text().contains("read on with start_line 5"), "{}", window.text());
    let rest = session.ok("read_file", json!({"path": "src/lib.rs", "start_line": 5}));
    assert_eq!(rest["text"], "    a + b\n}\n");
    let files = session.ok("read_files", json!({"paths": ["src/lib.rs", "src/main.rs", "src/missing.rs"]}));
    assert_eq!((&files["files"][0]["text"], &files["files"][1]["text"]), (&json!(LIB), &json!(MAIN)));
    assert!(files["files"][2]["error"].as_str().unwrap().contains("no such file"));

    // Editing: first to see, then to do, only if nobody came in between.
    let edits =
        json!([{"old": "a + b", "new": "a.saturating_add(b)"}, {"old": "Adds two", "new": "Adds up two"}]);
    let dry = session.call("edit_file", json!({"path": "src/lib.rs", "edits": edits, "dry_run": true}));
    assert!(dry.text().contains("-    a + b\n+    a.saturating_add(b)\n"), "{}", dry.text());
    assert_eq!(session.ground.text("src/lib.rs"), LIB);
    let sha256 = dry.ok()["sha256"].clone();
    let done =
        session.ok("edit_file", json!({"path": "src/lib.rs", "edits": edits, "expected_sha256": sha256}));
    assert_eq!((&done["replacements"], &done["diff"]), (&json!(2), &dry.ok()["diff"]));
    let edited = LIB.replace("a + b", "a.saturating_add(b)").replace("Adds two", "Adds up two");
    assert_eq!(session.ground.text("src/lib.rs"), edited);

    // Copying, moving, deleting.
    session.ok("create_dir", json!({"path": "old"}));
    let copied = session.ok("copy_path", json!({"from": "src", "to": "old/src"}));
    assert_eq!(copied["entries"], 3);
    let moved = session.ok("move_path", json!({"from": "old/src/lib.rs", "to": "old/library.rs"}));
    assert_eq!((&moved["path"], &moved["replaced"]), (&json!("work:old/library.rs"), &json!(false)));
    assert_eq!(session.ground.text("old/library.rs"), edited);
    assert_eq!(session.ok("delete_path", json!({"path": "old", "recursive": true}))["entries"], 4);
    assert!(!session.ground.path("old").exists());
    assert_eq!(session.ok("find_files", json!({"pattern": "*.rs"}))["total"], 3);

    let unused: Vec<_> = session.schemas.keys().filter(|tool| !session.used.contains_key(*tool)).collect();
    assert_eq!(unused, Vec::<&String>::new());
    session.ground.end();
}

/// An image of one pixel (PNG specification, section 5).
const PNG: &[u8] = b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1F\x15\xC4\x89\0\0\0\rIDATx\x9Cc\0\x01\0\0\x05\0\x01\r\n\x2D\xB4\0\0\0\0IEND\xAEB`\x82";

#[test]
fn images_are_images() {
    use base64::Engine as _;

    let mut session = Session::new();
    session
        .ground
        .file("dot.png", PNG)
        .file("photo", b"\xFF\xD8\xFF\xE0 and so on")
        .file("not.png", "text\n");
    for (path, mime_type, bytes) in
        [("dot.png", "image/png", PNG), ("photo", "image/jpeg", &b"\xFF\xD8\xFF\xE0 and so on"[..])]
    {
        let called = session.call("read_file", json!({"path": path}));
        let blocks = called.0["result"]["content"].as_array().unwrap();
        let image =
            blocks.iter().find(|block| block["type"] == "image").unwrap_or_else(|| panic!("{called:?}"));
        assert_eq!(image["mimeType"], mime_type);
        let data = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        assert_eq!(data, bytes);
        assert_eq!(called.ok()["encoding"], "image");
        assert_eq!(called.ok()["size_bytes"], bytes.len());
    }
    // The name does not make an image, and an image is no text.
    assert_eq!(session.ok("read_file", json!({"path": "not.png"}))["text"], "text\n");
    let files = session.ok("read_files", json!({"paths": ["dot.png"]}));
    assert!(files["files"][0]["error"].as_str().unwrap().contains("PNG image"), "{files}");
    // One that no model would take is not sent.
    fs::write(session.ground.path("huge.png"), [PNG, &vec![0; 4 << 20]].concat()).unwrap();
    let refusal = session.ground.refused("read_file", json!({"path": "huge.png"}));
    assert!(refusal.text.contains("PNG image") && refusal.text.contains("base64"), "{refusal:?}");
    session.ground.end();
}

/// Size of a file of which almost nothing is on the disk.
const SPARSE_BYTES: u64 = 1 << 30;
/// More than a host may grow by windows of a file of any size.
const MAX_GROWTH_KIB: u64 = 4096;

/// Reads windows in all ways from a file that has text at its beginning, in its middle and at its end.
fn read_windows(session: &mut Session, path: &str, size: u64) {
    let middle = size / 2;
    let calls = [
        (json!({"path": path, "max_bytes": 1000}), "start 0\n"),
        (json!({"path": path, "start_line": 100, "max_lines": 3}), "start 99\n"),
        (json!({"path": path, "offset_bytes": middle, "max_bytes": 65536}), "middle 0\n"),
        (json!({"path": path, "offset_bytes": size - 10_000}), "end 1999\n"),
        (json!({"path": path, "tail_lines": 10}), "end 1999\n"),
        (json!({"path": path, "tail_lines": 1000}), "end 1000\n"),
    ];
    for (arguments, part) in calls {
        let read = session.ok("read_file", arguments.clone());
        assert!(read["text"].as_str().unwrap().contains(part), "{arguments}: {read}");
        assert_eq!(read["size_bytes"], size);
    }
    let base64 =
        json!({"path": path, "encoding": "base64", "offset_bytes": middle - 100_000, "max_bytes": 200_000});
    assert_eq!(session.ok("read_file", base64)["end_bytes"], middle + 100_000);
}

/// A file with 2000 lines of text in each of three places, and nothing between them.
fn make_sparse(session: &Session, path: &str, size: u64) {
    let lines = |place: &str| (0..2000).map(|number| format!("{place} {number}\n")).collect::<String>();
    let file = File::create(session.ground.path(path)).unwrap();
    file.set_len(size).unwrap();
    let end = lines("end");
    for (text, offset) in
        [(&lines("start"), 0), (&lines("middle"), size / 2), (&end, size - end.len() as u64)]
    {
        file.write_all_at(text.as_bytes(), offset).unwrap();
    }
}

#[test]
fn windows_of_a_huge_file_take_no_more_memory() {
    let mut session = Session::new();
    make_sparse(&session, "small", 1 << 20);
    make_sparse(&session, "huge", SPARSE_BYTES);
    read_windows(&mut session, "small", 1 << 20);
    let host = session.ground.host();
    let memory = kib(host, "VmHWM");
    for _ in 0..3 {
        read_windows(&mut session, "huge", SPARSE_BYTES);
    }
    let growth = kib(host, "VmHWM").saturating_sub(memory);
    assert!(growth < MAX_GROWTH_KIB, "the host grew by {growth} KiB");
    // What has to go through the file is bounded too.
    for (tool, arguments) in [
        ("search_files", json!({"path": "huge", "pattern": "end 1999"})),
        ("read_file", json!({"path": "huge", "start_line": 1_000_000})),
        ("edit_file", json!({"path": "huge", "edits": [{"old": "start 0\n", "new": "x"}]})),
        ("read_file", json!({"path": "huge", "offset_bytes": 1 << 24})),
    ] {
        session.ground.call(tool, arguments);
    }
    let growth = kib(host, "VmHWM").saturating_sub(memory);
    assert!(growth < 2 * MAX_GROWTH_KIB, "the host grew by {growth} KiB");
    assert_eq!(session.ground.host(), host);
    session.ok("delete_path", json!({"path": "huge"}));
    session.ground.end();
}
