//! The jail of a plugin host.

use std::ffi::CStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use llmc_sandbox::host::{HostLimits, HostPolicy, HostRoot, enter};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::attack::{self, Log, pointer, raw};
use crate::{Case, Outcomes};

pub(crate) const ROLE: &str = "role:host";

pub(crate) const CASES: &[Case] = &[
    ("host::attacks_are_refused_and_honest_work_goes_on", attacks),
    ("host::without_namespaces_the_other_walls_stand", without_namespaces),
    ("host::required_namespaces_are_required", required_namespaces),
    ("host::a_wrong_parent_is_noticed", wrong_parent),
    ("host::abort_ends_the_process", abort),
    ("host::outside_view_shows_the_walls", outside_view),
];

struct Fixture {
    dir: TempDir,
    library: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        // The directory itself must be passable for whatever user runs the tests.
        for name in ["rw", "ro"] {
            std::fs::create_dir(path.join(name)).unwrap();
            std::fs::write(path.join(name).join("file"), "contents").unwrap();
        }
        std::fs::write(path.join("secret"), "secret").unwrap();
        let source = path.join("plugin.c");
        std::fs::write(&source, "int answer(void) { return 42; }").unwrap();
        let library = path.join("plugin.so");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("cc is needed to build a library for this test");
        assert!(status.success());
        Self { dir, library }
    }

    /// Runs the role in `mode`; returns what it reported and how it ended.
    fn run(&self, mode: &str) -> (Outcomes, std::process::ExitStatus) {
        let (mut child, mut socket) = self.start(mode);
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let status = child.wait().unwrap();
        (Outcomes::parse(&text), status)
    }

    fn start(&self, mode: &str) -> (Child, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args([ROLE, mode])
            .args([self.dir.path(), self.library.as_path()])
            .arg(std::process::id().to_string())
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        (child, ours)
    }
}

fn attacks() {
    let fixture = Fixture::new();
    let (outcomes, status) = fixture.run("plain");
    assert!(status.success(), "{status:?}");
    println!("host::enter took {} microseconds", outcomes.0["enter_us"]);
    outcomes.expect("isolation", &["Namespaces"]);
    outcomes.expect("stat_outside", &["ENOENT"]);
    outcomes.expect("stat_beside_root", &["ENOENT"]);
    outcomes.expect("open_beside_root", &["ENOENT", "EACCES"]);
    outcomes.expect("list_root", &["EACCES"]);
    outcomes.expect("proc", &["ENOENT"]);
    common_expectations(&outcomes);
    assert_eq!(std::fs::read_to_string(fixture.dir.path().join("rw/made")).unwrap(), "by the host");
    use std::os::unix::fs::MetadataExt;
    let owner = |name: &str| std::fs::metadata(fixture.dir.path().join(name)).unwrap().uid();
    assert_eq!(owner("rw/made"), owner("rw"), "files keep the owner of the server");
}

fn without_namespaces() {
    let (outcomes, status) = Fixture::new().run("no-namespaces");
    assert!(status.success(), "{status:?}");
    println!("host::enter took {} microseconds without namespaces", outcomes.0["enter_us"]);
    outcomes.expect("isolation", &["Landlock"]);
    outcomes.expect("gaps", &["1"]);
    outcomes.expect("open_beside_root", &["EACCES"]);
    outcomes.expect("list_root", &["EACCES"]);
    outcomes.expect("proc", &["EACCES"]);
    common_expectations(&outcomes);
}

fn common_expectations(outcomes: &Outcomes) {
    outcomes.expect_all(attack::REFUSED, &["EPERM"]);
    outcomes.expect_all(&["clone3", "seccomp"], &["ENOSYS"]);
    outcomes.expect_all(
        &[
            "fork",
            "vfork_like",
            "execve",
            "kill_parent",
            "signal_parent_thread",
            "limit_of_parent",
            "raise_limit",
            "owner_of_signals",
            "socketpair_dgram",
            "set_id_create",
            "set_id_chmod",
            "truncate_by_name",
        ],
        &["EPERM"],
    );
    outcomes.expect_all(&["open_outside", "parent_memory"], &["ENOENT", "EACCES"]);
    outcomes.expect_all(&["write_ro", "create_ro"], &["EROFS", "EACCES"]);
    outcomes.expect("large_file", &["EFBIG"]);
    outcomes.expect("many_files", &["EMFILE"]);
    outcomes.expect("environment", &["0"]);
    outcomes.expect("dlopen", &["42"]);
    outcomes.expect("math_library", &["true"]);
    outcomes.expect_all(
        &[
            "read_rw",
            "read_ro",
            "beneath",
            "create_rw",
            "rename_rw",
            "delete_rw",
            "thread",
            "list_rw",
            "socketpair_stream",
        ],
        &["ok"],
    );
    outcomes.expect("escape_beneath", &["EXDEV"]);
    outcomes.expect_all(&["stdin", "stdout"], &["null"]);
}

