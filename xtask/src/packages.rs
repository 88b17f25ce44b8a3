//! Installs numpy and pandas for the tests that bind a virtual environment into code jails.
//!
//! Versions and digests stand in a file beside the tests. Without the Python that runs code, or a registry, the tests
//! say what they did not check.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::clients;
use crate::workspace::Workspace;

/// Tells the tests where the packages are.
pub(crate) const VARIABLE: &str = "LLMC_NUMPY";

/// What is installed.
const REQUIREMENTS: &str = "llmc-server/tests/attempts/requirements.txt";

/// Compiled packages fit one Python alone: the one that runs code.
const PYTHON: &str = "/usr/bin/python3";

/// Installs what is not there yet into `folder` and returns its `site-packages`; what cannot be installed is named.
pub(crate) fn install(workspace: &Workspace, folder: &Path) -> Option<PathBuf> {
    let lock = workspace.root.join(REQUIREMENTS);
    let installed = clients::once(&lock, folder, || clients::environment(Path::new(PYTHON), &lock, folder))
        .and_then(|()| site_packages(folder));
    installed
        .inspect_err(|error| {
            println!("NOT TESTED in a code jail: numpy and pandas, which could not be installed: {error:#}");
        })
        .ok()
}

/// `lib/python3.N/site-packages` of a virtual environment.
fn site_packages(folder: &Path) -> Result<PathBuf> {
    let libraries = folder.join("lib");
    let mut versions = fs::read_dir(&libraries)
        .with_context(|| format!("`{}` cannot be read", libraries.display()))?
        .flatten()
        .map(|entry| entry.path().join("site-packages"));
    versions
        .find(|packages| packages.is_dir())
        .with_context(|| format!("`{}` has no packages", libraries.display()))
}
