//! Opening by handle, without following any link.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, read};

use crate::kind::Kind;
use crate::limits::MAX_OPEN_TRIES;

/// Beneath the directory in every component, and no link in any.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// Opens what lies below an open directory. A FIFO is not waited for.
pub(crate) fn open_below(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    // A handle that cannot be read through takes no other flags.
    let reading =
        if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
    let flags = flags | reading | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        tries += 1;
        match openat2(dir.as_fd(), path.as_ref(), flags, Mode::empty(), RESOLVE) {
            // Also `EAGAIN`: a directory was moved just now, or the holder of a lease is asked to give it back.
            Err(Errno::INTR | Errno::AGAIN) if tries < MAX_OPEN_TRIES => {}
            opened => return opened,
        }
    }
}

/// Reads a small text file as far as `max_bytes`; `None` if there is none, or no regular one.
pub(super) fn read_small(dir: impl AsFd, path: &str, max_bytes: usize) -> Option<String> {
    let file = open_below(dir, path, OFlags::RDONLY).ok()?;
    let stat = fstat(&file).ok()?;
    if Kind::of(FileType::from_raw_mode(stat.st_mode)) != Kind::File {
        return None;
    }
    let mut bytes = Vec::with_capacity(max_bytes.min(usize::try_from(stat.st_size).unwrap_or(0) + 1));
    while bytes.len() < max_bytes {
        bytes.reserve(1);
        match read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(max_bytes);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
