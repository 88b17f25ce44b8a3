//! Locks among the threads of a process; for those among processes see `tests.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::path::Place;
use crate::target::Last;
use crate::testing::Playground;

/// Takes the lock of `f` and does something with it.
fn with_lock<T>(
    play: &Playground,
    then: impl FnOnce(Result<Option<Locked>, Trouble>, &Target<'_>) -> T,
) -> T {
    let ctx = play.harness.context();
    let roots = play.roots();
    let place = Place::parse("f", &roots).unwrap();
    let job = Job::new("edit_file", "edit", &place, &ctx);
    let target = Target::for_change("edit", &place, Last::Follow).unwrap();
    then(Locked::take(&job, &target, Change::Replace), &target)
}

fn playground() -> Playground {
    let play = Playground::new();
    play.file("f", "text");
    play
}

#[track_caller]
fn check_blocked(play: &Playground) -> Blocker {
    with_lock(play, |taken, _| match taken {
        Err(Trouble::Again(blocker)) => blocker,
        other => panic!("{other:?}"),
    })
}

#[test]
fn one_thread_at_a_time_and_the_other_learns_which() {
    let play = playground();
    with_lock(&play, |held, _| {
        let held = held.unwrap().unwrap();
        let Blocker::Call { tool: "edit_file", call } = check_blocked(&play) else { panic!() };
        assert!(call > 0);
        drop(held);
        assert!(with_lock(&play, |taken, _| taken.unwrap().is_some()));
    });
}

#[test]
fn another_name_of_the_file_is_no_way_round() {
    let play = playground();
    fs::hard_link(play.path("f"), play.path("g")).unwrap();
    with_lock(&play, |held, _| {
        let _held = held.unwrap().unwrap();
        let ctx = play.harness.context();
        let roots = play.roots();
        let place = Place::parse("g", &roots).unwrap();
        let job = Job::new("write_file", "write", &place, &ctx);
        let target = Target::for_change("write", &place, Last::Follow).unwrap();
        let taken = Locked::take(&job, &target, Change::Append);
        assert!(matches!(taken, Err(Trouble::Again(Blocker::Call { .. }))), "{taken:?}");
    });
}

#[test]
fn readers_do_not_drop_the_lock() {
    let play = playground();
    with_lock(&play, |held, _| {
        let _held = held.unwrap().unwrap();
        // With record locks alone, this would be the end of it.
        drop(fs::read(play.path("f")).unwrap());
        let other: OwnedFd = fs::File::open(play.path("f")).unwrap().into();
        assert!(try_flock(&other).is_err());
    });
    let other: OwnedFd = fs::File::open(play.path("f")).unwrap().into();
    assert!(try_flock(&other).unwrap(), "free again");
}

#[test]
fn locks_of_others_are_respected() {
    let play = playground();
    let other: OwnedFd = fs::File::open(play.path("f")).unwrap().into();
    assert!(try_flock(&other).unwrap());
    assert_eq!(check_blocked(&play), Blocker::Unknown);
    drop(other);
    assert!(with_lock(&play, |taken, _| taken.unwrap().is_some()));
}

#[test]
fn a_lock_on_what_is_no_longer_the_file_does_not_count() {
    let play = playground();
    with_lock(&play, |held, target| {
        let held = held.unwrap().unwrap();
        assert!(held.is_untouched(target));
        play.file("other", "text");
        fs::rename(play.path("other"), play.path("f")).unwrap();
        assert!(!held.is_untouched(target));
    });
}

#[test]
fn a_change_under_the_lock_is_noticed() {
    let play = playground();
    with_lock(&play, |held, target| {
        let held = held.unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(play.path("f"), "TEXT").unwrap();
        assert!(!held.is_untouched(target), "same size, other time");
    });
}

#[test]
fn only_files_that_may_be_written_to_are_taken() {
    let refused = |play: &Playground| {
        with_lock(play, |taken, _| match taken {
            Err(Trouble::Failed(error)) => error.message().to_owned(),
            other => panic!("{other:?}"),
        })
    };
    let play = playground();
    fs::set_permissions(play.path("f"), fs::Permissions::from_mode(0o444)).unwrap();
    assert!(refused(&play).starts_with("cannot edit `work:f`: it is read-only (mode 0444)"));
    let play = Playground::new();
    play.fifo("f");
    assert!(refused(&play).ends_with("not a regular file but a FIFO"));
    let play = Playground::new();
    fs::create_dir(play.path("f")).unwrap();
    assert!(refused(&play).ends_with("not a regular file but a directory"));
    let play = Playground::new();
    assert!(with_lock(&play, |taken, _| taken.unwrap().is_none()), "nothing there");
}

#[test]
fn a_running_program_can_be_replaced_but_not_added_to() {
    let play = Playground::new();
    fs::copy("/bin/sleep", play.path("f")).unwrap();
    let mut child = std::process::Command::new(play.path("f")).arg("60").spawn().unwrap();
    with_lock(&play, |taken, target| {
        assert!(taken.unwrap().is_some());
        assert_eq!(open(target, Change::Append).unwrap_err(), Errno::TXTBSY);
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
