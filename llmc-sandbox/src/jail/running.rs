//! A jail that runs, as its launcher sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::control::{self, Ending, Limit, Message};
use super::folder::RunFolder;
use super::launcher::Launcher;
use super::reached::Reached;
use super::spec::JailLimits;
use crate::sys::{self, ExitStatus};

/// How much longer than its wall limit process 1 may take to end a jail before the launcher does it.
const GRACE: Duration = Duration::from_secs(2);

/// A running jail. Dropping it closes its control socket, and with that the jail ends; only [`Jail::finish`] gives its
/// slot back.
#[derive(Debug)]
pub struct Jail {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) slot: usize,
    pub(super) started: Instant,
    pub(super) limits: JailLimits,
    /// Its files, where they lie on the machine.
    pub(super) files: Option<RunFolder>,
    pub(super) ending: Option<Ending>,
}

impl Jail {
    /// The pidfd of process 1: a `SIGKILL` through it ends the whole tree, and it is readable once the tree is gone.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// When the launcher has to end it, because process 1 did not.
    pub fn deadline(&self) -> Instant {
        self.started + Duration::from_millis(self.limits.wall_ms).saturating_add(GRACE)
    }

    /// Ends the tree.
    pub fn kill(&self) {
        // It fails only for a process that has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Takes the slot back and tells how the run ended. To be called once the pidfd is readable; waits otherwise.
    pub fn finish(mut self, launcher: &mut Launcher) -> Ending {
        self.listen();
        let ended = sys::wait(Some(self.pid), WaitOptions::empty());
        drop(self.files.take());
        launcher.free(self.slot);
        let wall = self.started.elapsed();
        let (cpu, peak_memory_bytes) = match ended {
            Ok(Some(ended)) => (ended.cpu, ended.peak_resident_bytes),
            _ => (Duration::ZERO, 0),
        };
        self.ending.unwrap_or_else(|| {
            // Process 1 was killed before it could report: from outside, or here because it was late.
            let late = wall >= Duration::from_millis(self.limits.wall_ms).saturating_add(GRACE);
            Ending {
                status: ExitStatus::Signalled(Signal::KILL.as_raw()),
                limit: Some(if late { Limit::Wall } else { Limit::Killed }),
                wall,
                cpu,
                peak_memory_bytes,
                reached: Reached::default(),
            }
        })
    }

    /// Ends a jail whose set-up failed.
    pub(super) fn abandon(self) {
        self.kill();
        let _ = sys::wait(Some(self.pid), WaitOptions::empty());
    }

    fn listen(&mut self) {
        loop {
            match control::receive(&self.control) {
                Ok(Some(Message::Ended(ending))) => self.ending = Some(ending),
                Ok(Some(_)) => {}
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}
