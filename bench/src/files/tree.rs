//! The tree that is searched.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The wanted tree, else the sources of crates that cargo keeps, else this workspace.
pub(super) fn choose(wanted: Option<&Path>) -> Result<PathBuf> {
    let sources = sources(env::var_os("CARGO_HOME"), env::home_dir()).filter(|folder| folder.is_dir());
    let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = wanted.map(Path::to_path_buf).or(sources).unwrap_or_else(workspace);
    let tree = tree
        .canonicalize()
        .with_context(|| format!("there is no `{}`; name a tree with `--tree`", tree.display()))?;
    ensure!(tree.is_dir(), "`{}` is no directory", tree.display());
    Ok(tree)
}

/// See <https://doc.rust-lang.org/cargo/guide/cargo-home.html>.
fn sources(cargo_home: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let cargo = cargo_home.map(PathBuf::from).or_else(|| Some(home?.join(".cargo")))?;
    Some(cargo.join("registry/src"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_in_the_home_of_cargo() {
        let home = || Some(PathBuf::from("/home/ada"));
        assert_eq!(sources(None, home()).unwrap(), Path::new("/home/ada/.cargo/registry/src"));
        assert_eq!(sources(Some("/cargo".into()), home()).unwrap(), Path::new("/cargo/registry/src"));
        assert_eq!(sources(None, None), None);
    }

    #[test]
    fn a_tree_is_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(choose(Some(folder.path())).unwrap(), folder.path().canonicalize().unwrap());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(choose(Some(&file)).is_err());
        assert!(choose(Some(&folder.path().join("none"))).is_err());
        assert!(choose(None).unwrap().is_dir());
    }
}
