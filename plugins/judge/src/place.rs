//! Reading a file of a granted root.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use llmc_core::manifest::GrantKind;
use llmc_core::{Context, Root, ToolError, ToolResult};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

/// Links that lead out of the root, and those that only `/proc` knows, are not followed.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// `EAGAIN` says that a `..` met a directory being moved; it passes.
const MAX_TRIES: usize = 100;

/// Reads a text file by `root:relative/path`, or by its path below the first root.
pub(crate) fn read(ctx: &Context, path: &str, max_bytes: usize) -> ToolResult<String> {
    let shown = path.escape_debug();
    let (root, relative) = find(ctx.roots()?, path)?;
    let cannot = |why: &str| ToolError::failed(format!("cannot read `{shown}`: {why}"));
    let file = File::from(open(root, relative).map_err(|errno| refused(errno, path))?);
    let stat = fstat(&file).map_err(std::io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(cannot("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(cannot(&format!("longer than {max_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| cannot("not UTF-8"))
}

/// The root that a path is about, and the rest of the path.
fn find<'a, 'p>(roots: &'a [Root], path: &'p str) -> ToolResult<(&'a Root, &'p Path)> {
    let named = path.split_once(':');
    let named = named.and_then(|(name, rest)| Some((roots.iter().find(|root| root.name == name)?, rest)));
    let (root, rest) = named.or_else(|| Some((roots.first()?, path))).ok_or_else(|| {
        let message = "no directory is granted to this plugin, so give the text itself instead of a path";
        ToolError::not_granted(GrantKind::Roots, message)
    })?;
    // A host has no `/` to open anything from; said here because the kernel's answer says less.
    if rest.starts_with('/') {
        return Err(ToolError::denied("a path is relative, as in `root:path/to/file`"));
    }
    Ok((root, Path::new(rest)))
}

fn open(root: &Root, path: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    // Whoever opens a FIFO waits for its other end, unless told not to.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    for _ in 1..MAX_TRIES {
        match openat2(root.dir, path, flags, Mode::empty(), RESOLVE) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// One text for all that lies outside, whether it exists or not.
fn refused(errno: Errno, path: &str) -> ToolError {
    if errno == Errno::XDEV {
        return ToolError::not_granted(GrantKind::Roots, "the path is outside the granted roots");
    }
    ToolError::from(std::io::Error::from(errno))
        .context(format_args!("cannot read `{}`", path.escape_debug()))
}
