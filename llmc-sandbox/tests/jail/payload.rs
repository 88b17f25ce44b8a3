//! What runs inside a one-shot jail for the cases: attacks, and honest work beside them.

use std::ffi::CStr;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::attack::{self, Log, pointer, raw};

pub(crate) const ROLE: &str = "role:payload";

/// `fchmodat2(2)` has one number everywhere.
const FCHMODAT2: libc::c_long = 452;

pub(crate) fn role(args: &[String]) -> ExitCode {
    let mut log = Log::default();
    match args[0].as_str() {
        "files" => files(&mut log),
        "processes" => processes(&mut log),
        "surface" => {
            attack::kernel_surface(&mut log);
            log.call("openat2", libc::SYS_openat2, &[0, 0, 0, 0]);
            log.call("unknown", 10_000, &[]);
        }
        "foreign-call" => foreign_call(&mut log),
        "given" => given(&mut log),
        "code" => code(&mut log),
        "memory" => use_memory(1 << 30, libc::MAP_PRIVATE),
        "shared-memory" => use_memory(1 << 30, libc::MAP_SHARED),
        "some-memory" => {
            use_memory(16 << 20, libc::MAP_PRIVATE);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        "hidden-memory" => hide_memory(128 << 20),
        "some-hidden-memory" => hide_memory(16 << 20),
        "memory-children" => memory_children(),
        "forks" => forks(&mut log),
        "scratch" => scratch(&mut log),
        "daemon" => daemon(),
        "set-id" => set_id(&mut log),
        "allocate" => allocate(&mut log),
        other => panic!("no payload {other}"),
    }
    std::io::stdout().write_all(log.0.as_bytes()).unwrap();
    ExitCode::SUCCESS
}

/// Blocks for a file in a granted directory, by the call that takes no time and by the C library's long way.
fn allocate(log: &mut Log) {
    let file = open("/granted/file", OFlags::RDWR | OFlags::CREATE).unwrap();
    let beyond_the_end = rustix::fs::FallocateFlags::KEEP_SIZE;
    log.note("fallocate", rustix::fs::fallocate(&file, beyond_the_end, 0, 1 << 40));
    // SAFETY: takes integers only.
    let result = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 1 << 20) };
    log.text("posix_fallocate", &result.to_string());
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
}

fn files(log: &mut Log) {
    for path in [
        "/etc/shadow",
        "/root",
        "/home",
        "/sys",
        "/boot",
        "/proc/sysrq-trigger",
        "/proc/kallsyms",
        "/proc/kcore",
        "/proc/keys",
        "/proc/1",
        "/proc/1/environ",
        "/proc/1/root",
        "/dev/kmsg",
        "/dev/mem",
        "/dev/ptmx",
        "/dev/tty",
        "/dev/shm",
        "/run",
        "/var/log",
    ] {
        log.note(path, rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW));
    }
    // Opened, never written to.
    log.note("/proc/sys/kernel/core_pattern", open("/proc/sys/kernel/core_pattern", OFlags::WRONLY));
    let create = OFlags::WRONLY | OFlags::CREATE;
    log.note("write_usr", open("/usr/llmc-test", create));
    log.note("write_etc", open("/etc/llmc-test", create));
    log.note("write_root", open("/llmc-test", create));
    log.note("write_scratch", open("/tmp/file", create).and_then(|fd| rustix::io::write(fd, b"x")));
    log.note("rename_scratch", rustix::fs::renameat(CWD, "/tmp/file", CWD, "/tmp/other"));
    log.note("read_usr", open("/usr/bin/env", OFlags::RDONLY));
    log.note("null", open("/dev/null", OFlags::RDWR).and_then(|fd| rustix::io::write(fd, b"x")));
    log.note(
        "urandom",
        open("/dev/urandom", OFlags::RDONLY).and_then(|fd| rustix::io::read(fd, &mut [0; 8][..])),
    );
    log.note(
        "chmod_null",
        rustix::fs::chmodat(CWD, "/dev/null", Mode::from_raw_mode(0o666), AtFlags::empty()),
    );
    log.note("write_own_memory", open("/proc/self/mem", OFlags::RDWR));
    log.note("write_oom_score", open("/proc/self/oom_score_adj", OFlags::WRONLY));
    log.note("read_canary", open("/.llmc-canary", OFlags::RDONLY));
    log.call("mknod", libc::SYS_mknodat, &[libc::AT_FDCWD as usize, pointer(c"/tmp/d"), 0o20666, 0x103]);
    log.note("hard_link", rustix::fs::linkat(CWD, "/usr/bin/env", CWD, "/tmp/env", AtFlags::empty()));
    std::fs::copy("/bin/true", "/tmp/true").unwrap();
    let exec = [pointer(c"/tmp/true"), 0, 0];
    log.call("exec_scratch", libc::SYS_execve, &exec);
    let identity = |path: &str| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let same = identity("/").unwrap() == identity("/..").unwrap();
    log.text("parent_of_root", if same { "same" } else { "other" });
    log.text("dev", &names("/dev"));
    log.text("top", &names("/"));
}

fn names(directory: &str) -> String {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join(" ")
}

