//! `delete_path`.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use llmc_core::code;
use llmc_core::testing::{Harness, item};
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::*;
use crate::testing::Playground;

fn delete(place: &Playground, path: &str) -> Value {
    place.ok::<DeletePath>(json!({"path": path, "recursive": true}))
}

#[test]
fn files_and_special_files_are_deleted() {
    let place = Playground::new();
    place.file("dir/a", "x").file("dir/line\nfeed", "").fifo("pipe");
    let _socket = UnixListener::bind(place.path("socket")).unwrap();
    assert_eq!(place.ok::<DeletePath>(json!({"path": "dir/a"})), json!({"path": "work:dir/a", "entries": 1}));
    for path in ["dir/line\nfeed", "pipe", "socket", "dir"] {
        assert_eq!(place.ok::<DeletePath>(json!({"path": path}))["entries"], 1, "{path}");
    }
    assert_eq!(place.all(""), [""; 0]);
    let error = place.refused::<DeletePath>(json!({"path": "dir/a"}));
    assert_eq!(error.message(), "cannot delete `work:dir/a`: no such file or directory");
    let error = place.refused::<DeletePath>(json!({"path": "a\n[done]"}));
    assert_eq!(error.message(), "cannot delete `work:a\\n[done]`: no such file or directory");
}

#[test]
fn a_link_is_deleted_and_never_its_target() {
    let place = Playground::new();
    place.file("dir/f", "x").link("to_file", "dir/f").link("to_dir", "dir").link("chain", "to_dir");
    place.link("out", place.outside().join("project2")).link("up", "../secret.txt").link("nothing", "none");
    for path in ["to_file", "chain", "to_dir/", "out", "up", "nothing"] {
        assert_eq!(delete(&place, path)["entries"], 1, "{path}");
    }
    assert_eq!(place.all(""), ["dir/", "dir/f"]);
    place.check_outside_is_whole();
}

#[test]
fn a_directory_that_is_not_empty_needs_recursive() {
    let place = Playground::new();
    place.file("dir/a", "").file("dir/sub/b", "").file("dir/sub/deep/c", "").file("other", "");
    place.link("dir/out", place.outside().join("project2")).fifo("dir/sub/pipe");
    fs::write(place.path("dir").join(OsStr::from_bytes(b"\xFF\n")), "").unwrap();
    let error = place.refused::<DeletePath>(json!({"path": "dir"}));
    assert_eq!(
        error.message(),
        "cannot delete `work:dir`: it is a directory with 4 entries; `recursive` deletes them too"
    );
    assert_eq!(place.all("").len(), 10);
    let answer = place.harness.call::<DeletePath>(json!({"path": "dir", "recursive": true})).unwrap();
    assert_eq!(answer.all_text(), "deleted `work:dir`, 9 entries");
    assert_eq!(answer.structured.unwrap(), json!({"path": "work:dir", "entries": 9}));
    assert_eq!(place.all(""), ["other"]);
    place.check_outside_is_whole();
}

#[test]
fn nothing_outside_is_deleted() {
    let place = Playground::new();
    place.check_walls::<DeletePath>();
    for path in ["..", "../secret.txt", "to_dir/secret.txt", "dir/../../project2"] {
        let error = place.refused::<DeletePath>(json!({"path": path, "recursive": true}));
        assert_eq!(error.code(), code::DENIED, "{path}: {error}");
    }
    place.check_outside_is_whole();
    assert_eq!(delete(&place, "dir/inside.txt")["entries"], 1, "the allowance beside");
}

#[test]
fn the_top_of_a_root_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/sub/x")).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    let harness = Harness::new()
        .root("work", dir.path(), Access::Rw)
        .root("sub", dir.path().join("a/sub"), Access::Rw)
        .root("b", dir.path().join("b"), Access::Ro);
    let refused = |path: &str| {
        let error = harness.call::<DeletePath>(json!({"path": path, "recursive": true})).unwrap_err();
        assert_eq!(error.code(), code::DENIED, "{path}: {error}");
        error.message().to_owned()
    };
    for path in [".", "work:", "a/..", "sub:", "sub:x/.."] {
        assert!(refused(path).contains("the top of a root"), "{path}");
    }
    assert_eq!(refused("a/sub"), "cannot delete `work:a/sub`: root `sub` begins in it");
    assert_eq!(refused("a"), "cannot delete `work:a`: root `sub` begins in it");
    assert_eq!(refused("b"), "cannot delete `work:b`: root `b` begins in it");
    assert!(refused("b:x").contains("read-only"));
    assert!(dir.path().join("a/sub/x").exists() && dir.path().join("b").exists());
    assert!(harness.call::<DeletePath>(json!({"path": "sub:x"})).is_ok(), "what is in it may go");
}

