//! Server memory: a plugin, code or a command that knows the address of a secret still cannot read it.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::neighbour::hello;
use crate::prerequisites::{is_root, not_checked};
use crate::support::{Server, Setup, stage};

/// Stands in the memory of the server, because the server reads it from its environment.
const SECRET: &str = "tell-nobody-4f1d9c7e2b";

const CONFIG: &str = "[secrets]\nTOKEN = { env = 'TOKEN_VARIABLE' }\n[plugins.hello]\nlibrary = 'hello'\n";

/// Ranges of the memory of a process that hold data.
fn writable_ranges(pid: u32) -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        rest.starts_with("rw").then(|| (number(start), number(end)))
    };
    maps.lines().filter_map(range).collect()
}

/// Every place in the memory of a process where the text stands; root alone may look.
fn addresses(pid: u32, text: &str) -> Vec<u64> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for (start, end) in writable_ranges(pid) {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A range may be reserved only, or gone by now.
        let Ok(count) = memory.read_at(&mut bytes, start) else { continue };
        let hits = bytes[..count].windows(text.len()).enumerate();
        found.extend(hits.filter(|(_, window)| *window == text.as_bytes()).map(|(at, _)| start + at as u64));
    }
    found
}

/// Where the secret stands in the server, or, for a test that may not look, somewhere that is mapped.
fn address_of_secret(server: &Server) -> u64 {
    if is_root() {
        let found = addresses(server.pid(), SECRET);
        assert!(!found.is_empty(), "the server holds the secret somewhere");
        return found[0];
    }
    not_checked(
        "the address of a secret in the server, because only root may look for it; an address of this test is tried",
    );
    SECRET.as_ptr() as u64
}

#[test]
fn a_plugin_that_knows_the_address_of_a_secret_reaches_it_by_no_route() {
    let config = format!("{CONFIG}[plugins.stress]\nlibrary = '{{stress}}'");
    let mut server = Setup::new(&config).env("TOKEN_VARIABLE", SECRET).serve();
    let address = address_of_secret(&server);
    let arguments = json!({"address": address, "length": SECRET.len()});
    let reached = server.call("stress_server_memory", arguments).ok().clone();
    let mut routes: Vec<&str> = Vec::new();
    for attempt in reached["attempts"].as_array().unwrap() {
        let outcome = attempt["outcome"].as_str().unwrap();
        assert!(["EPERM", "EACCES", "ENOENT"].contains(&outcome), "{attempt}");
        routes.push(attempt["name"].as_str().unwrap());
    }
    let all = ["proc_mem_read", "proc_mem_write", "process_vm_readv", "process_vm_writev", "ptrace_peek"];
    assert_eq!(routes, all);
    assert_eq!(reached["bytes"], Value::Null);
    hello(&mut server);

    // The control: the address is right, and whoever is outside every jail can read it.
    if is_root() {
        let mut bytes = vec![0; SECRET.len()];
        let memory = File::open(format!("/proc/{}/mem", server.pid())).unwrap();
        memory.read_exact_at(&mut bytes, address).unwrap();
        assert_eq!(bytes, SECRET.as_bytes());
    }
    server.stop();
}

