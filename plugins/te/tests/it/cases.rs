//! What was promised of `te`, one test for each case: argv, paths, failures, errors, handles, ranking, budgets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Ground, header, stage};

/// `needle` in so many files of two directories.
fn needles(here: usize, there: usize) -> Ground {
    let mut ground = Ground::new("");
    for n in 0..here {
        ground = ground.file(&format!("src/call/f{n}.rs"), format!("let x{n} = needle({n});\n"));
    }
    for n in 0..there {
        let dir = if n % 2 == 0 { "docs" } else { "other/deep" };
        ground = ground.file(&format!("{dir}/g{n}.rs"), "call(needle);\n");
    }
    ground
}

#[test]
fn case_46_words_stay_apart() {
    let ground = Ground::new("'echo'").file("a.txt", "");
    let said = ground.te(&["echo", "a", ";", "echo", "X", "&&", "$(id)", "|", "cat", ">", "f"]).with_code(0);
    assert_eq!(said.lines(), ["a ; echo X && $(id) | cat > f"]);
    assert!(!ground.work("f").exists());
    let said = ground.te(&["ls", ";", "echo", "X"]).with_code(2);
    assert!(said.error().contains("not found") || said.error().contains("no such"), "{said:?}");
    let answer = ground.te_run(&json!({"argv": ["echo", ";", "id"]}));
    assert!(answer["content"][0]["text"].as_str().unwrap().ends_with("\n; id\n"), "{answer}");
    assert_eq!(ground.te(&["ls"]).with_code(0).lines(), ["a.txt"]);
}

#[test]
fn case_47_a_file_outside_is_not_read() {
    let ground = Ground::new("").file("inside.txt", "public\n");
    fs::write(ground.path("secret"), "hidden treasure\n").unwrap();
    for path in ["../secret", "a/../../secret", "/etc/passwd"] {
        let said = ground.te(&["repo", "read", "--root", "work", "--path", path]).with_code(1);
        assert!(!said.stdout.contains("treasure") && !said.error().is_empty(), "{said:?}");
    }
    let calls = ground.audited();
    assert!(
        calls.len() == 3 && calls.iter().all(|(tool, _)| tool == "te_run"),
        "nothing was executed: {calls:?}"
    );
    let root = ground.work("");
    for root in ["work", root.to_str().unwrap(), "."] {
        let said = ground.te(&["repo", "read", "--root", root, "--path", "inside.txt"]).with_code(0);
        assert_eq!(said.lines(), ["public"]);
    }
}

#[test]
fn case_48_directories_outside_are_refused_in_the_server() {
    let ground = Ground::new("'pwd'").file("src/a.txt", "text\n");
    for arguments in [
        json!({"argv": ["pwd"], "cwd": "/"}),
        json!({"argv": ["ls"], "cwd": "/"}),
        json!({"argv": ["pwd"], "cwd": "/", "raw": true}),
        json!({"argv": ["repo", "read", "--root", "/", "--path", "etc/passwd"]}),
    ] {
        let answer = ground.te_run(&arguments);
        assert_eq!(answer["is_error"], true, "{answer}");
        assert!(answer.to_string().contains("outside the granted roots"), "{answer}");
    }
    let calls = ground.audited();
    assert!(calls.len() == 4 && calls.iter().all(|(tool, _)| tool == "te_run"), "{calls:?}");
    let said = ground.te(&["--cwd", "/", "ls"]).with_code(126);
    assert!(said.error().contains("outside the granted roots"), "{said:?}");
    // Its neighbours.
    let answer = ground.te_run(&json!({"argv": ["pwd"], "cwd": ground.work("src")}));
    assert!(answer["content"][0]["text"].as_str().unwrap().ends_with("\n/work/src\n"), "{answer}");
    assert_eq!(ground.te(&["--cwd", "src", "ls"]).with_code(0).lines(), ["a.txt"]);
}

#[test]
fn case_49_no_variable_names_another_program() {
    let ground = Ground::new("'echo'").file("a.txt", "");
    let decoy = ground.path("decoy");
    fs::write(&decoy, "#!/bin/sh\necho taken\n").unwrap();
    fs::set_permissions(&decoy, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = ground.command(&["ls"]);
    for name in
        ["LLMC_TE_EXE", "TE_EXE", "LLMC_EXE", "LLMC", "LLMC_BIN", "LLMC_HOST", "LLMC_STAGE", "TE_LLMC"]
    {
        command.env(name, &decoy);
    }
    command.env("PATH", ground.path(""));
    fs::copy(&decoy, ground.path("llmc")).unwrap();
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("a.txt\n") && !text.contains("taken"), "{text}");
}

