//! What this machine offers, found by trying it.
//!
//! Kernels refuse namespaces in many ways (a setting, a security module, a container's filter, half-way through), so
//! nothing is concluded from settings: each layer is put up once, in a process that ends right after.

use std::io::Read;
use std::os::fd::AsFd;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{PidfdFlags, WaitOptions};
use serde::Serialize;

use crate::error::{At, JailError, Layer as Step};
use crate::mounts::{self, HARMLESS, ShownProc};
use crate::sys::{self, Clone, MountAttributes, Namespaces, SingleThreaded};
use crate::{cgroup, linux_caps, process, seccomp};

/// One layer of protection.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// What it protects from.
    pub gives: &'static str,
    /// Whether it is to be had here.
    pub status: Status,
    /// What does not work without it.
    pub required_by: &'static [&'static str],
    /// How to get it.
    pub how: &'static str,
}

/// Whether a layer is to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Active {
        /// In which form.
        detail: String,
    },
    /// It does not.
    Missing {
        /// What was tried and what happened.
        why: String,
    },
}

const HOSTS: &str = "plugin hosts";
const JAILS: &str = "commands and code";

/// Tries every layer. Starts short-lived processes: only for a program with one thread, never inside the server.
///
/// # Errors
///
/// [`JailError`] when this process has more than one thread.
pub fn survey() -> Result<Vec<Layer>, JailError> {
    let proof = SingleThreaded::check().at(Step::Process, "check that there is one thread")?;
    Ok(LAYERS
        .iter()
        .map(|layer| Layer {
            name: layer.name,
            gives: layer.gives,
            status: match trial(&proof, layer) {
                Ok(detail) => Status::Active { detail },
                Err(why) => Status::Missing { why },
            },
            required_by: layer.required_by,
            how: layer.how,
        })
        .collect())
}

/// A layer and how to try it.
struct Trial {
    name: &'static str,
    gives: &'static str,
    required_by: &'static [&'static str],
    how: &'static str,
    namespaces: Namespaces,
    attempt: fn() -> Result<String, JailError>,
}

const NONE: Namespaces = Namespaces::empty();

