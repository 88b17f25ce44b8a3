//! As whom jails run, and what the launcher may do.
//!
//! Inside, a payload is always user and group 1000. On the machine it is a reserved id, one for each live jail, when
//! the launcher was started by root; otherwise it is the launcher's own user. It is never root: even without
//! capabilities, root owns kernel settings and most files.

use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Gid, Pid, Uid, WaitOptions};
use rustix::thread::CapabilitySet;

use crate::error::{At, JailError, Layer};
use crate::linux_caps;
use crate::mounts;
use crate::process;
use crate::sys::{self, Clone, Namespaces, SingleThreaded};

/// User and group of a payload as seen inside.
pub(crate) const PAYLOAD_ID: u32 = 1000;
/// Host user and group of the first slot; the launcher itself is the one before.
const FIRST_HOST_ID: u32 = 64_000;

/// What a launcher that root started keeps.
///
/// - `SETUID`, `SETGID`: map a payload to a host id other than the launcher's own;
/// - `SYS_ADMIN`: clone mounts by handle, map owners of granted directories;
/// - `DAC_READ_SEARCH`: reach programs and directories below other users' homes. It gives payloads nothing.
const KEPT: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What it keeps where there are no user namespaces: a user for each payload.
const KEPT_WITHOUT_NAMESPACES: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// As whom jails run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Identity {
    /// Started by root: a reserved host id for each slot.
    Reserved,
    /// Started by this user: everything runs as that user.
    Own {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Identity {
    /// The user that [`Identity::take`] is going to change to, if it will.
    pub(super) fn future_user(slots: u32) -> Option<u32> {
        let held = rustix::thread::capabilities(None).ok()?.effective;
        may_become_reserved(held, KEPT, slots).then_some(FIRST_HOST_ID - 1)
    }

    /// Gives up what is not needed, for good.
    pub(super) fn take(slots: u32, parent: Option<u32>) -> Result<Self, JailError> {
        let uid = rustix::process::geteuid();
        let gid = rustix::process::getegid();
        let held = rustix::thread::capabilities(None).at(Layer::Capabilities, "read capabilities")?.effective;
        let identity = if may_become_reserved(held, KEPT, slots) {
            become_reserved(KEPT)?;
            Self::Reserved
        } else if uid.is_root() && are_mapped(&(0..u32::MAX)) {
            return Err(JailError::missing(
                Layer::Identity,
                "root without the capabilities SETUID, SETGID, SETPCAP, SYS_ADMIN and DAC_READ_SEARCH cannot give \
                 payloads another user; run llmc as another user",
            ));
        } else {
            enter_own_namespaces(uid.as_raw(), gid.as_raw())?;
            Self::Own { uid: uid.as_raw(), gid: gid.as_raw() }
        };
        process::forbid_new_privileges()?;
        process::make_undumpable()?;
        process::die_with_parent(parent)?;
        Ok(identity)
    }

    /// [`Identity::take`] where the kernel gives no user namespaces.
    pub(super) fn take_without_namespaces(slots: u32, parent: Option<u32>) -> Result<Self, JailError> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let held = rustix::thread::capabilities(None).at(Layer::Capabilities, "read capabilities")?.effective;
        let identity = if may_become_reserved(held, KEPT_WITHOUT_NAMESPACES, slots) {
            become_reserved(KEPT_WITHOUT_NAMESPACES)?;
            Self::Reserved
        } else if uid.is_root() && may_be_root_of_the_machine() {
            return Err(JailError::missing(
                Layer::Identity,
                "root without the capabilities SETUID, SETGID and SETPCAP, or without other users, cannot give payloads \
                 another user; run llmc as another user",
            ));
        } else {
            linux_caps::drop_all()?;
            Self::Own { uid: uid.as_raw(), gid: gid.as_raw() }
        };
        process::forbid_new_privileges()?;
        process::make_undumpable()?;
        process::die_with_parent(parent)?;
        Ok(identity)
    }

    /// The host id of a slot, where it has one of its own.
    pub(super) fn host_id(self, slot: usize) -> Option<u32> {
        let slot = u32::try_from(slot).ok()?;
        matches!(self, Self::Reserved).then(|| FIRST_HOST_ID + slot)
    }

    /// Whether process 1 has to keep supplementary groups, because it may not change them.
    pub(super) fn keeps_groups(self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// Writes the identity maps of a jail's process 1.
    pub(super) fn map(self, pid: Pid, slot: usize) -> Result<(), JailError> {
        let (uid, gid) = match (self, self.host_id(slot)) {
            (Self::Own { uid, gid }, _) => (uid, gid),
            (Self::Reserved, Some(id)) => (id, id),
            (Self::Reserved, None) => {
                return Err(JailError::not_in_force(Layer::Identity, "the slot has no host id"));
            }
        };
        if self.keeps_groups() {
            write_proc(pid, "setgroups", "deny")?;
        }
        write_maps(pid, (PAYLOAD_ID, uid), (PAYLOAD_ID, gid))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => {
                write!(f, "payloads run as host users {FIRST_HOST_ID} and up, one for each jail")
            }
            Self::Own { uid, .. } => write!(f, "payloads run as host user {uid}, llmc's own"),
        }
    }
}

