//! The threads of a host.
//!
//! A thread with nothing to do waits for the socket. The kernel wakes one of those that wait, and it runs the calls
//! that it reads: a call that comes alone wakes one thread once. A thread runs a call only while another one waits for
//! the socket, so an answer that a running call waits for is always read; the last one left keeps reading while calls
//! queue.
//!
//! Of calls that come together the thread runs one after the other, and sends their results together, so far as that
//! keeps the server waiting for microseconds only. Waking others
//! for what takes microseconds would cost more than it gains, and nobody knows beforehand what takes long: so a timer
//! wakes a second thread shortly after, which sends what is ready, takes the next call and sets the timer anew.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::exit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llmc_abi::CallCtx;
use llmc_wire::host::{OK, to_host};
use llmc_wire::socket::{Filled, Frame, Receiver};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::bridge::{Bridge, HOST_REF};
use crate::loader::Plugin;

/// How long calls and results wait for a thread that runs another call, in nanoseconds.
const PATIENCE_NS: i64 = 100_000;

/// How long a thread gathers results of calls that came together.
const GATHERING: Duration = Duration::from_micros(20);

/// What woke a thread.
const SOCKET: u64 = 0;
const TIMER: u64 = 1;

/// The threads and what they share.
pub(crate) struct Crew {
    plugin: Plugin,
    bridge: Arc<Bridge>,
    receiver: Mutex<Receiver>,
    /// Where threads wait: for the socket, or for the timer.
    events: OwnedFd,
    timer: OwnedFd,
    state: Mutex<State>,
    max_threads: u32,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Threads that wait for the socket or read it.
    readers: u32,
    threads: u32,
    /// Since when there are results that have not been sent.
    unsent: Option<Instant>,
    /// The timer is set and has not woken anyone yet.
    timer_is_set: bool,
}

/// A call to run.
struct Job {
    call: u64,
    item: u32,
    deadline_ms: u64,
    args: Vec<u8>,
}

impl Crew {
    /// A crew that runs up to `calls` calls at a time, those that wait for calls below them included.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a descriptor.
    pub(crate) fn new(
        plugin: Plugin,
        bridge: Arc<Bridge>,
        receiver: Receiver,
        calls: u32,
    ) -> io::Result<Arc<Self>> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        // Edge-triggered: one wake-up for one message, not for every thread that waits. See epoll(7).
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        for (fd, name) in [(receiver.as_fd(), SOCKET), (timer.as_fd(), TIMER)] {
            epoll::add(&events, fd, epoll::EventData::new_u64(name), flags)?;
        }
        Ok(Arc::new(Self {
            plugin,
            bridge,
            receiver: Mutex::new(receiver),
            events,
            timer,
            state: Mutex::new(State { threads: 1, ..State::default() }),
            // One more, because one always reads.
            max_threads: calls.max(1).saturating_add(1),
        }))
    }

    /// Serves calls until the server closes the socket, then ends the process: a call that is still running has
    /// nobody left to answer to.
    pub(crate) fn serve(self: &Arc<Self>) -> ! {
        loop {
            let job = self.next();
            self.run(job);
        }
    }

    /// Waits for a call that this thread may run.
    fn next(self: &Arc<Self>) -> Job {
        let mut state = self.state();
        loop {
            if let Some(job) = self.take(&mut state) {
                return job;
            }
            if state.unsent.take().is_some() {
                drop(state);
                self.bridge.flush();
                state = self.state();
                continue;
            }
            state.readers += 1;
            drop(state);
            let (woken_by, arrived) = self.read();
            state = self.state();
            state.readers -= 1;
            state.timer_is_set &= woken_by != TIMER;
            state.queue.extend(arrived);
            if woken_by == TIMER && state.unsent.take().is_some() {
                drop(state);
                self.bridge.flush();
                state = self.state();
            }
        }
    }

    /// A queued call, if another thread will read meanwhile.
    fn take(self: &Arc<Self>, state: &mut State) -> Option<Job> {
        if state.queue.is_empty() || (state.readers == 0 && !self.hire(state)) {
            return None;
        }
        let job = state.queue.pop_front();
        if (state.unsent.is_some() || !state.queue.is_empty()) && !state.timer_is_set {
            let wait = Timespec { tv_sec: 0, tv_nsec: PATIENCE_NS };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: wait };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
                .unwrap_or_else(|error| lost(&error.into()));
            state.timer_is_set = true;
        }
        job
    }

    /// Waits for the socket or the timer once and takes in what has come; calls are returned.
    fn read(&self) -> (u64, Vec<Job>) {
        let mut event = [MaybeUninit::uninit(); 1];
        let woken_by = match epoll::wait(&self.events, &mut event, None) {
            Ok((woken, _)) => woken.first().map_or(SOCKET, |event| event.data.u64()),
            Err(Errno::INTR) => SOCKET,
            Err(error) => lost(&error.into()),
        };
        let mut jobs = Vec::new();
        if woken_by == TIMER {
            return (TIMER, jobs);
        }
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let filled = receiver.fill_now().unwrap_or_else(|error| lost(&error));
            while let Some(frame) = receiver.take().unwrap_or_else(|error| lost(&error)) {
                jobs.extend(self.accept(frame));
            }
            receiver.shrink();
            match filled {
                Filled::Everything => return (SOCKET, jobs),
                Filled::Something => {}
                Filled::End => exit(0),
            }
        }
    }

    /// Deals with a message at once, unless it is a call.
    fn accept(&self, frame: Frame<'_>) -> Option<Job> {
        let header = frame.header;
        match header.kind {
            to_host::CALL => {
                self.bridge.begin(header.call);
                return Some(Job {
                    call: header.call,
                    item: u32::from(header.code),
                    deadline_ms: header.seq,
                    args: frame.payload.to_vec(),
                });
            }
            to_host::REPLY => {
                let (ok, body) = (header.code == OK, frame.payload.to_vec());
                self.bridge.reply(header.seq, ok, body, frame.fds);
            }
            to_host::CANCEL => self.bridge.cancel(header.call),
            to_host::PING => self.bridge.pong(),
            kind => eprintln!("llmc-host: ignored message kind {kind} from the server"),
        }
        None
    }

    /// Starts one more thread, which begins by reading.
    fn hire(self: &Arc<Self>, state: &mut State) -> bool {
        if state.threads == self.max_threads {
            return false;
        }
        let crew = Arc::clone(self);
        let hired = thread::Builder::new().name("worker".into()).spawn(move || crew.serve()).is_ok();
        state.threads += u32::from(hired);
        hired
    }

    fn run(&self, job: Job) {
        let ctx = CallCtx { call: job.call, deadline_ms: job.deadline_ms, host: HOST_REF };
        self.bridge.finish(job.call, self.plugin.call(&ctx, job.item, &job.args));
        let mut state = self.state();
        let since = *state.unsent.get_or_insert_with(Instant::now);
        if since.elapsed() > GATHERING {
            // The server could be at work meanwhile.
            state.unsent = None;
            drop(state);
            self.bridge.flush();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the server there is nothing left to serve.
fn lost(error: &io::Error) -> ! {
    eprintln!("llmc-host: lost the server: {error}");
    exit(1)
}
