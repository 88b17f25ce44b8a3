//! One writer of a file at a time.
//!
//! Three things, each for what it is good at:
//! - A table in memory of the files that this process is changing keeps its threads apart, and names the tool.
//! - `flock(2)` on the file keeps processes apart. It belongs to the open file description: threads that open and
//!   close the same file, as `read_file` does all the time, do not drop it, which rules out `F_SETLK` here; it ends
//!   with the process, however that ends. `F_OFD_SETLK` would do as well, but cannot be reached without unsafe code.
//! - A record lock (`F_SETLK`) on the same descriptor, taken when `flock` is held, names the process to those who
//!   wait (`F_GETLK` tells the holder's pid). It is no more than a name plate: it falls off when another thread of
//!   the holder closes the same file, and then the holder is merely unknown. Taking it also shows record locks of
//!   other programs, such as databases and office suites, which are respected.
//!
//! The locks are on the file, not on its name. So the name is looked at again when they are held: if it stands for
//! another file by then, because a writer before us has replaced it, everything begins anew.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use llmc_core::{Context, ToolError, ToolResult};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, fcntl_lock, flock,
    openat, statx,
};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::{Job, Trouble};
use crate::kind::Kind;
use crate::target::Target;

/// What keeps a call waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// A call in this process.
    Call { tool: &'static str, call: u64 },
    /// Another process.
    Process(i32),
    /// Another process that does not show which.
    Unknown,
    /// Files that change while they are looked at.
    Restless,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { tool, call } => {
                write!(f, "the file is busy: call {call} of `{tool}` is changing it")
            }
            Self::Process(pid) => write!(f, "the file is busy: process {pid} has locked it"),
            Self::Unknown => f.write_str("the file is busy: another process has locked it"),
            Self::Restless => f.write_str("the file keeps being replaced or changed by others"),
        }
    }
}

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    device: (u32, u32),
    inode: u64,
}

impl Id {
    fn of(facts: &Statx) -> Self {
        Self { device: (facts.stx_dev_major, facts.stx_dev_minor), inode: facts.stx_ino }
    }
}

/// The files that this process is changing.
static HELD: Mutex<Vec<(Id, &'static str, u64)>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<(Id, &'static str, u64)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line in the table, for as long as it lives.
#[derive(Debug)]
struct Seat(Id);

impl Seat {
    fn take(id: Id, job: &Job<'_>) -> Result<Self, Blocker> {
        let mut held = held();
        if let Some((_, tool, call)) = held.iter().find(|(other, ..)| *other == id) {
            return Err(Blocker::Call { tool, call: *call });
        }
        held.push((id, job.tool, job.ctx.request_id()));
        Ok(Self(id))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        held().retain(|(id, ..)| *id != self.0);
    }
}

/// A regular file that nobody else changes, as far as they keep to locks.
#[derive(Debug)]
pub(crate) struct Locked {
    // Dropped in this order: the table is left last.
    file: OwnedFd,
    facts: Statx,
    /// Whether `flock` is there and held.
    is_locked: bool,
    _seat: Seat,
}

/// How a file is going to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another file gets its name.
    Replace,
    /// More is written to its end.
    Append,
}

