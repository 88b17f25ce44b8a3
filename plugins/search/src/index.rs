//! The index of this plugin's roots: one per state folder, kept up to date by a thread that lives as long as it works.

mod marks;
mod refresh;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_core::manifest::GrantKind;
use llmc_core::{Context, Root, ToolError, ToolResult, arguments};

use self::refresh::Kept;
use crate::limits::{MAX_AGE, MAX_QUICK_FILES};
use crate::meaning::Model;
use crate::store::{self, Reader, StoreError};

/// The fact about a database that all files were in it once: until then a search is better off with the files.
pub(crate) const COMPLETE: &str = "complete";

/// Connections that wait for the next call.
const MAX_SPARE_READERS: usize = 4;

/// What the operator may set.
#[arguments]
#[derive(Default)]
struct Settings {
    /// A root with a model; it is not indexed.
    #[serde(default)]
    embeddings: Option<String>,
}

/// An index.
pub(crate) struct Index {
    folder: PathBuf,
    pub(crate) roots: Vec<Root>,
    model: Option<Model>,
    /// Why there is none, though one was wanted.
    pub(crate) no_model: Option<String>,
    status: Mutex<Status>,
    changed: Condvar,
    readers: Mutex<Vec<Reader>>,
    kept: Mutex<Kept>,
    checking: Mutex<()>,
}

/// What the thread is doing, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) working: bool,
    /// Files that are being looked at, and how many are done.
    pub(crate) total: usize,
    pub(crate) done: usize,
    /// All files at the last look.
    files: usize,
    /// When the last round began that ended well, and the last one at all.
    looked: Option<Instant>,
    tried: Option<Instant>,
    /// Why the index cannot be used or brought up to date.
    pub(crate) trouble: Option<String>,
    /// Why it was last built anew, if a broken one was found.
    pub(crate) rebuilt: Option<String>,
    /// The database of this number was found broken.
    suspect: Option<u64>,
    /// Everything is to be read again.
    from_scratch: bool,
    /// The database of this number was looked through, all pages of it.
    sound: Option<u64>,
    pub(crate) too_many_files: bool,
}

/// What an answer says about how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// All files were looked at after the question had come.
    Fresh,
    /// So long before it.
    Aged(Duration),
    /// Some were not yet.
    Indexing { done: usize, total: usize },
    /// They could not be.
    Stale(String),
}

impl Freshness {
    /// Whether all files are in the index.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Fresh | Self::Aged(_))
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Fresh => "fresh".into(),
            Self::Aged(age) => format!("of {:.1} s ago", age.as_secs_f64()),
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
    let mut indexes = locked(&INDEXES);
    if let Some(index) = indexes.get(&folder) {
        return Ok(Arc::clone(index));
    }
    let index = Arc::new(Index::new(ctx, folder.clone())?);
    indexes.insert(folder, Arc::clone(&index));
    Ok(index)
}

impl Index {
    fn new(ctx: &Context, folder: PathBuf) -> ToolResult<Self> {
        let mut roots = ctx.roots()?.to_vec();
        let Settings { embeddings } = ctx.config()?;
        let (mut model, mut no_model) = (None, None);
        if let Some(name) = embeddings {
            let found = roots.iter().position(|root| root.name == name).map(|at| roots.remove(at));
            match found.ok_or("it is not granted".to_owned()).and_then(|root| Model::load(root.dir)) {
                Ok(loaded) => model = Some(loaded),
                Err(why) => no_model = Some(format!("no embeddings from root `{name}`: {why}")),
            }
        }
        if roots.is_empty() {
            let text = "no root is granted, so there is nothing to index";
            return Err(ToolError::not_granted(GrantKind::Roots, text));
        }
        let (status, changed, readers, kept, checking) = Default::default();
        Ok(Self { folder, roots, model, no_model, status, changed, readers, kept, checking })
    }

