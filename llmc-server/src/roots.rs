//! Roots: directories that are opened once, at start-up, and from then on are used only by handle.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};

use crate::config::{Access, Config};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) name: String,
    /// Where it really is, for messages and for absolute paths in arguments.
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
    dir: OwnedFd,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// All open roots, by name.
pub(crate) type Roots = BTreeMap<String, Root>;

/// Why a root cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open root `{name}` at `{}`: {source}; {}", path.display(), advice(source))]
pub(crate) struct RootError {
    name: String,
    path: PathBuf,
    source: std::io::Error,
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "the user of the server may not look into a directory on the way"
        }
        _ => "it must be an existing directory",
    }
}

/// Opens every root of the configuration.
///
/// # Errors
///
/// When one of them is not a directory that the server may open.
pub(crate) fn open_all(config: &Config) -> Result<Roots, RootError> {
    config
        .roots
        .iter()
        .map(|(name, root)| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let failed =
                |source: std::io::Error| RootError { name: name.clone(), path: root.path.clone(), source };
            let dir = open(&root.path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
            let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).map_err(failed)?;
            let writable = root.access == Access::Rw && !config.policy.read_only;
            Ok((name.clone(), Root { name: name.clone(), path, writable, dir }))
        })
        .collect()
}

/// The roots of a grant list such as `["work", "docs:ro"]`, each with whether it may be written to.
///
/// Names that do not exist were refused when the configuration was loaded.
pub(crate) fn granted<'a>(roots: &'a Roots, grants: &[String]) -> Vec<(&'a Root, bool)> {
    grants
        .iter()
        .filter_map(|grant| {
            let (name, lowered) =
                grant.strip_suffix(":ro").map_or((grant.as_str(), false), |name| (name, true));
            roots.get(name).map(|root| (root, root.writable && !lowered))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(folder: &std::path::Path, read_only: bool) -> Config {
        let root = config::Root { path: folder.to_owned(), access: Access::Rw };
        let mut config = Config::default();
        config.roots.insert("work".into(), root);
        config.policy.read_only = read_only;
        config
    }

    #[test]
    fn a_grant_can_lower_access_but_not_raise_it() {
        let folder = tempfile::tempdir().unwrap();
        let roots = open_all(&config(folder.path(), false)).unwrap();
        let writable = |grant: &str| granted(&roots, &[grant.into()])[0].1;
        assert!(writable("work"));
        assert!(!writable("work:ro"));
        let roots = open_all(&config(folder.path(), true)).unwrap();
        assert!(!granted(&roots, &["work".into()])[0].1, "policy.read_only");
    }

    #[test]
    fn a_file_is_not_a_root() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = open_all(&config(file.path(), false)).unwrap_err().to_string();
        assert!(error.contains("root `work`") && error.contains("Not a directory"), "{error}");
    }
}
