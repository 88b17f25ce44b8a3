//! Reaching directories of a tree, and putting things into place.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::testing::Playground;

fn root(place: &Playground) -> OwnedFd {
    fs::File::open(place.path("")).unwrap().into()
}

#[test]
fn a_tree_is_never_left() {
    let place = Playground::new();
    place
        .file("tree/sub/f", "")
        .link("tree/link", "sub")
        .link("tree/out", "../../project2")
        .link("top", "tree");
    let tree = Tree::to_change(root(&place), OsStr::new("tree")).unwrap();
    for path in ["", "sub"] {
        assert!(tree.dir(Path::new(path)).is_ok(), "{path}");
    }
    for (path, errno) in [
        ("link", Errno::NOTDIR),
        ("out", Errno::NOTDIR),
        ("link/x", Errno::LOOP),
        ("..", Errno::XDEV),
        ("sub/../..", Errno::XDEV),
        ("/etc", Errno::XDEV),
        ("sub/f", Errno::NOTDIR),
        ("none", Errno::NOENT),
    ] {
        assert_eq!(tree.dir(Path::new(path)).err(), Some(errno), "{path}");
    }
    assert_eq!(Tree::to_change(root(&place), OsStr::new("top")).err(), Some(Errno::NOTDIR));
}

#[test]
fn a_tree_to_change_ends_at_a_mount() {
    let slash: OwnedFd = fs::File::open("/").unwrap().into();
    assert_eq!(Tree::to_change(&slash, OsStr::new("proc")).err(), Some(Errno::XDEV));
    assert!(Tree::to_read(slash).dir(Path::new("proc")).is_ok());
}

#[test]
fn a_rename_never_replaces() {
    type Rename = fn((BorrowedFd<'_>, &OsStr), (BorrowedFd<'_>, &OsStr), bool) -> Result<(), Errno>;
    for rename in [rename_new as Rename, rename_in_steps] {
        let place = Playground::new();
        place.file("f", "f").file("g", "g").file("dir/x", "").file("full/y", "").link("link", "nothing");
        fs::create_dir(place.path("empty")).unwrap();
        let dir = root(&place);
        let rename = |from: &str, to: &str| {
            rename((dir.as_fd(), from.as_ref()), (dir.as_fd(), to.as_ref()), from == "dir")
        };
        for from in ["f", "dir", "link"] {
            for to in ["g", "full", "empty", "link", "f"] {
                assert_eq!(rename(from, to), Err(Errno::EXIST), "{from} to {to}");
            }
        }
        let before = place.all("");
        assert!(rename("dir", "dir/inner").is_err());
        assert_eq!(rename("none", "new"), Err(Errno::NOENT));
        assert_eq!(place.all(""), before, "nothing is left of what failed");
        for from in ["f", "dir", "link"] {
            assert_eq!(rename(from, &format!("new-{from}")), Ok(()));
        }
        assert_eq!(
            place.all(""),
            ["empty/", "full/", "full/y", "g", "new-dir/", "new-dir/x", "new-f", "new-link -> nothing"]
        );
    }
}

#[test]
fn temporary_names_differ() {
    let names: std::collections::HashSet<_> = (0..1000).map(|_| temporary_name()).collect();
    assert_eq!(names.len(), 1000);
}

#[test]
fn names_of_one_file_are_known() {
    let place = Playground::new();
    place.file("a", "").file("b", "").link("c", "a");
    fs::hard_link(place.path("a"), place.path("twin")).unwrap();
    let dir = root(&place);
    let of = |name: &str| identity(&dir, OsStr::new(name));
    assert!(of("a").is_some() && of("a") == of("twin") && of("a") != of("b") && of("a") != of("c"));
    assert_eq!(of("none"), None);
    symlink("x", place.path("d")).unwrap();
    assert!(of("d").is_some(), "the link itself");
}
