//! What is saved: ten everyday questions about this repository, each asked of the plain command and of `te`, and the
//! answer in both.
//!
//! `cargo test -p te --test it saved -- --nocapture` prints the table of the README.

use std::path::Path;
use std::process::Command;

use crate::support::{Ground, failing_crate, repository, toolchain};

/// A question, the command, and what an answer has to hold.
struct Question {
    about: &'static str,
    command: &'static [&'static str],
    answer: &'static str,
}

const QUESTIONS: &[Question] = &[
    Question {
        about: "where is `CallPath` defined",
        command: &["grep", "-rn", "CallPath", "llmc-server/src"],
        answer: "llmc-server/src/call/mod.rs",
    },
    Question {
        about: "who uses `tempdir`, roughly where",
        command: &["grep", "-rn", "tempdir", "llmc-server", "llmc-tools-fs", "plugins"],
        answer: "llmc-server",
    },
    Question {
        about: "where are errors turned into results (`fn explain`)",
        command: &["grep", "-rnE", "explain", "llmc-core", "llmc-tools-fs", "plugins"],
        answer: "llmc-core/src/error.rs",
    },
    Question {
        about: "which crates are there",
        command: &["find", "llmc-core", "llmc-server", "plugins", "-name", "Cargo.toml"],
        answer: "plugins/judge/Cargo.toml",
    },
    Question {
        about: "where are the files of server and file tools",
        command: &["find", "llmc-tools-fs", "llmc-server", "-type", "f"],
        answer: "llmc-server/src",
    },
    Question {
        about: "what is in the folder of plugins",
        command: &["ls", "-la", "plugins"],
        answer: "judge",
    },
    Question {
        about: "which test fails, and why",
        command: &["cargo", "test", "--offline", "--lib"],
        answer: "right: 43",
    },
    Question {
        about: "what does a long source begin with",
        command: &["cat", "llmc-tools-fs/src/search_files_tests.rs"],
        answer: "use ",
    },
    Question { about: "what happened lately", command: &["git", "log"], answer: "Second step" },
    Question { about: "what did I change", command: &["git", "diff"], answer: "notes.txt" },
];

/// Sixty commits, and a change of many lines.
fn history() -> Ground {
    let lines =
        |word: &str| (0..600).map(|n| format!("{word} number {n} of the notes\n")).collect::<String>();
    let ground = Ground::new("'git'").file("notes.txt", lines("line"));
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=A. Person", "-c", "user.email=person@example.org"]);
        git.args(args).current_dir(ground.work("")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.status().unwrap().success(), "git {args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    for n in 0..59 {
        let message = format!("Step {n} of the work\n\nWhat was done here, and why it was done in this way.");
        git(&["commit", "-q", "--allow-empty", "-m", &message]);
    }
    git(&["commit", "-q", "--allow-empty", "-m", "Second step of the day"]);
    std::fs::write(ground.work("notes.txt"), lines("row")).unwrap();
    ground
}

/// What the plain command prints where a person would run it, and its exit code.
fn plainly(command: &[&str], folder: &Path) -> (String, i32) {
    let (cargo, toolchain) = toolchain();
    let target = tempfile::tempdir().unwrap();
    let program = if command[0] == "cargo" { cargo } else { command[0].into() };
    let mut plain = Command::new(program);
    plain.args(&command[1..]).current_dir(folder).env("CARGO_TARGET_DIR", target.path());
    let path = std::env::var("PATH").unwrap();
    let output = plain.env("PATH", format!("{}/bin:{path}", toolchain.display())).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (text.into_owned(), output.status.code().unwrap())
}

#[test]
fn answers_take_a_fraction_and_still_answer() {
    let encoding = tiktoken_rs::o200k_base().unwrap();
    let count = |text: &str| encoding.encode_ordinary(text).len();
    let (sources, history, tests) = (Ground::over(&repository(), ""), history(), failing_crate(60));
    let (mut all_plain, mut all_te, mut shares) = (0, 0, Vec::new());
    println!("| Question | Command | Plain tokens | `te` tokens | Share |\n|---|---|---|---|---|");
    for Question { about, command, answer } in QUESTIONS {
        let ground = match command[0] {
            "git" => &history,
            "cargo" => &tests,
            _ => &sources,
        };
        let (printed, code) = plainly(command, &ground.work(""));
        let said = ground.te(command).with_code(code);
        assert!(printed.contains(answer), "{about}: {printed}");
        assert!(said.body().contains(answer), "{about}: {said:?}");
        let (plain, shown) = (count(&printed), count(&said.stdout));
        let share = shown * 100 / plain;
        println!("| {about} | `{}` | {plain} | {shown} | {share} % |", command.join(" "));
        (all_plain, all_te) = (all_plain + plain, all_te + shown);
        shares.push(share);
    }
    let percent = all_te * 100 / all_plain;
    shares.sort_unstable();
    let median = shares[shares.len() / 2];
    println!("| all | | {all_plain} | {all_te} | {percent} % (median {median} %) |");
    assert!(percent <= 35 && median <= 50, "{percent} %, median {median} %");
}
