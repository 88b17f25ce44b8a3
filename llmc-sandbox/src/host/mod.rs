//! The jail of a plugin host, entered by the process itself before it loads the plugin.

mod namespaces;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Signal};

use crate::error::{At, JailError, Layer};
use crate::landlock::{self, Required, Right, Rule};
use crate::report::{Isolation, Report};
use crate::seccomp::{HOST, HOST_WRITING};
use crate::{limits, linux_caps, process, sys};

/// What a host may do.
#[derive(Debug)]
pub struct HostPolicy {
    /// Granted directories.
    pub roots: Vec<HostRoot>,
    /// Limits of the process.
    pub limits: HostLimits,
    /// Process id of the server; when the host's parent is another by then, the server is gone.
    pub server_pid: Option<u32>,
    /// Refuse to go on where the kernel gives no user and mount namespaces.
    pub require_namespaces: bool,
}

/// A granted directory.
#[derive(Debug)]
pub struct HostRoot {
    /// The directory, opened by the server; a handle (`O_PATH`) is enough.
    pub dir: OwnedFd,
    /// Whether it may be written to.
    pub writable: bool,
}

/// Limits of a host.
#[derive(Clone, Copy, Debug)]
pub struct HostLimits {
    /// Address space in bytes (`RLIMIT_AS`).
    pub memory_bytes: u64,
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Largest file in bytes that may be written (`RLIMIT_FSIZE`); a longer write fails with `EFBIG`.
    pub file_bytes: u64,
}

/// What a jailed host has.
#[derive(Debug)]
pub struct Entered {
    /// Where `dlopen` finds the library.
    pub plugin_path: CString,
    /// Directory in which each open descriptor has its number as a path.
    pub descriptors: &'static str,
    /// The granted directories, in the order of the policy. In namespaces each is a mount of its own, so that not
    /// even `..` leads out of it.
    pub roots: Vec<OwnedFd>,
    /// What the kernel enforces from now on.
    pub report: Report,
}

/// Parts of the C and compiler runtime that a plugin may be linked with; no file can be opened later.
const RUNTIME_LIBRARIES: [&std::ffi::CStr; 2] = [c"libm.so.6", c"libgcc_s.so.1"];

/// Heaps of a host: the workers of a plugin share them, instead of keeping what each of them once needed.
const HEAPS: i32 = 2;

/// Enters the jail, for good. The process must have one thread; threads may start afterwards.
///
/// `plugin` is the plugin's library, a sealed memfd. Its number is part of [`Entered::plugin_path`], so it has to
/// stay open until the library is loaded.
///
/// # Errors
///
/// [`JailError`] with the layer that failed. The process is then partly jailed and should exit.
pub fn enter(policy: HostPolicy, plugin: BorrowedFd<'_>) -> Result<Entered, JailError> {
    sys::SingleThreaded::check().at(Layer::Process, "check that there is one thread")?;
    let mut report = Report::new();
    let writing = policy.roots.iter().any(|root| root.writable);
    let filter = if writing { HOST_WRITING } else { HOST }.compile(Some(process::own_pid()));
    for library in RUNTIME_LIBRARIES {
        sys::keep_library(library);
    }

    sys::limit_heaps(HEAPS);
    set_limits(&policy.limits, &mut report)?;
    let writable: Vec<bool> = policy.roots.iter().map(|root| root.writable).collect();
    let (roots, proc_fd) = match namespaces::enter(policy.roots, &mut report)? {
        namespaces::Outcome::Inside(roots) => (roots, "/fd"),
        namespaces::Outcome::Refused { why, .. } if policy.require_namespaces => {
            return Err(JailError::missing(Layer::UserNamespace, why));
        }
        namespaces::Outcome::Refused { why, roots } => {
            report.gap(format!(
                "no namespaces ({why}): existence and size of files outside the roots are visible"
            ));
            (roots, "/proc/self/fd")
        }
    };
    drop_privileges(policy.server_pid, &mut report)?;
    wall_off(&roots, &writable, &mut report)?;
    filter.install()?;
    report.enforced(Layer::Seccomp, filter.summary());

    let plugin_path = CString::new(format!("{proc_fd}/{}", plugin.as_raw_fd()))
        .map_err(|_| JailError::Invalid("the path of the library contains a zero byte".into()))?;
    Ok(Entered { plugin_path, descriptors: proc_fd, roots, report })
}

fn set_limits(wanted: &HostLimits, report: &mut Report) -> Result<(), JailError> {
    // A write beyond the file size limit shall be an error and not the end of the process.
    sys::ignore_signal(Signal::XFSZ).at(Layer::Limits, "ignore SIGXFSZ")?;
    limits::set(&[
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Fsize, wanted.file_bytes),
        (Resource::Nofile, wanted.open_files),
        (Resource::As, wanted.memory_bytes),
    ])?;
    report.enforced(
        Layer::Limits,
        format!(
            "address space {} bytes, file size {} bytes, {} descriptors, no core dumps",
            wanted.memory_bytes, wanted.file_bytes, wanted.open_files
        ),
    );
    Ok(())
}

fn drop_privileges(server_pid: Option<u32>, report: &mut Report) -> Result<(), JailError> {
    report.enforced(Layer::Capabilities, linux_caps::drop_all()?.detail());
    process::forbid_new_privileges()?;
    report.enforced(Layer::NoNewPrivs, "set");
    process::make_undumpable()?;
    report.enforced(Layer::Dumpable, "memory, environment and descriptors hidden from other processes");
    process::die_with_parent(server_pid)?;
    report.enforced(Layer::ParentDeath, "killed when the server dies");
    Ok(())
}

fn wall_off(roots: &[OwnedFd], writable: &[bool], report: &mut Report) -> Result<(), JailError> {
    let rules: Vec<Rule<'_>> = roots
        .iter()
        .zip(writable)
        .map(|(root, &writable)| Rule {
            beneath: root.as_fd(),
            right: if writable { Right::Write } else { Right::Read },
        })
        .collect();
    let required = match report.isolation {
        Isolation::Namespaces => Required::SecondWall,
        Isolation::Landlock => Required::FirstWall,
    };
    let detail = landlock::restrict(&rules, required)?;
    match rustix::fs::open(c"/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::ACCESS) => {}
        // A grant of `/` itself: then that is what the operator wants.
        Ok(_) if roots_contain_root(roots) => {}
        other => {
            return Err(JailError::not_in_force(Layer::Landlock, format!("opening `/` gave {other:?}")));
        }
    }
    report.enforced(Layer::Landlock, detail);
    Ok(())
}

fn roots_contain_root(roots: &[OwnedFd]) -> bool {
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let Ok(root) = rustix::fs::stat(c"/").map(identity) else { return false };
    roots.iter().any(|dir| rustix::fs::fstat(dir).map(identity) == Ok(root))
}
