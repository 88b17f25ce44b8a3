//! Process 1 of a jail that waits for its job, and then watches it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::control::{self, Message};
use super::growth::Growth;
use super::init;
use super::monitor::{self, Monitor, Watched};
use super::spec::JailLimits;
use crate::cgroup::Clock;
use crate::error::{At, JailError, Layer};
use crate::sys;

/// Process 1 while its payload waits.
pub(super) struct Guard {
    pub(super) proc: OwnedFd,
    pub(super) payload: rustix::process::Pid,
    pub(super) payload_fd: OwnedFd,
    pub(super) failure: OwnedFd,
    pub(super) finished: OwnedFd,
    pub(super) clock: Option<Clock>,
}

impl Guard {
    /// Waits for the beginning of the run, then for its end, which it reports.
    pub(super) fn watch(self, control: &OwnedFd) -> Result<(), JailError> {
        // Handlers of the interpreter are no business of this process.
        sys::default_signals().at(Layer::Process, "reset signals")?;
        let Self { proc, payload, payload_fd, failure, finished, clock } = self;
        let mut monitor = Monitor {
            proc,
            payload,
            payload_fd,
            // Until those of the run are known.
            limits: JailLimits::UNLIMITED,
            // It has no root, whose growth would have to be watched.
            growth: Growth::default(),
            watched: Watched::Namespace,
            started: Instant::now(),
            used_before: Duration::ZERO,
            clock,
            finished: Some(finished),
            ends_when_told: true,
        };
        monitor.rehearse();
        let Some(limits) = await_begin(control, &monitor.payload_fd, &failure)? else { return Ok(()) };
        monitor.limits = limits;
        monitor.started = Instant::now();
        // What it used to get ready is not the run's.
        monitor.used_before = monitor::used(monitor.payload, monitor.clock.as_ref());
        if let Some(error) = init::failure(&failure)? {
            return Err(error);
        }
        control::send(control, &Message::Started).at(Layer::Process, "talk to the launcher")?;
        drop(failure);
        monitor.run(control);
        Ok(())
    }
}

/// The limits of the run; `None` when the launcher is gone or gave this jail up.
fn await_begin(
    control: &OwnedFd,
    payload_fd: &OwnedFd,
    failure: &OwnedFd,
) -> Result<Option<JailLimits>, JailError> {
    let mut fds = [PollFd::new(control, PollFlags::IN), PollFd::new(payload_fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
        .at(Layer::Process, "wait for the launcher")?;
    match control::receive(control) {
        Ok(Some(Message::Begin(limits))) => Ok(Some(limits)),
        Ok(Some(other)) => {
            Err(JailError::not_in_force(Layer::Process, format!("the launcher said {other:?}")))
        }
        Err(Errno::AGAIN) => Err(init::failure(failure)?
            .unwrap_or_else(|| JailError::not_in_force(Layer::Process, "the payload ended while it waited"))),
        Ok(None) | Err(_) => Ok(None),
    }
}
