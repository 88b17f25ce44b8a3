//! Invariant 2: a host is jailed before the first instruction of its plugin, static constructors included.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use serde_json::{Value, json};

use crate::neighbour::hello;
use crate::observe::descriptors;
use crate::prerequisites::{hosts_have_namespaces, is_root, not_checked};
use crate::support::{Server, Setup};
use crate::without::{FIRST_LEFT_OPEN, leaving_open, user_namespaces, without};

/// What must become of an attack.
enum Expected {
    /// One of these errors.
    Refused(&'static [&'static str]),
    /// It may work, because of this.
    Harmless(&'static str),
}

use Expected::{Harmless, Refused};

/// Refused by the filter.
const FILTERED: Expected = Refused(&["EPERM"]);
/// Not there, or not permitted by Landlock where there are no namespaces.
const HIDDEN: Expected = Refused(&["ENOENT", "EACCES"]);

/// Every attack of the stress plugin but the sockets.
const ATTACKS: &[(&str, Expected)] = &[
    ("read_etc_passwd", HIDDEN),
    ("read_self_environ", HIDDEN),
    ("readdir_root", HIDDEN),
    ("readdir_proc", HIDDEN),
    ("stat_etc_shadow", Refused(&["ENOENT"])),
    ("write_tmp", HIDDEN),
    ("proc_parent_mem", HIDDEN),
    ("proc_parent_environ", HIDDEN),
    ("proc_parent_maps", HIDDEN),
    ("proc_parent_cmdline", HIDDEN),
    ("proc_parent_fd", HIDDEN),
    ("ptrace_seize_parent", FILTERED),
    ("process_vm_readv_parent", FILTERED),
    ("process_vm_writev_parent", FILTERED),
    ("fcntl_setown_parent", FILTERED),
    ("pidfd_open_parent", FILTERED),
    ("pidfd_getfd_parent", FILTERED),
    ("pidfd_send_signal_parent", FILTERED),
    ("kill_parent", FILTERED),
    ("tgkill_parent", FILTERED),
    ("tkill_parent", FILTERED),
    ("prlimit_parent", FILTERED),
    ("kcmp_parent", FILTERED),
    ("get_robust_list_parent", FILTERED),
    ("sched_getaffinity_parent", FILTERED),
    ("io_uring_setup", FILTERED),
    ("memfd_create", FILTERED),
    ("userfaultfd", FILTERED),
    ("inotify_init", FILTERED),
    ("fanotify_init", FILTERED),
    ("bpf", FILTERED),
    ("perf_event_open", FILTERED),
    ("fsopen", FILTERED),
    ("keyctl", FILTERED),
    ("shmget", FILTERED),
    ("mount", FILTERED),
    ("chroot", FILTERED),
    ("prctl_dumpable", FILTERED),
    ("prctl_pdeathsig", FILTERED),
    ("setuid_0", FILTERED),
    ("write_stdout", Harmless("descriptor 1 of a host leads to /dev/null, see the list of its descriptors")),
    ("write_stdin", Harmless("descriptor 0 of a host leads to /dev/null, see the list of its descriptors")),
    ("fork", FILTERED),
    // The C library falls back to `clone` then, which is filtered by its flags.
    ("clone3", Refused(&["ENOSYS"])),
    ("unshare_user", FILTERED),
    ("posix_spawn", FILTERED),
    ("execve", FILTERED),
];

/// `socket_FAMILY_stream` and `socket_FAMILY_dgram`, for every family that Linux has.
const SOCKETS: usize = 46 * 2;

