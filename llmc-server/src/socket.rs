//! The server's end of the socket to a host or to the runner.
//!
//! It is registered for reading alone. Whoever is registered for writing is woken each time the other end takes a
//! message, because then there is more room (`unix_write_space` in the kernel's `net/unix/af_unix.c`): one wake-up for
//! nothing per message. So it is registered for that only while it is full.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use llmc_wire::socket::send_with_fds;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected socket that never blocks.
pub(crate) struct Socket(AsyncFd<UnixStream>);

impl Socket {
    /// # Errors
    ///
    /// When the kernel refuses to watch it.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        watched(socket, Interest::READABLE).map(Self)
    }

    /// Calls `read` when there may be something to read, until there is: the number of bytes, 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of `read`, unless it was just too early or interrupted.
    pub(crate) async fn receive(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match read(self.0.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends what there is room for now, with these descriptors beside the first byte.
    ///
    /// # Errors
    ///
    /// As `sendmsg(2)`, `EAGAIN` included.
    pub(crate) fn send(&self, parts: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        send_with_fds(self.0.as_fd(), parts, fds)
    }

    /// Waits until there is room, or nobody left to read.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to watch it.
    pub(crate) async fn room(&self) -> io::Result<()> {
        // An instance of epoll watches a descriptor once; this is another one of the same socket.
        let watched = watched(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        watched.writable().await.map(|mut ready| ready.retain_ready())
    }

    /// Ends it in both directions; whoever reads sees the end.
    pub(crate) fn shut_down(&self) {
        // One that is closed already is what is wanted.
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }
}

#[expect(
    deprecated,
    reason = "sound for what owns one descriptor; its successor is `unsafe` for the sake of the rest"
)]
fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn what_comes_is_received_and_then_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours).unwrap();
        let mut bytes = [0; 16];
        for word in ["one", "another"] {
            let writing = async {
                tokio::task::yield_now().await;
                theirs.write_all(word.as_bytes()).unwrap();
            };
            let reading = socket.receive(|fd| Ok(rustix::io::read(fd, &mut bytes)?));
            let (count, ()) = tokio::join!(reading, writing);
            assert_eq!(&bytes[..count.unwrap()], word.as_bytes());
        }
        drop(theirs);
        assert_eq!(socket.receive(|fd| Ok(rustix::io::read(fd, &mut bytes)?)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn it_is_not_watched_for_room_that_nobody_waits_for() {
        use std::os::fd::AsRawFd as _;

        let (ours, _theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours).unwrap();
        let watched = format!("tfd: {:8} events:", socket.0.as_raw_fd());
        // What an instance of epoll watches, and for what: see proc_pid_fdinfo(5). Files of other tests come and go.
        let files = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
        let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        let lines = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix(&watched));
        let masks =
            lines.map(|rest| u32::from_str_radix(rest.split_whitespace().next().unwrap(), 16).unwrap());
        let masks: Vec<u32> = masks.collect();
        const IN: u32 = 1;
        const OUT: u32 = 4;
        assert!(!masks.is_empty() && masks.iter().all(|mask| mask & (IN | OUT) == IN), "{masks:x?}");
    }

    #[tokio::test]
    async fn room_is_waited_for_as_long_as_there_is_none() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours).unwrap();
        let chunk = [7; 64 << 10];
        let mut sent = 0;
        let full = loop {
            match socket.send(&[IoSlice::new(&chunk)], &[]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        tokio::select! {
            biased;
            _ = socket.room() => panic!("it is full"),
            () = tokio::task::yield_now() => {}
        }
        let mut taken = vec![0; sent];
        theirs.read_exact(&mut taken).unwrap();
        socket.room().await.unwrap();
        assert!(socket.send(&[IoSlice::new(&chunk)], &[]).unwrap() > 0);
        drop(theirs);
        socket.room().await.unwrap();
        assert_eq!(socket.send(&[IoSlice::new(&chunk)], &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
