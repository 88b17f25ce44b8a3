//! `move_path`.

use std::fs;
use std::os::unix::fs::symlink;

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

fn moved(place: &Playground, from: &str, to: &str) -> Value {
    place.ok::<MovePath>(json!({"from": from, "to": to}))
}

/// The error, without the names that it begins with.
#[track_caller]
fn refused(place: &Playground, from: &str, to: &str, overwrite: bool) -> String {
    let before = place.all("");
    let error = place.refused::<MovePath>(json!({"from": from, "to": to, "overwrite": overwrite}));
    assert_eq!(place.all(""), before, "nothing has changed");
    let text = error.message();
    text.rsplit_once("`: ").map_or(text, |(_, text)| text).to_owned()
}

#[test]
fn files_directories_links_and_special_files_are_moved() {
    let place = Playground::new();
    place.file("a", "text").file("dir/sub/x", "").link("link", "a").fifo("pipe");
    place.link("out", place.outside().join("project2"));
    assert_eq!(moved(&place, "a", "dir/b"), json!({"path": "work:dir/b", "replaced": false}));
    moved(&place, "dir/sub", "top");
    moved(&place, "link", "dir/link");
    moved(&place, "out", "line\nfeed");
    moved(&place, "pipe", "dir/pipe");
    assert_eq!(fs::read_to_string(place.path("dir/b")).unwrap(), "text");
    let out = format!("line\nfeed -> {}", place.outside().join("project2").display());
    assert_eq!(place.all(""), ["dir/", "dir/b", "dir/link -> a", "dir/pipe", &out, "top/", "top/x"]);
    let answer = place.harness.call::<MovePath>(json!({"from": "line\nfeed", "to": "x"})).unwrap();
    assert_eq!(answer.all_text(), "moved `work:line\\nfeed` to `work:x`");
    place.check_outside_is_whole();
}

#[test]
fn only_a_file_replaces_a_file_and_only_on_request() {
    let place = Playground::new();
    place.file("a", "new").file("b", "old").file("dir/x", "").link("link", "b").fifo("pipe");
    fs::create_dir(place.path("empty")).unwrap();
    assert_eq!(refused(&place, "a", "b", false), "a file is there already; `overwrite` replaces a file");
    for (from, to, expected) in [
        (
            "a",
            "link",
            "only a file replaces a file, and not a file a symbolic link; `delete_path` makes room",
        ),
        (
            "link",
            "a",
            "only a file replaces a file, and not a symbolic link a file; `delete_path` makes room",
        ),
        ("dir", "a", "only a file replaces a file, and not a directory a file; `delete_path` makes room"),
        ("a", "pipe", "only a file replaces a file, and not a file a FIFO; `delete_path` makes room"),
        ("a", "dir", "a directory is there; to move into it, give the whole new path, `work:dir/a`"),
        ("dir", "empty", "a directory is there; to move into it, give the whole new path, `work:empty/dir`"),
    ] {
        let error = place.refused::<MovePath>(json!({"from": from, "to": to, "overwrite": true}));
        assert!(error.message().ends_with(expected), "{error}");
        refused(&place, from, to, false);
    }
    let answer = place.harness.call::<MovePath>(json!({"from": "a", "to": "b", "overwrite": true})).unwrap();
    assert_eq!(answer.all_text(), "moved `work:a` to `work:b`, replacing the file that was there");
    assert_eq!(answer.structured.unwrap(), json!({"path": "work:b", "replaced": true}));
    assert_eq!(fs::read_to_string(place.path("b")).unwrap(), "new");
    assert!(!place.path("a").exists());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Playground::new();
    place.file("dir/sub/x", "").file("f", "").link("alias", "dir/sub");
    fs::hard_link(place.path("f"), place.path("twin")).unwrap();
    assert_eq!(refused(&place, "dir", "dir/sub/dir", false), "a directory cannot be moved into itself");
    assert_eq!(refused(&place, "dir", "alias/new", false), "a directory cannot be moved into itself");
    let twins = "both are names of one file; `delete_path` removes one of them";
    assert_eq!(refused(&place, "f", "twin", true), twins);
    assert_eq!(refused(&place, "f", "f", true), twins);
    let unfinished = ".f.llmc-0123456789abcdef.tmp";
    assert!(
        refused(&place, "f", unfinished, false)
            .starts_with("names of this form are those of unfinished files")
    );
    assert_eq!(refused(&place, "none", "new", false), "no such file or directory");
    assert_eq!(refused(&place, "f", "none/new", false), "no such file or directory");
    assert!(refused(&place, "f", "twin/new", false).contains("not a directory"));
}

