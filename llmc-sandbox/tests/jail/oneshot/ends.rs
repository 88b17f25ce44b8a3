//! Limits are named, and nothing outlives its jail.

use super::*;

pub(super) fn a_memory_bomb_names_its_limit() {
    let mut launcher = launcher();
    for role in ["memory", "shared-memory"] {
        let done =
            payload(&WORKSPACE, role).with_limits(|limits| limits.memory_bytes = 64 << 20).run(&mut launcher);
        assert_eq!(done.ending.limit, Some(Limit::Memory), "{role}: {:?} {}", done.ending, done.stderr);
        assert!(done.ending.peak_memory_bytes > 64 << 20);
    }
    let done = payload(&WORKSPACE, "some-memory")
        .with_limits(|limits| limits.memory_bytes = 64 << 20)
        .run(&mut launcher);
    assert_eq!((done.ending.status, done.ending.limit), (ExitStatus::Exited(0), None));
    assert!(done.ending.peak_memory_bytes >= 16 << 20, "{:?}", done.ending);
}

pub(super) fn a_memory_bomb_of_many_processes_names_its_limit() {
    let mut launcher = launcher();
    let done = payload(&WORKSPACE, "memory-children").with_limits(|limits| limits.memory_bytes = 64 << 20);
    let ending = done.run(&mut launcher).ending;
    assert_eq!(ending.limit, Some(Limit::Memory), "{ending:?}");
}

pub(super) fn a_busy_loop_names_its_limit() {
    let mut launcher = launcher();
    let started = Instant::now();
    let ending =
        shell("while :; do :; done").with_limits(|limits| limits.cpu_ms = 300).run(&mut launcher).ending;
    assert_eq!(ending.limit, Some(Limit::Cpu), "{ending:?}");
    assert!(
        started.elapsed() < Duration::from_secs(10) && ending.cpu >= Duration::from_millis(300),
        "{ending:?}"
    );
}

pub(super) fn busy_children_name_their_limit() {
    let mut launcher = launcher();
    let script = "for i in 1 2 3; do (while :; do :; done) & done; wait";
    let ending = shell(script).with_limits(|limits| limits.cpu_ms = 300).run(&mut launcher).ending;
    assert_eq!(ending.limit, Some(Limit::Cpu), "{ending:?}");
}

pub(super) fn a_sleeper_names_its_limit() {
    let mut launcher = launcher();
    let ending = shell("sleep 1000").with_limits(|limits| limits.wall_ms = 200).run(&mut launcher).ending;
    assert_eq!((ending.limit, ending.status), (Some(Limit::Wall), ExitStatus::Signalled(9)));
    assert!(ending.wall >= Duration::from_millis(200) && ending.wall < Duration::from_secs(3), "{ending:?}");
}

pub(super) fn a_stopped_payload_names_its_limit() {
    let mut launcher = launcher();
    let script = "trap '' TERM INT HUP; (trap '' TERM; kill -STOP $$); sleep 1000";
    let ending = shell(script).with_limits(|limits| limits.wall_ms = 200).run(&mut launcher).ending;
    assert_eq!(ending.limit, Some(Limit::Wall), "{ending:?}");
}

pub(super) fn limits_that_were_reached_are_told() {
    let mut launcher = launcher();
    let reached = |ending: &Ending| ending.reached.limits().collect::<Vec<_>>();
    let small = |limits: &mut JailLimits| {
        limits.processes = 8;
        limits.scratch_bytes = 1 << 20;
        limits.scratch_inodes = 16;
        limits.open_files = 16;
    };
    let done = shell("echo > file; sleep 0.1; exit 3").with_limits(small).run(&mut launcher);
    assert_eq!((done.ending.status, done.ending.limit), (ExitStatus::Exited(3), None));
    assert_eq!(reached(&done.ending), []);
    // Nine at a time where eight may be: one is refused, and the others stay long enough to be seen.
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    for (script, limit) in [
        (forks, Limit::Processes),
        ("head -c 2M /dev/zero > full; exit 3", Limit::ScratchBytes),
        ("for i in $(seq 20); do : > $i; done; exit 3", Limit::ScratchInodes),
    ] {
        let ending = shell(script).with_limits(small).run(&mut launcher).ending;
        assert_eq!((ending.limit, reached(&ending)), (None, vec![limit]), "{script}: {ending:?}");
    }
    if kernel_counts_descriptors() {
        let script = "for n in 3 4 5 6 7 8 9; do eval \"exec $n< /dev/null\"; done; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let tight = |limits: &mut JailLimits| limits.open_files = 10;
        let ending = shell(script).with_limits(tight).run(&mut launcher).ending;
        assert_eq!((ending.limit, reached(&ending)), (None, vec![Limit::OpenFiles]), "{ending:?}");
    } else {
        println!("NOT CHECKED: descriptors that were open, which this kernel does not count");
    }
}

/// Since Linux 6.2.
fn kernel_counts_descriptors() -> bool {
    std::fs::metadata("/proc/self/fd").unwrap().size() > 0
}

