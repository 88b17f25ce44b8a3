//! What is shipped beside the stage: documents, what the program tells of itself, files for services and containers.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tree::Tree;
use crate::{Order, book};

/// Documents at the root of the repository. They keep their places to each other, so that links between them hold.
const DOCUMENTS: &[&str] =
    &["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];
const DOCUMENTS_FOLDER: &str = "share/doc/llmc";

/// Shells, and where each looks for completions.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/llmc"),
    ("zsh", "share/zsh/site-functions/_llmc"),
    ("fish", "share/fish/vendor_completions.d/llmc.fish"),
];

/// Folders of `packaging` that a tarball has, for those who install by hand.
const PACKAGING: &[&str] = &["systemd", "docker", "kubernetes"];

/// The documents; pages of the book with what they include.
///
/// # Errors
///
/// When one is missing.
pub fn documents(order: &Order) -> Result<Tree> {
    let mut tree = Tree::default();
    for name in DOCUMENTS {
        tree.put_file(format!("{DOCUMENTS_FOLDER}/{name}"), order.sources.join(name));
    }
    let folder = order.sources.join("docs");
    let mut docs = Tree::of_folder(&folder)?;
    let pages: Vec<String> =
        docs.files().map(|(path, _)| path.to_owned()).filter(|path| path.ends_with(".md")).collect();
    for page in pages {
        let text = book::expanded(&folder.join(&page))?;
        docs.put_bytes(page, text.into_bytes());
    }
    tree.extend(docs.below(&format!("{DOCUMENTS_FOLDER}/docs")));
    Ok(tree)
}

/// Man pages and completions, which the staged program makes from its own command line.
///
/// # Errors
///
/// When the program cannot be started or fails.
pub fn of_program(order: &Order) -> Result<Tree> {
    let mut tree = Tree::default();
    for (shell, path) in COMPLETIONS {
        tree.put_bytes(*path, told(order, &["completions", shell])?);
    }
    let folder = tempfile::tempdir()?;
    let pages = folder.path().to_str().context("the temporary folder has no name")?;
    told(order, &["man", pages])?;
    for page in fs::read_dir(folder.path())? {
        let page = page?;
        let name = page.file_name().into_string().unwrap_or_default();
        tree.put_bytes(format!("share/man/man1/{name}"), fs::read(page.path())?);
    }
    Ok(tree)
}

/// Units, images and manifests.
///
/// # Errors
///
/// When they cannot be read.
pub fn packaging(order: &Order) -> Result<Tree> {
    let mut tree = Tree::default();
    for name in PACKAGING {
        let folder = Tree::of_folder(&order.sources.join("packaging").join(name))?;
        tree.extend(folder.below(&format!("share/llmc/packaging/{name}")));
    }
    Ok(tree)
}

fn told(order: &Order, args: &[&str]) -> Result<Vec<u8>> {
    let mut llmc = Command::new(order.stage.join("bin/llmc"));
    // Nothing of the builder's environment may reach what is shipped.
    let output = llmc.args(args).env_clear().stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("failed to start `{}`", llmc.get_program().display()))?;
    if !output.status.success() {
        bail!("`llmc {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
