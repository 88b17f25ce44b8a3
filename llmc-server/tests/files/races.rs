//! Whoever changes the tree between two steps of a tool leads it nowhere: directories, files and parents are exchanged
//! with links to outside, and to what is protected, all the time while every tool works through them.
//!
//! Behind the tools there is a jail, which would stop most of what they let through; but it knows nothing of protected
//! paths. That the tools alone lead nowhere is tested in their own crate, where there is no jail.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat, renameat_with};
use serde_json::json;

use crate::ground::{Call, Ground, SECRET, outcome, setup};
use crate::snapshot;
use crate::support::Setup;
use crate::without::{user_namespaces, without};

/// Exchanges over a run, and calls of each tool.
const MIN_SWAPS: u64 = 100_000;
const MIN_CALLS: u64 = 80;
/// Shortest and longest time of a run.
const TIME: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(17)];
/// Calls that are under way together.
const BATCH: usize = 60;

/// What is exchanged: a directory, a file, a directory further down, and one that is being deleted, each with a link to
/// outside; the last two with links to what is protected.
const PAIRS: [(&str, &str); 6] = [
    ("dir", "trap"),
    ("file.txt", "file-trap"),
    ("kept/dir", "kept/trap"),
    ("gone/dir", "gone/trap"),
    ("safe", "safe-trap"),
    ("deep/safe", "deep/trap"),
];

