//! Files of a request where a jail has no tree of its own: in a directory of the machine that nobody can list.
//!
//! ```text
//! /tmp/llmc-runner-PID-…/     only its owner may list it
//!     3f0c…/                  one for each run, with a name that nobody guesses
//!         boot.py
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::spec::SmallFile;

/// Where the directory of a launcher lies.
const PARENT: &str = "/tmp";
/// How its name begins; the number of its process follows.
const PREFIX: &str = "llmc-runner-";

/// The directory of a launcher. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// The files of one run. Dropping it removes them.
#[derive(Debug)]
pub(super) struct RunFolder(PathBuf);

impl Folder {
    /// Makes it, and removes what launchers of the same user left when they were killed.
    pub(super) fn make() -> io::Result<Self> {
        sweep();
        let folder = Path::new(PARENT).join(format!("{PREFIX}{}-{}", std::process::id(), unguessable()?));
        // Others pass through; they do not list.
        DirBuilder::new().mode(0o711).create(&folder)?;
        Ok(Self(folder))
    }

    /// Writes the files of a run; payloads of another user read them.
    pub(super) fn write(&self, files: &[SmallFile]) -> io::Result<RunFolder> {
        let folder = RunFolder(self.0.join(unguessable()?));
        DirBuilder::new().mode(0o755).create(&folder.0)?;
        for file in files {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o444);
            options.open(folder.0.join(&file.name))?.write_all(&file.contents)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl RunFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What cannot be removed now goes with the launcher's directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// 128 random bits in hexadecimal.
fn unguessable() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Removes directories of this user whose launcher is gone.
fn sweep() {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let is_own = || entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own);
        let is_gone = |pid| !Path::new("/proc").join(format!("{pid}")).exists();
        if pid.is_some_and(is_gone) && is_own() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
