//! Hosts that are killed in the middle of a write: each file is the old one or the new one, and what the killed left
//! behind goes with the next write.
//!
//! A host is stopped first, a random time after the first lock was seen, to see who holds the lock of which file: only
//! such calls count as hit.

use std::fs::File;
use std::ops::AddAssign;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::ground::{Call, Ground, setup};
use crate::random::Random;
use crate::support::{Setup, eventually};

/// Calls that are hit, by tool; a write is over so fast that most kills miss it.
const MIN_WRITES_HIT: usize = 180;
const MIN_EDITS_HIT: usize = 320;
/// When to give up.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Threads of the test, each with servers and files of its own.
const WORKERS: u64 = 2;
/// Files that are edited at the same time, as many as a plugin has workers by default, and files that are written: large
/// messages come one after the other, and few of them are under way together.
const FILES: usize = 8;
const WRITTEN_FILES: usize = 3;
/// Hosts that are killed before the server is replaced too: it waits longer after each of them.
const KILLS_PER_SERVER: u64 = 3;
/// Lines of a file; each has 32 bytes.
const LINES: usize = 8000;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Write,
    Edit,
}

impl Tool {
    /// How many calls are made together, and the longest time from the first lock to the kill.
    fn plan(self) -> (usize, Duration) {
        match self {
            Self::Write => (WRITTEN_FILES, Duration::from_millis(3)),
            Self::Edit => (FILES, Duration::from_millis(60)),
        }
    }
}

/// Contents of a generation: every line tells which one it is, the first and the last also for `edit_file`.
fn contents(file: usize, generation: u64) -> String {
    let mark = format!("generation {generation:8} of {file}\n");
    let body = (0..LINES).map(|line| format!("line {line:8} of file {file:8} ..\n"));
    [mark.clone()].into_iter().chain(body).chain([mark]).collect()
}

/// A call that makes the next generation of a file.
fn call(tool: Tool, dir: &str, file: usize, generation: u64) -> Call {
    let path = format!("{dir}/{file}.txt");
    match tool {
        Tool::Write => (
            "write_file",
            json!({"path": path, "content": contents(file, generation + 1), "overwrite": true}),
        ),
        Tool::Edit => {
            let mark = |generation: u64| format!("generation {generation:8} of {file}\n");
            let edit = json!({"old": mark(generation), "new": mark(generation + 1), "expected_count": 2});
            ("edit_file", json!({"path": path, "edits": [edit]}))
        }
    }
}

/// What the kills did.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    kills: usize,
    /// Calls that held the lock of their file when they were stopped, by tool.
    writes_hit: usize,
    edits_hit: usize,
    /// Unanswered calls after which the file was the old one, and the new one.
    old: usize,
    new: usize,
    /// Temporary files that were left.
    left: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.writes_hit += other.writes_hit;
        self.edits_hit += other.edits_hit;
        self.old += other.old;
        self.new += other.new;
        self.left += other.left;
    }
}

impl Tally {
    fn is_enough(&self) -> bool {
        self.writes_hit >= MIN_WRITES_HIT && self.edits_hit >= MIN_EDITS_HIT
    }
}

/// Another server over the same root.
fn server_over(root: &Path) -> Ground {
    let config = format!(
        "[roots]\nwork = {{ path = '{}', access = 'rw' }}\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}",
        root.display()
    );
    Ground::start_with(Setup::new("").log_filter("warn").with_text(&config), vec![], vec![])
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until all threads of a process stand still.
fn wait_until_stopped(pid: u32) {
    eventually("the host stops", || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks
            .map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default())
            .all(|stat| stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['T', 'Z', 'X'])))
    });
}

/// Whether somebody has locked a file.
fn is_locked(file: &Path) -> bool {
    let file = File::open(file).unwrap();
    flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Waits until one of these files is locked, without touching them; gives up when that has been so long ago that it
/// was missed.
fn wait_for_lock(files: &[PathBuf]) {
    let inodes: Vec<String> =
        files.iter().map(|file| format!(":{} ", file.metadata().unwrap().ino())).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        if inodes.iter().any(|inode| locks.contains(inode)) {
            return;
        }
    }
}

fn temporary_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".llmc-")).collect()
}

/// The files of one thread and which generation each of them is.
struct Files {
    /// The directory that they are in, and its name in the root.
    dir: PathBuf,
    name: String,
    generations: [u64; FILES],
    random: Random,
}

impl Files {
    fn path(&self, file: usize) -> PathBuf {
        self.dir.join(format!("{file}.txt"))
    }

