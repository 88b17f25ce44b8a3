//! The threads that answer the calls of a job.
//!
//! Whoever watches over the run hears its first call, and hires a thread for it. From then on a thread that has answered
//! listens for the next call itself: to be told of it by another would take as long as the rest of a short call takes
//! here. While it is at work nobody listens. So whoever watches looks every few milliseconds as long as calls come, and
//! listens when one of them has taken that long; when no call has come for a while, the bell tells of the next one.
//!
//! Threads are not joined, since a tool may take longer than the code that called it is allowed to live.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::prelude::*;
use llmc_core::schemars;
use llmc_core::schemars::JsonSchema;
use llmc_core::serde::Serialize;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::{SendFlags, send};

use crate::answer::answer;
use crate::limits::MAX_NAME_BYTES;
use crate::line::{Desk, Line};
use crate::protocol::Call;

/// How long nobody may listen.
const UNHEARD: Duration = Duration::from_millis(5);

/// What whoever watches over the run waits for.
pub(crate) struct Interest<'a> {
    pub(crate) descriptor: PollFd<'a>,
    /// It is the bell, which goes on ringing until [`Crew::hush`].
    pub(crate) is_bell: bool,
    /// How long, at most.
    pub(crate) patience: Option<Duration>,
}

/// A tool call, as it was observed here.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(crate = "llmc_core::serde")]
#[schemars(crate = "schemars")]
pub(crate) struct CallRecord {
    /// Name of the tool.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) ms: u64,
    /// Whether it succeeded.
    pub(crate) ok: bool,
}

/// The threads, and what they share with whoever watches over the run.
pub(crate) struct Crew {
    ctx: Context,
    socket: UnixStream,
    /// The only tools that the code may call.
    within: Option<Vec<String>>,
    line: Mutex<Line>,
    board: Mutex<Board>,
    news: Condvar,
    /// Held while frames are written.
    turn: Mutex<()>,
    bell: OwnedFd,
}

/// What there is to do, and who does what.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) calls: Vec<Tracked>,
    tasks: VecDeque<Task>,
    /// Calls without an answer.
    open: usize,
    /// Threads that wait for a task.
    idle: usize,
    /// Whether one of the threads listens.
    someone_listens: bool,
    /// Calls that whoever watches has seen.
    seen: usize,
    /// Whether whoever watches will look soon without being told.
    is_watched: bool,
    /// Whether there will be nothing more to hear.
    is_over: bool,
    dismissed: bool,
}

enum Task {
    Send(Vec<u8>),
    Call { place: usize, call: Call },
}

pub(crate) struct Tracked {
    name: String,
    since: Instant,
    /// Duration and success, once there is an answer.
    answered: Option<(Duration, bool)>,
}

impl Tracked {
    pub(crate) fn record(&self) -> CallRecord {
        let (time, ok) = self.answered.unwrap_or_else(|| (self.since.elapsed(), false));
        CallRecord { name: self.name.clone(), ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX), ok }
    }
}

