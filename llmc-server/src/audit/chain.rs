//! The chain: each record's hash covers the one before it, and signed checkpoints say what the chain was at a place.
//!
//! Whoever changes, drops or moves a record breaks the hashes after it; whoever computes those anew, or cuts the end
//! off, is left without the signature of a checkpoint.

use ed25519_dalek::{Signature, VerifyingKey};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// Sets hashes and signatures of this purpose apart from all others.
const GENESIS: &[u8] = b"llmc audit chain 1\n";
const RECORD: &[u8] = b"llmc audit record 1\n";
const CHECKPOINT: &[u8] = b"llmc audit checkpoint 1\n";

/// Names a chain: random, made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainId(pub(super) [u8; 16]);

impl ChainId {
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// What stands before the first record.
    pub(super) fn genesis(&self) -> Hash {
        Sha256::new().chain_update(GENESIS).chain_update(self.0).finalize().into()
    }
}

/// The hash of a record: over the one before it, its number and its text.
pub(super) fn next(previous: &Hash, seq: u64, text: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update(RECORD).chain_update(previous).chain_update(seq.to_le_bytes());
    hash.chain_update(text).finalize().into()
}

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Number of the last record; 0 before the first.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

/// What a checkpoint is for. A checkpoint of one kind is no good as one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// What comes before was taken out by the rules of retention, or never was.
    Base,
    /// The chain was like this.
    Mark,
    /// The chain ends here, or later.
    Head,
}

/// A signed statement of what the chain was at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    pub(crate) kind: Kind,
    pub(crate) chain: String,
    pub(crate) seq: u64,
    pub(crate) hash: String,
    /// Milliseconds since 1970 in UTC.
    pub(crate) time_ms: u64,
    /// Ed25519, RFC 8032; in hexadecimal as all the others.
    pub(crate) public_key: String,
    pub(crate) signature: String,
}

impl Checkpoint {
    /// The place, if it has the form of one.
    pub(super) fn end(&self) -> Option<End> {
        Some(End { seq: self.seq, hash: unhex(&self.hash)? })
    }

    pub(super) fn chain_id(&self) -> Option<ChainId> {
        unhex(&self.chain).map(ChainId)
    }

    /// Whether `key` signed it, and is the one that it names: that name is what people look at, and no signature is
    /// over it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let signed = || {
            let signature: [u8; 64] = unhex(&self.signature)?;
            let bytes = signed_bytes(self.kind, &self.chain_id()?, &self.end()?, self.time_ms);
            key.verify_strict(&bytes, &Signature::from_bytes(&signature)).ok()
        };
        self.public_key == hex(key.as_bytes()) && signed().is_some()
    }
}

/// What is signed of a checkpoint.
pub(super) fn signed_bytes(kind: Kind, chain: &ChainId, end: &End, time_ms: u64) -> Vec<u8> {
    let kind = match kind {
        Kind::Base => b'b',
        Kind::Mark => b'm',
        Kind::Head => b'h',
    };
    [CHECKPOINT, &[kind], &chain.0, &end.seq.to_le_bytes(), &end.hash, &time_ms.to_le_bytes()].concat()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads what [`hex`] writes, of exactly this length.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| match pair[at] {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

    #[test]
    fn a_hash_depends_on_all_that_it_covers() {
        let (one, other) = (ChainId([1; 16]).genesis(), ChainId([2; 16]).genesis());
        let hash = next(&one, 1, b"text");
        assert_eq!(hash, next(&one, 1, b"text"));
        for different in [next(&other, 1, b"text"), next(&one, 2, b"text"), next(&one, 1, b"texu")] {
            assert_ne!(hash, different);
        }
    }

    #[test]
    fn a_signature_is_good_for_what_was_signed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open(&folder.path().join("key")).unwrap();
        let end = End { seq: 5, hash: [3; 32] };
        let good = key.sign(Kind::Mark, &ChainId([1; 16]), &end);
        assert!(good.is_signed_by(&key.public()));
        let changes: [fn(&mut Checkpoint); 6] = [
            |it| it.kind = Kind::Head,
            |it| it.chain = hex(&[2; 16]),
            |it| it.seq = 6,
            |it| it.hash = hex(&[4; 32]),
            |it| it.time_ms += 1,
            |it| it.signature = hex(&[0; 64]),
        ];
        for change in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(!bad.is_signed_by(&key.public()), "{bad:?}");
        }
        let other = Key::open(&folder.path().join("other")).unwrap();
        assert!(!good.is_signed_by(&other.public()));
    }

    #[test]
    fn hexadecimal_comes_back() {
        assert_eq!(unhex::<3>(&hex(&[0, 0xAB, 0xFF])), Some([0, 0xAB, 0xFF]));
        for text in ["", "00", "00abf", "00ABFF", "00abfg", "00abff00"] {
            assert_eq!(unhex::<3>(text), None, "{text}");
        }
    }
}
