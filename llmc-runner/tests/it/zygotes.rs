//! When an interpreter from which jails are forked is replaced or ended. Its bounds come with the first message; a hash
//! tells one zygote from another, since its seed is what all children of one have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

/// The script of every run: it says a hash.
const SCRIPT: &str = "def ahead(): pass\ndef rehearse(): pass\ndef main():\n    print(hash('abc'), flush=True)\n    return 0\n\
                      if __name__ == '__main__':\n    main()\n";
/// The library that forks.
const LIBRARY: &str = "libllmc_zygote.so";

/// A runner that keeps one interpreter ready, beside the library that it needs for that.
struct Ground {
    runner: Runner,
    _folder: tempfile::TempDir,
}

fn start(change: impl FnOnce(&mut ZygoteBounds)) -> Ground {
    let stage = std::env::var_os("LLMC_STAGE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stage"), PathBuf::from);
    let folder = tempfile::tempdir().unwrap();
    let library = stage.join("libexec/llmc").join(LIBRARY);
    let copied = std::fs::copy(&library, folder.path().join(LIBRARY));
    copied.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask build` first", library.display()));
    let program = folder.path().join("llmc-runner");
    std::fs::copy(RUNNER, &program).unwrap();
    let mut zygote = ZygoteBounds::default();
    change(&mut zygote);
    let init = Init {
        server_pid: std::process::id(),
        max_jails: 2,
        min_isolation: Isolation::Namespaces,
        parked_runs: 1,
        runs_code: false,
        zygote,
    };
    Ground { runner: Runner::start_told(Command::new(program), &init), _folder: folder }
}

impl Ground {
    /// The hash, if the run began in a jail that had waited.
    fn run(&mut self) -> Option<String> {
        let mut request = request(
            Profile::Code,
            Program::Engine("python".into()),
            &["-I", "-S", "-X", "utf8", "/llmc/boot.py"],
        );
        request.spec.files = vec![File { name: "boot.py".into(), contents: SCRIPT.into() }];
        let run = self.runner.spawn(1, request).unwrap_or_else(|refused| panic!("{refused:?}"));
        let waited = run.waited;
        let done = self.runner.finish(run);
        assert_eq!(done.outcome.status, Status::Exited(0), "{}", done.stderr);
        waited.then(|| done.stdout.trim().to_owned())
    }

    /// Runs until so many jails that waited have been used. How often each hash was said.
    fn run_waiting(&mut self, count: usize) -> BTreeMap<String, usize> {
        let mut hashes = BTreeMap::new();
        self.run_until("jails that waited are used", |hash| {
            hash.into_iter().for_each(|hash| *hashes.entry(hash).or_default() += 1);
            hashes.values().sum::<usize>() == count
        });
        hashes
    }

    fn run_until(&mut self, what: &str, mut is_enough: impl FnMut(Option<String>) -> bool) {
        let begun = Instant::now();
        while !is_enough(self.run()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}: never");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the runner has no process below it.
    fn is_alone(&self) {
        let pid = self.runner.child.id();
        let begun = Instant::now();
        while !std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "its zygote never ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_zygote_is_replaced_after_so_many_jails() {
    let mut ground = start(|bounds| bounds.max_children = 3);
    let hashes = ground.run_waiting(9);
    assert!(hashes.values().all(|count| *count <= 3) && hashes.len() >= 3, "{hashes:?}");
    // Below the bound all are forked from one.
    assert_eq!(start(|_| ()).run_waiting(9).len(), 1);
}

#[test]
fn a_zygote_is_replaced_when_it_is_old() {
    let mut ground = start(|bounds| bounds.max_age_ms = 2000);
    let mut first = None;
    ground.run_until("another one takes its place", |hash| {
        hash.is_some_and(|hash| *first.get_or_insert_with(|| hash.clone()) != hash)
    });
}

#[test]
fn a_zygote_goes_when_nobody_needs_it() {
    let mut ground = start(|bounds| bounds.max_idle_ms = 1000);
    ground.run_waiting(1);
    ground.is_alone();
    // Who comes later starts cold, and the next ones do not.
    assert_eq!(ground.run(), None);
    ground.run_waiting(1);
}

#[test]
fn a_zygote_that_has_grown_is_given_up() {
    let mut ground = start(|bounds| bounds.max_memory_bytes = 1 << 10);
    // Runs go on, cold: what replaced it at once would be as large.
    let mut has_waited = false;
    ground.run_until("it goes", |hash| {
        has_waited |= hash.is_some();
        has_waited && hash.is_none()
    });
    ground.is_alone();
    assert_eq!(ground.run(), None);
}