/// Changes to the user of a payload, for good, and reads that back; user and group have the same number.
pub(super) fn become_user(id: u32, keep_groups: bool) -> Result<(), JailError> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    if !keep_groups {
        rustix::thread::set_thread_groups(&[]).at(Layer::Identity, "drop supplementary groups")?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Layer::Identity, "change group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Layer::Identity, "change user")?;
    let ids = (rustix::process::getuid(), rustix::process::geteuid(), rustix::process::getegid());
    if ids == (uid, uid, gid) {
        Ok(())
    } else {
        Err(JailError::not_in_force(Layer::Identity, format!("user and group are {ids:?}")))
    }
}

/// Writes one line into each identity map of a process: (inside, outside).
pub(super) fn write_maps(pid: Pid, uid: (u32, u32), gid: (u32, u32)) -> Result<(), JailError> {
    write_proc(pid, "gid_map", &format!("{} {} 1", gid.0, gid.1))?;
    write_proc(pid, "uid_map", &format!("{} {} 1", uid.0, uid.1))
}

/// A user namespace in which an owner on disk appears as a host id, for idmapped mounts.
pub(crate) fn owner_namespace(
    proof: &SingleThreaded,
    uid: u32,
    gid: u32,
    host_id: u32,
) -> Result<OwnedFd, JailError> {
    let (ours, theirs) = UnixStream::pair().at(Layer::Process, "make a socket pair")?;
    match sys::clone(proof, Namespaces::NEWUSER).at(Layer::UserNamespace, "create a user namespace")? {
        Clone::Child => {
            // Only a dumpable process shows its namespaces. It holds nothing but a copy of this memory, and ends as
            // soon as the namespace has been opened.
            drop(ours);
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
            let _ = rustix::io::write(&theirs, b"r");
            let _ = rustix::io::read(&theirs, &mut [0; 1][..]);
            sys::exit(0)
        }
        Clone::Parent { pid, .. } => {
            drop(theirs);
            let namespace = rustix::io::retry_on_intr(|| rustix::io::read(&ours, &mut [0; 1][..]))
                .at(Layer::UserNamespace, "await a helper")
                .and_then(|_| write_maps(pid, (uid, host_id), (gid, host_id)))
                .and_then(|()| {
                    let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                        .at(Layer::UserNamespace, "open a user namespace")
                });
            drop(ours);
            let _ = sys::wait(Some(pid), WaitOptions::empty());
            namespace
        }
    }
}

