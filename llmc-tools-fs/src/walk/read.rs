//! Reads directories with several threads.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ignore::Match;
use llmc_core::{Context, Explain as _, ToolError, ToolResult};
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, StatxFlags, statx};
use rustix::io::Errno;

use super::crew::{OnPanic, Pulse, lock, together};
use super::found::{Dir, Entry, Found, Gaps, NOT_READ, as_path};
use super::handle::open_below;
use super::rules::{Present, Rules};
use super::{Options, Seen, Start, Wanted};
use crate::kind::Kind;
use crate::limits::{MAX_DIR_ENTRIES, MAX_WALK_DEPTH, MAX_WALK_ENTRIES};

/// Takes several hundred entries at a time from the kernel.
const BUFFER_BYTES: usize = 32 * 1024;
/// Directories that wait before other threads are called for help: starting one costs more than reading a few.
const ENOUGH_FOR_HELP: usize = 8;

/// A walk under way.
pub(super) struct Walk<'a, W: Wanted> {
    start: &'a Start,
    options: Options,
    wanted: &'a W,
    ctx: &'a Context,
    /// [`MAX_WALK_ENTRIES`].
    pub(super) max_entries: usize,
    state: Mutex<State<W::Note>>,
    changed: Condvar,
}

/// What the threads share.
struct State<T> {
    /// Directories that wait. The last one is next, so that few wait at a time.
    jobs: Vec<Job>,
    /// Directories that are being read.
    busy: usize,
    found: Found<T>,
    /// Entries seen so far.
    seen: usize,
    failed: Option<ToolError>,
}

/// A directory to read.
struct Job {
    /// Its path from the start.
    path: Vec<u8>,
    /// The directory that it is in, and the number of its entry there.
    parent: Option<(u32, u32)>,
    depth: usize,
    /// The ignore files of the directories above it.
    rules: Arc<Rules>,
}

/// A directory that was read.
struct Listing<T> {
    dir: Dir<T>,
    /// The directories in it, by the numbers of their entries.
    below: Vec<(u32, Job)>,
    seen: usize,
    gaps: Gaps,
}

/// Memory of a thread.
struct Scratch {
    buffer: Box<[MaybeUninit<u8>]>,
    /// Names as they come, one behind the other.
    names: Vec<u8>,
    /// Where they begin and end in `names`.
    entries: Vec<(usize, usize, Kind)>,
    /// Path of an entry from the top of the root.
    path: Vec<u8>,
}

impl<'a, W: Wanted> Walk<'a, W> {
    pub(super) fn new(start: &'a Start, options: Options, wanted: &'a W, ctx: &'a Context) -> Self {
        let first = Job { path: Vec::new(), parent: None, depth: 0, rules: Arc::clone(&start.rules) };
        let found = Found { dirs: Vec::new(), gaps: Gaps::default() };
        let state = State { jobs: vec![first], busy: 0, found, seen: 0, failed: None };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { start, options, wanted, ctx, max_entries: MAX_WALK_ENTRIES, state, changed }
    }

