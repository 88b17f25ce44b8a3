//! What is published: packages of the stage that `cargo xtask test` made, unpacked and used; and the files of
//! `packaging`, which nothing here can run, read and checked.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

mod containers;
mod formats;
mod install;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use llmc_dist::{Names, Order, Publication};

/// The root of the repository.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of `packaging`.
fn packaging(name: &str) -> String {
    fs::read_to_string(sources().join("packaging").join(name)).unwrap()
}

/// All packages of the stage, made once for all tests.
struct Packages {
    /// In the target folder, made anew by each run: what is static is never dropped, so nobody would remove a
    /// temporary one.
    folder: PathBuf,
    names: Names,
}

impl Packages {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The time that all files have.
const EPOCH: u64 = 1_700_000_000;

fn packages() -> &'static Packages {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let stage =
            std::env::var_os("LLMC_STAGE").expect("`cargo xtask test` stages first and sets LLMC_STAGE");
        let sources = sources();
        let version = llmc_dist::version(&sources).unwrap();
        let names = Names::of(&version);
        // Little compression: a stage with debug information is large, and only its form is looked at.
        let order =
            Order { stage: stage.into(), sources, version, epoch: EPOCH, level: 1, features: Vec::new() };
        let publication = Publication {
            name: "io.github.ada/llmc".into(),
            download_url: "https://example.org/llmc/download".into(),
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&folder);
        let made = llmc_dist::pack(&order, Some(&publication), &folder).unwrap();
        llmc_dist::sums::write(&folder, &made).unwrap();
        Packages { folder, names }
    })
}

/// Runs a program that has to succeed, with nothing of this environment but where the system's programs are.
fn run(command: &mut Command) -> Output {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Whether the system has a program; a test that needs it says what it did not check.
fn has(program: &str, unchecked: &str) -> bool {
    let there = ["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !there {
        eprintln!("NOT CHECKED without `{program}`: {unchecked}");
    }
    there
}
