//! Signatures of plugin libraries, as [minisign](https://jedisct1.github.io/minisign/) makes them: Ed25519 over the
//! BLAKE2b digest of the file, in `libNAME.so.minisig` beside it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minisign_verify::{PublicKey, Signature};

use crate::config::Config;
use crate::files;

/// A signature has four short lines.
const MAX_BYTES: u64 = 4 << 10;

/// Bytes that are digested at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Begins the part of a trusted comment that names the file; `minisign -S` writes it by itself.
const FILE: &str = "file:";

/// Whose signatures count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    keys: Arc<[(String, PublicKey)]>,
    required: bool,
}

/// Why a signature, or its absence, keeps a plugin out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is none.
    #[error(
        "plugin library `{}` is not signed and `server.require_signature` is set: `{}` does not exist; `minisign -Sm \
         FILE` makes one", library.display(), file.display()
    )]
    Missing {
        /// The library.
        library: PathBuf,
        /// Where the signature would be.
        file: PathBuf,
    },
    /// It cannot be read.
    #[error("failed to read signature `{}`: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no signature in the form of today.
    #[error("`{}` is no signature of minisign 0.10 or later: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody trusted made it.
    #[error(
        "`{}` was made with a key that is not among the trusted ones ({known}), and `server.require_signature` is set; \
         if its maker is to be trusted, add the public key to [trusted_keys]", file.display()
    )]
    Unknown {
        /// The file.
        file: PathBuf,
        /// Names of the trusted keys.
        known: String,
    },
    /// A trusted key was named, and did not sign this.
    #[error(
        "`{}` does not fit plugin library `{}`: the library, or the signature, was changed after `{key}` signed it",
        file.display(), library.display()
    )]
    Wrong {
        /// The signature.
        file: PathBuf,
        /// The library.
        library: PathBuf,
        /// Name of the key.
        key: String,
    },
    /// It was made for another file.
    #[error("`{}` was made for file `{other}`, not for `{}`", file.display(), library.display())]
    Other {
        /// The signature.
        file: PathBuf,
        /// The library.
        library: PathBuf,
        /// What it was made for.
        other: String,
    },
}

impl Trust {
    /// Reads the keys of a configuration.
    ///
    /// # Errors
    ///
    /// When a key is none; the text names it.
    pub(crate) fn of(config: &Config) -> Result<Self, String> {
        let key = |(name, text): (&String, &String)| {
            let key = PublicKey::from_base64(text.trim()).map_err(|error| {
                format!(
                    "[trusted_keys] {name}: `{text}` is no public key of minisign ({error}); it is the second line of \
                     a file such as `minisign.pub`"
                )
            })?;
            Ok((name.clone(), key))
        };
        let keys: Arc<[_]> = config.trusted_keys.iter().map(key).collect::<Result<_, String>>()?;
        if config.server.require_signature && keys.is_empty() {
            return Err(
                "server.require_signature: [trusted_keys] names no key, so no plugin could start".into()
            );
        }
        Ok(Self { keys, required: config.server.require_signature })
    }

    /// Checks the signature beside a library against its sealed copy; answers with the name of the key. Without
    /// `server.require_signature` there may be no signature, or one of somebody unknown; a wrong one of somebody known
    /// is refused always.
    ///
    /// # Errors
    ///
    /// See [`SignatureError`].
    pub(super) fn check(&self, library: &Path, copy: &File) -> Result<Option<String>, SignatureError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let file = beside(library);
        let text = match files::read_text(&file, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = SignatureError::Missing { library: library.to_owned(), file };
                return if self.required { Err(missing) } else { Ok(None) };
            }
            Err(source) => return Err(SignatureError::Read { file, source }),
        };
        let form = |reason: minisign_verify::Error| SignatureError::Form {
            file: file.clone(),
            reason: reason.to_string(),
        };
        let signature = Signature::decode(&text).map_err(form)?;
        for (key, public) in self.keys.iter() {
            let mut verifier = match public.verify_stream(&signature) {
                Ok(verifier) => verifier,
                Err(minisign_verify::Error::UnexpectedKeyId) => continue,
                Err(other) => return Err(form(other)),
            };
            let digested = each_piece(copy, |piece| verifier.update(piece));
            digested.map_err(|source| SignatureError::Read { file: library.to_owned(), source })?;
            if verifier.finalize().is_err() {
                return Err(SignatureError::Wrong { file, library: library.to_owned(), key: key.clone() });
            }
            return match other_file(signature.trusted_comment(), library) {
                Some(other) => Err(SignatureError::Other { file, library: library.to_owned(), other }),
                None => Ok(Some(key.clone())),
            };
        }
        let known = self.keys.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if self.required { Err(SignatureError::Unknown { file, known }) } else { Ok(None) }
    }
}

