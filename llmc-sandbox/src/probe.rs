//! The self-test of a jail: what its payload tries, what it must see, and what it sees.
//!
//! The probes run in the payload of a real jail; [`Ground`] names the bait that was laid outside for them. A row
//! whose outcome is not one of those expected means that a wall is missing or that honest work is broken.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::jail::{CANARY, HOST_NAME, JailLimits, SCRATCH};
use crate::report::Isolation;
use crate::sys;

/// Scratch space of a jail that is tested: little, so that filling it takes no time.
pub const SCRATCH_BYTES: u64 = 64 << 10;
/// Files and directories in it.
pub const SCRATCH_INODES: u64 = 16;

/// What was laid outside the jail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ground {
    /// Profile of the jail: `code` or `workspace`.
    pub profile: String,
    /// The walls that it is said to have.
    pub isolation: Isolation,
    /// A file that everybody may read.
    pub file: PathBuf,
    /// Port of a listener on 127.0.0.1.
    pub port: u16,
    /// Name of an abstract Unix socket that listens.
    pub abstract_name: String,
    /// Path of a Unix socket that listens, if there is one.
    pub socket: Option<PathBuf>,
}

/// One attempt and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Profile of the jail; `outside` for what was seen from there.
    pub jail: String,
    /// What was tried.
    pub probe: String,
    /// The outcomes that are as they should be, separated by ` or `.
    pub expected: String,
    /// The outcome.
    pub seen: String,
}

impl Finding {
    /// Records an outcome.
    pub fn new(jail: &str, probe: impl Into<String>, expected: &[&str], seen: impl Into<String>) -> Self {
        Self { jail: jail.into(), probe: probe.into(), expected: expected.join(" or "), seen: seen.into() }
    }

    /// Whether it is as it should be.
    pub fn holds(&self) -> bool {
        self.expected.split(" or ").any(|expected| expected == self.seen)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jail, probe, expected, seen } = self;
        write!(f, "{jail}: {probe}: {seen}, expected {expected}")
    }
}

/// Limits of a jail that is tested.
pub fn limits(limits: JailLimits) -> JailLimits {
    JailLimits { scratch_bytes: SCRATCH_BYTES, scratch_inodes: SCRATCH_INODES, ..limits }
}

/// Tries everything. Only for the payload of a jail: what succeeds is not taken back.
pub fn look(ground: &Ground) -> Vec<Finding> {
    let mut table = Table { jail: &ground.profile, isolation: ground.isolation, findings: Vec::new() };
    table.identity();
    table.files(ground);
    table.sockets(ground);
    table.kernel();
    table.scratch();
    table.findings
}

/// The last attempt: a system call of another architecture, which ends the process. Where the architecture has no
/// other, nothing happens.
pub fn make_foreign_call() {
    sys::foreign_call();
}

/// Whether [`make_foreign_call`] must end a jailed process.
pub const HAS_FOREIGN_CALL: bool = cfg!(target_arch = "x86_64");

/// What an attempt came to that nothing held back.
const POSSIBLE: &str = "possible";

struct Table<'a> {
    jail: &'a str,
    isolation: Isolation,
    findings: Vec<Finding>,
}