pub(super) fn too_large_a_file_names_its_limit() {
    let mut launcher = launcher();
    let small = |limits: &mut JailLimits| limits.file_bytes = 1 << 20;
    let done = shell("echo begun; exec head -c 2M /dev/zero > file").with_limits(small).run(&mut launcher);
    assert_eq!(
        (done.ending.limit, done.stdout.as_str()),
        (Some(Limit::FileSize), "begun\n"),
        "{}",
        done.stderr
    );
    let done =
        shell("trap '' XFSZ; head -c 2M /dev/zero > file; exit 3").with_limits(small).run(&mut launcher);
    assert_eq!((done.ending.status, done.ending.limit), (ExitStatus::Exited(3), None));
    assert!(done.stderr.contains("File too large"), "{}", done.stderr);
    let done = shell("exec head -c 1M /dev/zero > file").with_limits(small).run(&mut launcher);
    assert_eq!((done.ending.status, done.ending.limit), (ExitStatus::Exited(0), None));
}

/// For a tmpfs, a size of 0 would mean that there is no limit.
pub(super) fn scratch_space_of_no_size_is_not_endless() {
    let mut launcher = launcher();
    let none = |limits: &mut JailLimits| (limits.scratch_bytes, limits.scratch_inodes) = (0, 0);
    let done = shell("echo x > file; echo x > /tmp/other; exit 3").with_limits(none).run(&mut launcher);
    assert_eq!(done.ending.status, ExitStatus::Exited(3));
    assert!(done.stderr.contains("No space left"), "{}", done.stderr);
    let one = |limits: &mut JailLimits| limits.scratch_bytes = 0;
    let done = shell("head -c 1M /dev/zero > file; exit 3").with_limits(one).run(&mut launcher);
    assert!(done.stderr.contains("No space left"), "{}", done.stderr);
}

pub(super) fn processes_are_bounded() {
    let mut launcher = launcher();
    let request = payload(&WORKSPACE, "forks").with_limits(|limits| limits.processes = 10);
    let outcomes = request.run(&mut launcher).outcomes();
    outcomes.expect("pid", &["2"]);
    outcomes.expect("forks", &["9 then EAGAIN"]);
}

pub(super) fn scratch_space_is_bounded_and_executes_nothing() {
    let mut launcher = launcher();
    let request = payload(&WORKSPACE, "scratch").with_limits(|limits| {
        limits.scratch_bytes = 2 << 20;
        limits.scratch_inodes = 32;
        limits.file_bytes = 8 << 20;
    });
    let outcomes = request.run(&mut launcher).outcomes();
    outcomes.expect("fill", &["2097152 then ENOSPC"]);
    // The folders that lead to this very program take some, where it lies below /tmp.
    let counts: Vec<String> = (20..32).map(|count| format!("{count} then ENOSPC")).collect();
    outcomes.expect("inodes", &counts.iter().map(String::as_str).collect::<Vec<_>>());
    outcomes.expect("sparse", &["EFBIG"]);
    let done = shell("cp /bin/true /tmp/x; chmod 755 /tmp/x; /tmp/x").run(&mut launcher);
    assert_eq!(done.ending.status, ExitStatus::Exited(126), "{}", done.stderr);
}

pub(super) fn scratch_space_does_not_outlive_its_jail() {
    let mut launcher = launcher();
    assert_eq!(shell("echo x > /tmp/left; echo /tmp/*").run(&mut launcher).stdout, "/tmp/left\n");
    assert_eq!(shell("echo /tmp/*").run(&mut launcher).stdout, "/tmp/*\n");
}

pub(super) fn daemons_die_with_the_jail() {
    let mut launcher = launcher();
    // The daemon holds the write end of stdout: reading to the end waits for its death.
    let started = Instant::now();
    let done = payload(&WORKSPACE, "daemon").run(&mut launcher);
    assert_eq!(done.ending.status, ExitStatus::Exited(0), "{}", done.stderr);
    assert_eq!(done.stdout, "daemon\n");
    assert!(started.elapsed() < Duration::from_secs(5));
}

pub(super) fn closing_the_launcher_ends_the_tree() {
    for way in ["drop", "kill"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ROLE_ENDING, way])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let started = Instant::now();
        let mut text = String::new();
        // The payload holds the other end of this pipe and sleeps for long.
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "sleeping\n", "{way}");
        assert!(started.elapsed() < Duration::from_secs(5), "{way}");
        child.wait().unwrap();
    }
}

pub(crate) const ROLE_ENDING: &str = "role:ending";

/// A launcher that ends while its jail sleeps.
pub(crate) fn ending_role(args: &[String]) -> ExitCode {
    let stdout: OwnedFd = rustix::io::dup(std::io::stdout()).unwrap();
    let mut launcher = launcher();
    let mut request = shell("echo sleeping; echo sleeping >&2; sleep 1000");
    request.spec.stdout = stdout;
    let jail = launcher.spawn(&request.spec).unwrap();
    let mut seen = [0; 8];
    request.stderr.read_exact(&mut seen).unwrap();
    match args[0].as_str() {
        "drop" => drop(jail),
        _ => rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
    }
    ExitCode::SUCCESS
}

pub(super) fn killing_process_1_ends_the_tree() {
    let mut launcher = launcher();
    let mut request = shell("sleep 1000 & echo started; sleep 1000");
    let jail = launcher.spawn(&request.spec).unwrap();
    drop(request.spec);
    let mut seen = [0; 8];
    request.stdout.read_exact(&mut seen).unwrap();
    jail.kill();
    let ending = finish(jail, &mut launcher);
    assert_eq!((ending.limit, ending.status), (Some(Limit::Killed), ExitStatus::Signalled(9)));
    let mut rest = String::new();
    request.stdout.read_to_string(&mut rest).unwrap();
}
