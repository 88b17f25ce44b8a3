//! Searches files, one after the other, with the same memory.

use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use grep_matcher::LineTerminator;
use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use llmc_core::{Context, ToolError, ToolResult};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::{Errno, read};

use super::Plan;
use super::gather::{Batch, End, FileHits, Room};
use super::sink::Taker;
use crate::kind::Kind;
use crate::text::Encoding;
use crate::walk::{Pulse, as_path, open_below};

/// Memory of a thread between two files, in bytes.
const KEPT_BYTES: usize = 512 * 1024;
/// First step through a file that does not tell its size.
const UNSIZED_BYTES: usize = 4096;

/// The tools of one thread.
pub(super) struct Scanner<'a> {
    plan: &'a Plan,
    /// A copy of its own: threads that share one wait for each other.
    matcher: RegexMatcher,
    /// For a file in memory that is UTF-8, if it is text.
    slices: Searcher,
    /// For everything else.
    streams: Searcher,
    buffer: Vec<u8>,
    pulse: Pulse<'a>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(plan: &'a Plan, ctx: &'a Context) -> Self {
        let mut builder = SearcherBuilder::new();
        builder
            .line_terminator(LineTerminator::crlf())
            .memory_map(MmapChoice::never())
            .multi_line(plan.multiline)
            .before_context(plan.context)
            .after_context(plan.context);
        let slices = builder.bom_sniffing(false).binary_detection(BinaryDetection::none()).build();
        // UTF-16 may become longer in UTF-8.
        let pieces = plan.pieces;
        let limit = if plan.multiline { 2 * pieces.multiline_bytes } else { pieces.line_bytes };
        let streams = builder
            .bom_sniffing(true)
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(limit))
            .build();
        let (matcher, pulse) = (plan.matcher.clone(), Pulse::new(ctx));
        Self { plan, matcher, slices, streams, buffer: Vec::new(), pulse }
    }

    /// Searches a file of a walk. `path` leads to it from `start`.
    pub(super) fn search(&mut self, start: BorrowedFd<'_>, path: &[u8], batch: &mut Batch) -> ToolResult<()> {
        self.pulse.beat()?;
        let file = match open_below(start, as_path(path), OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) => {
                // Gone, or something else by now.
                let is_gone = matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO);
                batch.add(FileHits::default(), if is_gone { End::Done } else { End::Unreadable });
                return Ok(());
            }
        };
        match fstat(&file) {
            Ok(stat) if Kind::of(FileType::from_raw_mode(stat.st_mode)) == Kind::File => {
                self.search_open(&file, u64::try_from(stat.st_size).unwrap_or(0), path, batch)
            }
            _ => {
                batch.add(FileHits::default(), End::Done);
                Ok(())
            }
        }
    }

    /// Searches an open regular file.
    pub(super) fn search_open(
        &mut self,
        file: &OwnedFd,
        size: u64,
        path: &[u8],
        batch: &mut Batch,
    ) -> ToolResult<()> {
        self.pulse.beat()?;
        let room = batch.room.clone();
        let (found, end) = match self.load(file, size) {
            Ok(false) if self.plan.multiline => (FileHits::default(), End::TooLarge),
            Ok(is_whole) => self.run(file, is_whole, path, &mut batch.room)?,
            Err(_) => (FileHits::default(), End::Unreadable),
        };
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        if end == End::Binary {
            batch.room = room;
        }
        batch.add(found, end);
        Ok(())
    }

    /// Puts a file in memory, unless it is large: one system call reads it. True if it is there as a whole.
    fn load(&mut self, file: &OwnedFd, size: u64) -> Result<bool, Errno> {
        self.buffer.clear();
        let pieces = self.plan.pieces;
        let most = if self.plan.multiline { pieces.multiline_bytes } else { pieces.bytes };
        if size > most as u64 { Ok(false) } else { self.fill(file, size as usize, most) }
    }

    /// Searches what is in memory and, if that is not the whole file, what follows.
    fn run(
        &mut self,
        file: &OwnedFd,
        is_whole: bool,
        path: &[u8],
        room: &mut Room,
    ) -> ToolResult<(FileHits, End)> {
        let encoding = Encoding::detect(&self.buffer);
        // Most binary files show at once, which saves a slow pattern the rest; of others the first match looks.
        if is_whole && encoding.is_binary(&self.buffer) {
            return Ok((FileHits::default(), End::Binary));
        }
        let is_wide = encoding.unit_bytes() > 1;
        let text = self.buffer.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.buffer);
        let checked = (is_whole && !is_wide).then_some(text);
        let mut taker = Taker::new(self.plan, &self.matcher, room, checked, path);
        let piece_bytes = self.plan.pieces.bytes;
        let mut rest = Rest { file, piece_bytes, pulse: &mut self.pulse, failed: None, is_unreadable: false };
        let outcome = if let Some(text) = checked {
            self.slices.search_slice(&self.matcher, text, &mut taker)
        } else if is_whole {
            self.streams.search_slice(&self.matcher, text, &mut taker)
        } else {
            self.streams.search_reader(&self.matcher, self.buffer.as_slice().chain(&mut rest), &mut taker)
        };
        let end = match (rest.failed, outcome) {
            (Some(error), _) => return Err(error),
            (None, Ok(())) if taker.is_binary => End::Binary,
            (None, Ok(())) => End::Done,
            (None, Err(_)) if rest.is_unreadable => End::Unreadable,
            (None, Err(_)) if self.plan.multiline => End::TooLarge,
            (None, Err(_)) => End::LongLine,
        };
        Ok((taker.finish(path), end))
    }

    /// Reads a file of that size; of one that does not tell its size, as in `/proc`, about as much as `most`. True if
    /// that is all of it.
    fn fill(&mut self, file: &OwnedFd, size: usize, most: usize) -> Result<bool, Errno> {
        self.buffer.reserve(if size == 0 { UNSIZED_BYTES } else { size });
        loop {
            match self.buffer.len() {
                length if size > 0 && length >= size => return Ok(true),
                length if length > most => return Ok(false),
                length if length == self.buffer.capacity() => self.buffer.reserve(length),
                _ => {}
            }
            match read(file, spare_capacity(&mut self.buffer)) {
                Ok(0) => return Ok(true),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What of a file is not in memory.
struct Rest<'a, 'b> {
    file: &'a OwnedFd,
    piece_bytes: usize,
    pulse: &'a mut Pulse<'b>,
    /// Why the whole search has to end.
    failed: Option<ToolError>,
    is_unreadable: bool,
}

impl Read for Rest<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Err(error) = self.pulse.beat() {
            self.failed = Some(error);
            return Err(io::Error::other("the search is over"));
        }
        let piece_bytes = buffer.len().min(self.piece_bytes);
        loop {
            match read(self.file, &mut buffer[..piece_bytes]) {
                Err(Errno::INTR) => {}
                Ok(count) => return Ok(count),
                Err(error) => {
                    self.is_unreadable = true;
                    return Err(error.into());
                }
            }
        }
    }
}
