//! `edit_file`; for what edits mean see `edit/tests.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use llmc_core::testing::item;

use super::*;
use crate::testing::Playground;
use crate::text::Encoding;

#[arguments(undocumented)]
struct EditAt {
    path: String,
}

impl Tool for EditAt {
    const NAME: &'static str = "edit_at";
    type Output = Changed;

    fn call(self, ctx: &Context) -> ToolResult<Changed> {
        let edits = vec![Edit { old: "e".into(), new: "E".into(), expected_count: 2 }];
        let (dry_run, expected_sha256, ignore_whitespace) = (false, None, false);
        EditFile { path: self.path, edits, dry_run, expected_sha256, ignore_whitespace }.call(ctx)
    }
}

fn edits(edits: &[(&str, &str)]) -> Value {
    edits.iter().map(|(old, new)| json!({"old": old, "new": new})).collect()
}

fn hex(text: &[u8]) -> String {
    Digest::of(text).hex()
}

#[test]
fn an_edit_shows_its_diff() {
    let play = Playground::new();
    play.file("src/a.rs", "fn a() {}\nfn b() {}\n");
    let call = json!({"path": "src/a.rs", "edits": edits(&[("a()", "x()"), ("b()", "y()")])});
    let answer = play.harness.call::<EditFile>(call).unwrap();
    let after = "fn x() {}\nfn y() {}\n";
    let diff =
        "--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,2 +1,2 @@\n-fn a() {}\n-fn b() {}\n+fn x() {}\n+fn y() {}\n";
    assert_eq!(fs::read_to_string(play.path("src/a.rs")).unwrap(), after);
    let sha256 = hex(after.as_bytes());
    assert_eq!(answer.all_text(), format!("{diff}[2 places in `work:src/a.rs`, sha256 {sha256}]"));
    let expected =
        json!({"path": "work:src/a.rs", "sha256": sha256, "replacements": 2, "diff": diff, "dry_run": false});
    assert_eq!(answer.structured.unwrap(), expected);
}

#[test]
fn a_dry_run_changes_nothing_and_leads_to_the_real_one() {
    let play = Playground::new();
    play.file("f", "a\n");
    let inode = fs::metadata(play.path("f")).unwrap().ino();
    let mut call = json!({"path": "f", "edits": edits(&[("a", "b")]), "dry_run": true});
    let tried = play.ok::<EditFile>(call.clone());
    assert_eq!((&tried["sha256"], &tried["dry_run"]), (&json!(hex(b"a\n")), &json!(true)));
    assert_eq!(tried["note"], "dry run: nothing was written");
    assert_eq!(fs::read(play.path("f")).unwrap(), b"a\n");
    assert_eq!(fs::metadata(play.path("f")).unwrap().ino(), inode);
    call["dry_run"] = json!(false);
    call["expected_sha256"] = tried["sha256"].clone();
    let done = play.ok::<EditFile>(call.clone());
    assert_eq!(done["diff"], tried["diff"]);
    assert_eq!(fs::read(play.path("f")).unwrap(), b"b\n");
    let error = play.refused::<EditFile>(call);
    assert!(error.message().contains(&format!("its SHA-256 is {}", hex(b"b\n"))), "{error}");
}

