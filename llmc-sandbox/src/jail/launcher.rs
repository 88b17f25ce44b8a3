//! The process that starts jails: its rights, its slots, and one start.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};

use super::alone;
use super::control::{self, Accounting, Message};
use super::folder;
use super::handover::{Parked, pair};
use super::identity::{Identity, owner_namespace};
use super::init::{self, Init};
use super::running::{Jail, Origin};
use super::spec::{GrantedRoot, JailSpec, Payload};
use super::terminal::Terminal;
use super::tree::Plan;
use crate::cgroup::{Group, Groups};
use crate::error::{At, JailError, Layer};
use crate::landlock::Right;
use crate::profile;
use crate::report::{Isolation, Report};
use crate::seccomp::Filter;
use crate::survey;
use crate::sys::{self, Clone, MountAttributes, Namespaces, SingleThreaded};

/// How long the set-up of a jail may take. It takes milliseconds; this is for machines in distress.
pub(super) const SET_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Namespaces of a jail.
pub(super) const NAMESPACES: Namespaces = Namespaces::NEWUSER
    .union(Namespaces::NEWNS)
    .union(Namespaces::NEWPID)
    .union(Namespaces::NEWNET)
    .union(Namespaces::NEWIPC)
    .union(Namespaces::NEWUTS)
    .union(Namespaces::NEWCGROUP);

/// Starts jails. Belongs to a small process with one thread that does nothing else.
pub struct Launcher {
    pub(super) proof: SingleThreaded,
    pub(super) identity: Identity,
    isolation: Isolation,
    slots: Vec<bool>,
    /// Jails whose run is over, until their processes are gone.
    leaving: Vec<Jail>,
    filters: HashMap<&'static str, Filter>,
    owner_maps: HashMap<(u32, u32, u32), OwnedFd>,
    /// Control groups, or why there are none.
    groups: Result<Groups, String>,
}

/// Maps file owners for a jail.
pub(crate) trait Owners {
    /// Makes the payload the owner of what the owner of `root` owns, if that needs doing.
    fn map(&mut self, mount: &OwnedFd, stat: &Stat, root: &GrantedRoot) -> Result<(), JailError>;
}

impl Launcher {
    /// Reduces this process to what starting jails needs, for good. Up to `max_jails` may live at a time.
    ///
    /// Started by root it becomes another user and keeps four capabilities. Started by another user it enters a user
    /// and a mount namespace of its own.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the process has threads or the kernel refuses a step: then jails are not to be had here.
    pub fn prepare(max_jails: u32, parent: Option<u32>) -> Result<Self, JailError> {
        let proof = SingleThreaded::check().at(Layer::Process, "check that there is one thread")?;
        remember();
        let groups = Groups::prepare(parent, Identity::future_user(max_jails));
        let identity = Identity::take(max_jails, parent)?;
        let groups = groups.map_err(|error| survey::brief(&error));
        Ok(Self::new(proof, identity, Isolation::Namespaces, max_jails, groups))
    }

