//! Several roots: read-only ones, roots in each other, roots that are links or are moved.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::attempts::{BAIT, changes, looks};
use crate::ground::{Ground, SECRET, setup};
use crate::snapshot;
use crate::support::Setup;

const FS: &str = "[plugins.fs]\nlibrary = 'llmc_tools_fs'\n";

/// Checks that all can be read in the root `work` and nothing changed.
#[track_caller]
fn check_read_only(config: &str, why: &str) {
    let mut ground = Ground::start(Setup::new(config));
    ground.file(BAIT, "bait").file("dir/a.txt", "honest\n").link("link", "dir/a.txt");
    fs::write(ground.path("run"), "x").unwrap();
    let before = snapshot::take(&ground.path(""), &[]);
    let refused = |ground: &mut Ground, path: &str| {
        for (tool, arguments) in changes(path) {
            let refusal = ground.refused(tool, arguments.clone());
            assert!(
                refusal.kind == "denied" && refusal.text.contains(why),
                "{tool} {arguments}: {refusal:?}"
            );
        }
    };
    for path in ["dir/a.txt", "dir", "link", "new", "new/deep", ".", ".git/config", "work:new"] {
        refused(&mut ground, path);
    }
    ground.refused("copy_path", json!({"from": "dir", "to": "copy"}));
    for tool in ["read_file", "stat"] {
        ground.ok(tool, json!({"path": "link"}));
    }
    for (tool, arguments) in [("list_dir", json!({})), ("tree", json!({})), ("find_files", json!({}))] {
        ground.ok(tool, arguments);
    }
    assert_eq!(ground.ok("search_files", json!({"pattern": "honest"}))["total"], 1);
    let after = snapshot::take(&ground.path(""), &[]);
    let contents = |snapshot: &snapshot::Snapshot| {
        snapshot.iter().map(|(path, facts)| (path.clone(), facts.contents.clone())).collect::<Vec<_>>()
    };
    assert_eq!(contents(&before), contents(&after));
    ground.end();
}

#[test]
fn a_root_that_is_read_only() {
    check_read_only(
        &format!(
            "[roots]\nwork = {{ path = '{{work}}', access = 'ro' }}\n{FS}grants = {{ roots = ['work'] }}"
        ),
        "read-only",
    );
    // That is the default.
    check_read_only(
        &format!("[roots]\nwork = {{ path = '{{work}}' }}\n{FS}grants = {{ roots = ['work'] }}"),
        "read-only",
    );
}

#[test]
fn a_grant_that_is_read_only() {
    let config = format!(
        "[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n{FS}grants = {{ roots = ['work:ro'] }}"
    );
    check_read_only(&config, "read-only");
}

#[test]
fn a_policy_that_is_read_only() {
    let config = format!(
        "[policy]\nread_only = true\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         {FS}grants = {{ roots = ['work'] }}"
    );
    check_read_only(&config, "policy.read_only");
    let mut ground = Ground::start(Setup::new(&config));
    let list = ground.server.request("tools/list", json!({}));
    let names: BTreeSet<&str> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    let looking = looks("x").into_iter().map(|(tool, _)| tool).filter(|tool| *tool != "copy_path");
    assert_eq!(names, looking.chain(["read_more"]).collect());
    ground.end();
}

/// A setup with directories of its folder as roots, in this order: name, place and access of each.
fn with_roots(roots: &[(&str, &str, &str)]) -> (Setup, Vec<PathBuf>) {
    let setup = Setup::new("");
    let folder = setup.folder.path().to_owned();
    let path = |path: &str| folder.join(path).components().collect::<PathBuf>();
    let lines: Vec<_> = roots
        .iter()
        .map(|(name, at, access)| {
            fs::create_dir_all(path(at)).unwrap();
            format!("{name} = {{ path = '{}', access = '{access}' }}", path(at).display())
        })
        .collect();
    let names: Vec<_> = roots.iter().map(|(name, ..)| format!("'{name}'")).collect();
    let config = format!("[roots]\n{}\n{FS}grants = {{ roots = [{}] }}", lines.join("\n"), names.join(", "));
    let paths = roots.iter().map(|(_, at, _)| path(at)).collect();
    (setup.with_text(&config), paths)
}

