//! Several writers at a time: threads, and processes that are copies of this test program.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::prelude::*;
use llmc_core::testing::Harness;
use rustix::fs::Mode;

use super::lock::{Blocker, Change, Locked};
use super::temporary::{Temporary, Way};
use super::{Job, Trouble, digest};
use crate::limits::MAX_WAIT_MS;
use crate::path::Place;
use crate::target::{Last, Target};
use crate::testing::Playground;
use crate::{AppendFile, EditFile, WriteFile};

/// Says what the other process does, see [`the_other_process`].
const TASK: &str = "LLMC_FS_TEST_TASK";
/// The directory that it does it in.
const DIR: &str = "LLMC_FS_TEST_DIR";
/// What it prints when it is ready.
const READY: &str = "the other process is ready";

/// Another process, and what it prints.
struct Other(Child, BufReader<ChildStdout>);

impl Other {
    /// Starts a copy of this program and waits until it is ready.
    fn start(task: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "write::tests::the_other_process", "--ignored", "--nocapture"])
            .env(TASK, task)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let is_ready = output.by_ref().lines().any(|line| line.unwrap().contains(READY));
        assert!(is_ready, "{task}: it ended early");
        Self(child, output)
    }

    /// Ends it as an accident would (`SIGKILL`).
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it has done its task.
    fn finish(mut self) {
        drop(self.0.stdin.take());
        let mut output = String::new();
        self.1.read_to_string(&mut output).unwrap();
        assert!(self.0.wait().unwrap().success(), "{output}");
    }
}

/// Run by [`Other::start`] only. Ends with the process that started it.
#[test]
#[ignore = "the other process of other tests"]
fn the_other_process() {
    let (Ok(task), Ok(dir)) = (std::env::var(TASK), std::env::var(DIR)) else { return };
    let harness = Harness::new().root("work", &dir, Access::Rw);
    match task.as_str() {
        "hold" => hold(&harness),
        "half" => half_written(Path::new(&dir)),
        "count" => {
            ready();
            count_up(&harness);
        }
        "append" => {
            ready();
            append_lines(&harness, "other");
        }
        _ => panic!("{task}"),
    }
}

fn ready() {
    println!("{READY}");
    std::io::stdout().flush().unwrap();
}

fn wait_for_the_end() {
    ready();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Holds the lock of `f`.
fn hold(harness: &Harness) {
    let ctx = harness.context();
    let place = Place::parse("f", ctx.roots().unwrap()).unwrap();
    let job = Job::new("edit_file", "edit", &place, &ctx);
    let target = Target::for_change("edit", &place, Last::Follow).unwrap();
    let _held = Locked::take(&job, &target, Change::Replace).unwrap().unwrap();
    wait_for_the_end();
}

/// Stops where a temporary file has a name.
fn half_written(dir: &Path) {
    let dir = File::open(dir).unwrap();
    let mut temporary = Temporary::new(dir.as_fd(), OsStr::new("f"), Mode::RUSR, Way::Unnamed).unwrap();
    temporary.name(OsStr::new("f")).unwrap();
    wait_for_the_end();
}

const ROUNDS: usize = 25;

/// Adds to the number in `f`, as an agent would: read, edit, and begin anew if somebody else was faster.
fn count_up(harness: &Harness) {
    let mut done = 0;
    while done < ROUNDS {
        let ctx = harness.context();
        let place = Place::parse("f", ctx.roots().unwrap()).unwrap();
        let (file, _) = crate::root::open_file(&place).unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        let number: usize = text.trim().parse().unwrap();
        let sha256 = digest::Digest::of(text.as_bytes()).hex();
        let edits = json!([{"old": number.to_string(), "new": (number + 1).to_string()}]);
        let answer =
            harness.call::<EditFile>(json!({"path": "f", "edits": edits, "expected_sha256": sha256}));
        match answer {
            Ok(_) => done += 1,
            Err(error) => assert!(error.message().contains("not the expected ones"), "{error}"),
        }
    }
}

fn append_lines(harness: &Harness, name: &str) {
    let long = "x".repeat(5000);
    for number in 0..ROUNDS {
        harness
            .call::<AppendFile>(json!({"path": "f", "content": format!("{name} {number} {long}\n")}))
            .unwrap();
    }
}

#[test]
fn two_processes_of_two_threads_lose_no_edit() {
    let play = Playground::new();
    play.file("f", "0\n");
    let other = Other::start("count", &play.path(""));
    thread::scope(|scope| {
        scope.spawn(|| count_up(&play.harness));
        scope.spawn(|| count_up(&play.harness));
    });
    other.finish();
    assert_eq!(fs::read_to_string(play.path("f")).unwrap(), format!("{}\n", 3 * ROUNDS));
    assert_eq!(fs::read_dir(play.path("")).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn two_processes_of_two_threads_append_whole_lines() {
    let play = Playground::new();
    let other = Other::start("append", &play.path(""));
    thread::scope(|scope| {
        scope.spawn(|| append_lines(&play.harness, "one"));
        scope.spawn(|| append_lines(&play.harness, "two"));
    });
    other.finish();
    let text = fs::read_to_string(play.path("f")).unwrap();
    for name in ["one", "two", "other"] {
        let numbers: Vec<usize> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_suffix(&"x".repeat(5000))?.trim().parse().ok())
            .collect();
        assert_eq!(numbers, Vec::from_iter(0..ROUNDS), "{name}");
    }
    assert_eq!(text.lines().count(), 3 * ROUNDS);
}

#[test]
fn creators_race_and_one_wins() {
    for _ in 0..20 {
        let play = Playground::new();
        let create = |number: usize| {
            play.harness.call::<WriteFile>(json!({"path": "d/f", "content": number.to_string()}))
        };
        let winners: Vec<usize> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|number| scope.spawn(move || create(number).map(|_| number))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
        });
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(fs::read_to_string(play.path("d/f")).unwrap(), winners[0].to_string());
        assert_eq!(fs::read_dir(play.path("d")).unwrap().count(), 1);
    }
}

