//! Interpreters for the `code` profile: two that are a part of this program, and CPython, which is found once, at first
//! need, and asked in a jail what it consists of.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use llmc_sandbox::elf;
use llmc_sandbox::jail::{Function, Launcher};
use llmc_wire::runner::Refused;
use serde::Deserialize;

use crate::request::refused;
use crate::{embedded, trial};

/// Oldest CPython that will do.
const OLDEST: (u32, u32) = (3, 9);
/// Newest one that is looked for by name.
const NEWEST_NAME: u32 = 30;
/// What an operator can do.
const REMEDY: &str =
    "install CPython 3.9 or newer where everybody may read it (Debian, Ubuntu: `apt install python3`)";

/// Tells what an interpreter consists of: standard library, and every library that its extension modules load.
const QUESTIONS: &str = r#"
import os, sys, json
stdlib = os.path.dirname(os.__file__)
dynload = [p for p in sys.path if os.path.basename(p) == "lib-dynload"]
if sys.implementation.name == "cpython":
    import importlib
    for folder in dynload:
        for name in sorted(os.listdir(folder)):
            module = name.split(".")[0]
            if not module.startswith(("_test", "_xx", "xx", "_tkinter", "readline", "nis", "_dbm", "_gdbm")):
                try:
                    importlib.import_module(module)
                except BaseException:
                    pass
def libraries():
    files = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            parts = line.split(None, 5)
            if len(parts) == 6 and ".so" in parts[5]:
                files.add(parts[5].rstrip("\n"))
    links = set()
    for path in files:
        folder, name = os.path.split(path)
        for other in os.listdir(folder):
            if other.startswith(name.split(".so")[0]):
                link = os.path.join(folder, other)
                if os.path.islink(link) and os.path.realpath(link) == path:
                    links.add(link)
    return files | links
files = libraries()
# What compiled packages may expect of a machine (PEP 599), as far as it concerns computing.
for name in ("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1"):
    try:
        import ctypes
        ctypes.CDLL(name)
    except (ImportError, OSError):
        pass
json.dump({"implementation": sys.implementation.name, "version": list(sys.version_info[:2]),
           "stdlib": stdlib, "dynload": dynload, "files": sorted(files), "compiled": sorted(libraries() - files)}, sys.stdout)
"#;

/// An interpreter.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// A program and what it needs.
    Program {
        /// Its file.
        file: PathBuf,
        /// Files and directories that belong to it.
        system: Vec<PathBuf>,
        /// Libraries of the machine that compiled packages expect beside, such as that of C++.
        for_packages: Vec<PathBuf>,
    },
    /// A function of this program.
    Embedded(Function),
}

impl Engine {
    /// What a jail binds for it, beside these packages.
    pub(crate) fn system(&self, packages: &[PathBuf]) -> Vec<PathBuf> {
        match self {
            Self::Program { system, for_packages, .. } => {
                let libraries = if packages.is_empty() { &[] } else { &for_packages[..] };
                [system, libraries, packages].concat()
            }
            Self::Embedded(_) => Vec::new(),
        }
    }
}

/// The interpreters of this machine.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    python: Option<Engine>,
    has_complained: bool,
}

/// What an interpreter answers.
#[derive(Debug, Deserialize)]
struct Answers {
    implementation: String,
    version: (u32, u32),
    stdlib: PathBuf,
    dynload: Vec<PathBuf>,
    files: Vec<PathBuf>,
    compiled: Vec<PathBuf>,
}

impl Engines {
    /// Finds an engine. `python` is CPython, or monty where there is none.
    pub(crate) fn get(&mut self, name: &str, launcher: &mut Launcher) -> Result<Engine, Refused> {
        match name {
            "javascript" => Ok(Engine::Embedded(embedded::quickjs)),
            "monty" => Ok(Engine::Embedded(embedded::monty)),
            "python" => Ok(self.python(launcher).unwrap_or(Engine::Embedded(embedded::monty))),
            _ => {
                let message =
                    format!("no engine is called `{name}`; there are `python`, `javascript` and `monty`");
                Err(Refused { layer: "engine".into(), message })
            }
        }
    }

    fn python(&mut self, launcher: &mut Launcher) -> Option<Engine> {
        if self.python.is_none() {
            match find_python(&candidates(), launcher) {
                Ok(python) => self.python = Some(python),
                Err(why) => self.complain(&why),
            }
        }
        self.python.clone()
    }

    /// Tells the server's log once why the subset runs.
    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.has_complained, true) {
            // When stderr is gone, nobody is left to be told.
            let _ = writeln!(
                std::io::stderr(),
                "llmc-runner: {why}; until then an embedded subset of Python runs"
            );
        }
    }
}

/// The first candidate that is what it should be. What was not found is looked for again next time: it may have been
/// installed by then.
fn find_python(candidates: &[PathBuf], launcher: &mut Launcher) -> Result<Engine, String> {
    let mut seen = BTreeSet::new();
    let mut reasons = Vec::new();
    for candidate in candidates {
        let Ok(file) = candidate.canonicalize() else { continue };
        if !seen.insert(file.clone()) {
            continue;
        }
        match try_python(&file, launcher) {
            Ok(engine) => return Ok(engine),
            Err(reason) => reasons.push(format!("`{}` {reason}", candidate.display())),
        }
    }
    let found = if reasons.is_empty() { "there is none".to_owned() } else { reasons.join(", ") };
    let looked =
        "looked for `python3` and `python3.N` in /usr/bin and /usr/local/bin and for `/opt/*/bin/python3`";
    Err(format!("no usable CPython: {found}; {looked}; {REMEDY}"))
}

