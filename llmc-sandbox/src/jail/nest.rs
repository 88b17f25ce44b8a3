//! The inside of a zygote: an interpreter that forks jails on request, and does nothing else.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::Signal;

use super::launcher::NAMESPACES;
use super::parked::Parked;
use super::waiting::Waiting;
use super::{control, passing, zygote};
use crate::error::{At, JailError, Layer};
use crate::landlock::Right;
use crate::profile::CODE;
use crate::seccomp::Filter;
use crate::sys::{self, Clone, SingleThreaded};

/// Descriptor of the socket to the launcher.
const SOCKET: RawFd = 3;

/// An interpreter in a jail of profile [`crate::profile::ZYGOTE`], with the socket to its launcher.
pub struct Nest {
    socket: OwnedFd,
    pub(super) proof: SingleThreaded,
    pub(super) rights: Vec<(std::path::PathBuf, Right)>,
    pub(super) filter: Filter,
}

/// What became of a call of [`Nest::next`].
#[derive(Debug)]
pub enum Forked {
    /// This is the zygote, and there is a child more.
    Parent,
    /// This is the payload of a new jail.
    Child(Waiting),
    /// The launcher is gone.
    Over,
}

impl Nest {
    /// Takes the socket, hears the rules, and says that the interpreter is ready. To be called once.
    ///
    /// # Errors
    ///
    /// [`JailError`] when this is not a zygote's jail.
    pub fn open() -> Result<Self, JailError> {
        let proof = SingleThreaded::check().at(Layer::Process, "check that there is one thread")?;
        let socket = sys::take(SOCKET).at(Layer::Descriptors, "take the launcher's socket")?;
        // Whoever ends a child is its process 1; nobody waits for that one.
        sys::ignore_signal(Signal::CHILD).at(Layer::Process, "ignore a signal")?;
        let rules = passing::receive(&socket, RecvFlags::empty()).at(Layer::Process, "wait for the rules")?;
        let rights = rules.and_then(|(bytes, _)| passing::decode_rights(&bytes));
        let rights = rights.ok_or_else(|| JailError::not_in_force(Layer::Landlock, "there are no rules"))?;
        passing::send(&socket, &[zygote::READY], &[], SendFlags::empty())
            .at(Layer::Process, "talk to the launcher")?;
        // In a library the answer is looked up in /proc, which children cannot do any more; it is kept.
        rustix::param::clock_ticks_per_second();
        Ok(Self { socket, proof, rights, filter: CODE.filter.compile(None) })
    }

    /// Waits for a request and forks. The caller tells its interpreter about the fork, on both sides.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the connection fails; the zygote has no further use then.
    pub fn next(&self) -> Result<Forked, JailError> {
        let received =
            passing::receive(&self.socket, RecvFlags::empty()).at(Layer::Process, "wait for a request")?;
        let Some((bytes, fds)) = received else { return Ok(Forked::Over) };
        let request = zygote::Request::decode(&bytes);
        let mut fds = fds.into_iter();
        let (control, handover, group, clock) = (fds.next(), fds.next(), fds.next(), fds.next());
        let (Some(request), Some(control), Some(handover)) = (request, control, handover) else {
            return Err(JailError::not_in_force(Layer::Request, "the request cannot be read"));
        };
        match self.fork(group.as_ref()) {
            Ok((Clone::Child, in_group)) => {
                // Closed by number, with everything that the child has no use for.
                std::mem::forget(group);
                let clock = if in_group { clock } else { forget(clock) };
                let zygote::Request { scratch_bytes, scratch_inodes } = request;
                let parked = Parked { nest: self, control, handover, scratch_bytes, scratch_inodes, clock };
                Ok(Forked::Child(parked.main()))
            }
            Ok((Clone::Parent { pidfd, .. }, in_group)) => {
                let kind = if in_group || group.is_none() { zygote::PARKED } else { zygote::PARKED_OUTSIDE };
                self.answer(&[kind], &[pidfd.as_fd()])
            }
            Err(errno) => {
                let error = Err::<(), Errno>(errno).at(Layer::UserNamespace, "create namespaces");
                let error = error.err().map(|error| control::encode_error(&error)).unwrap_or_default();
                self.answer(&[&[zygote::FAILED], &error[..]].concat(), &[])
            }
        }
    }

    /// Forks into new namespaces and, if the kernel lets it, into a control group; tells whether it did.
    fn fork(&self, group: Option<&OwnedFd>) -> Result<(Clone, bool), Errno> {
        if group.is_some()
            && let Ok(forked) = sys::clone_into(&self.proof, NAMESPACES, group.map(AsFd::as_fd))
        {
            return Ok((forked, true));
        }
        Ok((sys::clone(&self.proof, NAMESPACES)?, false))
    }

    fn answer(&self, bytes: &[u8], fds: &[std::os::fd::BorrowedFd<'_>]) -> Result<Forked, JailError> {
        passing::send(&self.socket, bytes, fds, SendFlags::empty())
            .at(Layer::Process, "talk to the launcher")?;
        Ok(Forked::Parent)
    }
}

/// The same for a descriptor that would have been of use.
fn forget(fd: Option<OwnedFd>) -> Option<OwnedFd> {
    std::mem::forget(fd);
    None
}
