//! Paths that led out of other file servers: siblings with the same beginning, links, missing parts, and what only
//! looks like a way out.

use std::fs;

use serde_json::json;

use crate::attempts::{BAIT, all, looks};
use crate::ground::{Ground, SIBLINGS, setup};

/// CVE-2025-53110: a root `/p/work` is no reason to open `/p/work2`.
#[test]
fn siblings_whose_names_begin_alike() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("f.txt", "inside").file("sub/f.txt", "inside");
    let outside = ground.outside();
    let outside = outside.display();
    for sibling in SIBLINGS {
        for path in [
            format!("{outside}/{sibling}"),
            format!("{outside}/{sibling}/f.txt"),
            format!("{outside}/{sibling}/new"),
            format!("{outside}/work/../{sibling}/f.txt"),
            format!("../{sibling}/f.txt"),
            format!("work:../{sibling}"),
            format!("sub/../../{sibling}/sub/f.txt"),
        ] {
            for (tool, arguments) in all(&path) {
                ground.outside_refused(tool, arguments);
            }
        }
    }
    for path in [format!("{outside}/work/f.txt"), format!("{outside}/work//./sub/../f.txt")] {
        assert_eq!(ground.ok("read_file", json!({"path": path}))["text"], "inside");
    }
    // A root that is not there is not guessed.
    for path in ["work2:f.txt", "wor:f.txt", "WORK:f.txt"] {
        let refusal = ground.refused("read_file", json!({"path": path}));
        assert!(refusal.text.contains("no root is called"), "{refusal:?}");
    }
    ground.end();
}

/// CVE-2025-53109: chains of links, loops, and links in the middle of a path.
#[test]
fn links_in_all_places() {
    let setup = setup();
    let outside = setup.folder.path().to_owned();
    // A way back in from outside is a way out all the same.
    std::os::unix::fs::symlink(setup.work(""), outside.join("back")).unwrap();
    let mut ground = Ground::start(setup);
    ground
        .file(BAIT, "bait")
        .file("f.txt", "inside")
        .file("sub/f.txt", "inside")
        .file("sub/deep/f.txt", "inside");
    ground.link("one", "two").link("two", "three").link("three", outside.join("outside"));
    ground.link("sub/up", "../../outside").link("sub/far", "deep/../../../outside");
    ground.link("back", outside.join("back")).link("around", "../work").link("absolute", ground.path("sub"));
    ground.link("proc", "/proc/self/root").link("cwd", "/proc/self/cwd").link("fd", "/proc/self/fd");
    ground.link("roots", "/roots").link("slash", "/").link("etc", "/etc/hosts");
    let ways = [
        "one/f.txt",
        "two/sub/f.txt",
        "three/new",
        "sub/up/f.txt",
        "sub/far/f.txt",
        "sub/far/new/x",
        "back/f.txt",
        "around/f.txt",
        "absolute/f.txt",
        "proc/etc/passwd",
        "cwd/f.txt",
        "fd/3/f.txt",
        "roots/0/f.txt",
        "slash/etc",
        "one/../f.txt",
        "sub/up/../there.txt",
        "slash/tmp",
    ];
    for (tool, arguments) in ways.into_iter().flat_map(all) {
        ground.outside_refused(tool, arguments);
    }
    for (tool, arguments) in ["etc", "one", "slash", "proc", "around"].into_iter().flat_map(looks) {
        // A link itself may be looked at and copied: what it says is in the root, what it leads to is not.
        if !["stat", "copy_path"].contains(&tool) {
            ground.outside_refused(tool, arguments);
        }
    }

    ground.link("loop", "loop").link("ping", "pong").link("pong", "ping");
    for path in ["loop", "ping", "loop/x", "ping/../pong/x"] {
        let refusal = ground.refused("read_file", json!({"path": path}));
        assert!(refusal.text.contains("loop"), "{refusal:?}");
        ground.refused("write_file", json!({"path": path, "content": "x", "overwrite": true}));
    }
    assert_eq!(ground.ok("stat", json!({"path": "loop"}))["link"]["leads"], "loop");

    // Forty links are followed, as by the kernel, and no more.
    ground.link("chain0", "sub");
    for number in 1..=45 {
        ground.link(&format!("chain{number}"), format!("chain{}", number - 1));
    }
    for tool in ["read_file", "stat"] {
        ground.ok(tool, json!({"path": "chain39/f.txt"}));
        ground.refused(tool, json!({"path": "chain44/f.txt"}));
    }
    let write = |path: &str| json!({"path": path, "content": "written", "overwrite": true});
    assert_eq!(ground.ok("write_file", write("chain39/f.txt"))["path"], "work:sub/f.txt");
    ground.refused("write_file", write("chain44/f.txt"));
    assert_eq!(ground.text("sub/f.txt"), "written");
    ground.end();
}