    /// Makes sure that the files were looked at, at most `max_age` ago, and waits for that at most `wait`, or until
    /// `go_on` says no.
    fn wait_for(
        self: &Arc<Self>,
        max_age: impl Fn(&Status) -> Duration,
        wait: Duration,
        go_on: &dyn Fn(&Status) -> bool,
    ) -> Freshness {
        let begun = Instant::now();
        let mut status = self.status();
        loop {
            let is_wanted = status.suspect.is_some() || status.from_scratch;
            let age = status.looked.map(|looked| begun.saturating_duration_since(looked));
            match age.filter(|age| !is_wanted && *age <= max_age(&status)) {
                Some(Duration::ZERO) => return Freshness::Fresh,
                Some(age) => return Freshness::Aged(age),
                None => {}
            }
            if !status.working {
                if let (Some(trouble), true) = (&status.trouble, status.tried >= Some(begun)) {
                    return Freshness::Stale(trouble.clone());
                }
                self.start(&mut status);
            }
            if begun.elapsed() >= wait || !go_on(&status) {
                return Freshness::Indexing { done: status.done, total: status.total };
            }
            let pause = (wait - begun.elapsed()).min(Duration::from_millis(100));
            status = self.changed.wait_timeout(status, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has a call bring the index up to date, within its time. With many files an older look is good enough, and the
    /// answer says so.
    pub(crate) fn refresh_for(self: &Arc<Self>, ctx: &Context, wait: Duration) -> Freshness {
        let max_age =
            |status: &Status| if status.files <= MAX_QUICK_FILES { Duration::ZERO } else { MAX_AGE };
        // Some of the time is needed for the answer.
        self.wait_for(max_age, wait.min(ctx.remaining() / 2), &|_| !ctx.cancelled())
    }

    /// Brings the index up to date and looks through the database.
    pub(crate) fn refresh(self: &Arc<Self>, wait: Duration, go_on: &dyn Fn(&Status) -> bool) -> Freshness {
        let begun = Instant::now();
        let left = || wait.saturating_sub(begun.elapsed());
        let freshness = self.wait_for(|_| Duration::ZERO, left(), go_on);
        self.check();
        // What was found broken is built anew.
        let is_broken = self.status().suspect.is_some();
        if is_broken { self.wait_for(|_| Duration::ZERO, left(), go_on) } else { freshness }
    }

    /// Begins to bring the index up to date.
    pub(crate) fn refresh_later(self: &Arc<Self>) {
        let mut status = self.status();
        if !status.working {
            self.start(&mut status);
        }
    }

    /// Waits until nothing is being done.
    pub(crate) fn rest(&self, wait: Duration, go_on: &dyn Fn(&Status) -> bool) {
        let begun = Instant::now();
        let mut status = self.status();
        while status.working && begun.elapsed() < wait && go_on(&status) {
            let pause = Duration::from_millis(100);
            status = self.changed.wait_timeout(status, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything is to be read again, at the next refresh.
    pub(crate) fn forget(&self) {
        self.status().from_scratch = true;
    }

    /// What tells how alike texts are by their meaning.
    pub(crate) fn model(&self) -> Option<&Model> {
        self.model.as_ref()
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
        })
        .map_err(|error| error.in_folder(&self.folder));
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
        let begun = Instant::now();
        // A panic must not leave callers waiting for an end that never comes.
        let round = || refresh::run(self, &mut locked(&self.kept));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(round));
        let result = result.map(|result| result.map_err(|error| error.in_folder(&self.folder)));
        let is_good = matches!(result, Ok(Ok(())));
        let mut status = self.status();
        (status.working, status.tried) = (false, Some(begun));
        match result {
            Ok(Ok(())) => (status.trouble, status.looked) = (None, Some(begun)),
            Ok(Err(StoreError::Broken(why))) => {
                status.trouble = Some(why);
                status.suspect = store::identity(&self.folder);
            }
            Ok(Err(error)) => status.trouble = Some(error.to_string()),
            Err(_) => status.trouble = Some("indexing panicked; the log tells where".into()),
        }
        drop(status);
        self.changed.notify_all();
        if is_good {
            self.check();
        }
    }

    /// Looks through the pages of the database, once. Takes long for a large one, so nobody waits for it but who asked
    /// for everything to be looked at.
    fn check(&self) {
        let _one_at_a_time = locked(&self.checking);
        let identity = store::identity(&self.folder);
        if identity.is_none() || self.status().sound == identity {
            return;
        }
        let is_broken = match refresh::is_sound(self) {
            Ok(is_sound) => !is_sound,
            Err(error) => matches!(error, StoreError::Broken(_)),
        };
        let mut status = self.status();
        if is_broken {
            status.suspect = identity;
        } else {
            status.sound = identity;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
