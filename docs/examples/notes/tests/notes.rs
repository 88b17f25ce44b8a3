//! Calls the tools without a server.

use std::fs;

use llmc_core::code;
use llmc_core::prelude::*;
use llmc_core::testing::{Harness, item};
use notes::{AddNote, CountWords, DeleteNote, FindNotes, Note, PlanDay};

// ANCHOR: count
#[test]
fn words_are_counted_and_progress_is_told() {
    let harness = Harness::new().root("notes", "tests/cards", Access::Ro);
    let answer = harness.call::<CountWords>(json!({})).unwrap();
    assert_eq!(answer.structured, Some(json!({"notes": 2, "words": 7})));
    let told: Vec<String> = harness.progress().into_iter().map(|report| report.message).collect();
    assert_eq!(told, ["home.md", "shopping.md"]);
}
// ANCHOR_END: count

#[test]
fn the_ending_is_the_operator_s() {
    let harness = Harness::new().root("notes", "tests/cards", Access::Ro).config(json!({"ending": "txt"}));
    let answer = harness.call::<CountWords>(json!({"title": "li"})).unwrap();
    assert_eq!(answer.structured, Some(json!({"notes": 1, "words": 3})));
}

#[test]
fn a_call_that_nobody_waits_for_ends() {
    let harness = Harness::new().root("notes", "tests/cards", Access::Ro);
    harness.cancel();
    assert_eq!(harness.call::<CountWords>(json!({})).unwrap_err().code(), code::CANCELLED);
}

// ANCHOR: find
#[test]
fn another_tool_searches() {
    let harness = Harness::new().tool("search_files", |arguments| {
        assert_eq!(arguments["path"], "notes:");
        Ok(Envelope::text("notes:shopping.md"))
    });
    let answer = harness.call::<FindNotes>(json!({"text": "MILK"})).unwrap();
    assert_eq!(answer.all_text(), "notes:shopping.md");
    // Without the grant there is no such tool.
    assert!(Harness::new().call::<FindNotes>(json!({"text": "MILK"})).is_err());
}
// ANCHOR_END: find

// ANCHOR: ask
#[test]
fn the_person_is_asked_for_a_title() {
    let folder = tempfile::tempdir().unwrap();
    let harness = || Harness::new().root("notes", folder.path(), Access::Rw);
    let question = "What shall the note be called?";
    let named = json!({"action": "accept", "content": {"title": "To do"}});
    let answer = harness().answer(question, named).call::<AddNote>(json!({"text": "Write."})).unwrap();
    assert_eq!(answer.all_text(), "wrote `notes:To do.md`");
    assert_eq!(fs::read_to_string(folder.path().join("To do.md")).unwrap(), "Write.\n");

    let declined = harness().answer(question, json!({"action": "decline"}));
    assert!(declined.call::<AddNote>(json!({"text": "Write."})).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written");
}
// ANCHOR_END: ask

#[test]
fn notes_are_files_of_the_root_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old.md"), "old").unwrap();
    let harness = Harness::new().root("notes", folder.path(), Access::Rw);
    for title in ["../old", "a/b", "", ".hidden"] {
        let error = harness.call::<DeleteNote>(json!({"title": title})).unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENTS, "{title}");
        assert!(harness.call::<AddNote>(json!({"title": title, "text": ""})).is_err(), "{title}");
    }
    // What is there is not written over; what is deleted is gone.
    assert!(harness.call::<AddNote>(json!({"title": "old", "text": "new"})).is_err());
    assert_eq!(fs::read_to_string(folder.path().join("old.md")).unwrap(), "old");
    harness.call::<DeleteNote>(json!({"title": "old"})).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn tools_say_what_they_do() {
    assert!(item::<CountWords>().annotations.read_only && item::<FindNotes>().annotations.read_only);
    assert!(!item::<AddNote>().annotations.destructive);
    assert!(item::<DeleteNote>().annotations.destructive);
}

// ANCHOR: offers
#[test]
fn prompts_and_resources_are_read_like_tools_are_called() {
    let harness = Harness::new().root("notes", "tests/cards", Access::Ro);
    let messages = harness.prompt::<PlanDay>(json!({"day": "Monday"})).unwrap();
    assert_eq!(messages, Messages::user("Read my notes with `find_notes` and plan Monday."));
    let note = harness.read::<Note>("note://home", &[("title", "home")]).unwrap();
    assert_eq!(note[0].text.as_deref(), Some("Water the plants.\n"));
    assert!(harness.read::<Note>("note://..%2Fx", &[("title", "../x")]).is_err());
}
// ANCHOR_END: offers
