//! The folder in which a case is tried, and what a command prints there, without what differs from run to run.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tempfile::TempDir;

use crate::support::{canary, stage};

/// Longest time of a command or script.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that a script cannot prepare on this machine what it should.
const CANNOT: i32 = 77;

/// Small programs for scripts and commands; each says what it does.
const TOOLS: [(&str, &str); 3] = [
    (
        "obedient",
        "#!/bin/sh\n# obedient COMMAND: even root obeys permissions.\n[ \"$(id -u)\" = 0 ] || exec \"$@\"\n\
         exec setpriv --bounding-set=-dac_override,-dac_read_search -- \"$@\"\n",
    ),
    (
        "cramped",
        "#!/bin/sh\n# cramped COMMAND: the folder `disk` is a disk without room for it, in namespaces of its own.\n\
         exec unshare --user --map-root-user --mount -- sh -ec '\n\
         rm -rf .disk; cp -a disk .disk; mount -t tmpfs -o size=512k none disk; cp -a .disk/. disk\n\
         dd if=/dev/zero of=disk/.rest 2>/dev/null || true\n\
         exec \"$@\"' sh \"$@\"\n",
    ),
    (
        "await",
        "#!/bin/sh\n# await FILE TEXT: until the file has the text.\n\
         for i in $(seq 600); do grep -qs -- \"$2\" \"$1\" && exit; sleep 0.05; done\n\
         echo \"$1 never said: $2\" >&2; exit 1\n",
    ),
];

/// A folder of its own, a home in it, and a port on which somebody listens.
pub(crate) struct Ground {
    folder: TempDir,
    listener: TcpListener,
    /// Scripts that are over; what they left running is ended with the case.
    scripts: Vec<Child>,
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: i32,
    /// Lines of stdout after `| `, then those of stderr after `! `.
    pub(crate) printed: Vec<String>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("messages-").tempdir().unwrap();
        let tools = folder.path().join(".tools");
        for made in [&tools, &folder.path().join("home"), &folder.path().join("work")] {
            std::fs::create_dir(made).unwrap();
        }
        for (name, text) in TOOLS {
            std::fs::write(tools.join(name), text).unwrap();
            std::fs::set_permissions(tools.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { folder, listener, scripts: Vec::new() }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, self.filled(text)).unwrap();
    }

    /// Runs a script; `Err` says what this machine cannot do.
    pub(crate) fn prepare(&mut self, script: &str) -> Result<(), String> {
        // It may leave something running, which would keep a pipe open.
        let said = self.folder.path().join(".prepared");
        let output = std::fs::File::create(&said).unwrap();
        let mut shell = self.shell(&format!("set -e\n{script}"));
        shell.stdout(output.try_clone().unwrap()).stderr(output);
        let child = shell.spawn().unwrap();
        // It stays a zombie, so that the number of its group is nobody else's when the case ends.
        let over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&child)), over).unwrap().unwrap();
        self.scripts.push(child);
        let said = std::fs::read_to_string(said).unwrap_or_default();
        match status.exit_status() {
            Some(0) => Ok(()),
            Some(CANNOT) => Err(said.trim_end().to_owned()),
            code => panic!("exit code {code:?}\n{script}\n{said}"),
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Done {
        let mut shell = self.shell(line);
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let group = Pid::from_child(&child);
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            let error = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).map(|_| bytes)
            });
            let mut bytes = Vec::new();
            let read = stdout.read_to_end(&mut bytes).map(|_| bytes);
            sender.send((read, error.join().unwrap()))
        });
        let (stdout, stderr) = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            // Nobody has waited for it, so its number is still its own.
            let _ = kill_process_group(group, Signal::KILL);
            panic!("`{line}` did not end within {PATIENCE:?}")
        });
        let status = child.wait().unwrap();
        let (stdout, stderr) = (stdout.unwrap(), stderr.unwrap());
        canary::check("stdout", &stdout);
        canary::check("stderr", &stderr);
        let mut printed = self.lines("|", &stdout);
        printed.extend(self.lines("!", &stderr));
        Done { code: status.code().unwrap_or(-1), printed }
    }

    fn shell(&self, script: &str) -> Command {
        let folder = self.folder.path();
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(self.filled(script)).current_dir(folder).stdin(Stdio::null()).process_group(0);
        // The compiler of this test is there for scripts.
        let compiler = Path::new(env!("CARGO")).parent().unwrap();
        let folders = [
            &*folder.join(".tools"),
            &*bin(),
            "/usr/sbin".as_ref(),
            "/usr/bin".as_ref(),
            "/bin".as_ref(),
            compiler,
        ];
        let path = std::env::join_paths(folders).unwrap();
        shell.env_clear().env("PATH", path).env("HOME", folder.join("home")).env("LANG", "C.UTF-8");
        shell.env(crate::support::CANARY_VARIABLE, canary::value("environment"));
        shell
    }

    /// `{stage}` is the installation, `{here}` the folder, `{port}` a port on which somebody listens already.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, value) in self.values() {
            text = text.replace(place, &value);
        }
        text
    }

    fn values(&self) -> [(&'static str, String); 3] {
        [
            ("{here}", self.folder.path().display().to_string()),
            ("{stage}", stage().canonicalize().unwrap().display().to_string()),
            ("{port}", self.listener.local_addr().unwrap().port().to_string()),
        ]
    }

    /// What was printed, line by line, with the names of what differs in its place.
    fn lines(&self, mark: &str, bytes: &[u8]) -> Vec<String> {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for (place, value) in self.values() {
            text = text.replace(&value, place);
        }
        text.lines().map(|line| format!("{mark} {}", plain(line)).trim_end().to_owned()).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for script in &mut self.scripts {
            let _ = kill_process_group(Pid::from_child(script), Signal::KILL);
            let _ = script.wait();
        }
        // A folder that a case made unreadable has to go, too.
        open_up(self.folder.path());
    }
}

