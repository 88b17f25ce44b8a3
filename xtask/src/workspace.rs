//! The workspace as cargo describes it, and the processes started in it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where the repository is.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
}

/// What `cargo metadata` tells, as far as it is used here.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) target_directory: PathBuf,
    pub(crate) workspace_root: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: semver::Version,
    pub(crate) manifest_path: PathBuf,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for what is linked in.
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
}

impl Workspace {
    /// Finds the repository: cargo names xtask's own folder when it runs it, and a program run by hand remembers it.
    pub(crate) fn locate() -> Result<Self> {
        let xtask =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&xtask).parent().context("xtask is not inside a workspace")?;
        let root = root.canonicalize().with_context(|| format!("failed to find `{}`", root.display()))?;
        Ok(Self { root })
    }

    /// A cargo command at the root of the workspace; it reads nothing from our stdin.
    pub(crate) fn cargo<I, S>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// The members alone: quick, and needs no network.
    pub(crate) fn members(&self) -> Result<Metadata> {
        self.metadata(&["--no-deps"])
    }

    /// The members and everything they depend on, on any platform and with any feature. Fails when `Cargo.lock` would
    /// have to change.
    pub(crate) fn resolved(&self) -> Result<Metadata> {
        self.metadata(&["--locked", "--all-features"])
    }

    fn metadata(&self, args: &[&str]) -> Result<Metadata> {
        let mut cargo = self.cargo(["metadata", "--format-version", "1"]);
        let output = cargo.args(args).stderr(Stdio::inherit()).output().context("failed to start cargo")?;
        if !output.status.success() {
            bail!("`{}` failed", shown(&cargo));
        }
        serde_json::from_slice(&output.stdout).context("failed to read what `cargo metadata` printed")
    }
}

impl Metadata {
    /// The packages that belong to this repository.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// Whether it builds a shared library.
    pub(crate) fn is_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "cdylib"))
    }

    /// Whether it builds a library that llmc-host can open.
    pub(crate) fn is_plugin(&self) -> bool {
        self.is_library() && self.dependencies.iter().any(|dependency| dependency.name == "llmc-core")
    }
}

/// Runs a command and hands on how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("failed to start `{}`", shown(command)))
}

/// Runs a command that has to succeed.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args()).map(|word| quoted(&word.to_string_lossy()));
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "-p", "xtask"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc -p xtask");
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = check(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().starts_with("`false` failed"), "{error}");
        assert!(check(&mut Command::new("true")).is_ok());
    }

    #[test]
    fn the_members_include_the_plugins() {
        let members = Workspace::locate().unwrap().members().unwrap();
        let plugins: Vec<_> = members.own().filter(|package| package.is_plugin()).map(|p| &*p.name).collect();
        assert!(plugins.contains(&"llmc-tools-fs") && plugins.contains(&"hello"), "{plugins:?}");
        assert!(!plugins.contains(&"llmc-server"));
    }
}