/// `te` beside another `llmc`.
fn te_beside(llmc: Option<&str>, args: &[&str]) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    // Copied by a program of its own: what this process writes, another thread's child could hold open, and then it
    // cannot be started.
    let install = |from: &Path, name: &str| {
        let mut install = Command::new("install");
        assert!(install.args(["-m", "755"]).arg(from).arg(place(name)).status().unwrap().success());
    };
    install(&stage().join("bin/te"), "te");
    if let Some(text) = llmc {
        fs::write(place("text"), text).unwrap();
        install(&place("text"), "llmc");
    }
    let mut command = Command::new(place("te"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").current_dir(folder.path());
    (folder, command)
}

#[test]
fn case_50_what_cannot_be_asked_is_told() {
    for (llmc, expected) in [
        (None, "failed to run"),
        (Some("#!/bin/sh\necho not json\n"), "no result of te_run: not json"),
        (Some("#!/bin/sh\necho '{\"content\": []}'\n"), "no result of te_run"),
        (Some("#!/bin/sh\necho 'llmc: configuration is wrong' >&2\nexit 2\n"), "configuration is wrong"),
    ] {
        let (_folder, mut command) = te_beside(llmc, &["ls"]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(125), "{text}");
        assert!(header(&text)["error"].as_str().unwrap().contains(expected), "{text}");
    }
    // The reader's name goes along, from the environment too.
    let script =
        "#!/bin/sh\ncat > asked\necho '{\"content\": [], \"meta\": {\"te\": {\"exit\": 3, \"to\": []}}}'\n";
    let (folder, mut command) = te_beside(Some(script), &["ls", "-x"]);
    assert_eq!(command.env("TE_AGENT_ID", "claude-dc").status().unwrap().code(), Some(3));
    let asked: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("asked")).unwrap()).unwrap();
    assert_eq!((&asked["agent"], &asked["argv"]), (&json!("claude-dc"), &json!(["ls", "-x"])));
    // A program that is not granted, over MCP and in the shell.
    let ground = Ground::new("'echo'");
    let answer = ground.te_run(&json!({"argv": ["id"]}));
    assert_eq!((&answer["is_error"], &answer["meta"]["te"]["exit"]), (&json!(true), &json!(126)), "{answer}");
    let said = ground.te(&["id"]).with_code(126);
    assert!(said.error().contains("not granted program `id`") && said.body().is_empty(), "{said:?}");
    ground.te(&["echo", "x"]).with_code(0);
}

#[test]
fn case_51_errors_of_grep_are_errors() {
    let ground = Ground::new("").file("a.txt", "some text\n");
    for args in [&["grep", "[invalid"][..], &["grep", "-E", "a(b", "."], &["rg", "x{", "."]] {
        let said = ground.te(args).with_code(2);
        assert!(!said.error().is_empty() && said.body().is_empty(), "{said:?}");
    }
    let answer = ground.te_run(&json!({"argv": ["grep", "[invalid"]}));
    assert_eq!((&answer["is_error"], &answer["meta"]["te"]["exit"]), (&json!(true), &json!(2)));
    let said = ground.te(&["grep", "nothing like it"]).with_code(1);
    assert_eq!(said.header()["matches"], 0);
    let said = ground.te(&["grep", "some", "missing-dir"]).with_code(2);
    assert!(!said.error().is_empty());
    assert_eq!(ground.te(&["grep", "some"]).with_code(0).lines(), ["a.txt:1: some text"]);
    assert!(ground.te(&["grep", "a|b"]).with_code(1).body().contains("with -E"), "a hint");
}

#[test]
fn case_52_raw_has_no_header_and_handles_outlive_the_process() {
    let lines: String = (1..=25).map(|n| format!("needle {n}\n")).collect();
    let ground = Ground::new("'grep'").file("src/a.txt", lines);
    let raw = ground.te(&["--raw", "grep", "-rn", "needle", "."]).with_code(0);
    assert!(raw.stdout.starts_with("./src/a.txt:1:needle 1\n") && !raw.stdout.contains("# TE"), "{raw:?}");
    assert_eq!(ground.te(&["-i", "grep", "-rn", "nothing", "."]).with_code(1).stdout, "");

    let said = ground.te(&["grep", "needle"]).with_code(0);
    let head = said.header();
    assert_eq!((&head["matches"], &head["truncated"], said.lines().len()), (&json!(25), &json!(true), 10));
    assert!(said.body().contains("# TE: 15 more in: src (15)\n"), "{said:?}");
    let handle = head["handle"].as_str().unwrap();
    let whole = ground.te(&["--handle", handle, "--chunk", "1"]).with_code(0);
    assert_eq!(whole.lines().len(), 25, "{whole:?}");
    assert_eq!((&whole.header()["chunk"], &whole.header()["chunks"]), (&json!(1), &json!(1)));
    assert_eq!(whole.lines().last(), Some(&"src/a.txt:25: needle 25"));
    assert!(ground.te(&["--list-handles"]).with_code(0).body().contains(handle));
    ground.te(&["--handle", handle, "--chunk", "2"]).with_code(1);
    // Ten matches are all shown.
    let said = ground.te(&["grep", "-E", "needle [0-9]$|needle 10"]).with_code(0);
    assert_eq!((said.lines().len(), said.header().get("truncated")), (10, None));
}

