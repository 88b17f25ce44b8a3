//! A jail that runs, as its launcher sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::control::{self, Accounting, Ending, Limit, Message};
use super::folder::RunFolder;
use super::launcher::Launcher;
use super::reached::Reached;
use super::signals::TreeSignal;
use super::spec::{CPU_USED_UP, JailLimits, MEMORY_USED_UP, TIME_USED_UP};
use crate::cgroup::Group;
use crate::sys::{self, ExitStatus};

/// How much longer than its wall limit process 1 may take to end a jail before the launcher does it.
const GRACE: Duration = Duration::from_secs(2);

/// A running jail. Dropping it closes its control socket, and with that the jail ends; only [`Jail::finish`] gives its
/// slot back.
#[derive(Debug)]
pub struct Jail {
    pub(super) origin: Origin,
    pub(super) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) started: Instant,
    pub(super) limits: JailLimits,
    /// Its files, where they lie on the machine.
    pub(super) files: Option<RunFolder>,
    /// Its control group, where there are such.
    pub(super) group: Option<Group>,
    pub(super) ending: Option<Ending>,
    /// Whether the payload is a function of the launcher's own, whose exit codes have a meaning.
    pub(super) is_function: bool,
    /// Whether the run is over as soon as process 1 has told so: nothing of it can outlast that by more than the time the
    /// kernel takes to clear away its namespaces, and nobody has to wait for those.
    pub(super) ends_when_told: bool,
}

/// Where a jail comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// The launcher started it, waits for it, and keeps a slot for it.
    Launcher {
        /// Process 1.
        pid: Pid,
        /// The slot.
        slot: usize,
    },
    /// A zygote forked it; its process 1 is nobody's to wait for.
    Zygote,
}

impl Jail {
    /// The pidfd of process 1: a `SIGKILL` through it ends the whole tree, and it is readable once the tree is gone.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Readable once the run is over: when process 1 has told so, for a jail without child processes; else when the
    /// tree is gone.
    pub fn end_of_run(&self) -> BorrowedFd<'_> {
        if self.ends_when_told { self.control.as_fd() } else { self.pidfd.as_fd() }
    }

    /// When the launcher has to end it, because process 1 did not.
    pub fn deadline(&self) -> Instant {
        self.started + Duration::from_millis(self.limits.wall_ms).saturating_add(GRACE)
    }

    /// Ends the tree.
    pub fn kill(&self) {
        // It fails only for a process that has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Sends a signal to every process of the tree, process 1 apart. Best effort: it may be on its way out.
    pub fn signal(&self, signal: TreeSignal) {
        let _ = control::send(&self.control, &Message::Signal(signal));
    }

    /// Takes the slot back and tells how the run ended. To be called after [`Jail::end_of_run`]; waits otherwise.
    pub fn finish(mut self, launcher: &mut Launcher) -> Ending {
        self.listen();
        let stays = self.ends_when_told && self.ending.is_some();
        let ended = match self.origin {
            _ if stays => Ok(None),
            Origin::Launcher { pid, slot } => {
                let ended = sys::wait(Some(pid), WaitOptions::empty());
                drop(self.files.take());
                launcher.free(slot);
                ended
            }
            Origin::Zygote => Ok(None),
        };
        let wall = self.started.elapsed();
        let (cpu, peak_memory_bytes) = match ended {
            Ok(Some(ended)) => (ended.cpu, ended.peak_resident_bytes),
            _ => (Duration::ZERO, 0),
        };
        let peak_of_group = || self.group.as_ref().and_then(Group::peak_bytes).unwrap_or(0);
        let accounting = if self.group.is_some() { Accounting::Cgroup } else { Accounting::Tree };
        let own_limit = |ending: Ending| Ending {
            limit: ending
                .limit
                .or_else(|| self.limit_told(ending.status))
                .or_else(|| self.memory_ran_out(ending.status)),
            accounting,
            ..ending
        };
        let ending = self.ending.map(own_limit).unwrap_or_else(|| {
            // Process 1 was killed before it could report: from outside, or here because it was late.
            let late = wall >= Duration::from_millis(self.limits.wall_ms).saturating_add(GRACE);
            let status = ExitStatus::Signalled(Signal::KILL.as_raw());
            let limit = if late { Some(Limit::Wall) } else { self.memory_ran_out(status) };
            Ending {
                status,
                limit: limit.or(Some(Limit::Killed)),
                wall,
                cpu,
                peak_memory_bytes: peak_memory_bytes.max(peak_of_group()),
                reached: Reached::default(),
                accounting,
            }
        });
        if stays {
            launcher.leave(self);
        }
        ending
    }

    /// Whether its processes are gone. With [`WaitOptions::empty`] it ends them and waits for that.
    pub(super) fn is_gone(&self, options: WaitOptions) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = options.contains(WaitOptions::NOHANG).then_some(&at_once);
        if timeout.is_none() {
            self.kill();
        }
        match self.origin {
            Origin::Launcher { pid, .. } => !matches!(sys::wait(Some(pid), options), Ok(None)),
            Origin::Zygote => {
                let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, timeout)) != Ok(0)
            }
        }
    }

    /// Ends the tree and waits for that.
    pub(super) fn end(self, launcher: &mut Launcher) -> Ending {
        self.kill();
        self.finish(launcher)
    }

    /// Whether the kernel ended the tree because its group had no memory left; it ends process 1, too, which then cannot
    /// report.
    fn memory_ran_out(&self, status: ExitStatus) -> Option<Limit> {
        let killed = status == ExitStatus::Signalled(Signal::KILL.as_raw());
        (killed && self.group.as_ref()?.ran_out_of_memory()).then_some(Limit::Memory)
    }

    /// The limit of its own that a function says it reached. A program's exit code says nothing of the kind.
    fn limit_told(&self, status: ExitStatus) -> Option<Limit> {
        let ExitStatus::Exited(code) = status else { return None };
        match u8::try_from(code) {
            _ if !self.is_function => None,
            Ok(TIME_USED_UP) => Some(Limit::Wall),
            Ok(CPU_USED_UP) => Some(Limit::Cpu),
            Ok(MEMORY_USED_UP) => Some(Limit::Memory),
            _ => None,
        }
    }

    /// Ends a jail whose set-up failed, before it had its slot.
    pub(super) fn abandon(self) {
        self.kill();
        if let Origin::Launcher { pid, .. } = self.origin {
            let _ = sys::wait(Some(pid), WaitOptions::empty());
        }
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