impl Table<'_> {
    fn add(&mut self, probe: impl Into<String>, expected: &[&str], seen: impl Into<String>) {
        self.findings.push(Finding::new(self.jail, probe, expected, seen));
    }

    /// Who this process is and what it may.
    fn identity(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map_or("absent", str::trim).to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            self.add(format!("capabilities, {set}"), &["0000000000000000"], field(set));
        }
        self.add("no_new_privs", &["1"], field("NoNewPrivs"));
        self.add("mode of seccomp", &["2"], field("Seccomp"));
        self.add("environment of process 1", self.absent(), outcome(open("/proc/1/environ", OFlags::RDONLY)));
        if self.isolation == Isolation::Landlock {
            let is_root = rustix::process::geteuid().is_root() && maps_root();
            self.add("being root of the machine", &["no"], if is_root { "yes" } else { "no" });
            self.add("other processes", &["0"], visible_processes().to_string());
            let parent = rustix::process::getppid().map(rustix::process::test_kill_process);
            self.add("a signal to the parent", &["EPERM"], parent.map_or("no parent".into(), outcome));
            return;
        }
        self.add("capabilities, CapBnd", &["0000000000000000"], field("CapBnd"));
        self.add("own process id", &["2"], std::process::id().to_string());
        self.add("own user", &["1000"], rustix::process::geteuid().as_raw().to_string());
        let name = rustix::system::uname();
        self.add("host name", &[HOST_NAME], name.nodename().to_string_lossy());
        self.add("visible processes", &["1"], visible_processes().to_string());
    }

    /// What an attempt comes to on what is not there: in the lesser tier it is there and closed.
    fn absent(&self) -> &'static [&'static str] {
        match self.isolation {
            Isolation::Namespaces => &["ENOENT"],
            Isolation::Landlock => &["EACCES", "ENOENT"],
        }
    }

    /// Files outside, and files inside that are not for it.
    fn files(&mut self, ground: &Ground) {
        let absent = self.absent();
        self.add("a file outside", absent, outcome(open(&ground.file, OFlags::RDONLY)));
        let existence: &[&str] = match self.isolation {
            Isolation::Namespaces => &["ENOENT"],
            // Known and documented; a machine may hide the processes of others.
            Isolation::Landlock => &[POSSIBLE, "ENOENT"],
        };
        self.add("existence of a file outside", existence, outcome(rustix::fs::stat(&ground.file)));
        // The mode that it has.
        let mode = rustix::fs::chmod(&ground.file, Mode::from_raw_mode(0o644));
        let kept: &[&str] = match self.isolation {
            Isolation::Namespaces => &["ENOENT"],
            Isolation::Landlock => &["EPERM"],
        };
        self.add("changing the mode of a file outside", kept, outcome(mode));
        for path in ["/etc/shadow", "/root", "/home", "/sys", "/run", "/proc/sys", "/proc/kcore", "/dev/mem"]
        {
            self.add(path, absent, outcome(open(path, OFlags::RDONLY)));
        }
        let core = open("/proc/sys/kernel/core_pattern", OFlags::WRONLY);
        self.add("writing core_pattern", absent, outcome(core));
        match self.isolation {
            Isolation::Namespaces => {
                self.add("Landlock: the closed file", &["EACCES"], outcome(open(CANARY, OFlags::RDONLY)));
            }
            Isolation::Landlock => self.add("listing `/`", &["EACCES"], outcome(open("/", OFlags::RDONLY))),
        }
        let create = OFlags::WRONLY | OFlags::CREATE;
        for path in ["/llmc-probe", "/usr/llmc-probe", "/etc/llmc-probe"] {
            self.add(format!("making {path}"), &["EROFS", "EACCES", "ENOENT"], outcome(open(path, create)));
        }
        self.add("writing own memory", &["EACCES"], outcome(open("/proc/self/mem", OFlags::RDWR)));
        let score = open("/proc/self/oom_score_adj", OFlags::WRONLY);
        self.add("own score in a shortage of memory", &["EACCES"], outcome(score));
        self.add("/dev/urandom", &[POSSIBLE], outcome(open("/dev/urandom", OFlags::RDONLY)));
    }

    /// Listeners outside.
    fn sockets(&mut self, ground: &Ground) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ground.port));
        let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        self.add("a TCP listener outside", &["EPERM"], io_outcome(tcp));
        let address = UnixAddr::from_abstract_name(&ground.abstract_name);
        let abstract_one = address.and_then(|address| UnixStream::connect_addr(&address));
        self.add("an abstract listener outside", &["EPERM"], io_outcome(abstract_one));
        if let Some(socket) = &ground.socket {
            self.add("a socket file outside", &["EPERM"], io_outcome(UnixStream::connect(socket)));
        }
        self.add("a pair of sockets of its own", &[POSSIBLE], io_outcome(UnixStream::pair()));
    }

    /// System calls.
    fn kernel(&mut self) {
        for attempt in sys::REFUSED {
            self.add(attempt.name, &["EPERM"], outcome(attempt.make()));
        }
        for attempt in sys::ABSENT {
            self.add(attempt.name, &["ENOSYS"], outcome(attempt.make()));
        }
        // In `workspace` the kernel takes offence at the arguments: the call was let through.
        let child = if self.jail == "code" { "EPERM" } else { "EINVAL" };
        self.add(sys::CHILD.name, &[child], outcome(sys::CHILD.make()));
        let thread = std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().is_ok());
        self.add("a thread", &[POSSIBLE], io_outcome(thread));
    }

    /// Scratch space: there, without programs, and with an end.
    fn scratch(&mut self) {
        if self.isolation == Isolation::Landlock {
            let file = File::create(Path::new(SCRATCH).join(format!("llmc-probe-{}", std::process::id())));
            self.add("a file in the machine's /tmp", &["EACCES"], io_outcome(file));
            return;
        }
        let program = Path::new(SCRATCH).join("program");
        let made = File::create(&program).and_then(|mut file| {
            file.write_all(b"#!/no-such-interpreter\n")?;
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        });
        self.add("a file in scratch space", &[POSSIBLE], io_outcome(made));
        // Were it permitted, its interpreter would be looked for and not found.
        self.add("a program in scratch space", &["EACCES"], error_name(&Command::new(&program).exec()));
        let pipe = Path::new(SCRATCH).join("pipe");
        let pipe = rustix::fs::mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
        self.add("a named pipe in scratch space", &[POSSIBLE], outcome(pipe));
        let block = vec![0; usize::try_from(SCRATCH_BYTES + 4096).unwrap_or_default()];
        let fill = File::create(Path::new(SCRATCH).join("full")).and_then(|mut file| file.write_all(&block));
        self.add("more bytes than scratch space has", &["ENOSPC"], io_outcome(fill));
        let files = (0..=SCRATCH_INODES)
            .try_for_each(|number| File::create(Path::new(SCRATCH).join(format!("file-{number}"))).map(drop));
        self.add("more files than scratch space has", &["ENOSPC"], io_outcome(files));
    }
}

