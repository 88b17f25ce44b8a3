//! Programs of others: where they are, and how long one takes from its start to the end of its output.

use std::env;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// A program that is there.
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    /// What it says of itself, as in `ripgrep 14.1.0`.
    pub(crate) version: String,
}

impl Program {
    /// The first of these names that is in `PATH`.
    pub(crate) fn find(names: &[&str]) -> Option<Self> {
        let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
        let mut files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        files.find(|file| file.is_file()).and_then(|file| Self::at(file).ok())
    }

    /// This one.
    ///
    /// # Errors
    /// If it cannot be started or does not tell its version.
    pub(crate) fn at(file: PathBuf) -> Result<Self> {
        let output = Command::new(&file).arg("--version").stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("failed to start `{}`", file.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().trim().to_owned();
        ensure!(!version.is_empty(), "`{} --version` printed nothing", file.display());
        Ok(Self { file, version })
    }

    /// Runs it in a folder and puts everything that it prints in `printed`.
    ///
    /// # Errors
    /// If it fails. That it found nothing, for which `rg` returns 1, is no failure.
    pub(crate) fn run(&self, flags: &[OsString], folder: &Path, printed: &mut Vec<u8>) -> Result<Duration> {
        let mut command = Command::new(&self.file);
        command.args(flags).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        printed.clear();
        let begun = Instant::now();
        let mut process =
            command.spawn().with_context(|| format!("failed to start `{}`", self.file.display()))?;
        process.stdout.take().context("the program has no stdout")?.read_to_end(printed)?;
        let status = process.wait()?;
        let took = begun.elapsed();
        let is_good = matches!(status.code(), Some(0 | 1));
        ensure!(is_good, "{command:?} failed with {status}; run it in `{}` to see why", folder.display());
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_in_its_folder_and_its_output_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let shell = Program { file: "/bin/sh".into(), version: String::new() };
        let run = |script: &str| {
            let mut printed = b"of the last run".to_vec();
            let took = shell.run(&["-c".into(), script.into()], folder.path(), &mut printed)?;
            anyhow::Ok((took, String::from_utf8(printed)?))
        };
        let (took, printed) = run("pwd -P").unwrap();
        assert_eq!(Path::new(printed.trim_end()), folder.path().canonicalize().unwrap());
        assert!(took > Duration::ZERO);
        assert_eq!(run("exit 1").unwrap().1, "");
        assert!(run("exit 2").unwrap_err().to_string().contains("exit 2"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(Program::find(&["no-program-has-this-name"]).is_none());
        assert!(Program::at("/no/such/program".into()).is_err());
    }
}
