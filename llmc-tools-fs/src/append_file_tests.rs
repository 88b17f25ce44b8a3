//! `append_file`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use llmc_core::testing::item;

use super::*;
use crate::testing::Playground;

#[arguments(undocumented)]
struct AppendTo {
    path: String,
}

impl Tool for AppendTo {
    const NAME: &'static str = "append_to";
    type Output = Written;

    fn call(self, ctx: &Context) -> ToolResult<Written> {
        AppendFile { path: self.path, content: "new".to_owned(), expected_sha256: None }.call(ctx)
    }
}

fn hex(text: &[u8]) -> String {
    Digest::of(text).hex()
}

#[test]
fn text_is_added_and_a_missing_file_created() {
    let play = Playground::new();
    let done = play.ok::<AppendFile>(json!({"path": "log", "content": "one\n"}));
    let expected = json!({"path": "work:log", "size_bytes": 4, "sha256": hex(b"one\n"), "created": true});
    assert_eq!(done, expected);
    let inode = fs::metadata(play.path("log")).unwrap().ino();
    let answer = play.harness.call::<AppendFile>(json!({"path": "log", "content": "two\n"})).unwrap();
    let sha256 = hex(b"one\ntwo\n");
    assert_eq!(answer.all_text(), format!("appended to `work:log`: 8 bytes, sha256 {sha256}"));
    assert_eq!(fs::read(play.path("log")).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::metadata(play.path("log")).unwrap().ino(), inode, "in place");
    play.ok::<AppendFile>(json!({"path": "log", "content": ""}));
    play.refused::<AppendFile>(json!({"path": "no/log", "content": ""}));
    assert!(!play.path("no").exists());
}

#[test]
fn a_hash_is_compared_first() {
    let play = Playground::new();
    play.file("log", "one\n");
    let call =
        |path: &str, sha256: String| json!({"path": path, "content": "two\n", "expected_sha256": sha256});
    let error = play.refused::<AppendFile>(call("log", hex(b"other")));
    assert!(error.message().contains(&format!("its SHA-256 is {}", hex(b"one\n"))), "{error}");
    assert_eq!(fs::read(play.path("log")).unwrap(), b"one\n");
    let error = play.refused::<AppendFile>(call("new", hex(b"")));
    assert!(error.message().contains("there is no such file"), "{error}");
    assert!(!play.path("new").exists());
    assert_eq!(play.ok::<AppendFile>(call("log", hex(b"one\n")))["sha256"], hex(b"one\ntwo\n"));
}

#[test]
fn the_hash_of_a_large_file_is_left_out() {
    let play = Playground::new();
    let file = fs::File::create(play.path("log")).unwrap();
    file.set_len(MAX_HASH_BYTES + 1).unwrap();
    let done = play.ok::<AppendFile>(json!({"path": "log", "content": "\nx"}));
    assert_eq!((&done["size_bytes"], done.get("sha256")), (&json!(MAX_HASH_BYTES + 3), None));
}

#[test]
fn an_open_last_line_is_mentioned() {
    let play = Playground::new();
    play.file("open", "a").file("closed", "a\n").file("crlf", "a\r\n");
    let note = |path: &str, content: &str| {
        play.ok::<AppendFile>(json!({"path": path, "content": content})).get("note").cloned()
    };
    assert_eq!(note("open", "b").unwrap(), "the file did not end with a line feed: its last line goes on");
    assert_eq!(note("open", "\nb"), None);
    assert_eq!(note("closed", "b"), None);
    assert_eq!(note("crlf", "b"), None);
    assert_eq!(note("new", "b"), None);
}

#[test]
fn text_is_added_in_the_encoding_of_the_file() {
    let play = Playground::new();
    for encoding in [Encoding::Utf8, Encoding::Utf8Bom, Encoding::Utf16Le, Encoding::Utf16Be] {
        play.file("f", edit::encode(encoding, "ä\n"));
        let done = play.ok::<AppendFile>(json!({"path": "f", "content": "𝄞\n"}));
        assert_eq!(fs::read(play.path("f")).unwrap(), edit::encode(encoding, "ä\n𝄞\n"), "{encoding:?}");
        assert_eq!(done.get("note"), None, "{encoding:?}");
    }
}

#[test]
fn a_file_of_several_names_is_refused() {
    let play = Playground::new();
    play.file(".git/config", "");
    fs::hard_link(play.path(".git/config"), play.path("innocent")).unwrap();
    let error = play.refused::<AppendTo>(json!({"path": "innocent"}));
    assert!(error.message().contains("the file has 2 names (hard links)"), "{error}");
    assert_eq!(fs::read(play.path(".git/config")).unwrap(), b"");
}

#[test]
fn nothing_outside_is_written() {
    let play = Playground::new();
    play.check_walls::<AppendTo>();
    for link in ["to_file", "to_nothing", "up", "chain", "dir/chain", "proc"] {
        play.check_outside::<AppendTo>(link);
    }
    assert_eq!(fs::read(play.outside().join("secret.txt")).unwrap(), b"secret");
    assert!(!play.outside().join("nothing.txt").exists());
    play.ok::<AppendTo>(json!({"path": "dir/inside.txt"}));
    assert_eq!(fs::read(play.path("dir/inside.txt")).unwrap(), b"insidenew");
}

#[test]
fn a_fifo_does_not_block() {
    let play = Playground::new();
    play.fifo("fifo");
    let began = Instant::now();
    let error = play.refused::<AppendTo>(json!({"path": "fifo"}));
    assert!(error.message().contains("not a regular file but a FIFO"), "{error}");
    fs::create_dir(play.path("dir")).unwrap();
    play.refused::<AppendTo>(json!({"path": "dir"}));
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// Locks `f` and lets something happen to it.
fn with_lock<T>(play: &Playground, then: impl FnOnce(&Locked) -> T) -> T {
    let ctx = play.harness.context();
    let roots = play.roots();
    let place = Place::parse("f", &roots).unwrap();
    let job = Job::new("append_file", "append to", &place, &ctx);
    let target = Target::for_change("append to", &place, Last::Follow).unwrap();
    then(&Locked::take(&job, &target, Change::Append).unwrap().unwrap())
}

#[test]
fn what_was_added_in_part_is_taken_back() {
    let play = Playground::new();
    play.file("f", "whole");
    with_lock(&play, |file| {
        assert_eq!(write(file.file(), b"half").unwrap(), 4);
        assert!(take_back(file, 4));
    });
    assert_eq!(fs::read(play.path("f")).unwrap(), b"whole");
}

#[test]
fn what_others_added_is_not_taken_back() {
    let play = Playground::new();
    play.file("f", "whole");
    with_lock(&play, |file| {
        assert_eq!(write(file.file(), b"half").unwrap(), 4);
        fs::write(play.path("f"), "whole half theirs").unwrap();
        assert!(!take_back(file, 4));
    });
    assert_eq!(fs::read(play.path("f")).unwrap(), b"whole half theirs");
}

#[test]
fn errors_say_what_became_of_the_file() {
    let undone = ToolError::from(AddError::Undone(Errno::NOSPC));
    assert_eq!(undone.message(), "no space left on device; nothing was changed");
    let partly = ToolError::from(AddError::Partly { errno: Errno::NOSPC, written: 3, wanted: 9 });
    assert!(partly.message().contains("3 of 9 bytes were added and could not be taken back"), "{partly}");
}

#[test]
fn it_adds_and_does_not_destroy() {
    let annotations = item::<AppendFile>().annotations;
    assert!(!annotations.destructive && !annotations.idempotent && !annotations.read_only);
}
