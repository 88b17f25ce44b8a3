//! The staged programs, a folder for them, and what they answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The staged installation.
pub(crate) fn stage() -> PathBuf {
    let stage = std::env::var_os("LLMC_STAGE").map_or_else(|| target().join("stage"), PathBuf::from);
    assert!(
        stage.join("bin/te").exists(),
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
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().canonicalize().unwrap()
}

/// What a person writes to switch `te` on; `{root}`, `{access}`, `{programs}` and `{more}` are filled in.
const CONFIG: &str = "\
[server]
state = 'state'
[audit]
path = 'audit.jsonl'
durability = 'call'
[roots]
work = { path = '{root}', access = '{access}' }
[plugins.fs]
library = 'llmc_tools_fs'
grants = { roots = ['work'] }
[plugins.te]
library = 'te'
[plugins.te.grants]
roots = ['work']
state = true
tools = ['search_files', 'find_files', 'list_dir', 'read_file', 'stat', 'tree']
run = { profile = 'workspace', programs = [{programs}] }
{more}
";

/// A configuration beside the root `work`.
pub(crate) struct Ground {
    folder: TempDir,
    root: PathBuf,
}

impl Ground {
    /// An empty writable root, and programs: `'git', 'seq'`.
    pub(crate) fn new(programs: &str) -> Self {
        Self::with(programs, "")
    }

    /// The same with more configuration.
    pub(crate) fn with(programs: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("work");
        fs::create_dir(&root).unwrap();
        Self::make(folder, root, "rw", programs, more)
    }

    /// A folder of this machine as a read-only root.
    pub(crate) fn over(root: &Path, programs: &str) -> Self {
        Self::make(tempfile::tempdir().unwrap(), root.to_owned(), "ro", programs, "")
    }

    fn make(folder: TempDir, root: PathBuf, access: &str, programs: &str, more: &str) -> Self {
        let text = CONFIG
            .replace("{root}", root.to_str().unwrap())
            .replace("{access}", access)
            .replace("{programs}", programs)
            .replace("{more}", more);
        let ground = Self { folder, root };
        fs::write(ground.path("llmc.toml"), text).unwrap();
        ground
    }

    /// A path beside the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the root.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file into the root.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let file = self.work(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    /// `te` in the root.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(stage().join("bin/te"));
        command.arg("--config").arg(self.path("llmc.toml")).args(args);
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&self.root).stdin(Stdio::null());
        command
    }

    pub(crate) fn te(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    /// `te_run` as `llmc call` makes it: the result as a client gets it.
    pub(crate) fn te_run(&self, arguments: &Value) -> Value {
        let output = Command::new(stage().join("bin/llmc"))
            .args(["call", "te_run", &arguments.to_string(), "--json", "--config"])
            .arg(self.path("llmc.toml"))
            .env_clear()
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Every call in the audit: tool and outcome.
    pub(crate) fn audited(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let calls = records.filter(|record| record["event"] == "call");
        let field = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
        calls.map(|record| (field(&record, "tool"), field(&record, "outcome"))).collect()
    }
}

/// The cargo that builds these tests, and its toolchain.
pub(crate) fn toolchain() -> (PathBuf, PathBuf) {
    let toolchain = Path::new(env!("CARGO")).ancestors().nth(2).unwrap().to_owned();
    (toolchain.join("bin/cargo"), toolchain)
}

/// A crate with so many tests that pass and one that does not, and cargo granted.
pub(crate) fn failing_crate(good: usize) -> Ground {
    let (cargo, toolchain) = toolchain();
    let (cargo, toolchain) = (cargo.display(), toolchain.display());
    let settings = format!(
        "[programs.cargo]\nread = ['{toolchain}']\n\
         env = {{ CARGO_HOME = '/tmp/cargo', PATH = '{toolchain}/bin:/usr/bin:/bin' }}\n"
    );
    let tests: String = (0..good).map(|n| format!("#[test]\nfn good_{n}() {{}}\n")).collect();
    Ground::with(&format!("'cargo={cargo}'"), &settings)
        .file("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n")
        .file("src/lib.rs", format!("{tests}#[test]\nfn bad() {{ assert_eq!(21 + 21, 43); }}\n"))
}

/// What `te` said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    /// The header, as a reader finds it: the second of the first three lines.
    #[track_caller]
    pub(crate) fn header(&self) -> Value {
        header(&self.stdout)
    }

    /// What comes after the header.
    #[track_caller]
    pub(crate) fn body(&self) -> &str {
        self.stdout.splitn(4, '\n').nth(3).unwrap_or_else(|| panic!("no header: {}", self.stdout))
    }

    /// The lines of the body that are no breadcrumbs.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.body().lines().filter(|line| !line.starts_with("# TE")).collect()
    }

    pub(crate) fn error(&self) -> String {
        self.header()["error"].as_str().unwrap_or_default().to_owned()
    }
}

#[track_caller]
pub(crate) fn header(text: &str) -> Value {
    let lines: Vec<&str> = text.lines().take(3).collect();
    let [begin, header, end] = lines.as_slice() else { panic!("no header: {text}") };
    assert_eq!((*begin, *end), ("# TE_BEGIN_META", "# TE_END_META"), "{text}");
    serde_json::from_str(header).unwrap()
}
