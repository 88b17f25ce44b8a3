//! Control groups (version 2): limits of a whole tree that the kernel keeps.
//!
//! They are used where the group that llmc was started in is delegated, as systemd does for `Delegate=yes`, and has the
//! controllers `memory` and `pids`. Nobody but the server and its children is ever moved.
//!
//! ```text
//! delegated group           without processes of its own
//!  ├─ llmc-server           the server and its hosts
//!  └─ llmc-jails-<pid>      the launcher's, who may make and remove groups in it
//!      ├─ launcher          the launcher
//!      ├─ 1                 a jail
//!      └─ 2                 a zygote's
//!          ├─ zygote        the zygote
//!          └─ 1             a jail forked from it
//! ```
//!
//! A jail begins in its group (`CLONE_INTO_CGROUP`); moving a process there would take the kernel more than 10 ms.

mod group;
mod place;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{At, JailError, Layer};
use crate::process;

pub(crate) use group::{Clock, Group};

/// What begins the name of every group that llmc makes in a delegated one.
const OURS: &str = "llmc-";
/// Group of the server.
const SERVER: &str = "llmc-server";
/// What begins the name of a launcher's group.
const JAILS: &str = "llmc-jails-";
/// Controllers that limits need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// How often a group is looked at until all that belong to the server have left it: it may be starting children.
const ROUNDS: usize = 20;

/// The groups of a launcher.
#[derive(Debug)]
pub(crate) struct Groups {
    base: Arc<OwnedFd>,
    left: Left,
    made: u64,
}

/// Groups that nobody uses any more, to be removed once they are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left(Arc<Mutex<Vec<Remains>>>);

/// A group that is to be removed.
#[derive(Debug)]
pub(crate) struct Remains {
    parent: Arc<OwnedFd>,
    name: String,
}