/// Whether root here is root outside.
fn maps_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().nth(1).is_none_or(|outside| outside == "0")
}

fn visible_processes() -> usize {
    let is_process = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    std::fs::read_dir("/proc").map_or(0, |dir| dir.flatten().filter(is_process).count())
}

fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path.as_ref(), flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

fn outcome<T>(result: Result<T, Errno>) -> String {
    result.map_or_else(name, |_| POSSIBLE.to_owned())
}

fn io_outcome<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|error| error_name(&error), |_| POSSIBLE.to_owned())
}

fn error_name(error: &std::io::Error) -> String {
    Errno::from_io_error(error).map_or_else(|| error.to_string(), name)
}

fn name(errno: Errno) -> String {
    match errno {
        Errno::PERM => "EPERM".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::NOENT => "ENOENT".to_owned(),
        Errno::NOSYS => "ENOSYS".to_owned(),
        Errno::ROFS => "EROFS".to_owned(),
        Errno::NOSPC => "ENOSPC".to_owned(),
        Errno::INVAL => "EINVAL".to_owned(),
        other => format!("error {}", other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_expected_outcome_holds() {
        let finding = |seen: &str| Finding::new("code", "probe", &["EROFS", "EACCES"], seen);
        assert!(finding("EROFS").holds() && finding("EACCES").holds());
        assert!(!finding(POSSIBLE).holds() && !finding("").holds() && !finding("EROFS or EACCES").holds());
    }
}