fn try_python(file: &Path, launcher: &mut Launcher) -> Result<Engine, String> {
    match elf::is_elf(file) {
        Ok(true) => {}
        Ok(false) => return Err("is a script and not the interpreter".to_owned()),
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    // An interpreter outside /usr brings its libraries along, beside its `bin`.
    let prefix = file.parent().and_then(Path::parent).filter(|prefix| prefix.starts_with("/opt/"));
    let system = prefix.map(Path::to_owned).into_iter().collect();
    let args = ["-I", "-S", "-X", "utf8", "-c", QUESTIONS];
    let answer = trial::run(launcher, file, &args, system).map_err(|error| refused(&error).message)?;
    let answers: Answers = serde_json::from_slice(&answer.stdout).map_err(|_| {
        let complaint = String::from_utf8_lossy(&answer.stderr);
        let last = complaint.trim().lines().next_back().unwrap_or("without a word");
        format!("does not answer ({:?}): {last}", answer.ending.status)
    })?;
    check(&answers)?;
    let for_packages = with_links(answers.compiled.iter().cloned().collect());
    Ok(Engine::Program { file: file.to_owned(), system: parts(answers), for_packages })
}

fn check(answers: &Answers) -> Result<(), String> {
    if answers.implementation != "cpython" {
        return Err(format!("is {} and not CPython", answers.implementation.escape_default()));
    }
    if answers.version < OLDEST {
        return Err(format!("is version {}.{}, too old", answers.version.0, answers.version.1));
    }
    let files = answers.files.iter().chain(&answers.compiled);
    let paths = files.chain(&answers.dynload).chain([&answers.stdlib]);
    match paths.into_iter().find(|path| !path.is_absolute() || path.components().count() < 3) {
        Some(odd) => Err(format!("names `{}` as a part of itself", odd.display())),
        None => Ok(()),
    }
}

/// Paths to bind. What lies in a folder that is bound anyway is left out: each path costs every cold start.
fn parts(answers: Answers) -> Vec<PathBuf> {
    let folders: BTreeSet<PathBuf> = answers.dynload.into_iter().chain([answers.stdlib]).collect();
    let is_shown = |path: &Path| folders.iter().any(|folder| path != folder && path.starts_with(folder));
    let parts = answers.files.into_iter().chain(folders.iter().cloned());
    with_links(parts.filter(|path| !is_shown(path)).collect())
}

/// These paths, and the ways to them through links at the top of the tree: loaders look below `/lib`, which is a link
/// on most machines.
pub(crate) fn with_links(mut parts: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    for link in ["/lib", "/lib64", "/lib32"].map(Path::new).into_iter().filter(|path| path.is_symlink()) {
        let Ok(target) = link.canonicalize() else { continue };
        let through: Vec<PathBuf> = parts
            .iter()
            .filter_map(|path| path.strip_prefix(&target).ok())
            .map(|rest| link.join(rest))
            .collect();
        parts.extend(through);
    }
    parts.into_iter().collect()
}

fn candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    for folder in ["/usr/bin", "/usr/local/bin"].map(Path::new) {
        candidates.push(folder.join("python3"));
        candidates
            .extend((OLDEST.1..=NEWEST_NAME).rev().map(|minor| folder.join(format!("python3.{minor}"))));
    }
    let mut others: Vec<PathBuf> = std::fs::read_dir("/opt")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/python3"))
        .collect();
    others.sort();
    candidates.extend(others);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers {
            implementation: "cpython".into(),
            version: (3, 11),
            stdlib: "/usr/lib/python3.11".into(),
            dynload: vec!["/usr/lib/python3.11/lib-dynload".into()],
            files: vec!["/usr/lib/x/libc.so.6".into()],
            compiled: vec!["/usr/lib/x/libstdc++.so.6".into()],
        }
    }

    #[test]
    fn an_ordinary_interpreter_will_do() {
        check(&answers()).unwrap();
        assert!(parts(answers()).contains(&"/usr/lib/python3.11".into()));
        // Extension modules lie in a folder that is there; one beside it is not.
        let folder = PathBuf::from("/usr/lib/python3.11/lib-dynload");
        let files = vec![folder.join("_json.so"), "/usr/lib/python3.11-extra/_x.so".into()];
        let bound = parts(Answers { files, ..answers() });
        assert!(!bound.iter().any(|path| path.starts_with(&folder)), "{bound:?}");
        assert!(bound.contains(&"/usr/lib/python3.11-extra/_x.so".into()), "{bound:?}");
        let elsewhere = Answers { dynload: vec!["/usr/lib64/python3.11/lib-dynload".into()], ..answers() };
        assert!(parts(elsewhere).contains(&"/usr/lib64/python3.11/lib-dynload".into()));
    }

    #[test]
    fn others_will_not() {
        assert!(check(&Answers { implementation: "pypy".into(), ..answers() }).is_err());
        assert!(check(&Answers { version: (3, 8), ..answers() }).is_err());
        assert!(check(&Answers { version: (2, 7), ..answers() }).is_err());
        assert!(check(&Answers { stdlib: "/".into(), ..answers() }).is_err());
        assert!(check(&Answers { stdlib: "/usr".into(), ..answers() }).is_err());
        assert!(check(&Answers { files: vec!["lib.so".into()], ..answers() }).is_err());
    }
}
