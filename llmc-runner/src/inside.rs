//! The payload of the trial: looks around from inside and tells what is not as it should be.

use std::io::Write;
use std::process::ExitCode;

use rustix::io::Errno;

/// What the trial prints when all is well.
pub(crate) const ALL_IS_WELL: &str = "all is well\n";

/// Prints [`ALL_IS_WELL`], or what is wrong.
pub(crate) fn look() -> ExitCode {
    let text = match findings() {
        findings if findings.is_empty() => ALL_IS_WELL.to_owned(),
        findings => findings.join("; "),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn findings() -> Vec<String> {
    let mut findings = Vec::new();
    let mut check = |what: &str, found: String, wanted: &str| {
        if found != wanted {
            findings.push(format!("{what} is {found} and not {wanted}"));
        }
    };
    check("the process id", std::process::id().to_string(), "2");
    check("the user id", rustix::process::geteuid().as_raw().to_string(), "1000");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("absent", str::trim).to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        check(set, field(set), "0000000000000000");
    }
    check("NoNewPrivs", field("NoNewPrivs"), "1");
    check("Seccomp", field("Seccomp"), "2");
    for path in ["/etc/shadow", "/root", "/home", "/sys", "/proc/1", "/proc/sys"] {
        check(path, outcome(rustix::fs::lstat(path)), "ENOENT");
    }
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    check("an internet socket", outcome(socket), "EPERM");
    check("making a file in /usr", outcome(create("/usr/llmc-trial")), "EROFS");
    check("making a file in /tmp", outcome(create("/tmp/llmc-trial")), "possible");
    check("reading the canary", outcome(open("/.llmc-canary", rustix::fs::OFlags::RDONLY)), "EACCES");
    let visible = std::fs::read_dir("/proc").map(|dir| {
        dir.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count()
    });
    check("the number of visible processes", visible.unwrap_or(0).to_string(), "1");
    findings
}

fn create(path: &str) -> Result<std::os::fd::OwnedFd, Errno> {
    open(path, rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE)
}

fn open(path: &str, flags: rustix::fs::OFlags) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::from_raw_mode(0o600))
}

fn outcome<T>(result: Result<T, Errno>) -> String {
    match result {
        Ok(_) => "possible".to_owned(),
        Err(Errno::NOENT) => "ENOENT".to_owned(),
        Err(Errno::PERM) => "EPERM".to_owned(),
        Err(Errno::ROFS) => "EROFS".to_owned(),
        Err(Errno::ACCESS) => "EACCES".to_owned(),
        Err(other) => format!("error {}", other.raw_os_error()),
    }
}