    /// [`Launcher::prepare`] where the kernel gives no user namespaces: for profiles that can do without, in jails of
    /// Landlock and seccomp alone.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn without_namespaces(max_jails: u32, parent: Option<u32>) -> Result<Self, JailError> {
        let proof = SingleThreaded::check().at(Layer::Process, "check that there is one thread")?;
        remember();
        let identity = Identity::take_without_namespaces(max_jails, parent)?;
        folder::sweep_runs();
        let groups = Err("not used in this tier".to_owned());
        Ok(Self::new(proof, identity, Isolation::Landlock, max_jails, groups))
    }

    fn new(
        proof: SingleThreaded,
        identity: Identity,
        isolation: Isolation,
        max_jails: u32,
        groups: Result<Groups, String>,
    ) -> Self {
        let slots = vec![false; max_jails as usize];
        let (leaving, filters, owner_maps) = Default::default();
        Self { proof, identity, isolation, slots, leaving, filters, owner_maps, groups }
    }

    /// How strong the walls around every jail are.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Users of the machine that payloads run as, for the reader.
    pub fn identity(&self) -> String {
        self.identity.to_string()
    }

    /// How use is counted and limited, for the reader.
    pub fn accounting(&self) -> String {
        match &self.groups {
            Ok(_) => "cgroups + rlimits + tree accounting".to_owned(),
            Err(why) => format!("rlimits + tree accounting (no cgroups: {why})"),
        }
    }

    /// Who counts in jails that start now.
    pub fn counted_by(&self) -> Accounting {
        if self.groups.is_ok() { Accounting::Cgroup } else { Accounting::Tree }
    }

    /// Clears away what is left of runs that are over. To be called when there is time, and again after a while as long as
    /// it returns `false`.
    pub fn tidy(&mut self) -> bool {
        self.reap(WaitOptions::NOHANG);
        let Ok(groups) = &self.groups else { return self.leaving.is_empty() };
        groups.tidy();
        self.leaving.is_empty() && groups.are_tidy()
    }

    /// Takes back the slots of jails that are gone.
    fn reap(&mut self, options: WaitOptions) {
        let slots = &mut self.slots;
        self.leaving.retain(|jail| {
            let is_there = !jail.is_gone(options);
            if let Origin::Launcher { slot, .. } = jail.origin {
                slots[slot] &= is_there;
            }
            is_there
        });
    }

    /// Keeps a jail whose run is over, and its slot, until its processes are gone.
    pub(super) fn leave(&mut self, jail: Jail) {
        self.leaving.push(jail);
    }

    /// The layers around every jail that starts; a jail without one of them does not start.
    pub fn report(&self) -> Report {
        let mut report = Report::new();
        report.isolation = self.isolation;
        if self.isolation == Isolation::Landlock {
            report.enforced(Layer::Identity, self.identity.to_string());
            report.enforced(Layer::Limits, self.accounting());
            report.enforced(Layer::Capabilities, "none");
            report.enforced(Layer::NoNewPrivs, "set");
            report.enforced(Layer::Landlock, "the program's own files, read-only; no signals outside");
            report.enforced(
                Layer::Seccomp,
                "allow-list of the profile; no sockets, no children, no changes to files",
            );
            report.enforced(
                Layer::ParentDeath,
                "the payload dies with its guardian, and that with the launcher",
            );
            report.gap(
                "no namespaces: existence, kind and size of files, and numbers of processes, are visible",
            );
            return report;
        }
        report.enforced(
            Layer::UserNamespace,
            format!("own, with pid, net, ipc, uts and cgroup; {}", self.identity),
        );
        report.enforced(
            Layer::Root,
            "own tmpfs, read-only binds, scratch space with a quota, old tree detached",
        );
        report.enforced(Layer::Limits, self.accounting());
        report.enforced(Layer::Capabilities, "none, bounding set empty, securebits locked");
        report.enforced(Layer::NoNewPrivs, "set");
        report.enforced(Layer::Landlock, "visible tree only");
        report.enforced(Layer::Seccomp, "allow-list of the profile");
        report.enforced(Layer::ParentDeath, "the tree dies with the process that started it");
        if let Err(why) = &self.groups {
            report.gap(format!(
                "no cgroups ({why}): memory of pipes and sockets is bounded by the number of descriptors only"
            ));
        }
        report
    }

    /// Whether another jail may start.
    pub fn has_room(&self) -> bool {
        let has_slot = |jail: &Jail| matches!(jail.origin, Origin::Launcher { .. });
        self.slots.contains(&false) || self.leaving.iter().any(has_slot)
    }

    /// A terminal for the jail that is started next.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the kernel gives none.
    pub fn terminal(&self, rows: u16, cols: u16) -> Result<Terminal, JailError> {
        Terminal::new(self.identity.host_id(self.free_slot()?), rows, cols)
    }

    /// Starts a jail and waits until its program runs.
    ///
    /// # Errors
    ///
    /// [`JailError`] with the layer that failed; nothing was executed then.
    pub fn spawn(&mut self, spec: &JailSpec) -> Result<Jail, JailError> {
        self.spawn_with_rights(spec).map(|(jail, _)| jail)
    }

    /// [`Launcher::spawn`]; tells the rules for Landlock that belong to the jail's tree, too.
    pub(super) fn spawn_with_rights(
        &mut self,
        spec: &JailSpec,
    ) -> Result<(Jail, Vec<(PathBuf, Right)>), JailError> {
        spec.validate()?;
        if self.isolation == Isolation::Landlock {
            return alone::spawn(self, spec).map(|jail| (jail, Vec::new()));
        }
        self.spawn_in_namespaces(spec, None)
    }

    /// Makes a jail ahead of time, in which a function waits for its job. Streams, job socket and limits come with that;
    /// until then its streams are those of `spec`.
    ///
    /// # Errors
    ///
    /// As [`Launcher::spawn`], and for a program, or where there are no namespaces.
    pub fn park(&mut self, spec: &JailSpec) -> Result<Parked, JailError> {
        spec.validate()?;
        let is_function = matches!(spec.payload, Payload::Function(_));
        if !is_function || self.isolation == Isolation::Landlock {
            return Err(JailError::Invalid("only functions in namespaces of their own can wait".into()));
        }
        let (handover, theirs) = pair()?;
        let (jail, _) = self.spawn_in_namespaces(spec, Some(theirs))?;
        Ok(Parked { jail, handover })
    }

    fn spawn_in_namespaces(
        &mut self,
        spec: &JailSpec,
        handover: Option<OwnedFd>,
    ) -> Result<(Jail, Vec<(PathBuf, Right)>), JailError> {
        if !self.slots.contains(&false) {
            // A matter of a millisecond.
            self.reap(WaitOptions::empty());
        }
        let slot = self.free_slot()?;
        let host_id = self.identity.host_id(slot);
        let plan = Plan::make(spec, &mut MapOwners { launcher: self, host_id })?;
        let filter = match self.filters.get(spec.profile.name) {
            Some(filter) => filter.clone(),
            None => {
                let filter = spec.profile.filter.compile(None);
                self.filters.insert(spec.profile.name, filter.clone());
                filter
            }
        };
        let rights = plan.rights.clone();
        let group = self.group_for(spec);
        let jail = self.start(spec, plan, filter, slot, group, handover)?;
        self.take(slot);
        Ok((jail, rights))
    }

    /// A control group for a jail. Where the kernel does not make one, the jail is counted otherwise, and says so.
    fn group_for(&mut self, spec: &JailSpec) -> Option<Group> {
        let groups = self.groups.as_mut().ok()?;
        if spec.profile.name == profile::ZYGOTE.name {
            return groups.zygote(!self.identity.keeps_groups()).ok();
        }
        let group = groups.jail().ok()?;
        group.limit(&spec.limits).ok()?;
        Some(group)
    }

    /// Clones process 1, in its control group if the kernel does that.
    fn clone(&self, spec: &JailSpec, group: &mut Option<Group>) -> Result<Clone, Errno> {
        // A zygote may put what it forks into groups beside its own only if it sees them.
        let own = match spec.profile.name == profile::ZYGOTE.name {
            true => NAMESPACES.difference(Namespaces::NEWCGROUP),
            false => NAMESPACES,
        };
        if let Some(into) = group.as_ref() {
            match sys::clone_into(&self.proof, own, Some(into.as_fd())) {
                Ok(cloned) => return Ok(cloned),
                Err(_) => *group = None,
            }
        }
        sys::clone(&self.proof, NAMESPACES)
    }

    pub(super) fn free_slot(&self) -> Result<usize, JailError> {
        let slot = self.slots.iter().position(|taken| !taken);
        slot.ok_or_else(|| JailError::missing(Layer::Process, "room for another jail"))
    }

    pub(super) fn take(&mut self, slot: usize) {
        self.slots[slot] = true;
    }

    /// Takes back the slot of a jail that is gone.
    pub(super) fn free(&mut self, slot: usize) {
        self.slots[slot] = false;
    }

    fn start(
        &self,
        spec: &JailSpec,
        plan: Plan,
        filter: Filter,
        slot: usize,
        mut group: Option<Group>,
        handover: Option<OwnedFd>,
    ) -> Result<Jail, JailError> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .at(Layer::Process, "make a control socket")?;
        let keep_groups = self.identity.keeps_groups();
        let started = Instant::now();
        let clock = group.as_ref().and_then(|group| group.clock().ok());
        match self.clone(spec, &mut group).at(Layer::UserNamespace, "create namespaces")? {
            Clone::Child => {
                let clock = clock.filter(|_| group.is_some());
                let proof = &self.proof;
                init::main(Init { spec, plan, filter, control: theirs, handover, keep_groups, clock, proof })
            }
            Clone::Parent { pid, pidfd } => {
                // Process 1 has all of them by now; whoever closes the last copy of a mount has the work.
                drop((theirs, handover, plan));
                let origin = Origin::Launcher { pid, slot };
                let is_function = matches!(spec.payload, Payload::Function(_));
                let jail = Jail {
                    origin,
                    pidfd,
                    control: ours,
                    started,
                    limits: spec.limits,
                    files: None,
                    group,
                    ending: None,
                    is_function,
                    ends_when_told: !spec.profile.children,
                };
                let deadline = started + SET_UP_TIMEOUT;
                match self.accompany(&jail, (pid, slot), deadline) {
                    Ok(()) => Ok(jail),
                    Err(error) => {
                        jail.abandon();
                        Err(error)
                    }
                }
            }
        }
    }

    /// The launcher's part in the set-up of a jail.
    fn accompany(&self, jail: &Jail, (pid, slot): (Pid, usize), deadline: Instant) -> Result<(), JailError> {
        expect(jail, deadline, |message| matches!(message, Message::Ready))?;
        self.identity.map(pid, slot)?;
        control::send(&jail.control, &Message::Go).at(Layer::Process, "talk to process 1")?;
        expect(jail, deadline, |message| matches!(message, Message::Started))
    }

    /// A user namespace in which the owner of a directory on disk appears as the payload's host id.
    fn owner_map(&mut self, uid: u32, gid: u32, host_id: u32) -> Result<&OwnedFd, JailError> {
        let key = (uid, gid, host_id);
        if !self.owner_maps.contains_key(&key) {
            let map = owner_namespace(&self.proof, uid, gid, host_id)?;
            self.owner_maps.insert(key, map);
        }
        Ok(&self.owner_maps[&key])
    }
}

