//! Files of a request where a jail has no tree of its own: in a directory of the machine that nobody can list.
//!
//! ```text
//! /tmp/llmc-run-PID-…/     only its owner may list it
//!     3f0c…/               a name that nobody guesses
//!         boot.py
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::spec::SmallFile;

/// Where directories of this kind lie; every machine has it, and everybody may write there.
const PARENT: &str = "/tmp";
/// How the names of these begin; the number of the process that made it follows.
const PREFIX: &str = "llmc-run-";
/// How old something is that was forgotten. A process that cannot be seen from here may live in another container.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The files of one run. Dropping it removes them.
#[derive(Debug)]
pub(super) struct RunFolder {
    closed: PathBuf,
    files: PathBuf,
}

impl RunFolder {
    /// Writes the files; payloads of another user read them.
    pub(super) fn make(files: &[SmallFile]) -> io::Result<Self> {
        let closed = Path::new(PARENT).join(format!("{PREFIX}{}-{}", std::process::id(), unguessable()?));
        // Others pass through; they do not list.
        DirBuilder::new().mode(0o711).create(&closed)?;
        let folder = Self { files: closed.join(unguessable()?), closed };
        DirBuilder::new().mode(0o755).create(&folder.files)?;
        for file in files {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o444);
            options.open(folder.files.join(&file.name))?.write_all(&file.contents)?;
        }
        Ok(folder)
    }

    /// Where they are.
    pub(super) fn path(&self) -> &Path {
        &self.files
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to [`sweep`].
        let _ = fs::remove_dir_all(&self.closed);
    }
}

/// Removes from `/tmp` what processes of this user left there when they were killed: directories whose name is
/// `prefix`, the number of a process that is gone, a hyphen and something more, and that are an hour old.
pub fn sweep(prefix: &str) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-'));
        let Some(pid) = rest.and_then(|(pid, _)| pid.parse::<u32>().ok()) else { continue };
        let is_old = |meta: &fs::Metadata| {
            meta.modified().is_ok_and(|then| then.elapsed().is_ok_and(|age| age > FORGOTTEN_AFTER))
        };
        let is_own = entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own && is_old(&meta));
        if is_own && !Path::new("/proc").join(pid.to_string()).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// [`sweep`] for the files of runs.
pub(super) fn sweep_runs() {
    sweep(PREFIX);
}

/// 128 random bits in hexadecimal.
fn unguessable() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