const LAYERS: &[Trial] = &[
    Trial {
        name: "landlock",
        gives: "files, TCP, signals and abstract sockets outside the grants are refused",
        required_by: &[HOSTS, JAILS],
        how: "Linux 5.13 or newer with `landlock` in the `lsm=` boot parameter; 6.12 or newer where namespaces are not \
              available",
        namespaces: NONE,
        attempt: landlock,
    },
    Trial {
        name: "seccomp",
        gives: "every system call that is not on a list is refused: no network, no tracing, no kernel interfaces",
        required_by: &[HOSTS, JAILS],
        how: "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or arm64",
        namespaces: NONE,
        attempt: seccomp_filter,
    },
    Trial {
        name: "no_new_privs",
        gives: "no program can gain rights when it starts",
        required_by: &[HOSTS, JAILS],
        how: "Linux 3.5 or newer",
        namespaces: NONE,
        attempt: || process::forbid_new_privileges().map(|()| "set and read back".to_owned()),
    },
    Trial {
        name: "capabilities",
        gives: "not even root's rights are left",
        required_by: &[HOSTS, JAILS],
        how: "run llmc as any user but one whose capabilities are locked",
        namespaces: NONE,
        attempt: || linux_caps::drop_all().map(|bounding| bounding.detail().to_owned()),
    },
    Trial {
        name: "user namespace",
        gives: "the other namespaces without being root, and payloads as another user",
        required_by: &[JAILS],
        how: "`sysctl user.max_user_namespaces` above 0; no `kernel.unprivileged_userns_clone=0`; on Ubuntu an AppArmor \
              profile for llmc that allows `userns`, or `kernel.apparmor_restrict_unprivileged_userns=0`; in a container \
              a seccomp profile that permits `clone` and `unshare`",
        namespaces: Namespaces::NEWUSER,
        attempt: || Ok("identity map written".to_owned()),
    },
    Trial {
        name: "mount namespace",
        gives: "an own root: files outside the grants do not exist, not even for stat",
        required_by: &[JAILS],
        how: "as user namespace; in a container also permission to `mount` and `pivot_root`",
        namespaces: Namespaces::NEWUSER.union(Namespaces::NEWNS),
        attempt: own_root,
    },
    Trial {
        name: "pid namespace",
        gives: "other processes are invisible, and a tree dies as a whole",
        required_by: &[JAILS],
        how: "as user namespace; a container must not mask /proc (Docker: `--security-opt systempaths=unconfined`)",
        namespaces: Namespaces::NEWUSER.union(Namespaces::NEWNS).union(Namespaces::NEWPID),
        attempt: own_proc,
    },
    Trial {
        name: "network namespace",
        gives: "no network interface at all",
        required_by: &[JAILS],
        how: "as user namespace",
        namespaces: Namespaces::NEWUSER.union(Namespaces::NEWNET),
        attempt: || Ok("own and empty".to_owned()),
    },
    Trial {
        name: "ipc, uts and cgroup namespaces",
        gives: "shared memory, host name and resource groups of the machine are out of reach",
        required_by: &[JAILS],
        how: "as user namespace",
        namespaces: Namespaces::NEWUSER
            .union(Namespaces::NEWIPC)
            .union(Namespaces::NEWUTS)
            .union(Namespaces::NEWCGROUP),
        attempt: || Ok("own".to_owned()),
    },
    Trial {
        name: "idmapped mounts",
        gives: "a command that runs as a reserved user writes a granted directory as the directory's owner",
        required_by: &["commands with a writable root, where llmc runs as root"],
        how: "Linux 5.12 or newer and a file system that supports them (ext4, xfs, btrfs, tmpfs since 6.3)",
        namespaces: NONE,
        attempt: idmapped_mounts,
    },
    Trial {
        name: "openat2",
        gives: "paths that cannot lead out of a root, resolved by the kernel",
        required_by: &["file tools"],
        how: "Linux 5.6 or newer; a container must not filter it",
        namespaces: NONE,
        attempt: openat2,
    },
    Trial {
        name: "sealed memfd",
        gives: "the library that was checked is the library that is loaded",
        required_by: &[HOSTS],
        how: "Linux 3.17 or newer",
        namespaces: NONE,
        attempt: sealed_memfd,
    },
    Trial {
        name: "pidfd",
        gives: "the right process is ended, never one that got its number",
        required_by: &[JAILS],
        how: "Linux 5.4 or newer",
        namespaces: NONE,
        attempt: pidfd,
    },
    Trial {
        name: "undumpable processes",
        gives: "processes of the same user cannot read memory, environment or descriptors",
        required_by: &[HOSTS, JAILS],
        how: "always there",
        namespaces: NONE,
        attempt: || process::make_undumpable().map(|()| "set and read back".to_owned()),
    },
    Trial {
        name: "cgroups",
        gives: "exact limits on memory and processor time of a whole tree",
        required_by: &[],
        how: "start llmc in a cgroup of version 2 that is delegated to it, with `memory` and `pids` \
              (`systemd-run --user --scope -p Delegate=yes llmc serve`); without, resource limits and the \
              accounting of the tree stand in",
        namespaces: NONE,
        attempt: cgroup::look,
    },
];

/// Tries a layer in a process of its own.
fn trial(proof: &SingleThreaded, layer: &Trial) -> Result<String, String> {
    let (mut reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    // Inside a new user namespace they would read as "nobody".
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match sys::clone(proof, layer.namespaces) {
        Err(errno) => Err(format!("create namespaces: {errno}")),
        Ok(Clone::Child) => {
            let outcome = std::panic::catch_unwind(|| {
                map_identity(layer.namespaces, ids).and_then(|()| (layer.attempt)())
            });
            let text = match outcome {
                Ok(Ok(detail)) => format!("+{detail}"),
                Ok(Err(error)) => format!("-{}", brief(&error)),
                Err(_) => "-the trial failed".to_owned(),
            };
            let _ = rustix::io::write(&writer, text.as_bytes());
            sys::exit(0)
        }
        Ok(Clone::Parent { pid, .. }) => {
            drop(writer);
            let mut text = String::new();
            let read = reader.read_to_string(&mut text);
            let _ = sys::wait(Some(pid), WaitOptions::empty());
            match (read, text.split_at_checked(1)) {
                (Ok(_), Some(("+", detail))) => Ok(detail.to_owned()),
                (Ok(_), Some((_, why))) => Err(why.to_owned()),
                (Ok(_), None) => Err("the kernel ended the trial".to_owned()),
                (Err(error), _) => Err(error.to_string()),
            }
        }
    }
}

/// An error without layer and remedy, which the survey tells itself.
pub(crate) fn brief(error: &JailError) -> String {
    match error {
        JailError::Refused { action, errno, .. } => format!("{action}: {errno}"),
        JailError::NotInForce { found: what, .. }
        | JailError::Missing { lacking: what, .. }
        | JailError::Invalid(what) => what.to_string(),
    }
}

fn map_identity(namespaces: Namespaces, (uid, gid): (u32, u32)) -> Result<(), JailError> {
    if !namespaces.contains(Namespaces::NEWUSER) {
        return Ok(());
    }
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("gid_map", format!("{gid} {gid} 1")),
        ("uid_map", format!("{uid} {uid} 1")),
    ];
    for (file, text) in maps {
        std::fs::write(format!("/proc/self/{file}"), text)
            .at(Step::UserNamespace, format!("write {file}"))?;
    }
    Ok(())
}

