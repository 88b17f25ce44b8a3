//! Opening and reading below a handle.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::limits::{MAX_FILE_BYTES, MAX_LINE_BYTES};

/// Beneath the directory in every component, and no link in any.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// A directory that is moved meanwhile makes the kernel ask for another try.
const MAX_TRIES: usize = 100;

/// What a file contained, and what it was like then.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: i64,
    pub(crate) mtime_ns: i64,
}

/// Opens what lies below an open directory. A FIFO is not waited for.
pub(super) fn open(dir: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        tries += 1;
        match openat2(dir.as_fd(), path, flags, Mode::empty(), RESOLVE) {
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_TRIES => {}
            opened => return Ok(opened?),
        }
    }
}

/// Reads a regular file of at most `max_bytes` bytes.
///
/// # Errors
/// If it is none, is larger or cannot be read.
pub(crate) fn read(dir: impl AsFd, path: &str, max_bytes: u64) -> io::Result<Opened> {
    let file = open(dir, path, OFlags::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size.clamp(0, 1 << 22)).unwrap_or(0) + 1);
    File::from(file).take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("larger than {max_bytes} bytes")));
    }
    Ok(Opened { bytes, size: stat.st_size, mtime_ns: mtime_ns(&stat) })
}

/// Reads a text that may be indexed; `None` for binary files and what programs wrote.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_text(dir: impl AsFd, path: &str) -> io::Result<Option<String>> {
    Ok(as_text(read(dir, path, MAX_FILE_BYTES)?.bytes))
}

/// The text of a file that people read.
pub(crate) fn as_text(bytes: Vec<u8>) -> Option<String> {
    let head = &bytes[..bytes.len().min(8 << 10)];
    let mut start = 0;
    let lines = memchr::memchr_iter(b'\n', &bytes).chain([bytes.len()]);
    let mut lengths = lines.map(|end| end - std::mem::replace(&mut start, end + 1));
    let is_text = memchr::memchr(0, head).is_none() && lengths.all(|length| length <= MAX_LINE_BYTES);
    is_text.then(|| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

pub(super) fn mtime_ns(stat: &rustix::fs::Stat) -> i64 {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
