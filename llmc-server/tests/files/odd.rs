//! Names and trees of odd shapes, and work that could have no end: an answer or an error in time, and no path of the
//! machine in either.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::json;

use crate::attempts::{BAIT, all};
use crate::ground::{Ground, OUTSIDE};

/// Longest time for one call of this file, in a build that is not optimised.
const PATIENCE: Duration = Duration::from_secs(10);

/// Levels of a tree that is deeper than any path.
const DEEP: usize = 1000;

#[test]
fn paths_that_are_too_long() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait");
    let name = |length: usize| "n".repeat(length);
    let deep = "d/".repeat(1500);
    let long = format!("a/b/{}", name(300));
    for path in [name(4097), name(4096), name(256), format!("{long}/x"), long, "../".repeat(1400), deep] {
        for (tool, arguments) in all(&path) {
            let begun = Instant::now();
            let refusal = ground.refused(tool, arguments);
            assert!(begun.elapsed() < PATIENCE, "{tool} with {} bytes: {:?}", path.len(), begun.elapsed());
            let says_why =
                ["long", "no such", "director", OUTSIDE].iter().any(|why| refusal.text.contains(why));
            assert!(says_why, "{tool} with {} bytes: {refusal:?}", path.len());
            let left = fs::read_dir(ground.path("")).unwrap().count();
            assert_eq!(left, 1, "{tool} with {} bytes left what it made on the way", path.len());
        }
    }
    ground.ok("write_file", json!({"path": name(255), "content": "longest name"}));
    assert_eq!(ground.ok("read_file", json!({"path": name(255)}))["text"], "longest name");
    let long = format!("{}/f", vec![name(39); 99].join("/"));
    ground.ok("write_file", json!({"path": long, "content": "99 deep"}));
    assert_eq!(ground.ok("read_file", json!({"path": long}))["text"], "99 deep");
    ground.end();
}

/// A thousand directories in each other; no path reaches the last one.
fn make_deep(ground: &Ground, top: &str) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here: OwnedFd = openat(CWD, ground.path(top), flags, Mode::empty()).unwrap();
    for _ in 0..DEEP {
        mkdirat(here.as_fd(), "deeper", Mode::RWXU).unwrap();
        here = openat(here.as_fd(), "deeper", flags, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(here.as_fd(), "bottom", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(file, b"bottom\n").unwrap();
}

#[test]
fn a_tree_that_is_deeper_than_any_path() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("deep/near.txt", "near\n").file("plain/near.txt", "near\n");
    make_deep(&ground, "deep");
    let mut timed = |tool: &'static str, arguments: serde_json::Value| {
        let begun = Instant::now();
        let called = ground.call(tool, arguments);
        assert!(begun.elapsed() < PATIENCE, "{tool}: {:?}", begun.elapsed());
        assert!(!called.text().contains(ground.outside().to_str().unwrap()), "{tool}: {}", called.text());
        called
    };
    // What is too deep is told, not passed over in silence.
    for (tool, arguments) in [
        ("tree", json!({"depth": 20, "path": "deep"})),
        ("find_files", json!({"pattern": "bottom"})),
        ("search_files", json!({"pattern": "bottom"})),
    ] {
        let called = timed(tool, arguments);
        let text = called.text();
        assert!(tool == "tree" || text.contains("deep"), "{tool}: {text}");
        assert!(!called.is_error(), "{tool}: {text}");
    }
    let found = timed("search_files", json!({"pattern": "near"}));
    assert_eq!(found.ok()["total"], 2);
    let copied = timed("copy_path", json!({"from": "deep", "to": "copy"}));
    assert!(copied.error().contains("directories"), "{copied:?}");
    let moved = timed("move_path", json!({"from": "deep", "to": "moved"}));
    assert_eq!(moved.ok()["path"], "work:moved");
    let deleted = timed("delete_path", json!({"path": "moved", "recursive": true}));
    assert_eq!(deleted.ok()["entries"], DEEP + 3);
    let left: Vec<_> =
        fs::read_dir(ground.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2 && left.contains(&"plain".into()), "{left:?}");
    ground.end();
}