    pub(super) fn run(self) -> ToolResult<Found<W::Note>> {
        self.work(ENOUGH_FOR_HELP);
        if !lock(&self.state).jobs.is_empty() {
            together(usize::MAX, || self.work(usize::MAX));
        }
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => Ok(state.found),
        }
    }

    /// Reads directories until none is left, or until `enough` wait.
    fn work(&self, enough: usize) {
        let _guard = OnPanic(|| self.fail(ToolError::failed("a thread of the walk panicked")));
        let mut scratch = Scratch::new();
        let mut pulse = Pulse::new(self.ctx);
        while let Some(job) = self.next(enough) {
            let listing = pulse.beat().and_then(|()| self.read(&job, &mut scratch));
            match listing {
                Ok(listing) => self.put(job.parent, listing),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Takes a directory that waits. Waits for one as long as others may find some.
    fn next(&self, enough: usize) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if state.jobs.len() >= enough || state.failed.is_some() {
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, parent: Option<(u32, u32)>, listing: Listing<W::Note>) {
        let mut state = lock(&self.state);
        let number = u32::try_from(state.found.dirs.len()).unwrap_or(NOT_READ);
        if let Some((parent, entry)) = parent {
            state.found.dirs[parent as usize].entries[entry as usize].child = number;
        }
        state.found.dirs.push(listing.dir);
        state.found.gaps.add(listing.gaps);
        state.seen += listing.seen;
        if state.seen >= self.max_entries {
            state.found.gaps.ended |= !(state.jobs.is_empty() && listing.below.is_empty());
            state.jobs.clear();
        } else {
            // The last one is next: the first directory shall be.
            let jobs = listing.below.into_iter().rev();
            state.jobs.extend(jobs.map(|(entry, job)| Job { parent: Some((number, entry)), ..job }));
        }
        state.busy -= 1;
        if state.busy == 0 || !state.jobs.is_empty() {
            self.changed.notify_all();
        }
    }

    fn fail(&self, error: ToolError) {
        let mut state = lock(&self.state);
        state.failed.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Reads one directory. Only the start has to be readable.
    fn read(&self, job: &Job, scratch: &mut Scratch) -> ToolResult<Listing<W::Note>> {
        let mut gaps = Gaps::default();
        let is_start = job.parent.is_none();
        let path = if is_start { Path::new(".") } else { as_path(&job.path) };
        scratch.clear();
        let mut present = Present::default();
        let opened = open_below(&self.start.dir, path, OFlags::RDONLY | OFlags::DIRECTORY);
        let listed = opened.and_then(|dir| {
            present = scratch.list(dir.as_fd(), &mut gaps)?;
            Ok(dir)
        });
        match listed {
            Ok(dir) => Ok(self.sort_out(job, dir.as_fd(), present, scratch, gaps)),
            Err(error) if is_start => Err(std::io::Error::from(error)).explain("cannot read the directory"),
            // Gone, or something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Listing::empty(job, gaps)),
            Err(Errno::NAMETOOLONG) => Ok(Listing::empty(job, Gaps { too_deep: 1, ..gaps })),
            Err(_) => Ok(Listing::empty(job, Gaps { unreadable: 1, ..gaps })),
        }
    }

    /// Decides about the entries of a directory.
    fn sort_out(
        &self,
        job: &Job,
        dir: BorrowedFd<'_>,
        present: Present,
        scratch: &mut Scratch,
        gaps: Gaps,
    ) -> Listing<W::Note> {
        let Scratch { names, entries, path, .. } = scratch;
        let from_start = begin_path(path, &self.start.path, &job.path);
        let rules = if self.options.ignored {
            Arc::clone(&job.rules)
        } else {
            let own = path.strip_suffix(b"/").unwrap_or(path);
            job.rules.enter(dir, as_path(own), present)
        };
        let mut listing = Listing::empty(job, gaps);
        listing.seen = entries.len();
        let directory_bytes = path.len();
        for &(begin, end, kind) in entries.iter() {
            let name = &names[begin..end];
            path.truncate(directory_bytes);
            path.extend_from_slice(name);
            let kind = if kind == Kind::Unknown { kind_of(dir, name) } else { kind };
            let seen = Seen { dir, path: as_path(&path[from_start..]), name, kind };
            self.decide(&seen, as_path(path), job.depth, &rules, &mut listing);
        }
        listing.sort();
        listing
    }

    fn decide(
        &self,
        seen: &Seen<'_>,
        path: &Path,
        depth: usize,
        rules: &Arc<Rules>,
        listing: &mut Listing<W::Note>,
    ) {
        let is_dir = seen.kind == Kind::Dir;
        // The name is asked first: ignore files take longer.
        let fits = self.wanted.fits(seen);
        if !fits && !is_dir {
            return;
        }
        match self.wanted.decides(seen.path, is_dir) {
            Match::Ignore(()) => return,
            Match::Whitelist(()) => {}
            Match::None => match self.hides(seen, path, rules) {
                Hidden::Not => {}
                Hidden::ByName => return listing.dir.hidden += 1,
                Hidden::ByRule => return listing.dir.ignored += 1,
            },
        }
        let note = if fits { self.wanted.note(seen) } else { None };
        let goes_on = is_dir && depth < self.options.max_depth.min(MAX_WALK_DEPTH);
        listing.gaps.too_deep += u32::from(is_dir && !goes_on && depth < self.options.max_depth);
        if goes_on {
            let path = seen.path.as_os_str().as_encoded_bytes().to_vec();
            let job = Job { path, parent: None, depth: depth + 1, rules: Arc::clone(rules) };
            listing.below.push((listing.dir.entries.len() as u32, job));
        }
        if goes_on || note.is_some() {
            listing.dir.add(seen.name, seen.kind, note);
        }
    }

    fn hides(&self, seen: &Seen<'_>, path: &Path, rules: &Rules) -> Hidden {
        let Options { hidden, ignored, .. } = self.options;
        if !ignored {
            // Neither `hidden` nor a line such as `!*/` means git's own files.
            if seen.name == b".git" {
                return if hidden { Hidden::ByRule } else { Hidden::ByName };
            }
            match rules.matched(path, seen.kind == Kind::Dir) {
                Match::Ignore(()) => return Hidden::ByRule,
                Match::Whitelist(()) => return Hidden::Not,
                Match::None => {}
            }
        }
        if !hidden && seen.name.starts_with(b".") { Hidden::ByName } else { Hidden::Not }
    }
}

/// Whether an entry is left out, and why.
enum Hidden {
    Not,
    ByName,
    ByRule,
}

impl<T> Listing<T> {
    fn empty(job: &Job, gaps: Gaps) -> Self {
        let path = job.path.as_slice().into();
        let dir = Dir { path, names: Vec::new(), entries: Vec::new(), hidden: 0, ignored: 0 };
        Self { dir, below: Vec::new(), seen: 0, gaps }
    }

    /// Sorts the entries by name.
    fn sort(&mut self) {
        let Dir { names, entries, .. } = &mut self.dir;
        // Until they have a place in the order, the directories are numbered by where they were.
        for (entry, _) in &self.below {
            entries[*entry as usize].child = *entry;
        }
        entries.sort_unstable_by(|a, b| a.name_in(names).cmp(b.name_in(names)));
        let mut places = vec![0; if self.below.is_empty() { 0 } else { entries.len() }];
        for (place, entry) in entries.iter_mut().enumerate() {
            if entry.child != NOT_READ {
                places[entry.child as usize] = place as u32;
                entry.child = NOT_READ;
            }
        }
        self.below.iter_mut().for_each(|(entry, _)| *entry = places[*entry as usize]);
        self.below.sort_unstable_by_key(|(entry, _)| *entry);
    }
}

impl<T> Dir<T> {
    fn add(&mut self, name: &[u8], kind: Kind, note: Option<T>) {
        let name_start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.entries.push(Entry { name_start, name_bytes: name.len() as u16, kind, child: NOT_READ, note });
    }
}

impl<T> Entry<T> {
    fn name_in<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        &names[self.name_start as usize..][..usize::from(self.name_bytes)]
    }
}

impl Gaps {
    fn add(&mut self, more: Self) {
        self.unreadable += more.unreadable;
        self.too_deep += more.too_deep;
        self.too_large += more.too_large;
        self.ended |= more.ended;
    }
}

impl Scratch {
    fn new() -> Self {
        let buffer = Box::new_uninit_slice(BUFFER_BYTES);
        Self { buffer, names: Vec::new(), entries: Vec::new(), path: Vec::new() }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }

    /// Takes over the entries of a directory.
    fn list(&mut self, dir: BorrowedFd<'_>, gaps: &mut Gaps) -> Result<Present, Errno> {
        let mut present = Present::default();
        let mut entries = RawDir::new(dir, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if self.entries.len() >= MAX_DIR_ENTRIES {
                gaps.too_large = 1;
                break;
            }
            if name.starts_with(b".") {
                present.add(name);
            }
            let begin = self.names.len();
            self.names.extend_from_slice(name);
            self.entries.push((begin, self.names.len(), Kind::of(entry.file_type())));
        }
        Ok(present)
    }
}

/// Puts the path of a directory in `path`, with a slash at its end if it is not empty, and tells where the part from
/// the start begins.
fn begin_path(path: &mut Vec<u8>, start: &Path, directory: &[u8]) -> usize {
    path.clear();
    let mut add = |part: &[u8]| {
        if !part.is_empty() {
            path.extend_from_slice(part);
            path.push(b'/');
        }
        path.len()
    };
    let from_start = add(start.as_os_str().as_encoded_bytes());
    add(directory);
    from_start
}

/// Some file systems do not tell the kind.
fn kind_of(dir: BorrowedFd<'_>, name: &[u8]) -> Kind {
    match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Ok(facts) => Kind::of(FileType::from_raw_mode(facts.stx_mode.into())),
        Err(_) => Kind::Unknown,
    }
}
