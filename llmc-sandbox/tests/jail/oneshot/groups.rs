//! Control groups. Each case runs in a group of its own that is delegated to it, where this machine has such.

use super::*;

pub(crate) const ROLE_GROUP: &str = "role:group";

/// Cases as the driver sees them.
pub(crate) const GROUP_CASES: &[Case] = &[
    ("groups::a_group_holds_the_whole_tree", || delegated("a_group_holds_the_whole_tree")),
    ("groups::groups_of_a_killed_launcher_are_removed", || {
        delegated("groups_of_a_killed_launcher_are_removed")
    }),
    ("groups::a_group_with_strangers_is_left_alone", || delegated("a_group_with_strangers_is_left_alone")),
];

const BODIES: &[Case] = &[
    ("a_group_holds_the_whole_tree", a_group_holds_the_whole_tree),
    ("groups_of_a_killed_launcher_are_removed", groups_of_a_killed_launcher_are_removed),
    ("a_group_with_strangers_is_left_alone", a_group_with_strangers_is_left_alone),
];

/// Runs a case in a new delegated group, in which it is the only process.
fn delegated(case: &str) {
    let Some(group) = Delegated::new() else {
        println!("not checked: this machine lets nobody make cgroups of version 2 with `memory` and `pids`");
        return;
    };
    let own = std::env::current_exe().unwrap();
    // The shell enters the group, and becomes the case.
    let script = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
    let status = Command::new("/bin/sh")
        .args([Path::new("-c"), Path::new(script), &group.0, &own, Path::new(ROLE_GROUP), Path::new(case)])
        .arg(&group.0)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{case}: {status:?}");
}

pub(crate) fn group_role(args: &[String]) -> ExitCode {
    if args[0] == "hold" {
        let launcher = Launcher::prepare(4, std::os::unix::process::parent_id().into()).unwrap();
        assert_eq!(launcher.counted_by(), Accounting::Cgroup, "{}", launcher.accounting());
        println!("held");
        std::thread::sleep(Duration::from_secs(100));
        return ExitCode::SUCCESS;
    }
    let (_, body) = BODIES.iter().find(|(name, _)| *name == args[0]).expect("a case of that name");
    body();
    ExitCode::SUCCESS
}

/// A group of version 2, marked as delegated; removed in the end.
struct Delegated(PathBuf);

