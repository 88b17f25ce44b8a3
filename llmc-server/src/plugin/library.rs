//! The file of a plugin: read once, digested, and sealed, so that what was checked is what is loaded.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::signature::{SignatureError, Trust};
use crate::files::{self, Version};

/// Largest library that is loaded: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A library, and its copy once somebody needs that.
#[derive(Debug)]
pub(crate) struct Library {
    /// Where it is read from.
    pub(crate) path: PathBuf,
    /// Its size when it was opened.
    pub(crate) bytes: u64,
    /// When it was changed last by then.
    pub(crate) modified: Option<SystemTime>,
    /// Which file it was then.
    pub(crate) version: Option<Version>,
    /// The digest that the operator expects.
    pub(crate) expected: Option<String>,
    /// Until the copy is begun.
    unread: Mutex<Option<Unread>>,
    sealed: watch::Receiver<Option<Outcome>>,
}

type Outcome = Result<Arc<Sealed>, Arc<LibraryError>>;

/// What the copy is made from, and where it goes.
#[derive(Debug)]
struct Unread {
    file: File,
    trust: Trust,
    done: watch::Sender<Option<Outcome>>,
}

/// A sealed copy of a library.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// SHA-256 in hexadecimal.
    pub(crate) sha256: String,
    /// Name of the trusted key that signed it.
    pub(crate) signed_by: Option<String>,
    copy: OwnedFd,
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.copy.as_fd()
    }
}

/// Why a library is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    /// It cannot be read or copied.
    #[error("failed to read plugin library `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its signature, or the lack of one.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is another file than the configuration expects.
    #[error(
        "plugin library `{}` has SHA-256 {found}, the configuration expects {expected}; if the change is wanted, \
         write the new digest into `sha256`", path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The configured digest.
        expected: String,
    },
}

impl Library {
    /// Opens a library. It is read later: this is all that a list of tools needs.
    ///
    /// # Errors
    ///
    /// When it cannot be opened; see [`LibraryError`].
    pub(crate) fn open(path: &Path, expected: Option<&str>, trust: &Trust) -> Result<Self, LibraryError> {
        let failed = |source| LibraryError::Read { path: path.to_owned(), source };
        let (file, bytes) = files::open(path, MAX_BYTES).map_err(failed)?;
        let metadata = file.metadata().ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let version = metadata.as_ref().map(Version::of);
        let (done, sealed) = watch::channel(None);
        let (path, expected) = (path.to_owned(), expected.map(str::to_owned));
        let unread = Mutex::new(Some(Unread { file, trust: trust.clone(), done }));
        Ok(Self { path, bytes, modified, version, expected, unread, sealed })
    }

    /// Begins to read, check and seal it in the background, unless that has begun.
    pub(crate) fn begin_sealing(&self) {
        let unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Unread { file, trust, done }) = unread else { return };
        let (path, expected) = (self.path.clone(), self.expected.clone());
        tokio::task::spawn_blocking(move || {
            let sealed = Sealed::make(file, &path, expected.as_deref(), &trust);
            done.send_replace(Some(sealed.map(Arc::new).map_err(Arc::new)));
        });
    }

    /// Waits for the copy.
    ///
    /// # Errors
    ///
    /// See [`LibraryError`].
    pub(crate) async fn sealed(&self) -> Outcome {
        self.begin_sealing();
        let mut sealed = self.sealed.clone();
        let outcome = sealed.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        outcome.ok().flatten().unwrap_or_else(|| {
            let source = io::Error::other("it was not read to its end");
            Err(Arc::new(LibraryError::Read { path: self.path.clone(), source }))
        })
    }

    /// Its SHA-256, once that is known.
    pub(crate) fn sha256(&self) -> Option<String> {
        let sealed = self.sealed.borrow();
        sealed.as_ref()?.as_ref().ok().map(|sealed| sealed.sha256.clone())
    }
}

impl Sealed {
    /// Reads, checks and seals a library.
    fn make(file: File, path: &Path, expected: Option<&str>, trust: &Trust) -> Result<Self, LibraryError> {
        let failed = |source| LibraryError::Read { path: path.to_owned(), source };
        let mut copy = File::from(memory_file().map_err(failed)?);
        let sha256 = copy_digested(file.take(MAX_BYTES), &mut copy).map_err(failed)?;
        if let Some(expected) = expected.filter(|expected| !expected.eq_ignore_ascii_case(&sha256)) {
            let expected = expected.to_owned();
            return Err(LibraryError::Digest { path: path.to_owned(), found: sha256, expected });
        }
        llmc_sandbox::seal(&copy).map_err(|errno| failed(errno.into()))?;
        let signed_by = trust.check(path, &copy)?;
        Ok(Self { sha256, signed_by, copy: copy.into() })
    }
}

/// A memory file that can be sealed, see `memfd_create(2)` and `F_ADD_SEALS` in `fcntl(2)`.
fn memory_file() -> io::Result<OwnedFd> {
    // Not executable as a program; mapping it, which is what `dlopen` does, is not affected. Kernels before 6.3
    // do not know the flag.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| memfd_create("llmc-plugin", flags);
    Ok(create(flags | MemfdFlags::NOEXEC_SEAL).or_else(|_| create(flags))?)
}

/// Copies in pieces that stay in the processor's cache between reading, digesting and writing; returns the SHA-256
/// in hexadecimal.
fn copy_digested(mut from: impl Read, to: &mut impl Write) -> io::Result<String> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut digest = Sha256::new();
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(count) => {
                digest.update(&piece[..count]);
                to.write_all(&piece[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_copy_is_what_was_digested_and_cannot_be_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let begun = Library::open(file.path(), Some(digest), &Trust::default()).unwrap();
        assert!(begun.unread.lock().unwrap().is_some() && begun.sha256().is_none(), "nobody needs it yet");
        let library = begun.sealed().await.unwrap();
        assert_eq!((library.sha256.as_str(), begun.sha256().as_deref()), (digest, Some(digest)));

        std::fs::write(file.path(), b"swapped afterwards").unwrap();
        let copy = File::from(library.copy.try_clone().unwrap());
        let mut content = [0; 8];
        assert_eq!(rustix::io::pread(&copy, &mut content, 0).unwrap(), 3);
        assert_eq!(&content[..3], b"abc");
        assert_eq!(rustix::io::pwrite(&copy, b"x", 0).unwrap_err(), rustix::io::Errno::PERM);
        assert!(copy.set_len(0).is_err());
    }

    #[tokio::test]
    async fn another_digest_is_refused_and_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let library = Library::open(file.path(), Some(&"0".repeat(64)), &Trust::default()).unwrap();
        let error = library.sealed().await.unwrap_err().to_string();
        assert_eq!(library.sha256(), None);
        assert!(error.contains("e3b0c44298fc1c14") && error.contains("`sha256`"), "{error}");
    }

    #[test]
    fn a_device_is_not_a_library() {
        let error = Library::open(Path::new("/dev/zero"), None, &Trust::default()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
