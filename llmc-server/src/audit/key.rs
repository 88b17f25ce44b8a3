//! The key of an audit: a file of its own beside the records, its owner's alone.
//!
//! It signs checkpoints, and it keys the hashes of arguments: with a plain hash, whoever reads the audit could try
//! likely arguments (a path, a name, a number) until one fits.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::chain::{ChainId, Checkpoint, End, Kind, hex, signed_bytes, unhex};
use super::now_ms;
use crate::files::{self, NEVER_WAIT};

/// Begins the file, before 64 hexadecimal digits.
const PREFIX: &str = "llmc-audit-key-1 ";

/// Larger files are no keys.
const MAX_BYTES: u64 = 256;

/// Sets the key of arguments apart from the one that signs.
const ARGUMENTS: &[u8] = b"llmc audit arguments 1\n";

/// What signs, and what keys hashes.
pub(crate) struct Key {
    signing: SigningKey,
    arguments: Hmac<Sha256>,
}

impl Key {
    /// Reads the key, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// When it can be neither read nor made, or others than its owner may read it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom(&mut *seed, GetRandomFlags::empty())?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside = tempfile::Builder::new().prefix(".llmc-").tempfile_in(folder)?;
        let text = Zeroizing::new(format!("{PREFIX}{}\n", *Zeroizing::new(hex(&*seed))));
        beside.write_all(text.as_bytes())?;
        beside.as_file().sync_all()?;
        match beside.persist_noclobber(path) {
            Ok(_) => Ok(Self::of(&seed)),
            // Another process was quicker.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error.error),
        }
    }

    /// Reads the key.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and when there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        if metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "others than its owner may use the key `{}`; `chmod 600` it",
                path.display()
            )));
        }
        let text = Zeroizing::new(files::read_text(path, MAX_BYTES)?);
        let seed = text.strip_prefix(PREFIX).and_then(|digits| unhex(digits.trim_end()).map(Zeroizing::new));
        let seed =
            seed.ok_or_else(|| io::Error::other(format!("`{}` is no key of an audit", path.display())))?;
        Ok(Self::of(&seed))
    }

    fn of(seed: &[u8; 32]) -> Self {
        let derived = mac(seed).chain_update(ARGUMENTS).finalize().into_bytes();
        Self { signing: SigningKey::from_bytes(seed), arguments: mac(&derived) }
    }

    pub(crate) fn public(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }

    pub(super) fn sign(&self, kind: Kind, chain: &ChainId, end: &End) -> Checkpoint {
        let time_ms = now_ms();
        let signature = self.signing.sign(&signed_bytes(kind, chain, end, time_ms));
        Checkpoint {
            kind,
            chain: hex(&chain.0),
            seq: end.seq,
            hash: hex(&end.hash),
            time_ms,
            public_key: hex(self.public().as_bytes()),
            signature: hex(&signature.to_bytes()),
        }
    }

    /// Tells equal arguments from different ones, and nothing else.
    pub(super) fn hash(&self, arguments: &[u8]) -> [u8; 32] {
        self.arguments.clone().chain_update(arguments).finalize().into_bytes().into()
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key of HMAC may have any length"))
}

/// Reads a public key as [`Checkpoint::public_key`] has it.
pub(crate) fn public(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&unhex(text)?).ok()
}

/// Whose turn it is to write: the lock of the key's file, given back when dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "closing the file ends the lock")] File);

/// Waits for the turn of this process among all that write the same audit.
///
/// # Errors
///
/// When another one does not give it back in time.
pub(super) fn turn(path: &Path, patience: std::time::Duration) -> io::Result<Turn> {
    use rustix::fs::{FlockOperation, flock};
    let file = OpenOptions::new().read(true).custom_flags(NEVER_WAIT).open(path)?;
    let begun = std::time::Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Turn(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let shown = path.display();
                return Err(io::Error::other(format!("another process does not let go of `{shown}`")));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file beside the records.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db.key");
        assert!(Key::read(&path).is_err());
        let made = Key::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let again = Key::open(&path).unwrap();
        assert_eq!(made.public(), again.public());
        assert_eq!(made.hash(b"x"), again.hash(b"x"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Key::open(&path).is_err_and(|error| error.to_string().contains("chmod 600")));
    }

    #[test]
    fn a_hash_says_nothing_to_who_has_not_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["one", "other"].map(|name| Key::open(&folder.path().join(name)).unwrap());
        assert_ne!(keys[0].hash(b"{}"), keys[1].hash(b"{}"));
        assert_ne!(keys[0].hash(b"{}"), keys[0].hash(b"[]"));
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Key::open(&path).unwrap();
        let patience = std::time::Duration::from_millis(20);
        let first = turn(&path, patience).unwrap();
        assert!(turn(&path, patience).is_err());
        drop(first);
        assert!(turn(&path, patience).is_ok());
    }
}
