//! `copy_path`.
//!
//! A copy is made under a name that nobody can foresee, beside its place, and renamed into it when it is complete: one
//! that failed or was killed never looks finished. A directory is gone through twice, first to see whether all of it
//! can be copied, then to do it.
//!
//! Kept are contents, the text of links and permissions, those without set-id bits; the owner may always enter and
//! change a directory of the copy. Not kept are owners, times, extended attributes and hard links. What is protected
//! is not written in copies either: a `.git` from elsewhere would be obeyed.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use llmc_core::prelude::*;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, StatxFlags, fchmod, fstat, fstatfs,
    mkdirat, openat, readlinkat, statx, symlinkat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::contents;
use crate::kind::Kind;
use crate::limits::{MAX_COPY_BYTES, MAX_COPY_ENTRIES, MAX_DEPTH};
use crate::path::{Place, in_line};
use crate::protected::{self, Finder};
use crate::removal;
use crate::root::{self, OpenError};
use crate::target::{Last, Target};
use crate::tree_work::{
    Identity, Tree, check_name, failed, identity, next_entry, rename_new, temporary_name,
};

/// Opens a file itself, and does not wait for the other end of a FIFO.
const TO_READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// What is kept of a mode: no set-id bits, which lend the owner's rights.
const PERMISSIONS: u32 = 0o777;
/// Entries between two looks at the deadline.
const PACE: u64 = 256;

/// Copies a file, a link as a link, or a directory with all that is in it. Never replaces anything.
#[arguments(undocumented)]
pub struct CopyPath {
    from: String,
    /// The path of the copy itself.
    to: String,
}

/// What was copied.
#[output(custom_text)]
pub struct Copied {
    /// The copy, without links and `..` on the way.
    path: String,
    /// Number of files, directories and links.
    entries: u64,
    /// Size of all files.
    bytes: u64,
    /// Number of FIFOs, sockets and devices that were left out.
    skipped: u64,
    #[serde(skip)]
    from: String,
}

impl Tool for CopyPath {
    const NAME: &'static str = "copy_path";
    const ANNOTATIONS: Annotations = Annotations::ADDITIVE;
    type Output = Copied;

    fn call(self, ctx: &Context) -> ToolResult<Copied> {
        let roots = ctx.roots()?;
        let (old, new) = (Place::parse(&self.from, roots)?, Place::parse(&self.to, roots)?);
        let (from, kind) = look_at(&old)?;
        let to = Target::for_change("copy to", &new, Last::Keep)?;
        let (from_name, path) = (old.display(), to.display());
        let mut copying = Copying::new(&old, &to, ctx);
        let copied = copying.check_free().and_then(|()| match kind {
            Kind::Dir => copying.copy_tree(from),
            Kind::File => copying.copy_file(),
            Kind::Symlink => copying.copy_link(&from),
            kind => Err(ToolError::failed(format!("it is no file, directory or link but a {kind}"))),
        });
        copied.map_err(|error| {
            error.context(format_args!("cannot copy `{}` to `{}`", in_line(&from_name), in_line(&path)))
        })?;
        let Copying { entries, bytes, skipped, .. } = copying;
        Ok(Copied { path, entries, bytes, skipped, from: from_name })
    }
}

/// Finds out what is to be copied: a link itself, not what it leads to.
fn look_at(place: &Place<'_>) -> ToolResult<(OwnedFd, Kind)> {
    let explain = |error: OpenError| error.explain("copy", place);
    let itself = root::open(place, OFlags::PATH | OFlags::NOFOLLOW).map_err(explain)?;
    let stat = fstat(&itself).map_err(|errno| explain(OpenError::Other(errno)))?;
    Ok((itself, kind_of(&stat)))
}

fn kind_of(stat: &Stat) -> Kind {
    Kind::of(FileType::from_raw_mode(stat.st_mode))
}

/// A copy that is being made, or its plan.
struct Copying<'a> {
    ctx: &'a Context,
    from: &'a Place<'a>,
    to: &'a Target<'a>,
    /// Which directory `to` is in.
    around: Option<Identity>,
    finder: Finder<'a>,
    entries: u64,
    bytes: u64,
    skipped: u64,
    /// Size of all files, if that is known.
    total_bytes: u64,
}

impl<'a> Copying<'a> {
    fn new(from: &'a Place<'a>, to: &'a Target<'a>, ctx: &'a Context) -> Self {
        let around = identity(&to.parent, OsStr::new("."));
        let finder = Finder::new(&to.place.root.protected);
        Self { ctx, from, to, around, finder, entries: 0, bytes: 0, skipped: 0, total_bytes: 0 }
    }

