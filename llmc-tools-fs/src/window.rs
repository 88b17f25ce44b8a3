//! The part of a file that a call asks for, found by reading no more than that takes.

use std::os::fd::OwnedFd;

use llmc_core::{Context, ToolError, ToolResult};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::limits::{MAX_SCAN_BYTES, MAX_UNSIZED_BYTES};
use crate::text::Encoding;

/// One step through a file, in bytes. Even, so that UTF-16 stays in step.
const CHUNK_BYTES: u32 = 64 * 1024;

/// Where a window begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this byte.
    Byte(u64),
    /// At this line; the first is 1.
    Line(u64),
    /// So that this many lines are left.
    Tail(u32),
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) start: Start,
    pub(crate) max_lines: Option<u32>,
    pub(crate) max_bytes: u32,
}

/// The part of a file that was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) bytes: Vec<u8>,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Number of its first line, if that is known.
    pub(crate) first_line: Option<u64>,
    /// Lines that it holds, the last one maybe in part.
    pub(crate) lines: u64,
    /// Whether the file goes on after it.
    pub(crate) more: bool,
    /// Whether it ends where a line does.
    pub(crate) ends_line: bool,
    /// Whether it begins later than asked for, because not all of that fits.
    pub(crate) starts_late: bool,
}

/// A file that is read by position.
pub(crate) struct Source<'a> {
    file: &'a OwnedFd,
    ctx: &'a Context,
    size: u64,
    /// Its beginning, read already.
    start: Vec<u8>,
}

