//! Two servers, two agents, one file: nothing is lost, nothing is torn, and nobody waits for the dead.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::ground::{Call, Ground, Refusal, outcome, setup};
use crate::support::{Called, Setup};

/// Calls of each server, and how many are under way together.
const CALLS: usize = 200;
const WINDOW: usize = 25;
/// Longest time for one who does not have to wait.
const SOON: Duration = Duration::from_secs(2);

/// Two servers over one root.
fn pair() -> [Ground; 2] {
    let one = Ground::start(setup());
    let root = one.path("").components().collect::<PathBuf>();
    let config = format!(
        "[roots]\nwork = {{ path = '{}', access = 'rw' }}\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}",
        root.display()
    );
    let other = Ground::start_with(Setup::new("").with_text(&config), vec![], vec![]);
    [one, other]
}

fn end([one, other]: [Ground; 2]) {
    other.end();
    one.end();
}

/// Whether a call was refused only because others were at work for too long: then it is to be made again.
fn is_busy(called: &Called) -> bool {
    called.is_error()
        && called.text().contains("nothing was changed in")
        && called.text().contains("try again")
}

/// Makes all calls of both servers side by side, again where it was busy. Answers are checked by `check`.
fn run(servers: &mut [Ground; 2], calls: [Vec<Call>; 2], mut check: impl FnMut(&Call, &Called)) {
    let mut left = calls;
    let begun = Instant::now();
    while left.iter().any(|calls| !calls.is_empty()) {
        assert!(
            begun.elapsed() < Duration::from_secs(100),
            "{} and {} calls are left",
            left[0].len(),
            left[1].len()
        );
        let windows = left.each_mut().map(|calls| calls.drain(..calls.len().min(WINDOW)).collect::<Vec<_>>());
        let [one, other] = servers;
        let (ids, other_ids) = (one.send(&windows[0]), other.send(&windows[1]));
        let answers = [one.answers(&windows[0], &ids), other.answers(&windows[1], &other_ids)];
        for (side, (window, answers)) in windows.into_iter().zip(answers).enumerate() {
            for (call, called) in window.into_iter().zip(answers) {
                if is_busy(&called) { left[side].push(call) } else { check(&call, &called) }
            }
        }
    }
}

/// A line of some length that is easily recognised.
fn line(side: usize, number: usize) -> String {
    format!("server {side} call {number:4} {}\n", "x".repeat(number * 37 % 3000))
}

#[test]
fn appended_lines_and_edited_places_are_all_there() {
    let mut servers = pair();
    let slot = |side: usize, number: usize| format!("slot {side} {number:4}: free\n");
    let slots: String =
        (0..2).flat_map(|side| (0..CALLS / 2).map(move |number| slot(side, number))).collect();
    servers[0].file("shared.txt", &slots);
    let calls = [0, 1].map(|side| {
        (0..CALLS)
            .map(|number| {
                if number % 2 == 0 {
                    return ("append_file", json!({"path": "shared.txt", "content": line(side, number)}));
                }
                let old = slot(side, number / 2);
                let edit = json!({"old": old, "new": old.replace("free", "taken")});
                ("edit_file", json!({"path": "shared.txt", "edits": [edit]}))
            })
            .collect()
    });
    run(&mut servers, calls, |(tool, arguments), called| {
        assert!(!called.is_error(), "{tool} {arguments}: {called:?}");
    });
    let text = servers[0].text("shared.txt");
    assert!(!text.contains("free"), "edits are lost");
    let (edited, appended): (Vec<&str>, Vec<&str>) =
        text.split_inclusive('\n').partition(|line| line.starts_with("slot "));
    assert_eq!(edited.concat(), slots.replace("free", "taken"));
    let expected: BTreeSet<String> =
        (0..2).flat_map(|side| (0..CALLS).step_by(2).map(move |number| line(side, number))).collect();
    assert_eq!(appended.len(), expected.len(), "lines are lost or doubled");
    assert_eq!(appended.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    end(servers);
}

/// A file of one letter, whose length depends on it.
fn whole(side: usize, number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from((side * 13 + number) % 26).unwrap());
    letter.to_string().repeat(20_000 + 1000 * (usize::from(letter as u8) - usize::from(b'a')))
}

