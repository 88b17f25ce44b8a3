//! The packages, unpacked by the system's own programs in empty folders and used from there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{EPOCH, has, packages, run, sources};

#[test]
fn a_session_runs_from_the_unpacked_tarball() {
    let packages = packages();
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("tar")
        .arg("-xzf")
        .arg(packages.path(&packages.names.tarball))
        .arg("-C")
        .arg(folder.path()));
    let top = only_entry(folder.path());
    assert_eq!(format!("{}.tar.gz", top.file_name().unwrap().to_str().unwrap()), packages.names.tarball);

    let output = run(&mut demo(&top));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(" 0 failed") && text.contains(top.to_str().unwrap()), "{text}");

    for file in [
        "share/man/man1/llmc.1",
        "share/man/man1/llmc-serve.1",
        "share/bash-completion/completions/llmc",
        "share/doc/llmc/docs/installing.md",
        "share/llmc/sbom.cdx.json",
        "share/llmc/packaging/systemd/llmc.service",
        "share/llmc/packaging/docker/seccomp.json",
        "share/llmc/LICENSE-MIT",
    ] {
        assert!(top.join(file).is_file(), "{file}");
    }
}

/// The program behind `cargo xtask demo`, which cargo builds with the tests of the workspace.
fn demo(stage: &Path) -> Command {
    let built = std::env::current_exe().unwrap();
    let built = built.parent().unwrap().parent().unwrap().join("examples/demo");
    if !built.exists() {
        // Only where these tests are run alone.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "-p", "llmc-server", "--example", "demo"]).current_dir(sources());
        assert!(cargo.status().unwrap().success(), "cargo built no demo");
    }
    let mut command = Command::new(&built);
    command.arg("--stage").arg(stage);
    command
}

#[test]
fn the_debian_package_unpacks_to_an_installation_that_finds_its_parts() {
    if !has("dpkg-deb", "the Debian package, unpacked and used") {
        return;
    }
    let packages = packages();
    let deb = packages.path(&packages.names.deb);
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(folder.path()));
    let llmc = folder.path().join("usr/bin/llmc");
    run(Command::new(&llmc).arg("doctor"));
    let tools = run(Command::new(&llmc).arg("tools"));
    let tools = String::from_utf8_lossy(&tools.stdout).into_owned();
    assert!(tools.contains("read_file") && tools.contains("execute_code"), "{tools}");
    let configuration = folder.path().join("etc/llmc/config.toml");
    run(Command::new(&llmc).args(["config", "check", "--config"]).arg(&configuration));
    for unit in ["llmc.service", "llmc.socket"] {
        assert!(folder.path().join("usr/lib/systemd/system").join(unit).is_file(), "{unit}");
    }

    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&deb));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");
    assert!(listed.contains("-rwxr-xr-x") && listed.contains("usr/libexec/llmc/llmc-runner"), "{listed}");
}

#[test]
fn the_debian_package_runs_nothing_and_keeps_the_configuration() {
    if !has("dpkg-deb", "the control files of the Debian package") {
        return;
    }
    let packages = packages();
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb").arg("-e").arg(packages.path(&packages.names.deb)).arg(folder.path()));
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["conffiles", "control", "md5sums"], "no script of the package may run");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("conffiles"), "/etc/llmc/config.toml\n");
    let control = read("control");
    assert!(
        !control.contains('@') || control.matches('@').count() == 1,
        "only the address has one: {control}"
    );
    for name in ["Package", "Version", "Architecture", "Maintainer", "Description", "Depends"] {
        assert!(!llmc_dist::deb::field(&control, name).unwrap().is_empty());
    }
    assert!(llmc_dist::deb::field(&control, "Depends").unwrap().starts_with("libc6 (>= 2."), "{control}");
}

