//! Directories and files for the tests of this crate.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use llmc_core::prelude::*;
use llmc_core::testing::Harness;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// A temporary directory with a root `work` at `DIR/project` and a secret beside it.
pub(crate) struct Playground {
    dir: TempDir,
    pub(crate) harness: Harness,
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
        let harness = Harness::new().root("work", work, Access::Rw);
        Self { dir, harness }
    }

    /// The directory around the root.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
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
