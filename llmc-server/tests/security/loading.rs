//! Libraries that are no plugins, or bad ones: one readable sentence each, exit code 1, soon, and nothing left over.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::compile::{folder, library, on_load};
use crate::observe::{adopt_orphans, orphans};
use crate::support::{Setup, eventually, stage};

/// Longest time from the start to the refusal, however the library misbehaves.
const SOON: Duration = Duration::from_secs(6);

fn hello_library() -> PathBuf {
    stage().join("lib/llmc/plugins/libhello.so")
}

fn serve_with(library: &Path, more: &str) -> Output {
    let config = format!(
        "[limits]\nload_timeout_ms = 1500\n[plugins.bad]\nlibrary = '{}'\n{more}\n[plugins.hello]\nlibrary = 'hello'",
        library.display()
    );
    Setup::new(&config).run("serve", &[])
}

/// The start is refused with one sentence that names the file and contains all parts.
#[track_caller]
fn refused(library: &Path, more: &str, parts: &[&str]) -> String {
    adopt_orphans();
    let begun = Instant::now();
    let output = serve_with(library, more);
    let took = begun.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(took < SOON, "it took {took:?}: {stderr}");
    let sentences: Vec<&str> = stderr.lines().filter(|line| line.starts_with("llmc: ")).collect();
    let [sentence] = sentences[..] else { panic!("one sentence, not: {stderr}") };
    assert!(sentence.contains(library.to_str().unwrap()), "the file is not named: {sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
    assert!(sentence.len() < 600, "a sentence, not a page: {sentence}");
    eventually("no host is left behind", || orphans().is_empty());
    sentence.to_owned()
}

/// A file in a folder that lives as long as the test.
fn file(name: &str, contents: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, contents).unwrap();
    (folder, path)
}

const IS_IT_COMPLETE: &str = "is it complete and built for this machine?";

#[test]
fn the_neighbour_loads() {
    let (_folder, copy) = file("libcopy.so", std::fs::read(hello_library()).unwrap());
    let output = serve_with(&copy, "prefix = 'copied'");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_text_file() {
    let (_folder, path) = file(
        "notes.so",
        "this is a text file, longer than an ELF header has to be, so that it is read as one",
    );
    refused(&path, "", &["invalid ELF header", IS_IT_COMPLETE]);
}

#[test]
fn an_empty_file() {
    let (_folder, path) = file("empty.so", "");
    refused(&path, "", &["file too short", IS_IT_COMPLETE]);
}

#[test]
fn a_copy_that_was_cut_off() {
    let whole = std::fs::read(hello_library()).unwrap();
    let loaded = loaded_bytes(&whole);
    assert!(loaded > 100_000, "{loaded}");
    // In the ELF header, behind it, in the code, near the end: some are noticed by the loader, others only when a
    // page that is not there is touched (SIGBUS).
    for bytes in
        [40, 64, 1000, 4096, loaded / 100, loaded / 8, loaded / 2, loaded - loaded / 8, loaded - 8192]
    {
        let (_folder, path) = file("cut.so", &whole[..bytes]);
        let sentence = refused(&path, "", &[]);
        let readable = [IS_IT_COMPLETE, "truncated library"];
        assert!(readable.iter().any(|words| sentence.contains(words)), "{bytes} bytes: {sentence}");
    }
}

/// End of what the loader maps: behind it are symbols and debug information, which nobody misses.
fn loaded_bytes(elf: &[u8]) -> usize {
    let number = |at: usize, len: usize| {
        elf[at..at + len].iter().rev().fold(0_usize, |number, &byte| number << 8 | usize::from(byte))
    };
    const PT_LOAD: usize = 1;
    // See elf(5): e_phoff, e_phentsize and e_phnum; p_type, p_offset and p_filesz.
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let headers = (0..count).map(|index| table + index * size);
    let loaded = headers.filter(|&at| number(at, 4) == PT_LOAD);
    loaded.map(|at| number(at + 8, 8) + number(at + 32, 8)).max().unwrap()
}

#[test]
fn another_file_than_the_one_that_was_checked() {
    let (_folder, path) = file("libcopy.so", std::fs::read(hello_library()).unwrap());
    let wrong = format!("sha256 = '{}'", "ab".repeat(32));
    let sentence = refused(&path, &wrong, &["SHA-256", "`sha256`"]);
    let digest = sentence.split("has SHA-256 ").nth(1).unwrap().split(',').next().unwrap();
    let right = format!("sha256 = '{digest}'\nprefix = 'copied'");
    assert!(serve_with(&path, &right).status.success(), "the digest of the message is the right one");
}

#[test]
fn a_missing_file() {
    refused(Path::new("/no/such/folder/plugin.so"), "", &["No such file"]);
}

#[test]
fn a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder.so");
    std::fs::create_dir(&path).unwrap();
    refused(&path, "", &["not a regular file"]);
}

