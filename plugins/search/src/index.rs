//! The index of this plugin's roots: one per state folder, kept up to date by a thread that lives as long as it works.

mod marks;
mod refresh;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_core::manifest::GrantKind;
use llmc_core::{Context, Root, ToolError, ToolResult};

use crate::limits::MAX_AGE;
use crate::store::{self, Reader, StoreError};

/// The fact about a database that all files were in it once: until then a search is better off with the files.
pub(crate) const COMPLETE: &str = "complete";

/// Connections that wait for the next call.
const MAX_SPARE_READERS: usize = 4;

/// An index.
pub(crate) struct Index {
    folder: PathBuf,
    pub(crate) roots: Vec<Root>,
    status: Mutex<Status>,
    changed: Condvar,
    readers: Mutex<Vec<Reader>>,
}

/// What the thread is doing, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) working: bool,
    /// Files that are being looked at, and how many are done.
    pub(crate) total: usize,
    pub(crate) done: usize,
    /// When the files were last looked at, all of them.
    finished: Option<Instant>,
    /// Counts ends of the thread.
    rounds: u64,
    /// Why the index cannot be used or brought up to date.
    pub(crate) trouble: Option<String>,
    /// Why it was last built anew, if a broken one was found.
    pub(crate) rebuilt: Option<String>,
    /// The database of this number was found broken.
    suspect: Option<u64>,
    /// Everything is to be read again.
    from_scratch: bool,
    /// Whether the pages of the database were looked through since the process began.
    sound: bool,
    pub(crate) too_many_files: bool,
}

/// What an answer says about how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// All files were looked at.
    Fresh,
    /// Some were not yet.
    Indexing { done: usize, total: usize },
    /// They could not be.
    Stale(String),
}

impl Freshness {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Fresh => "fresh".into(),
            Self::Indexing { total: 0, .. } => "indexing: looking for files".into(),
            Self::Indexing { done, total } => format!("indexing: {done} of {total} files"),
            Self::Stale(why) => format!("stale: {why}"),
        }
    }
}

/// All indexes of this process. A host has one; tests have many.
static INDEXES: LazyLock<Mutex<HashMap<PathBuf, Arc<Index>>>> = LazyLock::new(Mutex::default);

/// The index of the plugin that a call is for.
///
/// # Errors
/// If no state folder or no root is granted.
pub(crate) fn of(ctx: &Context) -> ToolResult<Arc<Index>> {
    let folder = ctx.state_dir()?;
    let roots = ctx.roots()?.to_vec();
    if roots.is_empty() {
        return Err(ToolError::not_granted(
            GrantKind::Roots,
            "no root is granted, so there is nothing to index",
        ));
    }
    let mut indexes = locked(&INDEXES);
    let new = || {
        let (status, changed, readers) = Default::default();
        Arc::new(Index { folder: folder.clone(), roots, status, changed, readers })
    };
    Ok(Arc::clone(indexes.entry(folder.clone()).or_insert_with(new)))
}

impl Index {
    /// Makes sure that the files are looked at, and waits for that at most `wait`, or until `go_on` says no.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        max_age: Duration,
        wait: Duration,
        go_on: &dyn Fn(&Status) -> bool,
    ) -> Freshness {
        let begun = Instant::now();
        let mut status = self.status();
        let is_fresh = |status: &Status| {
            status.finished.is_some_and(|at| begun.saturating_duration_since(at) <= max_age)
        };
        if !is_fresh(&status) || status.suspect.is_some() || status.from_scratch {
            self.start(&mut status);
        }
        let round = status.rounds;
        while status.working && status.rounds == round && begun.elapsed() < wait && go_on(&status) {
            let pause = (wait - begun.elapsed()).min(Duration::from_millis(100));
            status = self.changed.wait_timeout(status, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        match (&status.trouble, status.working) {
            (Some(trouble), false) => Freshness::Stale(trouble.clone()),
            (_, true) => Freshness::Indexing { done: status.done, total: status.total },
            (None, false) => Freshness::Fresh,
        }
    }

    /// Has a call bring the index up to date, within its time.
    pub(crate) fn refresh_for(self: &Arc<Self>, ctx: &Context, wait: Duration) -> Freshness {
        // Some of the time is needed for the answer.
        let wait = wait.min(ctx.remaining() / 2);
        self.refresh(MAX_AGE, wait, &|_| !ctx.cancelled())
    }

    /// Everything is to be read again, at the next refresh.
    pub(crate) fn forget(&self) {
        self.status().from_scratch = true;
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        locked(&self.status)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asks the database. One that turns out to be broken is built anew in the background.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let identity = store::identity(&self.folder);
        let spare = locked(&self.readers).pop().filter(|reader| reader.identity == identity);
        let answer = match spare {
            Some(reader) => Ok(reader),
            None if identity.is_none() => Err(StoreError::Unusable("there is no index yet".into())),
            None => Reader::open(&self.folder),
        }
        .and_then(|reader| {
            let answer = reader.consistent(question)?;
            let mut readers = locked(&self.readers);
            if readers.len() < MAX_SPARE_READERS {
                readers.push(reader);
            }
            Ok(answer)
        });
        if let Err(StoreError::Broken(_)) = &answer {
            locked(&self.readers).clear();
            self.status().suspect = identity;
        }
        answer
    }

    fn start(self: &Arc<Self>, status: &mut Status) {
        if status.working {
            return;
        }
        (status.working, status.done, status.total) = (true, 0, 0);
        let index = Arc::clone(self);
        let started = std::thread::Builder::new().name("index".into()).spawn(move || index.work());
        if let Err(error) = started {
            status.working = false;
            status.trouble = Some(format!("no thread to index with: {error}"));
        }
    }

    fn work(&self) {
        // A panic must not leave callers waiting for an end that never comes.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| refresh::run(self)));
        let mut status = self.status();
        status.working = false;
        status.rounds += 1;
        match result {
            Ok(Ok(())) => (status.trouble, status.finished) = (None, Some(Instant::now())),
            Ok(Err(StoreError::Broken(why))) => {
                status.trouble = Some(why);
                status.suspect = store::identity(&self.folder);
            }
            Ok(Err(error)) => status.trouble = Some(error.to_string()),
            Err(_) => status.trouble = Some("indexing panicked; the log tells where".into()),
        }
        drop(status);
        self.changed.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
