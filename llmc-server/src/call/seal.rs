//! What the server gives a client to hand back: sealed, so that nobody else could have written it, and good once.
//!
//! A seal is an HMAC over the content and over what it is bound to: for whom, which tool, which arguments. The content
//! can be read by whoever holds it; there is nothing in it that did not come from there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha512};
use tracing::warn;

use super::common::{Common, Use};

/// What an HMAC over SHA-256 takes as it is.
const KEY_BYTES: usize = 64;

/// Least length of what a key is made from.
const MIN_SOURCE_BYTES: usize = 32;

/// Largest file with a key.
const MAX_KEY_FILE_BYTES: u64 = 4 << 10;

/// Keeps a seal for one purpose from being good for another one.
const STATE: &[u8] = b"llmc request state 1";
const MARK: &[u8] = b"llmc mark 1";
const FLEET: &[u8] = b"llmc fleet 1";

/// Longest mark, in bytes: it travels in a header.
const MAX_MARK_BYTES: usize = 4 << 10;

/// Longest sealed text, in bytes.
pub(super) const MAX_SEALED_BYTES: usize = 256 << 10;

/// Sealed texts that were opened and have not expired; with more, none is opened.
const MAX_USED: usize = 100_000;

/// Numbers of texts that were opened, until they expire. One for the process: a new configuration must not make old
/// texts good again.
static USED: LazyLock<Mutex<HashMap<u128, u64>>> = LazyLock::new(Mutex::default);

/// Seals and opens.
#[derive(Clone)]
pub(crate) struct Seal {
    key: [u8; KEY_BYTES],
    /// Tells other servers with this key what was used.
    common: Option<Arc<Common>>,
}

/// Why a text is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Not made by this server, or not for this caller, tool and arguments.
    Forged,
    Expired,
    Used,
    /// Too many are under way.
    Full,
    /// Whether it was used cannot be told to the other servers.
    Unwritten,
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    number: String,
    expires_ms: u64,
    content: T,
}

impl Seal {
    /// With the key of a file, which several servers can share, or else one that only this process knows.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, others could read it, or it holds no key.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        match file {
            Some(file) => Ok(Self { key: from_file(file)?, common: None }),
            None => {
                static OWN: OnceLock<[u8; KEY_BYTES]> = OnceLock::new();
                let fresh = random::<KEY_BYTES>()?;
                Ok(Self { key: *OWN.get_or_init(|| fresh), common: None })
            }
        }
    }

    /// In common with other servers that have the same key.
    pub(crate) fn with_common(self, common: Option<Arc<Common>>) -> Self {
        Self { common, ..self }
    }

    /// What servers with this key know each other by, 16 digits; it tells nothing of the key.
    pub(crate) fn fleet(&self) -> String {
        let tag = self.mac(FLEET, &[], &[]).finalize().into_bytes();
        tag.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether [`Self::unseal`] may have to wait for another server.
    pub(super) fn waits(&self) -> bool {
        self.common.is_some()
    }

    /// Seals `content`, bound to `binding`, for some time.
    pub(super) fn seal<T: Serialize>(
        &self,
        content: &T,
        binding: &[u8],
        lifetime: Duration,
    ) -> io::Result<String> {
        let number = u128::from_le_bytes(random()?);
        let expires_ms = now_ms().saturating_add(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        let sealed = Sealed { number: format!("{number:032x}"), expires_ms, content };
        let payload = serde_json::to_vec(&sealed)?;
        let tag = self.mac(STATE, &payload, binding).finalize().into_bytes();
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Opens what was sealed, once.
    pub(super) fn unseal<T: DeserializeOwned>(&self, text: &str, binding: &[u8]) -> Result<T, Broken> {
        if text.len() > MAX_SEALED_BYTES {
            return Err(Broken::Forged);
        }
        let (payload, tag) = text.split_once('.').ok_or(Broken::Forged)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Broken::Forged);
        let (payload, tag) = (decoded(payload)?, decoded(tag)?);
        // Compared in constant time.
        self.mac(STATE, &payload, binding).verify_slice(&tag).map_err(|_| Broken::Forged)?;
        let sealed: Sealed<T> = serde_json::from_slice(&payload).map_err(|_| Broken::Forged)?;
        let number = u128::from_str_radix(&sealed.number, 16).map_err(|_| Broken::Forged)?;
        let now = now_ms();
        if sealed.expires_ms <= now {
            return Err(Broken::Expired);
        }
        self.use_up(number, sealed.expires_ms, now)?;
        Ok(sealed.content)
    }

    /// Notes that a text was opened, where all servers look and here: a store that forgets does not make it good again
    /// at the server that opened it.
    fn use_up(&self, number: u128, expires_ms: u64, now: u64) -> Result<(), Broken> {
        if let Some(common) = &self.common {
            match common.use_up(number, expires_ms) {
                Ok(Use::First) => {}
                Ok(Use::Again) => return Err(Broken::Used),
                Ok(Use::Full) => return Err(Broken::Full),
                Err(error) => {
                    warn!(%error, "a request state was refused: the shared state cannot be written");
                    return Err(Broken::Unwritten);
                }
            }
        }
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_USED {
            used.retain(|_, expires_ms| *expires_ms > now);
        }
        if used.contains_key(&number) {
            return Err(Broken::Used);
        }
        if used.len() >= MAX_USED {
            return Err(Broken::Full);
        }
        used.insert(number, expires_ms);
        Ok(())
    }

    /// Seals what may be shown any number of times, until the key changes. Nothing if it is too long.
    pub(crate) fn mark<T: Serialize>(&self, content: &T, binding: &[u8]) -> Option<String> {
        let payload = serde_json::to_vec(content).ok()?;
        let tag = self.mac(MARK, &payload, binding).finalize().into_bytes();
        let mark = format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag));
        Some(mark).filter(|mark| mark.len() <= MAX_MARK_BYTES)
    }

    /// What a mark of [`Seal::mark`] says; nothing if it is none, or not for `binding`.
    pub(crate) fn read_mark<T: DeserializeOwned>(&self, mark: &str, binding: &[u8]) -> Option<T> {
        let (payload, tag) = Some(mark).filter(|mark| mark.len() <= MAX_MARK_BYTES)?.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        self.mac(MARK, &payload, binding).verify_slice(&URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    fn mac(&self, purpose: &[u8], payload: &[u8], binding: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for part in [purpose, binding, payload] {
            // Lengths keep the end of one part from being the beginning of the next.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl Broken {
    /// What the client is told.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Forged => {
                "the request state was not made by this server for this caller, tool and arguments; call again without it"
            }
            Self::Expired => {
                "the request state has expired (`policy.confirm_timeout_ms`); call again without it"
            }
            Self::Used => "the request state was used before, it is good once; call again without it",
            Self::Full => "too many request states are in use; call again later",
            Self::Unwritten => {
                "whether the request state was used before cannot be told (`server.shared_state`); call again later, without it"
            }
        }
    }
}