#[test]
fn a_named_pipe_and_devices() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.so");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Whoever opens it without looking waits for a writer for ever.
    refused(&pipe, "", &["not a regular file"]);
    for device in ["/dev/zero", "/dev/tty", "/dev/null"] {
        let link = folder.path().join("link.so");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(device, &link).unwrap();
        refused(&link, "", &[]);
    }
}

/// Libraries that were compiled for these tests.
struct Compiled;

impl Compiled {
    fn get(&self, name: &str) -> PathBuf {
        folder().join(format!("{name}.so"))
    }
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let exports = |symbol: &str| format!("#[unsafe(no_mangle)] pub static {symbol}: [u64; 64] = [0; 64];");
    let sources = [
        ("libanswer", "#[unsafe(no_mangle)] pub extern \"C\" fn answer() -> i32 { 42 }".to_owned()),
        ("next_major", exports("LLMC_PLUGIN_V2")),
        ("zeros", exports("LLMC_PLUGIN_V1")),
        ("ends", on_load("std::process::abort()")),
        ("leaves", on_load("std::process::exit(0)")),
        ("spins", on_load("loop { std::hint::spin_loop() }")),
        ("sleeps", on_load("std::thread::sleep(std::time::Duration::from_secs(600))")),
        (
            "needs",
            "#[link(name = \"answer\")] unsafe extern \"C\" { fn answer() -> i32; }\n\
             #[unsafe(no_mangle)] pub extern \"C\" fn ask() -> i32 { unsafe { answer() } }"
                .to_owned(),
        ),
    ];
    for (name, source) in sources {
        library(name, &source);
    }
    Compiled
});

/// A library whose constructor never returns.
pub(crate) fn spinning_library() -> PathBuf {
    COMPILED.get("spins")
}

#[test]
fn a_real_library_that_is_no_plugin() {
    refused(&COMPILED.get("libanswer"), "", &["not an llmc plugin", "`LLMC_PLUGIN_V1`", "export_plugin!"]);
}

#[test]
fn a_plugin_of_a_later_interface() {
    refused(&COMPILED.get("next_major"), "", &["interface version 2", "version 1", "rebuild the plugin"]);
}

#[test]
fn zeros_where_the_header_should_be() {
    refused(&COMPILED.get("zeros"), "", &["rebuild it with llmc-core"]);
}

#[test]
fn a_library_that_needs_another_one() {
    refused(&COMPILED.get("needs"), "", &["libanswer.so", "link it statically"]);
}

#[test]
fn a_constructor_that_ends_the_process() {
    refused(&COMPILED.get("ends"), "", &["while loading", "SIGABRT"]);
    refused(&COMPILED.get("leaves"), "", &["while loading", "exited with code 0"]);
}

#[test]
fn a_constructor_that_never_returns() {
    for name in ["spins", "sleeps"] {
        refused(&COMPILED.get(name), "", &["did not finish loading", "1500 ms", "limits.load_timeout_ms"]);
    }
}
