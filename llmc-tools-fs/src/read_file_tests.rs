//! `read_file`.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::code;
use llmc_core::testing::{Harness, item};

use super::*;
use crate::limits::MAX_SCAN_BYTES;
use crate::testing::Playground;

/// Reads `contents` with `arguments` beside the path.
fn read(contents: impl AsRef<[u8]>, arguments: Value) -> Value {
    let place = Playground::new();
    place.file("f", contents);
    place.ok::<ReadFile>(with_path(arguments))
}

fn refused(contents: impl AsRef<[u8]>, arguments: Value) -> String {
    let place = Playground::new();
    place.file("f", contents);
    place.refused::<ReadFile>(with_path(arguments)).message().to_owned()
}

fn with_path(mut arguments: Value) -> Value {
    arguments["path"] = json!("f");
    arguments
}

/// Checks text, first and last line, whether there is more, and the lines to read on with.
#[track_caller]
fn check_lines(found: &Value, text: &str, lines: Option<(u64, u64)>, next_line: Option<u64>) {
    assert_eq!(found["text"], text);
    assert_eq!(
        (found["first_line"].as_u64(), found["last_line"].as_u64()),
        (lines.map(|it| it.0), lines.map(|it| it.1))
    );
    assert_eq!(found["next_start_line"].as_u64(), next_line);
    let length = found["end_bytes"].as_u64().unwrap() - found["offset_bytes"].as_u64().unwrap();
    assert_eq!(length, text.len() as u64);
    assert_eq!(found["next_offset_bytes"].is_u64(), found["end_bytes"] != found["size_bytes"]);
}

#[test]
fn a_text_comes_as_it_is() {
    for text in [
        "hello\n",
        "no line feed at the end",
        "",
        "\n",
        "\n\n",
        "a\r\nb\r\n",
        "grüße 日本 😀\n",
        "\t\u{1b}[0m",
    ] {
        let place = Playground::new();
        place.file("dir/f.txt", text);
        let answer = place.harness.call::<ReadFile>(json!({"path": "dir/f.txt"})).unwrap();
        assert_eq!(answer.content, [Content::text(text)], "the text and nothing else");
        let found = answer.structured.unwrap();
        assert_eq!((&found["text"], &found["path"]), (&json!(text), &json!("work:dir/f.txt")));
        assert_eq!((&found["size_bytes"], &found["end_bytes"]), (&json!(text.len()), &json!(text.len())));
        assert_eq!(
            (&found["encoding"], &found["truncated"], &found["lossy"]),
            (&json!("utf-8"), &json!(false), &json!(false))
        );
        let lines = text.lines().count() as u64;
        assert_eq!(found["last_line"].as_u64(), (lines > 0).then_some(lines), "{text:?}");
    }
}

#[test]
fn every_spelling_of_a_path_inside_works() {
    let place = Playground::new();
    place.file("src/..test", "1").file("src/a b", "1").file("日本/ü", "1");
    place.link("inside", "src").link("chain", "inside");
    let absolute = place.path("src/a b");
    let absolute = absolute.to_str().unwrap();
    for path in [
        "src/..test",
        "./src//a b",
        "work:src/a b",
        "work:/src/a b",
        "src/../src/a b",
        "日本/ü",
        "inside/a b",
        "chain/../src/a b",
        "/work/src/a b",
        absolute,
    ] {
        assert_eq!(place.ok::<ReadFile>(json!({"path": path}))["text"], "1", "{path}");
    }
}

