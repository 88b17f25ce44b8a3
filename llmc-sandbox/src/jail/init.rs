//! Process 1 of a jail: puts up the walls, starts the payload, then watches it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Pid};
use rustix::thread::CapabilitySet;

use super::control::{self, Message};
use super::growth::Growth;
use super::guard::Guard;
use super::identity::{PAYLOAD_ID, become_user};
use super::monitor::{Monitor, Watched};
use super::payload;
use super::spec::JailSpec;
use super::tree::Plan;
use super::waiting::{Waiting, give_up};
use crate::cgroup::Clock;
use crate::error::{At, JailError, Layer};
use crate::mounts::{self, ShownProc};
use crate::seccomp::Filter;
use crate::sys::{self, Clone, Namespaces, SingleThreaded};
use crate::{descriptors, linux_caps, process};

/// Host name inside.
pub(crate) const HOST_NAME: &str = "llmc";

/// How willingly the kernel ends this tree in a shortage of memory, from -1000 to 1000; ordinary processes have 0.
pub(super) const OOM_SCORE: &str = "500";

/// What process 1 was given, in its copy of the launcher's memory.
pub(super) struct Init<'a> {
    pub(super) spec: &'a JailSpec,
    pub(super) plan: Plan,
    pub(super) filter: Filter,
    pub(super) control: OwnedFd,
    /// Of a payload that waits for its job: that comes through it.
    pub(super) handover: Option<OwnedFd>,
    pub(super) keep_groups: bool,
    /// Of its control group, if it has one.
    pub(super) clock: Option<Clock>,
    pub(super) proof: &'a SingleThreaded,
}

/// What process 1 is once its payload is there.
enum Role {
    /// The payload runs.
    Monitor(Monitor),
    /// It waits for its job.
    Guard(Guard),
}

/// Process 1. Its end is the end of the jail.
pub(super) fn main(mut init: Init<'_>) -> ! {
    // A panic must not unwind into the launcher's loop, of which this process is a copy.
    let outcome = catch_unwind(AssertUnwindSafe(|| match init.run() {
        Ok(Role::Monitor(mut monitor)) => {
            monitor.run(&init.control);
            Ok(())
        }
        Ok(Role::Guard(guard)) => guard.watch(&init.control),
        Err(error) => Err(error),
    }));
    let outcome = outcome.map(|ended| {
        if let Err(error) = ended {
            // When this fails, the launcher sees the end of the connection.
            let _ = control::send(&init.control, &Message::Failed(error));
        }
    });
    sys::exit(if outcome.is_ok() { 0 } else { 1 })
}

impl Init<'_> {
    fn run(&mut self) -> Result<Role, JailError> {
        self.close_inherited()?;
        self.await_maps()?;
        become_user(PAYLOAD_ID, self.keep_groups)?;
        let proc = put_up_walls(|| self.plan.build())?;
        match self.handover.take() {
            Some(handover) => self.park_payload(proc, handover).map(Role::Guard),
            None => self.start_payload(proc).map(Role::Monitor),
        }
    }

    /// Keeps only what this jail needs. Above all, the control sockets of other jails must not live on here: each
    /// jail dies when the launcher's end of its socket closes.
    fn close_inherited(&self) -> Result<(), JailError> {
        let spec = self.spec;
        let mut keep: Vec<RawFd> = vec![0, 1, 2, self.control.as_raw_fd()];
        keep.extend(self.plan.descriptors().map(AsRawFd::as_raw_fd));
        keep.extend([&spec.stdout, &spec.stderr].map(AsRawFd::as_raw_fd));
        keep.extend(self.handover.iter().map(AsRawFd::as_raw_fd));
        keep.extend([&spec.stdin, &spec.job].into_iter().flatten().map(AsRawFd::as_raw_fd));
        keep.extend(self.clock.iter().map(|clock| clock.0.as_raw_fd()));
        descriptors::keep_only(&keep)
    }

    /// Lets the launcher write the identity maps of this process.
    fn await_maps(&self) -> Result<(), JailError> {
        // The files under /proc belong to root while a process is not dumpable, and the launcher is not root.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .at(Layer::Dumpable, "set the dumpable flag")?;
        // For the same reason this has to be done now: in a shortage of memory the kernel takes jails first.
        std::fs::write("/proc/self/oom_score_adj", OOM_SCORE)
            .at(Layer::Limits, "set the score for shortages")?;
        control::send(&self.control, &Message::Ready).at(Layer::Process, "talk to the launcher")?;
        let mut fds = [PollFd::new(&self.control, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
            .at(Layer::Process, "wait for the launcher")?;
        match control::receive(&self.control).at(Layer::Process, "listen to the launcher")? {
            Some(Message::Go) => Ok(()),
            _ => Err(JailError::not_in_force(Layer::Process, "the launcher is gone")),
        }
    }

    fn start_payload(&mut self, proc: OwnedFd) -> Result<Monitor, JailError> {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Layer::Process, "make a pipe")?;
        // Out of the way of the numbers that the payload gets.
        let writer = rustix::io::fcntl_dupfd_cloexec(writer, payload::FIRST_FREE)
            .at(Layer::Descriptors, "copy a descriptor")?;
        let writable = self.spec.roots.iter().filter(|root| root.writable).map(|root| root.target.as_path());
        let growth = Growth::begin(&proc, writable, self.spec.limits.workspace_bytes)?;
        let started = Instant::now();
        match sys::clone(self.proof, Namespaces::empty()).at(Layer::Process, "start the payload")? {
            Clone::Child => payload::main(self.spec, &self.plan.rights, &self.filter, writer),
            Clone::Parent { pid, pidfd } => {
                drop(writer);
                if let Some(error) = failure(&reader)? {
                    return Err(error);
                }
                drop(reader);
                // The pipes of the payload must end with the payload.
                let mut keep = vec![2, self.control.as_raw_fd(), proc.as_raw_fd(), pidfd.as_raw_fd()];
                keep.extend(self.clock.iter().map(|clock| clock.0.as_raw_fd()));
                descriptors::keep_only(&keep)?;
                control::send(&self.control, &Message::Started).at(Layer::Process, "talk to the launcher")?;
                let (payload, payload_fd, limits) = (pid, pidfd, self.spec.limits);
                let clock = self.clock.take();
                // Without a group nothing was used before.
                let used_before = clock.as_ref().and_then(Clock::used_by_others).unwrap_or_default();
                Ok(Monitor {
                    proc,
                    payload,
                    payload_fd,
                    limits,
                    growth,
                    watched: Watched::Namespace,
                    started,
                    used_before,
                    clock,
                    finished: None,
                    ends_when_told: !self.spec.profile.children,
                })
            }
        }
    }
}

