//! Both ways of writing, and what is kept of a file that is replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::*;
use crate::path::Place;
use crate::target::Last;
use crate::testing::Playground;
use crate::write::lock::Change;

const WAYS: [Way; 2] = [Way::Unnamed, Way::Named];

/// Writes to a path in one way, in place of what is there or not.
fn write(play: &Playground, path: &str, replace: bool, way: Way) -> Result<Vec<String>, Trouble> {
    let ctx = play.harness.context();
    let roots = play.roots();
    let place = Place::parse(path, &roots).unwrap();
    let job = Job::new("write_file", "write", &place, &ctx);
    let target = Target::for_change("write", &place, Last::Follow).unwrap();
    let old = if replace { Locked::take(&job, &target, Change::Replace)? } else { None };
    publish(&job, &target, b"new", old.as_ref(), &[way])
}

fn names(play: &Playground) -> Vec<String> {
    let names =
        fs::read_dir(play.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn both_ways_create_and_replace() {
    for way in WAYS {
        let play = Playground::new();
        assert!(write(&play, "f", false, way).unwrap().is_empty());
        assert_eq!(fs::read(play.path("f")).unwrap(), b"new");
        play.file("f", "old");
        let inode = fs::metadata(play.path("f")).unwrap().ino();
        assert!(write(&play, "f", true, way).unwrap().is_empty());
        assert_eq!(fs::read(play.path("f")).unwrap(), b"new");
        assert_ne!(fs::metadata(play.path("f")).unwrap().ino(), inode, "a file of its own");
        assert_eq!(names(&play), ["f"], "{way:?}: nothing is left over");
    }
}

#[test]
fn what_came_to_be_meanwhile_is_not_overwritten() {
    for way in WAYS {
        let play = Playground::new();
        play.file("f", "theirs");
        play.link("link", "nowhere");
        for path in ["f", "link"] {
            let ctx = play.harness.context();
            let roots = play.roots();
            let place = Place::parse(path, &roots).unwrap();
            let job = Job::new("write_file", "write", &place, &ctx);
            let target = Target::for_change("write", &place, Last::Keep).unwrap();
            let failed = publish(&job, &target, b"new", None, &[way]).unwrap_err();
            assert!(matches!(failed, Trouble::Again(Blocker::Restless)), "{way:?} {path}: {failed:?}");
        }
        assert_eq!(fs::read(play.path("f")).unwrap(), b"theirs");
        assert!(!play.path("nowhere").exists());
        assert_eq!(names(&play).len(), 2, "{way:?}: nothing is left over");
    }
}

#[test]
fn a_file_that_others_changed_or_replaced_is_not_overwritten() {
    for way in WAYS {
        for meddle in [
            (|play| fs::write(play.path("f"), "theirs").unwrap()) as fn(&Playground),
            |play| fs::rename(play.path("g"), play.path("f")).unwrap(),
            |play| fs::remove_file(play.path("f")).unwrap(),
        ] {
            let play = Playground::new();
            play.file("f", "old").file("g", "theirs");
            let ctx = play.harness.context();
            let roots = play.roots();
            let place = Place::parse("f", &roots).unwrap();
            let job = Job::new("write_file", "write", &place, &ctx);
            let target = Target::for_change("write", &place, Last::Follow).unwrap();
            let old = Locked::take(&job, &target, Change::Replace).unwrap().unwrap();
            meddle(&play);
            let failed = publish(&job, &target, b"new", Some(&old), &[way]).unwrap_err();
            assert!(matches!(failed, Trouble::Again(Blocker::Restless)), "{failed:?}");
            assert_ne!(fs::read(play.path("f")).unwrap_or_default(), b"new");
            assert!(
                names(&play).iter().all(|name| ["f", "g"].contains(&name.as_str())),
                "{:?}",
                names(&play)
            );
        }
    }
}

#[test]
fn modes_are_kept_but_not_set_id_bits() {
    for way in WAYS {
        for (mode, kept, note) in
            [(0o755, 0o755, None), (0o600, 0o600, None), (0o4755, 0o755, Some("set-id bits were dropped"))]
        {
            let play = Playground::new();
            play.file("f", "old");
            fs::set_permissions(play.path("f"), fs::Permissions::from_mode(mode)).unwrap();
            let notes = write(&play, "f", true, way).unwrap();
            assert_eq!(fs::metadata(play.path("f")).unwrap().mode() & 0o7777, kept);
            assert_eq!(notes, Vec::from_iter(note));
        }
    }
}

#[test]
fn a_new_file_has_the_modes_that_files_have_here() {
    for way in WAYS {
        let play = Playground::new();
        play.file("usual", "");
        write(&play, "f", false, way).unwrap();
        let mode = |name| fs::metadata(play.path(name)).unwrap().mode();
        assert_eq!(mode("f"), mode("usual"), "{way:?}");
    }
}

#[test]
fn the_owner_is_kept_as_far_as_that_is_allowed() {
    let play = Playground::new();
    play.file("f", "old");
    // Only a superuser can make the file that this is about.
    if chown(play.path("f"), Some(12345), Some(12346)).is_err() {
        println!("not checked: this user cannot give files away");
        return;
    }
    assert!(write(&play, "f", true, Way::Unnamed).unwrap().is_empty());
    let facts = fs::metadata(play.path("f")).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (12345, 12346));
}

#[test]
fn other_names_keep_the_old_contents() {
    let play = Playground::new();
    play.file("f", "old");
    fs::hard_link(play.path("f"), play.path("g")).unwrap();
    let notes = write(&play, "f", true, Way::Unnamed).unwrap();
    assert_eq!(notes, ["the file had 1 other names (hard links), which keep the old contents"]);
    assert_eq!(fs::read(play.path("g")).unwrap(), b"old");
}

#[test]
fn a_way_that_is_not_offered_is_told_from_a_failure() {
    for errno in [Errno::OPNOTSUPP, Errno::NOENT, Errno::PERM, Errno::ISDIR] {
        assert!(is_no_offer(errno));
    }
    for errno in [Errno::NOSPC, Errno::ACCESS, Errno::EXIST, Errno::IO, Errno::DQUOT, Errno::ROFS] {
        assert!(!is_no_offer(errno));
    }
}

#[test]
fn names_of_temporary_files_are_not_to_be_had() {
    let play = Playground::new();
    let failed = write(&play, ".f.llmc-0123456789abcdef.tmp", false, Way::Unnamed).unwrap_err();
    assert!(matches!(failed, Trouble::Failed(error) if error.message().contains("unfinished files")));
}
