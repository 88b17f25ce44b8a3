//! Several threads for one call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::{Context, ToolResult};

use crate::limits::{MAX_BACKLOG_BYTES, MAX_HELPERS, MAX_WALK_THREADS};

/// Time between two questions whether the call is still wanted: each is a request to the host.
const PULSE: Duration = Duration::from_millis(10);
/// Stack of a helper. Neither walks nor regular expressions recurse.
const STACK_BYTES: usize = 1024 * 1024;

/// Helpers at work in this process, of all calls together.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Asks now and then whether the call is still wanted.
pub(crate) struct Pulse<'a> {
    ctx: &'a Context,
    next: Option<Instant>,
}

impl<'a> Pulse<'a> {
    pub(crate) fn new(ctx: &'a Context) -> Self {
        Self { ctx, next: None }
    }

    /// Cheap enough for every file.
    ///
    /// # Errors
    /// If the call was cancelled or its deadline has passed.
    pub(crate) fn beat(&mut self) -> ToolResult<()> {
        let now = Instant::now();
        if self.next.is_none_or(|next| next <= now) {
            self.ctx.check()?;
            self.next = Some(now + PULSE);
        }
        Ok(())
    }
}

/// Runs `work` on this thread and, as far as there are processors and helpers to spare, on others, at most `most`
/// in all. Returns when all have returned; a panic in one of them is passed on.
pub(super) fn together(most: usize, work: impl Fn() + Sync) {
    let helpers = Helpers::take(most.min(processors()).saturating_sub(1));
    thread::scope(|scope| {
        for _ in 0..helpers.0 {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            // Without one more thread the work takes longer, no more.
            let _ = thread.spawn_scoped(scope, &work);
        }
        work();
    });
}

/// Works on pieces numbered from 0 to `count` with several threads and hands the results to `take`, one at a time and
/// in the order of the numbers, until it returns false. Each thread has a `state` of its own.
///
/// # Errors
/// The first that `work` returns.
pub(crate) fn in_order<S, R: Heavy>(
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> ToolResult<R> + Sync,
    take: impl FnMut(R) -> bool + Send,
) -> ToolResult<()> {
    let line = Line {
        state: Mutex::new(LineState {
            count,
            next: 0,
            taken: 0,
            done: BTreeMap::new(),
            backlog_bytes: 0,
            take,
            outcome: Ok(()),
        }),
        moved: Condvar::new(),
    };
    together(count, || {
        let _guard = OnPanic(|| line.stop(Ok(())));
        let mut state = state();
        while let Some(number) = line.next() {
            match work(&mut state, number) {
                Ok(result) => line.put(number, result),
                Err(error) => line.stop(Err(error)),
            }
        }
    });
    line.state.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
}

/// A result that may have to wait for those before it.
pub(crate) trait Heavy: Send {
    /// Memory that it takes, about, in bytes.
    fn bytes(&self) -> usize;
}

/// Pieces of work on their way through [`in_order`].
struct Line<R, F> {
    state: Mutex<LineState<R, F>>,
    moved: Condvar,
}

struct LineState<R, F> {
    /// Number of all pieces; 0 once it is over.
    count: usize,
    /// Number of the piece that is worked on next.
    next: usize,
    /// Number of the piece that is handed over next.
    taken: usize,
    /// Results that wait for those before them.
    done: BTreeMap<usize, R>,
    backlog_bytes: usize,
    take: F,
    outcome: ToolResult<()>,
}

impl<R: Heavy, F: FnMut(R) -> bool> Line<R, F> {
    /// The number of the next piece. Waits while too many results wait for a slow one; that one is being worked on,
    /// since numbers are given out in order.
    fn next(&self) -> Option<usize> {
        let full =
            |state: &mut LineState<R, F>| state.backlog_bytes > MAX_BACKLOG_BYTES && state.next < state.count;
        let state = self.moved.wait_while(lock(&self.state), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        (number < state.count).then(|| {
            state.next += 1;
            number
        })
    }

    fn put(&self, number: usize, result: R) {
        let mut state = lock(&self.state);
        if state.count == 0 {
            // Enough was taken meanwhile.
            return;
        }
        state.backlog_bytes += result.bytes();
        state.done.insert(number, result);
        let state = &mut *state;
        while let Some(result) = state.done.remove(&state.taken) {
            state.backlog_bytes -= result.bytes();
            state.taken += 1;
            if !(state.take)(result) {
                state.count = 0;
                state.done.clear();
                state.backlog_bytes = 0;
                break;
            }
        }
        self.moved.notify_all();
    }

    fn stop(&self, outcome: ToolResult<()>) {
        let mut state = lock(&self.state);
        if state.outcome.is_ok() {
            state.outcome = outcome;
        }
        state.count = 0;
        self.moved.notify_all();
    }
}

/// Does something when a thread panics: the others must not wait for it.
pub(super) struct OnPanic<F: Fn()>(pub(super) F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)();
        }
    }
}

/// Helpers taken from those that the process may have.
struct Helpers(usize);

impl Helpers {
    fn take(wanted: usize) -> Self {
        let mut taken = 0;
        let _ = HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
            taken = wanted.min(MAX_HELPERS.saturating_sub(busy));
            Some(busy + taken)
        });
        Self(taken)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Threads that make sense for one call. The number of processors is asked for once: it takes several system calls.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS
        .get_or_init(|| thread::available_parallelism().map_or(1, |count| count.get().min(MAX_WALK_THREADS)))
}

/// A thread that panicked has left nothing half done here, and its panic is passed on anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
