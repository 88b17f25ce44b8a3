//! A root with secrets all around it, and a server that may use the root alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::snapshot::{self, Snapshot};
use crate::support::{Called, Server, Setup};

/// Stands in every file outside and in names there. No answer and no file in the root may ever contain it.
pub(crate) const SECRET: &str = "secret-7d1f0c4e";
/// What is told of all that lies outside.
pub(crate) const OUTSIDE: &str = "the path is outside the granted roots";
/// Neighbours of the root whose names begin as its own does (CVE-2025-53110), or are spelled like it.
pub(crate) const SIBLINGS: [&str; 6] = ["work2", "work_backup", "work-old", "workshop", "work.bak", "WORK"];

/// The file tools over a writable root.
pub(crate) fn config(more: &str) -> String {
    format!(
        "{more}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}"
    )
}

/// Sets up the file tools over a writable root.
pub(crate) fn setup() -> Setup {
    Setup::new(&config(""))
}

/// A server and what is around its root.
pub(crate) struct Ground {
    pub(crate) server: Server,
    roots: Vec<PathBuf>,
    /// What else may change.
    restless: Vec<PathBuf>,
    before: Snapshot,
}

/// A call that was refused or failed: its kind, as in the metadata of the result, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// A tool and its arguments.
pub(crate) type Call = (&'static str, Value);

impl Ground {
    pub(crate) fn new() -> Self {
        Self::start(setup())
    }

    /// Starts a server whose only root is `work`.
    pub(crate) fn start(setup: Setup) -> Self {
        let work = setup.work("").components().collect();
        Self::start_with(setup, vec![work], Vec::new())
    }

    /// Starts a server with these roots. Everything else in the folder of the setup must stay as it is, but for what
    /// the test itself keeps changing.
    pub(crate) fn start_with(setup: Setup, roots: Vec<PathBuf>, restless: Vec<PathBuf>) -> Self {
        surround(setup.folder.path());
        let server = setup.serve();
        let mut ground = Self { server, roots, restless, before: Snapshot::new() };
        snapshot::age(&ground.outside(), &ground.changing());
        ground.before = ground.look();
        ground
    }

    /// The folder as it is, without what may change.
    fn look(&self) -> Snapshot {
        snapshot::take(&self.outside(), &self.changing())
    }

    fn changing(&self) -> Vec<PathBuf> {
        [self.roots.as_slice(), &self.restless].concat()
    }

    /// The folder around the root.
    pub(crate) fn outside(&self) -> PathBuf {
        self.server.setup.folder.path().to_owned()
    }

    /// A path in the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.server.setup.work(path)
    }

    /// Writes a file into the root.
    pub(crate) fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), contents).unwrap();
        self
    }

    /// Makes a link in the root.
    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        symlink(target, self.path(path)).unwrap();
        self
    }

    /// Contents of a file in the root.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Makes a call. Its answer must not contain the secret.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Called {
        let called = self.server.call(tool, arguments.clone());
        check_silent(tool, &arguments, &called);
        called
    }

    /// Makes calls side by side; answers in the order of the calls.
    pub(crate) fn batch(&mut self, calls: &[Call]) -> Vec<Called> {
        let ids = self.send(calls);
        self.answers(calls, &ids)
    }

    /// Starts calls.
    pub(crate) fn send(&mut self, calls: &[Call]) -> Vec<u64> {
        calls.iter().map(|(tool, arguments)| self.server.send_call(tool, arguments.clone())).collect()
    }

    /// Waits for the answers to calls that were sent.
    pub(crate) fn answers(&mut self, calls: &[Call], ids: &[u64]) -> Vec<Called> {
        let answers = ids.iter().zip(calls).map(|(id, (tool, arguments))| {
            let called = self.server.called(*id);
            check_silent(tool, arguments, &called);
            called
        });
        answers.collect()
    }

    /// The process of the file tools.
    #[track_caller]
    pub(crate) fn host(&self) -> u32 {
        let [host] = self.server.children("llmc-host")[..] else { panic!("not one host") };
        host
    }

    /// The structured result of a call that must succeed.
    #[track_caller]
    pub(crate) fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        match outcome(&self.call(tool, arguments.clone())) {
            Ok(result) => result,
            Err(refusal) => panic!("{tool} {arguments}: {refusal:?}"),
        }
    }

    /// The refusal of a call that must fail. It tells no path of the machine.
    #[track_caller]
    pub(crate) fn refused(&mut self, tool: &str, arguments: Value) -> Refusal {
        let refusal = match outcome(&self.call(tool, arguments.clone())) {
            Ok(result) => panic!("{tool} {arguments} succeeded: {result}"),
            Err(refusal) => refusal,
        };
        let folder = self.outside();
        assert!(!refusal.text.contains(folder.to_str().unwrap()), "{tool} {arguments}: {refusal:?}");
        refusal
    }

    /// A refusal because the path lies outside, which is all that it says.
    #[track_caller]
    pub(crate) fn outside_refused(&mut self, tool: &str, arguments: Value) {
        let refusal = self.refused(tool, arguments.clone());
        assert!(refusal.is_outside(), "{tool} {arguments}: {refusal:?}");
    }

    /// What was changed or read outside.
    pub(crate) fn changes_outside(&self) -> Vec<String> {
        snapshot::differences(&self.before, &self.look())
    }

    /// What in the roots has the secret in its contents or name.
    pub(crate) fn secrets_inside(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in &self.roots {
            snapshot::walk(root, &[], &mut |path, about| {
                let contents = if about.is_file() { snapshot::read_unseen(path) } else { Vec::new() };
                let holds =
                    |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                let name = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes();
                if holds(name) || holds(&contents) {
                    found.push(path.to_owned());
                }
            });
        }
        found
    }

    /// Checks that nothing outside was changed or read, and that nothing of it came into the roots.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.changes_outside(), Vec::<String>::new(), "what lies outside");
        assert_eq!(self.secrets_inside(), Vec::<PathBuf>::new(), "what came in");
    }

    /// Checks everything and stops the server.
    #[track_caller]
    pub(crate) fn end(self) {
        self.check();
        self.server.stop();
    }
}