#[test]
fn all_edits_or_none() {
    let play = Playground::new();
    play.file("f", "a\nb\nb\nb\n");
    for (wrong, expected) in [
        ("b", "edit 2 of 3: `old` occurs 3 times, not once; lines 2, 3, 4"),
        ("c", "edit 2 of 3: `old` is not in the file"),
    ] {
        let error = play.refused::<EditFile>(
            json!({"path": "f", "edits": edits(&[("a", "x"), (wrong, "y"), ("x", "z")])}),
        );
        assert!(error.message().contains(expected), "{error}");
        assert!(error.message().starts_with("cannot edit `work:f`: nothing was changed"), "{error}");
    }
    assert_eq!(fs::read(play.path("f")).unwrap(), b"a\nb\nb\nb\n");
    let call = json!({"path": "f", "edits": [{"old": "b", "new": "c", "expected_count": 3}]});
    assert_eq!(play.ok::<EditFile>(call)["replacements"], 3);
    assert_eq!(fs::read_dir(play.path("")).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn line_ends_and_encodings_stay() {
    let play = Playground::new();
    for encoding in [Encoding::Utf8, Encoding::Utf8Bom, Encoding::Utf16Le, Encoding::Utf16Be] {
        play.file("f", edit::encode(encoding, "eins\r\nzwei\r\n"));
        play.ok::<EditFile>(
            json!({"path": "f", "edits": edits(&[("eins\nzwei", "eins\nzweieinhalb\ndrei")])}),
        );
        let expected = edit::encode(encoding, "eins\r\nzweieinhalb\r\ndrei\r\n");
        assert_eq!(fs::read(play.path("f")).unwrap(), expected, "{encoding:?}");
    }
}

#[test]
fn what_is_no_text_stays_as_it_is() {
    let play = Playground::new();
    for bytes in [&b"a\xFFb"[..], b"a\0b", b"\x7FELF\x02\x01\x01\0"] {
        play.file("f", bytes);
        let error = play.refused::<EditFile>(json!({"path": "f", "edits": edits(&[("a", "x")])}));
        assert!(error.message().contains("cannot be edited as text"), "{error}");
        assert_eq!(fs::read(play.path("f")).unwrap(), bytes);
    }
}

#[test]
fn a_large_file_is_refused_before_it_is_read() {
    let play = Playground::new();
    // Reading a hole of a terabyte would take minutes and no memory would hold it.
    fs::File::create(play.path("f")).unwrap().set_len(1 << 40).unwrap();
    let began = Instant::now();
    let error = play.refused::<EditFile>(json!({"path": "f", "edits": edits(&[("a", "b")])}));
    assert!(error.message().contains("too large: it has 1099511627776 bytes"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn modes_and_other_names_stay() {
    let play = Playground::new();
    play.file("f", "old");
    fs::set_permissions(play.path("f"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::hard_link(play.path("f"), play.path("g")).unwrap();
    let done = play.ok::<EditFile>(json!({"path": "f", "edits": edits(&[("old", "new")])}));
    assert!(done["note"].as_str().unwrap().contains("hard links"), "{done}");
    assert_eq!(fs::read(play.path("g")).unwrap(), b"old");
    assert_eq!(fs::metadata(play.path("f")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn edits_that_undo_each_other_write_nothing() {
    let play = Playground::new();
    play.file("f", "a");
    let inode = fs::metadata(play.path("f")).unwrap().ino();
    let done = play.ok::<EditFile>(json!({"path": "f", "edits": edits(&[("a", "b"), ("b", "a")])}));
    assert_eq!(
        (&done["diff"], &done["note"]),
        (&json!(""), &json!("the edits undo each other: nothing was written"))
    );
    assert_eq!(fs::metadata(play.path("f")).unwrap().ino(), inode);
}

#[test]
fn whitespace_is_ignored_on_request_only() {
    let play = Playground::new();
    play.file("f", "if a:\n\tb()\n");
    let mut call = json!({"path": "f", "edits": edits(&[("    b()", "    c()")])});
    let error = play.refused::<EditFile>(call.clone());
    assert!(error.message().contains("but for whitespace it is, at line 2"), "{error}");
    call["ignore_whitespace"] = json!(true);
    play.ok::<EditFile>(call);
    assert_eq!(fs::read(play.path("f")).unwrap(), b"if a:\n\tc()\n");
}

#[test]
fn only_files_that_are_there_and_inside_are_edited() {
    let play = Playground::new();
    play.check_walls::<EditAt>();
    for link in ["to_file", "to_nothing", "to_dir", "up", "chain", "dir/chain", "proc"] {
        play.check_outside::<EditAt>(link);
    }
    assert_eq!(fs::read(play.outside().join("secret.txt")).unwrap(), b"secret");
    let error = play.refused::<EditAt>(json!({"path": "nothing"}));
    assert!(error.message().ends_with("no such file or directory"), "{error}");
    play.fifo("fifo").file(".git/config", "ee");
    assert!(play.refused::<EditAt>(json!({"path": "fifo"})).message().contains("FIFO"));
    assert!(play.refused::<EditAt>(json!({"path": ".git/config"})).message().contains("protected"));
    play.file("f", "eve").link("link", "f");
    assert_eq!(play.ok::<EditAt>(json!({"path": "link"}))["path"], "work:f");
    assert_eq!(fs::read(play.path("f")).unwrap(), b"EvE");
}

#[test]
fn it_says_what_it_may_destroy() {
    let annotations = item::<EditFile>().annotations;
    assert!(annotations.destructive && !annotations.idempotent && !annotations.open_world);
}
