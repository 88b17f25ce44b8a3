//! Contents that appear under a name in one step.
//!
//! They are written to a [`Temporary`] file in the same directory and forced to the disk. A new file then gets the
//! name by a link, which fails if the name is taken. To replace a file, the temporary one is renamed over it, under
//! the lock of the old one and right after a look that it is still the one that was meant. At last the directory is
//! forced to the disk. Neither step follows a link that is put in place of a name.

use std::os::fd::{AsFd, OwnedFd};

use llmc_core::ToolError;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, fsync, linkat, openat, renameat,
    renameat_with,
};
use rustix::io::Errno;

use super::attributes;
use super::lock::{Blocker, Locked};
use super::temporary::{Temporary, Way, is_temporary, sweep};
use super::{Job, Trouble};
use crate::target::Target;

/// Why one way of writing did not work.
#[derive(Debug)]
enum Obstacle {
    /// This way is not offered here.
    NotOffered,
    Trouble(Trouble),
}

impl<T: Into<Trouble>> From<T> for Obstacle {
    fn from(trouble: T) -> Self {
        Self::Trouble(trouble.into())
    }
}

/// Makes a file that must not be there yet; otherwise the attempt is to be made again. Returns notes.
pub(crate) fn create(job: &Job<'_>, target: &Target<'_>, content: &[u8]) -> Result<Vec<String>, Trouble> {
    publish(job, target, content, None, &[Way::Unnamed, Way::Named])
}

/// Puts other contents in place of a file. Returns notes.
pub(crate) fn replace(
    job: &Job<'_>,
    target: &Target<'_>,
    old: &Locked,
    content: &[u8],
) -> Result<Vec<String>, Trouble> {
    publish(job, target, content, Some(old), &[Way::Unnamed, Way::Named])
}

fn publish(
    job: &Job<'_>,
    target: &Target<'_>,
    content: &[u8],
    old: Option<&Locked>,
    ways: &[Way],
) -> Result<Vec<String>, Trouble> {
    if is_temporary(target.name.as_encoded_bytes()) {
        let text = "names of this form are those of unfinished files, which are removed; choose another";
        return Err(job.failed(target, ToolError::invalid(text)).into());
    }
    // A directory that must not be read is neither swept nor forced to the disk.
    let dir = open_dir(target).ok();
    if let Some(dir) = &dir {
        sweep(dir, job.ctx)?;
    }
    let mut notes = Vec::new();
    for way in ways {
        match publish_by(*way, job, target, content, old) {
            Ok(more) => {
                notes.extend(more);
                break;
            }
            Err(Obstacle::Trouble(trouble)) => return Err(trouble),
            Err(Obstacle::NotOffered) if way == ways.last().unwrap_or(way) => {
                return Err(job.errno(target, Errno::OPNOTSUPP).into());
            }
            Err(Obstacle::NotOffered) => {}
        }
    }
    if dir.is_some_and(|dir| sync(&dir).is_err()) {
        notes.push("the change is made, but could not be forced to the disk".to_owned());
    }
    Ok(notes)
}

fn publish_by(
    way: Way,
    job: &Job<'_>,
    target: &Target<'_>,
    content: &[u8],
    old: Option<&Locked>,
) -> Result<Vec<String>, Obstacle> {
    let failed = |errno: Errno| match errno {
        // The directory is gone. Whether it is there again, or is to be made, the next attempt sees by its path.
        Errno::NOENT => Trouble::Again(Blocker::Restless).into(),
        errno => Obstacle::from(job.errno(target, errno)),
    };
    let or_named =
        |errno| if way == Way::Unnamed && is_no_offer(errno) { Obstacle::NotOffered } else { failed(errno) };
    // Until it has its final modes, nobody else may read a copy of what they may not read.
    let mode = Mode::from_raw_mode(if old.is_some() { 0o600 } else { 0o666 });
    let mut temporary = Temporary::new(target.parent.as_fd(), &target.name, mode, way).map_err(or_named)?;
    temporary.write(content, job.ctx)?.map_err(failed)?;
    let notes = match old {
        Some(old) => adopt(temporary.file(), old).map_err(failed)?,
        None => Vec::new(),
    };
    sync(temporary.file()).map_err(failed)?;
    match old {
        Some(old) => {
            let name = temporary.name(&target.name).map_err(or_named)?;
            if !old.is_untouched(target) {
                return Err(Trouble::Again(Blocker::Restless).into());
            }
            renameat(&target.parent, name, &target.parent, &target.name).map_err(failed)?;
            temporary.keep();
        }
        None => appear(way, temporary, target).map_err(|errno| match errno {
            Errno::EXIST => Trouble::Again(Blocker::Restless).into(),
            errno => or_named(errno),
        })?,
    }
    Ok(notes)
}

