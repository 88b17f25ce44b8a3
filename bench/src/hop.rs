//! The floor of a hop: two processes that pass a message to and fro and do nothing else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

/// About the size of a `hello` call with its frame or its JSON-RPC around it.
const MESSAGE_BYTES: usize = 150;

/// The other process: this program, started with [`FLAG`].
pub(crate) struct Echo {
    process: Child,
    to: File,
    from: File,
}

/// The flag that makes this program the echo.
pub(crate) const FLAG: &str = "--echo";

impl Echo {
    /// Over two pipes, as a client talks to a server.
    pub(crate) fn over_pipes() -> Result<Self> {
        let mut process = echo()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = OwnedFd::from(process.stdin.take().context("echo has no stdin")?);
        let from = OwnedFd::from(process.stdout.take().context("echo has no stdout")?);
        Ok(Self { process, to: to.into(), from: from.into() })
    }

    /// Over a Unix socket, as the server talks to a plugin host.
    pub(crate) fn over_socket() -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process =
            echo()?.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).spawn()?;
        let from = OwnedFd::from(ours.try_clone()?);
        Ok(Self { process, to: OwnedFd::from(ours).into(), from: from.into() })
    }

    /// Microseconds of `times` round trips.
    pub(crate) fn round_trips(&mut self, times: usize) -> Result<Vec<f64>> {
        let message = [b'x'; MESSAGE_BYTES];
        let mut answer = message;
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            self.to.write_all(&message)?;
            self.from.read_exact(&mut answer)?;
            all.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(all)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It holds nothing that could be lost.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn echo() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(FLAG);
    Ok(command)
}

/// What the other process does, until its stdin closes.
pub(crate) fn serve() -> io::Result<()> {
    let mut from = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut to = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
    }
}
