//! A jail that waits for a job, as its launcher sees it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::control::{self, Message};
use super::launcher::{Launcher, expect};
use super::passing;
use super::running::Jail;
use super::spec::JailLimits;
use crate::error::{At, JailError, Layer};

/// How long a jail that waited may take to begin; meanwhile nothing else is begun.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A jail that waits for a job.
#[derive(Debug)]
pub struct Parked {
    pub(super) jail: Jail,
    /// The payload gets its job through it.
    pub(super) handover: OwnedFd,
}

/// Why a jail that waited could not be used.
#[derive(Debug)]
pub enum Stillborn {
    /// It was gone before it had the job: another jail may get it.
    Before(JailError),
    /// It has the job's descriptors, and may have used them: the job must not be given to another.
    After(JailError),
}

/// What a parked jail gets to do.
#[derive(Clone, Copy, Debug)]
pub struct Handover<'a> {
    /// Becomes descriptor 0; `/dev/null` when absent.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Becomes descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Becomes descriptor 2.
    pub stderr: BorrowedFd<'a>,
    /// Becomes descriptor 3.
    pub job: Option<BorrowedFd<'a>>,
    /// Limits of the tree. Scratch space is what the jail was made with.
    pub limits: JailLimits,
}

impl Parked {
    /// Hands over a job and waits until it runs, which takes microseconds.
    ///
    /// # Errors
    ///
    /// [`Stillborn`]: nothing of the job was executed then.
    pub fn begin(mut self, launcher: &mut Launcher, job: &Handover<'_>) -> Result<Jail, Stillborn> {
        match self.hand_over(job) {
            Ok(()) => Ok(self.jail),
            Err(stillborn) => {
                self.end(launcher);
                Err(stillborn)
            }
        }
    }

    fn hand_over(&mut self, job: &Handover<'_>) -> Result<(), Stillborn> {
        let jail = &mut self.jail;
        jail.started = Instant::now();
        let JailLimits { scratch_bytes, scratch_inodes, .. } = jail.limits;
        jail.limits = JailLimits { scratch_bytes, scratch_inodes, ..job.limits };
        if let Some(group) = &jail.group {
            group.limit(&jail.limits).map_err(Stillborn::Before)?;
        }
        let mut bytes = vec![u8::from(job.stdin.is_some())];
        bytes.extend(passing::encode_limits(&jail.limits));
        let fds: Vec<_> =
            [Some(job.stdout), Some(job.stderr), job.stdin, job.job].into_iter().flatten().collect();
        control::send(&jail.control, &Message::Begin(jail.limits))
            .at(Layer::Process, "talk to process 1")
            .map_err(Stillborn::Before)?;
        passing::send(&self.handover, &bytes, &fds, SendFlags::DONTWAIT)
            .at(Layer::Process, "hand over a job")
            .map_err(Stillborn::Before)?;
        expect(jail, jail.started + BEGIN_TIMEOUT, |message| matches!(message, Message::Started))
            .map_err(Stillborn::After)
    }

    /// Ends it; it can still be handed a job, which it then does not begin.
    pub fn kill(&self) {
        self.jail.kill();
    }

    /// Ends it, for want of a job.
    pub fn end(self, launcher: &mut Launcher) {
        self.jail.kill();
        launcher.leave(self.jail);
    }
}

/// Both ends of a connection to process 1 or to a payload.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), JailError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .at(Layer::Process, "make a socket pair")
}
