//! Jails of the runner's own: a short run whose output it reads, with a deadline.

use std::io::{PipeReader, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llmc_sandbox::jail::{Ending, ExitStatus, Jail, JailLimits, JailSpec, Launcher, Payload};
use llmc_sandbox::probe::{self, Finding};
use llmc_sandbox::profile::{CODE, Execute, Profile, WORKSPACE};
use llmc_sandbox::{Isolation, JailError};
use llmc_wire::runner::Refused;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::engine;
use crate::ground::Bait;
use crate::request::refused;

/// Jails that a trial makes use of at a time; one will do.
pub(crate) const JAILS: u32 = 2;

/// Longest run in milliseconds.
const WALL_MS: u64 = 10_000;
/// How long the kernel may take to end a jail that was killed; it takes a millisecond.
const GRACE: Duration = Duration::from_secs(2);
/// Most output that is looked at, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// What a run of the runner's own gave.
pub(crate) struct Answer {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Tries to get out of a jail of each profile.
///
/// # Errors
///
/// The first thing that is not as it should be, or why no jail could be made.
pub(crate) fn holds(launcher: &mut Launcher) -> Result<(), Refused> {
    let findings = findings(launcher, Bait::lay())?;
    let wrong: Vec<String> =
        findings.iter().filter(|finding| !finding.holds()).map(ToString::to_string).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(broken(&format!("the trial found: {}; nothing is started here", wrong.join("; "))))
}

/// Everything that was tried, and what came of it.
pub(crate) fn findings(
    launcher: &mut Launcher,
    bait: std::io::Result<Bait>,
) -> Result<Vec<Finding>, Refused> {
    let bait = bait.map_err(|error| broken(&format!("lay bait for the self-test: {error}")))?;
    let mut findings = Vec::new();
    let mut waiting: Vec<(&Profile, Started)> = Vec::new();
    let profiles: &[&'static Profile] = match launcher.isolation() {
        Isolation::Namespaces => &[&CODE, &WORKSPACE],
        Isolation::Landlock => &[&CODE],
    };
    // Side by side, where two jails may live at a time.
    for &profile in profiles {
        if !launcher.has_room() {
            for (profile, started) in waiting.drain(..) {
                findings.extend(read(profile, started.finish(launcher))?);
            }
        }
        waiting.push((profile, start_inside(launcher, profile, &bait)?));
    }
    for (profile, started) in waiting {
        findings.extend(read(profile, started.finish(launcher))?);
    }
    findings.extend(bait.look_after());
    Ok(findings)
}

fn start_inside(launcher: &mut Launcher, profile: &'static Profile, bait: &Bait) -> Result<Started, Refused> {
    let failed = |error: std::io::Error| broken(&format!("prepare the self-test: {error}"));
    let own = std::env::current_exe().map_err(failed)?;
    let ground = bait.ground(profile.name, launcher.isolation()).map_err(failed)?;
    let ground = serde_json::to_string(&ground);
    let ground = ground.map_err(|error| failed(error.into()))?;
    let mut system = match profile.execute {
        Execute::ProgramOnly => own_libraries().map_err(failed)?,
        Execute::Everything | Execute::Nothing => Vec::new(),
    };
    if launcher.isolation() == Isolation::Landlock {
        system.extend(["/proc/self/status", "/proc/self/uid_map"].map(PathBuf::from));
    }
    let limits = probe::limits(WORKSPACE.limits);
    let started = start(profile, limits, launcher, &own, &["--inside", &ground], system);
    started.map_err(|error| refused(&error))
}

/// What the payload said, and how it ended.
fn read(profile: &Profile, answer: Answer) -> Result<Vec<Finding>, Refused> {
    let mut findings: Vec<Finding> = serde_json::from_slice(&answer.stdout).map_err(|_| {
        let seen = [answer.stdout, answer.stderr].concat();
        broken(&format!(
            "the trial in profile `{}` ended {:?} and said: {}; nothing is started here",
            profile.name,
            answer.ending.status,
            String::from_utf8_lossy(&seen).trim()
        ))
    })?;
    let expected = match probe::HAS_FOREIGN_CALL {
        true => ExitStatus::Signalled(Signal::SYS.as_raw()),
        false => ExitStatus::Exited(0),
    };
    let (expected, seen) = (format!("{expected:?}"), format!("{:?}", answer.ending.status));
    findings.push(Finding::new(profile.name, "a system call of another architecture", &[&expected], seen));
    Ok(findings)
}

/// The shared libraries of this program, by every path that its loader may take.
fn own_libraries() -> std::io::Result<Vec<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let files = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    Ok(engine::with_links(files.filter(|path| path.contains(".so")).map(PathBuf::from).collect()))
}

fn broken(what: &str) -> Refused {
    Refused { layer: "trial".into(), message: what.to_owned() }
}

/// Runs a program of this machine in a jail where it sees the machine's libraries, and waits for it.
pub(crate) fn run(
    launcher: &mut Launcher,
    program: &Path,
    args: &[&str],
    mut system: Vec<PathBuf>,
) -> Result<Answer, JailError> {
    if launcher.isolation() == Isolation::Landlock {
        // What profile `workspace` shows, and what tells which libraries are in use.
        let libraries = ["/usr", "/lib", "/lib32", "/lib64"].map(PathBuf::from);
        system.extend(libraries.into_iter().filter(|path| path.exists()));
        system.push("/proc/self/maps".into());
        return Ok(start(&CODE, WORKSPACE.limits, launcher, program, args, system)?.finish(launcher));
    }
    Ok(start(&WORKSPACE, WORKSPACE.limits, launcher, program, args, system)?.finish(launcher))
}

/// Starts a program of this machine in the jail that model-written code has, with these files of the machine.
pub(crate) fn start_code(
    launcher: &mut Launcher,
    program: &Path,
    args: &[&str],
    system: Vec<PathBuf>,
) -> Result<Started, JailError> {
    start(&CODE, CODE.limits, launcher, program, args, system)
}

/// A run of the runner's own that goes on.
pub(crate) struct Started {
    jail: Jail,
    stdout: PipeReader,
    stderr: PipeReader,
}

fn start(
    profile: &'static Profile,
    limits: JailLimits,
    launcher: &mut Launcher,
    program: &Path,
    args: &[&str],
    system: Vec<PathBuf>,
) -> Result<Started, JailError> {
    let pipe =
        || std::io::pipe().map_err(|_| JailError::Invalid("no descriptors are left for a trial".into()));
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let spec = JailSpec {
        profile,
        payload: Payload::Program {
            file: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        },
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        roots: Vec::new(),
        system,
        limits: JailLimits { wall_ms: WALL_MS, cpu_ms: WALL_MS, ..limits },
        stdin: None,
        stdout: stdout_writer.into(),
        stderr: stderr_writer.into(),
        job: None,
        terminal: None,
    };
    Ok(Started { jail: launcher.spawn(&spec)?, stdout, stderr })
}

impl Started {
    /// Whether [`Started::finish`] will not have to wait.
    pub(crate) fn is_over(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let end = self.jail.end_of_run();
        let is_late = self.jail.deadline() <= Instant::now();
        is_late || rustix::event::poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&at_once)) != Ok(0)
    }

    /// Waits for the end.
    pub(crate) fn finish(self, launcher: &mut Launcher) -> Answer {
        let Self { jail, stdout, stderr } = self;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // The pipes end with the tree, and process 1 ends the tree in time; whoever writes too much waits until then.
        let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut out);
        let _ = stderr.take(MAX_OUTPUT).read_to_end(&mut err);
        await_end(jail.end_of_run(), jail.deadline());
        // Nobody has to be given time to pass this answer on.
        jail.kill();
        await_end(jail.pidfd(), Instant::now() + GRACE);
        let ending = jail.finish(launcher);
        launcher.tidy();
        Answer { ending, stdout: out, stderr: err }
    }
}

/// Waits until it is readable, or until then.
fn await_end(end: BorrowedFd<'_>, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let polled = rustix::event::poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timeout));
        if polled != Err(Errno::INTR) {
            return;
        }
    }
}
