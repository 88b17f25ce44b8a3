//! A jail forked from a zygote: process 1 puts up the walls ahead of time, and a payload waits in it for its job.
//!
//! ```text
//! zygote (runs no job)
//!  └─ process 1       seven new namespaces, own scratch space and /proc; waits for "begin", then watches
//!      └─ payload     a copy of the zygote's interpreter; Landlock, seccomp; waits for its streams and limits
//! ```
//!
//! The steps are those of [`super::init`] and [`super::payload`]; only the file tree is the zygote's, with the two
//! places renewed that can be written to, and no program is executed: the interpreter is there already.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Signal};

use super::control::{self, Message};
use super::growth::Growth;
use super::identity::{PAYLOAD_ID, become_user};
use super::init;
use super::monitor::{self, Monitor, Watched};
use super::nest::Nest;
use super::passing;
use super::payload::{self, Room};
use super::spec::{JailLimits, SCRATCH};
use super::tree;
use crate::cgroup::Clock;
use crate::descriptors;
use crate::error::{At, JailError, Layer};
use crate::profile::CODE;
use crate::sys::{self, Clone, Namespaces};

/// What a new child of a zygote was given.
pub(super) struct Parked<'a> {
    pub(super) nest: &'a Nest,
    /// Process 1 reports through it.
    pub(super) control: OwnedFd,
    /// The payload gets its job through it.
    pub(super) handover: OwnedFd,
    pub(super) scratch_bytes: u64,
    pub(super) scratch_inodes: u64,
    /// Of its control group, if it has one; for process 1.
    pub(super) clock: Option<OwnedFd>,
}

/// A payload behind its walls, waiting for its job.
#[derive(Debug)]
pub struct Waiting {
    handover: OwnedFd,
    /// Tells process 1 why there is no job, or by its end that there is.
    failure: OwnedFd,
    finished: Finished,
}

/// Where the payload says its exit code.
#[derive(Debug)]
pub struct Finished {
    pipe: OwnedFd,
    /// Device and number of the pipe: the job may close it and open something else under its number.
    identity: (u64, u64),
}

/// How long process 1 may take to end a payload that has said its exit code; then the payload ends by itself.
const LAST_WORDS: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Which of the two processes this is.
enum Role {
    /// Process 1, its payload waiting.
    Guard(Guard),
    /// The payload.
    Payload(Waiting),
}

/// Process 1 while its payload waits.
struct Guard {
    proc: OwnedFd,
    payload: rustix::process::Pid,
    payload_fd: OwnedFd,
    failure: OwnedFd,
    finished: OwnedFd,
    clock: Option<Clock>,
}

