//! Names of temporary files, and what is left of killed writers.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use llmc_core::testing::Harness;
use rustix::fs::{CWD, mknodat};
use tempfile::TempDir;

use super::*;

const STALE: &str = ".f.txt.llmc-0123456789abcdef.tmp";

fn open(dir: &TempDir) -> OwnedFd {
    File::open(dir.path()).unwrap().into()
}

fn names(dir: &TempDir) -> Vec<String> {
    let names =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn swept(dir: &TempDir) -> Vec<String> {
    sweep(&open(dir), &Harness::new().context()).unwrap();
    names(dir)
}

#[test]
fn names_are_of_one_form_and_short() {
    for target in ["f.txt", "日本語", &"ü".repeat(127), &"x".repeat(255)] {
        let (one, other) = (new_name(OsStr::new(target)).unwrap(), new_name(OsStr::new(target)).unwrap());
        assert_ne!(one, other);
        assert!(one.len() <= 143 && is_temporary(one.as_bytes()), "{one:?}");
    }
    let not_utf8 = new_name(OsStr::from_bytes(b"\xFF\xFE")).unwrap();
    assert!(is_temporary(not_utf8.as_bytes()));
    assert!(is_temporary(STALE.as_bytes()));
}

#[test]
fn other_names_are_not_taken_for_ours() {
    for name in [
        "f.txt",
        "f.txt.tmp",
        ".f.txt.tmp",
        ".llmc-.tmp",
        "f.llmc-0123456789abcdef.tmp",
        ".f.llmc-0123456789abcdeg.tmp",
        ".f.llmc-0123456789ABCDEF.tmp",
        ".f.llmc-123456789abcdef.tmp",
        ".f.llmc-0123456789abcdef.tmp~",
    ] {
        assert!(!is_temporary(name.as_bytes()), "{name}");
    }
}

#[test]
fn what_a_killed_writer_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(STALE), "half").unwrap();
    fs::write(dir.path().join("f.txt"), "whole").unwrap();
    assert_eq!(swept(&dir), ["f.txt"]);
}

#[test]
fn what_a_living_writer_holds_stays() {
    let dir = tempfile::tempdir().unwrap();
    let handle = open(&dir);
    for way in [Way::Unnamed, Way::Named] {
        let mut temporary = Temporary::new(handle.as_fd(), OsStr::new("f"), Mode::RUSR, way).unwrap();
        let name = temporary.name(OsStr::new("f")).unwrap().to_owned();
        assert_eq!(swept(&dir), [name.to_str().unwrap()], "{way:?}");
        drop(temporary);
        assert!(names(&dir).is_empty(), "{way:?}: gone with its writer");
    }
}

#[test]
fn what_only_looks_like_ours_stays() {
    let dir = tempfile::tempdir().unwrap();
    let name = |last: char| format!(".f.llmc-000000000000000{last}.tmp");
    let path = |last: char| dir.path().join(name(last));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), path('0')).unwrap();
    mknodat(CWD, path('1'), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(path('2')).unwrap();
    let _listener = UnixListener::bind(path('3')).unwrap();
    assert_eq!(swept(&dir), ['0', '1', '2', '3'].map(name));
    assert!(outside.path().join("secret").exists());
}

#[test]
fn a_planted_hard_link_costs_only_its_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f.txt"), "whole").unwrap();
    fs::hard_link(dir.path().join("f.txt"), dir.path().join(STALE)).unwrap();
    assert_eq!(swept(&dir), ["f.txt"]);
    assert_eq!(fs::read_to_string(dir.path().join("f.txt")).unwrap(), "whole");
}

#[test]
fn a_named_file_is_new_and_has_the_modes_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let handle = open(&dir);
    let temporary =
        Temporary::new(handle.as_fd(), OsStr::new("f"), Mode::from_raw_mode(0o600), Way::Named).unwrap();
    let name = temporary.name.clone().unwrap();
    assert_eq!(fs::metadata(dir.path().join(&name)).unwrap().permissions().mode() & 0o7777, 0o600);
    temporary.keep();
    assert!(dir.path().join(name).exists());
}

#[test]
fn nothing_is_written_after_the_call_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let handle = open(&dir);
    let mut temporary = Temporary::new(handle.as_fd(), OsStr::new("f"), Mode::RUSR, Way::Unnamed).unwrap();
    let harness = Harness::new();
    harness.cancel();
    assert!(temporary.write(b"x", &harness.context()).is_err());
    assert_eq!(fstat(temporary.file()).unwrap().st_size, 0);
}
