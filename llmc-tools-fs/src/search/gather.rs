//! Puts the results of many files together, in the order of their paths.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rank::Class;
use super::sink::Hit;
use super::{Keep, Pieces, Plan};
use crate::limits::{MAX_COUNTED_MATCHES, MAX_SEARCH_TEXT_BYTES};
use crate::walk;

/// Number of [`Class`]es.
const CLASSES: usize = 3;

/// What may still be kept, for each class: so many matches, so many bytes. Once something does not fit, nothing
/// further of its class is kept, so that what is kept has no holes.
#[derive(Clone, Debug)]
pub(super) struct Room {
    hits: [usize; CLASSES],
    bytes: [usize; CLASSES],
}

/// What was taken already, for those who search further on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    hits: [AtomicUsize; CLASSES],
}

/// The results of a few files.
pub(super) struct Batch {
    pub(super) room: Room,
    files: Vec<FileHits>,
    searched: usize,
    gaps: Gaps,
}

/// The results of a file.
#[derive(Default)]
pub(super) struct FileHits {
    pub(super) path: Box<[u8]>,
    pub(super) count: u64,
    pub(super) hits: Vec<Hit>,
}

/// How the search of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Binary,
    Unreadable,
    LongLine,
    TooLarge,
}

/// Files that were not searched, or not as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Gaps {
    unreadable: u32,
    binary: u32,
    long_lines: u32,
    too_large: u32,
}

/// The results of a search.
pub(crate) struct Summary {
    keep: Keep,
    limit: usize,
    rank: bool,
    pieces: Pieces,
    room: Room,
    /// Matches of each class, with the path of their file.
    classes: [Vec<(Arc<[u8]>, Hit)>; CLASSES],
    /// Files, with the number of their matches.
    pub(crate) files: Vec<(Box<[u8]>, u64)>,
    /// Number of matches, seen so far.
    pub(crate) total: u64,
    /// Number of files that match, seen so far.
    pub(crate) total_files: u64,
    /// Files that were searched.
    pub(crate) searched: usize,
    /// Files to search.
    pub(crate) candidates: usize,
    gaps: Gaps,
    walk_gaps: walk::Gaps,
}

impl Room {
    fn new(plan: &Plan) -> Self {
        let others = if plan.rank { plan.limit } else { 0 };
        let mut hits = [others; CLASSES];
        hits[Class::Use as usize] = plan.limit;
        Self { hits, bytes: [MAX_SEARCH_TEXT_BYTES; CLASSES] }
    }

    pub(super) fn has(&self, class: Class) -> bool {
        self.hits[class as usize] > 0 && self.bytes[class as usize] > 0
    }

    pub(super) fn has_any(&self) -> bool {
        [Class::Definition, Class::Use, Class::Test].into_iter().any(|class| self.has(class))
    }

    pub(super) fn take(&mut self, hit: &Hit) {
        self.hits[hit.class as usize] -= 1;
        self.take_more(hit.class, hit.bytes());
    }

    pub(super) fn take_more(&mut self, class: Class, bytes: usize) {
        let left = &mut self.bytes[class as usize];
        *left = left.saturating_sub(bytes);
    }
}

impl Batch {
    /// Room for no more than can still be shown.
    pub(super) fn new(plan: &Plan, tally: &Tally) -> Self {
        let mut room = Room::new(plan);
        for (left, taken) in room.hits.iter_mut().zip(&tally.hits) {
            *left = left.saturating_sub(taken.load(Ordering::Relaxed));
        }
        Self { room, files: Vec::new(), searched: 0, gaps: Gaps::default() }
    }

    /// Adds the results of a file; those of a binary one do not count.
    pub(super) fn add(&mut self, found: FileHits, end: End) {
        self.searched += 1;
        match end {
            End::Done => {}
            End::Binary => return self.gaps.binary += 1,
            End::Unreadable => self.gaps.unreadable += 1,
            End::LongLine => self.gaps.long_lines += 1,
            End::TooLarge => self.gaps.too_large += 1,
        }
        if found.count > 0 {
            self.files.push(found);
        }
    }
}

