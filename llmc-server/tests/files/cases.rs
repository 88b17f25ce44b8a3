//! The cases that the first llmc was tested with, by their numbers, each with its honest neighbour. It failed eight of
//! them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use serde_json::json;

use crate::attempts::{BAIT, LOOT, all};
use crate::ground::{Ground, SECRET, config};
use crate::observe::kib;
use crate::prerequisites::not_checked;
use crate::support::Setup;

const MIB: usize = 1 << 20;
/// Longest time for a call that has nothing to wait for.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn case_01_a_file_outside_by_its_absolute_path() {
    let mut ground = Ground::new();
    ground.file("a.txt", "inside");
    let there = ground.outside().join("there.txt");
    ground.outside_refused("read_file", json!({"path": there}));
    ground.outside_refused("read_file", json!({"path": "/etc/passwd"}));
    let inside = ground.path("a.txt");
    assert_eq!(ground.ok("read_file", json!({"path": inside}))["text"], "inside");
    ground.end();
}

#[test]
fn case_02_dots_that_lead_out() {
    let mut ground = Ground::new();
    ground.file("a.txt", "inside").file("dir/b.txt", "b");
    for path in ["../there.txt", "dir/../../there.txt", "work:../there.txt", "/work/../there.txt"] {
        ground.outside_refused("read_file", json!({"path": path}));
    }
    let absolute = ground.path("../there.txt");
    ground.outside_refused("read_file", json!({"path": absolute}));
    assert_eq!(ground.ok("read_file", json!({"path": "dir/../a.txt"}))["text"], "inside");
    ground.end();
}

#[test]
fn case_03_a_link_to_a_file_outside() {
    let mut ground = Ground::new();
    ground.file("a.txt", "inside").link("in", "a.txt").link("out", ground.outside().join("there.txt"));
    ground.link("up", "../there.txt").link("shadow", "/etc/shadow").link("chain", "up").link("far", "chain");
    for path in ["out", "up", "shadow", "chain", "far"] {
        ground.outside_refused("read_file", json!({"path": path}));
        let described = ground.ok("stat", json!({"path": path}));
        let link = &described["link"];
        assert_eq!((&link["leads"], &link["target"]), (&json!("outside"), &json!(null)), "{described}");
    }
    assert_eq!(ground.ok("read_file", json!({"path": "in"}))["text"], "inside");
    assert_eq!(ground.ok("stat", json!({"path": "in"}))["link"]["target"]["size_bytes"], 6);
    ground.end();
}

#[test]
fn case_04_a_file_below_a_link_to_a_directory_outside() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("real/f.txt", "inside").link("in", "real");
    ground.link("out", ground.outside().join("outside")).link("up", "../outside");
    for (tool, arguments) in
        ["out/f.txt", "up/sub/f.txt", "out/new.txt", "up/new/x"].into_iter().flat_map(all)
    {
        ground.outside_refused(tool, arguments);
    }
    assert_eq!(ground.ok("read_file", json!({"path": "in/f.txt"}))["text"], "inside");
    ground.ok("write_file", json!({"path": "in/new.txt", "content": "new"}));
    assert_eq!(ground.text("real/new.txt"), "new");
    ground.end();
}

#[test]
fn case_05_a_nul_character() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("a.txt", "inside");
    let absolute = format!("{}\0/etc/passwd", ground.path("").display());
    for path in ["a\0b", "\0", "a.txt\0", "work:a.txt\0.png", "../there.txt\0", &absolute] {
        for (tool, arguments) in all(path) {
            let refusal = ground.refused(tool, arguments);
            assert!(refusal.text.contains("NUL"), "{tool} {path:?}: {refusal:?}");
        }
    }
    assert_eq!(ground.ok("read_file", json!({"path": "a.txt"}))["text"], "inside");
    ground.end();
}

#[test]
fn case_06_devices() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("zero", "no device").file("odd/plain", "plain");
    let devices =
        ["zero", "null", "full", "random", "tty", "ptmx", "mem", "kmsg", "kvm", "fuse", "vda", "fd/0"];
    for device in devices {
        for (tool, arguments) in all(&format!("/dev/{device}")) {
            ground.outside_refused(tool, arguments);
        }
        let link = format!("link-{}", device.replace('/', "-"));
        ground.link(&link, format!("/dev/{device}"));
        ground.outside_refused("read_file", json!({"path": link}));
        ground.outside_refused("append_file", json!({"path": link, "content": "x"}));
    }
    assert_eq!(ground.ok("read_file", json!({"path": "zero"}))["text"], "no device");

    // One that stands in the root, which only a superuser can arrange.
    let mode = Mode::from_raw_mode(0o666);
    let made = mknodat(CWD, ground.path("odd/device"), FileType::CharacterDevice, mode, makedev(1, 5));
    if made.is_err() {
        not_checked("a device in a root, because only root can make one");
        return ground.end();
    }
    check_refused_soon(&mut ground, "odd/device", "device");
    ground.end();
}