#[test]
fn case_53_absent_fields_are_left_out_and_zones_are_hot_from_half_on() {
    let said = needles(1, 0).te(&["grep", "needle"]).with_code(0);
    assert_eq!(said.stdout.lines().nth(1), Some(r#"{"v":1,"cmd":"grep","matches":1,"files":1}"#));
    let zone = |here, there| needles(here, there).te(&["grep", "needle"]).header()["hot_zone"].clone();
    assert_eq!(zone(7, 3), "src/call (70 %)");
    assert_eq!(zone(3, 6), Value::Null, "33 %");
    assert_eq!(zone(4, 0), Value::Null, "fewer than five");
}

#[test]
fn case_54_definitions_come_first_and_tests_last() {
    let mut ground = Ground::new("")
        .file("a_use.rs", "fn main() {\n    total();\n}\n")
        .file("z_definition.rs", "pub fn total() -> u8 {\n    1\n}\n");
    for path in ["tests/first.rs", "b_test.go", "c.test.ts", "__tests__/d.js"] {
        ground = ground.file(path, "    total();\n");
    }
    let said = ground.te(&["grep", "total"]).with_code(0);
    let paths: Vec<&str> = said.lines().iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(&paths[..2], ["z_definition.rs", "a_use.rs"], "{said:?}");
    assert_eq!(paths.len(), 6);
}

#[test]
fn case_55_dashes_are_patterns_and_siblings_are_outside() {
    let ground = Ground::new("").file("a.txt", "run --force now\na -> b\n-x\n");
    for (args, line) in [
        (&["grep", "--force"][..], "a.txt:1: run --force now"),
        (&["grep", "--", "--force"], "a.txt:1: run --force now"),
        (&["grep", "-e", "-x", "a.txt"], "a.txt:3: -x"),
        (&["grep", "->"], "a.txt:2: a -> b"),
        (&["grep", "-foo", "."], ""),
    ] {
        let said = ground.te(args).with_code(i32::from(line.is_empty()));
        assert_eq!(said.lines().first().copied().unwrap_or_default(), line, "{args:?}: {said:?}");
    }
    let sibling: PathBuf = ground.path("work-two");
    fs::create_dir(&sibling).unwrap();
    fs::write(sibling.join("s.txt"), "sibling --force\n").unwrap();
    for args in [["grep", "force", "../work-two"], ["grep", "force", sibling.to_str().unwrap()]] {
        let said = ground.te(&args).with_code(2);
        assert!(
            said.error().contains("outside the granted roots") && !said.stdout.contains("sibling"),
            "{said:?}"
        );
    }
    let said = ground.te(&["--cwd", sibling.to_str().unwrap(), "ls"]).with_code(126);
    assert!(said.error().contains("outside the granted roots"), "{said:?}");
}

#[test]
fn case_56_budgets_go_by_the_reader_and_files_are_known() {
    let text: String = (0..4_000).map(|n| format!("this is line number {n} of a long text\n")).collect();
    let ground = Ground::with("", "[plugins.te.config]\nagents = { mine = 1000 }\n")
        .file("long.txt", &text)
        .file("a.tsx", "const a = 1;\n")
        .file("b.yml", "a: 1\n")
        .file("c", "2026-01-02 10:00 started\n2026-01-02 10:01 ended\n")
        .file("d", "[1, 2]\n");
    let exact = tiktoken_rs::o200k_base().unwrap();
    let tokens = |agent: &[&str]| {
        let said = ground.te(&[agent, &["cat", "long.txt"]].concat()).with_code(0);
        assert_eq!(said.header()["truncated"], true);
        exact.encode_ordinary(&said.stdout).len()
    };
    let unknown = tokens(&["--agent", "stranger"]);
    assert!((3_000..=4_000).contains(&unknown), "{unknown}");
    assert!((4_001..=7_000).contains(&tokens(&["--agent", "qwen-local"])));
    assert!(tokens(&["--agent", "mine"]) <= 1_000);
    let mut command = ground.command(&["cat", "long.txt"]);
    let output = command.env("LLMC_TE_AGENT_ID", "qwen-local").output().unwrap();
    assert!(exact.encode_ordinary(&String::from_utf8(output.stdout).unwrap()).len() > 4_000);
    for (file, content_type) in
        [("a.tsx", "typescript"), ("b.yml", "yaml"), ("c", "log"), ("d", "json"), ("long.txt", "text")]
    {
        assert_eq!(ground.te(&["cat", file]).with_code(0).header()["content_type"], content_type);
    }
}

#[test]
fn json_holds_header_content_and_breadcrumbs() {
    let ground = needles(12, 0);
    let said = ground.te(&["--json", "grep", "needle"]).with_code(0);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&answer["meta"]["matches"], &answer["breadcrumbs"][0]),
        (&json!(12), &json!("2 more in: src/call (2)"))
    );
    assert_eq!(answer["content"].as_str().unwrap().lines().count(), 10);
    let ground = Ground::new("'sh'");
    let said = ground.te(&["--json", "sh", "-c", "echo out; echo err >&2; exit 7"]).with_code(7);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&answer["stdout"], &answer["stderr"], &answer["exit_code"]),
        (&json!("out\n"), &json!("err\n"), &json!(7))
    );
}
