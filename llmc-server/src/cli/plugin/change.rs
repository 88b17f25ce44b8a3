//! `llmc plugin add`, `remove`, `enable` and `disable`: changes of the configuration file.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::super::note;
use super::Place;
use crate::config::{self, Config, Editor};
use crate::lock::{Lock, lock_path};
use crate::stage::Stage;

/// `llmc plugin add`
#[derive(Args)]
pub(in super::super) struct Add {
    /// Its name in the configuration.
    name: String,
    /// An installed library or a path to a `.so` file; default: NAME or `llmc_tools_NAME`, whichever is installed.
    #[arg(long, value_name = "LIBRARY")]
    library: Option<String>,
    /// Put before the name of each of its tools, as in `PREFIX_tool`.
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// A plugin of the configuration.
#[derive(Args)]
pub(in super::super) struct Named {
    /// Its name in the configuration.
    name: String,
    #[command(flatten)]
    place: Place,
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if !config::is_name(&self.name) {
            anyhow::bail!("plugin name `{}` must match ^[a-z][a-z0-9_]{{0,63}}$", self.name);
        }
        let stage = Stage::find(self.place.stage.as_deref())?;
        let library = match &self.library {
            Some(library) if config::is_path(library) => std::fs::canonicalize(library)
                .map_err(|error| anyhow::anyhow!("plugin library `{library}`: {error}"))?
                .display()
                .to_string(),
            Some(library) => stage.plugin(library).map(|_| library.clone())?,
            None => {
                let built_in = format!("llmc_tools_{}", self.name);
                let installed = stage.plugin(&built_in).map(|_| built_in);
                match installed {
                    Ok(library) => library,
                    Err(_) => stage.plugin(&self.name).map(|_| self.name.clone())?,
                }
            }
        };
        let mut editor = Editor::open(self.place.config.as_deref())?;
        let had_none = editor.config()?.plugins.is_empty();
        editor.add_plugin(&self.name, &library, self.prefix.as_deref())?;
        let file = editor.file.clone();
        editor.save(format!("plugin add {}", self.name))?;
        if had_none {
            note(
                "the configuration had no [plugins], which stands for the built-in ones; now it has this one alone \
                 (`llmc plugin add fs`, `cmd` and `exec` bring them back, without grants)",
            );
        }
        note(&format!(
            "plugin `{0}` is granted nothing yet: `llmc plugin inspect {0}{1}` tells what it asks for, `llmc grant \
             add{1} {0} …` grants it",
            self.name,
            config::flag(Some(&file))
        ));
        tell_of_lock(&file, &self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Named {
    pub(super) fn remove(self) -> anyhow::Result<ExitCode> {
        self.change("remove", |editor, name| editor.remove_plugin(name))
    }

    pub(super) fn enable(self) -> anyhow::Result<ExitCode> {
        self.change("enable", |editor, name| editor.set_disabled(name, false))
    }

    pub(super) fn disable(self) -> anyhow::Result<ExitCode> {
        self.change("disable", |editor, name| editor.set_disabled(name, true))
    }

    fn change(
        self,
        verb: &str,
        change: impl FnOnce(&mut Editor, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let mut editor = Editor::open(self.place.config.as_deref())?;
        change(&mut editor, &self.name)?;
        if editor.config()?.plugins.is_empty() {
            note(
                "the configuration has no [plugins] now, which stands for the built-in ones with all its roots",
            );
        }
        editor.save(format!("plugin {verb} {}", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what a change means where a lock pins what was before.
pub(in super::super) fn tell_of_lock(file: &Path, plugin: &str) -> anyhow::Result<()> {
    let lock_file = lock_path(file);
    let Some(lock) = Lock::read(&lock_file)? else { return Ok(()) };
    let config: Config = Editor::open(Some(file))?.config()?;
    let Some(configured) = config.plugins.get(plugin) else { return Ok(()) };
    let (lock_file, flag) = (lock_file.display(), config::flag(Some(file)));
    match lock.plugins.get(plugin) {
        None => {
            note(&format!("`{lock_file}` does not know plugin `{plugin}`: `llmc plugin lock{flag}` adds it"))
        }
        Some(pin) if pin.grants != crate::lock::grants(&config, configured) => note(&format!(
            "`{lock_file}` pins other grants, so plugin `{plugin}` is not started until `llmc plugin \
             accept {plugin}{flag}`"
        )),
        Some(_) => {}
    }
    Ok(())
}
