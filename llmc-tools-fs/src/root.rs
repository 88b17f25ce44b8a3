//! The only place that opens anything: relative to a root, and never outside it.

use std::os::fd::OwnedFd;
use std::path::Path;

use llmc_core::manifest::GrantKind;
use llmc_core::{ToolError, ToolResult};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx};
use rustix::io::Errno;

use crate::kind::Kind;
use crate::limits::{MAX_DEPTH, MAX_OPEN_TRIES};
use crate::path::{PathError, Place, in_line};

/// Every component stays beneath the root, also behind links, and links that only `/proc` knows are not followed.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Why a place in a root could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Outside(#[from] OutsideError),
    #[error("no such file or directory")]
    NotFound,
    #[error("the path, or a part of it, is not a directory")]
    NotDirectory,
    #[error("the path runs through a loop of symbolic links, or through a link that may not be followed")]
    Loop,
    #[error("permission denied")]
    Denied,
    #[error("it is the top of a root, which stays as it is")]
    Top,
    #[error("it lies below more than {MAX_DEPTH} directories")]
    TooDeep,
    #[error("the path kept changing while it was opened; try again")]
    Restless,
    #[error("the kernel does not offer `openat2` here, and without it nothing is opened ({0})")]
    NoSafeWay(Errno),
    #[error("{}", in_words(*.0))]
    Other(Errno),
}

/// As all errors read: lowercase and without the number.
fn in_words(errno: Errno) -> String {
    ToolError::from(std::io::Error::from(errno)).message().to_owned()
}

/// The one text for all that lies outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideError;

impl std::error::Error for OutsideError {}

impl std::fmt::Display for OutsideError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        PathError::Outside.fmt(f)
    }
}

impl OpenError {
    pub(crate) fn new(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::Outside(OutsideError),
            Errno::NOENT => Self::NotFound,
            Errno::NOTDIR => Self::NotDirectory,
            Errno::LOOP => Self::Loop,
            Errno::ACCESS => Self::Denied,
            Errno::AGAIN => Self::Restless,
            // Too old a kernel, a filter that forbids the call, or flags that it does not know.
            Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::TOOBIG => Self::NoSafeWay(errno),
            errno => Self::Other(errno),
        }
    }

    /// The error that the caller of a tool reads.
    pub(crate) fn explain(self, verb: &str, place: &Place<'_>) -> ToolError {
        match self {
            // Nothing but the one text: not even where the path leads out.
            Self::Outside(_) => ToolError::not_granted(GrantKind::Roots, self.to_string()),
            Self::Loop | Self::Denied | Self::NoSafeWay(_) | Self::Top => ToolError::denied(self.to_string()),
            _ => ToolError::failed(self.to_string()),
        }
        .context(format_args!("cannot {verb} `{}`", in_line(&place.display())))
    }
}

/// Opens a place in a root.
pub(crate) fn open(place: &Place<'_>, flags: OFlags) -> Result<OwnedFd, OpenError> {
    let path: &Path = &place.path;
    retry(|| openat2(place.root.dir, path, flags | OFlags::CLOEXEC, Mode::empty(), RESOLVE))
}

/// `EAGAIN` says that a `..` met a directory being moved, so that the kernel could not tell inside from outside.
fn retry<T>(mut attempt: impl FnMut() -> rustix::io::Result<T>) -> Result<T, OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_OPEN_TRIES => {}
            Err(errno) => return Err(OpenError::new(errno)),
        }
    }
}

/// Opens a regular file for reading and tells its size. Does not wait for the other end of a FIFO.
pub(crate) fn open_file(place: &Place<'_>) -> ToolResult<(OwnedFd, u64)> {
    let not_a_file = |kind: Kind| {
        let advice = if kind == Kind::Dir { "; `list_dir` shows what is in it" } else { "" };
        let text =
            format!("cannot read `{}`: not a regular file but a {kind}{advice}", in_line(&place.display()));
        ToolError::failed(text)
    };
    let file = match open(place, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => file,
        Err(OpenError::Other(Errno::NXIO)) => return Err(not_a_file(Kind::Socket)),
        // A jail opens no device at all, which says less than what it is.
        Err(OpenError::Denied) if kind_of(place) == Some(Kind::Device) => {
            return Err(not_a_file(Kind::Device));
        }
        Err(error) => return Err(error.explain("read", place)),
    };
    let stat = rustix::fs::fstat(&file).map_err(std::io::Error::from)?;
    match Kind::of(rustix::fs::FileType::from_raw_mode(stat.st_mode)) {
        Kind::File => Ok((file, u64::try_from(stat.st_size).unwrap_or_default())),
        kind => Err(not_a_file(kind)),
    }
}

/// What a place is, links followed, as far as that can be seen.
fn kind_of(place: &Place<'_>) -> Option<Kind> {
    let stat = rustix::fs::fstat(open(place, OFlags::PATH).ok()?).ok()?;
    Some(Kind::of(rustix::fs::FileType::from_raw_mode(stat.st_mode)))
}

/// Asks for the facts of an open descriptor.
pub(crate) fn facts(descriptor: &OwnedFd) -> ToolResult<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    Ok(statx(descriptor, "", AtFlags::EMPTY_PATH, wanted).map_err(std::io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_path_is_tried_again_and_not_for_ever() {
        let mut answers = vec![Ok(7), Err(Errno::INTR), Err(Errno::AGAIN)];
        assert_eq!(retry(|| answers.pop().unwrap()), Ok(7));
        let mut tries = 0;
        let failed = retry(|| {
            tries += 1;
            Err::<(), _>(Errno::AGAIN)
        });
        assert_eq!((failed, tries), (Err(OpenError::Restless), MAX_OPEN_TRIES));
    }

    #[test]
    fn without_openat2_nothing_is_opened() {
        for errno in [Errno::NOSYS, Errno::PERM] {
            let mut tries = 0;
            let failed = retry(|| {
                tries += 1;
                Err::<(), _>(errno)
            });
            assert_eq!((failed, tries), (Err(OpenError::NoSafeWay(errno)), 1));
        }
    }

    #[test]
    fn outside_has_one_text() {
        assert_eq!(OpenError::new(Errno::XDEV).to_string(), PathError::Outside.to_string());
    }
}
