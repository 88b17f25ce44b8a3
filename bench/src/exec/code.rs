//! Servers that run code, and runs that must succeed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::http::NO_LIMIT;
use crate::servers::{NOTE, locate, note};

/// Tells from inside whether this interpreter was forked from one that had imported the usual modules.
const IS_PARKED: &str = "import sys; result = 'asyncio' in sys.modules";

/// A zygote and its children are there long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processes and threads of a command.
pub(super) const MAX_PROCESSES: u32 = 60;

/// Where llmc is, and a folder for it to work in.
pub(crate) struct Setup {
    stage: PathBuf,
    folder: TempDir,
}

impl Setup {
    pub(crate) fn new(stage: &Path) -> Result<Self> {
        let setup = Self { stage: locate(stage)?, folder: tempfile::tempdir()? };
        fs::create_dir(setup.work())?;
        fs::write(setup.work().join(NOTE), note())?;
        Ok(setup)
    }

    /// A server whose runs begin in jails that waited.
    pub(crate) fn warm(&self) -> Result<Client> {
        let mut llmc = self.start("warm", "")?;
        let begun = Instant::now();
        while !is_parked(&mut llmc)? {
            ensure!(
                begun.elapsed() < PATIENCE,
                "no run begins in a jail that waited; see the log of llmc above"
            );
            sleep(Duration::from_millis(10));
        }
        Ok(llmc)
    }

    /// A server that starts an interpreter for every run.
    pub(super) fn cold(&self) -> Result<Client> {
        let mut llmc = self.start("cold", "[limits]\nparked_runs = 0\n")?;
        ensure!(!is_parked(&mut llmc)?, "a run began in a jail that waited, without any");
        Ok(llmc)
    }

    /// A server that runs commands and has not run any code, and its Unix socket for further clients.
    pub(super) fn commands(&self, python: &Path) -> Result<(Client, PathBuf)> {
        let socket = self.folder.path().join("commands.sock");
        let python = format!("python3={}", python.display());
        let cmd = format!(
            "[plugins.cmd]\nlibrary = \"llmc_tools_cmd\"\n[plugins.cmd.grants]\nroots = [\"work\"]\n\
             [plugins.cmd.grants.run]\nprofile = \"workspace\"\nprograms = [\"sh\", {python:?}]\n\
             limits = {{ processes = {MAX_PROCESSES} }}\n[programs.python3]\nrules = \"none\"\n\
             [server.http]\nlisten = \"unix:{}\"\nauth = \"none\"\nrequests_per_minute = {NO_LIMIT}\n",
            socket.display()
        );
        Ok((self.start("commands", &cmd)?, socket))
    }

    /// The file tools and `execute_code` over one folder, and more that its configuration may say.
    fn start(&self, name: &str, more: &str) -> Result<Client> {
        let file = self.folder.path().join(name).with_extension("toml");
        let config = format!(
            "[roots]\nwork = {{ path = {:?} }}\n\
             [plugins.fs]\nlibrary = \"llmc_tools_fs\"\ngrants = {{ roots = [\"work\"] }}\n\
             [plugins.exec]\nlibrary = \"llmc_tools_exec\"\n\
             grants = {{ run = {{ profile = \"code\" }}, tools = [\"read_file\"] }}\n{more}",
            self.work()
        );
        fs::write(&file, config)?;
        let mut command = Command::new(self.stage.join("bin/llmc"));
        command.arg("serve").arg("--config").arg(file).args(["--log", "warn"]);
        Client::start(&mut command)
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }
}

/// Whether the next run begins in a jail that waited.
pub(super) fn is_parked(llmc: &mut Client) -> Result<bool> {
    let (_, done) = run(llmc, &json!({"code": IS_PARKED}))?;
    done["result"].as_bool().with_context(|| format!("code should say yes or no: {done}"))
}

/// Runs code that must succeed: how long its answer took, and what it did.
pub(crate) fn run(llmc: &mut Client, arguments: &Value) -> Result<(Duration, Value)> {
    let (took, result) = llmc.timed("execute_code", arguments)?;
    Ok((took, done(result)?))
}

/// What a call did that must succeed.
pub(super) fn done(mut result: Value) -> Result<Value> {
    let done = result["structuredContent"].take();
    ensure!(result["isError"] != true && done.is_object(), "a run failed: {result} {done}");
    Ok(done)
}
