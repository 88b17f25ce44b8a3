//! Programs behind `te`: git, cargo, and whatever is passed through.

use std::fs;
use std::process::Command;

use crate::support::{Ground, failing_crate};

/// A repository with two commits, made outside.
fn repository(ground: &Ground) {
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["config", "user.name", "A. Person"],
        &["config", "user.email", "person@example.org"],
        &["add", "."],
        &["commit", "-q", "-m", "First"],
        &["commit", "-q", "--allow-empty", "-m", "Second"],
    ] {
        let mut git = Command::new("git");
        git.args(args).current_dir(ground.work("")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.status().unwrap().success(), "git {args:?}");
    }
}

#[test]
fn git_is_summarised() {
    let lines: String = (0..400).map(|n| format!("line {n}\n")).collect();
    let ground = Ground::new("'git'").file("a.txt", &lines).file("b.txt", "b\n");
    repository(&ground);
    let said = ground.te(&["git", "log"]).with_code(0);
    assert_eq!(said.header()["commits"], 2);
    assert!(said.lines()[0].ends_with("Second") && said.lines()[1].ends_with("First"), "{said:?}");
    assert!(said.body().contains("# TE: all by A. Person\n"), "{said:?}");
    assert!(ground.te(&["git", "status"]).with_code(0).body().ends_with("on main\nclean\n"));

    fs::write(ground.work("a.txt"), lines.replace("line ", "row ")).unwrap();
    fs::write(ground.work("new file.txt"), "x\n").unwrap();
    let said = ground.te(&["git", "status"]).with_code(0);
    assert_eq!(said.lines(), ["on main", "not staged: 1", "  M a.txt", "untracked: 1", "  new file.txt"]);
    let said = ground.te(&["git", "diff"]).with_code(0);
    assert_eq!((said.header()["files"].as_u64(), said.lines()[0]), (Some(1), "a.txt +400 -400"));
    let handle = said.header()["handle"].as_str().unwrap().to_owned();
    assert!(ground.te(&["--handle", &handle]).with_code(0).body().contains("-line 0\n"));
    // Other forms are git's own, and so are its errors and its version.
    assert!(ground.te(&["git", "diff", "--stat"]).with_code(0).body().contains("a.txt | 800 +"));
    let said = ground.te(&["git", "log", "nothing"]).with_code(128);
    assert!(said.body().contains("# TE: stderr\nfatal: ambiguous argument 'nothing'"), "{said:?}");
    assert!(ground.te(&["git", "--version"]).with_code(0).lines()[0].starts_with("git version "));
    // What the rules refuse is refused here too, with the exit code for it.
    let said = ground.te(&["git", "-c", "core.pager=id", "log"]).with_code(126);
    assert!(said.error().contains("`-c`"), "{said:?}");
}

#[test]
fn failed_tests_come_first() {
    let ground = failing_crate(40);
    let said = ground.te(&["cargo", "test", "--offline", "--lib"]).with_code(101);
    let head = said.header();
    assert_eq!((head["passed"].as_u64(), head["failed"].as_u64()), (Some(40), Some(1)), "{said:?}");
    assert!(said.lines()[0].contains("bad"), "{said:?}");
    assert!(said.body().contains("right: 43") && !said.body().contains("good_7 ... ok"), "{said:?}");
    let handle = head["handle"].as_str().unwrap().to_owned();
    assert!(ground.te(&["--handle", &handle]).with_code(0).body().contains("test good_7 ... ok"));
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let ground = Ground::new("'sh', 'seq', 'cat', 'sleep'");
    for code in [0, 1, 42, 255] {
        ground.te(&["sh", "-c", &format!("exit {code}")]).with_code(code);
        ground.te(&["--raw", "sh", "-c", &format!("exit {code}")]).with_code(code);
    }
    assert_eq!(ground.te(&["sh", "-c", "kill -9 $$"]).with_code(137).header()["exit"], 137);
    let said = ground.te(&["--timeout", "1", "sleep", "30"]).with_code(124);
    assert!(said.error().contains("timed out"), "{said:?}");
    let raw = ground.te(&["--raw", "sh", "-c", "echo out; echo err >&2"]).with_code(0);
    assert_eq!((&*raw.stdout, &*raw.stderr), ("out\n", "err\n"));
    let mut command = ground.command(&["--stdin", "--raw", "cat"]);
    let file = ground.path("input");
    fs::write(&file, "from outside\n").unwrap();
    let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"from outside\n");
    // A long output: its beginning, its end, and a handle.
    let said = ground.te(&["seq", "100000"]).with_code(0);
    assert!(said.lines()[0] == "1" && said.lines().last() == Some(&"100000"), "{said:?}");
    assert!(said.body().contains("lines left out\n"));
    let handle = said.header()["handle"].as_str().unwrap().to_owned();
    let chunks = ground.te(&["--handle", &handle]).with_code(0).header()["chunks"].as_u64().unwrap();
    assert!(
        ground
            .te(&["--handle", &handle, "--chunk", &chunks.to_string()])
            .with_code(0)
            .body()
            .ends_with("\n100000\n")
    );
}

#[test]
fn names_files_and_trees_are_listed() {
    let mut ground =
        Ground::new("").file("src/lib.rs", "one\ntwo\n").file(".env", "x\n").file("big.bin", [0, 159, 146]);
    for n in 0..70 {
        ground = ground.file(&format!("many/f{n:02}.txt"), "x");
    }
    assert_eq!(ground.te(&["ls", "-la", "src"]).with_code(0).lines(), ["lib.rs  8"]);
    assert_eq!(ground.te(&["ls", "src/lib.rs"]).with_code(0).lines(), ["src/lib.rs"]);
    assert_eq!(ground.te(&["ls", "-a"]).with_code(0).lines(), [".env", "big.bin", "many/", "src/"]);
    let said = ground.te(&["find", ".", "-name", "*.txt"]).with_code(0);
    assert_eq!((said.header()["matches"].as_u64(), said.lines().len()), (Some(70), 50));
    assert!(said.body().contains("# TE: 20 more in: many (20)\n"), "{said:?}");
    assert_eq!(ground.te(&["find", "-name", ".env"]).with_code(0).lines(), [".env"]);
    assert_eq!(
        ground.te(&["find", ".", "-maxdepth", "1", "-type", "d"]).with_code(0).lines(),
        ["many/", "src/"]
    );
    assert!(ground.te(&["tree", "src"]).with_code(0).body().contains("lib.rs"));
    let said = ground.te(&["cat", "-n", "src/lib.rs"]).with_code(0);
    assert_eq!(said.lines(), ["1\tone", "2\ttwo"]);
    assert_eq!((said.header()["lines"].as_u64(), said.header()["size"].as_u64()), (Some(2), Some(8)));
    assert!(ground.te(&["cat", "big.bin"]).with_code(1).error().contains("binary"));
    ground.te(&["cat", "missing"]).with_code(1);
    ground.te(&["find", "missing"]).with_code(1);
    // From a directory below, names count from there.
    assert_eq!(
        ground.te(&["--cwd", ground.work("src").to_str().unwrap(), "grep", "two"]).with_code(0).lines(),
        ["lib.rs:2: two"]
    );
}