impl Locked {
    /// Opens and locks a file that is going to be changed; `None` if there is none.
    pub(crate) fn take(job: &Job<'_>, target: &Target<'_>, change: Change) -> Result<Option<Self>, Trouble> {
        let Some(facts) = target.look().map_err(|errno| job.errno(target, errno))? else { return Ok(None) };
        check_kind(job, target, &facts)?;
        let seat = Seat::take(Id::of(&facts), job).map_err(Trouble::Again)?;
        let file = open(target, change).map_err(|errno| match errno {
            Errno::NOENT | Errno::LOOP => Trouble::Again(Blocker::Restless),
            errno => job.errno(target, errno).into(),
        })?;
        let is_locked = lock(&file).map_err(Trouble::Again)?;
        let locked = Self { facts: facts_of(&file)?, file, is_locked, _seat: seat };
        if Id::of(&locked.facts) != locked._seat.0 || !locked.is_at(target) {
            return Err(Trouble::Again(Blocker::Restless));
        }
        Ok(Some(locked))
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// As the file was when it had been locked.
    pub(crate) fn facts(&self) -> &Statx {
        &self.facts
    }

    /// Whether the name still stands for this file.
    fn is_at(&self, target: &Target<'_>) -> bool {
        matches!(target.look(), Ok(Some(facts)) if Id::of(&facts) == Id::of(&self.facts))
    }

    /// Whether the name still stands for this file, and nobody has written to it.
    pub(crate) fn is_untouched(&self, target: &Target<'_>) -> bool {
        let time = |time: StatxTimestamp| (time.tv_sec, time.tv_nsec);
        let state = |facts: &Statx| (facts.stx_size, time(facts.stx_mtime), time(facts.stx_ctime));
        let now = facts_of(&self.file).map(|now| state(&now));
        self.is_at(target) && now.is_ok_and(|now| now == state(&self.facts))
    }

    /// Reads all of it, or one byte more than `max_bytes`.
    pub(crate) fn read(&self, max_bytes: usize, ctx: &Context) -> ToolResult<Vec<u8>> {
        let size = usize::try_from(self.facts.stx_size).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(size.min(max_bytes) + 1);
        while bytes.len() <= max_bytes {
            ctx.check()?;
            if bytes.capacity() == bytes.len() {
                bytes.reserve(64 * 1024);
            }
            let offset = bytes.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), offset) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(std::io::Error::from(errno).into()),
            }
        }
        Ok(bytes)
    }

    /// What results should say about the lock.
    pub(crate) fn note(&self) -> Option<String> {
        (!self.is_locked)
            .then(|| "this file system has no locks: other programs were not kept out".to_owned())
    }
}

fn facts_of(file: &OwnedFd) -> ToolResult<Statx> {
    Ok(statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(std::io::Error::from)?)
}

/// Only regular files, and only such as may be written to: a superuser is bound by the modes too.
fn check_kind(job: &Job<'_>, target: &Target<'_>, facts: &Statx) -> Result<(), Trouble> {
    let kind = Kind::of(FileType::from_raw_mode(facts.stx_mode.into()));
    let error = match kind {
        Kind::File if facts.stx_mode & 0o222 != 0 => return Ok(()),
        Kind::File => {
            let mode = facts.stx_mode & 0o7777;
            let text =
                format!("it is read-only (mode {mode:04o}); ask the user before anything is done about that");
            ToolError::denied(text)
        }
        // The path was walked to where no link was.
        Kind::Symlink => return Err(Trouble::Again(Blocker::Restless)),
        kind => ToolError::failed(format!("not a regular file but a {kind}")),
    };
    Err(job.failed(target, error).into())
}

/// Opens a file for writing, as a lock needs and as its modes must allow; a FIFO in its place would not block.
fn open(target: &Target<'_>, change: Change) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |more| openat(&target.parent, &target.name, flags | more, Mode::empty());
    match change {
        Change::Append => open(OFlags::RDWR | OFlags::APPEND),
        // A program that runs cannot be written to, but replaced. That it is running is found out last.
        Change::Replace => match open(OFlags::RDWR) {
            Err(Errno::TXTBSY) => open(OFlags::RDONLY),
            opened => opened,
        },
    }
}

/// Takes the locks, or tells who has them. False if the file system has none.
fn lock(file: &OwnedFd) -> Result<bool, Blocker> {
    let is_locked = match try_flock(file) {
        Ok(is_locked) => is_locked,
        Err(_) => return Err(record_holder(file).unwrap_or(Blocker::Unknown)),
    };
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        // Where `flock` is made of record locks (NFS), we may be in our own way; then no process is named.
        Err(Errno::AGAIN | Errno::ACCESS) => record_holder(file).map_or(Ok(is_locked), Err),
        _ => Ok(is_locked),
    }
}

/// Takes `flock` if it is free; false if the file system has none.
pub(super) fn try_flock(file: &OwnedFd) -> Result<bool, Busy> {
    loop {
        return match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Err(Busy),
            Err(Errno::INTR) => continue,
            Err(_) => Ok(false),
        };
    }
}

/// Somebody else holds a lock.
#[derive(Debug)]
pub(super) struct Busy;

/// The process that holds a record lock on a file, if one does and shows itself: for locks of open file descriptions
/// the kernel answers -1 (over which rustix panics when its debug assertions are on), and for those on other machines
/// nothing of use.
fn record_holder(file: &OwnedFd) -> Option<Blocker> {
    let wanted = Flock::from(FlockType::WriteLock);
    let found = fcntl_getlk(file, &wanted).ok()??;
    let pid = found.pid?.as_raw_nonzero().get();
    (pid > 0).then_some(Blocker::Process(pid))
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
