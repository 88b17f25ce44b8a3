//! Names and values in ordinary directories; life and end in groups of the kernel.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::*;
use crate::jail::JailLimits;

fn directory(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn limits() -> JailLimits {
    JailLimits {
        memory_bytes: 1_000_001,
        scratch_bytes: 4096,
        processes: 7,
        ..crate::profile::WORKSPACE.limits
    }
}

/// Ordinary directories with ordinary files: names and values only, nothing is limited.
#[test]
fn limits_are_written_under_their_names_and_read_back() {
    let fake = tempfile::tempdir().unwrap();
    let mut groups = Groups::in_directory(directory(fake.path()));
    let group = groups.jail().unwrap();
    let file = |name: &str| fake.path().join("1").join(name);
    assert!(group.limit(&limits()).is_err(), "without its files nothing is limited");
    for name in ["memory.oom.group", "memory.max", "pids.max"] {
        std::fs::write(file(name), "").unwrap();
    }
    group.limit(&limits()).unwrap();
    let contents = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let memory = 1_000_001 + 4096 + (24 << 20);
    assert_eq!(contents("memory.max"), (memory - memory % rustix::param::page_size()).to_string());
    assert_eq!((contents("memory.oom.group"), contents("pids.max")), ("1".to_owned(), "8".to_owned()));
    // What is read back is not what was written.
    std::fs::remove_file(file("pids.max")).unwrap();
    std::os::unix::fs::symlink("/dev/null", file("pids.max")).unwrap();
    assert!(matches!(group.limit(&limits()), Err(JailError::NotInForce { .. })));
    std::fs::write(file("memory.events"), "oom 1\noom_kill 0\n").unwrap();
    assert!(!group.ran_out_of_memory());
    std::fs::write(file("memory.events"), "oom 1\noom_kill 2\n").unwrap();
    assert!(group.ran_out_of_memory());
}

#[test]
fn nobody_else_is_moved() {
    let own = std::process::id();
    let server = std::os::unix::process::parent_id();
    assert!(belongs_to(&own.to_string(), None));
    assert!(belongs_to(&own.to_string(), Some(server)) && belongs_to(&server.to_string(), Some(server)));
    assert!(!belongs_to(&server.to_string(), None));
    assert!(!belongs_to("1", Some(own)) && !belongs_to("0", Some(own)) && !belongs_to("x", Some(own)));
    let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
    assert!(belongs_to(&child.id().to_string(), Some(own)));
    assert!(!belongs_to(&child.id().to_string(), Some(server)));
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// A group of the kernel's, for its life and end; without controllers, which this machine may have elsewhere.
#[test]
fn what_is_left_in_a_group_is_ended_and_removed() {
    let Some(real) = real_group() else {
        println!("not checked: this machine lets nobody make cgroups of version 2");
        return;
    };
    let mut groups = Groups::in_directory(directory(&real));
    let group = groups.jail().unwrap();
    let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    write(&real.join("1"), "cgroup.procs", &child.id().to_string()).unwrap();
    assert!(group.clock().is_ok());
    assert!(groups.are_tidy(), "it is in use");
    drop(group);
    assert!(!groups.are_tidy());
    groups.tidy();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    while !groups.are_tidy() {
        std::thread::yield_now();
        groups.tidy();
    }
    assert!(!real.join("1").exists());

    // A launcher that is gone leaves its groups; one that lives is in its own.
    for (name, below) in [("llmc-jails-1", "launcher"), ("llmc-jails-2", "launcher"), ("other", "launcher")] {
        std::fs::create_dir_all(real.join(name).join(below)).unwrap();
    }
    let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
    write(&real.join("llmc-jails-2/launcher"), "cgroup.procs", &child.id().to_string()).unwrap();
    sweep(&real);
    let there = ["llmc-jails-1", "llmc-jails-2", "other"].map(|name| real.join(name).exists());
    assert_eq!(there, [false, true, true]);
    drop(child.stdin.take());
    child.wait().unwrap();
    remove_tree(&real);
    assert!(!real.exists());
}

/// A new group of version 2, if they can be made here.
fn real_group() -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let group = Path::new(mount).join(format!("llmc-unit-test-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    Some(group)
}
