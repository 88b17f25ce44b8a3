//! The throw-away surroundings: own user, processes, mounts, network and IPC, as a user of the machine that owns nothing.
//!
//! The program runs itself again in there, on copies of what is staged. What happens inside ends with its process 1,
//! and afterwards it is looked whether anything outside is different.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Owns nothing on any machine; taken if root starts this, so that nothing inside has rights outside.
const NOBODY: u32 = 61_999;

/// How often it is looked for control groups.
const LOOK: Duration = Duration::from_millis(300);

/// Of the stage: what a server needs.
const STAGED: [&str; 3] = ["bin", "libexec", "lib"];

/// A folder for one run, with copies of all programs.
pub(super) struct Nest {
    folder: TempDir,
    before: Outside,
}

/// What must be the same afterwards.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    mounts: String,
    groups: BTreeSet<PathBuf>,
}

impl Nest {
    /// Copies programs, because the user inside may not be able to reach them where they are.
    pub(super) fn new(stage: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("llmc-chaos-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        for name in STAGED {
            copy(&stage.join(name), &folder.path().join("stage").join(name))?;
        }
        fs::copy(std::env::current_exe()?, folder.path().join("llmc-chaos"))?;
        for name in ["nest", "result"] {
            let inner = folder.path().join(name);
            fs::create_dir(&inner)?;
            if is_root() {
                chown(&inner, Some(NOBODY), Some(NOBODY))?;
            }
        }
        Ok(Self { folder, before: Outside::now()? })
    }

    /// Runs this program inside, and waits for its end. Returns how many control groups of llmc were seen meanwhile, too.
    pub(super) fn run(&self, arguments: &[String]) -> Result<(ExitStatus, usize)> {
        // Whatever ends this program ends all of it, too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]);
        command.args(["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork"]);
        command.args(["--kill-child", "--mount-proc", "--"]);
        command.arg(self.path("llmc-chaos")).arg("--stage").arg(self.path("stage"));
        command.arg("inside").arg("--nest").arg(self.path("nest")).args(arguments);
        command.current_dir(self.folder.path());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().context("failed to start `setpriv` and `unshare` (util-linux)")?;
        let mut seen = BTreeSet::new();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status, seen.len()));
            }
            seen.extend(self.new_groups(&Outside::now()?));
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is different outside now that everything inside has ended.
    pub(super) fn changed_outside(&self) -> Result<Vec<String>> {
        let after = Outside::now()?;
        let mut changed = Vec::new();
        if after.mounts != self.before.mounts {
            changed.push("the mounts of the machine".to_owned());
        }
        let groups = self.new_groups(&after);
        changed.extend(groups.iter().map(|group| format!("control group `{}`", group.display())));
        let below = self.path("nest");
        let left = fs::read_dir(&below)?.flatten().flat_map(|entry| fs::read_dir(entry.path())).flatten();
        changed.extend(left.flatten().map(|entry| format!("file `{}`", entry.path().display())));
        Ok(changed)
    }
}

impl Nest {
    fn new_groups(&self, now: &Outside) -> Vec<PathBuf> {
        now.groups.difference(&self.before.groups).filter(|group| is_ours(group)).cloned().collect()
    }
}

impl Outside {
    fn now() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut groups = BTreeSet::new();
        folders(Path::new("/sys/fs/cgroup"), &mut groups);
        Ok(Self { mounts, groups })
    }
}

/// Other groups of the machine come and go.
fn is_ours(group: &Path) -> bool {
    group.file_name().is_some_and(|name| name.to_string_lossy().contains("llmc"))
}

fn folders(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to read `{}`", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}

/// Proves from inside that this is the nest and not the machine, before anything is broken.
///
/// # Errors
///
/// What is not as it should be; nothing was done then.
pub(super) fn prove() -> Result<()> {
    ensure!(std::process::id() == 1, "this is not process 1 of a namespace of its own");
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let host = map.split_whitespace().nth(1).and_then(|id| id.parse::<u64>().ok());
    ensure!(host.is_some_and(|id| id != 0), "root inside is root outside: {map}");
    ensure!(map.lines().count() == 1 && map.trim_end().ends_with(" 1"), "more than one user inside: {map}");
    let others = crate::processes::all().into_iter().filter(|pid| *pid != 1).count();
    ensure!(others == 0, "{others} processes are seen that are not ours");
    let network = fs::read_to_string("/proc/net/dev")?;
    let devices = network.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count();
    ensure!(devices == 0, "there is a network");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_not_taken_for_the_nest() {
        assert!(prove().is_err());
    }
}
