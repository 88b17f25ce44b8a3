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

use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Signal};

use super::control::{self, Message};
use super::guard::Guard;
use super::identity::{PAYLOAD_ID, become_user};
use super::init;
use super::nest::Nest;
use super::payload;
use super::spec::SCRATCH;
use super::tree;
use super::waiting::{Waiting, give_up};
use crate::cgroup::Clock;
use crate::descriptors;
use crate::error::{At, JailError, Layer};
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

/// Which of the two processes this is.
enum Role {
    /// Process 1, its payload waiting.
    Guard(Guard),
    /// The payload.
    Payload(Waiting),
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
        let waiting = Waiting::new(&self.handover, failure, finish)?;
        // Pipes, as the job will have. Neither process 1's socket nor anything else of it.
        let (reader, writer) = rustix::pipe::pipe().at(Layer::Process, "make a pipe")?;
        for (number, fd) in (0..).zip([&reader, &writer, &writer]) {
            sys::place(fd.as_fd(), number).at(Layer::Descriptors, format!("make descriptor {number}"))?;
        }
        std::mem::forget((reader, writer));
        let own = waiting.descriptors().map(AsRawFd::as_raw_fd);
        descriptors::keep_only(&[&[0, 1, 2], &own[..]].concat())?;
        payload::settle(Path::new(SCRATCH))?;
        payload::restrict(&self.nest.rights)?;
        self.nest.filter.install()?;
        Ok(waiting)
    }
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
