//! `list_dir`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

fn names(listing: &Value) -> Vec<&str> {
    listing["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

fn text(place: &Playground, arguments: Value) -> String {
    place.harness.call::<ListDir>(arguments).unwrap().all_text()
}

#[test]
fn entries_are_sorted_and_have_a_kind() {
    let place = Playground::new();
    place.file("b.txt", "12345").file("dir/x", "").file("B", "").link("a-link", "dir").fifo("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    let listing = place.ok::<ListDir>(json!({}));
    assert_eq!(listing["path"], "work:");
    assert_eq!(names(&listing), ["B", "a-link", "b.txt", "dir", "pipe", "socket"]);
    let kinds: Vec<_> =
        listing["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["file", "symlink", "file", "dir", "fifo", "socket"]);
    assert_eq!((&listing["total"], listing.get("next_offset")), (&json!(6), None));
    assert_eq!(listing["entries"][2], json!({"name": "b.txt", "kind": "file"}), "no sizes unless asked for");
    assert_eq!(text(&place, json!({})), "B\na-link@\nb.txt\ndir/\npipe (FIFO)\nsocket (socket)");
    assert_eq!(names(&place.ok::<ListDir>(json!({"path": "a-link"}))), ["x"], "links inside are followed");
}

#[test]
fn pages_add_up() {
    let place = Playground::new();
    for number in 0..25 {
        place.file(&format!("dir/{number:02}"), "");
    }
    let mut seen = Vec::new();
    let mut offset = json!(0);
    loop {
        let page = place.ok::<ListDir>(json!({"path": "dir", "limit": 10, "offset": offset}));
        assert_eq!(page["total"], 25);
        seen.extend(names(&page).iter().map(|name| (*name).to_owned()));
        match page.get("next_offset") {
            Some(next) => offset = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    let first = text(&place, json!({"path": "dir", "limit": 2}));
    assert_eq!(first, "00\n01\n[entries 1 to 2 of 25; read on with offset 2]");
    assert_eq!(text(&place, json!({"path": "dir", "offset": 99})), "(no more entries)");
}

#[test]
fn hidden_entries_are_shown_on_request() {
    let place = Playground::new();
    place.file(".hidden", "").file("..odd", "").file("seen", "");
    let listing = place.ok::<ListDir>(json!({"path": "."}));
    assert_eq!((names(&listing), &listing["hidden_entries"]), (vec!["seen"], &json!(2)));
    assert_eq!((&listing["total"], listing.get("next_offset")), (&json!(1), None));
    assert_eq!(names(&place.ok::<ListDir>(json!({"hidden": true}))), ["..odd", ".hidden", "seen"]);
    assert_eq!(text(&place, json!({})), "seen\n[2 hidden entries not shown]");
}

#[test]
fn sizes_are_those_of_the_entries_themselves() {
    let place = Playground::new();
    place
        .file("a", "12345")
        .file("dir/b", "")
        .link("to_a", "a")
        .link("out", place.outside().join("secret.txt"));
    let listing = place.ok::<ListDir>(json!({"with_sizes": true}));
    let sizes: Vec<_> =
        listing["entries"].as_array().unwrap().iter().map(|entry| entry.get("size_bytes")).collect();
    assert_eq!(sizes, [Some(&json!(5)), None, None, None], "{listing}");
    assert_eq!(text(&place, json!({"with_sizes": true})), "a\t5\ndir/\nout@\nto_a@");
}

#[test]
fn odd_names_are_marked_and_cannot_forge_a_line() {
    let place = Playground::new();
    place.file("grüße 日本 😀", "").file("a\nb", "");
    fs::write(place.path("").join(OsStr::from_bytes(b"bad\xFFname")), "").unwrap();
    let listing = place.ok::<ListDir>(json!({}));
    assert_eq!(names(&listing), ["a\nb", "bad\u{FFFD}name", "grüße 日本 😀"]);
    assert_eq!(listing["entries"][1]["lossy"], true);
    assert_eq!(listing["entries"][2].get("lossy"), None);
    assert_eq!(text(&place, json!({})), "a\\nb\nbad\u{FFFD}name\ngrüße 日本 😀");
}

#[test]
fn nothing_outside_is_listed() {
    let place = Playground::new();
    place.check_walls::<ListDir>();
    for path in ["to_dir", "to_nothing", "proc"] {
        place.check_outside::<ListDir>(path);
    }
    assert_eq!(
        names(&place.ok::<ListDir>(json!({"path": "dir"}))),
        ["chain", "inside.txt"],
        "the allowance beside"
    );
}

#[test]
fn what_is_no_directory_is_refused() {
    let place = Playground::new();
    place.file("a", "").fifo("pipe");
    for path in ["a", "a/b", "pipe"] {
        let error = place.refused::<ListDir>(json!({"path": path}));
        assert!(error.message().contains("is not a directory"), "{error}");
    }
    assert!(place.refused::<ListDir>(json!({"path": "none"})).message().contains("no such file"));
    let proc = Harness::new().root("proc", "/proc", Access::Ro);
    for path in ["self/root", "self/cwd", "self/root/etc"] {
        assert_eq!(proc.call::<ListDir>(json!({"path": path})).unwrap_err().code(), llmc_core::code::DENIED);
    }
}

#[test]
fn roots_are_told_at_the_top() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    fs::create_dir(dirs[0].path().join("sub")).unwrap();
    let harness =
        Harness::new().root("work", dirs[0].path(), Access::Rw).root("docs", dirs[1].path(), Access::Ro);
    let list = |path: &str| harness.call::<ListDir>(json!({"path": path})).unwrap();
    let roots = json!([{"name": "work", "writable": true}, {"name": "docs", "writable": false}]);
    assert_eq!(list(".").structured.unwrap()["roots"], roots);
    assert_eq!(list("docs:").all_text(), "(empty)\n[roots: work:, docs: (read-only)]");
    assert_eq!(list("sub").structured.unwrap().get("roots"), None);
    assert_eq!(list("/docs").structured.unwrap()["path"], "docs:", "as programs in a jail see it");
}

#[test]
fn without_roots_nothing_is_listed() {
    let error = Harness::new().call::<ListDir>(json!({})).unwrap_err();
    assert_eq!(error.code(), llmc_core::code::DENIED);
    assert_eq!(error.message(), "no directory is granted", "the server says how to grant one");
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<ListDir>();
    let properties = &item.input_schema["properties"];
    assert_eq!(properties["limit"]["maximum"], MAX_LIST_ENTRIES);
    let text = properties["limit"]["description"].as_str().unwrap();
    assert!(text.contains(&format!("Default: {DEFAULT_LIST_ENTRIES}.")), "{text}");
    assert_eq!(properties["path"]["default"], ".");
    assert_eq!(item.title, "List directory");
    assert!(item.annotations.read_only && item.output_schema.is_some());
}
