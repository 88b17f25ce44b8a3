//! Checks what the compiler does not. Each check is a function over texts or metadata and has a sample that fails it.

mod book;
mod documents;
mod manifests;
mod sources;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A file of the repository; one that is not text has none.
struct TextFile {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Something to mend, and how.
#[derive(Debug)]
struct Problem {
    path: String,
    line: Option<usize>,
    message: String,
}

/// Runs all checks and prints every problem found.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = text_files(&workspace.root)?;
    let members = workspace.members()?;

    let mut problems = manifests::check(&members, &files);
    problems.extend(sources::check(&files, &workspace.root));
    problems.extend(documents::check(&files, &crate::verbs()));
    problems.extend(book::check(&files));
    if workspace.resolved().is_err() {
        problems.push(Problem::new(
            "Cargo.lock",
            "does not fit the manifests; run `cargo metadata` and commit it",
        ));
    }

    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => println!("tidy: {} files, no problem", files.len()),
        count => bail!("tidy found {count} problems"),
    }
    Ok(())
}

/// Reads every file of the repository; what cargo builds and git ignores is left out.
fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?
        {
            let entry = entry?;
            let path = entry.path();
            let name = relative(root, &path);
            let is_ignored = ignored.lines().any(|line| line.strip_prefix('/') == Some(&name));
            let kind = entry.file_type()?;
            if is_ignored || name == ".git" {
                continue;
            } else if kind.is_dir() && !path.join("CACHEDIR.TAG").exists() {
                folders.push(path);
            } else if kind.is_file() {
                // A picture has no text to check, but documents may lead to it.
                let text = String::from_utf8(fs::read(&path)?).unwrap_or_default();
                files.push(TextFile { path: name, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

impl Problem {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// A problem of one line, counted from 1.
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(path, message) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, message } = self;
        match line {
            Some(line) => write!(f, "{path}:{line}: {message}"),
            None => write!(f, "{path}: {message}"),
        }
    }
}