fn write_proc(pid: Pid, file: &str, text: &str) -> Result<(), JailError> {
    std::fs::write(format!("/proc/{}/{file}", pid.as_raw_nonzero()), text)
        .at(Layer::UserNamespace, format!("write {file}"))
}

/// Whether this is root with these capabilities and with a user for each slot.
fn may_become_reserved(held: CapabilitySet, wanted: CapabilitySet, slots: u32) -> bool {
    rustix::process::geteuid().is_root()
        && held.contains(wanted | CapabilitySet::SETPCAP)
        && are_mapped(&(FIRST_HOST_ID - 1..FIRST_HOST_ID.saturating_add(slots)))
}

/// Becomes the user before the first slot, and keeps these capabilities only.
fn become_reserved(kept: CapabilitySet) -> Result<(), JailError> {
    let id = FIRST_HOST_ID - 1;
    // Locks securebits so that the change of user below takes nothing away and gives nothing back.
    linux_caps::restrict_to(kept)?;
    rustix::thread::set_thread_groups(&[]).at(Layer::Identity, "drop supplementary groups")?;
    let gid = Gid::from_raw(id);
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Layer::Identity, "change group")?;
    let uid = Uid::from_raw(id);
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Layer::Identity, "change user")?;
    let held = rustix::thread::capabilities(None).at(Layer::Capabilities, "read capabilities")?;
    if rustix::process::getuid() != uid
        || rustix::process::geteuid() != uid
        || rustix::process::getegid() != gid
    {
        return Err(JailError::not_in_force(Layer::Identity, "user or group did not change"));
    }
    if held.permitted != kept || held.effective != kept {
        return Err(JailError::not_in_force(Layer::Capabilities, format!("capabilities are {held:?}")));
    }
    Ok(())
}

/// Enters a user and a mount namespace, in which mounts can be cloned.
fn enter_own_namespaces(uid: u32, gid: u32) -> Result<(), JailError> {
    sys::unshare(Namespaces::NEWUSER | Namespaces::NEWNS).at(Layer::UserNamespace, "create namespaces")?;
    let own = process::own_pid();
    write_proc(own, "setgroups", "deny")?;
    write_maps(own, (uid, uid), (gid, gid))?;
    mounts::make_private().at(Layer::MountNamespace, "make mounts private")?;
    linux_caps::restrict_to(CapabilitySet::SYS_ADMIN)
}

/// Whether this user namespace has all of these ids, for users and for groups.
fn are_mapped(ids: &Range<u32>) -> bool {
    ["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(|file| std::fs::read_to_string(file).is_ok_and(|map| map.lines().any(|line| covers(line, ids))))
}

/// Whether root here is root of the namespace around this one, and so perhaps of the machine.
fn may_be_root_of_the_machine() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let root = map.lines().find(|line| covers(line, &(0..1)));
    root.is_none_or(|line| line.split_ascii_whitespace().nth(1) == Some("0"))
}

/// Whether one line of an identity map has all of these ids.
fn covers(line: &str, ids: &Range<u32>) -> bool {
    let mut fields = line.split_ascii_whitespace().map(str::parse::<u64>);
    let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    first <= u64::from(ids.start) && u64::from(ids.end) <= first.saturating_add(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let reserved = FIRST_HOST_ID - 1..FIRST_HOST_ID + 64;
        assert!(covers("         0          0 4294967295", &reserved));
        assert!(covers("0 100000 65536", &reserved));
        assert!(!covers("0 1000 1", &reserved));
        assert!(!covers("0 100000 64000", &reserved));
        assert!(!covers("", &reserved));
        assert!(!covers("x y z", &reserved));
    }

    #[test]
    fn a_slot_is_never_root() {
        assert!((0..1000).all(|slot| Identity::Reserved.host_id(slot).is_some_and(|id| id >= FIRST_HOST_ID)));
        assert_eq!(Identity::Own { uid: 1000, gid: 1000 }.host_id(0), None);
    }
}
