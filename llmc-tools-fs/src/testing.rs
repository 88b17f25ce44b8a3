//! Directories and files for the tests of this crate.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use llmc_core::prelude::*;
use llmc_core::testing::Harness;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use tempfile::TempDir;

/// A temporary directory with a root `work` at `DIR/project` and a secret beside it.
pub(crate) struct Playground {
    dir: TempDir,
    pub(crate) harness: Harness,
}

/// Stops another thread, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Playground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("project");
        fs::create_dir(&work).unwrap();
        for sibling in ["project2", "project_backup", "project-old", "projectile", "project.bak"] {
            fs::create_dir(dir.path().join(sibling)).unwrap();
            fs::write(dir.path().join(sibling).join("secret.txt"), "secret").unwrap();
        }
        fs::write(dir.path().join("secret.txt"), "secret").unwrap();
        let harness = Harness::new().root("work", work, Access::Rw).protect(&[".git", ".cargo/config.toml"]);
        Self { dir, harness }
    }

    /// The directory around the root.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// The granted roots.
    pub(crate) fn roots(&self) -> Vec<Root> {
        self.harness.context().roots().unwrap().to_vec()
    }

    /// A path in the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("project").join(path)
    }

    /// Creates a file and the directories above it.
    pub(crate) fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), contents).unwrap();
        self
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        symlink(target, self.path(path)).unwrap();
        self
    }

    pub(crate) fn fifo(&self, path: &str) -> &Self {
        mknodat(CWD, self.path(path), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        self
    }

    /// Runs `calls` while another thread exchanges two entries of the root all the time.
    pub(crate) fn race(&self, one: &str, other: &str, calls: impl FnOnce()) {
        let (one, other, stop) = (self.path(one), self.path(other), AtomicBool::new(false));
        thread::scope(|scope| {
            let swaps = scope.spawn(|| {
                let mut swaps = 0;
                while !stop.load(Ordering::Relaxed) {
                    // One of them may be gone for a moment.
                    let swapped = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                    swaps += u32::from(swapped.is_ok());
                    // So that others get a turn at the lock of the directory.
                    thread::sleep(Duration::from_micros(10));
                }
                swaps
            });
            let stopped = Stop(&stop);
            calls();
            drop(stopped);
            assert!(swaps.join().unwrap() > 0, "the entries were exchanged");
        });
    }

    /// Checks that the files outside are as they were made.
    #[track_caller]
    pub(crate) fn check_outside_is_whole(&self) {
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let dirs = ["project2", "project_backup", "project-old", "projectile", "project.bak"];
        for dir in dirs {
            assert_eq!(names(&self.outside().join(dir)), ["secret.txt"], "{dir}");
            assert_eq!(fs::read_to_string(self.outside().join(dir).join("secret.txt")).unwrap(), "secret");
        }
        assert_eq!(names(self.outside()).len(), dirs.len() + 2, "and the root, and a secret beside it");
        assert_eq!(fs::read_to_string(self.outside().join("secret.txt")).unwrap(), "secret");
    }

    /// All that lies below a directory of the root, sorted, directories with a slash and links with their text.
    pub(crate) fn all(&self, path: &str) -> Vec<String> {
        fn add(dir: &Path, prefix: &str, all: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    all.push(format!("{name}/"));
                    add(&entry.path(), &format!("{name}/"), all);
                } else if kind.is_symlink() {
                    all.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
                } else {
                    all.push(name);
                }
            }
        }
        let mut all = Vec::new();
        add(&self.path(path), "", &mut all);
        all.sort();
        all
    }

    /// The structured result of a call that must succeed.
    #[track_caller]
    pub(crate) fn ok<T: Tool>(&self, arguments: Value) -> Value {
        let shown = arguments.to_string();
        match self.harness.call::<T>(arguments) {
            Ok(answer) => answer.structured.unwrap(),
            Err(error) => panic!("{shown}: {error}"),
        }
    }

    /// The error of a call that must fail.
    #[track_caller]
    pub(crate) fn refused<T: Tool>(&self, arguments: Value) -> ToolError {
        let shown = arguments.to_string();
        match self.harness.call::<T>(arguments) {
            Ok(answer) => panic!("{shown}: {answer:?}"),
            Err(error) => error,
        }
    }

    /// Checks that everything outside gives one and the same answer, whether it exists or not.
    #[track_caller]
    pub(crate) fn check_walls<T: Tool>(&self) {
        self.file("dir/inside.txt", "inside");
        self.link("to_file", self.outside().join("secret.txt"));
        self.link("to_nothing", self.outside().join("nothing.txt"));
        self.link("to_dir", self.outside().join("project2"));
        self.link("up", "../secret.txt");
        self.link("chain", "to_file");
        self.link("dir/chain", "../chain");
        self.link("proc", "/proc/self/root/etc/passwd");
        let dir = self.outside().to_str().unwrap();
        let absolute = |path: &str| format!("{dir}/{path}");
        let outside = [
            "../secret.txt".to_owned(),
            "../nothing.txt".to_owned(),
            "..".to_owned(),
            "../..".to_owned(),
            "work:../secret.txt".to_owned(),
            "dir/../../secret.txt".to_owned(),
            "dir/./../../etc/passwd".to_owned(),
            "./.././../etc/passwd".to_owned(),
            "dir/..//..//etc/passwd".to_owned(),
            "dir/../../project2/secret.txt".to_owned(),
            "../project/dir/inside.txt".to_owned(),
            "to_dir/secret.txt".to_owned(),
            "to_dir/nothing.txt".to_owned(),
            "/etc/passwd".to_owned(),
            "/etc/no-such-file".to_owned(),
            "/".to_owned(),
            "/proc/self/environ".to_owned(),
            "//etc/passwd".to_owned(),
            absolute("secret.txt"),
            absolute("nothing.txt"),
            absolute("project2/secret.txt"),
            absolute("project_backup/secret.txt"),
            absolute("project-old/secret.txt"),
            absolute("projectile/secret.txt"),
            absolute("project.bak/secret.txt"),
            absolute("project/../secret.txt"),
            absolute("project/../../../../../../etc/passwd"),
            absolute("project/dir/../../project2/secret.txt"),
        ];
        for path in outside {
            self.check_outside::<T>(&path);
        }
    }

    #[track_caller]
    pub(crate) fn check_outside<T: Tool>(&self, path: &str) {
        let error = self.refused::<T>(json!({"path": path}));
        let text = error.message();
        let text = text.rsplit_once("`: ").map_or(text, |(_, text)| text);
        assert_eq!(
            (error.code(), text),
            (llmc_core::code::DENIED, "the path is outside the granted roots"),
            "{path}"
        );
    }
}
