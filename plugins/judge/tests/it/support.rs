//! The staged programs, and files for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The staged installation.
pub(crate) fn stage() -> PathBuf {
    let stage = std::env::var_os("LLMC_STAGE").map_or_else(|| target().join("stage"), PathBuf::from);
    assert!(
        stage.join("bin/ruta").exists(),
        "`{}` holds no installation; run `cargo xtask test`, or `cargo xtask build` first",
        stage.display()
    );
    stage
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A folder with files.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::create_dir_all(folder.path(name).parent().unwrap()).unwrap();
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A staged program that works in the folder.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(stage().join("bin").join(program));
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn ruta(&self, args: &[&str]) -> Ended {
        Ended(self.command("ruta", args).output().unwrap())
    }

    pub(crate) fn llmc(&self, args: &[&str]) -> Ended {
        Ended(self.command("llmc", args).output().unwrap())
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Checks the exit code, and gives what was printed.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}{}", self.stdout(), self.stderr());
        self
    }
}

/// A session of two calls: a search that succeeded, and a write that was refused.
pub(crate) const TRACE: &str = r#"{"run_id":"r","step":1,"event":"tool_call","tool_name":"search_files","args":{"pattern":"x AND y"}}
{"run_id":"r","step":2,"event":"tool_result","tool_name":"search_files","success":true,"latency_ms":2.5,"result_summary":{"hit_count":1,"item_ids":["a"]}}
{"run_id":"r","step":3,"event":"tool_call","tool_name":"write_file","args":{"path":"a"}}
{"run_id":"r","step":4,"event":"tool_result","tool_name":"write_file","success":false,"outcome":"denied"}
"#;

/// A scenario with these expectations.
pub(crate) fn expecting(expectations: &str) -> String {
    format!("id: s\nexpectations:\n{expectations}\n")
}

/// A scenario with one assertion.
pub(crate) fn asserting(constraint: &str) -> String {
    expecting(&format!("  properties: [{{ name: p, type: assertion, constraint: {constraint:?} }}]"))
}
