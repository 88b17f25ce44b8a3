//! The last steps before the program: its descriptors, its limits, Landlock, seccomp, then `execve` or the function.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Resource;

use super::spec::{CANARY, Function, Inside, JailLimits, JailSpec, Payload, SCRATCH};
use super::waiting::{PANICKED, Waiting};
use super::{control, terminal};
use crate::error::{At, JailError, Layer};
use crate::landlock::{self, Required, Right, Rule};
use crate::profile::Profile;
use crate::seccomp::Filter;
use crate::{descriptors, limits, sys};

/// What every payload finds in its environment, and nothing else but what the request adds.
const ENVIRONMENT: [(&str, &str); 4] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", SCRATCH), ("LANG", "C.UTF-8"), ("TMPDIR", SCRATCH)];

/// Number of the job socket.
pub(super) const JOB: RawFd = 3;
/// Numbers from here on are not given to the payload.
pub(super) const FIRST_FREE: RawFd = 16;
/// Largest stack of the main thread in bytes.
const STACK_BYTES: u64 = 8 << 20;
/// Signals that may be queued.
const PENDING_SIGNALS: u64 = 1024;

/// Becomes the program or calls the function, or tells on `failure` why not.
pub(super) fn main(spec: &JailSpec, rights: &[(PathBuf, Right)], filter: &Filter, failure: OwnedFd) -> ! {
    run(spec, failure, |failure| enter(spec, rights, filter, failure))
}

/// Does the last steps and calls the function that they return, or tells on `failure` why they failed.
pub(super) fn run(
    spec: &JailSpec,
    failure: OwnedFd,
    steps: impl FnOnce(&OwnedFd) -> Result<Function, JailError>,
) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| match steps(&failure) {
        Ok(function) => {
            // Its end says that the payload runs.
            drop(failure);
            let job = spec.job.as_ref().map(|_| sys::owner_of(JOB));
            let since = Instant::now();
            function()(Inside { job, limits: spec.limits, since })
        }
        Err(error) => {
            let _ = rustix::io::write(&failure, &control::encode_error(&error));
            126
        }
    }));
    sys::exit(outcome.unwrap_or(PANICKED).into())
}

/// Gets ready for a job behind every wall for which it need not be known, and waits for it; then puts up the rest and
/// does it, or tells why not.
pub(super) fn wait(spec: &JailSpec, rights: &[(PathBuf, Right)], filter: &Filter, waiting: Waiting) -> ! {
    let Payload::Function(function) = spec.payload else { sys::exit(126) };
    let prepared = place_descriptors(
        [None, Some(&spec.stdout), Some(&spec.stderr), None],
        spec.profile,
        &waiting.descriptors(),
    )
    .and_then(|()| settle(Path::new(home(spec.profile))))
    .and_then(|()| sys::default_signals().at(Layer::Process, "reset signals"))
    .and_then(|()| if spec.profile.landlock { restrict(rights) } else { Ok(()) });
    if let Err(error) = prepared {
        waiting.give_up(&error);
    }
    // A panic must not unwind into the launcher's loop, of which this process is a copy.
    let Ok(ready) = catch_unwind(function) else { sys::exit(PANICKED.into()) };
    waiting.run(spec.profile, || filter.install(), ready)
}

/// Where a payload starts, unless the request says where.
fn home(profile: &Profile) -> &'static str {
    if profile.scratch { SCRATCH } else { "/" }
}

/// What a payload has room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Files that it may write.
    pub(super) files: bool,
    /// A count of processes of its own: those of its user are all its own.
    pub(super) processes: bool,
}

impl Room {
    /// In namespaces of its own.
    pub(super) const OWN: Self = Self { files: true, processes: true };
}