/// Gives a new file its name, unless that is taken.
fn appear(way: Way, mut temporary: Temporary<'_>, target: &Target<'_>) -> Result<(), Errno> {
    if way == Way::Unnamed {
        return temporary.link(&target.name);
    }
    let Target { parent, name: final_name, .. } = target;
    let name = temporary.name(final_name)?;
    match renameat_with(parent, name, parent, final_name, RenameFlags::NOREPLACE) {
        Ok(()) => {
            temporary.keep();
            Ok(())
        }
        // Not every file system can do that. The other name goes with `temporary`.
        Err(Errno::INVAL | Errno::NOSYS) => linkat(parent, name, parent, final_name, AtFlags::empty()),
        Err(errno) => Err(errno),
    }
}

/// Errors of `O_TMPFILE` and of linking such a file that say no more than that it cannot be had here.
fn is_no_offer(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP
            | Errno::ISDIR
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::PERM
            | Errno::NOENT
            | Errno::XDEV
    )
}

/// Gives a file owner and modes of another, as far as that is allowed. Returns what could not be kept.
fn adopt(file: impl AsFd, old: &Locked) -> Result<Vec<String>, Errno> {
    let facts = old.facts();
    let mut notes: Vec<String> = old.note().into_iter().collect();
    let mut mode = u32::from(facts.stx_mode) & 0o1777;
    if u32::from(facts.stx_mode) & 0o6000 != 0 {
        notes.push("set-id bits were dropped".to_owned());
    }
    if facts.stx_nlink > 1 {
        let others = facts.stx_nlink - 1;
        notes.push(format!("the file had {others} other names (hard links), which keep the old contents"));
    }
    let new = fstat(&file)?;
    let (owner, group) = (Uid::from_raw(facts.stx_uid), Gid::from_raw(facts.stx_gid));
    let keeps_owner = new.st_uid == facts.stx_uid || fchown(&file, Some(owner), None).is_ok();
    let keeps_group = new.st_gid == facts.stx_gid || fchown(&file, None, Some(group)).is_ok();
    if !keeps_group {
        // The group is another one now: it may do what everybody may.
        mode = mode & !0o070 | (mode & 0o007) << 3;
    }
    if !(keeps_owner && keeps_group) {
        notes.push("owner and group could not be kept".to_owned());
    }
    fchmod(&file, Mode::from_raw_mode(mode))?;
    let lost = attributes::keep(old.file(), &file);
    if lost.acl {
        // What looks like the rights of the group is the mask of the list, which may be wider, see `acl(5)`.
        fchmod(&file, Mode::from_raw_mode(mode & !0o070 | (mode & 0o007) << 3))?;
        notes.push("the access control list could not be kept".to_owned());
    }
    if lost.others {
        notes.push("not all extended attributes could be kept".to_owned());
    }
    Ok(notes)
}

fn open_dir(target: &Target<'_>) -> Result<OwnedFd, Errno> {
    openat(&target.parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Forces a file or directory to the disk; some file systems cannot and need not.
pub(crate) fn sync(file: impl AsFd) -> Result<(), Errno> {
    loop {
        match fsync(&file) {
            Err(Errno::INTR) => {}
            Ok(()) | Err(Errno::INVAL | Errno::ROFS | Errno::OPNOTSUPP) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
#[path = "atomic_tests.rs"]
mod tests;