impl walk::Heavy for Batch {
    fn bytes(&self) -> usize {
        let file = |file: &FileHits| file.path.len() + 64 + file.hits.iter().map(Hit::bytes).sum::<usize>();
        self.files.iter().map(file).sum()
    }
}

impl Summary {
    pub(super) fn new(plan: &Plan, walk_gaps: walk::Gaps, candidates: usize) -> Self {
        Self {
            keep: plan.keep,
            limit: plan.limit,
            rank: plan.rank,
            pieces: plan.pieces,
            room: Room::new(plan),
            classes: Default::default(),
            files: Vec::new(),
            total: 0,
            total_files: 0,
            searched: 0,
            candidates,
            gaps: Gaps::default(),
            walk_gaps,
        }
    }

    /// Adds the results of the files that come next; false if nothing more is needed.
    pub(super) fn add(&mut self, batch: Batch, tally: &Tally) -> bool {
        self.searched += batch.searched;
        self.gaps.unreadable += batch.gaps.unreadable;
        self.gaps.binary += batch.gaps.binary;
        self.gaps.long_lines += batch.gaps.long_lines;
        self.gaps.too_large += batch.gaps.too_large;
        for file in batch.files {
            self.total += file.count;
            self.total_files += 1;
            if self.keep == Keep::Lines {
                self.take(&file.path, file.hits);
            } else if self.files.len() < self.limit {
                self.files.push((file.path, file.count));
            }
        }
        for (taken, class) in tally.hits.iter().zip(&self.classes) {
            taken.store(class.len(), Ordering::Relaxed);
        }
        !self.has_enough()
    }

    fn take(&mut self, path: &[u8], hits: Vec<Hit>) {
        if hits.is_empty() {
            return;
        }
        let path = Arc::from(path);
        for hit in hits {
            if self.room.has(hit.class) {
                self.room.take(&hit);
                self.classes[hit.class as usize].push((Arc::clone(&path), hit));
            }
        }
    }

    /// Whether what is shown will not change any more, and the total is beyond counting.
    fn has_enough(&self) -> bool {
        match self.keep {
            Keep::Lines if self.total < MAX_COUNTED_MATCHES => false,
            Keep::Lines => !self.room.has(if self.rank { Class::Definition } else { Class::Use }),
            Keep::Name | Keep::Count => self.total_files >= MAX_COUNTED_MATCHES,
        }
    }

    /// Whether the totals are those of all files.
    pub(crate) fn is_complete(&self) -> bool {
        self.searched == self.candidates
    }

    /// The matches to show, best first.
    pub(crate) fn into_hits(self) -> Vec<(Arc<[u8]>, Hit)> {
        let mut hits: Vec<_> = self.classes.into_iter().flatten().collect();
        let mut bytes = 0;
        hits.truncate(self.limit);
        let fitting = hits.iter().take_while(|(_, hit)| {
            let fits = bytes < MAX_SEARCH_TEXT_BYTES;
            bytes += hit.bytes();
            fits
        });
        let fitting = fitting.count();
        hits.truncate(fitting);
        hits
    }

    /// A sentence for everything that was not searched.
    pub(crate) fn gap_notes(&self) -> Vec<String> {
        let files = |count: u32| if count == 1 { "file" } else { "files" };
        let mut notes = Vec::new();
        let mut note = |count: u32, text: String| {
            if count > 0 {
                notes.push(format!("{count} {} {text}", files(count)));
            }
        };
        note(self.gaps.binary, "of binary data left out".to_owned());
        note(self.gaps.unreadable, "could not be read".to_owned());
        note(
            self.gaps.long_lines,
            format!("searched only up to a line longer than {} bytes", self.pieces.line_bytes),
        );
        note(
            self.gaps.too_large,
            format!("larger than {} bytes not searched, because of `multiline`", self.pieces.multiline_bytes),
        );
        notes.extend(self.walk_gaps.notes());
        notes
    }
}
