//! Looks at files again and again. Polling, because it works on every file system, needs no descriptors, and sees a
//! file that an editor or a package manager replaced as well as one that was written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::config::{Access, Config};
use crate::files::Version;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long files must stay as they are before a change counts: a library is written in many pieces, and a lock after
/// it.
const QUIET: Duration = Duration::from_millis(500);

/// Files, and how they were.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    versions: Vec<Option<Version>>,
    /// What the log has said of files that are not looked at.
    told: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(config: &Config, files: Vec<(PathBuf, Option<Version>)>) -> Self {
        let mut watch = Self { files: Vec::new(), versions: Vec::new(), told: BTreeSet::new() };
        watch.follow(config, files);
        watch
    }

    /// Looks at these files from now on; what was seen of those that it knows still counts.
    pub(super) fn follow(&mut self, config: &Config, files: Vec<(PathBuf, Option<Version>)>) {
        let (mut watched, mut versions) = (Vec::new(), Vec::new());
        for (file, version) in files.into_iter().filter(|_| config.server.watch) {
            match root_around(&file, config) {
                None => {
                    let known = self.files.iter().position(|known| *known == file);
                    versions.push(known.map_or(version, |at| self.versions[at].clone()));
                    watched.push(file);
                }
                Some(root) if self.told.insert(file.clone()) => warn!(
                    file = %file.display(),
                    root,
                    "not watched, because it lies in a writable root; changes count after SIGHUP or a new start"
                ),
                Some(_) => {}
            }
        }
        (self.files, self.versions) = (watched, versions);
    }

    /// Returns once a file has changed and all are quiet.
    pub(super) async fn changed(&mut self) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(INTERVAL).await;
            let mut now = look(&self.files).await;
            if now == self.versions {
                continue;
            }
            loop {
                tokio::time::sleep(QUIET).await;
                let again = look(&self.files).await;
                if again == now {
                    break;
                }
                now = again;
            }
            self.versions = now;
            return;
        }
    }
}

/// A file system that does not answer must not keep calls waiting.
async fn look(files: &[PathBuf]) -> Vec<Option<Version>> {
    let files = files.to_vec();
    let look = move || files.iter().map(|file| Version::at(file)).collect();
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// The writable root that holds a file. What tools and programs write there must not count before the operator has had
/// a chance to look at it.
fn root_around<'a>(file: &Path, config: &'a Config) -> Option<&'a str> {
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok())?;
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let holds = |root: &Path| {
        root.canonicalize().is_ok_and(|root| folder.starts_with(&root) || real.starts_with(&root))
    };
    let mut writable = config.roots.iter().filter(|(_, root)| root.access == Access::Rw);
    writable.find(|(_, root)| holds(&root.path)).map(|(name, _)| name.as_str())
}
