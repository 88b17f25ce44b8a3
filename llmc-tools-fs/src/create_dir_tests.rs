//! `create_dir`.

use std::fs;
use std::os::unix::fs::symlink;

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::limits::MAX_DEPTH;
use crate::testing::Playground;

#[test]
fn missing_parents_are_made_and_what_is_there_stays() {
    let place = Playground::new();
    assert_eq!(
        place.ok::<CreateDir>(json!({"path": "a/b/c"})),
        json!({"path": "work:a/b/c", "created": true})
    );
    assert!(place.path("a/b/c").is_dir());
    place.file("a/b/c/f", "x");
    for path in ["a/b/c", "work:a/./b/c/", "a/b/../b/c", "."] {
        assert_eq!(place.ok::<CreateDir>(json!({"path": path}))["created"], false, "{path}");
    }
    assert_eq!(fs::read_to_string(place.path("a/b/c/f")).unwrap(), "x");
    let text = |path: &str| place.harness.call::<CreateDir>(json!({"path": path})).unwrap().all_text();
    assert_eq!(text("new"), "created `work:new`");
    assert_eq!(text("new"), "`work:new` is there already");
    assert_eq!(text("line\nfeed"), "created `work:line\\nfeed`");
}

#[test]
fn a_file_is_in_the_way() {
    let place = Playground::new();
    place.file("f", "x").link("to_f", "f").fifo("pipe");
    for path in ["f", "f/a", "to_f", "to_f/a/b", "pipe", "pipe/a"] {
        let error = place.refused::<CreateDir>(json!({"path": path}));
        assert!(error.message().contains("is not a directory"), "{path}: {error}");
    }
    assert_eq!(fs::read_to_string(place.path("f")).unwrap(), "x");
}

#[test]
fn links_inside_are_followed_also_where_nothing_is_yet() {
    let place = Playground::new();
    place.file("dir/x", "").link("to_dir", "dir").link("new", "dir/later/still");
    assert_eq!(place.ok::<CreateDir>(json!({"path": "to_dir/a"}))["path"], "work:dir/a");
    assert_eq!(place.ok::<CreateDir>(json!({"path": "new/b"}))["path"], "work:dir/later/still/b");
    assert!(place.path("dir/later/still/b").is_dir());
}

#[test]
fn nothing_is_made_outside() {
    let place = Playground::new();
    place.check_walls::<CreateDir>();
    place.link("out", "../project2/new").link("abs", place.outside().join("project2/new"));
    for path in ["../new", "dir/../../new", "out", "out/deeper", "abs/deeper", "new/../../evil"] {
        place.refused::<CreateDir>(json!({"path": path}));
    }
    for path in ["new", "evil", "project2/new"] {
        assert!(!place.outside().join(path).exists(), "{path}");
    }
    let error = place.refused::<CreateDir>(json!({"path": "missing/../x"}));
    assert!(error.message().ends_with("no such file or directory"), "as the kernel would say: {error}");
}

#[test]
fn protected_paths_and_read_only_roots_are_refused() {
    let place = Playground::new();
    place.file("repo/.git/config", "").link("hooks", "repo/.git/hooks");
    for path in ["repo/.git/hooks", "repo/.GIT/x", ".git", "hooks", "hooks/a", ".cargo/config.toml/x"] {
        let error = place.refused::<CreateDir>(json!({"path": path}));
        assert_eq!(error.code(), code::DENIED, "{path}");
        assert!(error.message().contains("is protected"), "{path}: {error}");
    }
    assert!(!place.path("repo/.git/hooks").exists());
    place.ok::<CreateDir>(json!({"path": ".cargo"}));
    let harness = Harness::new().root("docs", place.path("repo"), Access::Ro);
    let error = harness.call::<CreateDir>(json!({"path": "docs:new"})).unwrap_err();
    assert_eq!((error.code(), place.path("repo/new").exists()), (code::DENIED, false));
    assert_eq!(error.message(), "cannot create `docs:new`: root `docs` is read-only");
}

#[test]
fn depth_has_a_limit_before_anything_is_made() {
    let place = Playground::new();
    let deep = |count: usize| vec!["d"; count].join("/");
    let error = place.refused::<CreateDir>(json!({"path": deep(MAX_DEPTH + 1)}));
    assert!(error.message().contains("more than 100 directories"), "{error}");
    assert!(!place.path("d").exists());
    place.ok::<CreateDir>(json!({"path": deep(MAX_DEPTH)}));
}

#[test]
fn what_was_made_on_the_way_goes_if_the_rest_cannot_be_made() {
    let place = Playground::new();
    place.file("there/x", "x");
    let long = "n".repeat(300);
    for path in [format!("a/b/{long}"), format!("there/a/b/c/{long}/d"), long] {
        let error = place.refused::<CreateDir>(json!({"path": path}));
        assert!(error.message().contains("name too long"), "{error}");
    }
    assert_eq!(place.all(""), ["there/", "there/x"]);
}

#[test]
fn a_swapped_link_never_leads_out() {
    let place = Playground::new();
    fs::create_dir(place.path("real")).unwrap();
    symlink(place.outside().join("project2"), place.path("spare")).unwrap();
    place.race("real", "spare", || {
        for round in 0..2000 {
            let _ = place.harness.call::<CreateDir>(json!({"path": format!("real/{round}/x")}));
        }
    });
    let outside: Vec<_> = fs::read_dir(place.outside().join("project2")).unwrap().collect();
    assert_eq!(outside.len(), 1, "only the secret: {outside:?}");
    let dir = if place.path("real").is_symlink() { "spare" } else { "real" };
    assert!(fs::read_dir(place.path(dir)).unwrap().count() > 0, "some rounds met the directory");
}

#[test]
fn the_tool_is_described() {
    let item = item::<CreateDir>();
    assert_eq!(item.annotations, Annotations::ADDITIVE.idempotent(true));
    assert_eq!(item.input_schema["required"], json!(["path"]));
}