    fn check_free(&self) -> ToolResult<()> {
        check_name(self.to)?;
        match self.to.kind().map_err(failed)? {
            None => Ok(()),
            Some(Kind::Dir) => {
                Err(ToolError::failed("a directory is there; give the whole path of the copy"))
            }
            Some(kind) => Err(ToolError::failed(format!("a {kind} is there already"))),
        }
    }

    fn copy_link(&mut self, itself: &OwnedFd) -> ToolResult<()> {
        self.entries += 1;
        make_link((itself.as_fd(), OsStr::new("")), (self.to.parent.as_fd(), &self.to.name))
    }

    fn copy_file(&mut self) -> ToolResult<()> {
        let from = root::open(self.from, TO_READ).map_err(|error| error.explain("read", self.from))?;
        let temporary = temporary_name();
        self.entries += 1;
        self.total_bytes = u64::try_from(fstat(&from).map_err(failed)?.st_size).unwrap_or(0);
        let copied = self
            .copy_contents(&from, self.to.parent.as_fd(), &temporary)
            .and_then(|()| self.put_into_place(&temporary, false));
        if copied.is_err() {
            let _ = unlinkat(&self.to.parent, &temporary, AtFlags::empty());
        }
        copied
    }

    fn copy_tree(&mut self, from: OwnedFd) -> ToolResult<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = Tree::to_read(openat(&from, ".", flags, Mode::empty()).map_err(failed)?);
        self.pass(&from, None)?;
        let planned = std::mem::take(&mut self.bytes);
        (self.entries, self.skipped, self.total_bytes) = (0, 0, planned);
        let temporary = temporary_name();
        mkdirat(&self.to.parent, &temporary, Mode::RWXU).map_err(failed)?;
        let copied = Tree::to_change(&self.to.parent, &temporary).map_err(failed).and_then(|into| {
            let copied = self
                .pass(&from, Some(&into))
                .and_then(|()| keep_dir_mode(from.top(), into.top()))
                .and_then(|()| self.put_into_place(&temporary, true));
            if copied.is_err() {
                // By handle: whatever has the name by now, nothing else is emptied.
                let _ = removal::empty(&into, &mut |_, _| Ok(()));
            }
            copied
        });
        copied.map_err(|error| match unlinkat(&self.to.parent, &temporary, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => error,
            Err(_) => {
                let left = self.to.place.name_of(&self.to.path.with_file_name(&temporary));
                ToolError::new(error.code(), format!("{}; parts are left in `{left}`", error.message()))
            }
        })
    }

    /// Goes through a directory, and copies what is in it if there is something to copy into.
    fn pass(&mut self, from: &Tree, into: Option<&Tree>) -> ToolResult<()> {
        let mut waiting = vec![PathBuf::new()];
        self.entries += 1;
        while let Some(path) = waiting.pop() {
            self.ctx.check()?;
            let mut dir = from.dir(&path).and_then(Dir::new).map_err(|errno| self.failed_at(&path, errno))?;
            let here = dir.fd().map_err(failed)?;
            if self.around.is_some() && identity(here, OsStr::new(".")) == self.around {
                return Err(ToolError::invalid("a directory cannot be copied into itself"));
            }
            let into =
                into.map(|into| into.dir(&path)).transpose().map_err(|errno| self.failed_at(&path, errno))?;
            if let Some(into) = into.as_ref().filter(|_| !path.as_os_str().is_empty()) {
                keep_dir_mode(here, into)?;
            }
            while let Some((name, _)) = next_entry(&mut dir).map_err(|errno| self.failed_at(&path, errno))? {
                let path = path.join(&name);
                let copied = self.entry(&dir, &name, &path, into.as_ref());
                if copied.map_err(|error| self.at(&path, error))? == Some(Kind::Dir) {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    /// Copies an entry, of a directory only itself, or just counts it. Nothing if it is left out.
    fn entry(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        path: &Path,
        into: Option<&OwnedFd>,
    ) -> ToolResult<Option<Kind>> {
        let dir = dir.fd().map_err(failed)?;
        let facts = match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE | StatxFlags::SIZE) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let kind = Kind::of(FileType::from_raw_mode(facts.stx_mode.into()));
        if !matches!(kind, Kind::File | Kind::Dir | Kind::Symlink) {
            self.skipped += 1;
            return Ok(None);
        }
        self.admit(path)?;
        match (into, kind) {
            (None, Kind::File) => self.charge(facts.stx_size)?,
            (None, _) => {}
            (Some(into), Kind::Dir) => mkdirat(into, name, Mode::RWXU).map_err(failed)?,
            (Some(into), Kind::File) => {
                let from = retry_on_intr(|| openat(dir, name, TO_READ, Mode::empty()));
                let from =
                    from.map_err(|errno| if errno == Errno::LOOP { replaced() } else { failed(errno) })?;
                self.copy_contents(&from, into.as_fd(), name)?;
            }
            (Some(into), _) => make_link((dir, name), (into.as_fd(), name))?,
        }
        Ok(Some(kind))
    }

    /// Counts an entry of the tree, if there may be one.
    fn admit(&mut self, path: &Path) -> ToolResult<()> {
        self.entries += 1;
        if self.entries > MAX_COPY_ENTRIES {
            return Err(ToolError::failed(format!(
                "more than {MAX_COPY_ENTRIES} entries are not copied at once"
            )));
        }
        let path = self.to.path.join(path);
        if path.components().count() > MAX_DEPTH + 1 {
            return Err(ToolError::failed(OpenError::TooDeep.to_string()));
        }
        if let Some(entry) = self.finder.find(&path) {
            return Err(protected::refusal(entry));
        }
        if self.entries.is_multiple_of(PACE) { self.ctx.check() } else { Ok(()) }
    }

    /// Counts bytes of a file.
    fn charge(&mut self, bytes: u64) -> ToolResult<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_COPY_BYTES {
            return Err(ToolError::failed(format!(
                "more than {MAX_COPY_BYTES} bytes are not copied at once"
            )));
        }
        if self.total_bytes > 0 {
            self.ctx.progress(self.bytes as f64, Some(self.total_bytes as f64), "copying");
        }
        Ok(())
    }

    /// Makes a new file `name` with contents and permissions of an open one.
    fn copy_contents(&mut self, from: &OwnedFd, into: BorrowedFd<'_>, name: &OsStr) -> ToolResult<()> {
        let stat = fstat(from).map_err(failed)?;
        if kind_of(&stat) != Kind::File {
            return Err(replaced());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = openat(into, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        contents::copy(from, &new, &mut |bytes| {
            self.charge(bytes)?;
            self.ctx.check()
        })?;
        fchmod(&new, Mode::from_raw_mode(stat.st_mode & PERMISSIONS)).map_err(failed)
    }

    /// Gives the copy its name.
    fn put_into_place(&self, temporary: &OsStr, is_dir: bool) -> ToolResult<()> {
        let parent = self.to.parent.as_fd();
        rename_new((parent, temporary), (parent, &self.to.name), is_dir).map_err(|errno| match errno {
            Errno::EXIST => ToolError::failed("something was put there meanwhile"),
            errno => failed(errno),
        })
    }

    fn failed_at(&self, path: &Path, errno: Errno) -> ToolError {
        self.at(path, failed(errno))
    }

    /// Tells what below `from` an error is about.
    fn at(&self, path: &Path, error: ToolError) -> ToolError {
        // The top of a root is `.`, and the top of the tree the empty path.
        let parts = self.from.path.components().chain(path.components());
        let path: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
        error.context(format_args!("`{}`", in_line(&self.from.name_of(&path))))
    }
}

/// Makes a link with the text of another.
fn make_link((dir, name): (BorrowedFd<'_>, &OsStr), (into, new): (BorrowedFd<'_>, &OsStr)) -> ToolResult<()> {
    // Their text comes from the kernel and would tell what lies outside.
    if fstatfs(dir).map_err(failed)?.f_type == PROC_SUPER_MAGIC {
        return Err(ToolError::denied("links of `/proc` are not copied"));
    }
    let text = readlinkat(dir, name, Vec::new()).map_err(failed)?;
    symlinkat(text, into, new).map_err(failed)
}

fn replaced() -> ToolError {
    ToolError::failed("it was replaced while it was copied; try again")
}

fn keep_dir_mode(from: BorrowedFd<'_>, into: impl AsFd) -> ToolResult<()> {
    let mode = fstat(from).map_err(failed)?.st_mode & PERMISSIONS;
    fchmod(into, Mode::from_raw_mode(mode) | Mode::RWXU).map_err(failed)
}

impl StructuredOutput for Copied {
    fn text(&self) -> String {
        let Self { path, entries, bytes, skipped, from } = self;
        let mut text = format!("copied `{}` to `{}`: ", in_line(from), in_line(path));
        if *entries > 1 {
            text.push_str(&format!("{entries} entries, "));
        }
        text.push_str(&format!("{bytes} bytes"));
        if *skipped > 0 {
            text.push_str(&format!("\n[{skipped} FIFOs, sockets or devices were left out]"));
        }
        text
    }
}

#[cfg(test)]
#[path = "copy_path_tests.rs"]
mod tests;