impl Delegated {
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let controllers = std::fs::read_to_string(Path::new(mount).join("cgroup.controllers")).ok()?;
        let has = |wanted| controllers.split_ascii_whitespace().any(|name| name == wanted);
        if !has("memory") || !has("pids") {
            return None;
        }
        std::fs::write(Path::new(mount).join("cgroup.subtree_control"), "+memory +pids").ok()?;
        let group = Path::new(mount).join(format!("llmc-test-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&group, "user.delegate", b"1", flags).unwrap();
        Some(Self(group))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        remove(&self.0);
        assert!(
            std::thread::panicking() || !self.0.exists(),
            "a group cannot be removed: somebody lives in it"
        );
    }
}

fn remove(group: &Path) {
    for below in below(group) {
        remove(&group.join(below));
    }
    let _ = std::fs::remove_dir(group);
}

/// Names of the groups in a group.
fn below(group: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(group).unwrap().map(Result::unwrap);
    let directories = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<_> =
        directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn own_group() -> PathBuf {
    std::env::args().next_back().unwrap().into()
}

fn a_group_holds_the_whole_tree() {
    let mut launcher = launcher();
    let base = own_group().join(format!("llmc-jails-{}", std::process::id()));
    assert_eq!(launcher.counted_by(), Accounting::Cgroup, "{}", launcher.accounting());
    assert_eq!(below(&base), ["launcher"]);
    assert_eq!(std::fs::read_to_string(own_group().join("cgroup.procs")).unwrap(), "");

    let small = |limits: &mut JailLimits| {
        limits.memory_bytes = 32 << 20;
        limits.scratch_bytes = 1 << 20;
    };
    // What no process shows is seen by the kernel alone.
    let ending = payload(&WORKSPACE, "hidden-memory").with_limits(small).run(&mut launcher).ending;
    assert_eq!((ending.limit, ending.accounting), (Some(Limit::Memory), Accounting::Cgroup), "{ending:?}");
    assert!(ending.peak_memory_bytes >= 32 << 20, "{ending:?}");
    for role in ["memory", "memory-children"] {
        let ending = payload(&WORKSPACE, role).with_limits(small).run(&mut launcher).ending;
        assert_eq!(ending.limit, Some(Limit::Memory), "{role}: {ending:?}");
    }
    let ending = payload(&WORKSPACE, "some-hidden-memory").with_limits(small).run(&mut launcher).ending;
    assert_eq!((ending.status, ending.limit), (ExitStatus::Exited(0), None));
    let busy = shell("while :; do :; done").with_limits(|limits| limits.cpu_ms = 300).run(&mut launcher);
    assert_eq!(busy.ending.limit, Some(Limit::Cpu), "{:?}", busy.ending);
    assert!(busy.ending.cpu >= Duration::from_millis(300), "{:?}", busy.ending);

    // The kernel's numbers, while a jail is there.
    let Request { spec, mut stdout, .. } = shell("echo; exec sleep 1000").with_limits(small);
    let jail = launcher.spawn(&spec).unwrap();
    drop(spec);
    let mut line = [0];
    stdout.read_exact(&mut line).unwrap();
    let read = |groups: &[String], file: &str| {
        let jails: Vec<_> = groups.iter().filter(|name| *name != "launcher").collect();
        assert_eq!(jails.len(), 1, "{groups:?}");
        std::fs::read_to_string(base.join(jails[0]).join(file)).unwrap()
    };
    launcher.tidy();
    let groups = below(&base);
    assert_eq!(read(&groups, "memory.max").trim(), ((32_u64 << 20) + (1 << 20) + (24 << 20)).to_string());
    assert_eq!(read(&groups, "pids.max").trim(), (WORKSPACE.limits.processes + 1).to_string());
    assert_eq!(read(&groups, "memory.oom.group").trim(), "1");
    assert_eq!(read(&groups, "cgroup.procs").lines().count(), 2);

    // Ended through its group alone.
    let group = base.join(groups.iter().find(|name| *name != "launcher").unwrap());
    std::fs::write(group.join("cgroup.kill"), "1").unwrap();
    assert_eq!(finish(jail, &mut launcher).limit, Some(Limit::Killed));
    assert!(launcher.tidy());
    assert_eq!(below(&base), ["launcher"]);
}

fn groups_of_a_killed_launcher_are_removed() {
    let group = own_group();
    let mut held = Command::new(std::env::current_exe().unwrap())
        .args([Path::new(ROLE_GROUP), Path::new("hold"), &group])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 4];
    held.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"held");
    // This process, which started it, is out of the way.
    let stale = format!("llmc-jails-{}", held.id());
    assert_eq!(below(&group), [stale.as_str(), "llmc-server"]);
    let second = || Launcher::prepare(4, None).unwrap();
    held.kill().unwrap();
    held.wait().unwrap();
    assert_eq!(below(&group), [stale.as_str(), "llmc-server"]);
    assert_eq!(second().counted_by(), Accounting::Cgroup);
    assert_eq!(below(&group), [format!("llmc-jails-{}", std::process::id()).as_str(), "llmc-server"]);
}

fn a_group_with_strangers_is_left_alone() {
    // It ends with the pipe.
    let mut stranger = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
    let mut launcher = launcher();
    assert_eq!(launcher.counted_by(), Accounting::Tree);
    assert!(
        launcher.accounting().contains(&format!("process {}", stranger.id())),
        "{}",
        launcher.accounting()
    );
    assert_eq!(below(&own_group()), Vec::<String>::new());
    let done = shell("echo works").run(&mut launcher);
    assert_eq!((done.stdout.as_str(), done.ending.accounting), ("works\n", Accounting::Tree));
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}
