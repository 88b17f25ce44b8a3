//! `write_file`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use llmc_core::code;
use llmc_core::testing::{Harness, item};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::testing::Playground;

const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Writes to a path, for the tests of walls.
///
/// A tool.
#[arguments(undocumented)]
struct WriteTo {
    path: String,
}

impl Tool for WriteTo {
    const NAME: &'static str = "write_to";
    type Output = Written;

    fn call(self, ctx: &Context) -> ToolResult<Written> {
        let (content, encoding) = ("new".to_owned(), Encoding::Utf8);
        WriteFile { path: self.path, content, overwrite: true, expected_sha256: None, encoding }.call(ctx)
    }
}

#[track_caller]
fn check_untouched_outside(play: &Playground) {
    assert_eq!(fs::read(play.outside().join("secret.txt")).unwrap(), b"secret");
    assert_eq!(fs::read(play.outside().join("project2/secret.txt")).unwrap(), b"secret");
    assert!(!play.outside().join("nothing.txt").exists());
    assert!(!play.outside().join("project2/nothing.txt").exists());
}

#[test]
fn a_new_file_is_whole() {
    let play = Playground::new();
    let call = json!({"path": "a.txt", "content": "hello\n"});
    let answer = play.harness.call::<WriteFile>(call).unwrap();
    assert_eq!(answer.all_text(), format!("created `work:a.txt`: 6 bytes, sha256 {HELLO}"));
    let expected = json!({"path": "work:a.txt", "size_bytes": 6, "sha256": HELLO, "created": true});
    assert_eq!(answer.structured.unwrap(), expected);
    assert_eq!(fs::read(play.path("a.txt")).unwrap(), b"hello\n");
    play.ok::<WriteFile>(json!({"path": "empty", "content": ""}));
    assert_eq!(fs::read(play.path("empty")).unwrap(), b"");
}