impl Refusal {
    /// Whether it is because of a path outside. Results for each of several files have no kind.
    pub(crate) fn is_outside(&self) -> bool {
        ["denied", ""].contains(&self.kind.as_str()) && self.text.contains(OUTSIDE)
    }
}

/// What came of a call. `read_files` tells of each file apart; it is only asked for one here.
pub(crate) fn outcome(called: &Called) -> Result<Value, Refusal> {
    let result = &called.0["result"];
    if called.is_error() {
        let kind = result["_meta"]["llmc/error"].as_str().unwrap_or_default().to_owned();
        return Err(Refusal { kind, text: called.text() });
    }
    let structured = called.ok();
    match structured["files"][0]["error"].as_str() {
        Some(text) => Err(Refusal { kind: String::new(), text: text.to_owned() }),
        None => Ok(structured.clone()),
    }
}

#[track_caller]
fn check_silent(tool: &str, arguments: &Value, called: &Called) {
    let answer = called.0.to_string();
    assert!(!answer.contains(SECRET), "{tool} {arguments} told the secret: {answer}");
    assert!(called.0.get("result").is_some(), "{tool} {arguments}: {answer}");
}

/// Makes files outside the root whose contents, or names, are secret.
fn surround(folder: &Path) {
    let write = |path: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{SECRET} honest\n")).unwrap();
    };
    write("there.txt");
    for dir in SIBLINGS.iter().chain(&["outside", "private"]) {
        for name in ["f.txt", "sub/f.txt", "sub/deep/f.txt", SECRET] {
            write(&format!("{dir}/{name}"));
        }
    }
}