impl Crew {
    /// # Errors
    /// If the kernel refuses a descriptor.
    pub(crate) fn new(
        ctx: Context,
        socket: UnixStream,
        within: Option<Vec<String>>,
        line: Line,
    ) -> io::Result<Arc<Self>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (line, board, news, turn) =
            (Mutex::new(line), Mutex::default(), Condvar::new(), Mutex::default());
        Ok(Arc::new(Self { ctx, socket, within, line, board, news, turn, bell }))
    }

    pub(crate) fn line(&self) -> MutexGuard<'_, Line> {
        locked(&self.line)
    }

    /// Taken while [`Crew::line`] is held, never the other way round.
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        locked(&self.board)
    }

    /// Sends the job: as much as the socket has room for at once, which is nearly always all; a thread sends the rest.
    pub(crate) fn hand_over(self: &Arc<Self>, mut job: Vec<u8>) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = send(&self.socket, &job, flags).unwrap_or(0);
        if sent < job.len() {
            job.drain(..sent);
            self.board().tasks.push_back(Task::Send(job));
            self.call_up(0);
        }
    }

    /// What whoever watches over the run has to wait for now.
    pub(crate) fn interest(&self) -> Interest<'_> {
        let mut board = self.board();
        let are_new = board.calls.len() > board.seen;
        board.seen = board.calls.len();
        // Who answers in time listens again soon.
        let is_bell = board.someone_listens || are_new;
        board.is_watched = are_new || !board.someone_listens;
        let descriptor = if is_bell { PollFd::new(&self.bell, PollFlags::IN) } else { self.said() };
        Interest { descriptor, is_bell, patience: are_new.then_some(UNHEARD) }
    }

    fn said(&self) -> PollFd<'_> {
        PollFd::new(&self.socket, PollFlags::IN)
    }

    /// Takes in what was said, unless a thread does; for whoever watches over the run.
    pub(crate) fn look(self: &Arc<Self>) {
        if !self.board().someone_listens {
            self.line().hear(&self.socket, &**self);
            self.call_up(0);
        }
    }

    /// Ends the bell's ringing.
    pub(crate) fn hush(&self) {
        // It may not ring at all.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Once the run is over: nobody listens any more, and what was said last is taken in.
    pub(crate) fn dismiss(&self) {
        self.board().dismissed = true;
        self.news.notify_all();
        // Wakes a thread that listens, and one that writes to code that does not read. What came before can be read.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.line().hear(&self.socket, self);
    }

    /// Sees to it that there is a thread for every task; so many will look for one by themselves.
    fn call_up(self: &Arc<Self>, free: usize) {
        let board = self.board();
        let lacking = board.tasks.len().saturating_sub(free);
        let idle = board.idle.min(lacking);
        drop(board);
        (0..idle).for_each(|_| self.news.notify_one());
        for _ in idle..lacking {
            let crew = self.clone();
            let hired = thread::Builder::new().name("tool call".into()).spawn(move || crew.work());
            if let Err(error) = hired {
                // Whoever gets free will take the task; without anybody the run ends at its time limit.
                self.ctx.warn(format!("failed to start a thread for a tool call: {error}"));
            }
        }
    }

    fn work(self: &Arc<Self>) {
        while let Some(task) = self.next_task() {
            match task {
                Task::Send(frame) => self.send(&frame),
                Task::Call { place, call } => {
                    let texts = self.line().texts;
                    let (frames, ok) = answer(&self.ctx, &call, self.within.as_deref(), texts);
                    let mut board = self.board();
                    board.open -= 1;
                    let tracked = &mut board.calls[place];
                    tracked.answered = Some((tracked.since.elapsed(), ok));
                    drop(board);
                    self.send(&frames);
                }
            }
        }
    }

    /// Waits for one, and listens if nobody does.
    fn next_task(self: &Arc<Self>) -> Option<Task> {
        let mut has_listened = false;
        loop {
            let mut board = self.board();
            if board.dismissed {
                return None;
            }
            if let Some(task) = board.tasks.pop_front() {
                if has_listened && !board.is_watched {
                    self.ring();
                }
                return Some(task);
            }
            // Code that has called no tool will probably call none.
            if board.someone_listens || board.is_over || board.calls.is_empty() {
                board.idle += 1;
                let mut board = self.news.wait(board).unwrap_or_else(PoisonError::into_inner);
                board.idle -= 1;
                continue;
            }
            board.someone_listens = true;
            drop(board);
            self.listen();
            has_listened = true;
        }
    }

    /// Waits until something is said, and takes it in.
    fn listen(self: &Arc<Self>) {
        // However this ends: what is there is read, and nothing else.
        let _ = poll(&mut [self.said()], None);
        let is_over = {
            let mut line = self.line();
            line.hear(&self.socket, &**self);
            line.end.is_some()
        };
        let mut board = self.board();
        (board.someone_listens, board.is_over) = (false, is_over);
        drop(board);
        if is_over {
            self.ring();
        }
        self.call_up(1);
    }

    /// Wakes whoever watches over the run.
    fn ring(&self) {
        // It fails only if it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Writes frames as a whole. Fails only when the other side is gone, which the reading side notices too.
    fn send(&self, frames: &[u8]) {
        let _turn = locked(&self.turn);
        let _: io::Result<()> = (&self.socket).write_all(frames);
    }
}

impl Desk for Crew {
    fn open(&self) -> usize {
        self.board().open
    }

    fn take(&self, call: Call) {
        let mut board = self.board();
        // Nobody makes it any more.
        if board.dismissed {
            return;
        }
        let name = call.name.chars().take(MAX_NAME_BYTES).collect();
        board.calls.push(Tracked { name, since: Instant::now(), answered: None });
        board.open += 1;
        let place = board.calls.len() - 1;
        board.tasks.push_back(Task::Call { place, call });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use llmc_core::testing::Harness;

    use super::*;
    use crate::files::Inbox;
    use crate::frame::{Kind, encode};
    use crate::progress::Reporter;

    #[test]
    fn what_is_asked_for_after_the_end_is_no_call() {
        let harness = Harness::new().tool("say", |_| Ok(Envelope::text("hello")));
        for (is_heard_in_time, calls) in [(true, 1), (false, 0)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let line = Line::new(Inbox::new(&[]), Reporter::new(harness.context(), false));
            let crew = Crew::new(harness.context(), ours, None, line).unwrap();
            theirs.write_all(&encode(Kind::Ready, br#"{"v": 1, "engine": "test"}"#)).unwrap();
            crew.look();
            theirs.write_all(&encode(Kind::Call, br#"{"id": 1, "name": "say", "arguments": {}}"#)).unwrap();
            if is_heard_in_time {
                crew.look();
            }
            crew.dismiss();
            assert_eq!(crew.line().engine.as_deref(), Some("test"));
            assert_eq!(crew.board().calls.len(), calls);
        }
    }
}