fn processes(log: &mut Log) {
    let pid = std::process::id();
    log.text("pid", &pid.to_string());
    log.text("parent", &std::os::unix::process::parent_id().to_string());
    assert_eq!(pid, 2, "not in a pid namespace of its own: no signal is tried");
    // Process 1 hides itself; `self` counts once by its number.
    let visible =
        names("/proc").split(' ').filter(|name| name.parse::<u32>().is_ok()).collect::<Vec<_>>().join(" ");
    log.text("visible", &visible);
    // Signal 0 asks whether a signal could be sent, and to whom, without sending one.
    log.call("signal_all", libc::SYS_kill, &[usize::MAX, 0]);
    log.call("signal_init", libc::SYS_kill, &[1, 0]);
    let limit = [1_u64, 1];
    log.call(
        "limit_of_init",
        libc::SYS_prlimit64,
        &[1, libc::RLIMIT_NOFILE as usize, limit.as_ptr() as usize, 0],
    );
    log.call("priority", libc::SYS_setpriority, &[0, 1, 19]);
    let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    log.call("signal_all_with_child", libc::SYS_kill, &[usize::MAX, 0]);
    log.note("signal_child", child.kill().map_err(|_| Errno::PERM));
    child.wait().unwrap();
}

/// `getpid` of the 32-bit ABI; only meaningful on x86-64.
fn foreign_call(log: &mut Log) {
    #[cfg(target_arch = "x86_64")]
    {
        let result: i32;
        // SAFETY: int 0x80 with the number of getpid changes eax alone.
        unsafe {
            std::arch::asm!("int 0x80", inout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
        };
        log.text("foreign", &result.to_string());
    }
}

fn given(log: &mut Log) {
    // The descriptor that reads the directory is one too many.
    let dir = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut fds: Vec<i32> =
        dir.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    fds.sort_unstable();
    fds.retain(|fd| rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{fd}"), Vec::new()).is_ok());
    log.text("descriptors", &fds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let mut environment: Vec<String> =
        std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    environment.sort();
    log.text("environment", &environment.join(" "));
    log.text("file", &std::fs::read_to_string("/llmc/boot.py").unwrap());
    log.note("write_file", open("/llmc/boot.py", OFlags::WRONLY));
    log.text("cwd", std::env::current_dir().unwrap().to_str().unwrap());
    let mut job = [0; 4];
    // SAFETY: 3 is the job socket.
    let count = unsafe { libc::read(3, job.as_mut_ptr().cast(), 4) };
    log.text("job", std::str::from_utf8(&job[..count.max(0) as usize]).unwrap());
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    log.text("stdin", &format!("{} bytes", input.len()));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines() {
        let Some((name, value)) = line.split_once(":\t") else { continue };
        match name {
            "Uid" => log.text("ids", &value.replace('\t', " ")),
            "Groups" => log.text("groups", &value.split_whitespace().count().to_string()),
            "SigIgn" => log.text("ignored_signals", ignored(value)),
            name => log.text(name, value.trim()),
        }
    }
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    log.text("core_limit", &core.maximum.unwrap_or(1).to_string());
    log.text("oom_score", std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim());
    let more = [1_u64 << 20, 1 << 20];
    for (name, resource) in [("raise_files", libc::RLIMIT_NOFILE), ("raise_processes", libc::RLIMIT_NPROC)] {
        log.call(name, libc::SYS_prlimit64, &[0, resource as usize, more.as_ptr() as usize, 0]);
    }
    let mut open_files = Vec::new();
    let exhausted = loop {
        match open("/dev/null", OFlags::RDONLY) {
            Ok(fd) if open_files.len() < 1000 => open_files.push(fd),
            Ok(_) => break Ok(()),
            Err(errno) => break Err(errno),
        }
    };
    drop(open_files);
    log.note("many_files", exhausted);
}

/// The runtime of this very binary ignores SIGPIPE (13) before it comes here.
fn ignored(mask: &str) -> &str {
    if mask == "0000000000001000" { "0000000000000000" } else { mask }
}

fn code(log: &mut Log) {
    let no_child = |result: Result<usize, Errno>| {
        if result == Ok(0) {
            // SAFETY: ends a child that should not exist.
            unsafe { libc::_exit(0) }
        }
        result
    };
    #[cfg(target_arch = "x86_64")]
    {
        log.note("fork", no_child(raw(libc::SYS_fork, &[])));
        log.note("vfork", no_child(raw(libc::SYS_vfork, &[])));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for name in ["fork", "vfork"] {
        log.note::<()>(name, Err(Errno::PERM));
    }
    let clone = raw(libc::SYS_clone, &[libc::SIGCHLD as usize]);
    log.note("clone_fork", no_child(clone));
    log.call("wait", libc::SYS_wait4, &[usize::MAX, 0, 0, 0]);
    log.note("shell", rustix::fs::stat("/bin/sh"));
    log.note("usr_bin", rustix::fs::stat("/usr/bin"));
    log.note("list_root", open("/", OFlags::RDONLY | OFlags::DIRECTORY));
    log.note("write_scratch", open("/tmp/file", OFlags::WRONLY | OFlags::CREATE));
    log.note("thread", std::thread::spawn(|| ()).join().map_err(|_| Errno::IO));
    let mut threads = Vec::new();
    let outcome = loop {
        let start = std::thread::Builder::new().spawn(std::thread::park);
        match start {
            Ok(thread) if threads.len() < 200 => threads.push(thread),
            Ok(_) => break "unbounded",
            Err(_) => break "bounded",
        }
    };
    log.text("threads", outcome);
}

/// Touches memory page by page.
fn use_memory(bytes: usize, sharing: i32) {
    // SAFETY: asks for new memory.
    let memory = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), bytes, protection, sharing | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert_ne!(memory, libc::MAP_FAILED);
    for page in (0..bytes).step_by(4096) {
        // SAFETY: within the memory asked for above.
        unsafe { memory.cast::<u8>().add(page).write_volatile(1) };
        if page % (8 << 20) == 0 {
            // Slowly enough for a machine of any speed to notice.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Fills memory that is shared with nobody, and gives every part back at once: it stays in use, and no process shows it.
fn hide_memory(bytes: usize) {
    const PART: usize = 1 << 20;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: asks for new memory.
    let memory = unsafe {
        libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert_ne!(memory, libc::MAP_FAILED);
    for part in (0..bytes).step_by(PART) {
        // SAFETY: within the memory asked for above, which nobody else knows.
        unsafe {
            let start = memory.cast::<u8>().add(part);
            start.write_bytes(1, PART);
            assert_eq!(libc::madvise(start.cast(), PART, libc::MADV_DONTNEED), 0);
        }
    }
}

fn memory_children() {
    for _ in 0..6 {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == 0 {
            use_memory(20 << 20, libc::MAP_PRIVATE);
            std::thread::sleep(std::time::Duration::from_secs(1000));
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(1000));
}

/// Starts children until the limit, and never more than 300.
fn forks(log: &mut Log) {
    log.text("pid", &std::process::id().to_string());
    assert_eq!(std::process::id(), 2, "not in a pid namespace of its own: nothing is started");
    let mut started = 0;
    let end = loop {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => loop {
                std::thread::sleep(std::time::Duration::from_secs(1000));
            },
            -1 => break "EAGAIN",
            _ if started == 300 => break "nothing",
            _ => started += 1,
        }
    };
    log.text("forks", &format!("{started} then {end}"));
}

fn scratch(log: &mut Log) {
    let mut files = Vec::new();
    let end = loop {
        match open(&format!("/tmp/{}", files.len()), OFlags::WRONLY | OFlags::CREATE) {
            Ok(fd) => files.push(fd),
            Err(errno) => break errno,
        }
    };
    let count = files.len();
    log.text("inodes", &format!("{count} then {}", if end == Errno::NOSPC { "ENOSPC" } else { "?" }));
    let mut written = 0;
    let end = loop {
        match rustix::io::write(&files[0], &[1; 4096]) {
            Ok(count) => written += count,
            Err(errno) => break errno,
        }
    };
    log.text("fill", &format!("{written} then {}", if end == Errno::NOSPC { "ENOSPC" } else { "?" }));
    // SAFETY: sets a disposition; the default would end the process.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    log.note("sparse", rustix::fs::ftruncate(&files[1], 1 << 40));
}

/// Leaves a process behind that has its own session, ignores signals and holds stdout.
fn daemon() {
    // SAFETY: this process has one thread.
    if unsafe { libc::fork() } == 0 {
        rustix::process::setsid().unwrap();
        // SAFETY: as above.
        if unsafe { libc::fork() } == 0 {
            for signal in 1..32 {
                // SAFETY: ignores a signal.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            println!("daemon");
            std::thread::sleep(std::time::Duration::from_secs(1000));
        }
        // SAFETY: ends the middle process.
        unsafe { libc::_exit(0) }
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
}

fn set_id(log: &mut Log) {
    let file = open("/granted/file", OFlags::RDONLY).unwrap();
    let fd = file.as_raw_fd() as usize;
    let cwd = libc::AT_FDCWD as usize;
    let path = |path: &'static CStr| pointer(path);
    log.call("plain_chmod", libc::SYS_fchmodat, &[cwd, path(c"/granted/file"), 0o755]);
    log.call("fchmod", libc::SYS_fchmod, &[fd, 0o4755]);
    log.call("chmod", libc::SYS_fchmodat, &[cwd, path(c"/granted/file"), 0o4755]);
    log.call("set_gid", libc::SYS_fchmodat, &[cwd, path(c"/granted/file"), 0o2755]);
    log.call("fchmodat2", FCHMODAT2, &[cwd, path(c"/granted/file"), 0o4755, 0]);
    let flags = (libc::O_CREAT | libc::O_WRONLY) as usize;
    log.call("create", libc::SYS_openat, &[cwd, path(c"/granted/a"), flags, 0o4755]);
    #[cfg(target_arch = "x86_64")]
    {
        log.call("open", libc::SYS_open, &[path(c"/granted/b"), flags, 0o4755]);
        log.call("creat", libc::SYS_creat, &[path(c"/granted/c"), 0o4755]);
    }
}
