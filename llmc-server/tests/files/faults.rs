//! A full disk, no more descriptors, a file that may not grow: an error says so, and everything is as it was.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount};
use serde_json::json;

use crate::ground::{Call, Ground, config, setup};
use crate::observe::descriptors;
use crate::prerequisites::{is_root, not_checked};
use crate::snapshot;
use crate::support::Setup;

const KIB: usize = 1024;
/// Tells the copy of a test that it is in namespaces of its own.
const ELSEWHERE: &str = "LLMC_TEST_ELSEWHERE";
/// Size of the file that must stay whole.
const OLD_BYTES: usize = 256 * KIB;

/// Contents of which every part differs from every other.
fn pattern(name: &str, bytes: usize) -> String {
    let mut text: String = (0..bytes / 16 + 1).map(|number| format!("{name:6} {number:8}\n")).collect();
    text.truncate(bytes);
    text
}

/// Runs a test again where it may mount file systems, in user and mount namespaces of its own; false if it is there
/// already.
fn runs_elsewhere(test: &str) -> bool {
    if std::env::var_os(ELSEWHERE).is_some() {
        return false;
    }
    let unshare = ["/usr/bin/unshare", "/bin/unshare"].map(Path::new).into_iter().find(|path| path.exists());
    let mut command = Command::new(unshare.expect("this test needs unshare(1) of util-linux"));
    command.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ELSEWHERE, "yes");
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(
        output.status.success() && said[0].contains("1 passed"),
        "in namespaces of its own:\n{}",
        said.concat()
    );
    true
}

/// Blocks and files that are free.
fn free(path: &Path) -> (u64, u64) {
    let facts = statvfs(path).unwrap();
    (facts.f_bfree, facts.f_ffree)
}