impl Parked<'_> {
    /// Returns in the payload only, behind all walls but its limits, which come with its job.
    pub(super) fn main(mut self) -> Waiting {
        // A panic must not unwind into the interpreter, of which this process is a copy.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let ended = match self.set_up() {
                Ok(Role::Payload(waiting)) => return Some(waiting),
                Ok(Role::Guard(guard)) => guard.watch(&self.control),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                // When this fails, the launcher sees the end of the connection.
                let _ = control::send(&self.control, &Message::Failed(error));
            }
            None
        }));
        match outcome {
            Ok(Some(waiting)) => {
                // Closed by number, and nobody must close the numbers a second time.
                std::mem::forget(self);
                waiting
            }
            Ok(None) => sys::exit(0),
            Err(_) => sys::exit(1),
        }
    }

    fn set_up(&mut self) -> Result<Role, JailError> {
        let mut keep = vec![2, self.control.as_raw_fd(), self.handover.as_raw_fd()];
        keep.extend(self.clock.iter().map(AsRawFd::as_raw_fd));
        descriptors::keep_only(&keep)?;
        // The zygote ignores it, so that nobody has to wait for its children; process 1 has to know how its own end.
        sys::default_signal(Signal::CHILD).at(Layer::Process, "reset a signal")?;
        write_own_maps()?;
        become_user(PAYLOAD_ID, true)?;
        let proc = init::put_up_walls(|| tree::renew(self.scratch_bytes, self.scratch_inodes))?;
        self.start_payload(proc)
    }

    fn start_payload(&mut self, proc: OwnedFd) -> Result<Role, JailError> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Layer::Process, "make a pipe");
        let ((reader, writer), (finished, finish)) = (pipe()?, pipe()?);
        match sys::clone(&self.nest.proof, Namespaces::empty()).at(Layer::Process, "start the payload")? {
            Clone::Child => {
                let waiting = self.become_payload(&writer, &finish);
                let waiting = waiting.unwrap_or_else(|error| give_up(&writer, &error));
                std::mem::forget((reader, writer, finished, finish, proc));
                Ok(Role::Payload(waiting))
            }
            Clone::Parent { pid, pidfd } => {
                drop((writer, finish));
                let keep = [&self.control, &proc, &pidfd, &reader, &finished].into_iter().chain(&self.clock);
                let keep: Vec<_> = keep.map(AsRawFd::as_raw_fd).chain([2]).collect();
                descriptors::keep_only(&keep)?;
                let clock = self.clock.take().map(Clock);
                Ok(Role::Guard(Guard {
                    proc,
                    payload: pid,
                    payload_fd: pidfd,
                    failure: reader,
                    finished,
                    clock,
                }))
            }
        }
    }

    /// The payload's part: every wall for which its job need not be known.
    fn become_payload(&self, failure: &OwnedFd, finish: &OwnedFd) -> Result<Waiting, JailError> {
        // As after `execve`: its files under /proc are its own. Process 1, of which this is a copy, stays hidden.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .at(Layer::Dumpable, "set the dumpable flag")?;
        // Out of the way of the numbers that the job gets.
        let high = |fd: &OwnedFd| {
            rustix::io::fcntl_dupfd_cloexec(fd, payload::FIRST_FREE)
                .at(Layer::Descriptors, "copy a descriptor")
        };
        let finished = high(finish)?;
        let finished = Finished { identity: identity(&finished)?, pipe: finished };
        let waiting = Waiting { handover: high(&self.handover)?, failure: high(failure)?, finished };
        // Pipes, as the job will have. Neither process 1's socket nor anything else of it.
        let (reader, writer) = rustix::pipe::pipe().at(Layer::Process, "make a pipe")?;
        for (number, fd) in (0..).zip([&reader, &writer, &writer]) {
            sys::place(fd.as_fd(), number).at(Layer::Descriptors, format!("make descriptor {number}"))?;
        }
        std::mem::forget((reader, writer));
        let own = [&waiting.handover, &waiting.failure, &waiting.finished.pipe].map(AsRawFd::as_raw_fd);
        descriptors::keep_only(&[&[0, 1, 2], &own[..]].concat())?;
        payload::settle(Path::new(SCRATCH))?;
        payload::restrict(&self.nest.rights)?;
        self.nest.filter.install()?;
        Ok(waiting)
    }
}

impl Waiting {
    /// Waits for the job, takes its descriptors as 0 to 3 and its limits, and tells process 1. Ends the process when
    /// there will be no job.
    pub fn await_job(self) -> Finished {
        if let Err(error) = self.take_over() {
            give_up(&self.failure, &error);
        }
        // Process 1 takes this for the start of the job.
        drop(self.failure);
        // Closed by number.
        std::mem::forget(self.handover);
        self.finished
    }

    fn take_over(&self) -> Result<(), JailError> {
        let (limits, fds) = receive_job(&self.handover)?;
        // They are closed by number.
        let fds = std::mem::ManuallyDrop::new(fds);
        let [stdout, stderr, rest @ ..] = &fds.streams[..] else {
            return Err(JailError::not_in_force(Layer::Request, "streams are missing"));
        };
        let mut rest = rest.iter();
        let stdin = fds.stdin.then(|| rest.next()).flatten();
        payload::place_descriptors(
            [stdin, Some(stdout), Some(stderr), rest.next()],
            &CODE,
            &[&self.failure, &self.finished.pipe],
        )?;
        payload::set_limits(&limits, &CODE, Room::OWN)
    }
}

