//! A door for fuzzers: records that somebody without the key has written or changed.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use super::key::{Key, beside};
use super::record::{Body, Fields};
use super::store;
use super::verify::{Trust, verify};
use crate::config::{self, AuditFormat};

/// Records of the genuine audit.
const RECORDS: u64 = 8;

/// An audit in a folder of its own: where it is, and its records as they were written.
struct Genuine {
    path: PathBuf,
    bytes: Vec<u8>,
    _folder: tempfile::TempDir,
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
        let mut store = store::open(&config, &path, key)?;
        let bodies: Vec<Body> = (0..RECORDS).map(body).collect();
        store.append(&bodies, &mut |_| Vec::new())?;
        drop(store);
        Ok(Self { bytes: std::fs::read(&path)?, path, _folder: folder })
    }
}

fn body(n: u64) -> Body {
    let fields =
        Fields { time_ms: n, event: "call".into(), caller: None, tool: None, plugin: None, outcome: None };
    Body { text: format!("{{\"time_ms\":{n},\"event\":\"call\",\"outcome\":\"denied\"}}"), fields }
}

/// Bytes in place of the records are no chain of this key; and where they change the genuine ones (four each: two for the
/// place, how many are taken out, one that is put there), a record that is not what it was is found.
pub fn audit(input: &[u8]) {
    let report = verified(input);
    assert!(
        input == GENUINE.bytes || !has_records(input) || !report,
        "{input:?} passed for records of this key"
    );

    let mut changed = GENUINE.bytes.clone();
    for change in input.chunks_exact(4).take(8) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % (changed.len() + 1);
        let end = changed.len().min(place + usize::from(change[2] % 32));
        changed.splice(place..end, [change[3]]);
    }
    let is_good = verified(&changed);
    let records = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| is_record(line))
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    assert!(
        !is_good || records(&changed) == records(&GENUINE.bytes),
        "a change passed: {}",
        String::from_utf8_lossy(&changed)
    );
}

fn verified(bytes: &[u8]) -> bool {
    let written = std::fs::write(&GENUINE.path, bytes);
    let report = verify(&GENUINE.path, Some(AuditFormat::Jsonl), &Trust::default());
    written.is_ok() && report.is_ok_and(|report| report.is_good())
}

fn has_records(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(is_record)
}

fn is_record(line: &[u8]) -> bool {
    line.windows(7).any(|part| part == b",\"seq\":")
}
