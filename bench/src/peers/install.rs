//! Peers that come from registries: where they are, and how they get there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::program::Program;

/// An MCP server in Rust that many use; its name on crates.io and in `PATH`.
pub(crate) const RUST: &str = "rust-mcp-filesystem";
/// The version that is installed.
const RUST_VERSION: &str = "0.4.5";

/// The reference server for Node, in the folder where npm put it.
const NODE: &str = "node_modules/@modelcontextprotocol/server-filesystem";

/// How whoever measures gets them.
const HOW: &str = "`cargo xtask bench -- peers --install`";

/// What is there of them.
pub(super) struct Peers {
    pub(super) node: Option<NodeServer>,
    pub(super) rust: Option<Program>,
}

/// The reference server for Node.
pub(super) struct NodeServer {
    pub(super) node: Program,
    pub(super) script: PathBuf,
    /// Of the server.
    pub(super) version: String,
}

impl Peers {
    /// Looks for them; what is not there, and how to get it.
    pub(super) fn find(stage: &Path) -> (Self, Vec<String>) {
        let (node, rust) = (node_server(stage), rust_server(stage));
        let mut missing = Vec::new();
        if let Err(error) = &node {
            missing.push(format!("the reference server for Node: {error:#}"));
        }
        if rust.is_none() {
            missing.push(format!("{RUST}: it is not in PATH; {HOW} installs it"));
        }
        (Self { node: node.ok(), rust }, missing)
    }
}

fn node_server(stage: &Path) -> Result<NodeServer> {
    let node = Program::find(&["node"]).context("there is no `node`")?;
    let folder = node_folder(stage).with_context(|| format!("it is not installed; {HOW} does that"))?;
    let package = folder.join(NODE);
    let about = fs::read(package.join("package.json"))
        .with_context(|| format!("`{}` lacks it; {HOW} installs it", folder.display()))?;
    let about: Value = serde_json::from_slice(&about)?;
    let version = about["version"].as_str().context("it does not tell its version")?.to_owned();
    Ok(NodeServer { node, script: package.join("dist/index.js"), version })
}

/// The server in Rust: the installed one, else that in `PATH`.
pub(crate) fn rust_server(stage: &Path) -> Option<Program> {
    let installed = folder(stage).map(|folder| folder.join("bin").join(RUST)).filter(|file| file.is_file());
    installed.and_then(|file| Program::at(file).ok()).or_else(|| Program::find(&[RUST]))
}

/// Where npm has put its servers, if it has.
pub(crate) fn node_folder(stage: &Path) -> Option<PathBuf> {
    folder(stage).map(|folder| folder.join("node")).filter(|folder| folder.join("node_modules").is_dir())
}

/// Beside the stage, in the target folder, so that it stays from one run to the next.
fn folder(stage: &Path) -> Option<PathBuf> {
    Some(stage.parent()?.join("peers"))
}

/// Installs both.
///
/// # Errors
/// If npm, cargo or a registry is missing.
pub(super) fn install(stage: &Path) -> Result<()> {
    let folder = folder(stage).context("the stage lies in no folder")?;
    let node = folder.join("node");
    fs::create_dir_all(&node)?;
    let locks = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(locks.join(file), node.join(file)).with_context(|| format!("`{file}` of `bench/node`"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&node);
    check(&mut npm)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["install", RUST, "--version", &format!("={RUST_VERSION}"), "--locked", "--root"]);
    // Outside of this workspace, whose configuration is not meant for it.
    check(cargo.arg(&folder).current_dir(&folder))
}

/// stdout is for the report.
fn check(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("failed to start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named_with_its_remedy() {
        let target = tempfile::tempdir().unwrap();
        let stage = target.path().join("stage");
        assert!(node_folder(&stage).is_none());
        let (peers, missing) = Peers::find(&stage);
        assert!(peers.node.is_none());
        assert!(missing[0].starts_with("the reference server for Node: "), "{missing:?}");
        fs::create_dir_all(target.path().join("peers/node/node_modules")).unwrap();
        assert!(node_folder(&stage).is_some());
        // Others are there, this one is not.
        assert!(Peers::find(&stage).0.node.is_none());
    }
}
