//! Jails of the runner's own: a short run whose output it reads, with a deadline.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use llmc_sandbox::JailError;
use llmc_sandbox::jail::{Ending, JailLimits, JailSpec, Launcher, Payload};
use llmc_sandbox::profile::WORKSPACE;
use llmc_wire::runner::Refused;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::inside;
use crate::request::refused;

/// Longest run in milliseconds.
const WALL_MS: u64 = 10_000;
/// Most output that is looked at, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// What a run of the runner's own gave.
pub(crate) struct Answer {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Starts a whole jail once, with a payload that looks around inside.
pub(crate) fn whole_jail(launcher: &mut Launcher) -> Result<(), Refused> {
    let own = std::env::current_exe()
        .map_err(|error| Refused { layer: "trial".into(), message: format!("find this program: {error}") })?;
    let answer = run(launcher, &own, &["--inside"], Vec::new()).map_err(|error| refused(&error))?;
    if answer.stdout == inside::ALL_IS_WELL.as_bytes() {
        return Ok(());
    }
    let seen = [answer.stdout, answer.stderr].concat();
    let message = format!(
        "the trial found: {}; ended {:?}; nothing is started here",
        String::from_utf8_lossy(&seen).trim(),
        answer.ending.status
    );
    Err(Refused { layer: "trial".into(), message })
}

/// Runs a program of this machine in a `workspace` jail without roots, and waits for it.
pub(crate) fn run(
    launcher: &mut Launcher,
    program: &Path,
    args: &[&str],
    system: Vec<PathBuf>,
) -> Result<Answer, JailError> {
    let pipe =
        || std::io::pipe().map_err(|_| JailError::Invalid("no descriptors are left for a trial".into()));
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let spec = JailSpec {
        profile: &WORKSPACE,
        payload: Payload::Program {
            file: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        },
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        roots: Vec::new(),
        system,
        limits: JailLimits { wall_ms: WALL_MS, cpu_ms: WALL_MS, ..WORKSPACE.limits },
        stdin: None,
        stdout: stdout_writer.into(),
        stderr: stderr_writer.into(),
        job: None,
    };
    let jail = launcher.spawn(&spec)?;
    drop(spec);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    // The pipes end with the tree, and process 1 ends the tree in time; whoever writes too much waits until then.
    let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut out);
    let _ = stderr.take(MAX_OUTPUT).read_to_end(&mut err);
    let left = jail.deadline().saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let pidfd = jail.pidfd();
    loop {
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            Ok(1..) => break,
            Ok(0) | Err(_) => {
                jail.kill();
                break;
            }
        }
    }
    Ok(Answer { ending: jail.finish(launcher), stdout: out, stderr: err })
}
