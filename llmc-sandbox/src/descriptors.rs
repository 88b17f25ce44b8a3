//! Which descriptors a small process keeps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::error::{At, JailError, Layer};
use crate::sys;

/// Takes the socket that a parent passed as stdin, and lets nothing else in.
///
/// Afterwards 0 and 1 are `/dev/null`, 2 is what it was, the socket has a high number and is closed on exec, and
/// every other descriptor is closed. To be called first thing in `main`, while nobody else owns a descriptor.
///
/// # Errors
///
/// The error of the failing call; `InvalidInput` when stdin is not a Unix stream socket.
pub fn isolate_stdio() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let is_socket = FileType::from_raw_mode(rustix::fs::fstat(&stdin)?.st_mode) == FileType::Socket;
    if !is_socket || rustix::net::sockopt::socket_domain(&stdin)? != rustix::net::AddressFamily::UNIX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "stdin is not a Unix socket; llmc starts this program",
        ));
    }
    let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    close_all_but(&[0, 1, 2, socket.as_raw_fd()])?;
    Ok(socket)
}

/// Closes every descriptor whose number is not listed.
pub(crate) fn keep_only(keep: &[RawFd]) -> Result<(), JailError> {
    close_all_but(keep).at(Layer::Descriptors, "close inherited descriptors")
}

fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 0;
    for number in keep {
        if number > first {
            sys::close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    Ok(sys::close_range(first, RawFd::MAX)?)
}
