//! `read_files`.

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

fn texts(answer: &Envelope) -> Vec<&str> {
    let texts = answer.content.iter().map(|content| match content {
        Content::Text { text, .. } => text.as_str(),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

#[test]
fn each_file_has_its_own_result() {
    let place = Playground::new();
    place
        .file("a", "one\ntwo\n")
        .file("dir/b", "")
        .file("png", b"\x89PNG\r\n\x1A\n...")
        .file("elf", b"\x7FELF\0");
    place.fifo("pipe").link("out", place.outside().join("secret.txt")).link("to_a", "a");
    let paths = [
        "a",
        "none",
        "work:dir/b",
        "png",
        "elf",
        "pipe",
        "dir",
        "out",
        "../secret.txt",
        "a\0",
        "to_a",
        "x:y",
    ];
    let answer = place.harness.call::<ReadFiles>(json!({"paths": paths})).unwrap();
    let files = answer.structured.clone().unwrap();
    let files = files["files"].as_array().unwrap();
    assert_eq!(files[0], json!({"path": "work:a", "text": "one\ntwo\n", "size_bytes": 8}));
    assert_eq!(files[2], json!({"path": "work:dir/b", "text": "", "size_bytes": 0}));
    assert_eq!(files[10]["text"], "one\ntwo\n");
    for (index, error) in [
        (1, "cannot read `work:none`: no such file or directory"),
        (3, "`work:png` is a PNG image; `read_file` returns it"),
        (5, "cannot read `work:pipe`: not a regular file but a FIFO"),
        (7, "cannot read `work:out`: the path is outside the granted roots"),
        (8, "cannot read `work:../secret.txt`: the path is outside the granted roots"),
        (9, "the path contains a NUL character"),
        (11, "no root is called `x` (roots: `work`); a file of that name is `./x:...`"),
    ] {
        assert_eq!(files[index], json!({"path": paths[index], "error": error}));
    }
    assert!(files[4]["error"].as_str().unwrap().contains("an ELF program or library (5 bytes)"));
    let texts = texts(&answer);
    assert_eq!(texts.len(), paths.len());
    assert_eq!(texts[0], "==> work:a (8 bytes) <==\none\ntwo\n");
    assert_eq!(texts[1], "==> none <==\n[cannot read `work:none`: no such file or directory]");
    assert_eq!(texts[2], "==> work:dir/b (0 bytes) <==\n");
    assert!(!answer.is_error);
}

#[test]
fn a_long_file_is_cut_and_says_how_to_read_on() {
    let place = Playground::new();
    place.file("lines", "0123456789\n".repeat(100)).file("line\nfeed", "x".repeat(100)).file("short", "ab");
    let answer =
        place.harness.call::<ReadFiles>(json!({"paths": ["lines", "line\nfeed", "short"], "max_bytes": 50}));
    let answer = answer.unwrap();
    let files = &answer.structured.as_ref().unwrap()["files"];
    assert_eq!((&files[0]["next_start_line"], &files[0]["next_offset_bytes"]), (&json!(5), &json!(44)));
    assert_eq!((files[1].get("next_start_line"), &files[1]["next_offset_bytes"]), (None, &json!(50)));
    assert_eq!(files[2]["text"], "ab", "every file has the whole of it");
    let texts = texts(&answer);
    assert!(texts[0].starts_with("==> work:lines (1100 bytes) <==\n0123456789\n"));
    assert!(texts[0].ends_with("\n[lines 1 to 4, bytes 0 to 44 of 1100; read on with start_line 5]"));
    assert!(texts[1].starts_with("==> work:line\\nfeed (100 bytes) <==\nxxx"));
    assert!(texts[1].ends_with("x\n[lines 1 to 1, bytes 0 to 50 of 100; read on with offset_bytes 50]"));
}

#[test]
fn all_files_share_a_limit() {
    let place = Playground::new();
    let most = MAX_READ_BYTES as usize;
    place.file("big", "x".repeat(most - 10)).file("small", "0123456789ABCDEF").file("empty", "");
    let answer =
        place.ok::<ReadFiles>(json!({"paths": ["big", "small", "small", "empty"], "max_bytes": most}));
    let files = &answer["files"];
    assert_eq!(files[0]["text"].as_str().unwrap().len(), most - 10);
    assert_eq!((&files[1]["text"], &files[1]["next_offset_bytes"]), (&json!("0123456789"), &json!(10)));
    for index in [2, 3] {
        assert_eq!(files[index]["error"], "the 1048576 bytes of one call are used up; ask for it in another");
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let place = Playground::new();
    for arguments in [json!({"paths": []}), json!({"paths": vec!["a"; MAX_READ_FILES + 1]}), json!({})] {
        assert_eq!(place.refused::<ReadFiles>(arguments).code(), code::INVALID_ARGUMENTS);
    }
    let error = Harness::new().call::<ReadFiles>(json!({"paths": ["a"]})).unwrap_err();
    assert_eq!((error.code(), error.message()), (code::DENIED, "no directory is granted"));
    place.harness.cancel();
    assert_eq!(place.refused::<ReadFiles>(json!({"paths": ["a"]})).code(), code::CANCELLED);
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<ReadFiles>();
    let properties = &item.input_schema["properties"];
    assert_eq!(properties["paths"]["maxItems"], MAX_READ_FILES);
    let text = properties["max_bytes"]["description"].as_str().unwrap();
    assert!(text.contains(&format!("Default: {DEFAULT_READ_BYTES}.")), "{text}");
    assert!(text.contains(&format!("of all it is {MAX_READ_BYTES}")), "{text}");
    assert!(item.annotations.read_only && item.output_schema.is_some());
}