impl Init<'_> {
    /// Starts a payload that waits for its job.
    fn park_payload(&mut self, proc: OwnedFd, handover: OwnedFd) -> Result<Guard, JailError> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Layer::Process, "make a pipe");
        let ((failure, writer), (finished, finish)) = (pipe()?, pipe()?);
        match sys::clone(self.proof, Namespaces::empty()).at(Layer::Process, "start the payload")? {
            Clone::Child => match Waiting::new(&handover, &writer, &finish) {
                Ok(waiting) => payload::wait(self.spec, &self.plan.rights, &self.filter, waiting),
                Err(error) => give_up(&writer, &error),
            },
            Clone::Parent { pid: payload, pidfd: payload_fd } => {
                drop((writer, finish, handover));
                let mut keep = vec![2, self.control.as_raw_fd(), proc.as_raw_fd(), payload_fd.as_raw_fd()];
                keep.extend([&failure, &finished].map(AsRawFd::as_raw_fd));
                keep.extend(self.clock.iter().map(|clock| clock.0.as_raw_fd()));
                descriptors::keep_only(&keep)?;
                control::send(&self.control, &Message::Started).at(Layer::Process, "talk to the launcher")?;
                let clock = self.clock.take();
                Ok(Guard { proc, payload, payload_fd, failure, finished, clock })
            }
        }
    }
}

/// What process 1 does to itself before it starts a payload; `build` makes the file tree. Returns a `/proc` of the pid
/// namespace for the accounting.
pub(super) fn put_up_walls(build: impl FnOnce() -> Result<(), JailError>) -> Result<OwnedFd, JailError> {
    // Process 1 is what guards the limits: the payload must not look into it. From here on it dies with its parent,
    // too; the change of user would have cleared that.
    process::make_undumpable()?;
    process::die_with_parent(None)?;
    rustix::process::setsid().at(Layer::Process, "start a session")?;
    mounts::make_private().at(Layer::MountNamespace, "make mounts private")?;
    let proc = mounts::new_proc(ShownProc::Processes)
        .and_then(mounts::open_directory)
        .at(Layer::Proc, "make a /proc for the accounting")?;
    build()?;
    check_pid_namespace(&proc)?;
    sys::set_host_name(HOST_NAME).at(Layer::Process, "set the host name")?;
    linux_caps::restrict_to(CapabilitySet::empty())?;
    process::forbid_new_privileges()?;
    Ok(proc)
}

/// Process 1 must be number 1, and alone.
fn check_pid_namespace(proc: &OwnedFd) -> Result<(), JailError> {
    let own = process::own_pid();
    let mut seen = Vec::new();
    for entry in rustix::fs::Dir::read_from(proc).at(Layer::Proc, "list processes")?.flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() {
            seen.push(pid);
        }
    }
    if Some(own) == Pid::from_raw(1) && seen == [1] {
        Ok(())
    } else {
        Err(JailError::not_in_force(
            Layer::Process,
            format!("process 1 is {own:?} and sees processes {seen:?}"),
        ))
    }
}

/// Why the payload could not start; `None` once its end of the pipe is closed, by `execve` or before a function.
pub(super) fn failure(reader: &OwnedFd) -> Result<Option<JailError>, JailError> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(reader.as_fd(), &mut chunk[..]));
        match read.at(Layer::Process, "wait for the payload")? {
            0 if bytes.is_empty() => return Ok(None),
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    let unreadable = || JailError::Refused {
        layer: Layer::Process,
        action: "read why the payload did not start".into(),
        errno: Errno::BADMSG,
    };
    Ok(Some(control::decode_error(&bytes).unwrap_or_else(unreadable)))
}
