//! The jail of a command by itself, from the fewest walls to all of them: what each adds is what it costs.
//!
//! Whoever starts jails gives up rights for good, so a process of its own does it: this program, started with [`FLAG`].

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use llmc_sandbox::jail::{ExitStatus, GrantedRoot, JailSpec, Launcher, Payload};
use llmc_sandbox::profile::{Proc, Profile, WORKSPACE};
use rustix::event::{PollFd, PollFlags, poll};

use super::PROGRAM;

/// The flag that makes this program start jails.
pub(crate) const FLAG: &str = "--jails";

/// Runs before a turn that are not counted.
const WARM_UP: usize = 3;

/// Walls that are put up, each step with those before it.
pub(super) const STEPS: [&str; 4] = [
    "namespaces, a root of read-only binds, system call filter, limits, process 1",
    "/dev, /proc, /etc and scratch space",
    "Landlock",
    "a granted directory",
];

static BARE: Profile = Profile {
    devices: &[],
    links: &[],
    etc: &[],
    proc: Proc::None,
    scratch: false,
    landlock: false,
    ..WORKSPACE
};
static FURNISHED: Profile = Profile { landlock: false, ..WORKSPACE };

/// The process that starts jails.
pub(super) struct Jails {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Jails {
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(FLAG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = process.stdin.take().context("it has no stdin")?;
        let from = BufReader::new(process.stdout.take().context("it has no stdout")?);
        Ok(Self { process, to, from })
    }

    /// So many runs of each step: its place in [`STEPS`] and the microseconds.
    pub(super) fn turn(&mut self, runs: usize, times: &mut Vec<(usize, f64)>) -> Result<()> {
        for step in 0..STEPS.len() {
            for run in 0..WARM_UP + runs {
                writeln!(self.to, "{step}")?;
                let mut line = String::new();
                self.from.read_line(&mut line)?;
                let took = line
                    .trim_end()
                    .parse()
                    .with_context(|| format!("no jail was made: {line:?}; see above"))?;
                if run >= WARM_UP {
                    times.push((step, took));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Jails {
    fn drop(&mut self) {
        // Its jails have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What that process does until its stdin closes: a line in is a step, a line out the microseconds that it took.
pub(crate) fn serve() -> Result<()> {
    let work = tempfile::tempdir()?;
    // Opened before the rights to do so are gone.
    let root = OwnedFd::from(File::open(work.path())?);
    let mut launcher = Launcher::prepare(1, None)?;
    for line in std::io::stdin().lines() {
        let step: usize = line?.parse()?;
        let begun = Instant::now();
        run(&mut launcher, step, &root)?;
        println!("{}", begun.elapsed().as_secs_f64() * 1e6);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn run(launcher: &mut Launcher, step: usize, root: &OwnedFd) -> Result<()> {
    let profile = match step {
        0 => &BARE,
        1 => &FURNISHED,
        _ => &WORKSPACE,
    };
    let granted = |root: &OwnedFd| {
        anyhow::Ok(GrantedRoot { dir: root.try_clone()?, target: PathBuf::from("/work"), writable: true })
    };
    let roots = if step == 3 { vec![granted(root)?] } else { Vec::new() };
    let (from, to) = std::io::pipe()?;
    let (errors, to_errors) = std::io::pipe()?;
    let jail = launcher.spawn(&JailSpec {
        profile,
        payload: Payload::Program { file: PROGRAM.into(), args: Vec::new() },
        cwd: Some(PathBuf::from(if step == 3 { "/work" } else { "/" })),
        env: Vec::new(),
        files: Vec::new(),
        roots,
        system: Vec::new(),
        limits: profile.limits,
        stdin: None,
        stdout: to.into(),
        stderr: to_errors.into(),
        job: None,
        terminal: None,
    })?;
    poll(&mut [PollFd::from_borrowed_fd(jail.end_of_run(), PollFlags::IN)], None)?;
    let ending = jail.finish(launcher);
    ensure!(ending.status == ExitStatus::Exited(0), "`true` in a jail ended with {:?}", ending.status);
    drop((from, errors));
    Ok(())
}
