//! A database that is missing, broken or not ours costs quality for a moment, and never an answer.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;

/// A name, and what is done to the file.
type Break = (&'static str, Box<dyn Fn(&Path)>);

fn breaks() -> Vec<Break> {
    let overwrite = |from: u64, bytes: Vec<u8>| {
        move |file: &Path| {
            use std::os::unix::fs::FileExt;
            std::fs::File::options().write(true).open(file).unwrap().write_all_at(&bytes, from).unwrap();
        }
    };
    vec![
        ("empty", Box::new(|file| std::fs::write(file, "").unwrap())),
        ("text", Box::new(|file| std::fs::write(file, "this is no database\n".repeat(1_000)).unwrap())),
        ("header", Box::new(overwrite(0, vec![0; 100]))),
        ("pages", Box::new(overwrite(4_096, vec![0xa5; 60_000]))),
        (
            "half",
            Box::new(|file| {
                let file = std::fs::File::options().write(true).open(file).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }),
        ),
        ("another version", Box::new(|file| pragma(file, "user_version = 999"))),
        ("another program's", Box::new(|file| pragma(file, "application_id = 7"))),
        ("without a table", Box::new(|file| sql(file, "DROP TABLE chunks"))),
        ("without words", Box::new(|file| sql(file, "DROP TABLE text"))),
    ]
}

fn pragma(file: &Path, text: &str) {
    sql(file, &format!("PRAGMA {text}"));
}

fn sql(file: &Path, text: &str) {
    Connection::open(file).unwrap().execute_batch(text).unwrap();
}

/// A closed database, in a new folder each time so that no connection is open to it.
fn built(ground: &Ground, name: &str) -> PathBuf {
    let state = ground.folder.path().join(name);
    std::fs::create_dir(&state).unwrap();
    reindex(&harness_of(&ground.work(), &state));
    let moved = ground.folder.path().join(format!("{name} moved"));
    sql(&state.join("index.db"), "PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::create_dir(&moved).unwrap();
    std::fs::copy(state.join("index.db"), moved.join("index.db")).unwrap();
    moved
}

#[test]
fn a_broken_database_is_answered_for_set_aside_and_rebuilt() {
    let ground = Ground::new(PROJECT);
    for (name, break_it) in breaks() {
        let state = built(&ground, name);
        break_it(&state.join("index.db"));
        let harness = harness_of(&ground.work(), &state);
        let answer = search(&harness, "total_price");
        assert!(paths(&answer).contains(&"work:src/price.rs"), "{name}: {answer}");
        let source = answer["source"].as_str().unwrap();
        assert!(source == "index" || source.starts_with("grep"), "{name}: {answer}");
        // In the end it is whole again, and says what happened.
        let status = reindex(&harness);
        assert_eq!(
            (&status["freshness"], &status["files"]),
            (&json!("fresh"), &json!(6)),
            "{name}: {status}"
        );
        let answer = search(&harness, "total_price");
        assert_eq!(answer["source"], "index", "{name}: {answer}");
        assert_eq!(paths(&answer)[0], "work:src/price.rs", "{name}");
        if name != "empty" {
            assert!(state.join("index.db.corrupt").exists(), "{name}: nothing was set aside");
            assert!(status["notes"].to_string().contains("built anew"), "{name}: {status}");
        }
    }
}

#[test]
fn a_database_that_breaks_under_a_running_host_is_rebuilt() {
    let ground = Ground::new(PROJECT);
    let harness = ground.harness();
    reindex(&harness);
    sql(&ground.state().join("index.db"), "DROP TABLE chunks");
    let answer = search(&harness, "total_price");
    assert!(answer["source"].as_str().unwrap().starts_with("grep"), "{answer}");
    assert!(answer["freshness"].is_string(), "{answer}");
    assert_eq!(paths(&answer)[0], "work:src/price.rs");
    reindex(&harness);
    assert_eq!(search(&harness, "total_price")["source"], "index");
    // Somebody removes it.
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        std::fs::remove_file(ground.state().join(name)).unwrap();
    }
    reindex(&harness);
    assert_eq!(paths(&search(&harness, "total_price"))[0], "work:src/price.rs");
}

#[test]
fn a_folder_that_cannot_be_written_gives_a_degraded_answer() {
    if rustix::process::geteuid().is_root() {
        // Root writes anywhere: a file in the place of the folder does the same.
        let ground = Ground::new(PROJECT);
        std::fs::remove_dir(ground.state()).unwrap();
        std::fs::write(ground.state(), "").unwrap();
        degraded(&ground);
    }
    let ground = Ground::new(PROJECT);
    std::fs::set_permissions(ground.state(), std::fs::Permissions::from_mode(0o500)).unwrap();
    if !rustix::process::geteuid().is_root() {
        degraded(&ground);
    }
}

fn degraded(ground: &Ground) {
    let answer = search(&ground.harness(), "total_price");
    assert_eq!(answer["source"], "grep", "{answer}");
    assert!(answer["freshness"].as_str().unwrap().starts_with("stale: "), "{answer}");
    assert_eq!(paths(&answer)[0], "work:src/price.rs");
    let error = ground.harness().call::<crate::WhereUsed>(json!({"name": "total_price"})).unwrap_err();
    assert!(error.message().contains("search_files"), "{error}");
}

#[test]
fn what_a_hostile_index_names_is_opened_below_its_root_or_not_at_all() {
    let ground = Ground::new(&[("inside.rs", "fn marker_word() {}\n")]);
    std::fs::write(ground.folder.path().join("outside.rs"), "fn marker_word() { outside }\n").unwrap();
    std::os::unix::fs::symlink("../outside.rs", ground.work().join("link.rs")).unwrap();
    let harness = ground.harness();
    reindex(&harness);
    let file = ground.state().join("index.db");
    for path in ["../outside.rs", "link.rs", "/etc/hostname", ""] {
        Connection::open(&file).unwrap().execute("UPDATE files SET path = ?1", [path]).unwrap();
        let answer = search(&harness, "marker_word");
        assert!(!answer.to_string().contains("outside }"), "{path}: {answer}");
    }
    Connection::open(&file).unwrap().execute("UPDATE files SET path = 'inside.rs'", []).unwrap();
    assert_eq!(paths(&search(&harness, "marker_word")), ["work:inside.rs"]);
}
