//! The socket on which clients arrive: TCP, a Unix socket of our own, or one that systemd made.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, anyhow, bail};
use listenfd::ListenFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::warn;

use super::peer::Peer;
use super::reach;
use super::service::Ends;
use crate::config::{Config, Http, Listen};

/// A bound socket.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, place: Option<Place> },
}

/// Where our Unix socket lies. Removed when dropped, if it is still ours.
pub(super) struct Place {
    path: PathBuf,
    inode: (u64, u64),
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Binds what the configuration names.
    ///
    /// # Errors
    ///
    /// Why nobody could connect, or anybody could.
    pub(super) async fn bind(config: &Config, http: &Http) -> anyhow::Result<Self> {
        match &http.listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                Ok(Self::Tcp(listener.map_err(|error| refused(*address, &error))?))
            }
            Listen::Unix(path) => {
                let mode = http.socket_mode_bits().map_err(anyhow::Error::msg)?;
                let failed = || format!("server.http: failed to listen on `{}`", path.display());
                let (listener, place) = bind_unix(path, mode).with_context(failed)?;
                Ok(Self::Unix { listener, place: Some(place) })
            }
            Listen::Systemd => from_systemd(config, http),
        }
    }

    /// For people, such as `http://127.0.0.1:8765`.
    pub(super) fn shown(&self, encrypted: bool) -> io::Result<String> {
        let scheme = if encrypted { "https" } else { "http" };
        Ok(match self {
            Self::Tcp(listener) => format!("{scheme}://{}", listener.local_addr()?),
            Self::Unix { listener, place } => {
                let address = listener.local_addr()?;
                // A socket keeps the name under which it was made.
                let path = place.as_ref().map(|place| place.path.as_path()).or_else(|| address.as_pathname());
                format!("{scheme}+unix:{}", path.unwrap_or(Path::new("")).display())
            }
        })
    }

    /// The address that machines can reach, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.ip()),
            Self::Unix { .. } => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Ends)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is written at once or not at all; nothing is gained by waiting for more.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr()?.ip();
                Ok((Stream::Tcp(stream), Ends { peer: Peer::Net(peer), local }))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let known = stream.peer_cred()?;
                let peer = Peer::Local { uid: known.uid(), pid: known.pid() };
                // Nobody gets here by a name that leads to this machine.
                Ok((Stream::Unix(stream), Ends { peer, local: Ipv4Addr::LOCALHOST.into() }))
            }
        }
    }
}

/// Why nobody can connect to an address, and what to do about it.
fn refused(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: end it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; it is no address of this machine: `ip address` lists those",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are root's: choose a higher one",
        _ => "",
    };
    anyhow!("server.http: failed to listen on {address}: {error}{advice}")
}

/// Made beside its place with its permissions, and then put there, so that nobody gets in between.
fn bind_unix(path: &Path, mode: u32) -> anyhow::Result<(UnixListener, Place)> {
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            bail!("there is something else at this path; remove it, or choose another place")
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            bail!("another server listens there; end it, or choose another place")
        }
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let nest = tempfile::Builder::new().prefix(".llmc").tempdir_in(folder)?;
    let made = nest.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode))?;
    let metadata = made.symlink_metadata()?;
    std::fs::rename(&made, path)?;
    let place = Place { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) };
    Ok((listener, place))
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if now == Some(self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            warn!(target: "http", path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

fn from_systemd(config: &Config, http: &Http) -> anyhow::Result<Socket> {
    let none =
        "server.http: systemd has handed over no socket (`LISTEN_FDS`); start the server by its socket unit";
    let mut given = ListenFd::from_env();
    match given.len() {
        1 => {}
        0 => bail!(none),
        count => bail!("server.http: systemd has handed over {count} sockets, one is wanted"),
    }
    if let Ok(Some(listener)) = given.take_tcp_listener(0) {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        http.check_reach(listener.local_addr()?.ip()).map_err(anyhow::Error::msg)?;
        return Ok(Socket::Tcp(listener));
    }
    let listener = given
        .take_unix_listener(0)
        .ok()
        .flatten()
        .context("server.http: what systemd has handed over is no stream socket")?;
    listener.set_nonblocking(true)?;
    if let Some(path) = listener.local_addr()?.as_pathname() {
        reach::out_of_roots(path, config)?;
    }
    Ok(Socket::Unix { listener: UnixListener::from_std(listener)?, place: None })
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
