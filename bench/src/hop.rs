//! The floor of a hop: processes that pass a message to and fro and do nothing else, blocking or on tokio as servers do.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

/// About the size of a `hello` call with its frame or its JSON-RPC around it.
const MESSAGE_BYTES: usize = 150;

/// What is read at a time.
const BUFFER_BYTES: usize = 4096;

/// The other process: this program, started with one of the flags.
pub(crate) struct Echo {
    process: Child,
    to: File,
    from: File,
}

/// The flag that makes this program the echo.
pub(crate) const FLAG: &str = "--echo";
/// The same on tokio.
pub(crate) const ASYNC_FLAG: &str = "--async-echo";
/// The flag that makes this program pass messages on, from its pipes over a socket to the echo and back, on tokio.
pub(crate) const RELAY_FLAG: &str = "--relay";

impl Echo {
    /// Over two pipes, as a client talks to a server.
    pub(crate) fn over_pipes() -> Result<Self> {
        Self::piped(FLAG)
    }

    /// The same with a process on tokio at the other end.
    pub(crate) fn over_pipes_async() -> Result<Self> {
        Self::piped(ASYNC_FLAG)
    }

    /// The same with a further process behind that one, over a Unix socket: the hops of a call.
    pub(crate) fn relayed() -> Result<Self> {
        Self::piped(RELAY_FLAG)
    }

    fn piped(flag: &str) -> Result<Self> {
        let mut process = this(flag)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = OwnedFd::from(process.stdin.take().context("echo has no stdin")?);
        let from = OwnedFd::from(process.stdout.take().context("echo has no stdout")?);
        Ok(Self { process, to: to.into(), from: from.into() })
    }

    /// Over a Unix socket, as the server talks to a plugin host.
    pub(crate) fn over_socket() -> Result<Self> {
        let (process, ours) = behind_socket()?;
        let from = OwnedFd::from(ours.try_clone()?);
        Ok(Self { process, to: OwnedFd::from(ours).into(), from: from.into() })
    }

    /// Id of the other process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
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

fn this(flag: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(flag);
    Ok(command)
}

/// A blocking echo at the other end of a socket.
fn behind_socket() -> Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut echo = this(FLAG)?;
    let process = echo.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).spawn()?;
    Ok((process, ours))
}

/// What the other process does, until its stdin closes.
pub(crate) fn serve() -> io::Result<()> {
    let mut from = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut to = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
    }
}

/// The same on tokio.
pub(crate) fn serve_async() -> Result<()> {
    on_tokio(async {
        let (mut from, mut to) = pipes()?;
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            to.write_all(&buffer[..count]).await?;
        }
    })
}

/// Passes each message to an echo behind a socket, and its answer back.
pub(crate) fn relay() -> Result<()> {
    let (mut echo, socket) = behind_socket()?;
    let relayed = on_tokio(async {
        socket.set_nonblocking(true)?;
        let mut socket = tokio::net::UnixStream::from_std(socket)?;
        let (mut from, mut to) = pipes()?;
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            socket.write_all(&buffer[..count]).await?;
            socket.read_exact(&mut buffer[..count]).await?;
            to.write_all(&buffer[..count]).await?;
        }
    });
    // It has ended with the socket.
    echo.wait()?;
    relayed
}

/// As a task among others, like those of the servers.
fn on_tokio(task: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(task).await? })
}

/// stdin and stdout.
fn pipes() -> Result<(pipe::Receiver, pipe::Sender)> {
    let from = io::stdin().as_fd().try_clone_to_owned()?;
    let to = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((pipe::Receiver::from_owned_fd(from)?, pipe::Sender::from_owned_fd(to)?))
}