#[test]
fn of_two_who_expect_the_same_one_wins() {
    let play = Playground::new();
    play.file("f", "start");
    let sha256 = digest::Digest::of(b"start").hex();
    let call = |content: &str| {
        play.harness.call::<WriteFile>(json!({"path": "f", "content": content, "expected_sha256": sha256}))
    };
    let (one, two) = thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| call("one")), scope.spawn(|| call("two")));
        (one.join().unwrap(), two.join().unwrap())
    });
    let loser = match (one, two) {
        (Ok(_), Err(loser)) | (Err(loser), Ok(_)) => loser,
        both => panic!("{both:?}"),
    };
    assert!(loser.message().contains("not the expected ones"), "{loser}");
}

#[test]
fn a_busy_file_names_who_is_at_work_and_a_killed_holder_loses_its_lock() {
    let play = Playground::new();
    play.file("f", "text");
    let other = Other::start("hold", &play.path(""));
    let pid = other.0.id();
    let hurried =
        Harness::new().root("work", play.path(""), Access::Rw).time_left(Duration::from_millis(400));
    let began = Instant::now();
    let error =
        hurried.call::<WriteFile>(json!({"path": "f", "content": "new", "overwrite": true})).unwrap_err();
    assert!(error.message().contains(&format!("busy: process {pid} has locked it")), "{error}");
    assert!(error.message().contains("ms of waiting"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(fs::read(play.path("f")).unwrap(), b"text");
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| play.harness.call::<AppendFile>(json!({"path": "f", "content": " more"})));
        thread::sleep(Duration::from_millis(100));
        other.kill();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(fs::read(play.path("f")).unwrap(), b"text more");
}

#[test]
fn waiting_ends_by_itself() {
    let play = Playground::new();
    play.file("f", "text");
    let ctx = play.harness.context();
    let place = Place::parse("f", ctx.roots().unwrap()).unwrap();
    let job = Job::new("edit_file", "edit", &place, &ctx);
    let began = Instant::now();
    let error = job.settle(|| Err::<(), _>(Trouble::Again(Blocker::Restless))).unwrap_err();
    assert!(error.message().starts_with("cannot edit `work:f`: the file keeps being replaced"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(MAX_WAIT_MS), "{:?}", began.elapsed());
    play.harness.cancel();
    let mut attempts = 0;
    let stopped = job.settle(|| {
        attempts += 1;
        Err::<(), _>(Trouble::Again(Blocker::Restless))
    });
    assert_eq!((stopped.unwrap_err().code(), attempts), (llmc_core::code::CANCELLED, 0));
}

#[test]
fn a_name_that_a_killed_writer_left_goes_with_the_next_write() {
    let play = Playground::new();
    let names = || fs::read_dir(play.path("")).unwrap().count();
    let other = Other::start("half", &play.path(""));
    assert_eq!(names(), 1);
    play.ok::<WriteFile>(json!({"path": "g", "content": ""}));
    assert_eq!(names(), 2, "the writer lives");
    other.kill();
    assert_eq!(names(), 2);
    play.ok::<WriteFile>(json!({"path": "h", "content": ""}));
    assert_eq!(names(), 2, "the writer is gone, and so is what it left");
}
