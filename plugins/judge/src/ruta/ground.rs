//! The folder, the configuration and the server of a scripted run.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use judge::scenario::{Access, Preconditions};
use judge::trace::audit::{Range, Record};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::audit::{self, Mark};
use crate::files;

/// Where a server works and writes its audit.
pub(crate) struct Ground {
    /// Made for the run, and removed with this; none with a configuration of the operator.
    folder: Option<TempDir>,
    config: PathBuf,
    /// Names of programs for `--program`.
    programs: Vec<String>,
    /// The audit, and its end before.
    audit: Option<(PathBuf, Mark)>,
}

impl Ground {
    /// Makes a folder with the files of a scenario, and a configuration that grants it and nothing else.
    pub(crate) fn of(preconditions: &Preconditions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ruta-").tempdir().context("failed to make a folder")?;
        let work = folder.path().join("work");
        fs::create_dir(&work)?;
        for (path, text) in &preconditions.files {
            write(&work, path, text)
                .with_context(|| format!("`preconditions.files`: `{}`", path.escape_debug()))?;
        }
        let (config, audit) = (folder.path().join("llmc.toml"), folder.path().join("audit.jsonl"));
        fs::write(&config, configuration(preconditions, &work, &audit).to_string())?;
        let programs = preconditions.programs.clone();
        if let Some(path) =
            programs.iter().find(|program| program.contains(['/', '=']) || program.starts_with('-'))
        {
            bail!(
                "`preconditions.programs`: `{}` is no name; a scenario names no paths",
                path.escape_debug()
            );
        }
        Ok(Self { folder: Some(folder), config, programs, audit: Some((audit, Mark::default())) })
    }

    /// Uses a configuration of the operator as it is.
    pub(crate) fn configured(config: &Path) -> Result<Self> {
        let config =
            fs::canonicalize(config).with_context(|| format!("failed to open `{}`", config.display()))?;
        let text = files::read(&config, 1 << 20)?;
        let table: Table = text.parse().with_context(|| format!("configuration `{}`", config.display()))?;
        let audit = table.get("audit").and_then(|audit| audit.get("path")?.as_str());
        let audit = audit.map(|path| {
            let file = config.parent().unwrap_or(Path::new("/")).join(path);
            let mark = Mark::at_end_of(&file);
            (file, mark)
        });
        Ok(Self { folder: None, config, programs: Vec::new(), audit })
    }

    /// The command that starts the server.
    pub(crate) fn command(&self, llmc: &Path) -> Command {
        let mut command = Command::new(llmc);
        command.args(["serve", "--log", "warn", "--config"]).arg(&self.config);
        command.args(self.programs.iter().flat_map(|program| ["--program", program]));
        if let Some(folder) = &self.folder {
            command.current_dir(folder.path());
        }
        command
    }

    /// The audit records since the beginning, once the server has ended; none if it keeps no file.
    pub(crate) fn records(&self) -> Result<Option<Vec<Record>>> {
        let Some((file, before)) = &self.audit else { return Ok(None) };
        let records = audit::records(file, *before, &Range::default())?;
        Ok(Some(records))
    }
}

/// Writes a file below a folder that is new, so that no link can be in the way.
fn write(folder: &Path, path: &str, text: &str) -> Result<()> {
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || path.is_empty() || path.contains('\0') {
        bail!("a path of plain names, relative to the root");
    }
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap_or(folder))?;
    fs::write(file, text)?;
    Ok(())
}

fn configuration(preconditions: &Preconditions, work: &Path, audit: &Path) -> Table {
    let table = |entries: Vec<(&str, Value)>| {
        Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let path = |path: &Path| Value::String(path.to_string_lossy().into_owned());
    let access = if preconditions.access == Access::Rw { "rw" } else { "ro" };
    let work = table(vec![("path", path(work)), ("access", access.into())]);
    let policy =
        vec![("read_only", preconditions.read_only.into()), ("deny", preconditions.deny.clone().into())];
    let sections = [
        ("roots", table(vec![("work", work)])),
        ("policy", table(policy)),
        ("audit", table(vec![("path", path(audit))])),
    ];
    sections.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
