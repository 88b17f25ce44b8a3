//! A zygote as its launcher sees it, and the jails that are forked from it.
//!
//! Starting an interpreter and importing what code usually imports takes tens of milliseconds; forking one that has
//! done so takes two, and is done ahead of time. The zygote ([`super::nest`]) runs no code of a job. Each child is a
//! jail of its own ([`super::parked`]), is used once, and dies.
//!
//! What children of one zygote share, because it is copied by a fork: the layout of their address space and the seed
//! of string hashes. Hence a zygote is replaced after a while.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::control::{self, Ending};
use super::handover::{Parked, pair};
use super::launcher::Launcher;
use super::monitor::memory_in_status;
use super::passing;
use super::running::{Jail, Origin};
use super::spec::{JailLimits, JailSpec};
use crate::cgroup::{Clock, Group};
use crate::error::{At, JailError, Layer};
use crate::profile;

/// From a zygote: it may be asked for jails.
pub(super) const READY: u8 = b'R';
/// From a zygote: a jail more; the pidfd of its process 1 comes beside.
pub(super) const PARKED: u8 = b'P';
/// The same, where it is not in the control group that came with the request.
pub(super) const PARKED_OUTSIDE: u8 = b'O';
/// From a zygote: no jail, and why.
pub(super) const FAILED: u8 = b'F';

/// To a zygote: one jail more; its control socket and the payload's socket come beside, and its control group with the
/// file that tells its processor time if it has one.
pub(super) struct Request {
    pub(super) scratch_bytes: u64,
    pub(super) scratch_inodes: u64,
}

