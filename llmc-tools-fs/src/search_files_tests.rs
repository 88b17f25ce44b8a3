//! `search_files`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llmc_core::code;
use llmc_core::testing::{Harness, item};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::limits::{MAX_COUNTED_MATCHES, MAX_MULTILINE_BYTES, MAX_SEARCH_LINE_BYTES, MAX_SEARCH_TEXT_BYTES};
use crate::testing::Playground;

/// `path:line:column` of every match.
fn search(playground: &Playground, arguments: Value) -> Vec<String> {
    places(&playground.ok::<SearchFiles>(arguments))
}

fn places(found: &Value) -> Vec<String> {
    let Some(matches) = found.get("matches") else { return Vec::new() };
    let place = |found: &Value| {
        let path = found["path"].as_str().unwrap().strip_prefix("work:").unwrap();
        format!("{path}:{}:{}", found["line"], found["column"])
    };
    matches.as_array().unwrap().iter().map(place).collect()
}

fn text(playground: &Playground, arguments: Value) -> String {
    playground.harness.call::<SearchFiles>(arguments).unwrap().all_text()
}

#[test]
fn matches_have_a_place() {
    let playground = Playground::new();
    playground
        .file("src/b.rs", "one\n  two needle\n\nneedle needle\n")
        .file("src/a/z.rs", "grüße needle")
        .file("c", "none");
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
    assert_eq!(
        found,
        json!({
            "matches": [
                {"path": "work:src/a/z.rs", "line": 1, "column": 7, "text": "grüße needle"},
                {"path": "work:src/b.rs", "line": 2, "column": 7, "text": "  two needle"},
                {"path": "work:src/b.rs", "line": 4, "column": 1, "text": "needle needle"},
            ],
            "total": 3, "total_files": 2, "truncated": false,
        })
    );
    assert_eq!(
        text(&playground, json!({"pattern": "needle"})),
        "work:src/a/z.rs\n1: grüße needle\n\nwork:src/b.rs\n2:   two needle\n4: needle needle"
    );
    assert_eq!(search(&playground, json!({"pattern": "needle", "path": "src/a"})), ["src/a/z.rs:1:7"]);
    assert_eq!(
        search(&playground, json!({"pattern": "needle", "path": "src/b.rs"})),
        ["src/b.rs:2:7", "src/b.rs:4:1"]
    );
}

#[test]
fn context_is_shown_once() {
    let playground = Playground::new();
    let lines: Vec<_> = (1..=20)
        .map(|number| if [3, 5, 12].contains(&number) { format!("x{number}") } else { number.to_string() })
        .collect();
    playground.file("a", lines.join("\n"));
    let found = playground.ok::<SearchFiles>(json!({"pattern": "x", "context": 2}));
    let context =
        |index: usize| (found["matches"][index]["before"].clone(), found["matches"][index]["after"].clone());
    assert_eq!(context(0), (json!(["1", "2"]), json!(["4"])));
    assert_eq!(context(1), (Value::Null, json!(["6", "7"])));
    assert_eq!(context(2), (json!(["10", "11"]), json!(["13", "14"])));
    assert_eq!(
        text(&playground, json!({"pattern": "x", "context": 2})),
        "work:a\n1- 1\n2- 2\n3: x3\n4- 4\n5: x5\n6- 6\n7- 7\n--\n10- 10\n11- 11\n12: x12\n13- 13\n14- 14"
    );
    assert_eq!(
        text(&playground, json!({"pattern": "x", "context": 1, "max_per_file": 1})),
        "work:a\n2- 2\n3: x3\n4- 4\n[2 more in this file]\n[1 of 3 matches in 1 file; `max_per_file` leaves out the rest]"
    );
}

