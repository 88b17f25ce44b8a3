//! What a run adds to the file systems of its writable roots.
//!
//! A bound directory has no quota of its own. Process 1 therefore compares, at every tick, how full the file systems
//! are that can be written to with how full they were when the run began. Whoever else writes there meanwhile is
//! counted, too: no count by process sees all that a tree writes (a child that nobody waits for takes its numbers
//! along), and this one is about the disk: it must not be fuller by more than the limit when the run ends. Space that
//! is given back meanwhile, by the run or by others, may be taken again.
//!
//! Between two ticks a run can write what the machine takes in that time; asking for blocks without writing
//! (`fallocate(2)`), which takes no time, is refused by the filter of such jails.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfs};

use crate::error::{At, JailError, Layer};

/// What a file or directory counts at least: a great many empty ones fill a disk, too.
const FILE_BYTES: u64 = 4096;

/// The file systems and how full they were.
#[derive(Debug, Default)]
pub(super) struct Growth(Vec<Place>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    before: Use,
    /// How many bytes may be added.
    allowed_bytes: u64,
}

/// What is taken of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    bytes: u64,
    files: u64,
}

impl Growth {
    /// Looks at the file systems of these directories and at those mounted below. At most `limit_bytes` may be added to
    /// each, and never more than half of what is free there now. `proc` is a `/proc` in which this process is number 1.
    pub(super) fn begin<'a>(
        proc: &OwnedFd,
        roots: impl Iterator<Item = &'a Path>,
        limit_bytes: u64,
    ) -> Result<Self, JailError> {
        let roots: Vec<&Path> = roots.collect();
        if roots.is_empty() {
            return Ok(Self::default());
        }
        let mounts = read_mounts(proc).at(Layer::GrantedRoot, "list mounts")?;
        let mut devices = Vec::new();
        let mut places = Vec::new();
        for mount in writable_mounts(&mounts) {
            let is_granted = roots.iter().any(|root| mount.path.starts_with(root));
            if !is_granted || devices.contains(&mount.device) {
                continue;
            }
            let stat = rustix::fs::statvfs(&mount.path)
                .at(Layer::GrantedRoot, format!("look at the file system of {}", mount.path.display()))?;
            let free_bytes = stat.f_bfree.saturating_mul(stat.f_frsize);
            let allowed_bytes = limit_bytes.min(free_bytes / 2);
            places.push(Place { path: mount.path, before: Use::of(&stat), allowed_bytes });
            devices.push(mount.device);
        }
        Ok(Self(places))
    }

    /// Whether more was added than may be.
    pub(super) fn is_too_much(&self) -> bool {
        self.0.iter().any(|place| {
            // A file system that cannot be asked any more cannot be written to either.
            rustix::fs::statvfs(&place.path).is_ok_and(|stat| place.is_too_much(Use::of(&stat)))
        })
    }
}

impl Place {
    fn is_too_much(&self, now: Use) -> bool {
        let files = now.files.saturating_sub(self.before.files);
        let bytes = now.bytes.saturating_sub(self.before.bytes);
        bytes.max(files.saturating_mul(FILE_BYTES)) > self.allowed_bytes
    }
}

impl Use {
    fn of(stat: &StatVfs) -> Self {
        Self {
            bytes: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize),
            files: stat.f_files.saturating_sub(stat.f_ffree),
        }
    }
}

/// A line of `/proc/PID/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    path: PathBuf,
    device: Vec<u8>,
}

fn read_mounts(proc: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(proc, "1/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut chunk[..]))? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// See proc_pid_mountinfo(5): number, parent, device, root, mount point, options.
fn writable_mounts(mounts: &[u8]) -> impl Iterator<Item = Mount> {
    mounts.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let (device, _, path, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_writable = options.split(|&byte| byte == b',').next() == Some(b"rw");
        is_writable.then(|| Mount {
            path: std::ffi::OsString::from_vec(unescaped(path)).into(),
            device: device.to_vec(),
        })
    })
}

/// Blanks, tabs, line breaks and backslashes stand as three octal digits after a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut rest = field;
    let mut text = Vec::with_capacity(field.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let octal =
            (byte == b'\\').then(|| after.split_at_checked(3)).flatten().and_then(|(digits, after)| {
                let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
                Some((value, after))
            });
        match octal {
            Some((value, after)) => {
                text.push(value);
                rest = after;
            }
            None => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_mounts_are_read_with_odd_names() {
        let text = b"22 1 0:21 / / ro,nosuid - tmpfs none rw\n\
                     23 22 8:1 /srv /work rw,nosuid,nodev shared:1 - ext4 /dev/sda1 rw\n\
                     24 23 8:2 / /work/a\\040b\\134c rw - ext4 /dev/sda2 ro\n\
                     25 22 8:3 / /docs ro - ext4 /dev/sda3 rw\n\
                     short line\n";
        let found: Vec<Mount> = writable_mounts(text).collect();
        let mount = |path: &str, device: &str| Mount { path: path.into(), device: device.into() };
        assert_eq!(found, [mount("/work", "8:1"), mount("/work/a b\\c", "8:2")]);
        assert_eq!(unescaped(b"\\04"), b"\\04");
        assert_eq!(unescaped(b"\\999"), b"\\999");
    }

    #[test]
    fn bytes_and_files_count_and_shrinking_does_not() {
        let before = Use { bytes: 1000, files: 10 };
        let place = Place { path: PathBuf::new(), before, allowed_bytes: 3 * FILE_BYTES };
        assert!(!place.is_too_much(Use { bytes: 1000 + 3 * FILE_BYTES, files: 13 }));
        assert!(place.is_too_much(Use { bytes: 1001 + 3 * FILE_BYTES, files: 10 }));
        assert!(place.is_too_much(Use { bytes: 0, files: 14 }));
        assert!(!place.is_too_much(Use { bytes: 0, files: 0 }));
    }
}
