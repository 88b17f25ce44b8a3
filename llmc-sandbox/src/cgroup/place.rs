//! Where groups may be made: in the delegated group that this process is in.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::OURS;
use crate::error::{At, JailError, Layer};

/// What marks a delegated group: systemd sets both for a unit with `Delegate=yes`, the second one for the root user.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// A group in which others may be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its directory.
    pub(super) delegated: PathBuf,
    /// Whether this process is in it, and not in one below (as for `DelegateSubgroup=`, or after a first start).
    pub(super) is_own: bool,
}

/// Finds the delegated group.
///
/// # Errors
///
/// When there is none.
pub(super) fn find() -> Result<Place, JailError> {
    let read = |path| std::fs::read_to_string(path).at(Layer::Limits, format!("read {path}"));
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let missing = |what: &'static str| JailError::missing(Layer::Limits, what);
    let own = own_group(&groups).ok_or_else(|| missing("cgroups of version 2"))?;
    let own = directory(&mounts, own).ok_or_else(|| missing("a mount of cgroups of version 2"))?;
    choose(own, is_delegated, is_shared)
        .ok_or_else(|| missing("a delegated cgroup: llmc was not started in one"))
}

fn choose(
    own: PathBuf,
    is_delegated: impl Fn(&Path) -> bool,
    is_shared: impl Fn(&Path) -> bool,
) -> Option<Place> {
    if is_delegated(&own) {
        return Some(Place { delegated: own, is_own: true });
    }
    // A group may be delegated to another manager, such as that of a user's session: then there are other groups in it.
    let above = own.parent()?.to_owned();
    (is_delegated(&above) && !is_shared(&own)).then_some(Place { delegated: above, is_own: false })
}

/// Path of this process's group in the hierarchy of version 2.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// Directory of a group, whose path is given without the leading slash.
fn directory(mounts: &str, group: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = place.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        let inside = Path::new("/").join(group);
        Some(Path::new(mount).join(inside.strip_prefix(root).ok()?))
    })
}

fn is_delegated(group: &Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0; 8];
        let read: Result<usize, Errno> = rustix::fs::getxattr(group, *mark, &mut value[..]);
        read.is_ok_and(|count| value[..count] == *b"1")
    })
}

/// Whether there are groups beside this one that are not llmc's.
fn is_shared(own: &Path) -> bool {
    let Some(entries) = own.parent().and_then(|above| std::fs::read_dir(above).ok()) else { return true };
    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        let name = entry.file_name();
        Some(&*name) != own.file_name() && !name.to_string_lossy().starts_with(OURS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "23 1 0:21 / / rw - ext4 /dev/vda rw\n\
                          35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        assert_eq!(own_group("4:memory:/x\n0::/a.slice/b.scope\n"), Some("a.slice/b.scope"));
        assert_eq!(own_group("4:memory:/x\n"), None);
        let found = |mounts, group| directory(mounts, group).map(|path| path.display().to_string());
        assert_eq!(found(MOUNTS, "a/b").unwrap(), "/sys/fs/cgroup/unified/a/b");
        assert_eq!(found("1 2 0:3 /a /cg rw - cgroup2 none rw", "a/b").unwrap(), "/cg/b");
        assert_eq!(found("1 2 0:3 /c /cg rw - cgroup2 none rw", "a/b"), None);
        assert_eq!(found("35 31 0:32 / /cg rw - cgroup cgroup rw", "a/b"), None);
    }

    #[test]
    fn only_what_is_delegated_to_llmc_is_used() {
        let chosen = |marked: &'static str, shared: bool| {
            choose("/cg/unit/main".into(), move |path| path == Path::new(marked), move |_| shared)
        };
        let own = Place { delegated: "/cg/unit/main".into(), is_own: true };
        assert_eq!(chosen("/cg/unit/main", true), Some(own));
        let above = Place { delegated: "/cg/unit".into(), is_own: false };
        assert_eq!(chosen("/cg/unit", false), Some(above));
        assert_eq!(chosen("/cg/unit", true), None);
        assert_eq!(chosen("/cg", false), None);
    }
}
