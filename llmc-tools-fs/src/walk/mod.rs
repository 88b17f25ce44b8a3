//! Walks a directory tree by handle: what `tree`, `find_files` and `search_files` share.
//!
//! Everything is opened with `openat2` relative to the handle of the start, with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`: the kernel follows no link in any component, so nothing that is swapped or moved meanwhile
//! leads out. What waits to be read is kept as a path, not as a descriptor; a walk holds one descriptor per thread
//! and one for its start.
//!
//! Directories are read by several threads in any order, and kept as a tree whose entries are sorted: whoever goes
//! through a [`Found`] sees the same order, whatever the threads did. Paths are ordered by their components.
//!
//! What is left out is what `rg` leaves out, see [`rules`].

mod crew;
mod found;
mod handle;
mod read;
mod rules;
mod show;
mod start;

pub(crate) use self::crew::{Heavy, Pulse, in_order};
pub(crate) use self::found::{Dir, Found, Gaps, as_path};
pub(crate) use self::handle::open_below;
pub(crate) use self::show::{join, mark, push_name, push_notes};
pub(crate) use self::start::Start;

use std::os::fd::BorrowedFd;
use std::path::Path;

use ignore::Match;
use llmc_core::{Context, ToolResult};

use crate::kind::Kind;

/// Which directories to go into and which entries to leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Whether names that begin with a dot are seen.
    pub(crate) hidden: bool,
    /// Whether entries are seen that ignore files hide.
    pub(crate) ignored: bool,
    /// How many directories below the start are entered one inside the other.
    pub(crate) max_depth: usize,
}

/// What a tool wants of a walk. Asked by several threads.
pub(crate) trait Wanted: Sync {
    /// What is kept of an entry beside its name and kind.
    type Note: Send;

    /// A decision that comes before ignore files and hidden names; `path` is relative to the start.
    fn decides(&self, _path: &Path, _is_dir: bool) -> Match<()> {
        Match::None
    }

    /// Whether an entry is wanted by its name. Directories are walked either way.
    fn fits(&self, entry: &Seen<'_>) -> bool;

    /// What to keep of an entry that fits; `None` if a closer look shows that it is not wanted.
    fn note(&self, entry: &Seen<'_>) -> Option<Self::Note>;
}

/// An entry during a walk.
pub(crate) struct Seen<'a> {
    /// The directory that it is in.
    pub(crate) dir: BorrowedFd<'a>,
    /// Its path from the start.
    pub(crate) path: &'a Path,
    /// Its name.
    pub(crate) name: &'a [u8],
    /// What it is; a link is a link.
    pub(crate) kind: Kind,
}

/// Walks everything below a start.
///
/// # Errors
/// If the start cannot be read, the call was cancelled or its time is over. What cannot be read further down is
/// counted in [`Found::gaps`].
pub(crate) fn walk<W: Wanted>(
    start: &Start,
    options: Options,
    wanted: &W,
    ctx: &Context,
) -> ToolResult<Found<W::Note>> {
    read::Walk::new(start, options, wanted, ctx).run()
}

/// Where a walk starts unless told otherwise.
pub(crate) fn top() -> String {
    ".".to_owned()
}

#[cfg(test)]
mod walk_tests;
