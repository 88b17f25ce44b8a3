//! Calls the tools in a real host jail. `LLMC=/path/to/llmc` names the server, if it is not on `PATH`.

use llmc_core::prelude::*;
use llmc_core::testing::Harness;
use notes::{AddNote, CountWords, DeleteNote};

// ANCHOR: jail
#[test]
fn a_jail_has_the_granted_directory_and_no_other() {
    let jail = Harness::new().root("notes", "tests/cards", Access::Ro).in_jail::<CountWords>();
    let counted = jail.call::<CountWords>(json!({})).unwrap();
    assert_eq!(counted.structured, Some(json!({"notes": 2, "words": 7})));
    // Read-only is read-only, whatever the plugin tries.
    assert!(jail.call::<AddNote>(json!({"title": "new", "text": "x"})).is_err());

    // Without the grant the server says what is missing.
    let refused = Harness::new().in_jail::<CountWords>().call::<CountWords>(json!({})).unwrap_err();
    assert_eq!(refused.kind, "denied", "{refused}");
}
// ANCHOR_END: jail

#[test]
fn a_writable_directory_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let jail = Harness::new().root("notes", folder.path(), Access::Rw).in_jail::<AddNote>();
    jail.call::<AddNote>(json!({"title": "new", "text": "x"})).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("new.md")).unwrap(), "x\n");
    jail.call::<DeleteNote>(json!({"title": "new"})).unwrap();
    assert!(!folder.path().join("new.md").exists());
}