#[test]
fn patterns_mean_what_the_switches_say() {
    let playground = Playground::new();
    playground.file("a", "a.b\naxb\nA.B\nxa.bx\nfoo_bar foo\n-2\n");
    let lines = |arguments: Value| {
        let found = search(&playground, arguments);
        found.iter().map(|place| place.split(':').nth(1).unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lines(json!({"pattern": "a.b"})), "1 2 4");
    assert_eq!(lines(json!({"pattern": "a.b", "literal": true})), "1 4");
    assert_eq!(lines(json!({"pattern": "a.b", "literal": true, "ignore_case": true})), "1 3 4");
    assert_eq!(lines(json!({"pattern": "a.b", "literal": true, "word": true})), "1");
    assert_eq!(lines(json!({"pattern": "^a|b$"})), "1 2");
    assert_eq!(lines(json!({"pattern": "(?i)^a"})), "1 2 3");
    assert_eq!(lines(json!({"pattern": "foo", "word": true})), "5");
    assert_eq!(search(&playground, json!({"pattern": "foo", "word": true})), ["a:5:9"]);
    assert_eq!(lines(json!({"pattern": "-2"})), "6", "no switch, whatever it looks like");
    assert_eq!(lines(json!({"pattern": "(", "literal": true})), "");
}

#[test]
fn line_ends_of_all_kinds() {
    let playground = Playground::new();
    playground.file("a", "one\r\ntwo\r\n\r\none two\r\n").file("b", "one").file("c", "\n\n");
    assert_eq!(search(&playground, json!({"pattern": "o$"})), ["a:2:3", "a:4:7"]);
    assert_eq!(search(&playground, json!({"pattern": "^one$"})), ["a:1:1", "b:1:1"]);
    assert_eq!(search(&playground, json!({"pattern": "^$"})), ["a:3:1", "c:1:1", "c:2:1"]);
    assert_eq!(
        text(&playground, json!({"pattern": "two", "context": 1})),
        "work:a\n1- one\n2: two\n3- \n4: one two"
    );
    assert_eq!(search(&playground, json!({"pattern": r"e\s+t"})), ["a:4:3"], "not over a line end");
}

#[test]
fn matches_may_run_over_lines() {
    let playground = Playground::new();
    playground.file("a", "fn x(\n    a: u8,\n) {\n}\nfn y() {}\n").file("b", "foo\r\nbar\r\n");
    let arguments = json!({"pattern": r"fn \w+\([^)]*\) \{", "multiline": true});
    assert_eq!(text(&playground, arguments.clone()), "work:a\n1: fn x(\n2:     a: u8,\n3: ) {\n5: fn y() {}");
    assert_eq!(playground.ok::<SearchFiles>(arguments)["total"], 2);
    assert_eq!(search(&playground, json!({"pattern": "oo\r\nb", "multiline": true})), ["b:1:2"]);
    assert_eq!(search(&playground, json!({"pattern": "o$", "multiline": true})), ["b:1:3"]);
    assert_eq!(search(&playground, json!({"pattern": "y\\(\\) \\{\\}\\n", "multiline": true})), ["a:5:4"]);
    let found = text(&playground, json!({"pattern": "a: u8", "multiline": true, "context": 1}));
    assert_eq!(found, "work:a\n1- fn x(\n2:     a: u8,\n3- ) {");
    let long = "x\n".repeat(1000);
    playground.file("long", format!("BEGIN\n{long}END\n"));
    let found = text(&playground, json!({"pattern": "(?s)BEGIN.*END", "multiline": true}));
    assert!(found.starts_with("work:long\n1: BEGIN\n2: x\n") && found.contains("\n51: …\n["), "{found}");
}

#[test]
fn encodings_are_told_by_their_marks() {
    let playground = Playground::new();
    let text = "first\r\nthe needle grüße\n";
    let wide = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<_>>();
    playground.file("bom8", [b"\xEF\xBB\xBF", text.as_bytes()].concat());
    playground.file("be", [b"\xFE\xFF".to_vec(), wide(u16::to_be_bytes)].concat());
    playground.file("le", [b"\xFF\xFE".to_vec(), wide(u16::to_le_bytes)].concat());
    playground.file("latin", b"the needle gr\xFC\xDFe\n");
    let large = format!("{}needle\n", "x\n".repeat(300_000));
    playground.file(
        "wide",
        [b"\xFF\xFE".to_vec(), large.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat(),
    );
    let expected = ["be:2:5", "bom8:2:5", "latin:1:5", "le:2:5", "wide:300001:1"];
    assert_eq!(search(&playground, json!({"pattern": "needle"})), expected);
    assert_eq!(search(&playground, json!({"pattern": "needle", "multiline": true})), expected);
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle", "path": "le", "context": 1}));
    assert_eq!(
        (&found["matches"][0]["text"], &found["matches"][0]["before"]),
        (&json!("the needle grüße"), &json!(["first"]))
    );
    assert_eq!(
        search(&playground, json!({"pattern": "^first", "path": "bom8"})),
        ["bom8:1:1"],
        "a mark is no text"
    );
}

#[test]
fn binary_files_are_left_out_and_counted() {
    let playground = Playground::new();
    let late = format!("needle\n{}\0", "x".repeat(200_000));
    let large = format!("needle\n{}\0needle", "x\n".repeat(300_000));
    playground
        .file("text", "needle")
        .file("early", "\0needle")
        .file("late", late)
        .file("large", large)
        .file("other", "\0x");
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
    assert_eq!(places(&found), ["text:1:1"]);
    assert_eq!(found["notes"], json!(["4 files of binary data left out"]));
    assert_eq!((&found["total"], &found["total_files"]), (&json!(1), &json!(1)));
    let found = text(&playground, json!({"pattern": "needle", "path": "early"}));
    assert_eq!(
        found,
        "(no matches)\n[1 file searched; hidden or ignored files were left out]\n[1 file of binary data left out]"
    );
}

#[test]
fn large_files_are_searched_from_end_to_end() {
    let playground = Playground::new();
    for filler in [255 * 1024, 256 * 1024, 300 * 1024, 3 * 1024 * 1024] {
        let mut text = String::from("needle first\n");
        while text.len() < filler {
            text.push_str("some line of no interest\n");
        }
        let last = text.lines().count() + 1;
        text.push_str("the last needle");
        playground.file("a", text);
        let expected = ["a:1:1".to_owned(), format!("a:{last}:10")];
        assert_eq!(search(&playground, json!({"pattern": "needle"})), expected, "{filler}");
        assert_eq!(
            search(&playground, json!({"pattern": "needle", "multiline": true})),
            expected,
            "{filler}"
        );
        let found = playground.ok::<SearchFiles>(json!({"pattern": "needle", "context": 1}));
        assert_eq!(found["matches"][1]["before"], json!(["some line of no interest"]));
    }
}

#[test]
fn every_length_around_a_buffer_is_searched() {
    let playground = Playground::new();
    for length in (64 * 1024 - 8..64 * 1024 + 8).chain(256 * 1024 - 8..256 * 1024 + 8) {
        playground.file("a", format!("{}needle\nx\nneedle", "y".repeat(length - 14)));
        let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
        assert_eq!(places(&found), [format!("a:1:{}", length - 13), "a:3:1".to_owned()], "{length}");
    }
}

#[test]
fn long_lines_are_cut_around_the_match() {
    let playground = Playground::new();
    playground.file("a.min.js", format!("{}needle{}\nshort needle", "a".repeat(50_000), "b".repeat(50_000)));
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
    let line = found["matches"][0]["text"].as_str().unwrap();
    assert!(line.len() < MAX_LINE_BYTES + 10 && line.contains("aneedleb") && line.starts_with('…'), "{line}");
    assert_eq!(places(&found), ["a.min.js:1:50001", "a.min.js:2:7"]);
    assert_eq!(found["notes"], json!(["lines longer than 400 bytes, or many lines, were cut at `…`"]));
}

#[test]
fn an_endless_line_ends_the_search_of_its_file() {
    let playground = Playground::new();
    playground
        .file("endless", format!("needle\n{}\nneedle\n", "x".repeat(MAX_SEARCH_LINE_BYTES + 100_000)))
        .file("z", "needle");
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
    assert_eq!(places(&found), ["endless:1:1", "z:1:1"]);
    assert_eq!(found["notes"], json!(["1 file searched only up to a line longer than 8388608 bytes"]));
    playground.file("endless", "x".repeat(MAX_MULTILINE_BYTES + 1));
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle", "multiline": true}));
    assert_eq!(places(&found), ["z:1:1"]);
    assert_eq!(
        found["notes"],
        json!(["1 file larger than 8388608 bytes not searched, because of `multiline`"])
    );
}

#[test]
fn a_slow_pattern_is_searched_for_in_small_pieces() {
    let playground = Playground::new();
    let text = format!("{}a needle\n{}", "some line\n".repeat(12_000), "some line\n".repeat(12_000));
    playground
        .file("a", &text)
        .file("small", "a needle")
        .file("wide", format!("a needle\n{}\n", "x".repeat(200_000)));
    let pattern = r"a .{0,100}needle";
    let found = playground.ok::<SearchFiles>(json!({"pattern": pattern, "context": 1}));
    assert_eq!(places(&found), ["a:12001:1", "small:1:1", "wide:1:1"]);
    assert_eq!(found["matches"][0]["after"], json!(["some line"]));
    assert_eq!(found["notes"], json!(["1 file searched only up to a line longer than 131072 bytes"]));
    let found = playground.ok::<SearchFiles>(json!({"pattern": pattern, "multiline": true}));
    assert_eq!(places(&found), ["a:12001:1", "small:1:1", "wide:1:1"]);
    playground.file("large", "x\n".repeat(300_000));
    let found = playground.ok::<SearchFiles>(json!({"pattern": pattern, "multiline": true}));
    assert_eq!(
        found["notes"],
        json!(["1 file larger than 262144 bytes not searched, because of `multiline`"])
    );
}

#[test]
fn a_slow_search_ends_soon_after_its_time() {
    // Text without a pattern, for a regular expression that has to remember the last 900 letters.
    let mut state = 1_u64;
    let mut letter = |place: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if place.is_multiple_of(2000) { '\n' } else { char::from(b'a' + (state >> 63) as u8) }
    };
    let playground = Playground::new();
    playground.file("a", (0..300_000).map(&mut letter).collect::<String>());
    let time = std::time::Duration::from_millis(100);
    let harness = Harness::new().root("work", playground.path(""), Access::Ro).time_left(time);
    let begin = std::time::Instant::now();
    let error = harness.call::<SearchFiles>(json!({"pattern": r"a.{900}[^a-z\s]"})).unwrap_err();
    assert_eq!(error.code(), code::TIMED_OUT);
    // Without optimisation a piece takes about a second, the whole file many.
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn globs_and_types_choose_files() {
    let playground = Playground::new();
    for path in ["a.rs", "src/b.rs", "src/c.py", "src/d.min.js", "src/e.js", ".hidden.rs", "out/f.rs"] {
        playground.file(path, "needle");
    }
    playground.file(".ignore", "out\n");
    let files = |mut arguments: Value| {
        arguments["pattern"] = json!("needle");
        let found = search(&playground, arguments);
        found.iter().map(|place| place.split(':').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(files(json!({})), "a.rs src/b.rs src/c.py src/d.min.js src/e.js");
    assert_eq!(
        files(json!({"glob": ["*.rs"]})),
        ".hidden.rs a.rs src/b.rs",
        "a glob is stronger than a dot, as in rg"
    );
    assert_eq!(files(json!({"glob": ["*.js", "!*.min.js"]})), "src/e.js");
    assert_eq!(files(json!({"glob": ["!*.js"]})), "a.rs src/b.rs src/c.py");
    assert_eq!(files(json!({"glob": ["src/**", "!*.js"]})), "src/b.rs src/c.py");
    assert_eq!(files(json!({"glob": ["!src/"]})), "a.rs");
    assert_eq!(files(json!({"glob": ["/b.rs"], "path": "src"})), "src/b.rs");
    assert_eq!(files(json!({"types": ["rust"]})), "a.rs src/b.rs");
    assert_eq!(files(json!({"types": ["rust", "py"], "glob": ["!a.*"]})), "src/b.rs src/c.py");
    assert_eq!(files(json!({"hidden": true, "types": ["rust"]})), ".hidden.rs a.rs src/b.rs");
    assert_eq!(files(json!({"ignored": true, "types": ["rust"]})), "a.rs out/f.rs src/b.rs");
    assert_eq!(files(json!({"path": "out"})), "out/f.rs", "asked for by name");
}

/// Many files with matches of all sorts.
fn crowd(files: usize) -> Playground {
    let playground = Playground::new();
    for number in 0..files {
        let text =
            (0..number % 7).map(|line| format!("fn needle_{line}() {{\n  needle();\n\n")).collect::<String>();
        let dir = if number % 5 == 0 { "tests" } else { "src" };
        playground.file(&format!("{:02}/{dir}/{number}.rs", number % 23), text);
    }
    playground
}

#[test]
fn results_do_not_depend_on_threads() {
    let playground = crowd(700);
    for arguments in [
        json!({"pattern": "needle"}),
        json!({"pattern": "needle", "limit": 1000, "context": 1}),
        json!({"pattern": "needle", "rank": true, "limit": 400, "max_per_file": 3}),
        json!({"pattern": "needle", "output": "files", "limit": 133}),
        json!({"pattern": "needle", "output": "counts"}),
        json!({"pattern": "needle_6"}),
    ] {
        let first = playground.ok::<SearchFiles>(arguments.clone());
        for _ in 0..5 {
            assert_eq!(playground.ok::<SearchFiles>(arguments.clone()), first, "{arguments}");
        }
    }
}

#[test]
fn a_limit_gives_the_first_and_the_total_is_exact() {
    let playground = crowd(700);
    let all = search(&playground, json!({"pattern": "fn needle", "limit": 1000}));
    let found = playground.ok::<SearchFiles>(json!({"pattern": "fn needle", "limit": 10}));
    assert_eq!(places(&found), all[..10]);
    let expected: usize = (0..700).map(|number| number % 7).sum();
    let with_some = (0..700).filter(|number| number % 7 > 0).count();
    assert_eq!((&found["total"], &found["total_files"]), (&json!(expected), &json!(with_some)));
    assert_eq!((&found["truncated"], found.get("at_least")), (&json!(true), None));
    let note = text(&playground, json!({"pattern": "fn needle", "limit": 10}));
    let note = note.lines().last().unwrap();
    assert_eq!(
        note,
        format!(
            "[10 of {expected} matches in {with_some} files; narrow `pattern`, `path` or `glob`, or raise `limit`]"
        )
    );
}

#[test]
fn beyond_counting_the_total_is_a_least() {
    let playground = Playground::new();
    for number in 0..300 {
        playground.file(&format!("{number:03}"), "needle\n".repeat(100));
    }
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle"}));
    let total = found["total"].as_u64().unwrap();
    assert!((MAX_COUNTED_MATCHES..30_000).contains(&total), "{total}");
    assert_eq!((&found["at_least"], &found["truncated"]), (&json!(true), &json!(true)));
    assert_eq!(places(&found).len(), 100);
    assert!(
        found["notes"][0]
            .as_str()
            .unwrap()
            .starts_with(&format!("100 of at least {total} matches in at least")),
        "{found}"
    );
    assert_eq!(playground.ok::<SearchFiles>(json!({"pattern": "needle"})), found);
    let counts = playground.ok::<SearchFiles>(json!({"pattern": "needle", "output": "counts"}));
    assert_eq!(
        (&counts["total"], counts.get("at_least")),
        (&json!(30_000), None),
        "few files, so all are counted"
    );
}

#[test]
fn a_long_result_is_cut() {
    let playground = Playground::new();
    playground.file("a", format!("needle {}\n", "x".repeat(380)).repeat(900)).file("b", "needle\n");
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle", "limit": 1000}));
    let shown = found["matches"].as_array().unwrap();
    let bytes: usize = shown.iter().map(|found| found["text"].as_str().unwrap().len()).sum();
    assert!(bytes < MAX_SEARCH_TEXT_BYTES && bytes > MAX_SEARCH_TEXT_BYTES / 2, "{bytes}");
    assert!(shown.iter().all(|found| found["path"] == "work:a"), "no hole, then more");
    assert_eq!((&found["total"], &found["truncated"]), (&json!(901), &json!(true)));
}

#[test]
fn names_and_counts_can_be_asked_for() {
    let playground = Playground::new();
    playground.file("a", "needle\nneedle needle\n").file("b", "none").file("c/d", "needle");
    let found = playground.ok::<SearchFiles>(json!({"pattern": "needle", "output": "counts"}));
    let expected = json!({
        "files": [{"path": "work:a", "count": 2}, {"path": "work:c/d", "count": 1}],
        "total": 3, "total_files": 2, "truncated": false,
    });
    assert_eq!(found, expected);
    assert_eq!(text(&playground, json!({"pattern": "needle", "output": "counts"})), "work:a: 2\nwork:c/d: 1");
    assert_eq!(text(&playground, json!({"pattern": "needle", "output": "files"})), "work:a\nwork:c/d");
    let cut = text(&playground, json!({"pattern": "needle", "output": "files", "limit": 1}));
    assert_eq!(cut, "work:a\n[1 of 2 files; narrow `pattern`, `path` or `glob`, or raise `limit`]");
}

#[test]
fn definitions_come_first_and_tests_last() {
    let playground = Playground::new();
    playground.file("a/use.rs", "use crate::open;\nfn main() {\n    open();\n}\n");
    playground.file("b/lib.rs", "// fn open\npub fn open() {\n    reopen(open);\n}\n");
    playground
        .file("a/tests/it.rs", "fn open_works() {\n    open();\n}\n")
        .file("README.md", "fn open is for opening\n");
    let found = text(&playground, json!({"pattern": "open", "rank": true}));
    assert_eq!(
        found,
        "[definitions]\nwork:b/lib.rs\n2: pub fn open() {\n\n[uses]\nwork:README.md\n1: fn open is for opening\n\nwork:a/use.rs\n1: use \
         crate::open;\n3:     open();\n\nwork:b/lib.rs\n1: // fn open\n3:     reopen(open);\n\n[tests]\nwork:a/tests/it.rs\n1: fn \
         open_works() {\n2:     open();"
    );
    let found = playground.ok::<SearchFiles>(json!({"pattern": "open", "rank": true, "limit": 2}));
    assert_eq!(places(&found), ["b/lib.rs:2:8", "README.md:1:4"]);
    assert_eq!(
        (&found["matches"][0]["class"], &found["matches"][1]["class"]),
        (&json!("definition"), &json!("use"))
    );
    assert_eq!(found["total"], 8);
    let found = playground.ok::<SearchFiles>(json!({"pattern": "open", "path": "a/tests", "rank": true}));
    assert_eq!(found["matches"][0]["class"], "definition", "whoever searches among tests means them");
}

#[test]
fn a_wrong_pattern_is_explained() {
    let playground = Playground::new();
    let huge = format!("({})", "\\w{200}".repeat(200));
    for (arguments, expected) in [
        (
            json!({"pattern": "foo(bar"}),
            "`pattern` is not a regular expression: unclosed group, at `(bar`, character 4; set `literal` to search for it as plain text",
        ),
        (json!({"pattern": "é["}), "unclosed character class, at `[`, character 2"),
        (json!({"pattern": "*a"}), "repetition operator missing expression, at `*a`, character 1"),
        (
            json!({"pattern": "(?<=a)b"}),
            "look-around, including look-ahead and look-behind, is not supported, at `(?<=a)b`",
        ),
        (json!({"pattern": r"(a)\1"}), r"backreferences are not supported, at `\1`, character 4"),
        (json!({"pattern": r"\p{Nope}"}), "Unicode property not found, at"),
        (json!({"pattern": "a{2,1}"}), "invalid repetition count range"),
        (json!({"pattern": "a\\"}), "incomplete escape sequence"),
        (
            json!({"pattern": huge}),
            "`pattern` is too large: its counts come to 40000 steps, 1000 at most; use `*` or `+`",
        ),
        (json!({"pattern": r"\w{600}"}), "compiled regex exceeds size limit"),
        (json!({"pattern": "((a{100}){100}){100}"}), "its counts come to 1000000 steps"),
        (json!({"pattern": "(".repeat(200) + &")".repeat(200)}), "exceed the maximum number of nested"),
        (json!({"pattern": ""}), "`pattern` is empty"),
        (json!({"pattern": "x".repeat(10_000)}), "`pattern` is longer than 8192 bytes"),
        (json!({"pattern": "a\nb"}), "`pattern` contains a line feed; set `multiline`"),
        (json!({"pattern": "a\\nb"}), "with `multiline`, matches may run over line ends"),
        (json!({"pattern": "a\\x00b"}), "files with NUL bytes are not searched"),
        (json!({"pattern": "x", "glob": ["a{b"]}), "invalid `glob`: error parsing glob 'a{b'"),
        (json!({"pattern": "x", "types": ["rs"]}), "unknown type `rs`; files `*.rs` have type `rust`"),
        (
            json!({"pattern": "x", "types": ["nonsense"]}),
            "unknown type `nonsense`; use `glob`, as in `*.nonsense`",
        ),
    ] {
        let error = playground.refused::<SearchFiles>(arguments.clone());
        assert_eq!(error.code(), code::INVALID_ARGUMENTS, "{arguments}");
        assert!(error.message().contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn without_matches_the_reader_learns_what_was_searched() {
    let playground = Playground::new();
    playground.file("a", "x").file("b", "x").file(".c", "needle");
    assert_eq!(
        text(&playground, json!({"pattern": "needle"})),
        "(no matches)\n[2 files searched; hidden or ignored files were left out]"
    );
    assert_eq!(
        text(&playground, json!({"pattern": "no", "hidden": true, "ignored": true})),
        "(no matches)\n[3 files searched]"
    );
}

/// Searches for what lies outside.
#[arguments(undocumented)]
struct Probe {
    path: String,
}

impl Tool for Probe {
    const NAME: &'static str = "probe";
    type Output = Matches;

    fn call(self, ctx: &Context) -> ToolResult<Matches> {
        let arguments = json!({"pattern": "secret|root", "path": self.path, "hidden": true, "ignored": true});
        let search: SearchFiles = llmc_core::serde_json::from_value(arguments)?;
        search.call(ctx)
    }
}

#[test]
fn nothing_outside_is_searched() {
    let playground = Playground::new();
    playground.check_walls::<Probe>();
    for path in ["to_file", "to_nothing", "up", "chain", "dir/chain", "proc", "to_dir"] {
        playground.check_outside::<Probe>(path);
    }
    let all = json!({"pattern": ".", "hidden": true, "ignored": true});
    assert_eq!(search(&playground, all), ["dir/inside.txt:1:1"], "the allowance beside");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let playground = Playground::new();
    playground.file("a", "needle").fifo("pipe").link("link", "a");
    let _socket = std::os::unix::net::UnixListener::bind(playground.path("socket")).unwrap();
    assert_eq!(search(&playground, json!({"pattern": "needle"})), ["a:1:1"]);
    let error = playground.refused::<SearchFiles>(json!({"pattern": "needle", "path": "pipe"}));
    assert!(error.message().contains("not a regular file but a FIFO"), "{error}");
    assert_eq!(
        search(&playground, json!({"pattern": "needle", "path": "link"})),
        ["link:1:1"],
        "named, it is followed"
    );
}

#[test]
fn a_file_that_is_swapped_for_a_link_tells_nothing() {
    let playground = Playground::new();
    playground.file("swapped", "mine").link("link", playground.outside().join("secret.txt"));
    for number in 0..40 {
        playground.file(&format!("{number}"), "other");
    }
    let (over, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (file, link) = (playground.path("swapped"), playground.path("link"));
    let mut seen = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &file, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Exchanges are much faster than searches: some of which must meet the file.
        while swaps.load(Ordering::Relaxed) < 2000 || seen < 10 {
            let found = search(&playground, json!({"pattern": "secret|mine"}));
            assert!(found.iter().all(|place| place.ends_with(":1:1")), "{found:?}");
            assert_eq!(search(&playground, json!({"pattern": "secret"})), [""; 0]);
            seen += found.len();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(seen >= 10, "the honest half of the game");
}

#[test]
fn a_file_that_is_cut_meanwhile_does_no_harm() {
    let playground = Playground::new();
    let text = "needle and more\n".repeat(50_000);
    playground.file("a", &text);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::write(playground.path("a"), "").unwrap();
                fs::write(playground.path("a"), &text).unwrap();
            }
        });
        for _ in 0..50 {
            for multiline in [false, true] {
                let arguments = json!({"pattern": "needle", "output": "counts", "multiline": multiline});
                let total = playground.ok::<SearchFiles>(arguments)["total"].as_u64().unwrap();
                assert!(total <= 50_000, "{total}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn files_without_a_size_are_searched() {
    let proc = Harness::new().root("proc", "/proc", Access::Ro);
    let found = proc.call::<SearchFiles>(json!({"pattern": "Linux", "path": "version"})).unwrap();
    assert!(found.all_text().starts_with("proc:version\n1: Linux"), "{}", found.all_text());
}

#[test]
fn odd_names_cannot_forge_a_line() {
    let playground = Playground::new();
    playground.file("a\n1: forged", "needle");
    fs::write(playground.path("").join(std::ffi::OsStr::from_bytes(b"bad\xFF")), "needle").unwrap();
    assert_eq!(
        text(&playground, json!({"pattern": "needle"})),
        "work:a\\n1: forged\n1: needle\n\nwork:bad\u{FFFD}\n1: needle"
    );
}

#[test]
fn a_search_ends_when_nobody_waits_for_it() {
    let playground = crowd(300);
    playground.harness.cancel();
    assert_eq!(playground.refused::<SearchFiles>(json!({"pattern": "x"})).code(), code::CANCELLED);
    let playground = Playground::new();
    playground.file("a", "x");
    let late =
        Harness::new().root("work", playground.path(""), Access::Ro).time_left(std::time::Duration::ZERO);
    for path in [".", "a"] {
        let error = late.call::<SearchFiles>(json!({"pattern": "x", "path": path})).unwrap_err();
        assert_eq!(error.code(), code::TIMED_OUT, "{path}");
    }
}

#[test]
fn the_schema_tells_ranges_and_defaults() {
    let item = item::<SearchFiles>();
    let properties = &item.input_schema["properties"];
    assert!(
        properties["limit"]["description"]
            .as_str()
            .unwrap()
            .contains(&format!("Default: {DEFAULT_MATCHES}."))
    );
    assert_eq!(
        (&properties["limit"]["maximum"], &properties["context"]["maximum"]),
        (&json!(MAX_MATCHES), &json!(MAX_CONTEXT_LINES))
    );
    assert_eq!(item.input_schema["required"], json!(["pattern"]));
    assert!(item.annotations.read_only && item.output_schema.is_some());
}