/// Puts everything in place that calls or exchanges have taken away.
fn tidy(work: &Path) {
    let outside = work.parent().unwrap().join("outside");
    let has_dir = |parent: &str| {
        let entries = fs::read_dir(work.join(parent)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count() > 0
    };
    let write = |path: &str| {
        let path = work.join(path);
        // One of the names may be a link just now: nothing is written by the name of a pair.
        let _ = fs::create_dir_all(path.parent().unwrap());
        let _ = fs::write(path, "honest\n");
    };
    let link = |path: &str, target: &Path| drop(symlink(target, work.join(path)));
    write("a.txt");
    if !has_dir("gone") {
        write("made/dir/sub/f.txt");
        write("made/dir/f.txt");
        fs::create_dir_all(work.join("gone")).unwrap();
        let _ = renameat(CWD, work.join("made/dir"), CWD, work.join("gone/dir"));
    }
    link("gone/trap", &outside);
    link("gone/dir", &outside);
}

/// The tree before the first exchange.
fn plant(work: &Path) {
    let outside = work.parent().unwrap().join("outside");
    let files = [
        ["dir/f.txt", "dir/sub/f.txt", "file.txt"],
        ["kept/dir/f.txt", "kept/dir/sub/f.txt", "moving/in/f.txt"],
        ["safe/config", "safe/hooks/x", "moving/f.txt"],
        ["deep/safe/config", "deep/safe/hooks/x", "copies/f.txt"],
        [".git/config", ".git/hooks/x", "moved/f.txt"],
    ];
    for path in files.as_flattened() {
        fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
        fs::write(work.join(path), "honest\n").unwrap();
    }
    symlink(&outside, work.join("trap")).unwrap();
    symlink("../outside/f.txt", work.join("file-trap")).unwrap();
    symlink("../../outside", work.join("kept/trap")).unwrap();
    symlink(".git", work.join("safe-trap")).unwrap();
    symlink("../.git", work.join("deep/trap")).unwrap();
    tidy(work);
}

/// Exchanges all pairs until it is told to stop; counts what worked.
fn swap(work: &Path, stop: &AtomicBool, swaps: &AtomicU64) {
    let pairs = PAIRS.map(|(one, other)| (work.join(one), work.join(other)));
    let (inside, outside) = (work.join("moving/in"), work.parent().unwrap().join("away/in"));
    while !stop.load(Ordering::Relaxed) {
        for (one, other) in &pairs {
            let swapped = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
            swaps.fetch_add(swapped.is_ok().into(), Ordering::Relaxed);
        }
        // A directory goes out and comes back while `..` is taken in it.
        for (from, to) in [(&inside, &outside), (&outside, &inside)] {
            swaps.fetch_add(renameat(CWD, from, CWD, to).is_ok().into(), Ordering::Relaxed);
        }
    }
}

/// Calls of every tool through what is exchanged. `n` makes the names of new things unique.
fn calls(n: usize) -> Vec<Call> {
    let (dir, file) = [("dir", "file.txt"), ("kept/dir", "kept/dir/f.txt"), ("trap", "file-trap")][n % 3];
    let below = |path: &str| format!("{dir}/{path}");
    vec![
        ("read_file", json!({"path": below("f.txt")})),
        ("read_file", json!({"path": file, "encoding": "base64"})),
        ("read_file", json!({"path": format!("{dir}/../{dir}/sub/../f.txt")})),
        ("read_file", json!({"path": "moving/in/../f.txt"})),
        ("read_file", json!({"path": "moving/in/../../a.txt"})),
        ("read_files", json!({"paths": [below("sub/f.txt"), file, below("f.txt"), "moving/in/../f.txt"]})),
        ("list_dir", json!({"path": dir, "hidden": true, "with_sizes": true})),
        ("list_dir", json!({"path": "moving/in/.."})),
        ("tree", json!({"path": below("sub"), "hidden": true})),
        ("tree", json!({"depth": 6, "hidden": true, "ignored": true})),
        ("stat", json!({"path": below("f.txt")})),
        ("stat", json!({"path": file})),
        ("find_files", json!({"path": dir, "newest_first": true, "hidden": true})),
        ("find_files", json!({"pattern": "*", "hidden": true})),
        ("search_files", json!({"path": dir, "pattern": "honest"})),
        ("search_files", json!({"path": file, "pattern": "."})),
        ("search_files", json!({"pattern": "honest|secret", "hidden": true, "context": 3})),
        ("write_file", json!({"path": below("f.txt"), "content": "honest\n", "overwrite": true})),
        ("write_file", json!({"path": below(&format!("new/{n}/x")), "content": "honest\n"})),
        ("write_file", json!({"path": file, "content": "honest\n", "overwrite": true})),
        ("write_file", json!({"path": "moving/in/../f.txt", "content": "honest\n", "overwrite": true})),
        (
            "write_file",
            json!({"path": format!("moving/in/../../a-{}", n % 5), "content": "x", "overwrite": true}),
        ),
        ("append_file", json!({"path": below("f.txt"), "content": "honest\n"})),
        ("append_file", json!({"path": below(&format!("log-{n}")), "content": "honest\n"})),
        ("append_file", json!({"path": file, "content": "honest\n"})),
        ("edit_file", json!({"path": below("f.txt"), "edits": [{"old": "honest\n", "new": "edited\n"}]})),
        ("edit_file", json!({"path": below("f.txt"), "edits": [{"old": "edited\n", "new": "honest\n"}]})),
        ("edit_file", json!({"path": file, "edits": [{"old": "honest", "new": "honest honest"}]})),
        ("create_dir", json!({"path": below(&format!("made-{n}/deep"))})),
        ("create_dir", json!({"path": format!("moving/in/../made-{}", n % 5)})),
        ("move_path", json!({"from": below("f.txt"), "to": format!("moved/{n}")})),
        ("move_path", json!({"from": format!("moved/{}", n.saturating_sub(1)), "to": below("f.txt")})),
        ("move_path", json!({"from": "a.txt", "to": below("a.txt"), "overwrite": true})),
        ("move_path", json!({"from": below("a.txt"), "to": "a.txt"})),
        ("copy_path", json!({"from": below("f.txt"), "to": format!("copies/f-{n}")})),
        ("copy_path", json!({"from": dir, "to": format!("copies/d-{n}")})),
        ("copy_path", json!({"from": "a.txt", "to": below(&format!("copy-{n}"))})),
        ("copy_path", json!({"from": "kept", "to": below(&format!("kept-{n}"))})),
        ("delete_path", json!({"path": below(&format!("made-{}", n.saturating_sub(3))), "recursive": true})),
        ("delete_path", json!({"path": below("new"), "recursive": true})),
        ("delete_path", json!({"path": below(&format!("kept-{}", n.saturating_sub(3))), "recursive": true})),
        ("delete_path", json!({"path": below(&format!("copy-{}", n.saturating_sub(3)))})),
        ("delete_path", json!({"path": "gone/dir", "recursive": true})),
        ("delete_path", json!({"path": "copies", "recursive": true})),
        ("create_dir", json!({"path": "copies"})),
    ]
}

/// Calls that change something where, for moments, only what is protected is.
fn calls_to_protected(n: usize) -> Vec<Call> {
    let dir = if n.is_multiple_of(2) { "safe" } else { "deep/safe" };
    let below = |path: &str| format!("{dir}/{path}");
    vec![
        ("write_file", json!({"path": below("config"), "content": "honest\n", "overwrite": true})),
        ("write_file", json!({"path": below(&format!("hooks/{n}")), "content": "honest\n"})),
        ("write_file", json!({"path": below(&format!("new/{n}/x")), "content": "honest\n"})),
        ("append_file", json!({"path": below("config"), "content": "honest\n"})),
        ("append_file", json!({"path": below(&format!("log-{n}")), "content": "honest\n"})),
        ("edit_file", json!({"path": below("hooks/x"), "edits": [{"old": "honest", "new": "edited"}]})),
        ("edit_file", json!({"path": below("hooks/x"), "edits": [{"old": "edited", "new": "honest"}]})),
        ("create_dir", json!({"path": below(&format!("hooks/made-{n}"))})),
        ("copy_path", json!({"from": "a.txt", "to": below(&format!("hooks/copy-{n}"))})),
        ("move_path", json!({"from": below("hooks/x"), "to": format!("moved/hook-{n}")})),
        ("move_path", json!({"from": format!("moved/hook-{n}"), "to": below("hooks/x"), "overwrite": true})),
        ("delete_path", json!({"path": below(&format!("hooks/{}", n.saturating_sub(2)))})),
        ("delete_path", json!({"path": below("new"), "recursive": true})),
    ]
}

/// Names and contents of what is protected.
fn protected(work: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = snapshot::take(&work.join(".git"), &[]);
    all.into_iter().map(|(path, facts)| (path, facts.contents)).collect()
}

/// What happened to the calls of a tool.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    done: u64,
    led_out: u64,
    protected: u64,
    failed: u64,
}