#[test]
fn an_existing_file_is_replaced_only_on_purpose() {
    let play = Playground::new();
    play.file("a.txt", "hello\n");
    let error = play.refused::<WriteFile>(json!({"path": "a.txt", "content": "new"}));
    assert!(error.message().contains(&format!("there is such a file (6 bytes, sha256 {HELLO})")), "{error}");
    assert_eq!(fs::read(play.path("a.txt")).unwrap(), b"hello\n");
    let expected = HELLO.to_uppercase();
    let done = play.ok::<WriteFile>(json!({"path": "a.txt", "content": "new", "expected_sha256": expected}));
    assert_eq!((&done["created"], &done["size_bytes"]), (&json!(false), &json!(3)));
    play.ok::<WriteFile>(json!({"path": "a.txt", "content": "newer", "overwrite": true}));
    assert_eq!(fs::read(play.path("a.txt")).unwrap(), b"newer");
    assert_eq!(fs::read_dir(play.path("")).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn a_wrong_hash_changes_nothing() {
    let play = Playground::new();
    play.file("a.txt", "hello\n");
    let wrong = "0".repeat(64);
    for overwrite in [false, true] {
        let call = json!({"path": "a.txt", "content": "x", "expected_sha256": wrong, "overwrite": overwrite});
        let error = play.refused::<WriteFile>(call);
        assert!(error.message().contains(&format!("its SHA-256 is {HELLO}, not {wrong}")), "{error}");
        let call =
            json!({"path": "new/b.txt", "content": "x", "expected_sha256": wrong, "overwrite": overwrite});
        play.refused::<WriteFile>(call);
        let call = json!({"path": "b.txt", "content": "x", "expected_sha256": wrong, "overwrite": overwrite});
        let error = play.refused::<WriteFile>(call);
        assert!(error.message().contains("there is no such file, but `expected_sha256`"), "{error}");
    }
    assert_eq!(fs::read(play.path("a.txt")).unwrap(), b"hello\n");
    assert_eq!(fs::read_dir(play.path("")).unwrap().count(), 1);
    for bad in ["", "abc", &"g".repeat(64)] {
        let error =
            play.refused::<WriteFile>(json!({"path": "a.txt", "content": "x", "expected_sha256": bad}));
        assert_eq!(error.code(), code::INVALID_ARGUMENTS, "{error}");
    }
}

#[test]
fn contents_may_be_base64() {
    let play = Playground::new();
    play.ok::<WriteFile>(json!({"path": "a", "content": "AP+A", "encoding": "base64"}));
    assert_eq!(fs::read(play.path("a")).unwrap(), [0, 0xFF, 0x80]);
    let error = play.refused::<WriteFile>(json!({"path": "b", "content": "?", "encoding": "base64"}));
    assert!(error.message().contains("`content` is not base64"), "{error}");
    play.refused::<WriteFile>(json!({"path": "b", "content": "", "encoding": "latin1"}));
    assert!(!play.path("b").exists());
}

#[test]
fn contents_have_a_limit() {
    let play = Playground::new();
    play.ok::<WriteFile>(json!({"path": "a", "content": "x".repeat(MAX_WRITE_BYTES)}));
    let error = play.refused::<WriteFile>(json!({"path": "b", "content": "x".repeat(MAX_WRITE_BYTES + 1)}));
    assert!(error.message().contains("10485761 bytes, more than 10485760"), "{error}");
    assert!(!play.path("b").exists());
}

#[test]
fn nothing_outside_is_written() {
    let play = Playground::new();
    play.check_walls::<WriteTo>();
    for link in ["to_file", "to_nothing", "to_dir", "up", "chain", "dir/chain", "proc"] {
        play.check_outside::<WriteTo>(link);
    }
    play.check_outside::<WriteTo>("to_dir/new.txt");
    check_untouched_outside(&play);
    assert!(!play.outside().join("project2/new.txt").exists());
    for path in ["dir/inside.txt", "dir/..test", "te..st", "dir/../inner.txt"] {
        play.ok::<WriteTo>(json!({"path": path}));
    }
}

#[test]
fn links_inside_are_followed_and_the_real_path_is_told() {
    let play = Playground::new();
    play.file("dir/f", "old").link("link", "dir/f").link("new", "dir/g").link("sub", "dir");
    assert_eq!(play.ok::<WriteTo>(json!({"path": "link"}))["path"], "work:dir/f");
    assert_eq!(play.ok::<WriteTo>(json!({"path": "new"}))["path"], "work:dir/g");
    assert_eq!(play.ok::<WriteTo>(json!({"path": "sub/h"}))["path"], "work:dir/h");
    assert!(fs::symlink_metadata(play.path("link")).unwrap().is_symlink());
    assert_eq!(fs::read(play.path("dir/g")).unwrap(), b"new");
}

#[test]
fn planted_links_are_not_followed() {
    let play = Playground::new();
    let secret = play.outside().join("secret.txt");
    for name in ["f.txt.tmp", ".f.txt.tmp", "f.txt~", ".f.txt.swp", ".f.txt.llmc-0123456789abcdef.tmp"] {
        play.link(name, &secret);
    }
    play.ok::<WriteTo>(json!({"path": "f.txt"}));
    play.ok::<WriteTo>(json!({"path": "f.txt"}));
    assert_eq!(fs::read(play.path("f.txt")).unwrap(), b"new");
    assert!(!fs::symlink_metadata(play.path("f.txt")).unwrap().is_symlink());
    check_untouched_outside(&play);
}

#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nowhere() {
    let play = Playground::new();
    let (dir, link) = (play.path("d"), play.path("link"));
    fs::create_dir(&dir).unwrap();
    symlink(play.outside().join("project2"), &link).unwrap();
    let stop = AtomicBool::new(false);
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                std::thread::yield_now();
            }
        });
        let until = Instant::now() + Duration::from_secs(20);
        while (written < 50 || refused < 50) && Instant::now() < until {
            match play.harness.call::<WriteTo>(json!({"path": "d/nothing.txt"})) {
                Ok(_) => written += 1,
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(written >= 50 && refused >= 50, "{written} {refused}");
    check_untouched_outside(&play);
}

#[test]
fn only_files_are_replaced_and_nothing_blocks() {
    let play = Playground::new();
    play.fifo("fifo");
    let _listener = UnixListener::bind(play.path("socket")).unwrap();
    fs::create_dir(play.path("dir")).unwrap();
    let began = Instant::now();
    for (path, kind) in [("fifo", "FIFO"), ("socket", "socket"), ("dir", "directory")] {
        for overwrite in [false, true] {
            let error =
                play.refused::<WriteFile>(json!({"path": path, "content": "", "overwrite": overwrite}));
            assert!(error.message().contains(&format!("not a regular file but a {kind}")), "{error}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    let error = play.refused::<WriteTo>(json!({"path": "."}));
    assert!(error.message().contains("top of a root"), "{error}");
}

#[test]
fn modes_stay() {
    let play = Playground::new();
    play.file("run.sh", "#!/bin/sh\n");
    fs::set_permissions(play.path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    play.ok::<WriteTo>(json!({"path": "run.sh"}));
    assert_eq!(fs::metadata(play.path("run.sh")).unwrap().mode() & 0o7777, 0o755);
    fs::set_permissions(play.path("run.sh"), fs::Permissions::from_mode(0o555)).unwrap();
    let error = play.refused::<WriteTo>(json!({"path": "run.sh"}));
    assert_eq!(error.code(), code::DENIED);
    assert!(error.message().contains("it is read-only (mode 0555)"), "{error}");
}

#[test]
fn other_names_of_the_file_keep_what_they_had() {
    let play = Playground::new();
    play.file("f", "old");
    fs::create_dir(play.path(".git")).unwrap();
    fs::hard_link(play.path("f"), play.path(".git/config")).unwrap();
    let answer = play.harness.call::<WriteTo>(json!({"path": "f"})).unwrap();
    assert!(
        answer
            .all_text()
            .ends_with("\n[the file had 1 other names (hard links), which keep the old contents]")
    );
    assert_eq!(fs::read(play.path(".git/config")).unwrap(), b"old");
}

#[test]
fn missing_directories_are_made_and_named() {
    let play = Playground::new();
    let note = |path: &str| play.ok::<WriteTo>(json!({"path": path}))["note"].clone();
    assert_eq!(note("a/f"), "made the directory `work:a`");
    assert_eq!(note("a/b/c/d/f"), "made the directory `work:a/b` and 2 below it");
    assert_eq!(note("a/b/g"), Value::Null);
    play.link("link", "a");
    assert_eq!(note("link/x/f"), "made the directory `work:a/x`");
    assert_eq!(fs::read(play.path("a/b/c/d/f")).unwrap(), b"new");
}

#[test]
fn directories_are_not_made_for_a_file_that_is_refused() {
    let play = Playground::new();
    play.file("file", "").link("to_dir", play.outside().join("project2")).link("up", "..");
    let deep = vec!["d"; 150].join("/");
    let long = format!("x/y/{}", "n".repeat(256));
    for path in [
        "repo/.git/hooks/post-commit",
        "repo/.GIT/config",
        ".cargo/config.toml",
        "a/../b/f",
        "a/../../b/f",
        "to_dir/new/f",
        "up/new/f",
        "file/new/f",
        "../new/f",
        &long,
        &deep,
    ] {
        play.refused::<WriteTo>(json!({"path": path}));
    }
    let mut names: Vec<_> =
        fs::read_dir(play.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "to_dir", "up"]);
    assert!(!play.outside().join("project2/new").exists() && !play.outside().join("new").exists());
    assert_eq!(play.ok::<WriteTo>(json!({"path": ".cargo/other.toml"}))["created"], true);
}

#[test]
fn a_root_that_is_read_only_stays_as_it_is() {
    let play = Playground::new();
    let harness = Harness::new().root("work", play.path(""), Access::Ro);
    for path in ["f", "new/f"] {
        let error = harness.call::<WriteTo>(json!({"path": path})).unwrap_err();
        assert!(error.message().contains("root `work` is read-only"), "{error}");
    }
    assert_eq!(fs::read_dir(play.path("")).unwrap().count(), 0);
}

#[test]
fn it_says_what_it_may_destroy() {
    let annotations = item::<WriteFile>().annotations;
    assert!(
        annotations.destructive
            && annotations.idempotent
            && !annotations.open_world
            && !annotations.read_only
    );
}