#[test]
fn names_that_are_no_text() {
    let mut ground = Ground::new();
    ground.file("dir/plain.txt", "findme\n");
    let odd = OsStr::from_bytes(b"odd-\xFF\xFE.txt");
    fs::write(ground.path("dir").join(odd), "findme\n").unwrap();
    fs::create_dir(ground.path("dir").join(OsStr::from_bytes(b"sub-\xC3"))).unwrap();
    let listing = ground.ok("list_dir", json!({"path": "dir"}));
    let lossy: Vec<bool> =
        listing["entries"].as_array().unwrap().iter().map(|entry| entry["lossy"] == true).collect();
    assert_eq!(lossy, [true, false, true], "{listing}");
    assert_eq!(ground.ok("find_files", json!({"path": "dir", "pattern": "*.txt"}))["total"], 2);
    assert_eq!(ground.ok("search_files", json!({"path": "dir", "pattern": "findme"}))["total"], 2);
    ground.ok("tree", json!({}));
    // Such a file cannot be named, but it goes along.
    assert_eq!(ground.ok("copy_path", json!({"from": "dir", "to": "copy"}))["entries"], 4);
    assert_eq!(fs::read(ground.path("copy").join(odd)).unwrap(), b"findme\n");
    ground.ok("move_path", json!({"from": "copy", "to": "moved"}));
    assert_eq!(ground.ok("delete_path", json!({"path": "moved", "recursive": true}))["entries"], 4);
    ground.refused("read_file", json!({"path": "dir/odd-\u{FFFD}\u{FFFD}.txt"}));
    ground.end();
}

/// Hard links to files outside count as inside, see SECURITY.md; but no tool changes what has another name outside.
#[test]
fn a_hard_link_to_a_file_outside_is_not_written_through() {
    let mut ground = Ground::new();
    let there = ground.outside().join("there.txt");
    fs::write(&there, "shared honest\n").unwrap();
    for name in ["write", "edit", "append", "move", "delete"] {
        fs::hard_link(&there, ground.path(name)).unwrap();
    }
    ground.file(BAIT, "bait");
    ground.ok("write_file", json!({"path": "write", "content": "planted", "overwrite": true}));
    ground.ok("edit_file", json!({"path": "edit", "edits": [{"old": "honest", "new": "planted"}]}));
    let refusal = ground.refused("append_file", json!({"path": "append", "content": "planted"}));
    assert!(refusal.text.contains("hard links"), "{refusal:?}");
    ground.ok("move_path", json!({"from": BAIT, "to": "move", "overwrite": true}));
    ground.ok("delete_path", json!({"path": "delete"}));
    assert_eq!(fs::read_to_string(&there).unwrap(), "shared honest\n");
    assert_eq!(
        (ground.text("write").as_str(), ground.text("edit").as_str()),
        ("planted", "shared planted\n")
    );
    ground.server.stop();
}

#[test]
fn files_and_patterns_that_could_take_for_ever() {
    let mut ground = Ground::new();
    // A line without end, and one that makes a backtracking engine explode.
    ground.file("endless.txt", "x".repeat(48 << 20)).file("evil.txt", format!("{}b\n", "a".repeat(100_000)));
    let calls = [
        ("read_file", json!({"path": "endless.txt"})),
        ("read_file", json!({"path": "endless.txt", "start_line": 2})),
        ("read_file", json!({"path": "endless.txt", "tail_lines": 5})),
        ("read_file", json!({"path": "endless.txt", "max_lines": 1, "max_bytes": 1_048_576})),
        ("read_files", json!({"paths": vec!["endless.txt"; 50], "max_bytes": 1_048_576})),
        ("search_files", json!({"path": "endless.txt", "pattern": "y"})),
        ("search_files", json!({"path": "endless.txt", "pattern": "x", "context": 20})),
        ("search_files", json!({"pattern": "(a+)+$"})),
        ("search_files", json!({"pattern": "(a|a)*c"})),
        ("search_files", json!({"pattern": "((a{1,100}){1,100}){1,100}"})),
        ("search_files", json!({"pattern": "(".repeat(5000)})),
        ("search_files", json!({"pattern": "a{4294967295}"})),
        ("find_files", json!({"pattern": "{a,b}".repeat(200)})),
        ("find_files", json!({"pattern": "**/".repeat(300)})),
        ("find_files", json!({"pattern": "*a".repeat(500)})),
        ("find_files", json!({"pattern": "[".repeat(1000)})),
        ("edit_file", json!({"path": "evil.txt", "edits": [{"old": "a", "new": "aa"}]})),
        (
            "edit_file",
            json!({"path": "evil.txt", "edits": [{"old": "a", "new": "a".repeat(1000), "expected_count": 100_000}]}),
        ),
    ];
    for (tool, arguments) in calls {
        let begun = Instant::now();
        let called = ground.call(tool, arguments.clone());
        let took = begun.elapsed();
        assert!(took < PATIENCE, "{tool} {arguments}: {took:?}");
        assert!(called.0.to_string().len() < 4 << 20, "{tool} {arguments}");
    }
    assert_eq!(ground.ok("search_files", json!({"path": "evil.txt", "pattern": "a+b"}))["total"], 1);
    ground.end();
}
