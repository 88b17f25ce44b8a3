//! One-time links: `llmc console` writes a ticket, the server takes it once.
//!
//! A ticket is a file of the operator's, named by the digest of its text, in a folder beside the tokens. Who could write
//! there could make a token just as well. Removing the file takes the ticket: of two who come at the same time, one
//! succeeds.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use super::secret_text::{digest, new};

/// How long a ticket is good for.
pub(crate) const LIFETIME: Duration = Duration::from_mins(1);

/// Where tickets are.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    folder: PathBuf,
}

impl Tickets {
    /// Beside a file of tokens.
    pub(crate) fn beside(tokens: &Path) -> Self {
        Self { folder: tokens.with_file_name("console") }
    }

    /// Makes a ticket and returns its text. Old ones are removed.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or is not its owner's alone.
    pub(crate) fn create(&self) -> anyhow::Result<String> {
        let failed = || format!("failed to write a ticket to `{}`", self.folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).with_context(failed)?;
        anyhow::ensure!(
            self.is_private()?,
            "others may write `{}`; `chmod 700` it as its owner",
            self.folder.display()
        );
        for entry in std::fs::read_dir(&self.folder).with_context(failed)?.flatten() {
            if entry.metadata().is_ok_and(|metadata| !is_fresh(&metadata)) {
                // Of two who clean up, one is late.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let text = new().with_context(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(self.file(&text)).with_context(failed)?;
        Ok(text)
    }

    /// Takes a ticket: it is none from now on. Whether it was one.
    pub(crate) fn take(&self, text: &str) -> bool {
        let file = self.file(text);
        let good = self.is_private().unwrap_or(false)
            && file.symlink_metadata().is_ok_and(|metadata| {
                metadata.is_file() && metadata.uid() == own_user() && is_fresh(&metadata)
            });
        // Only who removes it has it.
        std::fs::remove_file(&file).is_ok() && good
    }

    fn file(&self, text: &str) -> PathBuf {
        let name: String = digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }

    fn is_private(&self) -> io::Result<bool> {
        let metadata = File::open(&self.folder)?.metadata()?;
        Ok(metadata.is_dir() && metadata.mode() & 0o022 == 0 && metadata.uid() == own_user())
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Neither old nor from the future.
fn is_fresh(metadata: &std::fs::Metadata) -> bool {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    SystemTime::now().duration_since(modified).is_ok_and(|age| age <= LIFETIME)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tickets() -> (tempfile::TempDir, Tickets) {
        let folder = tempfile::tempdir().unwrap();
        let tickets = Tickets::beside(&folder.path().join("tokens.json"));
        (folder, tickets)
    }

    #[test]
    fn a_ticket_is_taken_once() {
        let (_folder, tickets) = tickets();
        let text = tickets.create().unwrap();
        for wrong in ["", "..", "/", &text[1..], &format!("{text}x")] {
            assert!(!tickets.take(wrong), "{wrong}");
        }
        let winners = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8).map(|_| scope.spawn(|| tickets.take(&text))).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(winners, 1);
        assert!(!tickets.take(&text));
    }

    #[test]
    fn an_old_ticket_is_none_and_goes_away() {
        let (_folder, tickets) = tickets();
        let aged = |text: &str, by: Duration| {
            let file = File::options().write(true).open(tickets.file(text)).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        };
        let old = tickets.create().unwrap();
        aged(&old, LIFETIME + Duration::from_secs(2));
        assert!(!tickets.take(&old));
        let forgotten = tickets.create().unwrap();
        aged(&forgotten, Duration::from_hours(1));
        let text = tickets.create().unwrap();
        assert!(!tickets.file(&forgotten).exists());
        let file = File::options().write(true).open(tickets.file(&text)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_hours(1)).unwrap();
        assert!(!tickets.take(&text), "from the future");
    }

    #[test]
    fn a_folder_that_others_write_holds_no_tickets() {
        let (_folder, tickets) = tickets();
        let text = tickets.create().unwrap();
        std::fs::set_permissions(&tickets.folder, PermissionsExt::from_mode(0o770)).unwrap();
        assert!(!tickets.take(&text));
        assert!(tickets.create().unwrap_err().to_string().contains("chmod 700"));
        std::fs::set_permissions(&tickets.folder, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(!tickets.take(&text), "what was presented once is gone");
        let text = tickets.create().unwrap();
        assert!(tickets.take(&text));
    }
}
