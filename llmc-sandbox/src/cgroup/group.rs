//! One group: its limits, what the kernel counts in it, and its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::{CONTROLLERS, Left, Remains};
use crate::error::{At, JailError, Layer};
use crate::jail::JailLimits;

/// Memory in bytes beyond the limits of the run: the root file system of its jail, and what the kernel needs for it.
const OWN_BYTES: u64 = 24 << 20;

/// A group for one jail. Dropping it has it removed.
#[derive(Debug)]
pub(crate) struct Group {
    dir: OwnedFd,
    parent: Arc<OwnedFd>,
    name: String,
    left: Left,
    /// Whether a zygote of another user forks into it.
    to_forks: bool,
    /// The group around it, if that is to be removed with it.
    _around: Option<Box<Group>>,
}

impl Group {
    pub(super) fn make(parent: &Arc<OwnedFd>, name: String, left: &Left) -> Result<Self, JailError> {
        rustix::fs::mkdirat(&**parent, &name, Mode::from_raw_mode(0o755))
            .at(Layer::Limits, format!("make cgroup {name}"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&**parent, &name, flags, Mode::empty());
        let dir =
            dir.inspect_err(|_| left.list().push(Remains { parent: Arc::clone(parent), name: name.clone() }));
        let dir = dir.at(Layer::Limits, format!("open cgroup {name}"))?;
        let (parent, left) = (Arc::clone(parent), left.clone());
        Ok(Self { dir, parent, name, left, to_forks: false, _around: None })
    }

    /// A group in this one, which goes with it.
    pub(super) fn within(self, name: &str) -> Result<Self, JailError> {
        let parent = Arc::new(self.dir.try_clone().at(Layer::Limits, "copy a descriptor")?);
        let mut group = Self::make(&parent, name.to_owned(), &self.left)?;
        group.to_forks = self.to_forks;
        group._around = Some(Box::new(self));
        Ok(group)
    }

    /// A group beside this one, a zygote's, for what it forks.
    ///
    /// # Errors
    ///
    /// When the kernel does not make it.
    pub(crate) fn beside(&self, number: u64) -> Result<Self, JailError> {
        let mut group = Self::make(&self.parent, number.to_string(), &self.left)?;
        if self.to_forks {
            group.open_to_forks()?;
        }
        Ok(group)
    }

    /// Has the groups in this one be limited.
    pub(super) fn enable(&self) -> Result<(), JailError> {
        self.write("cgroup.subtree_control", &CONTROLLERS.map(|name| format!("+{name}")).join(" "))
    }

    /// Lets a zygote of another user fork into this group. What it forks has neither a path nor a descriptor to it, and
    /// the limits stay this process's to write.
    pub(super) fn open_to_forks(&mut self) -> Result<(), JailError> {
        self.to_forks = true;
        rustix::fs::chmodat(
            &self.dir,
            "cgroup.procs",
            Mode::from_raw_mode(0o666),
            rustix::fs::AtFlags::empty(),
        )
        .at(Layer::Limits, format!("open cgroup {}", self.name))
    }

    /// Sets the limits of a run, and reads them back. Scratch space and files in memory count here, so there is room
    /// for them; the count of process 1 is closer.
    ///
    /// # Errors
    ///
    /// When the kernel does not take one.
    pub(crate) fn limit(&self, limits: &JailLimits) -> Result<(), JailError> {
        let memory = limits.memory_bytes.saturating_add(limits.scratch_bytes).saturating_add(OWN_BYTES);
        // The kernel rounds down to whole pages.
        let memory = memory - memory % page_bytes();
        let memory = if limits.memory_bytes == u64::MAX { "max".to_owned() } else { memory.to_string() };
        // Process 1 of the jail is one more.
        let processes = match limits.processes {
            u32::MAX => "max".to_owned(),
            processes => (u64::from(processes) + 1).to_string(),
        };
        match self.write("memory.swap.max", "0") {
            // Kernels without swap have no such file.
            Err(JailError::Refused { errno: Errno::NOENT, .. }) => {}
            written => written?,
        }
        self.write("memory.oom.group", "1")?;
        for (file, text) in [("memory.max", memory), ("pids.max", processes)] {
            self.write(file, &text)?;
            let found = self.read(file)?;
            if found.trim() != text {
                let what = format!("{file} is {} and not {text}", found.trim());
                return Err(JailError::not_in_force(Layer::Limits, what));
            }
        }
        Ok(())
    }

    /// For [`crate::sys::clone`].
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The processor time of the group, for who has no other access to it.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn clock(&self) -> Result<Clock, JailError> {
        let file = rustix::fs::openat(&self.dir, "cpu.stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        file.map(Clock).at(Layer::Limits, format!("open cpu.stat of cgroup {}", self.name))
    }

    /// Ends everything in it. Kernels before 5.14 cannot; then the end of process 1 has to do.
    pub(crate) fn kill(&self) {
        kill(&*self.parent, &self.name);
    }

    /// Whether the kernel ended something in it because its memory was used up.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.read("memory.events")
            .is_ok_and(|events| count_in(&events, "oom_kill").is_some_and(|count| count > 0))
    }

    /// Most memory in bytes that was in use, files included; since Linux 5.19.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.read("memory.peak").ok()?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Result<String, JailError> {
        let fd = rustix::fs::openat(&self.dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        fd.and_then(read_small).at(Layer::Limits, format!("read {file} of cgroup {}", self.name))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), JailError> {
        let fd = rustix::fs::openat(&self.dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        fd.and_then(|fd| rustix::io::write(fd, text.as_bytes()))
            .map(drop)
            .at(Layer::Limits, format!("write {file} of cgroup {}", self.name))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let remains = Remains { parent: Arc::clone(&self.parent), name: std::mem::take(&mut self.name) };
        self.left.list().push(remains);
    }
}

/// The processor time of a group, in the hands of a process that is in it.
#[derive(Debug)]
pub(crate) struct Clock(pub(crate) OwnedFd);

impl Clock {
    /// What all processes of the group have used so far, without the caller.
    pub(crate) fn used_by_others(&self) -> Option<Duration> {
        let used = count_in(&read_small(self.0.as_fd()).ok()?, "usage_usec")?;
        let own = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::new(own.tv_sec.try_into().ok()?, own.tv_nsec.try_into().ok()?);
        Some(Duration::from_micros(used).saturating_sub(own))
    }
}

/// Ends everything in a group.
pub(super) fn kill(parent: impl AsFd, name: &str) {
    let path = format!("{name}/cgroup.kill");
    let fd = rustix::fs::openat(parent, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = fd.and_then(|fd| rustix::io::write(fd, b"1"));
}

/// A file of the kernel's, which is a few lines.
fn read_small(fd: impl AsFd) -> Result<String, Errno> {
    let mut bytes = [0; 4096];
    let count = rustix::io::pread(fd, &mut bytes[..], 0)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// The number of one line of `name number` lines.
fn count_in(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096).max(1)
}

#[cfg(test)]
mod tests {
    use super::count_in;

    #[test]
    fn counts_are_found_by_their_whole_name() {
        let events = "low 0\noom 4\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(count_in(events, "oom_kill"), Some(3));
        assert_eq!(count_in(events, "oom"), Some(4));
        assert_eq!(count_in(events, "kill"), None);
        assert_eq!(count_in("usage_usec x\n", "usage_usec"), None);
    }
}
