//! Random texts that open something, of which only digests are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};

const RANDOM_BYTES: usize = 32;

/// A new one: 256 bits from the kernel, in 43 characters.
///
/// # Errors
///
/// When the kernel gives none.
pub(super) fn new() -> std::io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Its SHA-256. To look a digest up takes a time that tells nothing of the text.
pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