#[test]
fn between_a_writable_and_a_read_only_root() {
    let (setup, paths) = with_roots(&[("work", "work", "rw"), ("docs", "docs", "ro")]);
    let docs = paths[1].clone();
    let mut ground = Ground::start_with(setup, paths, vec![]);
    ground.file("a.txt", "a").link("over", "../docs").link("page", docs.join("page.txt"));
    fs::create_dir(docs.join("dir")).unwrap();
    fs::write(docs.join("page.txt"), "page").unwrap();
    symlink("../work/a.txt", docs.join("over")).unwrap();

    // Each root is by itself: links and dots from one to another lead out.
    for path in ["over/page.txt", "page", "../docs/page.txt", "docs:over", "docs:../work/a.txt"] {
        ground.outside_refused("read_file", json!({"path": path}));
        ground.refused("write_file", json!({"path": path, "content": "x", "overwrite": true}));
    }
    for (tool, arguments) in [
        ("move_path", json!({"from": "docs:page.txt", "to": "work:page.txt"})),
        ("move_path", json!({"from": "a.txt", "to": "docs:a.txt"})),
        ("copy_path", json!({"from": "a.txt", "to": "docs:a.txt"})),
        ("copy_path", json!({"from": "a.txt", "to": "docs:dir/a.txt"})),
        ("delete_path", json!({"path": "docs:page.txt"})),
        ("write_file", json!({"path": docs.join("new"), "content": "x"})),
    ] {
        let refusal = ground.refused(tool, arguments);
        assert!(refusal.text.contains("root `docs` is read-only"), "{refusal:?}");
    }
    assert_eq!(ground.ok("read_file", json!({"path": "docs:page.txt"}))["text"], "page");
    ground.ok("copy_path", json!({"from": "docs:page.txt", "to": "work:copy.txt"}));
    assert_eq!(ground.text("copy.txt"), "page");
    assert_eq!(ground.ok("list_dir", json!({}))["roots"].as_array().unwrap().len(), 2);
    ground.end();
}

#[test]
fn roots_in_each_other() {
    let roots =
        [("work", "work", "rw"), ("inner", "work/parts/inner", "rw"), ("frozen", "work/parts/frozen", "ro")];
    let (setup, paths) = with_roots(&roots);
    let mut ground = Ground::start_with(setup, vec![paths[0].clone()], vec![]);
    ground
        .file("a.txt", "a")
        .file("parts/inner/i.txt", "i")
        .file("parts/frozen/f.txt", "f")
        .file("other/o.txt", "o");
    ground.link("in", "parts/inner").link("parts/inner/up", "../../a.txt").link("parts2", "parts");

    // The inner one knows nothing of the outer one.
    for path in ["inner:../../a.txt", "inner:up", "inner:../frozen/f.txt", "inner:.."] {
        ground.outside_refused("read_file", json!({"path": path}));
    }
    // An absolute path means the innermost root, with the rights of that one.
    let absolute = ground.path("parts/frozen/f.txt");
    let refusal = ground.refused("write_file", json!({"path": absolute, "content": "x", "overwrite": true}));
    assert!(refusal.text.contains("root `frozen` is read-only"), "{refusal:?}");
    assert_eq!(ground.ok("read_file", json!({"path": absolute}))["path"], "frozen:f.txt");

    // A root stays where the operator put it: neither it nor what holds it is moved, replaced or deleted.
    for path in
        ["parts", "parts/inner", "parts/frozen", "in/.", "parts2/inner", "work:parts/inner/../../parts"]
    {
        if path != "in/." {
            ground.refused("delete_path", json!({"path": path, "recursive": true}));
            ground.refused("move_path", json!({"from": path, "to": "gone"}));
        }
        ground.refused("move_path", json!({"from": "a.txt", "to": path, "overwrite": true}));
        ground.refused("write_file", json!({"path": path, "content": "x", "overwrite": true}));
    }
    for path in ["inner:", "frozen:", "inner:."] {
        ground.refused("delete_path", json!({"path": path, "recursive": true}));
        ground.refused("move_path", json!({"from": path, "to": "work:gone"}));
    }
    assert_eq!(
        (ground.text("parts/inner/i.txt"), ground.text("parts/frozen/f.txt")),
        ("i".into(), "f".into())
    );

    // The rest of the outer root is as free as ever, and both roots still lead where they did.
    ground.ok("move_path", json!({"from": "other", "to": "others"}));
    ground.ok("delete_path", json!({"path": "others", "recursive": true}));
    ground.ok("copy_path", json!({"from": "a.txt", "to": "inner:a.txt"}));
    assert_eq!(ground.text("parts/inner/a.txt"), "a");
    ground.ok("delete_path", json!({"path": "parts/inner/i.txt"}));
    assert_eq!(ground.ok("list_dir", json!({"path": "inner:"}))["total"], 2);
    ground.end();
}