/// Checks that nothing that opens a file waits for one of this kind, reads it or writes to it.
fn check_refused_soon(ground: &mut Ground, path: &str, kind: &str) {
    let calls = [
        ("read_file", json!({"path": path})),
        ("read_file", json!({"path": path, "encoding": "base64"})),
        ("read_files", json!({"paths": [path]})),
        ("search_files", json!({"path": path, "pattern": "."})),
        ("write_file", json!({"path": path, "content": "planted", "overwrite": true})),
        ("append_file", json!({"path": path, "content": "planted"})),
        ("edit_file", json!({"path": path, "edits": [{"old": "a", "new": "b"}]})),
        ("copy_path", json!({"from": path, "to": LOOT})),
        ("move_path", json!({"from": BAIT, "to": path, "overwrite": true})),
    ];
    for (tool, arguments) in calls {
        let begun = Instant::now();
        let refusal = ground.refused(tool, arguments);
        assert!(begun.elapsed() < SOON, "{tool}: {:?}", begun.elapsed());
        assert!(refusal.text.contains(kind), "{tool}: {refusal:?}");
    }
    // In a walk it is passed over.
    for (tool, arguments) in [("search_files", json!({"pattern": "nothing"})), ("tree", json!({}))] {
        let begun = Instant::now();
        ground.ok(tool, arguments);
        assert!(begun.elapsed() < SOON, "{tool}: {:?}", begun.elapsed());
    }
    assert_eq!(ground.ok("stat", json!({"path": path}))["kind"], kind.to_lowercase());
    let copied = ground.ok("copy_path", json!({"from": "odd", "to": "copy"}));
    assert_eq!((&copied["entries"], &copied["skipped"]), (&json!(2), &json!(1)));
    ground.ok("delete_path", json!({"path": "copy", "recursive": true}));
}

