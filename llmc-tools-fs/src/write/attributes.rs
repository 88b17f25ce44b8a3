//! Extended attributes, access control lists among them, that a file has and the one in its place should have, see
//! `xattr(7)` and `acl(5)`.

use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// Most bytes of all names, and of one value, see `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` in `limits.h` of the kernel.
const MAX_BYTES: usize = 64 * 1024;

/// The access control list, in the form of the kernel.
const ACL: &[u8] = b"system.posix_acl_access";

/// What could not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The access control list.
    pub(crate) acl: bool,
    /// Something else.
    pub(crate) others: bool,
}

/// Copies all attributes that may be read and written. The modes of `to` must be final: a list changes them.
pub(crate) fn keep(from: impl AsFd, to: impl AsFd) -> Lost {
    let mut lost = Lost::default();
    let mut names = Vec::with_capacity(MAX_BYTES);
    match flistxattr(&from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        // The file system has none.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return lost,
        // There may be a list that nobody knows of.
        Err(_) => return Lost { acl: true, others: true },
    }
    let mut value = Vec::with_capacity(if names.is_empty() { 0 } else { MAX_BYTES });
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        value.clear();
        let copied = fgetxattr(&from, name, rustix::buffer::spare_capacity(&mut value))
            .and_then(|_| fsetxattr(&to, name, &value, XattrFlags::empty()));
        match copied {
            Ok(()) => {}
            Err(_) if name == ACL => lost.acl = true,
            // Labels of security modules follow the rules of those, and others may have taken it away meanwhile.
            Err(Errno::NODATA) => {}
            Err(_) if name.starts_with(b"security.") => {}
            Err(_) => lost.others = true,
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// An access control list: the owner may read and write, user 1234 read, the group nothing, others nothing; the
    /// mask, which shows as the rights of the group, lets through reading and writing.
    fn list() -> Vec<u8> {
        let entries: [(u16, u16, u32); 5] =
            [(1, 6, u32::MAX), (2, 4, 1234), (4, 0, u32::MAX), (0x10, 6, u32::MAX), (0x20, 0, u32::MAX)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn attributes_and_lists_go_along() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| File::create(folder.path().join(name)).unwrap());
        fsetxattr(&old, "user.origin", b"here", XattrFlags::empty()).unwrap();
        fsetxattr(&old, ACL, &list(), XattrFlags::empty()).unwrap();
        assert_eq!(old.metadata().unwrap().mode() & 0o777, 0o660, "the mask shows as the group");
        assert_eq!(keep(&old, &new), Lost::default());
        let mut value = [0; 64];
        assert_eq!(fgetxattr(&new, "user.origin", &mut value).unwrap(), 4);
        let count = fgetxattr(&new, ACL, &mut value).unwrap();
        assert_eq!(value[..count], list());
    }

    #[test]
    fn a_list_that_cannot_be_kept_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let old = File::create(folder.path().join("old")).unwrap();
        fsetxattr(&old, ACL, &list(), XattrFlags::empty()).unwrap();
        // A pipe takes no lists.
        let (_reader, pipe) = std::io::pipe().unwrap();
        assert_eq!(keep(&old, &pipe), Lost { acl: true, others: false });
        let plain = File::create(folder.path().join("plain")).unwrap();
        assert_eq!(keep(&plain, &pipe), Lost::default());
    }
}
