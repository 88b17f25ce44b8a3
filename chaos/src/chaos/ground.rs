//! What servers stand on inside: file systems of limited size, configurations, and how a server is started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount};

use super::clock::Clock;
use crate::dice::Dice;
use crate::http::Place;

/// Longest time of a call, and what it may take longer to end, as the servers are told.
pub(super) const CALL_TIMEOUT_MS: u64 = 8_000;
pub(super) const GRACE_MS: u64 = 1_000;

/// A file that is never changed, and its text.
pub(super) const NOTE: &str = "fixed/note.txt";
pub(super) const NOTE_TEXT: &str = "the quick brown fox\njumps over the lazy dog\n";

/// A file whose text no socket takes at once, and how long it is.
pub(super) const LARGE: &str = "fixed/large.txt";
const LARGE_BYTES: usize = 600_000;

/// Libraries that are replaced while they are in use.
pub(super) const REPLACED: [&str; 2] = ["libhello.so", "libte.so"];

/// File systems: what for, and their size for tmpfs(5). That for state holds three indexes of what is in `work`, each
/// some times as large.
const MOUNTS: [(&str, &str); 6] = [
    ("work", "128m"),
    ("audit", "512m"),
    ("state", "512m"),
    ("scratch", "64m"),
    ("plugins", "1g"),
    ("etc", "64m"),
];

/// Those that are filled up.
pub(super) const FILLED: [&str; 4] = ["audit", "scratch", "state", "work"];

const SECONDS_OF_A_YEAR: u64 = 31_536_000;

/// The folder with everything.
pub(super) struct Ground {
    nest: PathBuf,
    stage: PathBuf,
    /// The clock of servers, where `faketime` is installed.
    pub(super) clock: Option<Clock>,
    generation: AtomicU64,
}

impl Ground {
    /// Mounts file systems and writes what is in them at first.
    pub(super) fn new(nest: &Path, stage: &Path) -> Result<Self> {
        for (name, size) in MOUNTS {
            let folder = nest.join(name);
            fs::create_dir_all(&folder)?;
            let options = std::ffi::CString::new(format!("size={size},mode=0700"))?;
            mount("tmpfs", &folder, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
                .with_context(|| format!("failed to mount `{}`", folder.display()))?;
        }
        let clock = Clock::new(nest.join("etc/clock"))?;
        let (nest, stage, generation) = (nest.to_owned(), stage.to_owned(), AtomicU64::new(1));
        let ground = Self { nest, stage, clock, generation };
        for library in REPLACED {
            fs::copy(ground.installed(library), ground.path("plugins").join(library))?;
        }
        let note = ground.path("work").join(NOTE);
        fs::create_dir_all(note.parent().context("a note has a folder")?)?;
        fs::write(note, NOTE_TEXT)?;
        fs::write(ground.path("work").join(LARGE), "0123456789\n".repeat(LARGE_BYTES / 11))?;
        let code = "pub fn chaos_marker(count: u32) -> u32 {\n    count + 1\n}\n";
        fs::write(ground.path("work/fixed/lib.rs"), code)?;
        Ok(ground)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.nest.join(name)
    }

    /// A library as it was built.
    pub(super) fn installed(&self, library: &str) -> PathBuf {
        self.stage.join("lib/llmc/plugins").join(library)
    }

    pub(super) fn program(&self) -> PathBuf {
        self.stage.join("bin/llmc")
    }

    /// The configuration file of a server.
    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.nest.join("etc").join(format!("{name}.toml"))
    }

    /// The socket of a server over HTTP.
    pub(super) fn socket(&self, name: &str) -> Place {
        Place::Unix(self.nest.join("etc").join(format!("{name}.socket")))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.nest.join("etc").join(format!("{name}.log"))
    }