#[test]
fn what_is_protected_goes_only_with_all_that_obeys_it() {
    let place = Playground::new();
    place.file("repo/.git/hooks/h", "").file("repo/src/main.rs", "").file("repo/.cargo/config.toml", "");
    place.file("repo/vendor/x/.GIT/config", "").link("alias", "repo/.git").link("repo/hooks", ".git/hooks");
    for path in ["repo/.git", "repo/.Git", "alias/config", "alias/hooks/h", "repo/hooks/h", "repo/.cargo"] {
        let error = place.refused::<DeletePath>(json!({"path": path, "recursive": true}));
        assert_eq!(error.code(), code::DENIED, "{path}");
        assert!(error.message().contains("is protected"), "{path}: {error}");
    }
    delete(&place, "alias");
    assert_eq!(place.all("repo").len(), 12);
    let answer = place.harness.call::<DeletePath>(json!({"path": "repo", "recursive": true})).unwrap();
    let mut protected: Vec<String> =
        llmc_core::serde_json::from_value(answer.structured.as_ref().unwrap()["protected"].clone()).unwrap();
    protected.sort();
    assert_eq!(protected, [".cargo/config.toml", ".git"]);
    assert!(answer.all_text().starts_with("deleted `work:repo`, 13 entries\n[with what is protected: "));
    assert_eq!(place.all(""), [""; 0]);
}

#[test]
fn trees_deeper_than_a_path_can_say_are_deleted() {
    let place = Playground::new();
    fs::create_dir(place.path("deep")).unwrap();
    let name = "d".repeat(200);
    let mut dir = fs::File::open(place.path("deep")).map(std::os::fd::OwnedFd::from).unwrap();
    for _ in 0..100 {
        for name in [name.as_str(), "twin"] {
            mkdirat(&dir, name, Mode::RWXU).unwrap();
        }
        openat(&dir, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        dir = openat(dir.as_fd(), name.as_str(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    assert_eq!(delete(&place, "deep")["entries"], 301);
    assert_eq!(place.all(""), [""; 0]);
}

#[test]
fn a_removal_that_stops_tells_how_far_it_came() {
    let place = Playground::new();
    (0..600).for_each(|number| {
        place.file(&format!("dir/{number}"), "");
    });
    place.harness.cancel();
    let error = place.refused::<DeletePath>(json!({"path": "dir", "recursive": true}));
    assert_eq!(error.code(), code::CANCELLED);
    let text = error.message();
    let begin = "cannot delete `work:dir`: 256 entries in it were deleted before it stopped at `work:dir/";
    assert!(text.starts_with(begin) && text.ends_with("`: the call was cancelled"), "{text}");
    assert_eq!(place.all("dir").len(), 600 - 256);
    assert_eq!(place.harness.progress().len(), 1);
    let late = Harness::new().root("work", place.path(""), Access::Rw).time_left(Duration::ZERO);
    let error = late.call::<DeletePath>(json!({"path": "dir", "recursive": true})).unwrap_err();
    assert_eq!(error.code(), code::TIMED_OUT);
}

#[test]
fn what_may_not_be_changed_is_named() {
    let place = Playground::new();
    place.file("dir/locked/f", "").file("dir/a", "");
    let set = |mode| fs::set_permissions(place.path("dir/locked"), fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    if fs::write(place.path("dir/locked/probe"), "").is_ok() {
        eprintln!("not checked: this user may change everything");
        return;
    }
    let error = place.refused::<DeletePath>(json!({"path": "dir", "recursive": true}));
    set(0o755);
    assert!(error.message().ends_with("`work:dir/locked/f`: permission denied"), "{error}");
}

#[test]
fn a_swapped_link_never_leads_out() {
    const ROUNDS: usize = 1000;
    let place = Playground::new();
    let outside = place.outside().join("project2");
    for round in 0..ROUNDS {
        place
            .file(&format!("pool/{round}/inner/secret.txt"), "")
            .file(&format!("pool/{round}/secret.txt"), "");
    }
    fs::create_dir(place.path("junk")).unwrap();
    fs::create_dir(place.path("tree")).unwrap();
    symlink(&outside, place.path("spare")).unwrap();
    let mut deleted = 0;
    place.race("tree/sub", "spare", || {
        for round in 0..ROUNDS {
            // Only the names themselves are touched here: either may be the link.
            let _ = fs::rename(place.path(&format!("pool/{round}")), place.path("tree/sub"));
            let _ = fs::rename(place.path("spare"), place.path(&format!("junk/{round}")));
            symlink(&outside, place.path("spare")).unwrap();
            let path = if round % 2 == 0 { "tree" } else { "tree/sub" };
            let answer = place.harness.call::<DeletePath>(json!({"path": path, "recursive": true}));
            deleted += usize::from(answer.is_ok());
            let _ = fs::create_dir(place.path("tree"));
        }
    });
    place.check_outside_is_whole();
    assert!(deleted > ROUNDS / 10, "{deleted}");
}

#[test]
fn the_tool_is_described() {
    let item = item::<DeletePath>();
    assert_eq!((item.annotations, item.title.as_str()), (Annotations::DESTRUCTIVE, "Delete path"));
    assert_eq!(item.input_schema["required"], json!(["path"]));
}