fn required_namespaces() {
    let (outcomes, status) = Fixture::new().run("require-namespaces");
    assert_eq!(status.code(), Some(3));
    outcomes.expect("layer", &["user namespace"]);
}

fn wrong_parent() {
    let (outcomes, status) = Fixture::new().run("wrong-parent");
    assert_eq!(status.code(), Some(3));
    outcomes.expect("layer", &["parent death"]);
}

fn abort() {
    use std::os::unix::process::ExitStatusExt;
    let (_, status) = Fixture::new().run("abort");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
}

fn outside_view() {
    let fixture = Fixture::new();
    let (mut child, mut socket) = fixture.start("wait");
    let mut ready = [0; 6];
    socket.read_exact(&mut ready).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
    if rustix::process::geteuid().is_root() {
        // 0, 1, 2, the socket, the library and two roots.
        assert_eq!(fds.unwrap().count(), 7);
    } else {
        fds.expect_err("an undumpable process shows its descriptors to nobody");
    }
    drop(socket);
    child.wait().unwrap();
}

/// The host process: `mode, directory, library, parent`.
pub(crate) fn role(args: &[String]) -> ExitCode {
    let [mode, dir, library, parent] = args else { panic!("bad arguments") };
    if mode == "no-namespaces" || mode == "require-namespaces" {
        forbid_namespaces();
    }
    let mut socket = llmc_sandbox::descriptors::isolate_stdio().unwrap();
    let open = |name: &str| {
        rustix::fs::openat(CWD, Path::new(dir).join(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .unwrap()
    };
    let plugin = sealed(Path::new(library));
    let parent: u32 = parent.parse().unwrap();
    let policy = HostPolicy {
        roots: vec![
            HostRoot { dir: open("rw"), writable: true },
            HostRoot { dir: open("ro"), writable: false },
        ],
        limits: HostLimits { memory_bytes: 1 << 30, open_files: 64, file_bytes: 1 << 20 },
        server_pid: Some(if mode == "wrong-parent" { 1 + parent } else { parent }),
        require_namespaces: mode == "require-namespaces",
    };
    let started = Instant::now();
    let entered = match enter(policy, plugin.as_fd()) {
        Ok(entered) => entered,
        Err(error) => {
            writeln!(socket, "layer={}\nmessage={error}", error.layer()).unwrap();
            return ExitCode::from(3);
        }
    };
    let took = started.elapsed();
    match mode.as_str() {
        "abort" => std::process::abort(),
        "wait" => {
            socket.write_all(b"ready\n").unwrap();
            let mut end = [0];
            let _ = socket.read(&mut end);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }

    let mut log = Log::default();
    log.text("enter_us", &took.as_micros().to_string());
    log.text("isolation", &format!("{:?}", entered.report.isolation));
    log.text("gaps", &entered.report.gaps.len().to_string());
    files(&mut log, &entered.roots, dir);
    processes(&mut log, parent);
    attack::kernel_surface(&mut log);
    library_loads(&mut log, &entered.plugin_path);
    log.text("environment", &std::env::vars_os().count().to_string());
    for (name, number) in [("stdin", 0), ("stdout", 1)] {
        // SAFETY: 0 and 1 are open for the life of this process; forgotten right after.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        let stat = rustix::fs::fstat(&fd).unwrap();
        std::mem::forget(fd);
        log.text(name, if stat.st_rdev == rustix::fs::makedev(1, 3) { "null" } else { "other" });
    }
    socket.write_all(log.0.as_bytes()).unwrap();
    ExitCode::SUCCESS
}

fn files(log: &mut Log, roots: &[OwnedFd], dir: &str) {
    let [rw, ro] = roots else { panic!("two roots") };
    let read = |fd: &OwnedFd, path: &str| {
        rustix::fs::openat(fd, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let create = |fd: &OwnedFd, path: &str, mode| {
        rustix::fs::openat(
            fd,
            path,
            OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::from_raw_mode(mode),
        )
    };
    log.note("read_rw", read(rw, "file"));
    log.note("read_ro", read(ro, "file"));
    log.note("write_ro", rustix::fs::openat(ro, "file", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()));
    log.note("create_ro", create(ro, "made", 0o644));
    log.note("truncate_by_name", raw(libc::SYS_truncate, &[pointer(c"/roots/1/file"), 0]));
    let made = create(rw, "made", 0o644);
    log.note(
        "create_rw",
        made.as_ref().map_err(|errno| *errno).and_then(|fd| rustix::io::write(fd, b"by the host")),
    );
    log.note("set_id_create", create(rw, "setid", 0o4755));
    log.note("set_id_chmod", rustix::fs::fchmod(made.unwrap(), Mode::from_raw_mode(0o4755)));
    let large = create(rw, "large", 0o644).unwrap();
    log.note("large_file", rustix::io::pwrite(&large, b"x", 1 << 20));
    log.note("rename_rw", rustix::fs::renameat(rw, "large", rw, "larger"));
    log.note("delete_rw", rustix::fs::unlinkat(rw, "larger", rustix::fs::AtFlags::empty()));
    log.note("list_rw", rustix::fs::Dir::read_from(rw).and_then(|mut dir| dir.next().unwrap().map(drop)));
    let beneath = |path: &str| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(rw, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    log.note("beneath", beneath("file"));
    log.note("escape_beneath", beneath("../secret"));
    log.note("open_beside_root", read(rw, "../secret"));
    log.note("stat_beside_root", rustix::fs::statat(rw, "../secret", rustix::fs::AtFlags::empty()));
    log.note("open_outside", read(rw, &format!("{dir}/secret")));
    log.note("stat_outside", rustix::fs::stat("/etc/passwd"));
    log.note("list_root", read(rw, "/"));
    log.note("proc", read(rw, "/proc/self/status"));
    let mut open = Vec::new();
    let exhausted = loop {
        match read(rw, "file") {
            Ok(fd) if open.len() < 100 => open.push(fd),
            Ok(_) => break Ok(()),
            Err(errno) => break Err(errno),
        }
    };
    log.note("many_files", exhausted);
}

fn processes(log: &mut Log, parent: u32) {
    let parent = parent as usize;
    let end_child = |result: Result<usize, Errno>| {
        if result == Ok(0) {
            // SAFETY: ends a child that should not exist.
            unsafe { libc::_exit(0) }
        }
        result
    };
    log.note("fork", end_child(raw(libc::SYS_clone, &[libc::SIGCHLD as usize])));
    log.note("vfork_like", end_child(raw(libc::SYS_clone, &[(libc::CLONE_PARENT | libc::SIGCHLD) as usize])));
    log.call("execve", libc::SYS_execve, &[pointer(c"/bin/true"), 0, 0]);
    log.call("kill_parent", libc::SYS_kill, &[parent, 0]);
    log.call("signal_parent_thread", libc::SYS_tgkill, &[parent, parent, 0]);
    log.call("limit_of_parent", libc::SYS_prlimit64, &[parent, 7, 0, 0]);
    let limit = [64_u64, 64];
    log.call("raise_limit", libc::SYS_prlimit64, &[0, 7, limit.as_ptr() as usize, 0]);
    let (pair, _other) = UnixStream::pair().unwrap();
    log.call(
        "owner_of_signals",
        libc::SYS_fcntl,
        &[pair.as_raw_fd() as usize, libc::F_SETOWN as usize, parent],
    );
    log.note("parent_memory", rustix::fs::open(format!("/proc/{parent}/mem"), OFlags::RDONLY, Mode::empty()));
    log.note("thread", std::thread::spawn(|| ()).join().map_err(|_| Errno::IO));
}

fn library_loads(log: &mut Log, path: &CStr) {
    // SAFETY: the path is NUL-terminated, and the library is the one built by the fixture.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        // SAFETY: dlerror returns a string after a failure.
        let error = unsafe { CStr::from_ptr(libc::dlerror()) };
        return log.text("dlopen", &error.to_string_lossy());
    }
    // SAFETY: `answer` has this type; the library stays loaded.
    let answer = unsafe {
        let symbol = libc::dlsym(handle, c"answer".as_ptr());
        std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(symbol)
    };
    log.text("dlopen", &answer().to_string());
    // SAFETY: asks for a library that is already loaded.
    let math = unsafe { libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    log.text("math_library", &(!math.is_null()).to_string());
}

/// A sealed copy of a file in memory.
fn sealed(path: &Path) -> OwnedFd {
    let fd = rustix::fs::memfd_create("plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let mut file = std::fs::File::from(fd);
    file.write_all(&std::fs::read(path).unwrap()).unwrap();
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

/// Moves into a user namespace that may not have children, as on a machine that forbids user namespaces.
pub(crate) fn forbid_namespaces() {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: changes namespaces of this process, which has one thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }.unwrap();
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
}