#[test]
fn a_root_that_is_a_link() {
    let setup = Setup::new("");
    let (folder, work) = (setup.folder.path().to_owned(), setup.work(""));
    symlink(&work, folder.join("link")).unwrap();
    let config = format!(
        "[roots]\nwork = {{ path = '{}', access = 'rw' }}\n{FS}grants = {{ roots = ['work'] }}",
        folder.join("link").display()
    );
    let mut ground = Ground::start(setup.with_text(&config));
    ground.file("a.txt", "inside").file(BAIT, "bait");
    for path in ["a.txt", "work:a.txt"] {
        assert_eq!(ground.ok("read_file", json!({"path": path}))["text"], "inside");
    }
    let real = ground.path("a.txt");
    assert_eq!(ground.ok("read_file", json!({"path": real}))["text"], "inside");
    ground.ok("write_file", json!({"path": "new", "content": "new"}));
    assert_eq!(ground.text("new"), "new");
    for path in ["../there.txt", "../link/../there.txt"] {
        ground.outside_refused("read_file", json!({"path": path}));
    }
    ground.check();

    // Where the link leads later does not matter any more: the directory was opened once.
    fs::remove_file(folder.join("link")).unwrap();
    symlink(folder.join("outside"), folder.join("link")).unwrap();
    ground.refused("read_file", json!({"path": "f.txt"}));
    assert_eq!(ground.ok("read_file", json!({"path": "a.txt"}))["text"], "inside");
    ground.server.stop();
}

#[test]
fn a_root_that_is_moved_and_replaced() {
    let mut ground = Ground::start(setup().file("a.txt", "inside"));
    let (work, moved) = (ground.path(""), ground.outside().join("moved"));
    let work: &Path = &work.components().collect::<PathBuf>();
    fs::rename(work, &moved).unwrap();
    fs::create_dir(work).unwrap();
    fs::write(work.join("a.txt"), SECRET).unwrap();
    fs::write(work.join("planted.txt"), SECRET).unwrap();
    assert_eq!(ground.ok("read_file", json!({"path": "a.txt"}))["text"], "inside");
    assert_eq!(ground.ok("read_file", json!({"path": work.join("a.txt")}))["text"], "inside");
    ground.refused("read_file", json!({"path": "planted.txt"}));
    ground.ok("write_file", json!({"path": "new.txt", "content": "new"}));
    assert_eq!(fs::read_to_string(moved.join("new.txt")).unwrap(), "new");
    assert_eq!(fs::read_dir(work).unwrap().count(), 2);
    ground.server.stop();
}