/// Where a path is not there yet, others fell back to its text.
#[test]
fn what_is_not_there_yet() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("dir/f.txt", "inside").link("in", "dir").link("out", "../outside");
    ground
        .link("dangling", "../outside/new.txt")
        .link("inner", "dir/new.txt")
        .link("deep", "../outside/new/er");
    for path in ["out/new.txt", "out/new/deep/x", "dangling", "deep", "deep/x", "dangling/x"] {
        ground.outside_refused("write_file", json!({"path": path, "content": "planted"}));
        ground.outside_refused("append_file", json!({"path": path, "content": "planted"}));
        ground.outside_refused("create_dir", json!({"path": path}));
    }
    // `..` behind something that is not there leads nowhere, not even back.
    for path in
        ["no/../../there.txt", "no/such/../../../evil", "no/../f.txt", "dir/f.txt/../f.txt", "dir/f.txt/x"]
    {
        for (tool, arguments) in all(path) {
            let refusal = ground.refused(tool, arguments);
            assert!(
                refusal.text.contains("no such") || refusal.text.contains("director"),
                "{path}: {refusal:?}"
            );
        }
    }
    let names = |ground: &Ground| fs::read_dir(ground.path("")).unwrap().count();
    let before = names(&ground);
    let refusal = ground.refused("write_file", json!({"path": "made/for/../../../evil", "content": "x"}));
    assert!(
        refusal.text.contains("`work:made/for/../../../evil`"),
        "the path that was asked for: {refusal:?}"
    );
    assert_eq!(names(&ground), before, "no directory was made on the way");

    let written = ground.ok("write_file", json!({"path": "in/some/new/file", "content": "new"}));
    assert_eq!(written["path"], "work:dir/some/new/file");
    let written = ground.ok("write_file", json!({"path": "inner", "content": "by a link"}));
    assert_eq!(
        (&written["path"], ground.text("dir/new.txt").as_str()),
        (&json!("work:dir/new.txt"), "by a link")
    );
    ground.ok("create_dir", json!({"path": "a/b/c"}));
    assert!(ground.path("a/b/c").is_dir());
    ground.end();
}

/// Names that only look like a way out are names.
#[test]
fn honest_names() {
    let mut ground = Ground::new();
    let names = [
        "..test",
        "te..st",
        "...",
        "....",
        ".. ",
        "..\u{200B}",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
        "..%2f",
        "C:",
        "\\..\\x",
        "-rf",
        "--output=evil",
        "*",
        "a b",
        "a'b\"c",
        "x;y",
        "$(id)",
        "`id`",
        "grüße",
        "日本",
        "e\u{301}",
        "name\n",
        "\t",
        "con",
        "\u{202E}gpj",
        "con.txt ",
        "#",
        "?",
        "&",
        "|",
        ">",
    ];
    for name in names {
        let path = format!("./new dir/{name}");
        let written = ground.ok("write_file", json!({"path": path, "content": name}));
        assert_eq!(written["path"], format!("work:new dir/{name}"));
        assert_eq!(ground.ok("read_file", json!({"path": path}))["text"], name);
        assert_eq!(ground.text(&format!("new dir/{name}")), name);
        let again = format!("{path}.copy");
        ground.ok("copy_path", json!({"from": path, "to": again}));
        ground.ok("delete_path", json!({"path": again}));
    }
    let listing = ground.ok("list_dir", json!({"path": "new dir", "hidden": true}));
    assert_eq!(listing["total"], names.len());
    let found = ground.ok("find_files", json!({"path": "new dir", "hidden": true, "kind": "file"}));
    assert_eq!(found["total"], names.len());
    // A line feed in a name does not make a second line of a listing.
    let text = ground.call("list_dir", json!({"path": "new dir", "hidden": true})).text();
    assert_eq!(text.lines().count(), names.len(), "{text}");
    ground.end();
}

/// Arguments are data: nothing in them is an option or a command of another program.
#[test]
fn patterns_are_only_patterns() {
    let mut ground = Ground::new();
    ground.file("a.txt", "--pre=evil\n-e\n$(touch evil)\n").file("--output=evil", "x");
    for (pattern, line) in [("--pre=evil", 1), ("-e", 2), ("$(touch evil)", 3)] {
        let found = ground.ok("search_files", json!({"pattern": pattern, "literal": true}));
        assert_eq!((&found["total"], &found["matches"][0]["line"]), (&json!(1), &json!(line)), "{pattern}");
    }
    assert_eq!(ground.ok("find_files", json!({"pattern": "--output*"}))["total"], 1);
    let up = ground.ok("find_files", json!({"pattern": "../*"}));
    assert_eq!(up["total"], 0);
    for glob in ["../**", "/etc/*", "/**"] {
        let found = ground.ok("search_files", json!({"pattern": "honest", "glob": [glob]}));
        assert_eq!(found["total"], 0, "{glob}");
    }
    assert_eq!(fs::read_dir(ground.path("")).unwrap().count(), 2);
    ground.end();
}
