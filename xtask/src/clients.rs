//! Installs clients of others for the tests: the SDKs for TypeScript and Python, and MCP Inspector.
//!
//! Versions and digests stand in lock files beside the tests; nothing else is installed, and no script of a package is
//! run. Without npm, Python or a registry the tests say what they did not check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, Workspace};

/// Where the lock files and the programs that use the clients lie.
const SOURCE: &str = "llmc-server/tests/clients";

/// What was installed, so that it is not done twice.
const STAMP: &str = ".installed-from";

/// Installs what is not there yet into `folder`; what cannot be installed is named.
pub(crate) fn install(workspace: &Workspace, folder: &Path) {
    for (name, lock, script, install) in [
        ("node", "package-lock.json", "client.mjs", npm as fn(&Path, &Path) -> Result<()>),
        ("python", "requirements.txt", "client.py", pip),
    ] {
        let source = workspace.root.join(SOURCE).join(name);
        let installed = provide(&source, &folder.join(name), lock, script, install);
        if let Err(error) = installed {
            println!("NOT TESTED: clients of {name} could not be installed: {error:#}");
        }
    }
}

fn provide(
    source: &Path,
    folder: &Path,
    lock: &str,
    script: &str,
    install: fn(&Path, &Path) -> Result<()>,
) -> Result<()> {
    once(&source.join(lock), folder, || install(source, folder))?;
    fs::copy(source.join(script), folder.join(script))?;
    Ok(())
}

/// Installs what a lock file says into an empty folder, unless that was done before.
pub(crate) fn once(lock: &Path, folder: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = fs::read(lock).with_context(|| format!("failed to read `{}`", lock.display()))?;
    let stamp = folder.join(STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    println!("installing what `{}` lists into {}", lock.display(), folder.display());
    install()?;
    fs::write(stamp, wanted)?;
    Ok(())
}

fn npm(source: &Path, folder: &Path) -> Result<()> {
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), folder.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    workspace::check(npm.current_dir(folder).stdin(Stdio::null()))?;
    // The command line of MCP Inspector is published without the file in which it looks for its version.
    let scope = folder.join("node_modules/@modelcontextprotocol");
    fs::copy(scope.join("inspector-cli/package.json"), scope.join("package.json"))?;
    Ok(())
}

fn pip(source: &Path, folder: &Path) -> Result<()> {
    environment(&python()?, &source.join("requirements.txt"), folder)
}

/// A virtual environment of this Python with the wheels of a file, whose digests must be those that stand there.
pub(crate) fn environment(python: &Path, requirements: &Path, folder: &Path) -> Result<()> {
    let mut venv = Command::new(python);
    workspace::check(venv.args(["-m", "venv"]).arg(folder).stdin(Stdio::null()))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--requirement"]).arg(requirements);
    workspace::check(pip.stdin(Stdio::null()))
}

/// A Python that can make virtual environments, which that of the system often cannot.
fn python() -> Result<PathBuf> {
    for name in ["python3", "/usr/bin/python3"] {
        let mut command = Command::new(name);
        command.args(["-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 10))"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return Ok(name.into());
        }
    }
    bail!("there is no Python of 3.10 or later with `ensurepip`")
}
