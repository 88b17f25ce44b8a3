//! The suite itself: a package for Node, installed into the target folder as the lock says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, shown};

/// Where the files that pin it are kept.
const PINNED: &str = "xtask/conformance";

/// What is copied beside the installation.
const FILES: &[&str] = &["package.json", "package-lock.json", "register.mjs", "hooks.mjs", "fs.mjs"];

/// The package in its installation.
const PACKAGE: &str = "node_modules/@modelcontextprotocol/conformance";

/// Says of which lock an installation is.
const MARK: &str = "installed.json";

/// An installed suite.
pub(super) struct Suite {
    folder: PathBuf,
}

impl Suite {
    /// Installs what is pinned, unless it is there.
    ///
    /// # Errors
    ///
    /// When there is no Node, or the registry cannot be reached.
    pub(super) fn install(workspace: &Workspace) -> Result<Self> {
        works("node")?;
        let folder = workspace.members()?.target_directory.join("conformance");
        fs::create_dir_all(&folder)?;
        for file in FILES {
            let from = workspace.root.join(PINNED).join(file);
            fs::copy(&from, folder.join(file)).with_context(|| format!("failed to copy `{file}`"))?;
        }
        let lock = fs::read_to_string(folder.join("package-lock.json"))?;
        if fs::read_to_string(folder.join(MARK)).is_ok_and(|installed| installed == lock) {
            return Ok(Self { folder });
        }
        works("npm")?;
        // `ci` takes the versions and digests of the lock and nothing else; no package gets to run anything here.
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
        let output = npm.current_dir(&folder).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed: {}", shown(&npm), error.lines().last().unwrap_or_default());
        }
        fs::write(folder.join(MARK), lock)?;
        Ok(Self { folder })
    }

    /// Where it may write.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The scenarios for servers that a revision scores.
    pub(super) fn scored(&self, revision: &str) -> Result<Vec<String>> {
        let file = self.folder.join(PACKAGE).join("requirements").join(format!("{revision}.yaml"));
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        Ok(listed(&text))
    }

    /// Runs the scenarios that a revision requires; returns the folder with what came of them.
    pub(super) fn run(&self, revision: &str, url: &str) -> Result<PathBuf> {
        let results = self.folder.join(format!("results-{revision}"));
        if results.exists() {
            fs::remove_dir_all(&results)?;
        }
        let mut node = Command::new("node");
        node.args(["--import", "./register.mjs"]).arg(format!("{PACKAGE}/dist/index.js"));
        node.args(["server", "--url", url, "--requirements", revision, "--output-dir"]).arg(&results);
        // It fails when a scenario does, which is judged by its results, against the baseline.
        let output = node.current_dir(&self.folder).stdin(Stdio::null()).output()?;
        if !results.exists() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` left no results: {}", shown(&node), error.trim());
        }
        Ok(results)
    }
}

/// Whether a program is there and starts.
fn works(program: &str) -> Result<()> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("`{program}` cannot be started; install Node.js with npm"),
    }
}

/// The entries of the list `server`.
fn listed(yaml: &str) -> Vec<String> {
    let below = yaml.lines().skip_while(|line| *line != "server:").skip(1);
    below
        .take_while(|line| line.starts_with(' ') || line.is_empty())
        .filter_map(|line| line.trim().strip_prefix("- ").map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_servers_is_read() {
        let yaml = "# server:\nserver:\n  - ping\n  - tools-list\n\nclient:\n  - other\n";
        assert_eq!(listed(yaml), ["ping", "tools-list"]);
        assert_eq!(listed("client:\n  - other\n"), [""; 0]);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = works("llmc-no-such-program").unwrap_err();
        assert!(error.to_string().starts_with("`llmc-no-such-program` cannot be started"), "{error}");
    }
}