impl Finished {
    /// Ends the run: closes the job's descriptors, so that everybody sees the end of its output, and has process 1 end
    /// the jail.
    pub fn exit(self, code: u8) -> ! {
        if identity(&self.pipe).ok() == Some(self.identity)
            && descriptors::keep_only(&[self.pipe.as_raw_fd()]).is_ok()
            && rustix::io::write(&self.pipe, &[code]) == Ok(1)
        {
            // Process 1 looks at what this one has used, and ends it.
            let _ = rustix::event::poll(&mut [], Some(&LAST_WORDS));
        }
        sys::exit(code.into())
    }
}

fn identity(fd: &OwnedFd) -> Result<(u64, u64), JailError> {
    let stat = rustix::fs::fstat(fd).at(Layer::Descriptors, "look at a pipe")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Tells process 1 why there will be no job, and ends.
fn give_up(failure: &OwnedFd, error: &JailError) -> ! {
    let _ = rustix::io::write(failure, &control::encode_error(error));
    sys::exit(126)
}

impl Guard {
    /// Waits for the beginning of the run, then for its end, which it reports.
    fn watch(self, control: &OwnedFd) -> Result<(), JailError> {
        // Handlers of the interpreter are no business of this process.
        sys::default_signals().at(Layer::Process, "reset signals")?;
        let Some(limits) = self.await_begin(control)? else { return Ok(()) };
        let started = Instant::now();
        // What it used to get ready is not the run's.
        let used_before = monitor::used(self.payload, self.clock.as_ref());
        if let Some(error) = init::failure(&self.failure)? {
            return Err(error);
        }
        control::send(control, &Message::Started).at(Layer::Process, "talk to the launcher")?;
        let Self { proc, payload, payload_fd, finished, clock, .. } = self;
        let finished = Some(finished);
        // It has no root, whose growth would have to be watched.
        let (growth, watched) = (Growth::default(), Watched::Namespace);
        let monitor = Monitor {
            proc,
            payload,
            payload_fd,
            limits,
            growth,
            watched,
            started,
            used_before,
            clock,
            finished,
        };
        { monitor }.run(control);
        Ok(())
    }

    /// The limits of the run; `None` when the launcher is gone or gave this jail up.
    fn await_begin(&self, control: &OwnedFd) -> Result<Option<JailLimits>, JailError> {
        let mut fds = [PollFd::new(control, PollFlags::IN), PollFd::new(&self.payload_fd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
            .at(Layer::Process, "wait for the launcher")?;
        match control::receive(control) {
            Ok(Some(Message::Begin(limits))) => Ok(Some(limits)),
            Ok(Some(other)) => {
                Err(JailError::not_in_force(Layer::Process, format!("the launcher said {other:?}")))
            }
            Err(Errno::AGAIN) => Err(init::failure(&self.failure)?.unwrap_or_else(|| {
                JailError::not_in_force(Layer::Process, "the payload ended while it waited")
            })),
            Ok(None) | Err(_) => Ok(None),
        }
    }
}

/// The streams of a job: stdout, stderr, then stdin and job socket if there are any.
struct Fds {
    streams: Vec<OwnedFd>,
    stdin: bool,
}

fn receive_job(handover: &OwnedFd) -> Result<(JailLimits, Fds), JailError> {
    let received = passing::receive(handover, RecvFlags::empty()).at(Layer::Process, "wait for a job")?;
    // The launcher is gone, or has no use for this jail.
    let Some((bytes, streams)) = received else { sys::exit(0) };
    let (stdin, limits) = match bytes.split_first() {
        Some((&stdin, limits)) => (stdin != 0, passing::decode_limits(limits)),
        None => (false, None),
    };
    let limits = limits.ok_or_else(|| JailError::not_in_force(Layer::Request, "the job cannot be read"))?;
    Ok((limits, Fds { streams, stdin }))
}

/// Maps the payload's user and group of this user namespace to those of the zygote's, which are the same numbers.
fn write_own_maps() -> Result<(), JailError> {
    // The files under /proc belong to root while a process is not dumpable.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .at(Layer::Dumpable, "set the dumpable flag")?;
    let map = format!("{PAYLOAD_ID} {PAYLOAD_ID} 1");
    for (file, text) in [("setgroups", "deny"), ("gid_map", &map), ("uid_map", &map)] {
        std::fs::write(format!("/proc/self/{file}"), text)
            .at(Layer::UserNamespace, format!("write {file}"))?;
    }
    Ok(())
}
