//! The lesser tier: a run where the kernel gives no user namespaces, and only if the operator permits it.
//!
//! ```text
//! launcher
//!  └─ guardian        the payload's user; no capabilities, undumpable; counts and keeps the limits
//!      └─ payload     Landlock as the first wall, seccomp, `execve`; never has a child
//! ```
//!
//! What holds: nothing outside the interpreter's own files is read, nothing at all is written, no socket, no other
//! process is signalled or looked into, and none is started, so that ending one process ends the run. What does not:
//! whether a path exists, what it is, its size and where a link leads can be found out, and so can the numbers of
//! processes. There is no scratch space, because it could not be bounded.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Signal, WaitOptions};

use super::control::{self, Message};
use super::folder::RunFolder;
use super::growth::Growth;
use super::identity::become_user;
use super::init::{OOM_SCORE, failure};
use super::launcher::{Launcher, SET_UP_TIMEOUT, expect};
use super::monitor::{Monitor, Watched};
use super::payload::{self, FIRST_FREE};
use super::running::{Jail, Origin};
use super::spec::{FILES, Function, JailSpec, Payload};
use crate::error::{At, JailError, Layer};
use crate::landlock::{self, Required, Right, Rule};
use crate::seccomp::Policy;
use crate::sys::{self, Clone, Namespaces, SingleThreaded};
use crate::{descriptors, linux_caps, process};

/// What a payload finds in its environment beside what the request adds. It has no directory to write to.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/"), ("LANG", "C.UTF-8")];

/// What the guardian was given, in its copy of the launcher's memory.
struct Guardian<'a> {
    spec: &'a JailSpec,
    policy: &'static Policy,
    /// The user to become, where there is one for this slot.
    host_id: Option<u32>,
    files: Option<&'a Path>,
    control: OwnedFd,
    proof: &'a SingleThreaded,
}

/// Starts a run and waits until its program runs.
pub(super) fn spawn(launcher: &mut Launcher, spec: &JailSpec) -> Result<Jail, JailError> {
    let Some(policy) = spec.profile.without_namespaces else {
        return Err(JailError::missing(
            Layer::UserNamespace,
            format!("profile `{}` is not run without namespaces", spec.profile.name),
        ));
    };
    if !spec.roots.is_empty() || spec.cwd.is_some() {
        return Err(JailError::Invalid("without namespaces there are no granted directories".into()));
    }
    let slot = launcher.free_slot()?;
    let files = match spec.files.is_empty() {
        true => None,
        false => {
            Some(RunFolder::make(&spec.files).at(Layer::Root, "write the files of the request to /tmp")?)
        }
    };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .at(Layer::Process, "make a control socket")?;
    let host_id = launcher.identity.host_id(slot);
    let started = Instant::now();
    match sys::clone(&launcher.proof, Namespaces::empty()).at(Layer::Process, "start a process")? {
        Clone::Child => {
            let (files, proof) = (files.as_ref().map(RunFolder::path), &launcher.proof);
            main(&Guardian { spec, policy, host_id, files, control: theirs, proof })
        }
        Clone::Parent { pid, pidfd } => {
            drop(theirs);
            let limits = spec.limits;
            let origin = Origin::Launcher { pid, slot };
            let is_function = matches!(spec.payload, Payload::Function(_));
            let jail = Jail {
                origin,
                pidfd,
                control: ours,
                started,
                limits,
                files,
                group: None,
                ending: None,
                is_function,
                ends_when_told: false,
            };
            match expect(&jail, started + SET_UP_TIMEOUT, |message| matches!(message, Message::Started)) {
                Ok(()) => {
                    launcher.take(slot);
                    Ok(jail)
                }
                Err(error) => {
                    jail.abandon();
                    Err(error)
                }
            }
        }
    }
}

/// The guardian. Its end is the end of the run: the payload dies with it.
fn main(guardian: &Guardian<'_>) -> ! {
    // A panic must not unwind into the launcher's loop, of which this process is a copy.
    let outcome = catch_unwind(AssertUnwindSafe(|| match guardian.run() {
        Ok(mut monitor) => {
            monitor.run(&guardian.control);
            // By its handle, and waited for: nothing of the run is left when the guardian is gone.
            let _ = rustix::process::pidfd_send_signal(&monitor.payload_fd, Signal::KILL);
            let _ = sys::wait(Some(monitor.payload), WaitOptions::empty());
        }
        Err(error) => {
            // When this fails, the launcher sees the end of the connection.
            let _ = control::send(&guardian.control, &Message::Failed(error));
        }
    }));
    sys::exit(if outcome.is_ok() { 0 } else { 1 })
}

