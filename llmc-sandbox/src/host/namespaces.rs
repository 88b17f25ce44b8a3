//! User, mount and IPC namespaces of a host, with a root that holds nothing but the granted directories.
//!
//! ```text
//! /          tmpfs, read-only
//! /fd        /proc/self/fd of the host, for dlopen
//! /roots/0   the first granted directory, and so on
//! ```
//!
//! The user namespace maps the host's own user and group to themselves: files are read and written exactly as by the
//! server's user, only without any capability.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::HostRoot;
use crate::error::{At, JailError, Layer};
use crate::mounts::{self, HARMLESS};
use crate::report::{Isolation, Report};
use crate::sys::{self, Namespaces};

/// What came of it.
pub(super) enum Outcome {
    /// The process is in its namespaces; its roots are these mounts.
    Inside(Vec<OwnedFd>),
    /// The kernel does not permit namespaces; nothing that matters has changed.
    Refused {
        /// What it said.
        why: String,
        /// The roots as they were.
        roots: Vec<OwnedFd>,
    },
}

/// Moves the process into namespaces of its own, if the kernel permits.
pub(super) fn enter(roots: Vec<HostRoot>, report: &mut Report) -> Result<Outcome, JailError> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    // A privileged process may clone mounts by handle; another one has to wait for its namespaces.
    let early: Vec<Option<OwnedFd>> = roots.iter().map(|root| mounts::clone_handle(&root.dir).ok()).collect();

    if let Err((step, errno)) = create(uid, gid) {
        let roots = roots.iter().map(|root| mounts::open_directory(&root.dir));
        let roots = roots.collect::<Result<_, _>>().at(Layer::GrantedRoot, "open a granted directory")?;
        return Ok(Outcome::Refused { why: format!("{step}: {errno}"), roots });
    }
    report.enforced(Layer::UserNamespace, format!("own, user {uid} and group {gid} map to themselves"));

    let clones = roots
        .iter()
        .zip(early)
        .map(|(root, early)| early.map_or_else(|| mounts::clone_directory(&root.dir), Ok))
        .collect::<Result<Vec<_>, _>>()?;
    let mut inside = Vec::with_capacity(clones.len());
    let descriptors = mounts::clone_path("/proc/self/fd".as_ref()).at(Layer::Root, "clone /proc/self/fd")?;
    let tree = mounts::new_tmpfs(64 << 10, 64 + clones.len() as u64, "0555", HARMLESS)
        .at(Layer::Root, "make a root file system")?;
    mounts::hang_in(&tree)?;
    make_directory(&tree, "fd")?;
    make_directory(&tree, "roots")?;
    mounts::attach(&descriptors, &tree, "fd".as_ref()).at(Layer::Root, "attach the descriptors")?;
    for (index, (clone, root)) in clones.into_iter().zip(&roots).enumerate() {
        let mut attributes = HARMLESS | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        if !root.writable {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        mounts::restrict(&clone, true, attributes)
            .at(Layer::GrantedRoot, "set the flags of a granted directory")?;
        let target = PathBuf::from(format!("roots/{index}"));
        make_directory(&tree, &target)?;
        mounts::attach(&clone, &tree, &target).at(Layer::GrantedRoot, "attach a granted directory")?;
        inside.push(mounts::open_directory(&clone).at(Layer::GrantedRoot, "open a granted directory")?);
    }
    mounts::enter_root(&tree)?;
    mounts::seal_root(&tree)?;
    // The handles that were passed lead to the server's mounts, and from there anywhere.
    drop(roots);

    report.isolation = Isolation::Namespaces;
    report.enforced(Layer::MountNamespace, "own, old tree detached");
    report.enforced(Layer::Root, format!("empty and read-only, with {} granted directories", inside.len()));
    Ok(Outcome::Inside(inside))
}

/// The part that kernels refuse by policy; nothing that matters has changed when it fails.
fn create(uid: u32, gid: u32) -> Result<(), (&'static str, Errno)> {
    let namespaces = Namespaces::NEWUSER | Namespaces::NEWNS | Namespaces::NEWIPC | Namespaces::NEWNET;
    sys::unshare(namespaces).map_err(|errno| ("create namespaces", errno))?;
    let write = |file: &'static str, text: String| {
        std::fs::write(file, text).map_err(|error| (file, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    mounts::make_private().map_err(|errno| ("make mounts private", errno))
}

fn make_directory(tree: &OwnedFd, path: impl rustix::path::Arg) -> Result<(), JailError> {
    rustix::fs::mkdirat(tree, path, Mode::from_raw_mode(0o555)).at(Layer::Root, "make a directory")
}
