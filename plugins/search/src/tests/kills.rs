//! An index run that is killed at any moment leaves a database that opens, and the next run goes on from there.

use std::process::{Command, Stdio};

use super::*;

/// Says to the child where its files are.
const CHILD: &str = "LLMC_SEARCH_KILLED";
const ROUNDS: u64 = 100;

/// Runs in a process of its own, which is killed.
#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let harness = harness_of(&folder.join("work"), &folder.join("state"));
    loop {
        reindex(&harness);
    }
}

#[test]
fn a_hundred_kills_do_not_break_the_index() {
    let ground = Ground::new(&[]);
    let body = |n: u64| {
        let functions =
            (0..30).map(|f| format!("/// Says {n}.\nfn f{n}_{f}() {{\n    g{n}(\"{f}\");\n}}\n\n"));
        functions.collect::<String>()
    };
    for n in 0..300 {
        ground.write(&format!("d{}/f{n}.rs", n % 7), &body(n));
    }
    let mut was_partial = 0;
    for round in 0..ROUNDS {
        // Each round finds something to do.
        for n in 0..40 {
            ground.write(&format!("d{}/f{n}.rs", n % 7), &body(n + round * 1_000));
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::kills::child", "--ignored"])
            .env(CHILD, ground.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        if ground.state().join("index.db").exists() {
            match Reader::open(&ground.state()) {
                Ok(reader) => {
                    let files = reader.counts().unwrap().files;
                    was_partial += u64::from((1..300).contains(&files));
                }
                // Killed before the tables were there.
                Err(error) => assert!(round < 10, "round {round}: {error}"),
            }
        }
    }
    let harness = ground.harness();
    let status = reindex(&harness);
    assert_eq!((&status["freshness"], &status["files"]), (&json!("fresh"), &json!(300)), "{status}");
    assert!(!status.to_string().contains("built anew"), "{status}");
    assert!(was_partial > 0, "no kill came in the middle: the test proves nothing");
    let resumed = ground.dump();
    harness.call::<Reindex>(json!({"full": true})).unwrap();
    assert_eq!(resumed, ground.dump());
    assert_eq!(paths(&search(&harness, "f200_7"))[0], "work:d4/f200.rs");
}