impl Guardian<'_> {
    fn run(&self) -> Result<Monitor, JailError> {
        self.close_inherited()?;
        // Files under /proc belong to root while a process is not dumpable.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .at(Layer::Dumpable, "set the dumpable flag")?;
        std::fs::write("/proc/self/oom_score_adj", OOM_SCORE)
            .at(Layer::Limits, "set the score for shortages")?;
        if let Some(id) = self.host_id {
            become_user(id, false)?;
        }
        process::make_undumpable()?;
        process::die_with_parent(None)?;
        rustix::process::setsid().at(Layer::Process, "start a session")?;
        linux_caps::drop_all()?;
        process::forbid_new_privileges()?;
        self.start_payload()
    }

    fn close_inherited(&self) -> Result<(), JailError> {
        let spec = self.spec;
        let mut keep: Vec<RawFd> = vec![0, 1, 2, self.control.as_raw_fd()];
        keep.extend([&spec.stdout, &spec.stderr].map(AsRawFd::as_raw_fd));
        keep.extend([&spec.stdin, &spec.job].into_iter().flatten().map(AsRawFd::as_raw_fd));
        descriptors::keep_only(&keep)
    }

    fn start_payload(&self) -> Result<Monitor, JailError> {
        let proc = rustix::fs::openat(
            CWD,
            "/proc",
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at(Layer::Proc, "open /proc for the accounting")?;
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Layer::Process, "make a pipe")?;
        // Out of the way of the numbers that the payload gets.
        let writer = rustix::io::fcntl_dupfd_cloexec(writer, FIRST_FREE)
            .at(Layer::Descriptors, "copy a descriptor")?;
        let guardian = process::own_pid().as_raw_nonzero().get().unsigned_abs();
        let started = Instant::now();
        match sys::clone(self.proof, Namespaces::empty()).at(Layer::Process, "start the payload")? {
            Clone::Child => payload::run(self.spec, writer, |failure| self.become_payload(guardian, failure)),
            Clone::Parent { pid, pidfd } => {
                drop(writer);
                if let Some(error) = failure(&reader)? {
                    return Err(error);
                }
                drop(reader);
                let keep = [2, self.control.as_raw_fd(), proc.as_raw_fd(), pidfd.as_raw_fd()];
                descriptors::keep_only(&keep)?;
                control::send(&self.control, &Message::Started).at(Layer::Process, "talk to the launcher")?;
                Ok(Monitor {
                    proc,
                    payload: pid,
                    payload_fd: pidfd,
                    limits: self.spec.limits,
                    growth: Growth::default(),
                    watched: Watched::OneProcess,
                    started,
                    used_before: Duration::ZERO,
                    clock: None,
                    finished: None,
                    ends_when_told: false,
                })
            }
        }
    }

    /// In the payload: the last steps, then its program. A function to call is returned.
    fn become_payload(&self, guardian: u32, failure: &OwnedFd) -> Result<Function, JailError> {
        let spec = self.spec;
        // No filter call can clear this, and no user changes any more.
        process::die_with_parent(Some(guardian))?;
        rustix::process::setsid().at(Layer::Process, "start a session")?;
        let streams = [spec.stdin.as_ref(), Some(&spec.stdout), Some(&spec.stderr), spec.job.as_ref()];
        payload::place_descriptors(streams, spec.profile, &[failure])?;
        rustix::process::chdir("/").at(Layer::Root, "enter /")?;
        sys::default_signals().at(Layer::Process, "reset signals")?;
        restrict(&self.rights()?)?;
        let room = payload::Room { files: false, processes: self.host_id.is_some() };
        payload::set_limits(&spec.limits, spec.profile, room)?;
        let filter = self.policy.compile(Some(process::own_pid()));
        match &spec.payload {
            Payload::Program { file, args } => {
                let mut program = Command::new(file);
                program.args(args.iter().map(|arg| self.with_files(arg))).env_clear().envs(ENVIRONMENT);
                program.envs(spec.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
                filter.install()?;
                Err(program.exec()).at(Layer::Program, format!("execute {}", file.display()))
            }
            Payload::Function(function) => {
                filter.install()?;
                Ok(*function)
            }
        }
    }

    /// An argument that begins with the directory of files names the one where they really are.
    fn with_files(&self, arg: &str) -> OsString {
        match (self.files, arg.strip_prefix(FILES)) {
            (Some(files), Some(rest)) if rest.is_empty() || rest.starts_with('/') => {
                let mut path = files.as_os_str().to_owned();
                path.push(rest);
                path
            }
            _ => arg.into(),
        }
    }

    /// Everything that the payload may open.
    fn rights(&self) -> Result<Vec<(OwnedFd, Right)>, JailError> {
        let (spec, mut rights) = (self.spec, Rights::default());
        for entry in spec.profile.system {
            rights.allow_if_there(Path::new(entry.path))?;
        }
        for path in &spec.system {
            rights.allow(path)?;
        }
        for device in spec.profile.devices {
            rights.add(&Path::new("/dev").join(device.path), |_| Right::File)?;
        }
        if let Some(files) = self.files {
            rights.allow(files)?;
        }
        if let Payload::Program { file, .. } = &spec.payload {
            rights.add(file, |_| Right::ExecuteFile)?;
            let loader =
                crate::elf::interpreter(file).at(Layer::Program, format!("read {}", file.display()))?;
            if let Some(loader) = loader {
                rights.add(&loader, |_| Right::ExecuteFile)?;
            }
        }
        Ok(rights.0)
    }
}

/// Handles of what may be opened, and how.
#[derive(Default)]
struct Rights(Vec<(OwnedFd, Right)>);

impl Rights {
    /// A file or a directory, for reading.
    fn allow(&mut self, path: &Path) -> Result<(), JailError> {
        self.add(path, |kind| if kind == FileType::Directory { Right::Read } else { Right::ReadFile })
    }

    fn allow_if_there(&mut self, path: &Path) -> Result<(), JailError> {
        if path.exists() { self.allow(path) } else { Ok(()) }
    }

    fn add(&mut self, path: &Path, right: impl FnOnce(FileType) -> Right) -> Result<(), JailError> {
        let name = || format!("open {}", path.display());
        let fd = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .at(Layer::Landlock, name())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).at(Layer::Landlock, name())?.st_mode);
        self.0.push((fd, right(kind)));
        Ok(())
    }
}

fn restrict(rights: &[(OwnedFd, Right)]) -> Result<(), JailError> {
    let rules: Vec<Rule<'_>> =
        rights.iter().map(|(fd, right)| Rule { beneath: fd.as_fd(), right: *right }).collect();
    landlock::restrict(&rules, Required::FirstWall)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, "/", flags, Mode::empty()) {
        Err(Errno::ACCESS) => Ok(()),
        other => Err(JailError::not_in_force(Layer::Landlock, format!("opening `/` gave {other:?}"))),
    }
}