/// A file that only its owner reads, with at least 32 bytes; they are condensed, so text will do.
fn from_file(file: &Path) -> io::Result<[u8; KEY_BYTES]> {
    use sha2::Digest as _;
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(file)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner may read it; use mode 600"));
    }
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(io::Error::other(format!("it is no file of at most {MAX_KEY_FILE_BYTES} bytes")));
    }
    let text = fs::read(file)?;
    let text = text.trim_ascii();
    if text.len() < MIN_SOURCE_BYTES {
        return Err(io::Error::other(format!("a key has at least {MIN_SOURCE_BYTES} bytes")));
    }
    Ok(Sha512::digest(text).into())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole, see getrandom(2).
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn seal() -> Seal {
        Seal::open(None).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_once() {
        let text = seal().seal(&"hello", b"me", MINUTE).unwrap();
        assert_eq!(seal().unseal::<String>(&text, b"me"), Ok("hello".into()));
        assert_eq!(seal().unseal::<String>(&text, b"me"), Err(Broken::Used));
    }

    #[test]
    fn whatever_is_not_exactly_it_is_forged() {
        let text = seal().seal(&1, b"me", MINUTE).unwrap();
        assert_eq!(seal().unseal::<u8>(&text, b"you"), Err(Broken::Forged));
        let other = Seal { key: [7; KEY_BYTES], common: None };
        assert_eq!(other.unseal::<u8>(&text, b"me"), Err(Broken::Forged));
        let (payload, tag) = text.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(br#"{"number":"0","expires_ms":99999999999999,"content":2}"#);
        for bad in [
            format!("{forged}.{tag}"),
            format!("{payload}."),
            payload.to_owned(),
            format!("{text}-TAMPERED"),
            format!("{text}."),
            String::new(),
            ".".into(),
            "x".repeat(MAX_SEALED_BYTES + 1),
        ] {
            assert_eq!(seal().unseal::<u8>(&bad, b"me"), Err(Broken::Forged), "{bad:.80}");
        }
        assert_eq!(seal().unseal::<u8>(&text, b"me"), Ok(1), "none of that used it up");
    }

    #[test]
    fn the_end_of_one_part_is_not_the_beginning_of_the_next() {
        let seal = seal();
        let tag = |payload: &[u8], binding: &[u8]| seal.mac(STATE, payload, binding).finalize().into_bytes();
        assert_ne!(tag(b"bc", b"a"), tag(b"c", b"ab"));
    }

    #[test]
    fn a_mark_is_good_for_one_and_is_no_state() {
        let mark = seal().mark(&"caps", b"me").unwrap();
        for _ in 0..2 {
            assert_eq!(seal().read_mark::<String>(&mark, b"me").as_deref(), Some("caps"));
        }
        assert_eq!(seal().read_mark::<String>(&mark, b"you"), None);
        assert_eq!(seal().read_mark::<String>(&format!("{mark}x"), b"me"), None);
        assert_eq!(seal().unseal::<String>(&mark, b"me"), Err(Broken::Forged));
        let state = seal().seal(&"caps", b"me", MINUTE).unwrap();
        assert_eq!(seal().read_mark::<Value>(&state, b"me"), None);
        assert_eq!(seal().mark(&"x".repeat(MAX_MARK_BYTES), b"me"), None);
    }

    #[test]
    fn it_expires() {
        let text = seal().seal(&1, b"", Duration::ZERO).unwrap();
        assert_eq!(seal().unseal::<u8>(&text, b""), Err(Broken::Expired));
    }

    #[test]
    fn servers_with_one_key_file_open_each_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "a key of more than thirty-two bytes, to be sure\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Seal::open(Some(&file)).is_err(), "others can read it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let (one, other) = (Seal::open(Some(&file)).unwrap(), Seal::open(Some(&file)).unwrap());
        let text = one.seal(&1, b"", MINUTE).unwrap();
        assert_eq!(other.unseal::<u8>(&text, b""), Ok(1));
        assert!(one.fleet() == other.fleet() && one.fleet() != seal().fleet() && one.fleet().len() == 16);
        fs::write(&file, "short").unwrap();
        assert!(Seal::open(Some(&file)).is_err());
        assert!(Seal::open(Some(&folder.path().join("none"))).is_err());
    }
}
