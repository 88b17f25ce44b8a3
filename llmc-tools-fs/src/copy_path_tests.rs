//! `copy_path`.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

fn copied(place: &Playground, from: &str, to: &str) -> Value {
    place.ok::<CopyPath>(json!({"from": from, "to": to}))
}

/// The last part of the error; nothing may have changed.
#[track_caller]
fn refused(place: &Playground, from: &str, to: &str) -> String {
    let before = place.all("");
    let error = place.refused::<CopyPath>(json!({"from": from, "to": to}));
    assert_eq!(place.all(""), before, "{error}");
    let text = error.message();
    text.rsplit_once("`: ").map_or(text, |(_, text)| text).to_owned()
}

fn set_mode(place: &Playground, path: &str, mode: u32) {
    fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(place: &Playground, path: &str) -> u32 {
    fs::symlink_metadata(place.path(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_copied_with_its_permissions() {
    let place = Playground::new();
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    place.file("dir/tool", &big).file("empty", "");
    set_mode(&place, "dir/tool", 0o6754);
    assert_eq!(
        copied(&place, "dir/tool", "copy"),
        json!({"path": "work:copy", "entries": 1, "bytes": big.len(), "skipped": 0})
    );
    assert!(fs::read(place.path("copy")).unwrap() == big);
    assert_eq!(mode(&place, "copy"), 0o754, "no set-id bits");
    assert_eq!(place.harness.progress().last().unwrap().done, big.len() as f64);
    let answer = place.harness.call::<CopyPath>(json!({"from": "empty", "to": "dir/line\nfeed"})).unwrap();
    assert_eq!(answer.all_text(), "copied `work:empty` to `work:dir/line\\nfeed`: 0 bytes");
    assert_eq!(
        place.all(""),
        ["copy", "dir/", "dir/line\nfeed", "dir/tool", "empty"],
        "nothing temporary is left"
    );
}

#[test]
fn a_directory_is_copied_with_all_that_is_in_it() {
    let place = Playground::new();
    place.file("dir/a", "1").file("dir/sub/b", "22").file("dir/sub/deep/c", "333");
    place.link("dir/out", place.outside().join("project2")).link("dir/sub/up", "../a").link("dir/none", "x");
    place.fifo("dir/pipe");
    let _socket = UnixListener::bind(place.path("dir/sub/socket")).unwrap();
    fs::write(place.path("dir").join(OsStr::from_bytes(b"\xFF\n")), "4444").unwrap();
    set_mode(&place, "dir/sub", 0o2550);
    set_mode(&place, "dir/a", 0o400);
    let answer = place.harness.call::<CopyPath>(json!({"from": "dir", "to": "sub/../new"}));
    assert!(answer.is_err(), "`sub` is not there");
    let answer = place.harness.call::<CopyPath>(json!({"from": "dir", "to": "new"})).unwrap();
    assert_eq!(
        answer.all_text(),
        "copied `work:dir` to `work:new`: 10 entries, 10 bytes\n[2 FIFOs, sockets or devices were left out]"
    );
    assert_eq!(
        answer.structured.unwrap(),
        json!({"path": "work:new", "entries": 10, "bytes": 10, "skipped": 2})
    );
    let special = ["pipe", "sub/socket"];
    let expected: Vec<_> = place.all("dir").into_iter().filter(|path| !special.contains(&&**path)).collect();
    assert_eq!(place.all("new"), expected, "links have the same text");
    assert_eq!(fs::read(place.path("new").join(OsStr::from_bytes(b"\xFF\n"))).unwrap(), b"4444");
    assert_eq!((mode(&place, "new/sub"), mode(&place, "new/a")), (0o750, 0o400));
    assert_eq!(
        place.all("").iter().filter(|path| path.starts_with('.')).count(),
        0,
        "nothing temporary is left"
    );
}

#[test]
fn a_link_is_copied_as_a_link() {
    let place = Playground::new();
    place.file("dir/f", "x").link("link", "dir").link("out", "../project2/secret.txt");
    for path in ["link", "out"] {
        assert_eq!(copied(&place, path, &format!("dir/{path}"))["entries"], 1);
    }
    assert_eq!(place.all("dir"), ["f", "link -> dir", "out -> ../project2/secret.txt"]);
    assert_eq!(copied(&place, "link/f", "copy")["bytes"], 1, "links on the way are followed");
}

#[test]
fn nothing_is_replaced() {
    let place = Playground::new();
    place.file("f", "new").file("g", "old").file("dir/x", "").link("link", "none").fifo("pipe");
    assert_eq!(refused(&place, "f", "g"), "a file is there already");
    assert_eq!(refused(&place, "f", "f"), "a file is there already");
    assert_eq!(refused(&place, "f", "link"), "a symbolic link is there already");
    assert_eq!(refused(&place, "f", "dir"), "a directory is there; give the whole path of the copy");
    assert_eq!(refused(&place, "dir", "dir"), "a directory is there; give the whole path of the copy");
    assert_eq!(refused(&place, "pipe", "new"), "it is no file, directory or link but a FIFO");
    let unfinished = ".f.llmc-0123456789abcdef.tmp";
    assert!(refused(&place, "f", unfinished).starts_with("names of this form are those of unfinished files"));
    assert_eq!(refused(&place, "none", "new"), "no such file or directory");
    assert_eq!(refused(&place, "f", "none/new"), "no such file or directory");
    assert_eq!(fs::read_to_string(place.path("g")).unwrap(), "old");
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let place = Playground::new();
    place.file("dir/sub/x", "").link("alias", "dir/sub");
    for to in ["dir/new", "dir/sub/new", "alias/new"] {
        assert_eq!(refused(&place, "dir", to), "a directory cannot be copied into itself", "{to}");
    }
    assert_eq!(refused(&place, "work:", "new"), "a directory cannot be copied into itself");
    copied(&place, "dir/sub", "dir/twin");
    let harness = Harness::new().root("work", place.path(""), Access::Rw).root(
        "sub",
        place.path("dir/sub"),
        Access::Rw,
    );
    let error = harness.call::<CopyPath>(json!({"from": "dir", "to": "sub:new"})).unwrap_err();
    assert!(error.message().ends_with("cannot be copied into itself"), "by another name: {error}");
}

#[test]
fn nothing_outside_is_copied_or_reached() {
    let place = Playground::new();
    place.file("f", "x").file("dir/x", "").link("out", place.outside().join("project2")).link("up", "..");
    for path in
        ["../secret.txt", "out/secret.txt", "up/secret.txt", "..", "dir/../../secret.txt", "/etc/passwd"]
    {
        assert_eq!(refused(&place, path, "new"), "the path is outside the granted roots", "{path}");
    }
    for path in ["../new", "out/new", "up/new", "dir/../../new", "/tmp/new"] {
        assert_eq!(refused(&place, "f", path), "the path is outside the granted roots", "{path}");
    }
    place.check_outside_is_whole();
}

#[test]
fn protected_paths_are_not_written_and_nothing_else_then() {
    let place = Playground::new();
    place
        .file("repo/.git/config", "x")
        .file("repo/src/main.rs", "")
        .file("cfg/config.toml", "")
        .file("f", "");
    place.file("deep/a/b/.GIT/hooks/h", "").link("hooks", "repo/.git").file("cfg/other", "");
    for (from, to) in [
        ("f", "repo/.git/hooks"),
        ("f", "hooks/pre-commit"),
        ("f", ".GIT"),
        ("cfg", "new/../.git"),
        ("cfg", ".cargo"),
        ("repo", "new"),
        ("deep", "new"),
        ("repo/.git", "src/.git"),
    ] {
        let before = place.all("");
        place.file("src/x", "");
        let error = place.refused::<CopyPath>(json!({"from": from, "to": to}));
        fs::remove_dir_all(place.path("src")).unwrap();
        assert_eq!(place.all(""), before, "{from} to {to}");
        if to != "new/../.git" {
            assert_eq!(error.code(), code::DENIED, "{from} to {to}: {error}");
            assert!(error.message().contains("is protected"), "{error}");
        }
    }
    assert!(
        place
            .refused::<CopyPath>(json!({"from": "deep", "to": "new"}))
            .message()
            .contains("`work:deep/a/b/.GIT`: "),
        "it is named"
    );
    copied(&place, "repo/.git", "plain");
    assert_eq!(place.all("plain"), ["config"], "what is protected may be read");
}

#[test]
fn a_read_only_root_can_be_read() {
    let place = Playground::new();
    let docs = tempfile::tempdir().unwrap();
    fs::create_dir(docs.path().join("sub")).unwrap();
    fs::write(docs.path().join("sub/f"), "x").unwrap();
    let harness =
        Harness::new().root("work", place.path(""), Access::Rw).root("docs", docs.path(), Access::Ro);
    let call = |from: &str, to: &str| harness.call::<CopyPath>(json!({"from": from, "to": to}));
    call("docs:", "all").unwrap();
    call("docs:sub", "sub").unwrap();
    assert_eq!(place.all(""), ["all/", "all/sub/", "all/sub/f", "sub/", "sub/f"]);
    let error = call("sub", "docs:new").unwrap_err();
    assert_eq!(error.code(), code::DENIED);
    assert_eq!(error.message(), "cannot copy to `docs:new`: root `docs` is read-only");
    assert_eq!(fs::read_dir(docs.path()).unwrap().count(), 1);
}

#[test]
fn limits_are_told_before_anything_is_written() {
    let place = Playground::new();
    place.file("dir/a", "").file("dir/big", "");
    File::options().write(true).open(place.path("dir/big")).unwrap().set_len(MAX_COPY_BYTES + 1).unwrap();
    assert_eq!(
        refused(&place, "dir", "new"),
        format!("more than {MAX_COPY_BYTES} bytes are not copied at once")
    );
    fs::create_dir_all(place.path(&vec!["d"; MAX_DEPTH + 5].join("/"))).unwrap();
    assert_eq!(refused(&place, "d", "new"), "it lies below more than 100 directories");
    fs::create_dir_all(place.path(&format!("e/{}", vec!["d"; MAX_DEPTH].join("/")))).unwrap();
    assert_eq!(copied(&place, "e", "new")["entries"], MAX_DEPTH + 1);
}

#[test]
fn sparse_files_within_the_limit_and_files_without_a_size_are_copied() {
    let place = Playground::new();
    place.file("sparse", "");
    File::options().write(true).open(place.path("sparse")).unwrap().set_len(40 << 20).unwrap();
    assert_eq!(copied(&place, "sparse", "copy")["bytes"], 40 << 20);
    assert_eq!(fs::metadata(place.path("copy")).unwrap().len(), 40 << 20);
    let harness = Harness::new().root("work", place.path(""), Access::Rw).root("proc", "/proc", Access::Ro);
    harness.call::<CopyPath>(json!({"from": "proc:version", "to": "version"})).unwrap();
    assert!(fs::read_to_string(place.path("version")).unwrap().starts_with("Linux version"));
    for path in ["proc:self/root", "proc:self/exe", "proc:self/task/1/cwd", "proc:self/fd", "proc:self"] {
        let error = harness.call::<CopyPath>(json!({"from": path, "to": "new"})).unwrap_err();
        assert!(!place.path("new").exists(), "{path}: {error}");
    }
    let error = harness.call::<CopyPath>(json!({"from": "proc:self/exe", "to": "new"})).unwrap_err();
    assert_eq!(error.code(), code::DENIED, "what it leads to is not told: {error}");
    let error = harness.call::<CopyPath>(json!({"from": "proc:self/root/etc", "to": "etc"})).unwrap_err();
    assert_eq!(error.code(), code::DENIED);
}

#[test]
fn copies_cross_file_systems() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not checked: there is no second file system");
        return;
    };
    let place = Playground::new();
    let big: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    place.file("dir/big", &big).link("dir/link", "big");
    let harness =
        Harness::new().root("work", place.path(""), Access::Rw).root("memory", memory.path(), Access::Rw);
    for (from, to) in [("dir", "memory:dir"), ("memory:dir", "back"), ("memory:dir/big", "big")] {
        harness.call::<CopyPath>(json!({"from": from, "to": to})).unwrap();
    }
    assert!(fs::read(place.path("back/big")).unwrap() == big && fs::read(place.path("big")).unwrap() == big);
    assert_eq!(place.all("back"), ["big", "link -> big"]);
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing() {
    let place = Playground::new();
    (0..300).for_each(|number| {
        place.file(&format!("dir/{number}"), "x");
    });
    let before = place.all("");
    place.harness.cancel();
    for from in ["dir", "dir/1"] {
        let error = place.refused::<CopyPath>(json!({"from": from, "to": "new"}));
        assert_eq!(error.code(), code::CANCELLED);
        assert_eq!(place.all(""), before);
    }
}

#[test]
fn what_changes_between_plan_and_copy_is_refused_and_cleaned_up() {
    let place = Playground::new();
    place.file("dir/sub/f", "x");
    let roots = place.roots();
    let (old, new) = (Place::parse("dir", &roots).unwrap(), Place::parse("new", &roots).unwrap());
    let ctx = place.harness.context();
    let to = Target::for_change("copy to", &new, Last::Keep).unwrap();
    let (from, _) = look_at(&old).unwrap();
    let from = Tree::to_read(openat(&from, ".", OFlags::RDONLY, Mode::empty()).unwrap());
    fs::create_dir(place.path("new")).unwrap();
    let into = Tree::to_change(&to.parent, OsStr::new("new")).unwrap();
    let mut copying = Copying::new(&old, &to, &ctx);
    copying.pass(&from, None).unwrap();
    place.file("dir/sub/.git/config", "");
    let error = copying.pass(&from, Some(&into)).unwrap_err();
    assert!(error.message().starts_with("`work:dir/sub/.git`: `.git` is protected"), "{error}");
    assert!(!place.path("new/sub/.git").exists());
}

#[test]
fn a_swapped_link_never_leads_out() {
    let place = Playground::new();
    place.file("src/door/f", "inside").file("src/door/secret.txt", "inside").file("src/file", "inside");
    symlink(place.outside().join("project2"), place.path("spare")).unwrap();
    let mut seen = [0, 0, 0];
    place.race("src/door", "spare", || {
        for round in 0..1000 {
            let to = format!("copies/{round}");
            let _ = fs::create_dir(place.path("copies"));
            if place.harness.call::<CopyPath>(json!({"from": "src", "to": to})).is_err() {
                assert!(fs::symlink_metadata(place.path(&to)).is_err(), "a failed copy is not there");
                seen[2] += 1;
                continue;
            }
            let door = place.path(&to).join("door");
            if door.is_symlink() {
                seen[0] += 1;
                continue;
            }
            seen[1] += 1;
            assert_eq!(fs::read_to_string(door.join("secret.txt")).unwrap(), "inside");
        }
    });
    place.check_outside_is_whole();
    let left = place.all("copies").into_iter().filter(|path| path.starts_with('.')).count();
    assert!(seen[0] > 0 && seen[1] > 0 && left == 0, "{seen:?} {left}");
}

#[test]
fn a_swapped_destination_never_leads_out() {
    let place = Playground::new();
    place.file("src/a/b", "x").file("src/c", "y").file("door/keep", "");
    symlink(place.outside().join("project2"), place.path("spare")).unwrap();
    let mut copied = 0;
    place.race("door", "spare", || {
        for round in 0..1000 {
            for from in ["src", "src/c"] {
                let to = format!("door/{round}-{}", from.len());
                copied += u32::from(place.harness.call::<CopyPath>(json!({"from": from, "to": to})).is_ok());
            }
        }
    });
    place.check_outside_is_whole();
    assert!(copied > 0);
}

#[test]
fn the_tool_is_described() {
    let item = item::<CopyPath>();
    assert_eq!((item.annotations, item.title.as_str()), (Annotations::ADDITIVE, "Copy path"));
    assert_eq!(item.input_schema["required"], json!(["from", "to"]));
}