fn is_whole(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let length = 20_000 + 1000 * (usize::from(first as u8) - usize::from(b'a'));
    text.len() == length && text.chars().all(|letter| letter == first)
}

#[test]
fn a_file_that_many_write_is_always_a_whole_one() {
    let mut servers = pair();
    servers[0].file("shared.txt", whole(0, 0));
    let path = servers[0].path("shared.txt");
    let calls = [0, 1].map(|side| {
        (0..CALLS)
            .map(|number| {
                let content = whole(side, number);
                ("write_file", json!({"path": "shared.txt", "content": content, "overwrite": true}))
            })
            .collect()
    });
    let stop = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&path).expect("the file is always there");
                assert!(is_whole(&text), "torn: {} bytes", text.len());
                reads += 1;
            }
            reads
        });
        run(&mut servers, calls, |_, called| {
            assert!(!called.is_error(), "{called:?}");
        });
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 100, "only {reads} reads");
    assert!(is_whole(&servers[0].text("shared.txt")));
    end(servers);
}

/// Of all who make a file that is not there yet, one does; the others are told what is there.
#[test]
fn one_of_many_creators_wins() {
    const RIVALS: usize = 4;
    let mut servers = pair();
    for round in 0..150 {
        let path = format!("new-{round}/file.txt");
        let calls = [0, 1].map(|side| {
            let by = |number: usize| json!({"path": path, "content": format!("by {side} {number}")});
            (0..RIVALS).map(|number| ("write_file", by(number))).collect::<Vec<Call>>()
        });
        let ids = [0, 1].map(|side| servers[side].send(&calls[side]));
        let mut winners = Vec::new();
        for side in 0..2 {
            for (call, called) in calls[side].iter().zip(servers[side].answers(&calls[side], &ids[side])) {
                match outcome(&called) {
                    Ok(_) => winners.push(call.1["content"].as_str().unwrap().to_owned()),
                    Err(Refusal { text, .. }) => {
                        assert!(text.contains("there is such a file") || is_busy(&called), "{path}: {text}");
                    }
                }
            }
        }
        assert_eq!(winners, [servers[0].text(&path)], "{path}");
    }
    end(servers);
}

