//! The interpreter that `execute_code` runs, as a bare process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::program::Program;

/// The least that starts an interpreter: no site packages, no environment.
const ARGS: [&str; 4] = ["-I", "-S", "-c", "print(1)"];

/// The interpreter.
pub(crate) struct Python {
    program: Program,
    args: [OsString; 4],
    printed: Vec<u8>,
}

impl Python {
    /// Finds what `engine` names, such as `CPython 3.11.2`, in the places where the runner looks.
    pub(crate) fn find(engine: &str) -> Result<Self> {
        let version = engine.strip_prefix("CPython ").with_context(|| {
            format!("`execute_code` runs {engine}; install CPython to measure it: `apt install python3`")
        })?;
        let wanted = format!("Python {version}");
        let program = candidates()
            .into_iter()
            // As the runner does: a link, or a manager of versions behind it, takes no part.
            .filter_map(|file| Program::at(file.canonicalize().ok()?).ok())
            .find(|program| program.version == wanted)
            .with_context(|| format!("`{wanted}` is nowhere where llmc looks for it"))?;
        Ok(Self { program, args: ARGS.map(OsString::from), printed: Vec::new() })
    }

    /// From before it is started until it has ended.
    pub(super) fn run(&mut self) -> Result<Duration> {
        let took = self.program.run(&self.args, Path::new("/"), &mut self.printed)?;
        ensure!(self.printed == b"1\n", "`{}` printed {:?}", self.program.file.display(), self.printed);
        Ok(took)
    }

    /// What it is told.
    pub(crate) fn args(&self) -> &[OsString] {
        &self.args
    }

    pub(crate) fn file(&self) -> &Path {
        &self.program.file
    }
}

/// Where llmc-runner looks, in its order.
fn candidates() -> Vec<PathBuf> {
    let named = |folder: &'static str| {
        let versions = (9..=30).rev().map(|minor| format!("python3.{minor}"));
        std::iter::once("python3".to_owned()).chain(versions).map(move |name| Path::new(folder).join(name))
    };
    let opt = std::fs::read_dir("/opt").into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> = opt.map(|entry| entry.path().join("bin/python3")).collect();
    others.sort();
    ["/usr/bin", "/usr/local/bin"].into_iter().flat_map(named).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_place_comes_first() {
        assert_eq!(candidates()[0], Path::new("/usr/bin/python3"));
    }

    #[test]
    fn an_interpreter_without_a_process_of_its_own_is_not_looked_for() {
        let refused = Python::find("monty 0.0.23").err().unwrap().to_string();
        assert!(refused.contains("install CPython"), "{refused}");
    }
}
