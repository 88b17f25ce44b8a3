//! Granted directories and programs: what a jail sees of the machine on purpose.

use super::*;

pub(super) fn a_writable_root_keeps_its_owner() {
    let dir = workspace();
    let owner = std::fs::metadata(&dir).unwrap().uid();
    let mut launcher = launcher();
    let script = "cd /work && cat file && echo new > made && mkdir sub && mv made sub/ && echo more >> file && \
                  stat -c %u file && printf '#!/bin/sh\\necho ran\\n' > tool && chmod 755 tool && ./tool";
    let done = shell(script).with_root(&dir, "/work", true).run(&mut launcher);
    assert_eq!(done.stdout, "contents1000\nran\n", "{}", done.stderr);
    for path in ["sub", "sub/made", "file", "tool"] {
        let meta = std::fs::symlink_metadata(dir.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (owner, std::fs::metadata(&dir).unwrap().gid()), "{path}");
    }
}

pub(super) fn a_read_only_root_stays_as_it_is() {
    let dir = workspace();
    std::fs::write(dir.parent().unwrap().join("llmc-beside"), "").ok();
    let mut launcher = launcher();
    let script = "cat /docs/file; echo x > /docs/file; touch /docs/new; rm /docs/file; ls /docs/..; ls /docs/../llmc-beside";
    let done = shell(script).with_root(&dir, "/docs", false).run(&mut launcher);
    assert!(done.stdout.starts_with("contents"), "{}", done.stderr);
    assert!(done.stdout.contains("docs") && !done.stdout.contains("llmc-beside"), "{}", done.stdout);
    assert_eq!(done.stderr.matches("Read-only file system").count(), 3, "{}", done.stderr);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
}

pub(super) fn set_id_files_cannot_be_made_and_do_nothing() {
    let dir = workspace();
    let has_set_id = rustix::process::geteuid().is_root();
    if has_set_id {
        let tool = dir.join("id");
        std::fs::copy("/usr/bin/id", &tool).unwrap();
        std::os::unix::fs::chown(&tool, Some(0), Some(0)).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o4755)).unwrap();
    }
    let mut launcher = launcher();
    let outcomes =
        payload(&WORKSPACE, "set-id").with_root(&dir, "/granted", true).run(&mut launcher).outcomes();
    outcomes.expect_all(&["chmod", "fchmod", "fchmodat2", "set_gid"], &["EPERM"]);
    let creating: &[&str] =
        if cfg!(target_arch = "x86_64") { &["create", "open", "creat"] } else { &["create"] };
    outcomes.expect_all(creating, &["ENOSYS"]);
    outcomes.expect("plain_chmod", &["ok"]);
    assert_eq!(std::fs::metadata(dir.join("file")).unwrap().mode() & 0o6000, 0);
    if has_set_id {
        let done = shell("/granted/id -u").with_root(&dir, "/granted", true).run(&mut launcher);
        assert_eq!(done.stdout, "1000\n", "{}", done.stderr);
    } else {
        println!("not checked as this user: a set-id file of root inside a granted directory");
    }
}

pub(super) fn a_moved_root_is_the_same_directory() {
    let outer = directory();
    let (old, new) = (outer.join("old"), outer.join("new"));
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("file"), "contents").unwrap();
    let handle = open_directory(&old);
    std::fs::rename(&old, &new).unwrap();
    std::fs::create_dir(&old).unwrap();
    let mut launcher = launcher();
    let mut request = shell("cat /work/file");
    request.spec.roots.push(GrantedRoot { dir: handle, target: "/work".into(), writable: false });
    assert_eq!(request.run(&mut launcher).stdout, "contents");
}

pub(super) fn programs_outside_the_profile_are_bound() {
    let dir = directory();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tool = dir.join("deep/tool");
    std::fs::create_dir(dir.join("deep")).unwrap();
    std::fs::copy("/bin/echo", &tool).unwrap();
    std::os::unix::fs::symlink("deep/tool", dir.join("link")).unwrap();
    std::fs::write(dir.join("deep/secret"), "").unwrap();
    let (through_link, deep) = (dir.join("link"), dir.join("deep"));
    let mut launcher = launcher();
    assert_eq!(request(&WORKSPACE, &tool, &["hello"]).run(&mut launcher).stdout, "hello\n");
    assert_eq!(request(&WORKSPACE, &through_link, &["link"]).run(&mut launcher).stdout, "link\n");
    let mut listing = request(&WORKSPACE, "/bin/ls", &[deep.to_str().unwrap()]);
    listing.spec.system = vec![tool.clone()];
    assert_eq!(listing.run(&mut launcher).stdout, "tool\n", "neighbours of the program stay hidden");
}

