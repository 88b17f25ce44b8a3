//! `find_files`.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

fn find(playground: &Playground, arguments: Value) -> Vec<String> {
    let found = playground.ok::<FindFiles>(arguments);
    let path = |entry: &Value| entry["path"].as_str().unwrap().strip_prefix("work:").unwrap().to_owned();
    found["entries"].as_array().unwrap().iter().map(path).collect()
}

fn text(playground: &Playground, arguments: Value) -> String {
    playground.harness.call::<FindFiles>(arguments).unwrap().all_text()
}

fn sample() -> Playground {
    let playground = Playground::new();
    for path in
        ["src/main.rs", "src/walk/mod.rs", "src/walk/read.rs", "tests/it/main.rs", "Cargo.toml", "README"]
    {
        playground.file(path, path);
    }
    playground.link("link.rs", "src/main.rs").link("out", playground.outside()).fifo("pipe.rs");
    playground
}

#[test]
fn a_glob_without_a_slash_is_about_names() {
    let playground = sample();
    let rust =
        ["link.rs", "pipe.rs", "src/main.rs", "src/walk/mod.rs", "src/walk/read.rs", "tests/it/main.rs"];
    assert_eq!(find(&playground, json!({"pattern": "*.rs"})), rust);
    assert_eq!(
        find(&playground, json!({"pattern": "m*.rs", "path": "src"})),
        ["src/main.rs", "src/walk/mod.rs"]
    );
    assert_eq!(find(&playground, json!({"pattern": "{README,Cargo.toml}"})), ["Cargo.toml", "README"]);
    assert_eq!(find(&playground, json!({"pattern": "walk"})), ["src/walk"]);
    assert_eq!(
        find(&playground, json!({"pattern": "?ain.[a-r][!a-r]"})),
        ["src/main.rs", "tests/it/main.rs"]
    );
    assert_eq!(find(&playground, json!({"pattern": "*.RS"})), [""; 0]);
}

#[test]
fn a_glob_with_a_slash_is_about_paths() {
    let playground = sample();
    assert_eq!(find(&playground, json!({"pattern": "src/*.rs"})), ["src/main.rs"]);
    assert_eq!(
        find(&playground, json!({"pattern": "src/**/*.rs"})),
        ["src/main.rs", "src/walk/mod.rs", "src/walk/read.rs"]
    );
    assert_eq!(find(&playground, json!({"pattern": "**/main.rs"})), ["src/main.rs", "tests/it/main.rs"]);
    assert_eq!(find(&playground, json!({"pattern": "./src/main.rs"})), ["src/main.rs"]);
    assert_eq!(
        find(&playground, json!({"pattern": "/walk/*", "path": "src"})),
        ["src/walk/mod.rs", "src/walk/read.rs"]
    );
}

#[test]
fn kinds_are_those_of_the_entries_themselves() {
    let playground = sample();
    assert_eq!(find(&playground, json!({"kind": "symlink"})), ["link.rs", "out"]);
    assert_eq!(find(&playground, json!({"kind": "dir"})), ["src", "src/walk", "tests", "tests/it"]);
    assert_eq!(
        find(&playground, json!({"kind": "file", "pattern": "*[eE]*"})),
        ["README", "src/walk/read.rs"]
    );
    assert_eq!(
        text(&playground, json!({"pattern": "{link.rs,pipe.rs,tests}"})),
        "work:link.rs@\nwork:pipe.rs (FIFO)\nwork:tests/"
    );
}

#[test]
fn sizes_are_inclusive() {
    let playground = Playground::new();
    playground
        .file("0", "")
        .file("9", "x".repeat(9))
        .file("10", "x".repeat(10))
        .file("dir/11", "x".repeat(11));
    playground.link("link", "10");
    assert_eq!(find(&playground, json!({"min_bytes": 9, "max_bytes": 10})), ["10", "9"]);
    assert_eq!(find(&playground, json!({"max_bytes": 0})), ["0"]);
    assert_eq!(
        text(&playground, json!({"min_bytes": 11})).split('\t').take(2).collect::<Vec<_>>(),
        ["work:dir/11", "11"]
    );
    let plain = playground.ok::<FindFiles>(json!({"pattern": "9"}));
    assert_eq!(plain["entries"][0], json!({"path": "work:9", "kind": "file"}), "no facts unless asked for");
}

