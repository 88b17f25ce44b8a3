//! The machine outside the jails: what an attempt must not have changed.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::stage;

/// What must be the same before and after.
#[derive(PartialEq, Eq)]
pub(crate) struct Outside {
    core_pattern: String,
    host_name: String,
    /// Number, size and last change of each program; the kernel sets the last one.
    programs: Vec<(u64, u64, i64, i64)>,
    users: Vec<u8>,
    /// Names beside the granted root.
    beside: Vec<String>,
    canary: String,
}

impl Outside {
    pub(crate) fn now(folder: &Path) -> Self {
        let stage = stage();
        let programs = ["bin/llmc", "libexec/llmc/llmc-host", "libexec/llmc/llmc-runner"];
        let mut beside: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        beside.sort();
        Self {
            core_pattern: fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default(),
            host_name: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            programs: programs.iter().map(|program| identity(&stage.join(program))).collect(),
            users: fs::read("/etc/passwd").unwrap(),
            beside,
            canary: fs::read_to_string(folder.join("canary")).unwrap(),
        }
    }

    /// What differs, in words.
    pub(crate) fn changes(&self, after: &Self) -> Vec<String> {
        [
            ("the core pattern of the kernel", self.core_pattern != after.core_pattern),
            ("the host name", self.host_name != after.host_name),
            ("a program of llmc", self.programs != after.programs),
            ("/etc/passwd", self.users != after.users),
            ("a name beside the granted root", self.beside != after.beside),
            ("a file beside the granted root", self.canary != after.canary),
        ]
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(what, _)| format!("{what} changed"))
        .collect()
    }
}

fn identity(file: &Path) -> (u64, u64, i64, i64) {
    let meta = fs::metadata(file).unwrap();
    (meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec())
}

/// Listeners that nothing in a jail may reach: loopback, an abstract name, and socket files outside and inside the
/// granted root.
pub(crate) struct Listeners {
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    unix: Vec<UnixListener>,
    datagram: UnixDatagram,
    file: PathBuf,
    abstract_name: String,
}

impl Listeners {
    /// `folder` is the one around the granted root.
    pub(crate) fn open(folder: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let abstract_name = format!("llmc-attempts-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let file = folder.join("socket");
        let inside = folder.join("work/socket");
        let datagram = folder.join("work/datagram");
        for path in [&file, &inside, &datagram] {
            let _ = fs::remove_file(path);
        }
        let listeners = Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            tcp6: TcpListener::bind("[::1]:0").ok(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            unix: vec![
                UnixListener::bind(&file).unwrap(),
                UnixListener::bind(&inside).unwrap(),
                UnixListener::bind_addr(&address).unwrap(),
            ],
            datagram: UnixDatagram::bind(&datagram).unwrap(),
            file,
            abstract_name,
        };
        listeners.do_not_wait();
        listeners
    }

    /// Puts the socket files back where they were; ports stay.
    pub(crate) fn renew(&mut self, folder: &Path) {
        let old = std::mem::replace(self, Self::open(folder));
        (self.tcp, self.tcp6, self.udp) = (old.tcp, old.tcp6, old.udp);
    }

    fn do_not_wait(&self) {
        for listener in [Some(&self.tcp), self.tcp6.as_ref()].into_iter().flatten() {
            listener.set_nonblocking(true).unwrap();
        }
        self.unix.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        self.udp.set_nonblocking(true).unwrap();
        self.datagram.set_nonblocking(true).unwrap();
    }

    /// What stands in probes for each.
    pub(crate) fn names(&self) -> Vec<(&'static str, String)> {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
        vec![
            ("@TCP4@", port(&self.tcp)),
            // Port 9 discards; nobody listens there.
            ("@TCP6@", self.tcp6.as_ref().map_or_else(|| "9".into(), port)),
            ("@UDP4@", self.udp.local_addr().unwrap().port().to_string()),
            ("@ABSTRACT@", self.abstract_name.clone()),
            ("@SOCKET@", self.file.to_string_lossy().into_owned()),
        ]
    }

    /// Who came, and whether the listeners listen at all.
    pub(crate) fn visitors(&self) -> Vec<String> {
        let mut visitors = Vec::new();
        let mut note = |what: &str, error: Option<std::io::Error>| {
            if error.is_none_or(|error| error.kind() != ErrorKind::WouldBlock) {
                visitors.push(format!("somebody reached the listener on {what}"));
            }
        };
        note("TCP", self.tcp.accept().err());
        if let Some(tcp6) = &self.tcp6 {
            note("TCP over IPv6", tcp6.accept().err());
        }
        note("UDP", self.udp.recv(&mut [0; 8]).err());
        self.unix.iter().for_each(|listener| note("a Unix socket", listener.accept().err()));
        note("a Unix datagram socket", self.datagram.recv(&mut [0; 8]).err());
        // The control.
        TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap();
        self.tcp.accept().unwrap();
        UnixStream::connect(&self.file).unwrap();
        self.unix[0].accept().unwrap();
        visitors
    }
}
