//! Where new contents are until they get their name.
//!
//! That is a file without any name (`O_TMPFILE`), which vanishes with the process. Only to take the place of another
//! file it needs a name first, and where files without names are not to be had, it has one from the start. Such
//! names cannot be guessed, are never opened if they exist, and go when the work ends. If the process is killed in
//! between, the name stays. So a temporary file is locked (`flock`) before it has a name and as long as it has it, and
//! whoever writes in a directory removes the names of that form whose files nobody has locked: their writers are gone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use llmc_core::{Context, ToolResult};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, linkat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::lock::try_flock;
use crate::limits::MAX_DIR_ENTRIES;

/// Bytes that are written between two looks at the deadline.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Takes several hundred entries at a time from the kernel.
const BUFFER_BYTES: usize = 32 * 1024;
/// Tries to find a name that is free and stays ours until it is locked.
const MAX_NAME_TRIES: usize = 8;
/// Bytes of the name of the target in that of a temporary file; some file systems take no more than 143 in all.
const MAX_HINT_BYTES: usize = 64;
const MARK: &[u8] = b".llmc-";
const RANDOM_DIGITS: usize = 16;
const END: &[u8] = b".tmp";

/// Whether a temporary file has a name from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Unnamed,
    Named,
}

/// A file that is being written, removed unless it gets its final name.
#[derive(Debug)]
pub(super) struct Temporary<'d> {
    dir: BorrowedFd<'d>,
    file: File,
    name: Option<OsString>,
}

impl<'d> Temporary<'d> {
    /// Makes one in a directory, for something called `target`. The umask applies to `mode`.
    pub(super) fn new(dir: BorrowedFd<'d>, target: &OsStr, mode: Mode, way: Way) -> Result<Self, Errno> {
        match way {
            Way::Unnamed => {
                let file = openat(dir, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
                // Nobody else can have locked it.
                let _ = try_flock(&file);
                Ok(Self { dir, file: file.into(), name: None })
            }
            Way::Named => Self::named(dir, target, mode),
        }
    }

    fn named(dir: BorrowedFd<'d>, target: &OsStr, mode: Mode) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        for _ in 0..MAX_NAME_TRIES {
            let name = new_name(target)?;
            let file = match openat(dir, &name, flags, mode) {
                Err(Errno::EXIST) => continue,
                opened => opened?,
            };
            // A sweeper may have come first, in the moment before the lock.
            let is_locked = try_flock(&file).is_ok();
            if is_locked && is_at(dir, &name, &file) {
                return Ok(Self { dir, file: file.into(), name: Some(name) });
            }
        }
        Err(Errno::EXIST)
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Writes all contents, and no more when the call is over.
    pub(super) fn write(&mut self, content: &[u8], ctx: &Context) -> ToolResult<Result<(), Errno>> {
        for chunk in content.chunks(CHUNK_BYTES) {
            ctx.check()?;
            if let Err(error) = self.file.write_all(chunk) {
                return Ok(Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
            }
        }
        Ok(Ok(()))
    }

    /// Gives it a name of its own, if it has none.
    pub(super) fn name(&mut self, target: &OsStr) -> Result<&OsStr, Errno> {
        for _ in 0..MAX_NAME_TRIES {
            if self.name.is_some() {
                break;
            }
            let name = new_name(target)?;
            match self.link(&name) {
                Err(Errno::EXIST) => {}
                linked => {
                    linked?;
                    self.name = Some(name);
                }
            }
        }
        self.name.as_deref().ok_or(Errno::EXIST)
    }

    /// Gives a file without name this one, unless it is taken. Needs Linux 6.10: before, only a superuser could do it
    /// without `/proc`.
    pub(super) fn link(&self, name: &OsStr) -> Result<(), Errno> {
        linkat(&self.file, "", self.dir, name, AtFlags::EMPTY_PATH)
    }

    /// Its name has become another one: there is nothing to remove.
    pub(super) fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What fails here is swept later.
            let _ = unlinkat(self.dir, name, AtFlags::empty());
        }
    }
}

/// `.NAME.llmc-0123456789abcdef.tmp`, with as much of the name as is short enough.
fn new_name(target: &OsStr) -> Result<OsString, Errno> {
    let mut random = [0; RANDOM_DIGITS / 2];
    if getrandom(&mut random, GetRandomFlags::empty())? < random.len() {
        return Err(Errno::IO);
    }
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let hint = target.to_string_lossy();
    let hint = &hint[..hint.floor_char_boundary(MAX_HINT_BYTES)];
    let name = [b".", hint.as_bytes(), MARK, digits.as_bytes(), END].concat();
    Ok(OsString::from_vec(name))
}

/// Whether a name is of the form that temporary files have.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = name.strip_prefix(b".").and_then(|name| name.strip_suffix(END));
    let digits = digits.and_then(|name| name.split_last_chunk::<RANDOM_DIGITS>());
    digits.is_some_and(|(front, digits)| front.ends_with(MARK) && digits.iter().all(is_hex))
}

/// Removes what killed writers left in a directory. What cannot be read or removed is left.
pub(super) fn sweep(dir: &OwnedFd, ctx: &Context) -> ToolResult<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut stale = Vec::new();
    for seen in 0..MAX_DIR_ENTRIES {
        let entry = match entries.next() {
            Some(Ok(entry)) => entry,
            Some(Err(Errno::INTR)) => continue,
            Some(Err(_)) | None => break,
        };
        if is_temporary(entry.file_name().to_bytes()) {
            stale.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
        if seen % 10_000 == 0 {
            ctx.check()?;
        }
    }
    stale.iter().for_each(|name| remove_stale(dir, name));
    Ok(())
}

/// Removes a temporary file, if its lock can be had and it is what the name stands for.
fn remove_stale(dir: &OwnedFd, name: &OsStr) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = openat(dir, name, flags, Mode::empty()) else { return };
    let is_file = fstat(&file).is_ok_and(|facts| FileType::from_raw_mode(facts.st_mode).is_file());
    if is_file && matches!(try_flock(&file), Ok(true)) && is_at(dir.as_fd(), name, &file) {
        let _ = unlinkat(dir, name, AtFlags::empty());
    }
}

/// Whether a name stands for an open file.
fn is_at(dir: BorrowedFd<'_>, name: &OsStr, file: &OwnedFd) -> bool {
    match (statat(dir, name, AtFlags::SYMLINK_NOFOLLOW), fstat(file)) {
        (Ok(named), Ok(open)) => (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

#[cfg(test)]
#[path = "temporary_tests.rs"]
mod tests;