impl Groups {
    /// Makes a group for the jails of this process and enters it. `server` is the process whose children may be moved;
    /// `user` is whom this process becomes, if it does.
    ///
    /// # Errors
    ///
    /// Why there are no groups to be had. That is no reason not to start jails: they are counted otherwise then.
    pub(crate) fn prepare(server: Option<u32>, user: Option<u32>) -> Result<Self, JailError> {
        let place = place::find()?;
        let delegated = &place.delegated;
        check_controllers(delegated)?;
        if place.is_own {
            vacate(delegated, server)?;
        }
        enable(delegated)?;
        sweep(delegated);
        let base = delegated.join(format!("{JAILS}{}", process::own_pid()));
        let launcher = base.join("launcher");
        for group in [&base, &launcher] {
            make(group)?;
        }
        write(&launcher, "cgroup.procs", "0")?;
        enable(&base)?;
        if let Some(user) = user {
            // The directory, to make groups in it; the file, which decides who may put processes into them.
            for path in [base.clone(), base.join("cgroup.procs")] {
                let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
                rustix::fs::chownat(CWD, &path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                    .at(Layer::Limits, format!("give away {}", path.display()))?;
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::openat(CWD, &base, flags, Mode::empty())
            .at(Layer::Limits, format!("open {}", base.display()))?;
        Ok(Self::in_directory(base))
    }

    fn in_directory(base: OwnedFd) -> Self {
        Self { base: Arc::new(base), left: Left::default(), made: 0 }
    }

    /// A group for a jail.
    ///
    /// # Errors
    ///
    /// When the kernel does not make it.
    pub(crate) fn jail(&mut self) -> Result<Group, JailError> {
        self.made += 1;
        Group::make(&self.base, self.made.to_string(), &self.left)
    }

    /// A group for a zygote, in which it can put what it forks into groups beside its own. `other_user`: it runs as
    /// another user than this process.
    ///
    /// # Errors
    ///
    /// When the kernel does not make it.
    pub(crate) fn zygote(&mut self, other_user: bool) -> Result<Group, JailError> {
        let mut family = self.jail()?;
        family.enable()?;
        if other_user {
            family.open_to_forks()?;
        }
        family.within("zygote")
    }

    /// Removes groups that are done with. What is still alive in one has no business to be, and is ended.
    pub(crate) fn tidy(&self) {
        self.left.list().retain(|remains| !remains.are_gone());
    }

    /// Whether there is something to remove.
    pub(crate) fn are_tidy(&self) -> bool {
        self.left.list().is_empty()
    }
}

impl Left {
    fn list(&self) -> MutexGuard<'_, Vec<Remains>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remains {
    /// Removes the group, or ends what is in it.
    fn are_gone(&self) -> bool {
        match rustix::fs::unlinkat(&*self.parent, &self.name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                group::kill(&*self.parent, &self.name);
                false
            }
            // What cannot be removed now can never be: the whole tree of groups was taken away, for example.
            Ok(()) | Err(_) => true,
        }
    }
}

/// Which group could be used, for the reader; nothing is changed.
///
/// # Errors
///
/// Why there is none.
pub(crate) fn look() -> Result<String, JailError> {
    let place = place::find()?;
    check_controllers(&place.delegated)?;
    Ok(format!("version 2, {} is delegated", place.delegated.display()))
}

fn check_controllers(group: &Path) -> Result<(), JailError> {
    let found = read(group, "cgroup.controllers")?;
    match CONTROLLERS.iter().find(|wanted| !found.split_ascii_whitespace().any(|name| name == **wanted)) {
        None => Ok(()),
        Some(missing) => {
            let what = format!("controller `{missing}` in {}", group.display());
            Err(JailError::missing(Layer::Limits, what))
        }
    }
}

/// Moves the server and its children out of a group, so that it can have groups with limits below it.
fn vacate(group: &Path, server: Option<u32>) -> Result<(), JailError> {
    let refuge = group.join(SERVER);
    for _ in 0..ROUNDS {
        let found = read(group, "cgroup.procs")?;
        let pids: Vec<&str> = found.lines().collect();
        if pids.is_empty() {
            return Ok(());
        }
        if let Some(stranger) = pids.iter().find(|pid| !belongs_to(pid, server)) {
            let what = format!("process {stranger} in {}, which is not llmc's to move", group.display());
            return Err(JailError::not_in_force(Layer::Limits, what));
        }
        make(&refuge)?;
        for pid in pids {
            match write(&refuge, "cgroup.procs", pid) {
                Err(JailError::Refused { errno: Errno::SRCH, .. }) => {}
                moved => moved?,
            }
        }
    }
    let what = format!("{} is never without processes", group.display());
    Err(JailError::not_in_force(Layer::Limits, what))
}

/// Whether a process is this one, the server, or one that the server started.
fn belongs_to(pid: &str, server: Option<u32>) -> bool {
    let Ok(number) = pid.parse::<u32>() else { return false };
    let is_own = number == process::own_pid().as_raw_nonzero().get().unsigned_abs();
    // One that has ended meanwhile is nobody's any more.
    let parent = || match std::fs::read_to_string(format!("/proc/{number}/stat")) {
        Ok(stat) => stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse::<u32>().ok(),
        Err(_) => server,
    };
    number != 0 && (is_own || server.is_some_and(|server| number == server || parent() == Some(server)))
}

/// Removes the groups of launchers that are gone: a launcher that lives is in its own.
fn sweep(delegated: &Path) {
    let Ok(entries) = std::fs::read_dir(delegated) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(JAILS);
        let group = entry.path();
        if is_ours && read(&group, "cgroup.events").is_ok_and(|events| events.contains("populated 0")) {
            remove_tree(&group);
        }
    }
}

/// Removes a group with the groups in it. One that comes to life meanwhile stays, since the kernel removes empty ones
/// only.
fn remove_tree(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // A later start tries again.
    let _ = std::fs::remove_dir(group);
}

/// Has the groups below this one be limited.
fn enable(group: &Path) -> Result<(), JailError> {
    write(group, "cgroup.subtree_control", &CONTROLLERS.map(|name| format!("+{name}")).join(" "))
}

fn make(group: &Path) -> Result<(), JailError> {
    match rustix::fs::mkdirat(CWD, group, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).at(Layer::Limits, format!("make {}", group.display())),
    }
}

fn read(group: &Path, file: &str) -> Result<String, JailError> {
    let path = group.join(file);
    std::fs::read_to_string(&path).at(Layer::Limits, format!("read {}", path.display()))
}

/// Writes a file that is there; in one write, which the kernel asks for.
fn write(group: &Path, file: &str, text: &str) -> Result<(), JailError> {
    let path = group.join(file);
    let opened = rustix::fs::openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    opened
        .and_then(|fd| rustix::io::write(fd, text.as_bytes()))
        .map(drop)
        .at(Layer::Limits, format!("write {}", path.display()))
}

#[cfg(test)]
mod tests;