/// Reads and writes the memory of every process that it can name, by every route that Python has.
const PYTHON: &str = r#"
import ctypes, os, errno
SERVER, ADDRESS, LENGTH = {server}, {address}, {length}
libc = ctypes.CDLL(None, use_errno=True)
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
def name():
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))
found, reached = {}, []
for pid in sorted({SERVER, os.getppid(), *range(1, 40)} - {os.getpid(), 0}):
    for file, mode in (("mem", "rb"), ("mem", "r+b"), ("environ", "rb"), ("maps", "rb")):
        route = f"proc_{file}" if mode == "rb" else f"proc_{file}_write"
        try:
            with open(f"/proc/{pid}/{file}", mode, buffering=0) as opened:
                if mode != "rb":
                    # Whoever gets this far could write; what is there stays as it is.
                    reached.append((pid, route, "open"))
                if file == "mem":
                    opened.seek(ADDRESS)
                reached.append((pid, route, len(opened.read(LENGTH))))
        except OSError as error:
            found.setdefault(route, set()).add(errno.errorcode[error.errno])
    buffer = ctypes.create_string_buffer(LENGTH)
    local, remote = iovec(ctypes.addressof(buffer), LENGTH), iovec(ADDRESS, LENGTH)
    for route in ("process_vm_readv", "process_vm_writev"):
        count = getattr(libc, route)(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if count >= 0:
            reached.append((pid, route, count))
        found.setdefault(route, set()).add(name())
    PTRACE_SEIZE = 0x4206
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        reached.append((pid, "ptrace", 0))
    found.setdefault("ptrace", set()).add(name())
{"reached": reached, "outcomes": {route: sorted(names) for route, names in found.items()}}
"#;

#[test]
fn code_that_knows_the_address_of_a_secret_reaches_it_by_no_route() {
    let config = format!(
        "{CONFIG}[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }} }}"
    );
    let mut server = Setup::new(&config).env("TOKEN_VARIABLE", SECRET).serve();
    let address = address_of_secret(&server);
    let code = PYTHON
        .replace("{server}", &server.pid().to_string())
        .replace("{address}", &address.to_string())
        .replace("{length}", &SECRET.len().to_string());
    let done = server.call("execute_code", json!({"code": code})).ok().clone();
    let result = &done["result"];
    assert_eq!(result["reached"], json!([]), "{done:#}");
    let routes = ["proc_mem", "proc_mem_write", "proc_environ", "proc_maps"];
    for route in routes.into_iter().chain(["process_vm_readv", "process_vm_writev", "ptrace"]) {
        let outcomes = result["outcomes"][route].as_array().unwrap_or_else(|| panic!("{route}: {done:#}"));
        for outcome in outcomes {
            let outcome = outcome.as_str().unwrap();
            assert!(
                ["EPERM", "EACCES", "ENOENT", "ESRCH", "ENOSYS"].contains(&outcome),
                "{route}: {outcome}"
            );
        }
    }
    assert!(!done.to_string().contains(SECRET));
    hello(&mut server);
    server.stop();
}

#[test]
fn a_command_cannot_read_the_memory_or_environment_of_the_server() {
    let config = format!(
        "{CONFIG}[roots]\nwork = {{ path = '{{work}}' }}\n[plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['cat'] }} }}\n\
         [programs.cat]\nrules = 'none'"
    );
    let mut server = Setup::new(&config).file("own.txt", "readable").env("TOKEN_VARIABLE", SECRET).serve();
    let hosts = server.children("llmc-host");
    let pids = hosts.into_iter().chain(server.children("llmc-runner")).chain([server.pid(), 1]);
    for pid in pids {
        for file in ["environ", "mem", "maps", "cmdline", "root/etc/hostname", "fd/0"] {
            let path = format!("/proc/{pid}/{file}");
            let called = server.call("run_command", json!({"argv": ["cat", path]}));
            let result = &called.0["result"]["structuredContent"];
            // Process 1 of the jail is none of ours: what it shows must be empty of facts.
            let stdout = result["stdout"].as_str().unwrap_or_else(|| panic!("{called:?}"));
            assert!(result["exit_code"] != 0 || (pid == 1 && stdout.is_empty()), "{path}: {result:#}");
            assert!(!called.0.to_string().contains(SECRET), "{path}");
        }
    }
    let called = server.call("run_command", json!({"argv": ["cat", "own.txt"]}));
    assert_eq!(called.ok()["stdout"], "readable");
    server.stop();
}

/// A user without any right, for tests that root runs.
const NOBODY: u32 = 65534;

/// A command of the user that the server of the next test runs as.
fn as_ordinary_user(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Whether another process of that user can read this.
fn can_be_read(path: &str) -> bool {
    let mut command = Command::new("head");
    command.args(["-c", "1", path]).stdout(Stdio::piped()).stderr(Stdio::null());
    as_ordinary_user(&mut command);
    let output = command.output().unwrap();
    output.status.success() && !output.stdout.is_empty()
}

#[test]
fn processes_of_the_same_user_cannot_look_into_the_server_its_hosts_or_its_runner() {
    let config = format!(
        "{CONFIG}[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }} }}"
    );
    let mut version = Command::new(stage().join("bin/llmc"));
    version.arg("--version").stdout(Stdio::null());
    as_ordinary_user(&mut version);
    if !version.status().is_ok_and(|status| status.success()) {
        return not_checked(
            "what processes of the same user see, because ordinary users cannot enter the stage",
        );
    }
    let setup = Setup::new(&config).env("TOKEN_VARIABLE", SECRET).prepare(as_ordinary_user);
    std::fs::set_permissions(setup.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut server = setup.serve();
    hello(&mut server);
    let own =
        [server.pid()].into_iter().chain(server.children("llmc-host")).chain(server.children("llmc-runner"));
    let own: Vec<u32> = own.collect();
    assert_eq!(own.len(), 4, "server, two hosts, runner");
    for pid in own {
        for file in ["environ", "maps", "auxv", "io"] {
            assert!(!can_be_read(&format!("/proc/{pid}/{file}")), "{file} of process {pid}");
        }
    }
    server.stop();

    // The control: an ordinary process of that user can be looked into.
    let mut command = Command::new("sleep");
    command.arg("60").env("TOKEN_VARIABLE", SECRET);
    as_ordinary_user(&mut command);
    let mut ordinary = command.spawn().unwrap();
    let seen =
        ["environ", "maps", "auxv", "io"].map(|file| can_be_read(&format!("/proc/{}/{file}", ordinary.id())));
    ordinary.kill().unwrap();
    ordinary.wait().unwrap();
    assert_eq!(seen, [true; 4]);
}
