//! The crate that is being worked on: building it, and noticing that it changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// Folders in which nothing that cargo reads is written by hand.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// Most files that are looked at for changes; a crate of more is built when one of the first changes.
const MAX_FILES: usize = 20_000;

/// A crate with a plugin in it.
pub(super) struct Project {
    pub(super) folder: PathBuf,
    /// Built as for use, and slower to build.
    pub(super) release: bool,
}

/// When something below the folder was changed last, and how much there is: it differs after every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    changed: Option<SystemTime>,
    files: usize,
}

/// One line of cargo's JSON messages: <https://doc.rust-lang.org/cargo/reference/external-tools.html>.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Project {
    /// Finds the crate in a folder.
    pub(super) fn find(folder: &Path, release: bool) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(folder)
            .with_context(|| format!("failed to find folder `{}`", folder.display()))?;
        if !folder.join("Cargo.toml").is_file() {
            bail!(
                "`{}` has no `Cargo.toml`; `llmc plugin new NAME` makes a plugin, PATH names its folder",
                folder.display()
            );
        }
        Ok(Self { folder, release })
    }

    /// Has cargo build the crate, and returns its library. What cargo says goes to stderr.
    pub(super) async fn build(&self) -> anyhow::Result<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--message-format", "json-render-diagnostics"]).current_dir(&self.folder);
        if self.release {
            cargo.arg("--release");
        }
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || cargo.output())
            .await?
            .context("failed to start cargo, which builds plugins; install Rust, or name it in CARGO")?;
        if !output.status.success() {
            bail!("the build failed ({})", output.status);
        }
        let manifest = self.folder.join("Cargo.toml");
        let library =
            String::from_utf8_lossy(&output.stdout).lines().find_map(|line| library(line, &manifest));
        library.with_context(|| {
            format!(
                "`{}` makes no plugin: its `[lib]` needs `crate-type = [\"cdylib\", \"rlib\"]`",
                manifest.display()
            )
        })
    }

    /// Looks at the files by which a build could differ.
    pub(super) fn stamp(&self) -> Stamp {
        let mut stamp = Stamp::default();
        look(&self.folder, &mut stamp);
        stamp
    }
}

/// The library that a message of cargo says was made from this manifest.
fn library(line: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" || message.manifest_path != manifest {
        return None;
    }
    message.filenames.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "so"))
}

fn look(folder: &Path, stamp: &mut Stamp) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if stamp.files >= MAX_FILES {
            return;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let name = entry.file_name();
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                look(&entry.path(), stamp);
            }
        } else if let Ok(metadata) = entry.metadata() {
            stamp.files += 1;
            stamp.changed = stamp.changed.max(metadata.modified().ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_changes_the_stamp_and_a_build_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        };
        write("Cargo.toml");
        write("src/lib.rs");
        let project = Project::find(folder.path(), false).unwrap();
        let before = project.stamp();
        write("target/debug/libx.so");
        assert_eq!(project.stamp(), before);
        write("src/new.rs");
        assert_ne!(project.stamp(), before);
        fs::remove_file(folder.path().join("Cargo.toml")).unwrap();
        assert!(Project::find(folder.path(), false).is_err());
    }

    #[test]
    fn the_library_is_that_of_the_crate_itself() {
        let line = |manifest: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","filenames":["/t/liba.rlib","/t/liba.so"]}}"#
            )
        };
        let manifest = Path::new("/p/Cargo.toml");
        assert_eq!(library(&line("/p/Cargo.toml"), manifest), Some("/t/liba.so".into()));
        assert_eq!(library(&line("/p/sdk/Cargo.toml"), manifest), None);
        assert_eq!(library("not json", manifest), None);
    }
}