    /// Writes the configuration of a server anew, a little different each time.
    pub(super) fn configure(&self, name: &str, is_http: bool) -> Result<()> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        self.replace(&self.config(name), &self.text(name, is_http, generation))
    }

    /// Writes a configuration that cannot be taken up.
    pub(super) fn configure_wrongly(&self, name: &str) -> Result<()> {
        self.replace(&self.config(name), "[server]\nmood = 'bad'\n")
    }

    fn replace(&self, file: &Path, text: &str) -> Result<()> {
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, file)?)
    }

    fn text(&self, name: &str, is_http: bool, generation: u64) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let (work, audit, plugins) = (path("work"), path("audit"), path("plugins"));
        let state = self.path("state").join(name).display().to_string();
        let http = match is_http {
            true => format!(
                "http = {{ listen = 'unix:{}', auth = 'none', requests_per_minute = 1000000 }}\n",
                self.path("etc").join(format!("{name}.socket")).display()
            ),
            false => String::new(),
        };
        let kept_ms = 60_000 + generation;
        format!(
            "[server]\nstate = '{state}'\n{http}\
             [audit]\npath = '{audit}/audit.db'\ndurability = 'call'\n\
             [limits]\ncall_timeout_ms = {CALL_TIMEOUT_MS}\ngrace_ms = {GRACE_MS}\nqueue_timeout_ms = 3000\n\
             concurrent_runs = 6\ndetached_runs = 4\nparked_runs = 1\nkept_bytes = 8388608\nkept_ms = {kept_ms}\n\
             [roots]\nwork = {{ path = '{work}', access = 'rw' }}\n\
             [plugins.hello]\nlibrary = '{plugins}/libhello.so'\n\
             [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
             [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
             grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['cat', 'sh'] }} }}\n\
             [plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
             grants = {{ tools = ['hello', 'read_file', 'write_file'], run = {{ profile = 'code' }} }}\n\
             [plugins.search]\nlibrary = 'search'\ngrants = {{ roots = ['work'], state = true }}\n\
             [plugins.te]\nlibrary = '{plugins}/libte.so'\n\
             grants = {{ roots = ['work'], state = true, tools = ['search_files', 'find_files', 'list_dir', \
             'read_file', 'stat', 'tree'], run = {{ profile = 'workspace', programs = ['cat'] }} }}\n"
        )
    }

    /// How a server is started: by an ordinary user of a namespace below this one, so that limits on its processes count
    /// its own alone, with clocks that stand elsewhere.
    pub(super) fn server(&self, name: &str, dice: &mut Dice, with_clocks: bool) -> Result<Command> {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=1000", "--map-group=1000"]);
        if with_clocks {
            command.arg("--time");
            for clock in ["--monotonic", "--boottime"] {
                command.arg(format!("{clock}={}", dice.below(SECONDS_OF_A_YEAR)));
            }
        }
        command.arg("--").arg(self.program()).arg("serve").arg("--config").arg(self.config(name));
        command.args(["--log", "info"]);
        self.surround(&mut command);
        if let Some(clock) = &self.clock {
            clock.surround(&mut command);
        }
        let log = File::options().create(true).append(true).open(self.log(name))?;
        command.stderr(log);
        Ok(command)
    }

    fn surround(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", self.path("scratch"));
        command.current_dir(&self.nest);
    }

    /// Runs `llmc ARGS` to its end and returns what it printed.
    pub(super) fn llmc(&self, args: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::new(self.program());
        self.surround(command.args(args).stdin(Stdio::null()));
        let output = command.output()?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            said += &String::from_utf8_lossy(&output.stderr);
        }
        Ok((output.status.success(), said))
    }

    /// Whether a process that is started like a server has clocks of its own.
    pub(super) fn clocks_shift(&self) -> bool {
        let shift = 10 * SECONDS_OF_A_YEAR;
        let arguments = ["--user", "--map-user=1000", "--time"];
        let shifted = Command::new("unshare")
            .args(arguments)
            .args([format!("--monotonic={shift}"), format!("--boottime={shift}")])
            .args(["--", "cat", "/proc/uptime"])
            .output();
        let seconds = |text: &str| text.split('.').next().and_then(|seconds| seconds.trim().parse().ok());
        let there = shifted.ok().and_then(|output| seconds(&String::from_utf8_lossy(&output.stdout)));
        there.is_some_and(|there: u64| there >= shift)
    }
}

/// The lines of `llmc audit export`.
pub(super) fn exported(ground: &Ground, config: &Path) -> Result<String> {
    let (is_good, said) = ground.llmc(&["audit", "export", "--config", &config.display().to_string()])?;
    ensure!(is_good, "the audit cannot be exported: {said}");
    Ok(said)
}
