//! Reading records that are lines of JSON.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::jsonl::{Line, base, files_set_aside, read_line};
use super::{Garbage, Source, StoreError, Visit};
use crate::audit::chain::{Checkpoint, End};
use crate::audit::query::{Filter, Row};

/// How often files may be set aside while they are opened.
const ATTEMPTS: u32 = 10;

pub(super) struct Reader {
    path: PathBuf,
    /// Opened for a snapshot: name, file, bytes, number of the last record where that is known.
    files: Option<Vec<Part>>,
}

struct Part {
    name: String,
    file: File,
    bytes: u64,
    last: Option<u64>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        match path.metadata() {
            // Whoever wrote it was killed when it had just been set aside.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !files_set_aside(path)?.is_empty() => {}
            there => {
                there?;
            }
        }
        Ok(Self { path: path.to_owned(), files: None })
    }

    /// All files at one moment.
    fn parts(&self) -> Result<Vec<Part>, StoreError> {
        for _ in 0..ATTEMPTS {
            let aside = files_set_aside(&self.path)?;
            let (mut parts, mut missing) = (Vec::new(), 0);
            for (last, path) in
                aside.iter().map(|(last, path)| (Some(*last), path)).chain([(None, &self.path)])
            {
                match File::open(path) {
                    Ok(file) => {
                        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let bytes = file.metadata()?.len();
                        parts.push(Part { name, file, bytes, last });
                    }
                    // Taken out, or set aside right now; the names are looked at again.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        missing += usize::from(last.is_some());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if files_set_aside(&self.path)? == aside && missing == 0 && !parts.is_empty() {
                return Ok(parts);
            }
        }
        Err(io::Error::other("the files of the audit change too fast to be read").into())
    }

    fn lines(
        &mut self,
        after_seq: u64,
        visit: &mut dyn FnMut(Result<Line, Garbage>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let fresh;
        let parts = match &self.files {
            Some(parts) => parts,
            None => {
                fresh = self.parts()?;
                &fresh
            }
        };
        for part in parts.iter().filter(|part| part.last.is_none_or(|last| last > after_seq)) {
            let mut file = &part.file;
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::new(file.take(part.bytes));
            if read_lines(&mut reader, &part.name, part.last.is_none(), visit)? == ControlFlow::Break(()) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The lines of one file; only the last file may end in the middle of one.
pub(super) fn read_lines(
    reader: &mut dyn io::BufRead,
    name: &str,
    is_last: bool,
    visit: &mut dyn FnMut(Result<Line, Garbage>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let (mut line, mut number) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let read = read_line(&line).filter(|_| is_whole).ok_or_else(|| Garbage {
            place: format!("{name}, line {number}"),
            is_torn_end: !is_whole && is_last,
        });
        if visit(read) == ControlFlow::Break(()) {
            return Ok(ControlFlow::Break(()));
        }
        line.clear();
    }
    Ok(ControlFlow::Continue(()))
}

/// Gives on what is a record after `base`, or should be one.
pub(super) fn pass_on(line: Result<Line, Garbage>, base: u64, visit: Visit<'_>) -> ControlFlow<()> {
    match line {
        Ok(Line::Record(record)) if record.seq > base => visit(Ok(record)),
        Ok(Line::Record(_) | Line::Mark(_)) => ControlFlow::Continue(()),
        Err(garbage) => visit(Err(garbage)),
    }
}

impl Source for Reader {
    fn snapshot(&mut self) -> Result<(), StoreError> {
        self.files = Some(self.parts()?);
        Ok(())
    }

    fn base(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        base(&self.path)
    }

    fn head(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(None)
    }

    fn marks(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        let mut marks = Vec::new();
        let base = base(&self.path)?.map_or(0, |base| base.seq);
        self.lines(base, &mut |line| {
            if let Ok(Line::Mark(mark)) = line {
                marks.push(mark);
            }
            ControlFlow::Continue(())
        })?;
        Ok(marks)
    }

    fn records(&mut self, visit: Visit<'_>) -> Result<(), StoreError> {
        // What stands before the beginning was about to be taken out when its process was killed.
        let base = base(&self.path)?.map_or(0, |base| base.seq);
        self.lines(base, &mut |line| pass_on(line, base, visit))
    }

    fn query(&mut self, filter: &Filter) -> Result<Vec<Row>, StoreError> {
        let mut found = VecDeque::new();
        let after = base(&self.path)?.map_or(0, |base| base.seq).max(filter.after_seq.unwrap_or(0));
        self.lines(after, &mut |line| {
            if let Ok(Line::Record(record)) = line
                && record.seq > after
            {
                found.extend(Row::of(record).filter(|row| filter.fits(row)));
                if found.len() > filter.limit {
                    found.pop_front();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.into())
    }

    fn last(&mut self) -> Result<Option<End>, StoreError> {
        let mut end = None;
        self.records(&mut |record| {
            if let Ok(record) = record {
                end = Some(End { seq: record.seq, hash: record.hash });
            }
            ControlFlow::Continue(())
        })?;
        Ok(end)
    }

    fn damage(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
