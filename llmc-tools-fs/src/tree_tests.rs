//! `tree`.

use std::os::unix::ffi::OsStrExt as _;

use llmc_core::testing::item;

use super::*;
use crate::testing::Playground;

fn text(playground: &Playground, arguments: Value) -> String {
    playground.harness.call::<Tree>(arguments).unwrap().all_text()
}

#[test]
fn a_tree_is_drawn_with_what_is_below() {
    let playground = Playground::new();
    playground
        .file("src/walk/mod.rs", "")
        .file("src/lib.rs", "")
        .file("Cargo.toml", "")
        .file("a/b/c/d/e", "");
    playground.link("link", "src").fifo("pipe");
    std::fs::create_dir(playground.path("empty")).unwrap();
    assert_eq!(
        text(&playground, json!({})),
        "work:\n  Cargo.toml\n  a/\n    b/\n      c/ (1 entry)\n  empty/\n  link@\n  pipe (FIFO)\n  src/\n    lib.rs\n    \
         walk/\n      mod.rs\n[6 directories, 5 files]"
    );
    assert_eq!(
        text(&playground, json!({"path": "src", "depth": 1})),
        "work:src/\n  lib.rs\n  walk/ (1 entry)\n[1 directory, 1 file]"
    );
    let drawing = playground.ok::<Tree>(json!({"path": "a", "depth": 20}));
    let expected = json!({"tree": "work:a/\n  b/\n    c/\n      d/\n        e\n", "dirs": 3, "files": 1, "truncated": false});
    assert_eq!(drawing, expected);
}

#[test]
fn what_is_left_out_is_counted_where_it_is() {
    let playground = Playground::new();
    playground
        .file(".git/HEAD", "")
        .file(".env", "")
        .file(".gitignore", "target\n*.log\n")
        .file("target/x", "");
    playground.file("src/a.log", "").file("src/b.log", "").file("src/c.rs", "").file("src/.d", "");
    let drawn = "work: (3 hidden, 1 ignored)\n  src/ (1 hidden, 2 ignored)\n    c.rs\n[1 directory, 1 file]";
    assert_eq!(text(&playground, json!({})), drawn);
    let all = text(&playground, json!({"hidden": true, "ignored": true}));
    for name in [".git/", "HEAD", ".env", ".gitignore", "target/", "a.log", "b.log", "c.rs", ".d"] {
        assert!(all.contains(&format!("  {name}\n")), "{name}: {all}");
    }
    assert!(
        text(&playground, json!({"hidden": true})).starts_with("work: (2 ignored)\n  .env\n"),
        "git's own is not shown"
    );
}

#[test]
fn a_limit_cuts_off_what_is_deep() {
    let playground = Playground::new();
    for dir in ["a", "b"] {
        for number in 0..5 {
            playground.file(&format!("{dir}/{number}"), "");
        }
    }
    playground.file("z", "");
    assert_eq!(
        text(&playground, json!({"limit": 5})),
        "work:\n  a/ (3 more)\n    0\n    1\n  b/ (5 entries)\n  z\n[2 directories, 11 files]\n[5 of 13 entries drawn; raise \
         `limit`, lower `depth` or start further down]"
    );
    assert!(
        text(&playground, json!({"limit": 2}))
            .starts_with("work: (1 more)\n  a/ (5 entries)\n  b/ (5 entries)\n[")
    );
    assert_eq!(playground.ok::<Tree>(json!({"limit": 12}))["truncated"], true);
    assert_eq!(playground.ok::<Tree>(json!({"limit": 13}))["truncated"], false);
    assert_eq!(
        playground.ok::<Tree>(json!({"limit": 3, "depth": 1}))["truncated"],
        false,
        "deeper ones were not asked for"
    );
}

#[test]
fn a_name_cannot_forge_a_line() {
    let playground = Playground::new();
    playground.file("a\n  forged", "").file("dir\n/x", "");
    std::fs::write(playground.path("").join(std::ffi::OsStr::from_bytes(b"bad\xFF")), "").unwrap();
    let drawn = "work:\n  a\\n  forged\n  bad\u{FFFD}\n  dir\\n/\n    x\n[1 directory, 3 files]";
    assert_eq!(text(&playground, json!({})), drawn);
}

#[test]
fn nothing_outside_is_drawn() {
    let playground = Playground::new();
    playground.check_walls::<Tree>();
    let drawn = text(&playground, json!({}));
    assert!(drawn.contains("  to_dir@\n") && drawn.contains("inside.txt"), "{drawn}");
    assert!(!drawn.contains("secret.txt\n"), "{drawn}");
    let error = playground.refused::<Tree>(json!({"path": "dir/inside.txt"}));
    assert_eq!(
        error.message(),
        "cannot list `work:dir/inside.txt`: the path, or a part of it, is not a directory"
    );
    assert!(playground.refused::<Tree>(json!({"path": "none"})).message().contains("no such file"));
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<Tree>();
    for (name, default, most) in
        [("depth", DEFAULT_TREE_DEPTH, MAX_TREE_DEPTH), ("limit", DEFAULT_TREE_ENTRIES, MAX_TREE_ENTRIES)]
    {
        let property = &item.input_schema["properties"][name];
        let text = property["description"].as_str().unwrap();
        assert!(text.contains(&format!("Default: {default}.")), "{text}");
        assert_eq!(property["maximum"], most);
    }
    assert!(item.annotations.read_only);
}
