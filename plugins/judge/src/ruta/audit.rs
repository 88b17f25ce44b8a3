//! The audit of a server: lines of JSON, which are read here, or an SQLite database, which `llmc audit export` makes
//! lines of.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use judge::trace::audit::{self, Range, Record};

use crate::run::{installed, now_ms};

/// How a database begins: <https://www.sqlite.org/fileformat.html#magic_header_string>.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// The end of an audit at some time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    bytes: u64,
    /// In a database, which does not grow at its end: when it was.
    from_ms: Option<u64>,
}

impl Mark {
    /// The end as it is now; a server that has not started yet has no audit yet.
    pub(crate) fn at_end_of(audit: &Path) -> Self {
        match is_database(audit) {
            Ok(true) => Self { bytes: 0, from_ms: Some(now_ms()) },
            _ => Self { bytes: fs::metadata(audit).map_or(0, |metadata| metadata.len()), from_ms: None },
        }
    }
}

/// Reads the records of a range, from a mark on.
pub(crate) fn records(audit: &Path, mark: Mark, range: &Range) -> Result<Vec<Record>> {
    let named = || format!("audit `{}`", audit.display());
    if is_database(audit).with_context(|| format!("failed to open `{}`", audit.display()))? {
        let range = Range { from_ms: range.from_ms.max(mark.from_ms), ..range.clone() };
        return exported(audit, &range).with_context(named);
    }
    let mut file = File::open(audit)?;
    if file.metadata()?.len() < mark.bytes {
        bail!("{} became shorter", named());
    }
    file.seek(SeekFrom::Start(mark.bytes))?;
    audit::records(BufReader::new(file), range).with_context(named)
}

fn is_database(audit: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    File::open(audit)?.take(SQLITE.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == SQLITE)
}

fn exported(audit: &Path, range: &Range) -> Result<Vec<Record>> {
    let llmc = installed();
    let mut export = Command::new(&llmc);
    export.args(["audit", "export", "--path"]).arg(audit);
    let mut child = export.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| {
        format!("it is a database, which `llmc audit export` reads; failed to start `{}`", llmc.display())
    })?;
    let lines = child.stdout.take().context("llmc has no stdout")?;
    let records = audit::records(BufReader::new(lines), range);
    let status = child.wait()?;
    if !status.success() && records.is_ok() {
        bail!("`llmc audit export` failed ({status})");
    }
    Ok(records?)
}
