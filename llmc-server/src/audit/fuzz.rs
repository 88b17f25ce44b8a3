//! A door for fuzzers: records that somebody without the key has written or changed.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use ed25519_dalek::VerifyingKey;

use super::chain::Checkpoint;
use super::head;
use super::key::{Key, beside};
use super::record::{Body, Fields};
use super::store::{self, Memory};
use super::verify::{Beside, Report, Signer, Trust, compare, verify};
use crate::config::{self, AuditFormat};

/// Records of the genuine audit.
const RECORDS: u64 = 8;

/// A genuine audit: its records as they were written, and what stands beside them.
struct Genuine {
    bytes: Vec<u8>,
    key: VerifyingKey,
    base: Checkpoint,
    head: Checkpoint,
    /// Those two and the checkpoints among the records: their signatures were found good, which takes far longer than
    /// all the rest.
    signed: Vec<Checkpoint>,
}

static GENUINE: LazyLock<Genuine> =
    LazyLock::new(|| Genuine::make().expect("the folder for temporary files can be written"));

impl Genuine {
    fn make() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("audit.jsonl");
        let config = config::Audit {
            path: Some(path.clone()),
            format: Some(AuditFormat::Jsonl),
            ..Default::default()
        };
        let key = Arc::new(Key::open(&beside(&path, ".key"))?);
        let mut store = store::open(&config, &path, Arc::clone(&key))?;
        let bodies: Vec<Body> = (0..RECORDS).map(body).collect();
        store.append(&bodies, &mut |_| Vec::new())?;
        drop(store);
        Self::read(&path, key.public())
    }

    fn read(path: &Path, key: VerifyingKey) -> anyhow::Result<Self> {
        let mut source = store::source(path, Some(AuditFormat::Jsonl))?;
        let base = source.base()?.ok_or_else(|| anyhow::anyhow!("the chain has no beginning"))?;
        let head = head::read(path)?.ok_or_else(|| anyhow::anyhow!("the chain has no end"))?;
        let signed = [base.clone(), head.clone()].into_iter().chain(source.marks()?).collect::<Vec<_>>();
        anyhow::ensure!(signed.iter().all(|checkpoint| checkpoint.is_signed_by(&key)));
        anyhow::ensure!(verify(path, Some(AuditFormat::Jsonl), &Trust::default())?.is_good());
        Ok(Self { bytes: std::fs::read(path)?, key, base, head, signed })
    }
}

fn body(n: u64) -> Body {
    let fields =
        Fields { time_ms: n, event: "call".into(), caller: None, tool: None, plugin: None, outcome: None };
    Body { text: format!("{{\"time_ms\":{n},\"event\":\"call\",\"outcome\":\"denied\"}}"), fields }
}

/// Bytes in place of the records are no chain of this key; and where they change the genuine ones (four each, see
/// `change`), a record that is not what it was is found.
pub fn audit(input: &[u8]) {
    let is_good = verified(input);
    assert!(
        input == GENUINE.bytes || !has_records(input) || !is_good,
        "{input:?} passed for records of this key"
    );

    let mut changed = GENUINE.bytes.clone();
    input.chunks_exact(4).take(8).for_each(|four| change(&mut changed, four));
    let is_good = verified(&changed);
    let lines = |bytes: &[u8], wanted: fn(&[u8]) -> bool| -> Vec<Vec<u8>> {
        // What stands after the last line break was never finished, and nobody was told that it is kept.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes[..whole].split(|byte| *byte == b'\n').filter(|line| wanted(line)).map(<[u8]>::to_vec).collect()
    };
    // A checkpoint may be missing, or come twice, since the end is told elsewhere; it may not be another one.
    let genuine = lines(&GENUINE.bytes, is_mark);
    let is_same = lines(&changed, is_record) == lines(&GENUINE.bytes, is_record)
        && lines(&changed, is_mark).iter().all(|mark| genuine.contains(mark));
    assert!(!is_good || is_same, "a change passed: {}", String::from_utf8_lossy(&changed));
}

/// Two bytes for the place, one for what is done there, and one that may be put there: up to 31 bytes are replaced by
/// it, or the line is taken out, or comes twice.
fn change(bytes: &mut Vec<u8>, four: &[u8]) {
    let &[low, high, what, new] = four else { return };
    let place = usize::from(u16::from_le_bytes([low, high])) % (bytes.len() + 1);
    let begin = bytes[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = bytes[place..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| place + at + 1);
    match what >> 6 {
        0 | 1 => drop(bytes.splice(place..bytes.len().min(place + usize::from(what % 32)), [new])),
        2 => drop(bytes.drain(begin..end)),
        _ => {
            let line = bytes[begin..end].to_vec();
            drop(bytes.splice(begin..begin, line));
        }
    }
}

fn verified(bytes: &[u8]) -> bool {
    let Genuine { key, base, head, signed, .. } = &*GENUINE;
    let is_signed = |checkpoint: &Checkpoint| signed.contains(checkpoint) || checkpoint.is_signed_by(key);
    let signer = Signer { key: *key, is_signed: &is_signed };
    let beside = Beside { head: Ok(Some(head.clone())), head_path: Path::new("head"), checkpoints: &[] };
    let report = compare(&mut Memory { base, bytes }, beside, signer, Report::default());
    report.is_ok_and(|report| report.is_good())
}

fn has_records(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(is_record)
}

fn is_record(line: &[u8]) -> bool {
    !is_mark(line) && line.windows(7).any(|part| part == b",\"seq\":")
}

fn is_mark(line: &[u8]) -> bool {
    line.starts_with(b"{\"checkpoint\":")
}