/// Where the programs are.
fn bin() -> PathBuf {
    stage().join("bin")
}

fn open_up(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700));
            open_up(&entry.path());
        }
    }
}

/// A line without digests, times, temporary names and the user: `{sha256}`, `{time}`, `{user}`, `{random}`.
fn plain(line: &str) -> String {
    let is_hex = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
    let line = runs(line, is_hex, |run| match run.len() {
        64 => Some("{sha256}".to_owned()),
        128 => Some("{signature}".to_owned()),
        _ => None,
    });
    let is_time = |letter: char| letter.is_ascii_digit() || "-:.TZ".contains(letter);
    let line = runs(&line, is_time, |run| {
        let time = run.trim_end_matches([':', '.', '-']);
        let is_it = time.len() >= 20 && time.as_bytes()[4] == b'-' && time.ends_with('Z');
        is_it.then(|| format!("{{time}}{}", &run[time.len()..]))
    });
    let name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let line = runs(&line, name, |run| {
        let is_random = |rest: &str| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        [".llmc-new-", ".llmc-", ".llmc", ".tmp", "llmc-dev-", "ruta-"]
            .iter()
            .any(|prefix| run.strip_prefix(prefix).is_some_and(is_random))
            .then(|| "{random}".to_owned())
    });
    let uid = rustix::process::getuid().as_raw();
    match line.find(&format!(" (uid {uid})")) {
        Some(end) => {
            let begin = line[..end].rfind(' ').map_or(0, |at| at + 1);
            format!("{}{{user}}{}", &line[..begin], &line[end + format!(" (uid {uid})").len()..])
        }
        None => line,
    }
}

/// Replaces whole runs of letters of one kind.
fn runs(line: &str, is_part: impl Fn(char) -> bool, name: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(&is_part) {
        let (before, run) = rest.split_at(at);
        let end = run.find(|letter| !is_part(letter)).unwrap_or(run.len());
        text.push_str(before);
        text.push_str(&name(&run[..end]).unwrap_or_else(|| run[..end].to_owned()));
        rest = &run[end..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_a_name() {
        let digest = "ab".repeat(32);
        assert_eq!(
            plain(&format!("sha256 {digest}, expected {digest}.")),
            "sha256 {sha256}, expected {sha256}."
        );
        assert_eq!(plain("at 2026-11-23T04:05:06Z: line 2-3"), "at {time}: line 2-3");
        assert_eq!(plain("at 2026-11-23T04:05:06.123Z"), "at {time}");
        assert_eq!(plain("`/x/.llmc-aB3dE6` and `.llmc-keeps`"), "`/x/{random}` and `.llmc-keeps`");
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(plain(&format!("accepted by ada (uid {uid}), written")), "accepted by {user}, written");
    }
}