#[test]
fn case_07_and_08_a_fifo_is_neither_read_nor_written_nor_waited_for() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("odd/plain", "plain");
    mknodat(CWD, ground.path("odd/fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    check_refused_soon(&mut ground, "odd/fifo", "FIFO");

    // With somebody at its other end, who writes and listens.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let mut end =
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(ground.path("odd/fifo")).unwrap();
    check_refused_soon(&mut ground, "odd/fifo", "FIFO");
    let mut heard = Vec::new();
    assert!(end.read_to_end(&mut heard).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    assert_eq!(heard, b"");

    // It can be tidied up like anything else.
    ground.ok("move_path", json!({"from": "odd", "to": "moved"}));
    ground.ok("delete_path", json!({"path": "moved/fifo"}));
    assert_eq!(ground.text("moved/plain"), "plain");
    ground.end();
}

#[test]
fn case_09_and_10_writing_and_deleting_beside_the_root() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("dir/target", "target");
    for (tool, arguments) in
        ["../evil", "../there.txt", "dir/../../evil", "../evil/deep/x"].into_iter().flat_map(all)
    {
        ground.outside_refused(tool, arguments);
    }
    ground.check();
    ground.ok("write_file", json!({"path": "dir/../good", "content": "good"}));
    assert_eq!(ground.text("good"), "good");
    ground.ok("delete_path", json!({"path": "dir/../dir/target"}));
    assert!(!ground.path("dir/target").exists());
    ground.end();
}

#[test]
fn case_11_a_root_and_a_full_directory_are_not_deleted() {
    let mut ground = Ground::new();
    ground.file("dir/inner/a.txt", "a").link("self", ".").link("dir/up", "..");
    let absolute = ground.path("").display().to_string();
    for path in [".", "work:", "work:.", "./", "dir/..", "dir/inner/../..", "/work", "self/dir/..", &absolute]
    {
        let refusal = ground.refused("delete_path", json!({"path": path, "recursive": true}));
        assert!(refusal.kind == "denied" && refusal.text.contains("top of a root"), "{path}: {refusal:?}");
    }
    let refusal = ground.refused("delete_path", json!({"path": "dir"}));
    assert!(refusal.text.contains("2 entries") && refusal.text.contains("recursive"), "{refusal:?}");
    assert_eq!(ground.text("dir/inner/a.txt"), "a");

    // Links to the root are only links; a slash or a dot at the end of a path is dropped.
    for path in ["self", "dir/up/."] {
        assert_eq!(ground.ok("delete_path", json!({"path": path, "recursive": true}))["entries"], 1);
    }
    assert_eq!(ground.text("dir/inner/a.txt"), "a");
    assert_eq!(ground.ok("delete_path", json!({"path": "dir", "recursive": true}))["entries"], 3);
    assert_eq!(fs::read_dir(ground.path("")).unwrap().count(), 0);
    ground.end();
}

#[test]
fn case_12_without_roots_nothing_is_allowed() {
    let none = "[plugins.fs]\nlibrary = 'llmc_tools_fs'";
    let not_granted = format!("[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n{none}");
    let other = "[roots]\nwork = { path = '{work}', access = 'rw' }\ndocs = { path = '/usr/share/doc' }\n\
                 [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['docs'] }";
    for config in [none, &not_granted, other] {
        let mut ground = Ground::start(Setup::new(config).file("a.txt", SECRET).file(BAIT, "bait"));
        let work = ground.path("");
        fs::create_dir(work.join("dir")).unwrap();
        let absolute = ["a.txt", ""].map(|path| work.join(path).display().to_string());
        let mut paths = vec!["/", "/etc", "work:a.txt", &absolute[0], &absolute[1]];
        if config != other {
            paths.extend(["a.txt", ".", "", "..", "./a.txt"]);
        }
        for (tool, arguments) in paths.iter().flat_map(|path| all(path)) {
            ground.refused(tool, arguments);
        }
        assert_eq!(fs::read_dir(&work).unwrap().count(), 3);
        fs::remove_file(work.join("a.txt")).unwrap();
        ground.end();
    }
}

#[test]
fn case_13_a_large_file_is_not_read_to_be_edited() {
    let mut ground = Ground::new();
    ground
        .file("large.txt", "line of text\n".repeat(20 * MIB / 13))
        .file("small.txt", "line of text\n".repeat(1000));
    ground.ok(
        "edit_file",
        json!({"path": "small.txt", "edits": [
        {"old": "line of text\n", "new": "text\n", "expected_count": 1000}]}),
    );
    let host = ground.host();
    let memory = kib(host, "VmHWM");
    let begun = Instant::now();
    let edits = json!([{"old": "line", "new": "row"}]);
    let refusal = ground.refused("edit_file", json!({"path": "large.txt", "edits": edits}));
    assert!(refusal.text.contains("too large"), "{refusal:?}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let growth = kib(host, "VmHWM") - memory;
    assert!(growth < 4096, "the host grew by {growth} KiB");
    ground.end();
}

#[test]
fn case_14_an_edit_that_does_not_fit_changes_nothing() {
    let mut ground = Ground::new();
    ground.file("a.txt", "one two one three one\n").file("latin1.txt", b"gr\xFC\xDFe one\n");
    let edit = |old: &str, count: u32| json!({"path": "a.txt", "edits": [{"old": old, "new": "ONE", "expected_count": count}]});
    for (old, count, said) in [("one", 1, "3 times"), ("one", 2, "3 times"), ("four", 1, "not in the file")] {
        let refusal = ground.refused("edit_file", edit(old, count));
        assert!(refusal.text.contains(said), "{refusal:?}");
    }
    // All or none: the second one does not fit.
    let edits = json!([{"old": "two", "new": "2"}, {"old": "four", "new": "4"}]);
    ground.refused("edit_file", json!({"path": "a.txt", "edits": edits}));
    assert_eq!(ground.text("a.txt"), "one two one three one\n");
    let refusal =
        ground.refused("edit_file", json!({"path": "latin1.txt", "edits": [{"old": "one", "new": "1"}]}));
    assert!(refusal.text.contains("not utf-8"), "{refusal:?}");
    assert_eq!(fs::read(ground.path("latin1.txt")).unwrap(), b"gr\xFC\xDFe one\n");

    assert_eq!(ground.ok("edit_file", edit("one", 3))["replacements"], 3);
    assert_eq!(ground.text("a.txt"), "ONE two ONE three ONE\n");
    ground.end();
}

/// The hash of nothing that is known.
const OTHER_SHA: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn case_15_a_file_that_is_not_the_expected_one_is_left_alone() {
    let mut ground = Ground::new();
    ground.file("a.txt", "old\n");
    let calls = |path: &str, sha256: &str| {
        [
            ("write_file", json!({"path": path, "content": "new\n", "expected_sha256": sha256})),
            ("append_file", json!({"path": path, "content": "new\n", "expected_sha256": sha256})),
            (
                "edit_file",
                json!({"path": path, "edits": [{"old": "old", "new": "new"}], "expected_sha256": sha256}),
            ),
        ]
    };
    let mut actual = String::new();
    for (tool, arguments) in calls("a.txt", OTHER_SHA) {
        let refusal = ground.refused(tool, arguments);
        assert!(refusal.text.contains("not the expected ones"), "{tool}: {refusal:?}");
        let is_digest = |word: &&str| word.len() == 64 && *word != OTHER_SHA;
        actual = refusal.text.split([' ', ',', ')']).find(is_digest).expect("the actual hash").to_owned();
    }
    for (tool, arguments) in
        calls("missing.txt", OTHER_SHA).into_iter().chain(calls("no/such/dir", OTHER_SHA))
    {
        ground.refused(tool, arguments);
    }
    assert_eq!(ground.text("a.txt"), "old\n");
    assert_eq!(fs::read_dir(ground.path("")).unwrap().count(), 1, "nothing was created");

    // What the refusal told is the right one, in any case.
    let [write, ..] = calls("a.txt", &actual.to_uppercase());
    ground.ok(write.0, write.1);
    assert_eq!(ground.text("a.txt"), "new\n");
    ground.end();
}

#[test]
fn case_16_contents_over_10_mib_are_refused() {
    let mut ground = Ground::start(Setup::new(&config("[limits]\nmax_message_bytes = 16777216")));
    let most = "x".repeat(10 * MIB);
    let base64 = "eHh4".repeat(10 * MIB / 3 + 1);
    for arguments in [
        json!({"path": "a.txt", "content": format!("{most}x")}),
        json!({"path": "a.txt", "content": base64, "encoding": "base64"}),
    ] {
        let refusal = ground.refused("write_file", arguments);
        assert!(refusal.kind == "invalid_arguments" && refusal.text.contains("10485760"), "{refusal:?}");
    }
    let refusal = ground.refused("append_file", json!({"path": "a.txt", "content": format!("{most}x")}));
    assert!(refusal.text.contains("10485760"), "{refusal:?}");
    assert!(!ground.path("a.txt").exists());
    assert_eq!(ground.ok("write_file", json!({"path": "a.txt", "content": most}))["size_bytes"], 10 * MIB);
    assert_eq!(ground.path("a.txt").metadata().unwrap().size(), 10 * MIB as u64);
    ground.end();
}

#[test]
fn case_17_traversal_in_all_spellings() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait").file("valid/a.txt", "a");
    let spellings = [
        "valid/./../../etc/passwd",
        "./.././../etc/passwd",
        "valid/..//..//etc/passwd",
        "valid/.././../there.txt",
        "././../there.txt",
        "valid//..///../there.txt",
        "work:valid/./../../there.txt",
        "work:/../there.txt",
        "/work/valid/../../there.txt",
        "..",
        "../",
        "../..",
        "../../../../../../../../../../../etc/passwd",
    ];
    for (tool, arguments) in spellings.into_iter().flat_map(all) {
        ground.outside_refused(tool, arguments);
    }
    for path in
        ["valid/./a.txt", "./valid//a.txt", "valid/../valid/a.txt", "work:./valid/a.txt", "/work/valid/a.txt"]
    {
        assert_eq!(ground.ok("read_file", json!({"path": path}))["text"], "a", "{path}");
    }
    ground.end();
}

#[test]
fn case_18_rules_are_about_the_path_that_is_meant() {
    let setup = Setup::new(&config("[policy]\nprotected_paths = ['private']"));
    let mut ground = Ground::start(setup);
    ground.file("public/a.txt", "a").file("private/x", "x").link("public/back", "../private");
    for path in ["public/../private/x", "public/./../private/./x", "public/back/x", "public/../private/new"] {
        let refusal = ground.refused("write_file", json!({"path": path, "content": "y", "overwrite": true}));
        assert!(refusal.kind == "denied" && refusal.text.contains("`private` is protected"), "{refusal:?}");
    }
    assert_eq!(ground.text("private/x"), "x");
    let written = ground.ok("write_file", json!({"path": "private/../public/./b.txt", "content": "b"}));
    assert_eq!(written["path"], "work:public/b.txt");
    ground.end();
}

#[test]
fn case_19_dot_files_are_hidden_and_missing_files_are_missing() {
    let mut ground = Ground::new();
    ground.file(".hidden", "h").file("shown", "s");
    let listing = ground.ok("list_dir", json!({}));
    assert_eq!(listing["entries"], json!([{"name": "shown", "kind": "file"}]));
    assert_eq!(listing["hidden_entries"], 1);
    let all = ground.ok("list_dir", json!({"hidden": true}));
    assert_eq!(all["entries"].as_array().unwrap().len(), 2);
    for tool in ["read_file", "list_dir", "stat", "tree", "find_files", "delete_path"] {
        let refusal = ground.refused(tool, json!({"path": "missing"}));
        assert!(refusal.text.contains("no such file"), "{tool}: {refusal:?}");
    }
    ground.end();
}

#[test]
fn case_20_planted_links_catch_no_write() {
    let mut ground = Ground::new();
    ground.file("f.txt", "honest").file(BAIT, "bait");
    let there = ground.outside().join("there.txt");
    let planted = [
        "f.txt.tmp",
        ".f.txt.tmp",
        "f.txt~",
        ".f.txt.swp",
        "f.txt.bak",
        ".f.txt.llmc-0000000000000000.tmp",
        ".f.txt.llmc-ffffffffffffffff.tmp",
        ".llmc-tmp-00000000000000000000000000000000",
    ];
    for name in planted {
        ground.link(name, &there);
    }
    ground.ok("write_file", json!({"path": "f.txt", "content": "honest 2", "overwrite": true}));
    ground.ok("edit_file", json!({"path": "f.txt", "edits": [{"old": "honest 2", "new": "honest 3"}]}));
    ground.ok("append_file", json!({"path": "f.txt", "content": " and more"}));
    ground.ok("copy_path", json!({"from": "f.txt", "to": "copy.txt"}));
    ground.ok("move_path", json!({"from": BAIT, "to": "f.txt", "overwrite": true}));
    assert_eq!(
        (ground.text("copy.txt").as_str(), ground.text("f.txt").as_str()),
        ("honest 3 and more", "bait")
    );
    // At a planted name itself, the link decides.
    ground.outside_refused("write_file", json!({"path": "f.txt.tmp", "content": "x", "overwrite": true}));
    ground.end();
}

#[test]
fn case_21_modes_are_kept_and_a_deleted_link_is_only_a_link() {
    let mut ground = Ground::new();
    ground.file("run.sh", "#!/bin/sh\n").file("target", "target");
    ground.link("in", "target").link("out", ground.outside().join("there.txt")).link("dir", ground.outside());
    let mode = |ground: &Ground| ground.path("run.sh").metadata().unwrap().mode() & 0o7777;
    fs::set_permissions(ground.path("run.sh"), Permissions::from_mode(0o750)).unwrap();
    let calls = [
        ("write_file", json!({"path": "run.sh", "content": "#!/bin/sh\necho\n", "overwrite": true})),
        ("edit_file", json!({"path": "run.sh", "edits": [{"old": "echo", "new": "true"}]})),
        ("append_file", json!({"path": "run.sh", "content": "true\n"})),
    ];
    for (tool, arguments) in calls {
        ground.ok(tool, arguments);
        assert_eq!(mode(&ground), 0o750, "{tool}");
    }
    for link in ["in", "out", "dir"] {
        assert_eq!(ground.ok("delete_path", json!({"path": link, "recursive": true}))["entries"], 1);
        assert!(ground.path(link).symlink_metadata().is_err(), "{link}");
    }
    assert_eq!(ground.text("target"), "target");
    ground.end();
}

/// The control of all these tests: a read outside would be seen, and so would a new file and a secret in the root.
#[test]
fn what_happens_outside_is_seen() {
    let ground = Ground::new();
    assert_eq!((ground.changes_outside(), ground.secrets_inside()), (vec![], vec![]));
    fs::read(ground.outside().join("there.txt")).unwrap();
    if ground.changes_outside().is_empty() {
        not_checked("reads outside, because this file system keeps no times of access");
    }
    fs::write(ground.outside().join("outside/new"), "new").unwrap();
    assert!(ground.changes_outside().iter().any(|line| line == "outside/new is new"));
    ground.file("dir/loot", format!("the {SECRET} of others"));
    assert_eq!(ground.secrets_inside(), [ground.path("dir/loot")]);
}
