//! Outputs as they lie where several servers find them: encrypted in pieces with a key made from handle and owner,
//! neither of which lies there. Who reads the store reads no output, and who changes one is found out.

use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;

/// Bytes of a text that are encrypted together, so that a part of it can be read.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// What encryption adds to a piece.
#[cfg(feature = "redis")]
pub(super) const TAG_BYTES: usize = ring::aead::MAX_TAG_LEN;

/// What an output is found by.
pub(super) type Id = [u8; 32];

/// An output, or pieces of it that lie beside each other.
pub(super) struct Sealed {
    /// Bytes of the whole text.
    pub(super) total: u64,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// What a handle stands for.
pub(super) struct Output {
    pub(super) id: Id,
    key: LessSafeKey,
}

impl Output {
    /// Both follow from the handle, which has 128 random bits, and the owner.
    pub(super) fn of(owner: &str, handle: &str) -> io::Result<Self> {
        let derived = |purpose: &[u8]| -> io::Result<Id> {
            let mac = Hmac::<Sha256>::new_from_slice(handle.as_bytes()).map_err(io::Error::other)?;
            Ok(mac.chain_update(purpose).chain_update(owner.as_bytes()).finalize().into_bytes().into())
        };
        let key = UnboundKey::new(&AES_256_GCM, &derived(b"llmc output key 1\n")?)
            .map_err(|_| io::Error::other("no key"))?;
        Ok(Self { id: derived(b"llmc output id 1\n")?, key: LessSafeKey::new(key) })
    }

    pub(super) fn seal(&self, text: &str) -> io::Result<Sealed> {
        let total = text.len() as u64;
        let pieces = text.as_bytes().chunks(PIECE_BYTES).zip(0..);
        let pieces = pieces.map(|(piece, place)| self.seal_piece(piece, place, total));
        Ok(Sealed { total, pieces: pieces.collect::<io::Result<_>>()? })
    }

    /// The text of pieces, the first of which has this place.
    pub(super) fn open(&self, sealed: Sealed, first: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(sealed.pieces.len() * PIECE_BYTES);
        for (piece, place) in sealed.pieces.into_iter().zip(first..) {
            text.extend(self.open_piece(piece, place, sealed.total)?);
        }
        Ok(text)
    }

    /// Each key encrypts one text, and each piece of it once: its place is a good nonce.
    fn seal_piece(&self, piece: &[u8], place: u64, total: u64) -> io::Result<Vec<u8>> {
        let mut sealed = piece.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(place), Aad::from(total.to_le_bytes()), &mut sealed)
            .map_err(|_| io::Error::other("it cannot be encrypted"))?;
        Ok(sealed)
    }

    fn open_piece(&self, mut sealed: Vec<u8>, place: u64, total: u64) -> io::Result<Vec<u8>> {
        let open = self.key.open_in_place(nonce(place), Aad::from(total.to_le_bytes()), &mut sealed);
        let length = open.map_err(|_| io::Error::other("a piece of it was changed"))?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

fn nonce(place: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&place.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
