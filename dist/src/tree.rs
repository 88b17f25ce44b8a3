//! The files of a package: where each goes, its mode, and what is in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whether it is a program; modes are 0755 and 0644, whatever the umask of the builder was.
    pub executable: bool,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Read when it is needed: a stage has hundreds of megabytes.
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Entry {
    /// Its bytes.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.into()),
            Content::File(path) => {
                let bytes = fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
                Ok(bytes.into())
            }
        }
    }

    /// Permissions.
    pub fn mode(&self) -> u32 {
        if self.executable { 0o755 } else { 0o644 }
    }
}

/// Files by relative path, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// All files in a folder and in those below it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or something in it is neither a file nor a folder: a link would mean another thing where
    /// it is unpacked.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(folder, "")?;
        Ok(tree)
    }

    fn add(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                bail!("the name of `{}` is no text", path.display());
            };
            let kind = entry.file_type()?;
            let inside = format!("{prefix}{name}");
            if kind.is_dir() {
                self.add(&path, &format!("{inside}/"))?;
            } else if kind.is_file() {
                let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
                self.0.insert(inside, Entry { executable, content: Content::File(path) });
            } else {
                bail!("`{}` is neither a file nor a folder", path.display());
            }
        }
        Ok(())
    }

    /// Puts a file in it that lies elsewhere.
    pub fn put_file(&mut self, path: impl Into<String>, from: PathBuf) {
        self.0.insert(path.into(), Entry { executable: false, content: Content::File(from) });
    }

    /// Puts a file in it.
    pub fn put_bytes(&mut self, path: impl Into<String>, bytes: Vec<u8>) {
        self.0.insert(path.into(), Entry { executable: false, content: Content::Bytes(bytes) });
    }

    /// Takes all files of another one over.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The same files one folder deeper.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        Self(self.0.iter().map(|(path, entry)| (format!("{folder}/{path}"), entry.clone())).collect())
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// All folders that its files lie in, each after its parent.
    pub fn folders(&self) -> BTreeSet<String> {
        let parents =
            |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
        self.0.keys().flat_map(|path| parents(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_sorted_files_with_two_modes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        for (name, mode) in [("bin/run", 0o700), ("a.txt", 0o666)] {
            let file = folder.path().join(name);
            fs::write(&file, name).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let tree = Tree::of_folder(folder.path()).unwrap().below("top/one");
        let files: Vec<_> = tree.files().map(|(path, entry)| (path, entry.mode())).collect();
        assert_eq!(files, [("top/one/a.txt", 0o644), ("top/one/bin/run", 0o755)]);
        assert_eq!(Vec::from_iter(tree.folders()), ["top", "top/one", "top/one/bin"]);
    }

    #[test]
    fn a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(Tree::of_folder(folder.path()).unwrap_err().to_string().contains("neither"));
    }
}