#[test]
fn nothing_outside_is_read() {
    let place = Playground::new();
    place.check_walls::<ReadFile>();
    for path in ["to_file", "to_nothing", "to_dir", "up", "chain", "dir/chain", "proc"] {
        place.check_outside::<ReadFile>(path);
    }
    assert_eq!(
        place.ok::<ReadFile>(json!({"path": "dir/inside.txt"}))["text"],
        "inside",
        "the allowance beside"
    );
    for path in ["a\0b", "dir/inside.txt\0.png"] {
        let error = place.refused::<ReadFile>(json!({"path": path}));
        assert_eq!(
            (error.code(), error.message()),
            (code::INVALID_ARGUMENTS, "the path contains a NUL character")
        );
    }
    assert!(
        place
            .refused::<ReadFile>(json!({"path": "dir/none"}))
            .message()
            .ends_with("no such file or directory")
    );
    assert!(place.refused::<ReadFile>(json!({"path": "wrok:a"})).message().contains("roots: `work`"));
    let error = Harness::new().call::<ReadFile>(json!({"path": "/etc/passwd"})).unwrap_err();
    assert_eq!(error.code(), code::DENIED, "no roots, no files");
}

#[test]
fn a_swapped_link_never_leads_out() {
    let place = Playground::new();
    place.file("real/f", "inside");
    fs::write(place.outside().join("project2/f"), "secret").unwrap();
    let (link, spare, stop) = (place.path("door"), place.path("spare"), AtomicBool::new(false));
    symlink("real", &link).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let outside = place.outside().join("project2");
            while !stop.load(Ordering::Relaxed) {
                for target in [outside.as_path(), "real".as_ref()] {
                    symlink(target, &spare).unwrap();
                    fs::rename(&spare, &link).unwrap();
                }
            }
        });
        let mut seen = [0, 0];
        let started = Instant::now();
        while seen.contains(&0) || started.elapsed() < Duration::from_millis(300) {
            assert!(started.elapsed() < Duration::from_secs(20), "both ways are seen: {seen:?}");
            match place.harness.call::<ReadFile>(json!({"path": "door/f"})) {
                Ok(answer) => {
                    assert_eq!(answer.all_text(), "inside");
                    seen[0] += 1;
                }
                Err(error) => {
                    assert_eq!(
                        error.message(),
                        "cannot read `work:door/f`: the path is outside the granted roots"
                    );
                    seen[1] += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn only_regular_files_are_read() {
    let place = Playground::new();
    place.file("dir/x", "").fifo("pipe").link("to_pipe", "pipe");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    for (path, kind) in [
        ("pipe", "FIFO"),
        ("to_pipe", "FIFO"),
        ("socket", "socket"),
        ("dir", "directory; `list_dir`"),
        (".", "directory"),
    ] {
        let started = Instant::now();
        let error = place.refused::<ReadFile>(json!({"path": path}));
        assert!(error.message().contains(&format!("not a regular file but a {kind}")), "{path}: {error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{path} is not waited for");
    }
    let harness = Harness::new().root("dev", "/dev", Access::Ro);
    for device in ["zero", "null", "urandom"] {
        let error = harness.call::<ReadFile>(json!({"path": device})).unwrap_err();
        assert!(error.message().ends_with("not a regular file but a device"), "{error}");
    }
}

#[test]
fn proc_is_read_but_its_links_are_not_followed() {
    let harness = Harness::new().root("proc", "/proc", Access::Ro);
    let found = harness.call::<ReadFile>(json!({"path": "version"})).unwrap().structured.unwrap();
    assert!(found["text"].as_str().unwrap().starts_with("Linux version"), "{found}");
    assert_eq!(found["size_bytes"], found["text"].as_str().unwrap().len(), "the size that was really there");
    for path in [
        "self/root/etc/passwd",
        "self/cwd/Cargo.toml",
        "self/exe",
        "self/fd/0",
        "self/task/../root/etc/passwd",
    ] {
        let error = harness.call::<ReadFile>(json!({"path": path})).unwrap_err();
        assert_eq!(error.code(), code::DENIED, "{path}: {error}");
    }
}

#[test]
fn windows_by_lines() {
    let text = "one\ntwo\nthree\nfour";
    check_lines(&read(text, json!({"max_lines": 2})), "one\ntwo\n", Some((1, 2)), Some(3));
    check_lines(&read(text, json!({"start_line": 2, "max_lines": 1})), "two\n", Some((2, 2)), Some(3));
    check_lines(&read(text, json!({"start_line": 3})), "three\nfour", Some((3, 4)), None);
    check_lines(&read(text, json!({"start_line": 4, "max_lines": 9})), "four", Some((4, 4)), None);
    check_lines(
        &read("a\r\nb\r\nc", json!({"start_line": 2, "max_lines": 1})),
        "b\r\n",
        Some((2, 2)),
        Some(3),
    );
    assert_eq!(refused(text, json!({"start_line": 5})), "`start_line` is 5, but the file has 4 lines");
    assert_eq!(refused("one\n", json!({"start_line": 2})), "`start_line` is 2, but the file has 1 lines");
    assert_eq!(refused("one\n", json!({"start_line": 3})), "`start_line` is 3, but the file has 1 lines");
    assert_eq!(refused("", json!({"start_line": 2})), "`start_line` is 2, but the file has 0 lines");
}

#[test]
fn windows_from_the_end() {
    let text = "one\ntwo\nthree\nfour\n";
    check_lines(&read(text, json!({"tail_lines": 1})), "four\n", None, None);
    check_lines(&read(text, json!({"tail_lines": 3})), "two\nthree\nfour\n", None, None);
    check_lines(&read(text, json!({"tail_lines": 4})), text, Some((1, 4)), None);
    check_lines(&read(text, json!({"tail_lines": 99})), text, Some((1, 4)), None);
    check_lines(&read("a\nb", json!({"tail_lines": 1})), "b", None, None);
    check_lines(&read("", json!({"tail_lines": 1})), "", None, None);
    let cut = read(text, json!({"tail_lines": 3, "max_bytes": 9}));
    check_lines(&cut, "four\n", None, None);
    assert_eq!(cut["truncated"], true, "two of the three lines do not fit");
    check_lines(&read("x".repeat(20), json!({"tail_lines": 1, "max_bytes": 9})), "xxxxxxxxx", None, None);
}

#[test]
fn windows_by_bytes() {
    let text = "aä€😀z";
    assert_eq!(text.len(), 11);
    check_lines(&read(text, json!({"offset_bytes": 0, "max_bytes": 4})), "aä", Some((1, 1)), None);
    check_lines(&read(text, json!({"offset_bytes": 3, "max_bytes": 8})), "€😀z", None, None);
    let inside = read(text, json!({"offset_bytes": 2}));
    assert_eq!(inside["offset_bytes"], 3, "moved to the next character");
    check_lines(&read(text, json!({"offset_bytes": 11})), "", None, None);
    assert_eq!(refused(text, json!({"offset_bytes": 12})), "`offset_bytes` is 12, but the file has 11 bytes");
    check_lines(&read("a\nb\nc", json!({"offset_bytes": 2, "max_lines": 1})), "b\n", None, None);
}

#[test]
fn reading_on_gives_the_whole_file() {
    let text: String = (0..5000).map(|n| format!("line {n} ä€😀\r\n")).collect();
    let place = Playground::new();
    place.file("f", &text);
    for key in ["start_line", "offset_bytes"] {
        let mut whole = String::new();
        let mut arguments = json!({"path": "f", "max_bytes": 1000});
        loop {
            let part = place.ok::<ReadFile>(arguments.clone());
            whole.push_str(part["text"].as_str().unwrap());
            assert!(part["text"].as_str().unwrap().len() <= 1000);
            match part.get(format!("next_{key}")) {
                Some(next) => arguments[key] = next.clone(),
                None => break,
            }
        }
        assert_eq!(whole, text, "by {key}");
    }
}

#[test]
fn a_long_file_is_cut_at_a_line_and_says_so() {
    let text = "0123456789\n".repeat(10_000);
    let place = Playground::new();
    place.file("f", &text);
    let answer = place.harness.call::<ReadFile>(json!({"path": "f"})).unwrap();
    let found = answer.structured.as_ref().unwrap();
    let lines = u64::from(DEFAULT_READ_BYTES) / 11;
    assert_eq!((&found["last_line"], &found["next_start_line"]), (&json!(lines), &json!(lines + 1)));
    assert_eq!((&found["truncated"], &found["next_offset_bytes"]), (&json!(true), &json!(lines * 11)));
    let Content::Text { text: note, .. } = &answer.content[1] else { panic!("{answer:?}") };
    assert_eq!(
        note,
        &format!(
            "[lines 1 to {lines}, bytes 0 to {} of 110000; read on with start_line {}]",
            lines * 11,
            lines + 1
        )
    );
    // A single long line is cut inside and continues by bytes.
    let found = read("x".repeat(100_000), json!({}));
    assert_eq!(
        (&found["next_offset_bytes"], found.get("next_start_line")),
        (&json!(DEFAULT_READ_BYTES), None)
    );
}

#[test]
fn huge_files_are_read_in_part() {
    let place = Playground::new();
    place.file("f", "first\nsecond\n");
    let mut file = File::options().write(true).open(place.path("f")).unwrap();
    let gigabyte = 1 << 30;
    file.seek(SeekFrom::Start(gigabyte - 6)).unwrap();
    file.write_all(b"\nneedle\nlast").unwrap();
    let started = Instant::now();
    let read = |arguments: Value| place.ok::<ReadFile>(with_path(arguments));
    assert_eq!(read(json!({"max_lines": 2, "max_bytes": 13}))["text"], "first\nsecond\n");
    assert_eq!(read(json!({"tail_lines": 2}))["text"], "needle\nlast");
    let window = read(json!({"offset_bytes": gigabyte - 5, "max_bytes": 6}));
    assert_eq!((&window["text"], &window["size_bytes"]), (&json!("needle"), &json!(gigabyte + 6)));
    assert!(started.elapsed() < Duration::from_secs(1), "only the windows were read");
    let error = place.refused::<ReadFile>(with_path(json!({"start_line": 4})));
    assert!(error.message().contains(&format!("the first {MAX_SCAN_BYTES} bytes")), "{error}");
    assert!(error.message().contains(&format!("line 3 is at `offset_bytes` {MAX_SCAN_BYTES}")), "{error}");
}

#[test]
fn utf16_is_read_behind_its_mark() {
    let text = "eins\r\nzwei ä€😀\r\ndrei";
    for (name, mark, encode) in [
        ("utf-16le", [0xFF, 0xFE], u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("utf-16be", [0xFE, 0xFF], u16::to_be_bytes),
    ] {
        let bytes: Vec<u8> = mark.into_iter().chain(text.encode_utf16().flat_map(encode)).collect();
        let whole = read(&bytes, json!({}));
        assert_eq!(
            (&whole["text"], &whole["encoding"], &whole["lossy"]),
            (&json!(text), &json!(name), &json!(false))
        );
        assert_eq!(whole["last_line"], 3);
        assert_eq!(read(&bytes, json!({"start_line": 2, "max_lines": 1}))["text"], "zwei ä€😀\r\n");
        assert_eq!(read(&bytes, json!({"tail_lines": 1}))["text"], "drei");
        let mut parts = String::new();
        let mut offset = json!(0);
        loop {
            let part = read(&bytes, json!({"offset_bytes": offset, "max_bytes": 7}));
            parts.push_str(part["text"].as_str().unwrap());
            assert_eq!(part["lossy"], false);
            match part.get("next_offset_bytes") {
                Some(next) => offset = next.clone(),
                None => break,
            }
        }
        assert_eq!(parts, text);
    }
    let marked = read("\u{FEFF}ab", json!({}));
    assert_eq!(
        (&marked["text"], &marked["encoding"], &marked["offset_bytes"]),
        (&json!("ab"), &json!("utf-8-bom"), &json!(3))
    );
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_marked() {
    let place = Playground::new();
    place.file("latin1", b"gr\xFC\xDFe\n");
    let answer = place.harness.call::<ReadFile>(json!({"path": "latin1"})).unwrap();
    let found = answer.structured.as_ref().unwrap();
    assert_eq!((&found["text"], &found["lossy"]), (&json!("gr\u{FFFD}\u{FFFD}e\n"), &json!(true)));
    assert_eq!(
        answer.content[1],
        Content::text("[lines 1 to 1, bytes 0 to 6 of 6; some bytes are no text and were replaced]")
    );
}

#[test]
fn binary_data_is_named_and_available_as_base64() {
    for (bytes, name) in [
        (&b"\x7FELF\x02\x01\x01"[..], "an ELF program or library"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"a\0b", "binary data of unknown type"),
        (b"MZ\x90\0\x03", "a Windows program"),
    ] {
        let text = refused(bytes, json!({}));
        let size = bytes.len();
        assert!(
            text.starts_with(&format!("cannot read `work:f` as text: it is {name} ({size} bytes); ")),
            "{text}"
        );
        assert!(text.contains("`encoding` \"base64\""), "{text}");
        let found = read(bytes, json!({"encoding": "base64"}));
        assert_eq!(STANDARD.decode(found["data"].as_str().unwrap()).unwrap(), bytes);
        assert_eq!(
            (&found["encoding"], &found["truncated"], found.get("text")),
            (&json!("base64"), &json!(false), None)
        );
    }
    assert_eq!(read("MZ is also a text", json!({}))["lossy"], false);
    let part =
        read(b"\0\x01\x02\x03\x04\x05", json!({"encoding": "base64", "offset_bytes": 1, "max_bytes": 4}));
    assert_eq!(
        (&part["data"], &part["next_offset_bytes"]),
        (&json!(STANDARD.encode([1, 2, 3, 4])), &json!(5))
    );
    assert!(refused("a", json!({"encoding": "base64", "offset_bytes": 2})).contains("has 1 bytes"));
}

#[test]
fn images_come_as_images() {
    let png = b"\x89PNG\r\n\x1A\n and so on";
    let place = Playground::new();
    place.file("f", png);
    let answer = place.harness.call::<ReadFile>(json!({"path": "f"})).unwrap();
    assert_eq!(answer.content[1], Content::image(png, "image/png"));
    assert_eq!(answer.content[0], Content::text("work:f: a PNG image, 18 bytes"));
    let found = answer.structured.unwrap();
    assert_eq!(
        (&found["encoding"], &found["mime_type"], found.get("text")),
        (&json!("image"), &json!("image/png"), None)
    );
    assert!(refused(png, json!({"max_lines": 1})).contains("images are returned as a whole"));
    let big = [&png[..], &vec![0; usize::try_from(MAX_IMAGE_BYTES).unwrap()]].concat();
    assert!(refused(big, json!({})).contains("up to 3670016 bytes"));
    assert_eq!(read(png, json!({"encoding": "base64"}))["data"], STANDARD.encode(png));
}

#[test]
fn windows_that_contradict_themselves_are_refused() {
    for arguments in [
        json!({"start_line": 1, "offset_bytes": 0}),
        json!({"tail_lines": 1, "start_line": 1}),
        json!({"tail_lines": 1, "max_lines": 1}),
        json!({"encoding": "base64", "start_line": 1}),
        json!({"start_line": 0}),
        json!({"max_lines": 0}),
        json!({"tail_lines": 0}),
        json!({"encoding": "latin1"}),
        json!({"offset_bytes": -1}),
        json!({"offset": 1}),
    ] {
        let place = Playground::new();
        place.file("f", "a");
        let error = place.refused::<ReadFile>(with_path(arguments));
        assert_eq!(error.code(), code::INVALID_ARGUMENTS, "{error}");
    }
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<ReadFile>();
    let properties = &item.input_schema["properties"];
    assert_eq!(properties["max_bytes"]["maximum"], MAX_READ_BYTES);
    let text = properties["max_bytes"]["description"].as_str().unwrap();
    assert!(text.contains(&format!("Default: {DEFAULT_READ_BYTES}.")), "{text}");
    assert_eq!(item.input_schema["required"], json!(["path"]));
    assert!(item.annotations.read_only && item.output_schema.is_some());
    assert_eq!(item.title, "Read file");
}