impl<'a> Source<'a> {
    /// Reads the beginning of a file, `first` bytes. `size` is what the file system tells: files of `/proc` are said
    /// to be empty and are read as a whole to find out.
    pub(crate) fn new(file: &'a OwnedFd, size: u64, first: u32, ctx: &'a Context) -> ToolResult<Self> {
        let mut source = Self { file, ctx, size, start: Vec::new() };
        if size == 0 {
            source.start = source.read_unsized()?;
            source.size = source.start.len() as u64;
        } else {
            source.start = source.read(0, first)?;
        }
        Ok(source)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The beginning of the file, at most `count` bytes.
    pub(crate) fn head(&self, count: usize) -> &[u8] {
        &self.start[..self.start.len().min(count)]
    }

    /// Reads `count` bytes at `offset`; fewer only at the end of the file.
    pub(crate) fn read(&self, offset: u64, count: u32) -> ToolResult<Vec<u8>> {
        let offset = offset.min(self.size);
        let count = (self.size - offset).min(count.into());
        if let Some(known) = self.start.get(to_usize(offset)..to_usize(offset + count)) {
            return Ok(known.to_vec());
        }
        let mut bytes = Vec::with_capacity(to_usize(count));
        while (bytes.len() as u64) < count && self.read_more(&mut bytes, offset)? {}
        bytes.truncate(to_usize(count));
        Ok(bytes)
    }

    /// Finds the window.
    pub(crate) fn window(&self, encoding: Encoding, wanted: Wanted) -> ToolResult<Window> {
        let window = match wanted.start {
            Start::Byte(offset) => self.window_from_byte(encoding, offset, wanted),
            Start::Line(line) => self.window_from_line(encoding, line, wanted),
            Start::Tail(lines) => self.window_of_tail(encoding, lines, wanted.max_bytes),
        };
        window.map(|window| without_mark(encoding, window))
    }

    fn window_from_byte(&self, encoding: Encoding, offset: u64, wanted: Wanted) -> ToolResult<Window> {
        if offset > self.size {
            let size = self.size;
            return Err(ToolError::invalid(format!(
                "`offset_bytes` is {offset}, but the file has {size} bytes"
            )));
        }
        let mut offset = offset.next_multiple_of(encoding.unit_bytes());
        let mut bytes = self.read(offset, wanted.max_bytes)?;
        if offset > encoding.mark_bytes() {
            let stray = encoding.stray_bytes(&bytes);
            bytes.drain(..stray);
            offset += stray as u64;
        }
        let first_line = (offset <= encoding.mark_bytes()).then_some(1);
        let start = Window { bytes, offset, first_line, ..Window::default() };
        Ok(self.cut(encoding, start, wanted.max_lines, false))
    }

    fn window_from_line(&self, encoding: Encoding, line: u64, wanted: Wanted) -> ToolResult<Window> {
        let offset = self.find_line(encoding, line)?;
        let step =
            if wanted.max_lines.is_some() { wanted.max_bytes.min(CHUNK_BYTES) } else { wanted.max_bytes };
        let mut bytes = self.read(offset, step)?;
        let has_all = wanted.max_lines.is_some_and(|lines| nth_end(encoding, &bytes, lines).is_some());
        if step < wanted.max_bytes && !has_all {
            bytes.append(&mut self.read(offset + u64::from(step), wanted.max_bytes - step)?);
        }
        let start = Window { bytes, offset, first_line: Some(line), ..Window::default() };
        Ok(self.cut(encoding, start, wanted.max_lines, true))
    }

    /// The place where a line begins.
    fn find_line(&self, encoding: Encoding, line: u64) -> ToolResult<u64> {
        let past_the_end = |count: u64| {
            ToolError::invalid(format!("`start_line` is {line}, but the file has {count} lines"))
        };
        let (mut offset, mut ended, mut is_open) = (0, 0, false);
        while ended + 1 < line {
            if offset >= MAX_SCAN_BYTES {
                return Err(ToolError::invalid(format!(
                    "line {line} is not within the first {MAX_SCAN_BYTES} bytes, which is how far lines are counted; \
                     line {} is at `offset_bytes` {offset}",
                    ended + 1
                )));
            }
            self.ctx.check()?;
            let chunk = self.read(offset, CHUNK_BYTES)?;
            if chunk.is_empty() {
                return Err(past_the_end(ended + u64::from(is_open)));
            }
            let missing = to_usize(line - ended - 2);
            if let Some(end) = encoding.line_ends(&chunk).nth(missing) {
                offset += end as u64;
                ended = line - 1;
            } else {
                ended += encoding.line_ends(&chunk).count() as u64;
                is_open = !ends_line(encoding, &chunk);
                offset += chunk.len() as u64;
            }
        }
        if line > 1 && offset == self.size { Err(past_the_end(ended)) } else { Ok(offset) }
    }

    /// The last lines, as far as they fit.
    fn window_of_tail(&self, encoding: Encoding, lines: u32, max_bytes: u32) -> ToolResult<Window> {
        let floor = self.size.saturating_sub(max_bytes.into()).next_multiple_of(encoding.unit_bytes());
        let (mut bytes, mut offset) = (Vec::new(), self.size.max(floor));
        let mut start = None;
        while start.is_none() && offset > floor {
            self.ctx.check()?;
            let from =
                offset.saturating_sub(CHUNK_BYTES.into()).max(floor).next_multiple_of(encoding.unit_bytes());
            let mut chunk = self.read(from, u32::try_from(offset - from).unwrap_or(CHUNK_BYTES))?;
            chunk.append(&mut bytes);
            (bytes, offset) = (chunk, from);
            // A line feed at the very end ends the last line and begins none.
            let mut begins = encoding.line_ends(&bytes).rev().filter(|end| *end < bytes.len());
            start = begins.nth(lines.saturating_sub(1) as usize);
        }
        let starts_late = start.is_none() && offset > 0;
        let first_whole = || encoding.line_ends(&bytes).find(|end| *end < bytes.len());
        let start = match start {
            Some(start) => start,
            None if offset == 0 => 0,
            None => first_whole().unwrap_or_else(|| encoding.stray_bytes(&bytes)),
        };
        bytes.drain(..start);
        let offset = offset + start as u64;
        let first_line = (offset == 0).then_some(1);
        let window = Window { bytes, offset, first_line, starts_late, ..Window::default() };
        Ok(self.cut(encoding, window, None, false))
    }

    /// Cuts what was read to what is asked for, to whole characters and, if possible, to whole lines.
    fn cut(&self, encoding: Encoding, window: Window, max_lines: Option<u32>, whole_lines: bool) -> Window {
        let Window { mut bytes, offset, .. } = window;
        let goes_on = |bytes: &[u8]| offset + (bytes.len() as u64) < self.size;
        if let Some(end) = max_lines.and_then(|lines| nth_end(encoding, &bytes, lines)) {
            bytes.truncate(end);
        } else if goes_on(&bytes) {
            let line_end = if whole_lines { encoding.line_ends(&bytes).next_back() } else { None };
            let end = line_end.unwrap_or_else(|| bytes.len() - encoding.unfinished_bytes(&bytes));
            bytes.truncate(end);
        }
        let more = goes_on(&bytes);
        let is_open = !bytes.is_empty() && !ends_line(encoding, &bytes);
        let lines = encoding.line_ends(&bytes).count() as u64 + u64::from(is_open);
        Window { lines, more, ends_line: !more || !is_open, bytes, ..window }
    }

    fn read_unsized(&self) -> ToolResult<Vec<u8>> {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES as usize);
        while self.read_more(&mut bytes, 0)? {
            if bytes.len() > MAX_UNSIZED_BYTES {
                return Err(ToolError::failed(format!(
                    "the file does not tell its size and has more than {MAX_UNSIZED_BYTES} bytes"
                )));
            }
            bytes.reserve(CHUNK_BYTES as usize);
        }
        Ok(bytes)
    }

    /// Fills the free capacity of `bytes` with what follows in the file; false at its end.
    fn read_more(&self, bytes: &mut Vec<u8>, start: u64) -> ToolResult<bool> {
        let offset = start + bytes.len() as u64;
        loop {
            match pread(self.file, spare_capacity(bytes), offset) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }
}

/// A byte order mark is no part of the text.
fn without_mark(encoding: Encoding, mut window: Window) -> Window {
    if window.offset == 0 {
        let mark = to_usize(encoding.mark_bytes()).min(window.bytes.len());
        window.bytes.drain(..mark);
        window.offset = mark as u64;
    }
    window
}

/// The end of the `count`th line.
fn nth_end(encoding: Encoding, bytes: &[u8], count: u32) -> Option<usize> {
    encoding.line_ends(bytes).nth(count.saturating_sub(1) as usize)
}

fn ends_line(encoding: Encoding, bytes: &[u8]) -> bool {
    encoding.line_ends(bytes).next_back() == Some(bytes.len())
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