#[test]
fn nothing_outside_is_moved_or_reached() {
    let place = Playground::new();
    place.file("f", "").file("dir/x", "").link("out", place.outside().join("project2")).link("up", "..");
    for path in
        ["../secret.txt", "out/secret.txt", "up/secret.txt", "..", "dir/../../secret.txt", "/etc/passwd"]
    {
        assert_eq!(refused(&place, path, "new", true), "the path is outside the granted roots", "{path}");
        assert_eq!(refused(&place, "f", path, true), "the path is outside the granted roots", "{path}");
    }
    for path in [".", "work:", "dir/.."] {
        assert!(refused(&place, path, "new", false).contains("the top of a root"), "{path}");
        assert!(refused(&place, "f", path, true).contains("the top of a root"), "{path}");
    }
    place.check_outside_is_whole();
}

#[test]
fn protected_paths_and_their_holders_stay() {
    let place = Playground::new();
    place
        .file("repo/.git/hooks/old", "")
        .file("repo/evil", "")
        .file("cfg/config.toml", "")
        .file(".cargo/x", "");
    place.link("hooks", "repo/.git/hooks").link("git", "repo/.git");
    for (from, to) in [
        ("repo/evil", "repo/.git/hooks/pre-commit"),
        ("repo/evil", "cfg/.GIT"),
        ("repo/evil", "hooks/pre-commit"),
        ("repo/evil", "repo/.git/hooks/old"),
        ("repo/.git", "old"),
        ("hooks/old", "old"),
        ("repo/evil", ".cargo/config.toml"),
        ("cfg", "repo/.cargo"),
        ("cfg", "repo/.CARGO"),
        (".cargo", "old"),
        ("cfg", ".git"),
    ] {
        let before = place.all("");
        let error = place.refused::<MovePath>(json!({"from": from, "to": to, "overwrite": true}));
        assert_eq!((error.code(), place.all("")), (code::DENIED, before), "{from} to {to}");
        assert!(error.message().contains("is protected"), "{from} to {to}: {error}");
    }
    moved(&place, "git", "dir-link");
    moved(&place, "repo", "renamed");
    assert!(place.path("renamed/.git/hooks/old").exists(), "a repository is moved as a whole");
}

#[test]
fn roots_say_what_may_be_moved() {
    let (work, docs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(work.path().join("f"), "").unwrap();
    fs::write(docs.path().join("d"), "").unwrap();
    fs::create_dir_all(work.path().join("a/sub")).unwrap();
    let harness = Harness::new()
        .root("work", work.path(), Access::Rw)
        .root("docs", docs.path(), Access::Ro)
        .root("sub", work.path().join("a/sub"), Access::Rw);
    let call = |from: &str, to: &str| harness.call::<MovePath>(json!({"from": from, "to": to}));
    for (from, to) in [("docs:d", "d"), ("f", "docs:f")] {
        let error = call(from, to).unwrap_err();
        assert_eq!(error.code(), code::DENIED);
        assert!(error.message().ends_with("root `docs` is read-only"), "{error}");
    }
    for path in ["a", "a/sub"] {
        let error = call(path, "b").unwrap_err();
        assert!(error.message().ends_with("root `sub` begins in it"), "{error}");
    }
    assert!(call("a", "sub:a").is_err(), "into itself by another name");
    call("f", "sub:f").unwrap();
    assert!(work.path().join("a/sub/f").exists());
    assert_eq!(fs::read_dir(docs.path()).unwrap().count(), 1);
}

#[test]
fn between_file_systems_there_is_advice() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not checked: there is no second file system");
        return;
    };
    let place = Playground::new();
    place.file("f", "x");
    let device = |path: &std::path::Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    if device(memory.path()) == device(&place.path("")) {
        eprintln!("not checked: there is no second file system");
        return;
    }
    let harness =
        Harness::new().root("work", place.path(""), Access::Rw).root("memory", memory.path(), Access::Rw);
    let error = harness.call::<MovePath>(json!({"from": "f", "to": "memory:f"})).unwrap_err();
    assert!(error.message().contains("different file systems; use `copy_path`"), "{error}");
    assert!(place.path("f").exists());
}

#[test]
fn a_swapped_link_never_leads_out() {
    let place = Playground::new();
    place.file("door/keep", "");
    for round in 0..2000 {
        place.file(&format!("pool/{round}"), "");
    }
    symlink(place.outside().join("project2"), place.path("spare")).unwrap();
    let (mut there, mut back) = (0, 0);
    place.race("door", "spare", || {
        for round in 0..2000 {
            let (inner, outer) = (format!("door/{round}"), format!("pool/{round}"));
            let call = |from: &str, to: &str| {
                place.harness.call::<MovePath>(json!({"from": from, "to": to, "overwrite": true})).is_ok()
            };
            there += u32::from(call(&outer, &inner));
            back += u32::from(call(&inner, &outer));
            assert!(!call("door/secret.txt", "pool/stolen"), "the secret is outside");
            assert!(!call("pool/none", "door/secret.txt"));
        }
    });
    place.check_outside_is_whole();
    assert!(there > 0 && back > 0, "{there} {back}");
}

#[test]
fn the_tool_is_described() {
    let item = item::<MovePath>();
    assert_eq!((item.annotations, item.title.as_str()), (Annotations::DESTRUCTIVE, "Move path"));
    assert_eq!(item.input_schema["required"], json!(["from", "to"]));
}