fn sha256(ground: &mut Ground, path: &str) -> String {
    let dry = json!({"path": path, "edits": [{"old": "count", "new": "number"}], "dry_run": true});
    ground.ok("edit_file", dry)["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn who_read_an_older_version_loses() {
    let mut servers = pair();
    servers[0].file("shared.txt", "count: 0\n");
    let stale = sha256(&mut servers[0], "shared.txt");
    let write = |content: &str, sha256: &str| json!({"path": "shared.txt", "content": content, "expected_sha256": sha256});
    servers[1].ok("write_file", write("count: 1\n", &stale));
    for (tool, arguments) in [
        ("write_file", write("count: 7\n", &stale)),
        ("append_file", write("count: 7\n", &stale)),
        (
            "edit_file",
            json!({"path": "shared.txt", "edits": [{"old": "1", "new": "7"}], "expected_sha256": stale}),
        ),
    ] {
        let refusal = servers[0].refused(tool, arguments);
        assert!(refusal.text.contains("not the expected ones"), "{tool}: {refusal:?}");
    }
    assert_eq!(servers[0].text("shared.txt"), "count: 1\n");
    let fresh = sha256(&mut servers[0], "shared.txt");
    servers[0].ok("write_file", write("count: 2\n", &fresh));
    assert_eq!(servers[0].text("shared.txt"), "count: 2\n");
    end(servers);
}

/// Both read, add one and write back if nobody else did: every success counts exactly once.
#[test]
fn a_counter_of_two_agents_misses_nothing() {
    const ROUNDS: usize = 60;
    let mut servers = pair();
    servers[0].file("shared.txt", "count: 0\n");
    let (mut successes, mut losses) = (0, 0);
    for round in 0..ROUNDS {
        let text = servers[0].text("shared.txt");
        let count: u64 = text["count: ".len()..].trim().parse().unwrap();
        let seen = servers.each_mut().map(|server| (sha256(server, "shared.txt"), count));
        let calls: Vec<Call> = seen
            .iter()
            .map(|(sha256, count)| {
                let content = format!("count: {}\n", count + 1);
                let write = json!({"path": "shared.txt", "content": content, "expected_sha256": sha256});
                ("write_file", write)
            })
            .collect();
        let ids = [0, 1].map(|side| servers[side].send(&calls[side..=side]));
        for side in 0..2 {
            let called = &servers[side].answers(&calls[side..=side], &ids[side])[0];
            match outcome(called) {
                Ok(_) => successes += 1,
                Err(Refusal { text, .. }) => {
                    assert!(
                        text.contains("not the expected ones") || is_busy(called),
                        "round {round}: {text}"
                    );
                    losses += 1;
                }
            }
        }
    }
    assert_eq!(servers[0].text("shared.txt"), format!("count: {successes}\n"));
    assert!(successes >= ROUNDS && losses > 0, "{successes} successes and {losses} losses");
    end(servers);
}

/// Whether somebody holds the lock of a file.
fn is_locked(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Stops a host while it holds the lock of a file. The contents stay the same.
fn stop_in_the_middle(server: &mut Ground, path: &str) -> (u32, Vec<Call>, Vec<u64>) {
    let file = server.path(path);
    for _ in 0..200 {
        let host = server.host();
        let edit = json!([{"old": "first", "new": "edited"}]);
        let calls = vec![("edit_file", json!({"path": path, "edits": edit, "dry_run": true}))];
        let ids = server.send(&calls);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            if is_locked(&file) {
                signal(host, Signal::STOP);
                std::thread::sleep(Duration::from_millis(20));
                if is_locked(&file) {
                    return (host, calls, ids);
                }
                signal(host, Signal::CONT);
                break;
            }
        }
        server.answers(&calls, &ids);
    }
    panic!("the lock was never seen");
}

#[test]
fn a_killed_holder_of_a_lock_blocks_nobody() {
    let mut servers = pair();
    let text = format!("first\n{}", "line of a large file\n".repeat(200_000));
    servers[0].file("shared.txt", &text);
    let (host, held_calls, held) = stop_in_the_middle(&mut servers[0], "shared.txt");

    // As long as the holder lives, the other one waits, and is told for whom in the end.
    let append: Vec<Call> = vec![("append_file", json!({"path": "shared.txt", "content": "last\n"}))];
    let refusal = servers[1].refused(append[0].0, append[0].1.clone());
    assert!(refusal.text.contains("the file is busy") && refusal.text.contains("try again"), "{refusal:?}");
    assert_eq!(servers[0].text("shared.txt"), text);
    // Other files are nobody's business.
    servers[1].ok("write_file", json!({"path": "other.txt", "content": "other"}));

    let ids = servers[1].send(&append);
    assert!(!servers[1].server.is_answered_within(ids[0], Duration::from_millis(300)), "the lock is held");
    signal(host, Signal::KILL);
    let begun = Instant::now();
    let called = &servers[1].answers(&append, &ids)[0];
    assert!(!called.is_error(), "{called:?}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(servers[0].answers(&held_calls, &held)[0].error().contains("SIGKILL"));
    assert_eq!(servers[0].text("shared.txt"), format!("{text}last\n"));
    // And the first server goes on as well.
    servers[0].ok("append_file", json!({"path": "shared.txt", "content": "very last\n"}));
    end(servers);
}
