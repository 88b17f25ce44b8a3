//! The engine of edits.

use llmc_core::code;

use super::*;
use crate::limits::MAX_REPLACEMENTS;
use crate::text::Encoding;

fn edit(old: &str, new: &str) -> Edit {
    Edit { old: old.into(), new: new.into(), expected_count: 1 }
}

fn times(expected_count: u32, old: &str, new: &str) -> Edit {
    Edit { expected_count, ..edit(old, new) }
}

fn run(text: &str, edits: &[Edit], ignore_whitespace: bool) -> ToolResult<Edited> {
    apply(text.as_bytes().to_vec(), edits, ignore_whitespace, || Ok(()))
}

#[track_caller]
fn check(text: &str, edits: &[Edit], expected: &str) {
    let edited = run(text, edits, false).unwrap();
    assert_eq!(edited.after, expected);
    assert_eq!(edited.bytes, expected.as_bytes());
    assert_eq!(edited.before, text);
}

#[track_caller]
fn check_lenient(text: &str, old: &str, new: &str, expected: &str) {
    assert_eq!(run(text, &[edit(old, new)], true).unwrap().after, expected);
}

/// Checks that edits are refused with a message that has all these parts.
#[track_caller]
fn check_refused(text: &str, edits: &[Edit], expected: &[&str]) {
    let error = run(text, edits, false).unwrap_err();
    for part in expected {
        assert!(error.message().contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn edits_are_applied_in_order() {
    check("a b c", &[edit("b", "x")], "a x c");
    check("a b c", &[edit("b", "x"), edit("a x", "y")], "y c");
    check("a b a", &[times(2, "a", "aa")], "aa b aa");
    check("one", &[edit("one", "")], "");
    check("über", &[edit("ü", "Ü𝄞")], "Ü𝄞ber");
    check("a\n", &[edit("a\n", "a\nb\n")], "a\nb\n");
    assert_eq!(run("aXbX", &[times(2, "X", "-"), edit("a", "")], false).unwrap().replacements, 3);
}

#[test]
fn the_count_must_be_right() {
    let text = "foo\nbar\nfoo\nfoo foo\n";
    check_refused(
        text,
        &[edit("foo", "x")],
        &["occurs 4 times, not once", "lines 1, 3, 4, 4", "`expected_count` 4"],
    );
    check_refused(text, &[times(3, "bar", "x")], &["occurs once, not 3 times", "line 2"]);
    check_refused(text, &[times(0, "bar", "x")], &["occurs once, not 0 times"]);
    check_refused(&"x\n".repeat(99), &[edit("x", "y")], &["occurs 99 times", "9, 10, ...:"]);
    check(text, &[times(4, "foo", "x")], "x\nbar\nx\nx x\n");
}

#[test]
fn places_that_overlap_are_ambiguous() {
    check_refused("---\n-----\n", &[times(2, "---", "x")], &["places overlap (lines 1, 2)"]);
    check_refused("\n\n\n", &[edit("\n\n", "\n")], &["places overlap"]);
    check("------", &[times(6, "-", "=")], "======");
    check("abab", &[times(2, "ab", "b")], "bb");
}

#[test]
fn edits_that_make_no_sense_are_refused() {
    let invalid = |edits: &[Edit]| {
        let error = run("text\n", edits, true).unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENTS, "{error}");
        error.message().to_owned()
    };
    assert!(invalid(&[edit("", "x")]).contains("`old` is empty"));
    assert!(invalid(&[edit("x", "x")]).contains("`old` and `new` are the same"));
    assert!(invalid(&[edit("a\r\n", "a\n")]).contains("differ only in how lines end"));
    assert!(invalid(&[]).contains("1 to 100 edits, not 0"));
    assert!(invalid(&vec![edit("x", "y"); 101]).contains("not 101"));
}

#[test]
fn one_bad_edit_spoils_all() {
    check_refused(
        "a b",
        &[edit("a", "x"), edit("c", "y"), edit("b", "z")],
        &["nothing was changed: edit 2 of 3: "],
    );
}

#[test]
fn the_closest_place_is_shown() {
    let text =
        "use std::fs;\n\nfn main() {\n    let answer = compute(6, 7);\n    println!(\"{answer}\");\n}\n";
    check_refused(
        text,
        &[edit("    let answer = compute(6, 8);\n    println!(\"{answer}\");", "x")],
        &[
            "`old` is not in the file; the closest place:\n4 |     let answer = compute(6, 7);\n5 |     println!",
        ],
    );
    check_refused(text, &[edit("let answr = compute(6,7)", "x")], &["closest place:\n4 |     let answer"]);
    let error = run(text, &[edit("§§§§ ####", "x")], false).unwrap_err();
    assert!(error.message().ends_with("`old` is not in the file"), "{error}");
    let long = format!("{}\n", "word ".repeat(1000));
    let error = run(&long, &[edit(&"word ".repeat(30).replace('w', "W"), "x")], false).unwrap_err();
    assert!(error.message().len() < 600, "{error}");
}

#[test]
fn hints_tell_what_may_have_happened() {
    check_refused(
        "a\n",
        &[edit("a", "b"), edit("a", "c")],
        &["edit 2 of 2", "it was before the edits ahead of this"],
    );
    check_refused(
        "x\nnew text here\n",
        &[edit("old text", "new text here")],
        &["`new` is, at line 2: maybe"],
    );
    check_refused("x\n\tif a  {\n", &[edit("  if a {", "y")], &["but for whitespace it is, at line 2"]);
}

#[test]
fn line_ends_of_the_file_are_kept() {
    check("a\r\nb\r\n", &[edit("a\nb\n", "a\nx\ny\n")], "a\r\nx\r\ny\r\n");
    check("a\r\nb\r\n", &[edit("a\r\nb", "a\r\nc")], "a\r\nc\r\n");
    check("a\r\nb\r\n", &[times(2, "\n", ";")], "a;b;");
    check("a\nb\n", &[edit("a\r\nb", "a\r\nc")], "a\nc\n");
    check("a\nb\n", &[edit("a", "x\r\ny")], "x\ny\nb\n");
    check("a", &[edit("a", "x\r\ny\n")], "x\r\ny\n");
    check("a\rb\n", &[edit("\rb", "-b")], "a-b\n");
    check("a\r\r\nb\r\n", &[edit("a\r\r\nb", "c")], "c\r\n");
}

#[test]
fn in_a_mixed_file_untouched_lines_stay_byte_for_byte() {
    let text = "a\nb\r\nc\nd\r\ne\r\n";
    check(text, &[edit("a", "x")], "x\nb\r\nc\nd\r\ne\r\n");
    check(text, &[edit("b\nc\nd\n", "b\nX\nd\n")], "a\nb\r\nX\r\nd\r\ne\r\n");
    check(text, &[edit("a\nb\nc\nd", "A\nb\nc\nD")], "A\r\nb\r\nc\nD\r\ne\r\n");
    check(text, &[edit("a\nb\nc\nd", "a\nc\nd")], "a\nc\nd\r\ne\r\n");
    check("x\n}\r\ny\n}\n", &[edit("x\n}\ny\n}", "y\n}")], "y\n}\n");
}

#[test]
fn encodings_are_kept() {
    for encoding in [Encoding::Utf8, Encoding::Utf8Bom, Encoding::Utf16Le, Encoding::Utf16Be] {
        let bytes = encode(encoding, "größe 𝄞\r\nzwei\r\n");
        let edited = apply(bytes, &[edit("größe 𝄞\n", "Größe\nneu\n")], false, || Ok(())).unwrap();
        assert_eq!(edited.bytes, encode(encoding, "Größe\r\nneu\r\nzwei\r\n"), "{encoding:?}");
    }
}

#[test]
fn what_is_no_text_is_refused() {
    for bytes in [&b"caf\xE9 a"[..], b"\xFF\xFEa\0b", b"\xFF\xFE\0\xD8", b"a\0"] {
        let error = apply(bytes.to_vec(), &[edit("a", "b")], false, || Ok(())).unwrap_err();
        assert!(error.message().contains("cannot be edited as text"), "{error}");
    }
}

#[test]
fn the_result_is_no_larger_than_what_can_be_edited() {
    let text = "x".repeat(MAX_REPLACEMENTS);
    let count = u32::try_from(MAX_REPLACEMENTS).unwrap();
    check_refused(&text, &[times(count, "x", &"y".repeat(200))], &["the file would have 20000000 bytes"]);
    let more = "x".repeat(MAX_REPLACEMENTS + 1);
    check_refused(&more, &[times(count + 1, "x", "y")], &["occurs 100001 times; at most 100000"]);
    let lines = "x\n".repeat(MAX_REPLACEMENTS);
    let error = run(&lines, &[times(count, " x ", &"y".repeat(200))], true).unwrap_err();
    assert!(error.message().contains("the file would have"), "{error}");
}

#[test]
fn the_work_can_be_stopped() {
    let mut asked = 0;
    let edits = vec![edit("a", "ba"); 5];
    let stopped = apply(b"a".to_vec(), &edits, false, || {
        asked += 1;
        if asked == 3 { Err(ToolError::failed("stop")) } else { Ok(()) }
    });
    assert_eq!((stopped.unwrap_err().message(), asked), ("stop", 3));
}

#[test]
fn whitespace_can_be_ignored() {
    check_lenient("a\n\tb  c\nd\n", "  b c", "  x", "a\n\tx\nd\n");
    check_lenient("a\nb\n", "b", "c", "a\nc\n");
    check_lenient("a\n  b\n  c\n", "b\nc\n", "", "a\n");
    check_lenient("a\n  b\n  c", "b\nc\n", "", "a\n");
    check_lenient("  a\r\n  b\r\n", "a\nb\n", "a\nc\n", "  a\r\n  c\r\n");
    check_lenient("x\n  a\n\n  b\n", "a\n\nb", "a\n\nc\n", "x\n  a\n\n  c\n");
    // What is no whole line, or nothing but whitespace, counts as it stands.
    check_lenient("if (a  == b)\n", "a  ==", "c ==", "if (c == b)\n");
    check_lenient("a\n\nb\n", "\n\n", "\n", "a\nb\n");
}

#[test]
fn what_replaces_lines_is_indented_like_them() {
    let file = "impl A {\n    fn f() {\n        if x {\n            y();\n        }\n    }\n}\n";
    // Everything one level too far left.
    check_lenient(
        file,
        "if x {\n    y();\n}",
        "if x {\n    y();\n    if z {\n        w();\n    }\n}",
        "impl A {\n    fn f() {\n        if x {\n            y();\n            if z {\n                w();\n            \
         }\n        }\n    }\n}\n",
    );
    // Tabs in the file, spaces in the edit.
    check_lenient(
        "def f():\n\tif x:\n\t\ty()\n",
        "def f():\n    if x:\n        y()\n",
        "def f():\n    if x:\n        z()\n    else:\n        y()\n",
        "def f():\n\tif x:\n\t\tz()\n\telse:\n\t\ty()\n",
    );
    // A line that only moves in is not the same line.
    check_lenient("  y()\n", "y()", "if x:\n    y()", "  if x:\n      y()\n");
    // Less than the neighbour has.
    check_lenient("        a\n", "    a\n", "    a\n  b\nc\n", "        a\n      b\n    c\n");
    check_lenient("a\n", "    a\n", "    a\n  b\n", "a\nb\n");
}

#[test]
fn lines_that_fit_in_several_places_are_counted() {
    let refused = |text: &str, old: &str, expected: &str| {
        let error = run(text, &[edit(old, "new")], true).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    };
    refused(" a\n  a\n", "a ", "occurs 2 times, not once; lines 1, 2");
    refused(" a\n a\n a\n", "a \na ", "places overlap");
    refused(" b\n", "a ", "is not in the file");
}

#[test]
fn texts_that_nearly_fit_everywhere_end_in_time() {
    let text = "a\n".repeat(500_000);
    let old = "a \n".repeat(100_000) + "b";
    let began = std::time::Instant::now();
    let error = run(&text, &[edit(&old, "x")], true).unwrap_err();
    assert!(error.message().contains("too many lines nearly fit"), "{error}");
    assert!(run(&text, &[edit("a\nb", "x")], false).is_err());
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[path = "diff_tests.rs"]
mod diffs;
#[path = "property_tests.rs"]
mod properties;
