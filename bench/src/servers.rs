//! The two servers, how they are started, and the folder that both work in.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Call, Client};
use crate::stats::Pair;

/// The tools that are called, in the order in which they are reported.
pub(crate) const TOOLS: [&str; 2] = ["hello", "read_file"];

pub(crate) const NOTE: &str = "note.txt";
const NOTE_BYTES: usize = 4096;
/// What files are filled with.
pub(crate) const LINE: &str = "A line of sixty-four bytes, as a programmer or a poet writes it.\n";
const LAST_LINE: &str = "the last line of the note\n";

/// Everything that is needed to start either server.
pub(crate) struct Servers {
    stage: PathBuf,
    baseline: PathBuf,
    folder: TempDir,
    /// A configuration instead of flags.
    config: Option<PathBuf>,
    /// The tools as llmc lists them.
    pub(crate) tools: Vec<Value>,
}

/// Two running servers and the calls that are made to them, in the order of [`TOOLS`].
pub(crate) struct Running {
    pub(crate) clients: Pair<Client>,
    pub(crate) calls: Pair<[Call; 2]>,
}

impl Servers {
    /// Finds the programs, makes the folder and asks llmc what the baseline has to look like.
    pub(crate) fn new(stage: &Path) -> Result<Self> {
        Self::made(stage, |_| None)
    }

    /// The same with the configuration that `config` makes for the folder that is worked in. It has to offer
    /// [`TOOLS`]; the baseline lists all that it offers.
    pub(crate) fn configured(stage: &Path, config: impl FnOnce(&Path) -> String) -> Result<Self> {
        Self::made(stage, |work| Some(config(work)))
    }

    fn made(stage: &Path, config: impl FnOnce(&Path) -> Option<String>) -> Result<Self> {
        let stage = locate(stage)?;
        let folder = tempfile::tempdir()?;
        let work = folder.path().join("work");
        fs::create_dir(&work)?;
        fs::write(work.join(NOTE), note())?;
        let file = folder.path().join("llmc.toml");
        let config = config(&work).map(|text| fs::write(&file, text).map(|()| file)).transpose()?;
        let mut servers = Self { stage, baseline: baseline()?, folder, config, tools: Vec::new() };
        servers.write_back()?;

        let mut llmc = Client::start(&mut servers.calling())?;
        servers.tools = llmc.tools()?;
        let is_called = |tool: &Value| TOOLS.iter().any(|name| tool["name"] == **name);
        let called = servers.tools.iter().filter(|tool| is_called(tool)).count();
        ensure!(called == TOOLS.len(), "llmc offers only {called} of the tools {TOOLS:?}");
        let is_listed = |tool: &&Value| servers.config.is_some() || is_called(tool);
        let tools: Vec<&Value> = servers.tools.iter().filter(is_listed).collect();
        let [_, (_, answer)] = prepare(&mut llmc)?;
        let sample = json!({
            "file": note(),
            "text": answer["content"][0]["text"],
            "structured": answer["structuredContent"],
        });
        fs::write(servers.like(), json!({"tools": tools, "read_file": sample}).to_string())?;
        Ok(servers)
    }

    /// llmc with its default plugins and one directory, as its README starts it.
    pub(crate) fn llmc(&self, more: &[&str]) -> Command {
        let mut root = self.work().into_os_string();
        root.push(":rw");
        let mut command = llmc(&self.stage, &root, self.folder.path());
        command.args(more);
        command
    }

    /// llmc with the tools that are called.
    pub(crate) fn calling(&self) -> Command {
        let Some(config) = &self.config else { return self.llmc(&["--plugin", "hello"]) };
        let mut command = Command::new(self.stage.join("bin/llmc"));
        command.args(["serve", "--log", "error", "--config"]).arg(config);
        command
    }

    pub(crate) fn baseline(&self) -> Command {
        let mut command = Command::new(&self.baseline);
        command.arg(self.work()).arg(self.like());
        command
    }

    /// Starts both, with every tool called once and both giving the same answers.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut llmc = Client::start(&mut self.calling())?;
        let mut baseline = Client::start(&mut self.baseline())?;
        let [(hello, a), (read_file, b)] = prepare(&mut llmc)?;
        let [(hello_too, c), (read_file_too, d)] = prepare(&mut baseline)?;
        ensure!(a == c && b == d, "the servers do not give the same answers: {a} and {c}, {b} and {d}");
        let calls = Pair { llmc: [hello, read_file], baseline: [hello_too, read_file_too] };
        Ok(Running { clients: Pair { llmc, baseline }, calls })
    }

    /// Pages of a program that was just built wait to be written to disk, and until then they count as dirty memory
    /// of everybody who runs it.
    fn write_back(&self) -> Result<()> {
        let mut files = vec![self.baseline.clone()];
        for folder in ["bin", "libexec/llmc", "lib/llmc/plugins"] {
            for entry in fs::read_dir(self.stage.join(folder))? {
                files.push(entry?.path());
            }
        }
        for file in files {
            fs::File::open(&file)?.sync_all().with_context(|| format!("`{}`", file.display()))?;
        }
        Ok(())
    }

    /// The folder that is worked in.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn like(&self) -> PathBuf {
        self.folder.path().join("like.json")
    }
}

/// The folder of an optimised build.
pub(crate) fn locate(stage: &Path) -> Result<PathBuf> {
    stage.canonicalize().with_context(|| format!("there is no stage `{}`", stage.display()))
}

/// llmc with its default plugins and one root. `config` is a folder in which no configuration is found: that of
/// whoever runs the benchmark must not change what is measured.
pub(crate) fn llmc(stage: &Path, root: &OsStr, config: &Path) -> Command {
    let mut command = Command::new(stage.join("bin/llmc"));
    command.args(["serve", "--root"]).arg(root).env("XDG_CONFIG_HOME", config);
    command
}

/// Calls every tool for the first time.
pub(crate) fn prepare(client: &mut Client) -> Result<[(Call, Value); 2]> {
    Ok([client.prepare(TOOLS[0], &json!({"name": "Ada"}), "Hello, Ada!")?, read_note(client)?])
}

/// A first call of `read_file`.
pub(crate) fn read_note(client: &mut Client) -> Result<(Call, Value)> {
    client.prepare(TOOLS[1], &json!({"path": NOTE}), LAST_LINE.trim_end())
}

/// The text of a file of [`NOTE_BYTES`].
pub(crate) fn note() -> String {
    let mut note = LINE.repeat(NOTE_BYTES / LINE.len() + 1);
    note.truncate(NOTE_BYTES - LAST_LINE.len() - 1);
    note + "\n" + LAST_LINE
}

/// The program beside this one. `cargo run` builds only the program it runs, so that is made up for here.
fn baseline() -> Result<PathBuf> {
    const NAME: &str = "bench-baseline";
    if let (Some(cargo), Some(manifest)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_PATH")) {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--bin", NAME, "--manifest-path"]).arg(manifest);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        ensure!(build.status()?.success(), "`{NAME}` cannot be built");
    }
    let program = env::current_exe()?.with_file_name(NAME);
    ensure!(program.exists(), "`{}` is missing; run `cargo build -p llmc-bench --bins`", program.display());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_has_its_size_and_its_end() {
        let note = note();
        assert_eq!(note.len(), NOTE_BYTES);
        assert!(note.ends_with(&format!("\n{LAST_LINE}")));
    }
}
