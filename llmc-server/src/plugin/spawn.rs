//! Starting the two programs that the server starts: with an empty environment and one socket, and nothing else.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

/// A started program.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) process: Process,
    /// Our end of the socket that the program has as stdin.
    pub(crate) socket: UnixStream,
    pub(crate) stderr: ChildStderr,
}

/// Starts programs from one thread that lives as long as the server: a child's parent-death signal follows the
/// *thread* that started it, see `PR_SET_PDEATHSIG` in `prctl(2)`.
#[derive(Clone, Debug)]
pub(crate) struct Spawner(mpsc::Sender<Order>);

struct Order {
    program: PathBuf,
    started: oneshot::Sender<io::Result<Spawned>>,
}

impl Spawner {
    pub(crate) fn new() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for order in inbox {
                // Nobody waits for it any more: dropping what was started closes its socket, and it exits.
                let _ = order.started.send(spawn(&order.program));
            }
        })?;
        Ok(Self(orders))
    }

    pub(crate) async fn spawn(&self, program: &Path) -> io::Result<Spawned> {
        let (started, result) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts programs is gone");
        self.0.send(Order { program: program.to_owned(), started }).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

fn spawn(program: &Path) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    // Without `pre_exec` this is a `posix_spawn`, whose cost does not grow with the memory of the server.
    let mut child = Command::new(program)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .current_dir("/")
        .spawn()?;
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("started without stderr"))?;
    Ok(Spawned { process: Process(Mutex::new(child)), socket: ours, stderr })
}

/// A child process. Its id stays valid until [`Process::reap`], so a kill never meets a stranger.
#[derive(Debug)]
pub(crate) struct Process(Mutex<Child>);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child().id()
    }

    pub(crate) fn kill(&self) {
        // Already dead is what was wanted.
        let _ = self.child().kill();
    }

    /// Waits for the end of a process that has closed its socket, and helps if it does not come; blocks.
    pub(crate) fn reap(&self) -> String {
        for _ in 0..20 {
            if let Ok(Some(status)) = self.child().try_wait() {
                return describe(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        self.child().wait().map_or_else(|error| error.to_string(), describe)
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process ended, in words: `exited with code 3`, `was killed by signal 11 (SIGSEGV)`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended".into(),
    }
}

/// See `signal(7)`.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS, often a truncated library)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        24 => " (SIGXCPU)",
        31 => " (SIGSYS)",
        _ => "",
    }
}
