//! Removing, while somebody else works in the same tree: `each` plays that part, at the worst moments.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::testing::Playground;

/// Empties `tree`; `meanwhile` runs after every entry that is gone.
fn empty_while(place: &Playground, mut meanwhile: impl FnMut(&Path)) -> Result<u64, Stopped> {
    let root = fs::File::open(place.path("")).unwrap();
    let tree = Tree::to_change(&root, OsStr::new("tree")).unwrap();
    let mut removed = 0;
    empty(&tree, &mut |path, count| {
        removed = count;
        meanwhile(path);
        Ok(())
    })?;
    Ok(removed)
}

#[test]
fn a_directory_becomes_a_link_to_the_outside() {
    let place = Playground::new();
    place.file("tree/a", "").file("tree/sub/secret.txt", "").file("tree/sub/inner/x", "");
    let mut is_done = false;
    let removed = empty_while(&place, |path| {
        if !is_done && path.starts_with("sub") {
            is_done = true;
            fs::rename(place.path("tree/sub"), place.path("elsewhere")).unwrap();
            symlink(place.outside().join("project2"), place.path("tree/sub")).unwrap();
        }
    });
    assert_eq!(removed.ok(), Some(3), "`a`, what was in `sub` when it was opened, and the link");
    assert_eq!(place.all(""), ["elsewhere/", "elsewhere/inner/", "elsewhere/inner/x", "tree/"]);
    place.check_outside_is_whole();
}

#[test]
fn a_directory_becomes_a_file_or_is_gone() {
    for becomes_file in [true, false] {
        let place = Playground::new();
        place.file("tree/one/f", "").file("tree/two/f", "");
        let mut is_done = false;
        let removed = empty_while(&place, |_| {
            if !std::mem::replace(&mut is_done, true) {
                for name in ["one", "two"] {
                    let old = place.path("tree").join(name);
                    fs::rename(&old, place.path(name)).unwrap();
                    if becomes_file {
                        fs::write(old, "").unwrap();
                    }
                }
            }
        });
        assert_eq!(removed.ok(), Some(if becomes_file { 3 } else { 1 }));
        assert_eq!(place.all("tree"), [""; 0]);
        assert_eq!(place.all("").len(), 4, "what was taken out in time is safe");
    }
}

#[test]
fn a_directory_that_is_filled_again_is_emptied_again_and_not_for_ever() {
    for (refills, is_enough) in [(5, true), (usize::MAX, false)] {
        let place = Playground::new();
        place.file("tree/sub/f", "");
        let mut left = refills;
        let removed = empty_while(&place, |path| {
            if path.starts_with("sub/f") && left > 0 {
                left -= 1;
                // A new directory does not show up in the listing that is being read: the removal finds it later.
                fs::create_dir(place.path(&format!("tree/sub/g{left}"))).unwrap();
                fs::write(place.path(&format!("tree/sub/g{left}/f")), "").unwrap();
            } else if path.starts_with("sub") && path.ends_with("f") && left > 0 {
                left -= 1;
                fs::write(place.path("tree/sub/f"), "").unwrap();
            }
        });
        match removed {
            Ok(_) => assert!(is_enough),
            Err(stopped) => {
                assert!(!is_enough, "{}", stopped.error);
                assert_eq!(stopped.error.message(), "others keep filling or replacing it; try again");
            }
        }
    }
}

#[test]
fn an_error_of_the_caller_stops_it() {
    let place = Playground::new();
    place.file("tree/a", "").file("tree/b", "");
    let root = fs::File::open(place.path("")).unwrap();
    let tree = Tree::to_change(&root, OsStr::new("tree")).unwrap();
    let stopped = empty(&tree, &mut |_, _| Err(ToolError::failed("enough"))).err().unwrap();
    assert_eq!(stopped.error.message(), "enough");
    assert_eq!(place.all("tree").len(), 1);
}
