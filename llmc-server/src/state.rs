//! State folders: what a plugin keeps from one start to the next.
//!
//! `STATE/PLUGIN/ROOTS`, where `ROOTS` stands for the directories that the plugin is granted. What it wrote about one
//! set of directories is therefore out of its reach when it is granted another: a folder tells no more than its roots
//! do. Each level belongs to the server's user and is closed to others, and none lies in a root, where tools could
//! read or change it.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::roots::{Root, Roots};

/// For the owner alone.
const PRIVATE: u32 = 0o700;
/// What a folder may not allow to others: writing in the folder of all plugins, anything in that of one.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;

/// Why a plugin cannot have its folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(
        "plugin `{0}` is granted `state`, but neither XDG_STATE_HOME nor HOME says where; set `server.state`"
    )]
    Nowhere(String),
    #[error("failed to open state folder `{}`: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("state folder `{}` {problem}", path.display())]
    NotPrivate { path: PathBuf, problem: &'static str },
    #[error(
        "state folder `{}` and root `{root}` lie inside each other, so tools could change what plugins keep; set \
         `server.state` to a folder outside of all roots",
        path.display()
    )]
    InRoot { path: PathBuf, root: String },
}

/// Opens the folder of a plugin, and makes it if it is not there.
///
/// # Errors
///
/// When there is no place for it, or the place is not private.
pub(crate) fn open(
    config: &Config,
    plugin: &str,
    granted: &[(&Root, bool)],
    roots: &Roots,
) -> Result<OwnedFd, StateError> {
    let base =
        config.server.state.clone().or_else(user_folder).ok_or(StateError::Nowhere(plugin.to_owned()))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StateError::Open { path, source }
    };
    if base.exists() && !base.is_dir() {
        let problem = "is no directory; set `server.state` to one";
        return Err(StateError::NotPrivate { path: base, problem });
    }
    DirBuilder::new().recursive(true).mode(PRIVATE).create(&base).map_err(failed(&base))?;
    let mut dir = open_directory(CWD, &base, OFlags::empty()).map_err(failed(&base))?;
    let mut path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).map_err(failed(&base))?;
    check_private(&dir, &path, OTHERS_WRITE)?;
    if let Some(root) = roots.values().find(|root| inside_each_other(&root.path, &path)) {
        return Err(StateError::InRoot { path, root: root.name.clone() });
    }
    for name in [plugin, &key(granted)] {
        path.push(name);
        match mkdirat(&dir, name, Mode::from_raw_mode(PRIVATE)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(&path)(errno.into())),
        }
        dir = open_directory(&dir, Path::new(name), OFlags::NOFOLLOW).map_err(failed(&path))?;
        check_private(&dir, &path, OTHERS)?;
    }
    Ok(dir)
}

/// `$XDG_STATE_HOME/llmc`, as in the XDG Base Directory Specification.
fn user_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(folder.join("llmc"))
}

fn open_directory(at: impl std::os::fd::AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

fn check_private(dir: &OwnedFd, path: &Path, others: u32) -> Result<(), StateError> {
    let not_private = |problem| Err(StateError::NotPrivate { path: path.to_owned(), problem });
    let stat =
        fstat(dir).map_err(|errno| StateError::Open { path: path.to_owned(), source: errno.into() })?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return not_private("belongs to another user; set `server.state` to a folder of your own");
    }
    if stat.st_mode & others != 0 {
        return not_private("is open to other users; close it with `chmod go-rwx`");
    }
    Ok(())
}

fn inside_each_other(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Stands for a set of directories: 32 hexadecimal digits, the same whatever their order and access.
fn key(granted: &[(&Root, bool)]) -> String {
    let mut paths: Vec<&Path> = granted.iter().map(|(root, _)| root.path.as_path()).collect();
    paths.sort_unstable();
    let mut digest = Sha256::new();
    for path in paths {
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{self, Access};
    use crate::roots;

    /// A folder with roots `a` and `b`, and a configuration that keeps state in `state`.
    fn ground(state: &str) -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        for name in ["a", "b"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            config.roots.insert(name.into(), config::Root { path, access: Access::Rw });
        }
        config.server.state = Some(folder.path().join(state));
        (folder, config)
    }

    fn open_for(config: &Config, grants: &[&str]) -> Result<PathBuf, StateError> {
        let roots = roots::open_all(config).unwrap();
        let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
        let dir = open(config, "search", &roots::granted(&roots, &grants), &roots)?;
        Ok(fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).unwrap())
    }

    #[test]
    fn each_set_of_roots_has_a_folder_of_its_own() {
        let (folder, config) = ground("deep/state");
        let a = open_for(&config, &["a"]).unwrap();
        assert!(a.starts_with(folder.path().join("deep/state/search")), "{a:?}");
        assert_eq!(fs::metadata(&a).unwrap().permissions().mode() & 0o7777, PRIVATE);
        assert_eq!(open_for(&config, &["a:ro"]).unwrap(), a);
        let both = open_for(&config, &["a", "b"]).unwrap();
        assert_eq!(open_for(&config, &["b", "a"]).unwrap(), both);
        assert!(both != a && open_for(&config, &[]).unwrap() != a);
    }

    #[test]
    fn a_folder_in_a_root_or_around_one_is_refused() {
        for place in ["a", "a/state", "."] {
            let (_folder, config) = ground(place);
            let error = open_for(&config, &["b"]).unwrap_err().to_string();
            assert!(error.contains("lie inside each other"), "{place}: {error}");
        }
        let (folder, mut config) = ground("link");
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("link")).unwrap();
        assert!(matches!(open_for(&config, &["b"]), Err(StateError::InRoot { .. })));
        config.server.state = Some(folder.path().join("a-state"));
        open_for(&config, &["a"]).unwrap();
    }

    #[test]
    fn an_open_folder_and_a_planted_link_are_refused() {
        let (_folder, config) = ground("state");
        let dir = open_for(&config, &["a"]).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        let error = open_for(&config, &["a"]).unwrap_err().to_string();
        assert!(error.contains("chmod go-rwx"), "{error}");
        fs::remove_dir(&dir).unwrap();
        std::os::unix::fs::symlink("/tmp", &dir).unwrap();
        assert!(matches!(open_for(&config, &["a"]), Err(StateError::Open { .. })));
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_names_it() {
        let (folder, config) = ground("state");
        fs::write(folder.path().join("state"), "").unwrap();
        assert!(open_for(&config, &["a"]).unwrap_err().to_string().contains("state"));
    }
}