/// Checks that these calls fail for this reason and leave the root as it is, to the last block if that is counted.
#[track_caller]
fn check_no_trace(ground: &mut Ground, calls: Vec<Call>, reason: &str, counts_blocks: bool) {
    let root = ground.path("");
    let look = || {
        let all = snapshot::take(&root, &[]);
        let contents = all.into_iter().map(|(path, facts)| (path, facts.contents)).collect::<Vec<_>>();
        (contents, counts_blocks.then(|| free(&root)))
    };
    let before = look();
    for (tool, arguments) in calls {
        let shown = format!("{tool} {}", &arguments.to_string()[..arguments.to_string().len().min(100)]);
        let refusal = ground.refused(tool, arguments);
        assert!(refusal.text.contains(reason), "{shown}: {refusal:?}");
        let after = look();
        let names = |look: &(Vec<(std::path::PathBuf, Vec<u8>)>, _)| {
            look.0
                .iter()
                .map(|(path, contents)| format!("{}: {}", path.display(), contents.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&before), names(&after), "{shown}");
        assert!(before == after, "{shown} changed contents, or {:?} became {:?}", before.1, after.1);
    }
}

/// Calls that need more room than there is.
fn large_calls() -> Vec<Call> {
    let large = pattern("large", 512 * KIB);
    vec![
        ("write_file", json!({"path": "old.txt", "content": large, "overwrite": true})),
        ("write_file", json!({"path": "new.txt", "content": large})),
        ("write_file", json!({"path": "made/on/the/way/new.txt", "content": large})),
        ("append_file", json!({"path": "old.txt", "content": large})),
        ("append_file", json!({"path": "new.txt", "content": large})),
        ("edit_file", json!({"path": "old.txt", "edits": [{"old": "old           0", "new": large}]})),
        ("copy_path", json!({"from": "old.txt", "to": "copy.txt"})),
        ("copy_path", json!({"from": "dir", "to": "copies"})),
    ]
}

#[test]
fn a_full_disk() {
    if runs_elsewhere("faults::a_full_disk") {
        return;
    }
    let setup = setup();
    let limits = Some(c"size=2m,mode=0755");
    mount("tmpfs", setup.work(""), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, limits)
        .expect("a tmpfs in a namespace of its own");
    let mut ground = Ground::start(setup);
    ground
        .file("old.txt", pattern("old", OLD_BYTES))
        .file("dir/a.txt", "a")
        .file("dir/b.txt", pattern("b", OLD_BYTES));
    ground.file("ballast", vec![0; 1480 * KIB]);
    let (blocks, _) = free(&ground.path(""));
    assert!((1..OLD_BYTES / 4096).contains(&usize::try_from(blocks).unwrap()), "{blocks} blocks are free");

    check_no_trace(&mut ground, large_calls(), "no space left", true);
    // What fits is still done.
    ground.ok("append_file", json!({"path": "dir/a.txt", "content": "aa"}));
    ground.ok("write_file", json!({"path": "small.txt", "content": "small"}));
    ground.ok("delete_path", json!({"path": "ballast"}));
    for (tool, arguments) in large_calls() {
        if tool != "append_file" && tool != "edit_file" {
            let to = arguments["to"].as_str().or(arguments["path"].as_str()).unwrap().to_owned();
            ground.ok(tool, arguments);
            if to != "old.txt" {
                ground.ok("delete_path", json!({"path": to, "recursive": true}));
            }
        }
    }
    assert_eq!(ground.text("old.txt"), pattern("large", 512 * KIB));
    ground.end();
}

#[test]
fn a_disk_that_takes_no_more_files() {
    if runs_elsewhere("faults::a_disk_that_takes_no_more_files") {
        return;
    }
    let setup = setup();
    let limits = Some(c"nr_inodes=10,mode=0755");
    mount("tmpfs", setup.work(""), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, limits)
        .expect("a tmpfs in a namespace of its own");
    let mut ground = Ground::start(setup);
    ground.file("old.txt", "honest\n").file("dir/a.txt", "a").file("dir/b.txt", "b");
    let mut count = 0;
    while fs::write(ground.path(&format!("ballast-{count}")), "").is_ok() {
        count += 1;
    }
    assert_eq!(free(&ground.path("")).1, 0);
    let calls = || {
        vec![
            ("write_file", json!({"path": "old.txt", "content": "planted", "overwrite": true})),
            ("edit_file", json!({"path": "old.txt", "edits": [{"old": "honest", "new": "edited"}]})),
            ("write_file", json!({"path": "new.txt", "content": "new"})),
            ("append_file", json!({"path": "new.txt", "content": "new"})),
            ("create_dir", json!({"path": "new"})),
            ("copy_path", json!({"from": "old.txt", "to": "copy.txt"})),
            ("copy_path", json!({"from": "dir", "to": "copies"})),
        ]
    };
    check_no_trace(&mut ground, calls(), "no space left", true);
    // With one free, only the last file of the tree is missing; with it goes the rest.
    for number in 0..2 {
        fs::remove_file(ground.path(&format!("ballast-{number}"))).unwrap();
    }
    check_no_trace(&mut ground, vec![calls().pop().unwrap()], "no space left", true);
    let deep = json!({"path": "made/on/the/way/new.txt", "content": "new"});
    check_no_trace(&mut ground, vec![("write_file", deep)], "no space left", true);
    check_no_trace(
        &mut ground,
        vec![("create_dir", json!({"path": "made/on/the/way"}))],
        "no space left",
        true,
    );
    ground.ok("append_file", json!({"path": "old.txt", "content": "more\n"}));
    ground.ok("edit_file", json!({"path": "old.txt", "edits": [{"old": "more", "new": "no more"}]}));
    assert_eq!(ground.text("old.txt"), "honest\nno more\n");
    ground.end();
}

/// Without room for an index who needs it is told why, who can do without is answered, and when there is room it is made.
#[test]
fn a_full_disk_under_the_index() {
    if runs_elsewhere("faults::a_full_disk_under_the_index") {
        return;
    }
    let config = "[server]\nstate = 'state'\n[roots]\nwork = { path = '{work}' }\n\
                  [plugins.search]\nlibrary = 'search'\ngrants = { roots = ['work'], state = true }\n";
    let setup = Setup::new(config).file("src/lib.rs", "pub fn total_price() {}\n");
    let state = setup.folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let limits = Some(c"size=4m,mode=0755");
    mount("tmpfs", &state, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, limits)
        .expect("a tmpfs in a namespace of its own");
    let ballast = state.join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).unwrap_err();
    assert_eq!(free(&state).0, 0);
    let mut server = setup.serve();
    let name = json!({"name": "total_price"});
    let refused = server.call("where_used", name.clone());
    assert!(refused.is_error() && refused.text().contains("the disk with the state of this plugin is full"));
    let found = server.call("search_code", json!({"query": "total_price"})).ok().clone();
    assert_eq!(found["results"][0]["path"], "work:src/lib.rs", "{found}");
    fs::remove_file(ballast).unwrap();
    server.call("reindex", json!({})).ok();
    let used = server.call("where_used", name).ok().clone();
    assert_eq!(used["definitions"][0]["path"], "work:src/lib.rs", "{used}");
}

