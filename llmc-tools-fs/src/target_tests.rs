//! Walking to a target.

use std::fs;
use std::os::unix::fs::symlink;

use llmc_core::prelude::*;

use super::*;
use crate::testing::Playground;

/// Walks, and returns the path that was really meant.
fn walk(place: &Playground, path: &str, last: Last) -> Result<PathBuf, OpenError> {
    let roots = place.roots();
    let place = Place::parse(path, &roots).unwrap();
    resolve(&place, last).map(|target| target.path)
}

#[track_caller]
fn check(place: &Playground, path: &str, expected: &str) {
    assert_eq!(walk(place, path, Last::Follow), Ok(PathBuf::from(expected)), "{path}");
}

fn playground() -> Playground {
    let place = Playground::new();
    place.file("dir/sub/f.txt", "x").file("other/g.txt", "y");
    place
        .link("to_sub", "dir/sub")
        .link("to_file", "dir/sub/f.txt")
        .link("dir/up", "..")
        .link("dir/sub/far", "../../other/g.txt")
        .link("loop", "loop")
        .link("new", "other/not-yet.txt");
    place
}

#[test]
fn the_real_path_comes_out() {
    let place = playground();
    check(&place, "dir/sub/f.txt", "dir/sub/f.txt");
    check(&place, "to_sub/f.txt", "dir/sub/f.txt");
    check(&place, "to_file", "dir/sub/f.txt");
    check(&place, "to_sub/../sub/f.txt", "dir/sub/f.txt");
    check(&place, "to_sub/..", "dir");
    check(&place, "dir/up/other/g.txt", "other/g.txt");
    check(&place, "to_sub/far", "other/g.txt");
    check(&place, "new", "other/not-yet.txt");
    check(&place, "dir/nothing", "dir/nothing");
    assert_eq!(walk(&place, "to_file", Last::Keep), Ok(PathBuf::from("to_file")));
    assert_eq!(walk(&place, "to_sub/far", Last::Keep), Ok(PathBuf::from("dir/sub/far")));
}

#[test]
fn nothing_leads_out() {
    let place = playground();
    place.link("out", "../secret.txt").link("abs", place.outside()).link("dir/deep", "../../project2");
    let outside = [
        "..",
        "../secret.txt",
        "dir/../..",
        "dir/up/..",
        "to_sub/../../..",
        "out",
        "abs",
        "abs/secret.txt",
        "dir/deep",
        "dir/deep/secret.txt",
        "dir/deep/nothing.txt",
    ];
    for path in outside {
        let found = walk(&place, path, Last::Follow);
        assert!(matches!(found, Err(OpenError::Outside(_))), "{path}: {found:?}");
    }
    assert_eq!(walk(&place, "out", Last::Keep), Ok(PathBuf::from("out")), "the link itself is inside");
}

#[test]
fn what_cannot_be_walked_says_why() {
    let place = playground();
    for (path, expected) in [
        (".", OpenError::Top),
        ("dir/..", OpenError::Top),
        ("dir/up", OpenError::Top),
        ("loop", OpenError::Loop),
        ("loop/x", OpenError::Loop),
        ("nothing/x", OpenError::NotFound),
        ("dir/sub/f.txt/x", OpenError::NotDirectory),
        ("to_file/x", OpenError::NotDirectory),
    ] {
        assert_eq!(walk(&place, path, Last::Follow), Err(expected), "{path}");
    }
}

#[test]
fn a_path_of_many_directories_is_refused_and_not_for_lack_of_descriptors() {
    let place = Playground::new();
    let deep = vec!["d"; MAX_DEPTH + 2].join("/");
    fs::create_dir_all(place.path(&deep)).unwrap();
    assert_eq!(walk(&place, &deep, Last::Follow), Err(OpenError::TooDeep));
    let edge = vec!["d"; MAX_DEPTH + 1].join("/");
    assert_eq!(walk(&place, &edge, Last::Follow), Ok(PathBuf::from(&edge)));
}

#[test]
fn changes_need_a_writable_root_and_an_unprotected_path() {
    let place = playground();
    fs::create_dir_all(place.path("repo/.git/hooks")).unwrap();
    symlink(".git/hooks", place.path("repo/scripts")).unwrap();
    symlink("../.git", place.path("dir/innocent")).unwrap();
    let roots = place.roots();
    for path in ["repo/.git/hooks/post-commit", "repo/scripts/post-commit", "repo/.GIT", "dir/innocent"] {
        let place = Place::parse(path, &roots).unwrap();
        let error = Target::for_change("write", &place, Last::Follow).unwrap_err();
        assert_eq!(error.code(), llmc_core::code::DENIED, "{path}");
        assert!(error.message().contains("`.git` is protected"), "{path}: {error}");
    }
    let place = Place::parse("repo/.gitignore", &roots).unwrap();
    assert!(Target::for_change("write", &place, Last::Follow).is_ok());

    let mut read_only = roots.clone();
    read_only[0].access = Access::Ro;
    let place = Place::parse("dir/new", &read_only).unwrap();
    let error = Target::for_change("write", &place, Last::Follow).unwrap_err();
    assert!(error.message().contains("root `work` is read-only"), "{error}");
}