/// Looks up what is kept from then on. Before Linux 6.4 it stands in /proc only, where neither a process that has given
/// up its rights nor process 1 of a jail can read it.
fn remember() {
    rustix::param::clock_ticks_per_second();
}

/// [`Owners`] for one jail.
struct MapOwners<'a> {
    launcher: &'a mut Launcher,
    host_id: Option<u32>,
}

impl Owners for MapOwners<'_> {
    fn map(&mut self, mount: &OwnedFd, stat: &Stat, root: &GrantedRoot) -> Result<(), JailError> {
        // Without a host id of its own the payload runs as the user who owns what that user owns.
        let Some(host_id) = self.host_id else { return Ok(()) };
        let map = self.launcher.owner_map(stat.st_uid, stat.st_gid, host_id)?;
        let attributes = MountAttributes { set: MountAttrFlags::empty(), idmap: Some(map.as_fd()) };
        match sys::set_mount_attributes(mount.as_fd(), true, attributes) {
            Err(errno) if root.writable => Err(errno).at(
                Layer::GrantedRoot,
                format!(
                    "map the owner of {} (the file system there, or one mounted below, does not support idmapped \
                     mounts: grant it read-only, or run llmc as the user who owns it)",
                    root.target.display()
                ),
            ),
            // Read-only without the map: the payload reads what everybody may read.
            _ => Ok(()),
        }
    }
}

/// Waits for one particular message of process 1.
pub(super) fn expect(
    jail: &Jail,
    deadline: Instant,
    wanted: impl Fn(&Message) -> bool,
) -> Result<(), JailError> {
    match await_message(&jail.control, deadline)? {
        Some(message) if wanted(&message) => Ok(()),
        Some(Message::Failed(error)) => Err(error),
        Some(other) => Err(JailError::not_in_force(Layer::Process, format!("process 1 said {other:?}"))),
        None => Err(JailError::not_in_force(Layer::Process, "process 1 ended during the set-up")),
    }
}

fn await_message(control: &OwnedFd, deadline: Instant) -> Result<Option<Message>, JailError> {
    loop {
        match control::receive(control) {
            Err(Errno::AGAIN) => {}
            // Reset: it ended with a message of ours unread.
            Err(Errno::CONNRESET) => return Ok(None),
            result => return result.at(Layer::Process, "listen to process 1"),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(JailError::not_in_force(Layer::Process, "the set-up took too long"));
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(control, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(Layer::Process, "wait for process 1"),
        }
    }
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launcher")
            .field("identity", &self.identity)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