#[test]
fn a_file_that_may_not_grow_further() {
    let limit = 300 * KIB;
    let mut ground = Ground::start(Setup::new(&config(&format!("[limits]\nhost_file_bytes = {limit}"))));
    ground.file("old.txt", pattern("old", OLD_BYTES)).file("dir/a.txt", "a");
    fs::write(ground.path("dir/huge.txt"), pattern("huge", 2 * limit)).unwrap();
    let mut calls = large_calls();
    // The old file is small enough to be copied; this one is not.
    calls.retain(|(_, arguments)| arguments["from"] != "old.txt");
    calls.push(("copy_path", json!({"from": "dir/huge.txt", "to": "copy.txt"})));
    let (appends, others): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|(tool, _)| tool.starts_with("append"));
    check_no_trace(&mut ground, others, "", false);
    check_no_trace(&mut ground, appends, "", false);
    let refusal =
        ground.refused("write_file", json!({"path": "new.txt", "content": pattern("x", 2 * limit)}));
    assert!(refusal.text.contains("larger than the operator lets files become"), "{refusal:?}");
    // Up to the limit everything goes, on the same host.
    ground.ok("append_file", json!({"path": "old.txt", "content": pattern("more", limit - OLD_BYTES)}));
    assert_eq!(fs::metadata(ground.path("old.txt")).unwrap().len(), limit as u64);
    ground.ok("write_file", json!({"path": "new.txt", "content": pattern("new", limit)}));
    ground.ok("copy_path", json!({"from": "new.txt", "to": "copy.txt"}));
    ground.ok("edit_file", json!({"path": "dir/a.txt", "edits": [{"old": "a", "new": "b"}]}));
    ground.refused("append_file", json!({"path": "old.txt", "content": "x"}));
    ground.end();
}

/// Directories in each other: a change holds one descriptor for each.
const DEEP: usize = 80;

#[test]
fn no_descriptors_are_left() {
    let limits = "[limits]\nhost_open_files = 64";
    let mut ground = Ground::start(Setup::new(&config(limits)));
    let deep = vec!["d"; DEEP].join("/");
    let file = format!("{deep}/f.txt");
    ground.file(&file, "honest\n").file("near/f.txt", "honest\n");
    let host = ground.host();
    let calls = || {
        vec![
            ("write_file", json!({"path": file, "content": "planted", "overwrite": true})),
            ("write_file", json!({"path": format!("{deep}/new/x"), "content": "planted"})),
            ("append_file", json!({"path": file, "content": "planted"})),
            ("edit_file", json!({"path": file, "edits": [{"old": "honest", "new": "planted"}]})),
            ("create_dir", json!({"path": format!("{deep}/new")})),
            ("move_path", json!({"from": file, "to": "moved"})),
            ("move_path", json!({"from": "near/f.txt", "to": format!("{deep}/moved")})),
            ("copy_path", json!({"from": "near", "to": format!("{deep}/copied")})),
            ("delete_path", json!({"path": file})),
        ]
    };
    check_no_trace(&mut ground, calls(), "too many open files", false);
    let before = is_root().then(|| descriptors(host));
    // A leak of one descriptor in each call would end this soon.
    for _ in 0..30 {
        for ((tool, arguments), called) in calls().iter().zip(ground.batch(&calls())) {
            assert!(called.is_error(), "{tool} {arguments}");
        }
    }
    for round in 0..100 {
        let path = format!("near/{round}.txt");
        ground.ok("write_file", json!({"path": path, "content": "honest\n"}));
        ground.ok("edit_file", json!({"path": path, "edits": [{"old": "honest", "new": "edited"}]}));
        ground.ok("search_files", json!({"path": "near", "pattern": "edited"}));
        ground.ok("delete_path", json!({"path": path}));
    }
    // What only reads opens no more than it needs, however deep.
    assert_eq!(ground.ok("read_file", json!({"path": file}))["text"], "honest\n");
    assert_eq!(ground.ok("search_files", json!({"pattern": "honest"}))["total_files"], 2);
    assert_eq!(ground.host(), host, "the host has lived through it");
    match before {
        Some(before) => {
            assert_eq!(descriptors(host).len(), before.len(), "{before:?} became {:?}", descriptors(host))
        }
        None => not_checked("the descriptors of a host by their numbers, because only root may look"),
    }
    ground.end();
}
