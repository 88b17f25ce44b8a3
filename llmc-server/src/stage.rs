//! Where the other programs and the installed plugins are: beside this one.

use std::path::{Path, PathBuf};

use crate::config::is_path;

/// The folder that holds `bin`, `libexec` and `lib`.
#[derive(Clone, Debug)]
pub(crate) struct Stage(PathBuf);

/// A part of the installation is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// The program's own place is unknown.
    #[error("failed to find the place of this program; name the folder with --stage")]
    Unknown(#[source] std::io::Error),
    /// A file is not where it should be.
    #[error(
        "`{}` is missing; is the installation complete? `cargo xtask build` makes one, --stage names it",
        .0.display()
    )]
    Missing(PathBuf),
    /// A plugin is not installed.
    #[error("plugin library `{name}` is not installed: `{}` does not exist; installed are: {installed}", file.display())]
    NoPlugin {
        /// The name asked for.
        name: String,
        /// Where it would be.
        file: PathBuf,
        /// What is there.
        installed: String,
    },
}

impl Stage {
    /// The named folder, or the one that this program lies in.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, StageError> {
        if let Some(folder) = named {
            return std::path::absolute(folder).map(Self).map_err(StageError::Unknown);
        }
        let program = std::env::current_exe().map_err(StageError::Unknown)?;
        let folder = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        Ok(Self(folder.to_owned()))
    }

    pub(crate) fn host(&self) -> Result<PathBuf, StageError> {
        self.existing("libexec/llmc/llmc-host")
    }

    pub(crate) fn runner(&self) -> Result<PathBuf, StageError> {
        self.existing("libexec/llmc/llmc-runner")
    }

    /// What is no program and no library.
    pub(crate) fn share(&self) -> Result<PathBuf, StageError> {
        self.existing("share/llmc")
    }

    /// The file of a plugin's `library`: a path as it stands, or the name of an installed one.
    pub(crate) fn plugin(&self, library: &str) -> Result<PathBuf, StageError> {
        if is_path(library) {
            return Ok(PathBuf::from(library));
        }
        let folder = self.plugins();
        let file = folder.join(format!("lib{library}.so"));
        if file.exists() {
            return Ok(file);
        }
        Err(StageError::NoPlugin { name: library.to_owned(), file, installed: installed(&folder) })
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// The names of installed libraries, sorted.
    pub(crate) fn libraries(&self) -> Vec<String> {
        libraries(&self.plugins())
    }

    fn plugins(&self) -> PathBuf {
        self.0.join("lib/llmc/plugins")
    }

    fn existing(&self, file: &str) -> Result<PathBuf, StageError> {
        let file = self.0.join(file);
        if file.exists() { Ok(file) } else { Err(StageError::Missing(file)) }
    }
}

fn installed(folder: &Path) -> String {
    let names = libraries(folder);
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn libraries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix("lib")?.strip_suffix(".so")?.to_owned())
        })
        .collect();
    names.sort_unstable();
    names
}