pub(super) fn a_program_inside_a_root_is_found_there() {
    // The place of a root inside can be the place of something else on the machine.
    let own = std::env::current_exe().unwrap();
    let top = own.components().nth(1).unwrap();
    let target = Path::new("/").join(top);
    if ["/tmp", "/home", "/root"].map(Path::new).contains(&target.as_path()) {
        return println!(
            "not checked here: the tests lie below {}, which no root can be named",
            target.display()
        );
    }
    let dir = workspace();
    let mut launcher = launcher();
    let same = payload(&WORKSPACE, "some-memory").with_root(&target, target.to_str().unwrap(), false);
    assert_eq!(same.run(&mut launcher).ending.status, ExitStatus::Exited(0));
    let other = payload(&WORKSPACE, "some-memory").with_root(&dir, target.to_str().unwrap(), false);
    assert!(other.refused(&mut launcher).to_string().contains("rename the root"));
}

/// What lies in a directory: number of entries and bytes.
fn contents(dir: &Path) -> (usize, u64) {
    let sizes: Vec<u64> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    (sizes.len(), sizes.iter().sum())
}

pub(super) fn what_a_run_adds_to_a_root_is_bounded() {
    let dir = memory_directory();
    let mut launcher = launcher();
    let small = |limits: &mut JailLimits| {
        limits.workspace_bytes = 8 << 20;
        limits.wall_ms = 5_000;
    };
    let honest =
        "cd /work && head -c 4M /dev/zero > a && rm a && head -c 4M /dev/zero > a && rm a && echo done";
    let done = shell(honest).with_root(&dir, "/work", true).with_limits(small).run(&mut launcher);
    assert_eq!((done.stdout.as_str(), done.ending.limit), ("done\n", None), "{}", done.stderr);
    assert_eq!(done.ending.reached.limits().count(), 0);

    // In small pieces and by children that nobody waits for.
    let script = "cd /work; echo begun; i=0; while [ $i -lt 2000 ]; do (head -c 1M /dev/zero > f$i &); i=$((i+1)); done; sleep 9";
    let done = shell(script).with_root(&dir, "/work", true).with_limits(small).run(&mut launcher);
    assert_eq!(done.ending.limit, Some(Limit::Workspace), "{:?}", done.ending);
    assert_eq!(done.stdout, "begun\n", "partial output is kept");
    let (_, bytes) = contents(&dir);
    assert!(bytes > 4 << 20 && bytes < 512 << 20, "{bytes} bytes were written");

    // The neighbour goes on beside what was left.
    let done = shell(honest).with_root(&dir, "/work", true).with_limits(small).run(&mut launcher);
    assert_eq!((done.stdout.as_str(), done.ending.limit), ("done\n", None), "{}", done.stderr);
}

pub(super) fn a_great_many_empty_files_are_bounded() {
    let dir = memory_directory();
    let mut launcher = launcher();
    let small = |limits: &mut JailLimits| {
        limits.workspace_bytes = 2 << 20;
        limits.wall_ms = 5_000;
    };
    let fill = |count: u32| {
        format!("cd /work; i=0; while [ $i -lt {count} ]; do : > $i; i=$((i+1)); done; echo done")
    };
    let done = shell(&fill(300)).with_root(&dir, "/work", true).with_limits(small).run(&mut launcher);
    assert_eq!((done.stdout.as_str(), done.ending.limit), ("done\n", None), "{}", done.stderr);
    let done = shell(&fill(5_000_000)).with_root(&dir, "/work", true).with_limits(small).run(&mut launcher);
    assert_eq!(done.ending.limit, Some(Limit::Workspace), "{:?}", done.ending);
    assert!(contents(&dir).0 < 200_000);
}

pub(super) fn blocks_cannot_be_had_without_writing_them() {
    let dir = memory_directory();
    let mut launcher = launcher();
    let done = payload(&WORKSPACE, "allocate").with_root(&dir, "/granted", true).run(&mut launcher);
    let outcomes = done.outcomes();
    outcomes.expect("fallocate", &["EOPNOTSUPP"]);
    outcomes.expect("posix_fallocate", &["0"]);
    assert_eq!(contents(&dir), (1, 1 << 20));
}
