//! Ways to run `true`: as a bare process, in `bwrap`, by `run_command`; and a call that runs nothing.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::PROGRAM;
use crate::client::Client;
use crate::program::Program;
use crate::servers::locate;

/// Runs before a turn that are not counted.
const WARM_UP: usize = 3;

/// What is measured, in the order of a turn.
pub(super) const SIDES: [&str; 4] = ["bare", "bwrap", "run_command", "hello"];

pub(super) struct Sides {
    llmc: Client,
    bwrap: Option<(Program, Vec<OsString>)>,
    folder: TempDir,
    printed: Vec<u8>,
}

impl Sides {
    pub(super) fn new(stage: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let work = folder.path().join("work");
        fs::create_dir(&work)?;
        let config = format!(
            "[roots]\nwork = {{ path = {work:?}, access = \"rw\" }}\n[plugins.hello]\nlibrary = \"hello\"\n\
             [plugins.cmd]\nlibrary = \"llmc_tools_cmd\"\n\
             grants = {{ roots = [\"work\"], run = {{ profile = \"workspace\", programs = [\"true={PROGRAM}\"] }} }}\n"
        );
        let file = folder.path().join("llmc.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(locate(stage)?.join("bin/llmc"));
        command.arg("serve").arg("--config").arg(file).args(["--log", "warn"]);
        let llmc = Client::start(&mut command)?;
        let bwrap = Program::find(&["bwrap"]).map(|bwrap| (bwrap, bwrap_args(&work, &[PROGRAM.into()])));
        Ok(Self { llmc, bwrap, folder, printed: Vec::new() })
    }

    /// So many runs of each side: its place in [`SIDES`] and the microseconds.
    pub(super) fn turn(&mut self, runs: usize, times: &mut Vec<(usize, f64)>) -> Result<()> {
        for side in 0..SIDES.len() {
            for run in 0..WARM_UP + runs {
                let Some(took) = self.run(side)? else { continue };
                if run >= WARM_UP {
                    times.push((side, took.as_secs_f64() * 1e6));
                }
            }
        }
        Ok(())
    }

    /// What is not measured, and why.
    pub(super) fn left_out(&self) -> Vec<String> {
        let missing = "bwrap: not measured: it is not installed (`apt install bubblewrap`)";
        self.bwrap.is_none().then(|| missing.to_owned()).into_iter().collect()
    }

    fn run(&mut self, side: usize) -> Result<Option<Duration>> {
        match SIDES[side] {
            "bare" => {
                let program = Program { file: PROGRAM.into(), version: String::new() };
                program.run(&[], self.folder.path(), &mut self.printed).map(Some)
            }
            "bwrap" => {
                let Some((bwrap, args)) = &self.bwrap else { return Ok(None) };
                bwrap.run(args, self.folder.path(), &mut self.printed).map(Some)
            }
            "run_command" => {
                let (took, result) = self.llmc.timed("run_command", &json!({"argv": ["true"]}))?;
                ensure!(result["structuredContent"]["exit_code"] == 0, "`true` did {result}");
                Ok(Some(took))
            }
            _ => {
                let (took, result) = self.llmc.timed("hello", &json!({"name": "Ada"}))?;
                ensure!(result["isError"] != true, "`hello` said {result}");
                Ok(Some(took))
            }
        }
    }
}

/// What `bwrap` is told to run a command, as its manual suggests for a sandbox, with the directories that a command of
/// llmc sees, and that of the command's program. It has no system call filter,
/// no limits and no Landlock, and scratch space without bounds.
pub(crate) fn bwrap_args(work: &Path, command: &[OsString]) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"].map(Into::into).into();
    args.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(Into::into));
    for path in ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives"] {
        let path = Path::new(path);
        match fs::read_link(path) {
            Ok(to) => args.extend(["--symlink".into(), to.into_os_string(), path.into()]),
            Err(_) if path.exists() => args.extend(["--ro-bind".into(), path.into(), path.into()]),
            Err(_) => {}
        }
    }
    // `BASE/bin/PROGRAM`, where that is none of the directories above.
    let base = command.first().and_then(|program| Path::new(program).parent()?.parent());
    if let Some(base) = base.filter(|base| *base != Path::new("/") && !base.starts_with("/usr")) {
        args.extend(["--ro-bind".into(), base.into(), base.into()]);
    }
    args.extend(["--bind".into(), work.into(), "/work".into(), "--chdir".into(), "/work".into()]);
    args.extend_from_slice(command);
    args
}