impl Request {
    fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.scratch_bytes.to_le_bytes());
        bytes[8..].copy_from_slice(&self.scratch_inodes.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&scratch_bytes, rest) = bytes.split_first_chunk()?;
        Some(Self {
            scratch_bytes: u64::from_le_bytes(scratch_bytes),
            scratch_inodes: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// An interpreter that forks jails. To be ended with [`Zygote::end`].
#[derive(Debug)]
pub struct Zygote {
    jail: Jail,
    socket: OwnedFd,
    ready: bool,
    /// Scratch space of its children in bytes and inodes.
    scratch: (u64, u64),
    /// Jails that were asked for, in order.
    asked: VecDeque<Ends>,
    /// Number of the next control group.
    next_group: u64,
    parked: VecDeque<Parked>,
}

/// This side's ends of a parked jail's sockets.
#[derive(Debug)]
struct Ends {
    control: OwnedFd,
    handover: OwnedFd,
    group: Option<Group>,
}

impl Zygote {
    /// Starts an interpreter that will call [`super::Nest::open`]. `spec` has [`profile::ZYGOTE`] and no job socket:
    /// that is the zygote's own.
    ///
    /// # Errors
    ///
    /// As [`Launcher::spawn`].
    pub fn start(
        launcher: &mut Launcher,
        mut spec: JailSpec,
        scratch: (u64, u64),
    ) -> Result<Self, JailError> {
        if spec.profile.name != profile::ZYGOTE.name || spec.job.is_some() {
            return Err(JailError::Invalid("a zygote has its own profile and its own socket".into()));
        }
        let (ours, theirs) = pair()?;
        spec.job = Some(theirs);
        let (jail, rights) = launcher.spawn_with_rights(&spec)?;
        let rights = passing::encode_rights(&rights).at(Layer::Landlock, "write the rules down")?;
        match passing::send(&ours, &rights, &[], SendFlags::DONTWAIT) {
            Ok(()) => {}
            Err(errno) => {
                jail.end(launcher);
                return Err(errno).at(Layer::Landlock, "hand over the rules");
            }
        }
        let (asked, parked) = Default::default();
        Ok(Self { jail, socket: ours, ready: false, scratch, asked, next_group: 1, parked })
    }

    /// Readable when the zygote says something; then [`Zygote::listen`].
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Jails that wait, or were asked for.
    pub fn stock(&self) -> usize {
        self.parked.len() + self.asked.len()
    }

    /// Jails that wait.
    pub fn waiting(&self) -> usize {
        self.parked.len()
    }

    /// Jails that were asked for and are not there yet.
    pub fn owed(&self) -> usize {
        self.asked.len()
    }

    /// Memory of the interpreter's own in bytes, as far as the machine shows it: not what it shares with files.
    pub fn memory_bytes(&self) -> Option<u64> {
        let Origin::Launcher { pid, .. } = self.jail.origin else { return None };
        let pid = pid.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        // Process 1 has no other child.
        let interpreter = children.split_whitespace().next()?;
        let status = std::fs::read(format!("/proc/{interpreter}/status")).ok()?;
        Some(memory_in_status(&status))
    }

    /// Whether it may be asked for jails.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Asks for a jail more.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the zygote does not listen any more.
    pub fn ask(&mut self) -> Result<(), JailError> {
        let (control, theirs) = pair()?;
        let (handover, payloads) = pair()?;
        let request = Request { scratch_bytes: self.scratch.0, scratch_inodes: self.scratch.1 };
        let (group, clock) = self.new_group().unzip();
        let mut fds = vec![theirs.as_fd(), payloads.as_fd()];
        fds.extend(group.as_ref().map(Group::as_fd));
        fds.extend(clock.as_ref().map(|clock| clock.0.as_fd()));
        passing::send(&self.socket, &request.encode(), &fds, SendFlags::DONTWAIT)
            .at(Layer::Process, "ask the zygote for a jail")?;
        self.asked.push_back(Ends { control, handover, group });
        Ok(())
    }

    /// A control group for a jail, if the zygote has one. A jail without is counted otherwise, and says so.
    fn new_group(&mut self) -> Option<(Group, Clock)> {
        let number = self.next_group;
        self.next_group += 1;
        let group = self.jail.group.as_ref()?.beside(number).ok()?;
        let clock = group.clock().ok()?;
        Some((group, clock))
    }

    /// Takes in what the zygote said.
    ///
    /// # Errors
    ///
    /// [`JailError`] when it ended or could not fork; it has no further use then.
    pub fn listen(&mut self) -> Result<(), JailError> {
        loop {
            let received = match passing::receive(&self.socket, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return Ok(()),
                received => received.at(Layer::Process, "listen to the zygote")?,
            };
            let Some((bytes, mut fds)) = received else {
                return Err(JailError::not_in_force(Layer::Process, "the zygote ended"));
            };
            match (bytes.split_first(), fds.pop()) {
                (Some((&READY, [])), None) => self.ready = true,
                (Some((&kind @ (PARKED | PARKED_OUTSIDE), [])), Some(pidfd)) => {
                    let ends = self.asked.pop_front();
                    let mut ends =
                        ends.ok_or_else(|| JailError::not_in_force(Layer::Process, "nobody asked"))?;
                    if kind == PARKED_OUTSIDE {
                        ends.group = None;
                    }
                    self.parked.push_back(self.parked(ends, pidfd));
                }
                (Some((&FAILED, error)), None) => {
                    let unreadable = || JailError::not_in_force(Layer::Process, "the zygote could not fork");
                    return Err(control::decode_error(error).unwrap_or_else(unreadable));
                }
                _ => return Err(JailError::not_in_force(Layer::Process, "the zygote cannot be understood")),
            }
        }
    }

    fn parked(&self, Ends { control, handover, group }: Ends, pidfd: OwnedFd) -> Parked {
        let (scratch_bytes, scratch_inodes) = self.scratch;
        let jail = Jail {
            origin: Origin::Zygote,
            pidfd,
            control,
            started: Instant::now(),
            limits: JailLimits { scratch_bytes, scratch_inodes, ..profile::CODE.limits },
            files: None,
            group,
            ending: None,
            is_function: false,
            ends_when_told: true,
        };
        Parked { jail, handover }
    }

    /// A jail that waits, if one does.
    pub fn take(&mut self) -> Option<Parked> {
        self.parked.pop_front()
    }

    /// Ends the zygote with everything forked from it, running jobs too, and gives its slot back.
    pub fn end(self, launcher: &mut Launcher) -> Ending {
        self.jail.end(launcher)
    }
}