fn landlock() -> Result<String, JailError> {
    let detail = crate::landlock::restrict(&[], crate::landlock::Required::SecondWall)?;
    match rustix::fs::openat(CWD, "/", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::ACCESS) => Ok(detail),
        other => Err(JailError::not_in_force(Step::Landlock, format!("opening `/` gave {other:?}"))),
    }
}

fn seccomp_filter() -> Result<String, JailError> {
    process::forbid_new_privileges()?;
    let filter = seccomp::WORKSPACE.compile(None);
    filter.install()?;
    Ok(filter.summary())
}

fn own_root() -> Result<String, JailError> {
    mounts::make_private().at(Step::MountNamespace, "make mounts private")?;
    let tree = mounts::new_tmpfs(64 << 10, 16, "0755", HARMLESS).at(Step::Root, "make a root file system")?;
    mounts::hang_in(&tree)?;
    mounts::enter_root(&tree)?;
    mounts::seal_root(&tree)?;
    Ok("own root entered, old tree detached".to_owned())
}

fn own_proc() -> Result<String, JailError> {
    mounts::make_private().at(Step::MountNamespace, "make mounts private")?;
    mounts::new_proc(ShownProc::Processes).at(Step::Proc, "make /proc")?;
    match process::own_pid().as_raw_nonzero().get() {
        1 => Ok("own, with a /proc of its own".to_owned()),
        pid => Err(JailError::not_in_force(Step::Process, format!("process 1 has number {pid}"))),
    }
}

fn idmapped_mounts() -> Result<String, JailError> {
    if !rustix::process::geteuid().is_root() {
        return Ok("not needed: commands run as llmc's own user".to_owned());
    }
    let proof = SingleThreaded::check().at(Step::Process, "check that there is one thread")?;
    let map = crate::jail::owner_namespace(&proof, 0, 0, 1)?;
    let mount = mounts::clone_path("/".as_ref()).at(Step::GrantedRoot, "clone `/`")?;
    let attributes = MountAttributes { set: MountAttrFlags::empty(), idmap: Some(map.as_fd()) };
    sys::set_mount_attributes(mount.as_fd(), false, attributes)
        .at(Step::GrantedRoot, "map the owners of `/`")?;
    Ok("the file system of `/` has them; each granted root is tried when it is used".to_owned())
}

fn openat2() -> Result<String, JailError> {
    let open = |path: &str| {
        let root = rustix::fs::openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH)
    };
    open("self").at(Step::Root, "open beneath a directory")?;
    match open("..") {
        Err(Errno::XDEV) => Ok("RESOLVE_BENEATH holds".to_owned()),
        other => Err(JailError::not_in_force(
            Step::Root,
            format!("opening `..` beneath a directory gave {other:?}"),
        )),
    }
}

fn sealed_memfd() -> Result<String, JailError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("llmc", flags).at(Step::Root, "make a memfd")?;
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )
    .at(Step::Root, "seal a memfd")?;
    match rustix::io::write(&fd, b"x") {
        Err(Errno::PERM) => Ok("seals hold".to_owned()),
        other => {
            Err(JailError::not_in_force(Step::Root, format!("writing to a sealed memfd gave {other:?}")))
        }
    }
}

fn pidfd() -> Result<String, JailError> {
    rustix::process::pidfd_open(process::own_pid(), PidfdFlags::empty()).at(Step::Process, "open a pidfd")?;
    Ok("works".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_says_what_it_is_for_and_how_to_get_it() {
        for layer in LAYERS {
            assert!(!layer.gives.is_empty() && !layer.how.is_empty(), "{}", layer.name);
        }
        let mut names: Vec<_> = LAYERS.iter().map(|layer| layer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LAYERS.len());
    }
}
