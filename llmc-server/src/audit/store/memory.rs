//! Lines of JSON in memory, read by what reads them from files: a fuzzer tries thousands of audits a second.

use std::ops::ControlFlow;

use super::jsonl::Line;
use super::jsonl_source::{pass_on, read_lines};
use super::{Garbage, Source, StoreError, Visit};
use crate::audit::chain::{Checkpoint, End};
use crate::audit::query::{Filter, Row};

/// The one file of an audit that begins after `base`.
pub(in crate::audit) struct Memory<'a> {
    pub(in crate::audit) base: &'a Checkpoint,
    pub(in crate::audit) bytes: &'a [u8],
}

impl Memory<'_> {
    fn lines(
        &self,
        visit: &mut dyn FnMut(Result<Line, Garbage>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        Ok(read_lines(&mut &*self.bytes, "memory", true, visit).map(|_| ())?)
    }
}

impl Source for Memory<'_> {
    fn snapshot(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn base(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(Some(self.base.clone()))
    }

    fn head(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(None)
    }

    fn marks(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        let mut marks = Vec::new();
        self.lines(&mut |line| {
            if let Ok(Line::Mark(mark)) = line {
                marks.push(mark);
            }
            ControlFlow::Continue(())
        })?;
        Ok(marks)
    }

    fn records(&mut self, visit: Visit<'_>) -> Result<(), StoreError> {
        self.lines(&mut |line| pass_on(line, self.base.seq, visit))
    }

    fn query(&mut self, filter: &Filter) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.records(&mut |record| {
            rows.extend(record.ok().and_then(Row::of).filter(|row| filter.fits(row)));
            ControlFlow::Continue(())
        })?;
        Ok(rows.split_off(rows.len().saturating_sub(filter.limit)))
    }

    fn last(&mut self) -> Result<Option<End>, StoreError> {
        let mut end = None;
        self.records(&mut |record| {
            end = record.ok().map(|record| End { seq: record.seq, hash: record.hash }).or(end);
            ControlFlow::Continue(())
        })?;
        Ok(end)
    }

    fn damage(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