/// `libNAME.so.minisig`
fn beside(library: &Path) -> PathBuf {
    let mut file = library.as_os_str().to_owned();
    file.push(".minisig");
    file.into()
}

/// The file that a trusted comment names, if it is another one: a signature of one plugin must not do for another that
/// took its name.
fn other_file(comment: &str, library: &Path) -> Option<String> {
    let named = comment.split(['\t', ' ']).find_map(|part| part.strip_prefix(FILE))?;
    let is_it = library.file_name().is_some_and(|name| name == named);
    (!is_it).then(|| named.to_owned())
}

fn each_piece(file: &File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        match file.read_at(&mut piece, at)? {
            0 => return Ok(()),
            count => {
                take(&piece[..count]);
                at += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;
    use tempfile::TempDir;

    use super::*;

    struct Signed {
        folder: TempDir,
        maker: KeyPair,
    }

    impl Signed {
        /// A library with a signature beside it.
        fn new(comment: &str) -> Self {
            let (folder, maker) =
                (tempfile::tempdir().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
            let signed = Self { folder, maker };
            std::fs::write(signed.library(), b"abc").unwrap();
            signed.sign(comment);
            signed
        }

        fn library(&self) -> PathBuf {
            self.folder.path().join("libhello.so")
        }

        fn sign(&self, comment: &str) {
            let signed =
                minisign::sign(Some(&self.maker.pk), &self.maker.sk, &b"abc"[..], Some(comment), None)
                    .unwrap();
            std::fs::write(beside(&self.library()), signed.to_string()).unwrap();
        }

        fn check(&self, keys: &[&KeyPair], required: bool) -> Result<Option<String>, String> {
            let mut config = Config::default();
            config.server.require_signature = required;
            for (number, key) in keys.iter().enumerate() {
                config.trusted_keys.insert(format!("key{number}"), key.pk.to_base64());
            }
            let trust = Trust::of(&config)?;
            let copy = File::open(self.library()).unwrap();
            trust.check(&self.library(), &copy).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn what_a_trusted_key_signed_is_named_and_what_was_changed_is_refused() {
        let signed = Signed::new("timestamp:1\tfile:libhello.so\thashed");
        let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
        for required in [true, false] {
            assert_eq!(signed.check(&[&stranger, &signed.maker], required), Ok(Some("key1".to_owned())));
        }
        std::fs::write(signed.library(), b"abd").unwrap();
        for required in [true, false] {
            let error = signed.check(&[&signed.maker], required).unwrap_err();
            assert!(error.contains("was changed after `key0` signed it"), "{error}");
        }
    }

    #[test]
    fn a_signature_is_required_or_not() {
        let signed = Signed::new("file:libhello.so");
        let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
        assert_eq!(signed.check(&[&stranger], false), Ok(None));
        assert!(
            signed.check(&[&stranger], true).unwrap_err().contains("not among the trusted ones (`key0`)")
        );
        std::fs::remove_file(beside(&signed.library())).unwrap();
        assert_eq!(signed.check(&[&signed.maker], false), Ok(None));
        assert!(signed.check(&[&signed.maker], true).unwrap_err().contains("is not signed"));
        assert!(signed.check(&[], true).unwrap_err().contains("names no key"));
        assert_eq!(signed.check(&[], false), Ok(None));
    }

    #[test]
    fn a_signature_does_not_do_for_another_file() {
        let signed = Signed::new("timestamp:1\tfile:libfs.so\thashed");
        let error = signed.check(&[&signed.maker], false).unwrap_err();
        assert!(error.contains("made for file `libfs.so`"), "{error}");
        signed.sign("a comment that names no file");
        assert_eq!(signed.check(&[&signed.maker], true), Ok(Some("key0".to_owned())));
    }

    #[test]
    fn a_forged_comment_and_no_signature_are_refused() {
        let signed = Signed::new("file:libfs.so");
        let file = beside(&signed.library());
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("libfs.so", "libhello.so")).unwrap();
        assert!(signed.check(&[&signed.maker], false).unwrap_err().contains("does not fit"));
        std::fs::write(&file, "untrusted comment: no more\n").unwrap();
        assert!(signed.check(&[&signed.maker], false).unwrap_err().contains("is no signature"));
        std::fs::write(&file, vec![b'x'; 5000]).unwrap();
        assert!(signed.check(&[&signed.maker], false).unwrap_err().contains("failed to read signature"));
    }

    #[test]
    fn a_wrong_key_is_named() {
        let mut config = Config::default();
        config.trusted_keys.insert("ada".into(), "RWQnonsense".into());
        let error = Trust::of(&config).err().unwrap();
        assert!(error.starts_with("[trusted_keys] ada: `RWQnonsense` is no public key"), "{error}");
    }
}