fn outcomes(report: &Value) -> BTreeMap<&str, &str> {
    let attempts = report["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|attempt| (attempt["name"].as_str().unwrap(), attempt["outcome"].as_str().unwrap()))
        .collect()
}

/// Compares every outcome with the table; an attack that is not in the table is a failure, too.
#[track_caller]
fn check(report: &Value, expected: impl Fn(&str) -> Option<&'static Expected>) {
    let outcomes = outcomes(report);
    let sockets = outcomes.keys().filter(|name| name.starts_with("socket_")).count();
    assert_eq!(sockets, SOCKETS, "a socket of every family is tried");
    assert_eq!(outcomes.len(), SOCKETS + ATTACKS.len(), "every attack of the table is tried: {outcomes:#?}");
    let mut surprises = Vec::new();
    for (name, outcome) in outcomes {
        let expected = if name.starts_with("socket_") { Some(&FILTERED) } else { expected(name) };
        match expected.unwrap_or_else(|| panic!("the attack `{name}` is not in the table")) {
            Refused(errors) if errors.contains(&outcome) => {}
            Harmless(reason) if outcome == "OK" => assert!(!reason.is_empty()),
            Refused(errors) => surprises.push(format!("{name}: {outcome}, expected {errors:?}")),
            Harmless(_) => surprises.push(format!("{name}: {outcome}, expected OK")),
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

fn from_table(name: &str) -> Option<&'static Expected> {
    ATTACKS.iter().find(|(attack, _)| *attack == name).map(|(_, expected)| expected)
}

const CONFIG: &str = "[plugins.stress]\nlibrary = '{stress}'\n[plugins.hello]\nlibrary = 'hello'";

/// The reports of the constructor and of the same attacks made from a call.
fn reports(server: &mut Server) -> [Value; 2] {
    ["stress_constructor_report", "stress_attack"].map(|tool| server.call(tool, json!({})).ok().clone())
}

#[test]
fn every_attack_of_a_constructor_is_refused() {
    if !hosts_have_namespaces() {
        return;
    }
    let mut server = Setup::new(CONFIG).env("OPENAI_API_KEY", "sk-not-for-plugins").serve();
    for report in reports(&mut server) {
        check(&report, from_table);
        assert_eq!(report["parent"], server.pid(), "the attacks aim at the server");
        assert_eq!(report["environment"], json!([]));
    }
    hello(&mut server);
    server.stop();
}

#[test]
fn without_namespaces_landlock_and_seccomp_refuse_every_attack() {
    const SHOWN: &Expected =
        &Harmless("where the kernel permits no namespaces, existence and size of files show; doctor says so");
    let mut server = Setup::new(CONFIG).prepare(without(&user_namespaces())).serve();
    for report in reports(&mut server) {
        check(&report, |name| if name == "stat_etc_shadow" { Some(SHOWN) } else { from_table(name) });
        assert_eq!(report["parent"], server.pid(), "the attacks aim at the server");
    }
    hello(&mut server);
    server.stop();
}

#[test]
fn a_constructor_sees_no_argument_but_the_name_of_the_host() {
    let mut server = Setup::new(CONFIG).serve();
    let report = server.call("stress_constructor_report", json!({})).ok().clone();
    let arguments = report["arguments"].as_array().unwrap();
    assert_eq!(arguments.len(), 1, "{arguments:?}");
    assert!(arguments[0].as_str().unwrap().ends_with("/llmc-host"), "{arguments:?}");
    server.stop();
}

/// What each descriptor of a host is, without numbers that change.
fn kinds(pid: u32) -> Vec<String> {
    let kind = |(_, target): (u32, String)| {
        target.split_once(":[").map_or(target.clone(), |(kind, _)| kind.to_owned())
    };
    descriptors(pid).into_iter().map(kind).collect()
}

/// A file, a pipe and a listener of a careless client; what keeps them alive comes with them.
fn of_a_careless_client() -> (Vec<OwnedFd>, (tempfile::TempDir, std::io::PipeReader)) {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("of-the-client")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (vec![file.into(), writer.into(), listener.into()], (folder, reader))
}

#[test]
fn the_runner_inherits_nothing_of_the_client() {
    let (left, _alive) = of_a_careless_client();
    let config = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";
    let mut server = Setup::new(config).prepare(leaving_open(left)).serve();
    let listing = "import os\n[os.readlink(f'/proc/self/fd/{n}') for n in range(256) if os.path.lexists(f'/proc/self/fd/{n}')]";
    let done = server.call("execute_code", json!({"code": listing})).ok().clone();
    assert!(!done["result"].to_string().contains("of-the-client"), "{done:#}");
    if !is_root() {
        return not_checked("what the descriptors of the runner lead to, because only root may look");
    }
    let of_client: Vec<String> = descriptors(server.pid())
        .into_iter()
        .filter(|(number, _)| *number < 3 || *number >= FIRST_LEFT_OPEN as u32)
        .map(|(_, target)| target)
        .collect();
    assert!(of_client.iter().any(|target| target.contains("of-the-client")), "{of_client:?}");
    let [runner] = server.children("llmc-runner")[..] else { panic!("one runner") };
    let of_runner = descriptors(runner);
    assert!(of_runner.len() >= 4, "{of_runner:?}");
    assert!(of_runner.iter().all(|(_, target)| !of_client.contains(target)), "{of_runner:?} {of_client:?}");
    server.stop();
}

#[test]
fn a_host_has_the_descriptors_that_it_needs_and_no_other() {
    let (left, _alive) = of_a_careless_client();
    let mut server = Setup::new(
        "[roots]\nwork = { path = '{work}', access = 'rw' }\n[plugins.stress]\nlibrary = '{stress}'\n\
         grants = { roots = ['work'] }",
    )
    .prepare(leaving_open(left))
    .serve();
    let report = server.call("stress_constructor_report", json!({})).ok().clone();
    // Standard streams, the socket, the sealed library and the root.
    assert_eq!(report["open_descriptors"].as_array().unwrap().len(), 6, "{}", report["open_descriptors"]);

    if !is_root() {
        return not_checked("what the descriptors of a host lead to, because only root may look into a jail");
    }
    let [host] = server.children("llmc-host")[..] else { panic!("one host") };
    let mut found = kinds(host);
    assert_eq!(found[..3], ["/dev/null", "/dev/null", "pipe"], "standard streams");
    found[3..].sort_unstable();
    let is_root_directory =
        |path: &String| path.starts_with("/roots/") || path.ends_with("/work") || path == "/";
    assert!(found[3..].iter().any(|target| target.starts_with("/memfd:llmc-plugin")), "{found:?}");
    assert_eq!(found[3..].iter().filter(|target| *target == "socket").count(), 1, "{found:?}");
    assert_eq!(found[3..].iter().filter(|target| is_root_directory(target)).count(), 1, "{found:?}");
    // And what its threads wait with: an epoll instance and an eventfd of its own.
    assert_eq!(found.len(), 8, "{found:?}");

    // None of them is one of the server's, however it came by them.
    let of_server = descriptors(server.pid());
    let left_open: Vec<_> =
        of_server.iter().filter(|(number, _)| *number >= FIRST_LEFT_OPEN as u32).collect();
    assert!(left_open.len() >= 3, "the server itself did inherit them: {of_server:?}");
    let targets = |descriptors: &[(u32, String)], numbers: &[u32]| -> Vec<String> {
        descriptors
            .iter()
            .filter(|(number, _)| numbers.contains(number))
            .map(|(_, target)| target.clone())
            .collect()
    };
    let of_client = targets(&of_server, &[0, 1, 2]);
    assert_eq!(of_client.len(), 3, "{of_server:?}");
    let of_host = descriptors(host);
    // The pipe of its stderr is the only one that both hold, an end each.
    let shared = of_host.iter().filter(|(number, target)| {
        // Anonymous files have one name for all of a kind, whoever holds them.
        let is_named = target.contains(":[") && !target.starts_with("anon_inode");
        *number != 2 && is_named && of_server.iter().any(|(_, other)| other == target)
    });
    assert_eq!(shared.collect::<Vec<_>>(), Vec::<&(u32, String)>::new());
    assert!(of_host.iter().all(|(_, target)| !of_client.contains(target)), "{of_host:?} {of_client:?}");
    assert!(of_host.iter().all(|(_, target)| !target.contains("of-the-client")), "{of_host:?}");
    server.stop();
}
