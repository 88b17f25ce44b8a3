//! The threads of a host.
//!
//! Any thread may lead: it reads the socket. Answers to requests are handed over at once. A call is run by the
//! thread that read it, after another thread took the lead; that saves the hand-over that a pool behind a fixed
//! reader would pay for every call. When no thread is left to take the lead, calls queue and the leader stays, so
//! an answer that a running call waits for is always read.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use llmc_abi::CallCtx;
use llmc_wire::host::{OK, to_host};
use llmc_wire::socket::Receiver;

use crate::bridge::{Bridge, HOST_REF};
use crate::loader::Plugin;

/// The threads and what they share.
pub(crate) struct Crew {
    plugin: Plugin,
    bridge: Arc<Bridge>,
    receiver: Mutex<Receiver>,
    state: Mutex<State>,
    changed: Condvar,
    max_threads: u32,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    led: bool,
    idle: u32,
    threads: u32,
}

/// A call to run.
struct Job {
    call: u64,
    item: u32,
    deadline_ms: u64,
    args: Vec<u8>,
}

/// What a thread does next.
enum Next {
    Lead,
    Run(Job),
}

impl Crew {
    /// A crew that runs up to `workers` calls at a time.
    pub(crate) fn new(plugin: Plugin, bridge: Arc<Bridge>, receiver: Receiver, workers: u32) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            bridge,
            receiver: Mutex::new(receiver),
            state: Mutex::new(State { threads: 1, ..State::default() }),
            changed: Condvar::new(),
            // One more, because one always reads.
            max_threads: workers.max(1) + 1,
        })
    }

    /// Serves calls until the server closes the socket, then ends the process: a call that is still running has
    /// nobody left to answer to.
    pub(crate) fn serve(self: &Arc<Self>) -> ! {
        loop {
            let job = match self.next() {
                Next::Run(job) => job,
                Next::Lead => self.lead(),
            };
            self.run(job);
        }
    }

    /// Waits until there is a queued call or the lead is free.
    fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Next::Run(job);
            }
            if !state.led {
                state.led = true;
                return Next::Lead;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Reads the socket until there is a call that this thread may run.
    fn lead(self: &Arc<Self>) -> Job {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let frame = match receiver.receive() {
                Ok(Some(frame)) => frame,
                Ok(None) => std::process::exit(0),
                Err(error) => {
                    eprintln!("llmc-host: lost the server: {error}");
                    std::process::exit(1);
                }
            };
            let header = frame.header;
            match header.kind {
                to_host::CALL => {
                    self.bridge.begin(header.call);
                    let job = Job {
                        call: header.call,
                        item: u32::from(header.code),
                        deadline_ms: header.seq,
                        args: frame.payload.to_vec(),
                    };
                    if let Some(job) = self.hand_over(job) {
                        return job;
                    }
                }
                to_host::REPLY => {
                    let (ok, body) = (header.code == OK, frame.payload.to_vec());
                    self.bridge.reply(header.seq, ok, body, frame.fds);
                }
                to_host::CANCEL => self.bridge.cancel(header.call),
                kind => eprintln!("llmc-host: ignored message kind {kind} from the server"),
            }
            receiver.shrink();
        }
    }

    /// Gives up the lead and returns the job, or queues the job when nobody else could lead.
    fn hand_over(self: &Arc<Self>, job: Job) -> Option<Job> {
        let mut state = self.state();
        if state.idle == 0 {
            if state.threads == self.max_threads || !self.hire() {
                state.queue.push_back(job);
                return None;
            }
            state.threads += 1;
        }
        state.led = false;
        drop(state);
        self.changed.notify_one();
        Some(job)
    }

    fn hire(self: &Arc<Self>) -> bool {
        let crew = Arc::clone(self);
        thread::Builder::new().name("worker".into()).spawn(move || crew.serve()).is_ok()
    }

    fn run(&self, job: Job) {
        let ctx = CallCtx { call: job.call, deadline_ms: job.deadline_ms, host: HOST_REF };
        self.bridge.finish(job.call, self.plugin.call(&ctx, job.item, &job.args));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