    /// Kills hosts of a server, one after the other.
    fn kill_some(&mut self, root: &Path, total: &Mutex<Tally>) {
        let mut server = server_over(root);
        for _ in 0..KILLS_PER_SERVER {
            let wants_edits = total.lock().unwrap().edits_hit < MIN_EDITS_HIT;
            let wants_writes = total.lock().unwrap().writes_hit < MIN_WRITES_HIT;
            let is_edit = if wants_edits && wants_writes { self.random.percent(50) } else { wants_edits };
            let tally = self.kill_once(&mut server, if is_edit { Tool::Edit } else { Tool::Write });
            *total.lock().unwrap() += tally;
        }
        server.server.stop();
    }

    /// Starts a call for each file, kills the host in the middle, and looks what became of the files.
    fn kill_once(&mut self, ground: &mut Ground, tool: Tool) -> Tally {
        // By this the host is known to be there again; the server may not have noticed yet that it is gone.
        eventually("the host is there", || !ground.call("stat", json!({"path": "."})).is_error());
        let host = ground.host();
        let (count, longest) = tool.plan();
        let delay = self.random.below(longest.as_micros().try_into().unwrap());
        let paths: Vec<PathBuf> = (0..count).map(|file| self.path(file)).collect();
        let calls: Vec<Call> =
            (0..count).map(|file| call(tool, &self.name, file, self.generations[file])).collect();
        let ids = std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for_lock(&paths);
                std::thread::sleep(Duration::from_micros(delay.try_into().unwrap()));
                signal(host, Signal::STOP);
                wait_until_stopped(host);
            });
            ground.send(&calls)
        });
        let hits = paths.iter().filter(|path| is_locked(path)).count();
        let mut tally = Tally { kills: 1, ..Tally::default() };
        *if tool == Tool::Edit { &mut tally.edits_hit } else { &mut tally.writes_hit } = hits;
        signal(host, Signal::KILL);
        for (file, called) in ground.answers(&calls, &ids).iter().enumerate() {
            let generation = self.generations[file];
            let text = std::fs::read_to_string(&paths[file]).unwrap();
            let is_new = text == contents(file, generation + 1);
            let is_whole = is_new || text == contents(file, generation);
            assert!(is_whole, "file {file} of generation {generation} has {} bytes: {called:?}", text.len());
            if called.is_error() {
                assert!(called.text().contains("SIGKILL"), "{called:?}");
                *if is_new { &mut tally.new } else { &mut tally.old } += 1;
            } else {
                assert!(is_new, "file {file}: a call that was answered had done its work");
            }
            self.generations[file] += u64::from(is_new);
        }
        tally.left = temporary_files(&self.dir).len();
        tally
    }

    /// What was left goes with the next write in that directory, and nothing else.
    fn check_end(&self, root: &Path) {
        for name in [".0.txt.llmc-0123456789abcdef.tmp", ".x.llmc-fedcba9876543210.tmp"] {
            std::fs::write(self.dir.join(name), "left by somebody").unwrap();
        }
        let held = self.dir.join(".held.llmc-0123456789abcdef.tmp");
        let holder = File::create(&held).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        let mut server = server_over(root);
        let new = format!("{}/new.txt", self.name);
        server.ok("append_file", json!({"path": new, "content": "honest\n"}));
        assert_eq!(temporary_files(&self.dir), [held], "the one of a writer that lives stays");
        drop(holder);
        server.ok("write_file", json!({"path": new, "content": "honest\n", "overwrite": true}));
        assert_eq!(temporary_files(&self.dir), Vec::<PathBuf>::new());
        assert_eq!(std::fs::read_dir(&self.dir).unwrap().count(), FILES + 1);
        for file in 0..FILES {
            assert_eq!(
                std::fs::read_to_string(self.path(file)).unwrap(),
                contents(file, self.generations[file])
            );
        }
        server.end();
    }
}

#[test]
fn a_killed_host_leaves_each_file_old_or_new() {
    let ground = Ground::start(setup());
    let root: PathBuf = ground.path("").components().collect();
    let (total, begun) = (Mutex::new(Tally::default()), Instant::now());
    let is_enough = &|| total.lock().unwrap().is_enough();
    std::thread::scope(|scope| {
        for worker in 1..=WORKERS {
            let (name, ground, root, total) = (format!("dir-{worker}"), &ground, &root, &total);
            for file in 0..FILES {
                ground.file(&format!("{name}/{file}.txt"), contents(file, 0));
            }
            let (dir, random) = (root.join(&name), Random::new(worker));
            let mut files = Files { dir, name, generations: [0; FILES], random };
            scope.spawn(move || {
                while !is_enough() && begun.elapsed() < MAX_TIME {
                    files.kill_some(root, total);
                }
                files.check_end(root);
            });
        }
    });
    let total = total.into_inner().unwrap();
    eprintln!("killed hosts: {total:?} in {:?}", begun.elapsed());
    assert!(total.is_enough(), "too slow: {total:?}");
    // Both ends were met: a kill before the new file was in place, and one after it.
    assert!(total.old > 0 && total.new > 0, "{total:?}");
    ground.end();
}