/// dpkg itself installs it, into a folder that is a system of its own.
#[test]
fn dpkg_installs_the_package_and_finds_every_file_as_it_was_packed() {
    let root =
        fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    if !has("dpkg", "the installation by dpkg") || !root {
        eprintln!("NOT CHECKED without root: the installation by dpkg");
        return;
    }
    let packages = packages();
    let system = tempfile::tempdir().unwrap();
    let state = system.path().join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(state.join(folder)).unwrap();
    }
    for file in ["status", "available"] {
        fs::write(state.join(file), "").unwrap();
    }
    let dpkg = || {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", system.path().display())).arg("--log=/dev/null");
        command
    };
    // The libraries it depends on are those of this machine, of which the folder knows nothing.
    run(dpkg().args(["--force-depends", "--install"]).arg(packages.path(&packages.names.deb)));
    let status = run(dpkg().args(["--status", "llmc"]));
    assert!(String::from_utf8_lossy(&status.stdout).contains("Status: install ok installed"));
    let changed = run(dpkg().args(["--verify", "llmc"]));
    assert_eq!(String::from_utf8_lossy(&changed.stdout), "");
    run(Command::new(system.path().join("usr/bin/llmc")).arg("tools"));
    run(dpkg().args(["--purge", "llmc"]));
    assert!(
        !system.path().join("usr/bin/llmc").exists() && !system.path().join("etc/llmc/config.toml").exists()
    );
}

#[test]
fn the_bundle_unpacks_to_a_server_that_starts_as_its_manifest_says() {
    let packages = packages();
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::open(packages.path(&packages.names.mcpb)).unwrap();
    zip::ZipArchive::new(file).unwrap().extract(folder.path()).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("manifest.json")).unwrap()).unwrap();
    let granted = tempfile::tempdir().unwrap();
    fs::write(granted.path().join("note.txt"), "apples").unwrap();
    let fill = |text: &str| {
        text.replace("${__dirname}", folder.path().to_str().unwrap())
            .replace("${user_config.directory}", granted.path().to_str().unwrap())
    };
    let started = &manifest["server"]["mcp_config"];
    let args: Vec<_> =
        started["args"].as_array().unwrap().iter().map(|arg| fill(arg.as_str().unwrap())).collect();
    assert_eq!(args[0], "serve");
    // The same flags serve `call`, which is a session of one call.
    let mut command = Command::new(fill(started["command"].as_str().unwrap()));
    let output = run(command.args(["call", "read_file", r#"{"path": "work:note.txt"}"#]).args(&args[1..]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("apples"));
    let mut writing = Command::new(fill(started["command"].as_str().unwrap()));
    writing.args(["call", "write_file", r#"{"path": "work:note.txt", "content": "pears"}"#]).args(&args[1..]);
    assert!(!writing.output().unwrap().status.success(), "the bundle grants reading alone");
    assert_eq!(fs::read_to_string(granted.path().join("note.txt")).unwrap(), "apples");
}

#[test]
fn the_sums_are_those_of_the_files() {
    let packages = packages();
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&packages.folder));
    let listed = fs::read_to_string(packages.path("SHA256SUMS")).unwrap();
    let count = fs::read_dir(&packages.folder).unwrap().count();
    assert_eq!(listed.lines().count(), count - 1, "every file but the list itself: {listed}");
}

#[test]
fn a_stage_packed_twice_gives_the_same_bytes_wherever_it_lies() {
    let first = small_stage("one");
    let second = small_stage("another/and/deeper");
    assert_eq!(first, second);
    assert_eq!(first.len(), 4, "{:?}", first.keys());
}

/// Packs a stage of one script, made in a folder of the given name, and returns the digests.
fn small_stage(name: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let (stage, out) = (folder.path().join(name), folder.path().join("out"));
    for inner in ["bin", "lib/llmc/plugins"] {
        fs::create_dir_all(stage.join(inner)).unwrap();
    }
    // What the packer asks the program for: completions, and man pages in a folder.
    let script = "#!/bin/sh\n[ \"$1\" = man ] && echo page > \"$2/llmc.1\" || echo completions\n";
    fs::write(stage.join("bin/llmc"), script).unwrap();
    run(Command::new("chmod").arg("0700").arg(stage.join("bin/llmc")));
    fs::write(stage.join("lib/llmc/plugins/libhello.so"), "library").unwrap();
    let order = llmc_dist::Order {
        stage,
        sources: sources(),
        version: "1.2.3".into(),
        epoch: EPOCH,
        level: 6,
        features: Vec::new(),
    };
    let made = llmc_dist::pack(&order, None, &out).unwrap();
    made.into_iter()
        .map(|name| (name.clone(), llmc_dist::sums::sha256_of_file(&out.join(name)).unwrap()))
        .collect()
}

fn only_entry(folder: &Path) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}