fn race(setup: Setup) {
    let (work, away) = (setup.work("").components().collect::<PathBuf>(), setup.folder.path().join("away"));
    fs::create_dir(&away).unwrap();
    fs::write(away.join("f.txt"), SECRET).unwrap();
    let mut ground = Ground::start_with(setup, vec![work.clone()], vec![away.clone()]);
    plant(&work);
    let before = protected(&work);
    assert_eq!(before.len(), 4);

    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| swap(&work, &stop, &swaps));
        let _stopped = Stop(&stop);
        let mut n = 0;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                batch.extend(calls(n));
                batch.extend(calls_to_protected(n));
                n += 1;
            }
            for ((tool, _), called) in batch.iter().zip(ground.batch(&batch)) {
                let tally = tallies.entry(tool).or_default();
                match outcome(&called) {
                    Ok(_) => tally.done += 1,
                    Err(refusal) if refusal.is_outside() => tally.led_out += 1,
                    Err(refusal) if refusal.text.contains("is protected") => tally.protected += 1,
                    Err(_) => tally.failed += 1,
                }
            }
            tidy(&work);
            let all = |tally: &Tally| tally.done + tally.led_out + tally.protected + tally.failed;
            let has_enough = swaps.load(Ordering::Relaxed) >= MIN_SWAPS
                && tallies.values().all(|tally| all(tally) >= MIN_CALLS);
            if begun.elapsed() > TIME[1] || has_enough && begun.elapsed() > TIME[0] {
                break;
            }
        }
    });
    let swaps = swaps.into_inner();
    eprintln!("{swaps} exchanges in {:?}: {tallies:?}", begun.elapsed());
    assert!(swaps >= MIN_SWAPS, "only {swaps} exchanges");
    for (tool, tally) in &tallies {
        // Both sides: some calls met the directory, others the link.
        assert!(tally.done > 0 && tally.led_out > 0, "{tool}: {tally:?}");
        let is_tried = calls_to_protected(0).iter().any(|(tried, _)| tried == tool);
        assert_eq!(tally.protected > 0, is_tried, "{tool}: {tally:?}");
    }
    assert_eq!(protected(&work), before);
    // Nothing was put where the directory was for a moment.
    let names = fs::read_dir(&away).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name != "in").collect::<Vec<_>>(), ["f.txt"]);
    assert_eq!(fs::read_to_string(away.join("f.txt")).unwrap(), SECRET);
    ground.end();
}

/// Stops the other thread, also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn exchanged_directories_and_files_lead_nowhere() {
    race(setup());
}

/// Without namespaces the links lead to files that the host could name, but for Landlock and the way of opening.
#[test]
fn nor_where_hosts_have_no_namespaces() {
    race(setup().prepare(without(&user_namespaces())));
}

/// The control: who looks first and opens then is led out within moments.
#[test]
fn the_race_would_be_lost_by_others() {
    let ground = Ground::new();
    let work: PathBuf = ground.path("").components().collect();
    plant(&work);
    fs::create_dir(ground.outside().join("away")).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let lost = thread::scope(|scope| {
        scope.spawn(|| swap(&work, &stop, &swaps));
        let _stopped = Stop(&stop);
        let begun = Instant::now();
        let mut lost = 0;
        while lost == 0 && begun.elapsed() < Duration::from_secs(10) {
            let file = work.join("dir/f.txt");
            let is_inside = file.canonicalize().is_ok_and(|real| real.starts_with(&work));
            lost += u32::from(is_inside && fs::read_to_string(&file).is_ok_and(|text| text.contains(SECRET)));
        }
        lost
    });
    assert!(lost > 0, "{swaps:?} exchanges led nobody out");
}
