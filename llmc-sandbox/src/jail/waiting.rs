//! A payload that waits for its job, and says when that is done.

use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::net::RecvFlags;

use super::control;
use super::passing;
use super::payload::{self, Room};
use super::spec::{Inside, JailLimits};
use crate::descriptors;
use crate::error::{At, JailError, Layer};
use crate::profile::{CODE, Profile};
use crate::sys;

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

/// Exit code of a function that panicked.
pub(super) const PANICKED: u8 = 125;

impl Waiting {
    /// Takes these descriptors out of the way of the numbers that the job gets.
    pub(super) fn new(handover: &OwnedFd, failure: &OwnedFd, finish: &OwnedFd) -> Result<Self, JailError> {
        let high = |fd: &OwnedFd| {
            rustix::io::fcntl_dupfd_cloexec(fd, payload::FIRST_FREE)
                .at(Layer::Descriptors, "copy a descriptor")
        };
        let finished = high(finish)?;
        let finished = Finished { identity: identity(&finished)?, pipe: finished };
        Ok(Self { handover: high(handover)?, failure: high(failure)?, finished })
    }

    /// What it needs until it has its job.
    pub(super) fn descriptors(&self) -> [&OwnedFd; 3] {
        [&self.handover, &self.failure, &self.finished.pipe]
    }

    /// Waits for the job, takes its descriptors as 0 to 3 and its limits, and tells process 1. Ends the process when
    /// there will be no job.
    pub fn await_job(self) -> Finished {
        if let Err(error) = self.take_over(&CODE) {
            self.give_up(&error);
        }
        self.start()
    }

    /// [`Waiting::await_job`] with the last `steps` before the job, and with the code of the job, whose exit code it
    /// returns.
    pub(super) fn run(
        self,
        profile: &Profile,
        steps: impl FnOnce() -> Result<(), JailError>,
        code: impl FnOnce(Inside) -> u8,
    ) -> ! {
        let ready = self.take_over(profile).and_then(|taken| steps().map(|()| taken));
        let (limits, has_job) = ready.unwrap_or_else(|error| self.give_up(&error));
        let job = has_job.then(|| sys::owner_of(payload::JOB));
        let inside = Inside { job, limits, since: Instant::now() };
        let finished = self.start();
        let outcome = catch_unwind(AssertUnwindSafe(|| code(inside)));
        finished.tell(outcome.unwrap_or(PANICKED))
    }

    /// Tells process 1 why there will be no job, and ends.
    pub(super) fn give_up(&self, error: &JailError) -> ! {
        give_up(&self.failure, error)
    }

    /// Tells process 1 that the job starts.
    fn start(self) -> Finished {
        drop(self.failure);
        // Closed by number.
        std::mem::forget(self.handover);
        self.finished
    }

    /// Waits for the job; returns its limits, and whether it has a socket.
    fn take_over(&self, profile: &Profile) -> Result<(JailLimits, bool), JailError> {
        let (limits, fds) = receive_job(&self.handover)?;
        // They are closed by number.
        let fds = std::mem::ManuallyDrop::new(fds);
        let [stdout, stderr, rest @ ..] = &fds.streams[..] else {
            return Err(JailError::not_in_force(Layer::Request, "streams are missing"));
        };
        let mut rest = rest.iter();
        let stdin = fds.stdin.then(|| rest.next()).flatten();
        let job = rest.next();
        payload::place_descriptors(
            [stdin, Some(stdout), Some(stderr), job],
            profile,
            &[&self.failure, &self.finished.pipe],
        )?;
        payload::set_limits(&limits, profile, Room::OWN)?;
        Ok((limits, job.is_some()))
    }
}

impl Finished {
    /// Ends the run: closes the job's descriptors, so that everybody sees the end of its output, and has process 1 end
    /// the jail.
    pub fn exit(self, code: u8) -> ! {
        if identity(&self.pipe).ok() == Some(self.identity) {
            self.tell(code);
        }
        sys::exit(code.into())
    }

    /// The same for a function, which cannot have opened anything under the number of the pipe.
    fn tell(self, code: u8) -> ! {
        if descriptors::keep_only(&[self.pipe.as_raw_fd()]).is_ok()
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
pub(super) fn give_up(failure: &OwnedFd, error: &JailError) -> ! {
    let _ = rustix::io::write(failure, &control::encode_error(error));
    sys::exit(126)
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
