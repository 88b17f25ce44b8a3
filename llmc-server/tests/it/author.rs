//! The way of an author outside the sources of llmc: make a plugin, test it, change it while it is served.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{comm, eventually, processes, stage, target};

fn llmc(args: &[&str]) -> Command {
    let mut llmc = Command::new(stage().join("bin/llmc"));
    llmc.args(args).stdin(Stdio::null());
    // Compiled with what the workspace has fetched, and once for all runs of this test.
    llmc.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", built());
    llmc
}

fn built() -> PathBuf {
    target().join("new-plugin")
}

#[track_caller]
fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// `plugin new` in a folder of the test.
fn new_plugin(folder: &Path, name: &str) -> PathBuf {
    let output = llmc(&["plugin", "new", name, "--path", folder.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    folder.join(name)
}

#[test]
fn a_new_plugin_passes_its_tests_in_process_and_in_a_jail() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = new_plugin(folder.path(), "word_count");
    for file in
        ["Cargo.toml", "README.md", ".gitignore", ".github/workflows/ci.yml", "sdk/llmc-core/src/lib.rs"]
    {
        assert!(plugin.join(file).is_file(), "{file}");
    }
    let manifest = fs::read_to_string(plugin.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"word_count\""), "{manifest}");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline"]).current_dir(&plugin);
    cargo.env("LLMC", stage().join("bin/llmc")).env("CARGO_TARGET_DIR", built());
    let output = cargo.output().unwrap();
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("greets_from_its_jail ... ok"), "{stdout}");
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn what_cannot_become_a_plugin_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, part: &str| {
        let output =
            llmc(&["plugin", "new", name, "--path", folder.path().to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(said(&output).1.contains(part), "{name}: {output:?}");
    };
    refused("word-count", "is no plugin name");
    refused("../up", "is no plugin name");
    refused("match", "is a word of Rust");
    fs::write(folder.path().join("mine"), "kept").unwrap();
    refused("mine", "exists");
    assert_eq!(fs::read_to_string(folder.path().join("mine")).unwrap(), "kept");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[test]
fn the_sdk_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = new_plugin(folder.path(), "word_count");
    let (changed, gone) = (plugin.join("sdk/Cargo.toml"), plugin.join("sdk/llmc-core/src/old.rs"));
    let fresh = fs::read(&changed).unwrap();
    fs::write(&changed, "old").unwrap();
    fs::write(&gone, "old").unwrap();
    assert!(llmc(&["plugin", "sdk", plugin.to_str().unwrap()]).output().unwrap().status.success());
    assert_eq!(fs::read(&changed).unwrap(), fresh);
    assert!(!gone.exists());
    let output = llmc(&["plugin", "sdk", folder.path().to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success() && said(&output).1.contains("is no plugin with an sdk"), "{output:?}");
}

#[test]
fn dev_builds_loads_calls_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = new_plugin(folder.path(), "needy");
    let code = plugin.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    let text = text.replace("Ok(format!", "ctx.root(&args.name)?; Ok(format!").replace("_ctx", "ctx");
    fs::write(&code, text.replace(": Needy);", ": Needy; grants = [roots: \"reads cards\"]);")).unwrap();
    let dev = |more: &[&str]| {
        let mut dev =
            llmc(&["dev", plugin.to_str().unwrap(), "--once", "--call", "needy {\"name\": \"cards\"}"]);
        dev.args(more).output().unwrap()
    };

    let output = dev(&[]);
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(5), "{stdout}\n{stderr}");
    assert!(stdout.contains("not granted: directories; start with --root NAME=DIR[:rw]"), "{stdout}");
    assert!(stdout.contains("call  needy  denied"), "{stdout}");
    assert!(stdout.contains("--root NAME=DIR"), "what would be needed: {stdout}");

    let output = dev(&["--root", &format!("cards={}", folder.path().display())]);
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("Hello, cards!") && !stdout.contains("not granted"), "{stdout}");

    fs::write(&code, "no rust").unwrap();
    let output = dev(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).1.contains("the build failed"), "{output:?}");
}

#[test]
fn dev_names_a_folder_without_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let dev = || llmc(&["dev", folder.path().to_str().unwrap(), "--once"]).output().unwrap();
    assert!(said(&dev()).1.contains("has no `Cargo.toml`"));
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    let manifest = "[package]\nname = \"none\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    assert!(said(&dev()).1.contains("makes no plugin"), "{:?}", dev());
}

/// `llmc dev` as a person has it: lines go in, lines come out.
struct Dev {
    child: Child,
    stdin: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Dev {
    fn start(plugin: &Path, more: &[&str]) -> Self {
        let mut dev = llmc(&["dev", plugin.to_str().unwrap()]);
        let mut child = dev
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&shown);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *all.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self { child, stdin, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn hosts(&self) -> Vec<u32> {
        crate::support::children(self.child.id())
            .into_iter()
            .filter(|pid| comm(*pid).is_some_and(|name| name.starts_with("llmc-host")))
            .collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dev_reloads_what_was_changed_and_leaves_no_host_behind() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = new_plugin(folder.path(), "changing");
    let mut dev = Dev::start(&plugin, &["--http", "127.0.0.1:0"]);
    eventually("it serves HTTP", || dev.shown().contains("serving MCP at http://127.0.0.1:"));
    writeln!(dev.stdin, "changing {{\"name\": \"Ada\"}}").unwrap();
    eventually("the first answer", || dev.shown().contains("Hello, Ada!"));

    let code = plugin.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    fs::write(&code, text.replace("Hello, {}", "Moin, {}")).unwrap();
    eventually("it was loaded again", || dev.shown().matches("is granted").count() == 2);
    writeln!(dev.stdin, "changing {{\"name\": \"Ada\"}}").unwrap();
    eventually("the new answer", || dev.shown().contains("Moin, Ada!"));
    eventually("one host is left", || dev.hosts().len() == 1);

    let host = dev.hosts()[0];
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(dev.child.id().cast_signed()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert!(dev.child.wait().unwrap().success());
    eventually("no host is left", || !processes().contains(&host));
}