#[test]
fn ages_are_counted_from_now() {
    let playground = Playground::new();
    for (name, age) in [("new", 10), ("hour", 3600), ("day", 86_400)] {
        playground.file(name, "");
        let time = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(playground.path(name)).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(find(&playground, json!({"max_age_seconds": 600})), ["new"]);
    assert_eq!(find(&playground, json!({"min_age_seconds": 600, "max_age_seconds": 7200})), ["hour"]);
    assert_eq!(find(&playground, json!({"min_age_seconds": 600})), ["day", "hour"]);
    assert_eq!(find(&playground, json!({"newest_first": true})), ["new", "hour", "day"]);
    assert_eq!(find(&playground, json!({"newest_first": true, "offset": 1, "limit": 1})), ["hour"]);
    assert_eq!(find(&playground, json!({"max_age_seconds": u64::MAX, "min_age_seconds": 0})).len(), 3);
    let entry = &playground.ok::<FindFiles>(json!({"newest_first": true}))["entries"][2];
    assert!(entry["modified"].as_str().unwrap().ends_with('Z') && entry["size_bytes"] == 0, "{entry}");
}

#[test]
fn pages_add_up() {
    let playground = Playground::new();
    for number in 0..25 {
        playground.file(&format!("{}/{number:02}", number % 3), "");
    }
    let all = find(&playground, json!({}));
    let (mut seen, mut offset) = (Vec::new(), json!(0));
    loop {
        let page = playground.ok::<FindFiles>(json!({"limit": 10, "offset": offset}));
        assert_eq!(page["total"], 28);
        let paths = page["entries"].as_array().unwrap().iter();
        seen.extend(paths.map(|entry| entry["path"].as_str().unwrap()["work:".len()..].to_owned()));
        match page.get("next_offset") {
            Some(next) => offset = next.clone(),
            None => break,
        }
    }
    assert_eq!((seen.len(), seen), (28, all));
    assert_eq!(text(&playground, json!({"limit": 1})), "work:0/\n[1 to 1 of 28; read on with offset 1]");
    assert_eq!(text(&playground, json!({"offset": 99})), "(no more results)");
}

#[test]
fn hidden_and_ignored_files_are_found_on_request() {
    let playground = Playground::new();
    playground
        .file(".git/HEAD", "")
        .file(".gitignore", "*.log\n")
        .file("a.log", "")
        .file(".b.log", "")
        .file("c", "");
    assert_eq!(find(&playground, json!({"kind": "file"})), ["c"]);
    assert_eq!(find(&playground, json!({"kind": "file", "ignored": true})), ["a.log", "c"]);
    assert_eq!(find(&playground, json!({"kind": "file", "hidden": true})), [".gitignore", "c"]);
    let all = [".b.log", ".git/HEAD", ".gitignore", "a.log", "c"];
    assert_eq!(find(&playground, json!({"kind": "file", "hidden": true, "ignored": true})), all);
    assert_eq!(
        text(&playground, json!({"pattern": "*.log"})),
        "(nothing found)\n[hidden or ignored files were left out; `hidden` and `ignored` include them]"
    );
    assert_eq!(
        text(&playground, json!({"pattern": "log"})),
        "(nothing found)\n[no name is exactly `log`; `*log*` finds names that contain it]"
    );
}

#[test]
fn nothing_outside_is_found() {
    let playground = sample();
    playground.check_walls::<FindFiles>();
    for pattern in ["secret.txt", "**/secret.txt", "../secret.txt", "out/**", "/**"] {
        let found = find(&playground, json!({"pattern": pattern, "hidden": true, "ignored": true}));
        assert!(!found.iter().any(|path| path.contains("secret")), "{pattern}: {found:?}");
    }
    assert_eq!(
        find(&playground, json!({"pattern": "inside.txt"})),
        ["dir/inside.txt"],
        "the allowance beside"
    );
}

#[test]
fn odd_names_are_found_and_cannot_forge_a_line() {
    let playground = Playground::new();
    playground.file("a\nwork:forged", "").file("grüße 日本/x", "");
    std::fs::write(playground.path("").join(std::ffi::OsStr::from_bytes(b"bad\xFF.rs")), "").unwrap();
    assert_eq!(find(&playground, json!({"pattern": "*.rs"})), ["bad\u{FFFD}.rs"]);
    assert_eq!(text(&playground, json!({"pattern": "*forged"})), "work:a\\nwork:forged");
    assert_eq!(find(&playground, json!({"pattern": "gr*/x"})), ["grüße 日本/x"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let playground = sample();
    for (arguments, expected) in [
        (json!({"pattern": "[a"}), "`pattern` is not a glob: unclosed character class"),
        (json!({"pattern": "a{b"}), "`pattern` is not a glob: unclosed alternate group"),
        (
            json!({"pattern": "x".repeat(MAX_GLOB_BYTES + 1)}),
            "`pattern` is not a glob: it is longer than 1024 bytes",
        ),
    ] {
        let error = playground.refused::<FindFiles>(arguments);
        assert_eq!(error.code(), code::INVALID_ARGUMENTS);
        assert!(error.message().starts_with(expected), "{error}");
    }
    let error = playground.refused::<FindFiles>(json!({"path": "README"}));
    assert!(error.message().ends_with("is not a directory"), "{error}");
    assert_eq!(Harness::new().call::<FindFiles>(json!({})).unwrap_err().code(), code::DENIED);
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<FindFiles>();
    let limit = &item.input_schema["properties"]["limit"];
    assert!(limit["description"].as_str().unwrap().contains(&format!("Default: {DEFAULT_FIND_ENTRIES}.")));
    assert_eq!(limit["maximum"], MAX_FIND_ENTRIES);
    assert_eq!(item.title, "Find files");
    assert!(item.annotations.read_only && item.output_schema.is_some());
}