/// Puts up the walls. Returns the function to call; where the payload is a program, it does not return on success.
fn enter(
    spec: &JailSpec,
    rights: &[(PathBuf, Right)],
    filter: &Filter,
    failure: &OwnedFd,
) -> Result<Function, JailError> {
    let streams = [spec.stdin.as_ref(), Some(&spec.stdout), Some(&spec.stderr), spec.job.as_ref()];
    place_descriptors(streams, spec.profile, &[failure])?;
    settle(spec.cwd.as_deref().unwrap_or(Path::new(home(spec.profile))))?;
    if spec.terminal.is_some() {
        terminal::take_control()?;
    }
    sys::default_signals().at(Layer::Process, "reset signals")?;
    if spec.profile.landlock {
        restrict(rights)?;
    }
    set_limits(&spec.limits, spec.profile, Room::OWN)?;
    match &spec.payload {
        Payload::Program { file, args } => {
            let mut program = Command::new(file);
            program.args(args).env_clear().envs(ENVIRONMENT);
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

/// Session, working directory, mask of modes.
pub(super) fn settle(cwd: &Path) -> Result<(), JailError> {
    rustix::process::setsid().at(Layer::Process, "start a session")?;
    rustix::process::chdir(cwd).map_err(|errno| {
        JailError::Invalid(format!("working directory `{}`: {errno}", cwd.display()).into())
    })?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// What a payload without stdin reads: nothing.
fn empty(profile: &Profile) -> Result<OwnedFd, JailError> {
    if profile.devices.is_empty() {
        let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        return Ok(pipe.at(Layer::Descriptors, "make a pipe")?.0);
    }
    rustix::fs::openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Layer::Descriptors, "open /dev/null")
}

/// 0 (empty where none is given), 1, 2 and perhaps 3, and nothing else that survives `execve`; `others` do not.
pub(super) fn place_descriptors(
    wanted: [Option<&OwnedFd>; 4],
    profile: &Profile,
    others: &[&OwnedFd],
) -> Result<(), JailError> {
    let null = empty(profile)?;
    let [stdin, stdout, stderr, job] = wanted;
    // First out of the way of the numbers that are about to be taken.
    let copies = [stdin.or(Some(&null)), stdout, stderr, job]
        .into_iter()
        .flatten()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, FIRST_FREE))
        .collect::<Result<Vec<_>, _>>()
        .at(Layer::Descriptors, "copy a descriptor")?;
    let mut keep: Vec<_> = others.iter().map(|fd| fd.as_raw_fd()).collect();
    for (number, copy) in (0..).zip(&copies) {
        sys::place(copy.as_fd(), number).at(Layer::Descriptors, format!("make descriptor {number}"))?;
        keep.push(number);
    }
    descriptors::keep_only(&keep)?;
    // These numbers are closed by now, or closed by `execve`; nobody must close them a second time.
    std::mem::forget((copies, null));
    Ok(())
}

pub(super) fn set_limits(wanted: &JailLimits, profile: &Profile, room: Room) -> Result<(), JailError> {
    let address_space = wanted.memory_bytes.saturating_add(profile.address_space_beyond_memory);
    if room.processes {
        // Process 1 counts, too.
        limits::set(&[(Resource::Nproc, u64::from(wanted.processes) + 1)])?;
    }
    limits::set(&[
        // Not 0: where core dumps go to a program on the machine, 0 still starts it; 1 does not, and no file has 1 byte.
        (Resource::Core, 1),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
        (Resource::Sigpending, PENDING_SIGNALS),
        (Resource::Stack, STACK_BYTES),
        (Resource::As, address_space),
        (Resource::Fsize, if room.files { wanted.file_bytes } else { 0 }),
        (Resource::Nofile, wanted.open_files.into()),
        // Each process; the accounting of the tree comes first. Soft and hard alike: the soft signal can be ignored.
        (Resource::Cpu, cpu_seconds(wanted.cpu_ms)),
    ])
}

/// `RLIMIT_CPU` for a limit in milliseconds: a second more, and none at all beyond a hundred years. The kernel counts it
/// in nanoseconds of 64 bits, and a number that does not fit would come out as a small one.
fn cpu_seconds(cpu_ms: u64) -> u64 {
    const LARGEST_S: u64 = 100 * 366 * 24 * 60 * 60;
    let seconds = cpu_ms.div_ceil(1000).saturating_add(1);
    if seconds > LARGEST_S { u64::MAX } else { seconds }
}

pub(super) fn restrict(rights: &[(PathBuf, Right)]) -> Result<(), JailError> {
    let opened = rights
        .iter()
        .map(|(path, right)| {
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map(|fd| (fd, *right))
                .at(Layer::Landlock, format!("open {}", path.display()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rules: Vec<Rule<'_>> =
        opened.iter().map(|(fd, right)| Rule { beneath: fd.as_fd(), right: *right }).collect();
    landlock::restrict(&rules, Required::SecondWall)?;
    match rustix::fs::openat(CWD, CANARY, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::ACCESS) => Ok(()),
        other => Err(JailError::not_in_force(Layer::Landlock, format!("opening {CANARY} gave {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::cpu_seconds;

    #[test]
    fn no_limit_on_processor_time_comes_out_as_a_small_one() {
        assert_eq!([0, 1, 1000, 1001].map(cpu_seconds), [1, 2, 2, 3]);
        for cpu_ms in [1_u64 << 45, u64::MAX / 1000, u64::MAX - 1, u64::MAX] {
            let seconds = cpu_seconds(cpu_ms);
            assert!(seconds == u64::MAX || seconds.checked_mul(1_000_000_000).is_some(), "{cpu_ms}");
        }
        assert_eq!(cpu_seconds(u64::MAX), u64::MAX);
    }
}
