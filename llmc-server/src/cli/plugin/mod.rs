//! `llmc plugin`

mod change;
mod lock;
mod look;
mod manifest;
mod new;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use change::tell_of_lock;
pub(super) use look::described;

use crate::config::{self, Flags, Loaded};

/// List, check and pin plugins.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the plugins of the configuration, without loading them.
    List(look::List),
    /// Load a plugin in a jail without any grant, and show what it says of itself and asks for.
    Inspect(look::Inspect),
    /// Add an installed plugin to the configuration, without any grant.
    Add(change::Add),
    /// Take a plugin out of the configuration, with its grants.
    Remove(change::Named),
    /// Switch a plugin on again.
    Enable(change::Named),
    /// Leave a plugin out, as if it were not in the configuration.
    Disable(change::Named),
    /// Pin what each plugin is in `llmc.lock`, beside the configuration: library, tools, grants. Plugins that drifted,
    /// or whose texts look suspicious, are shown and left as they are (exit code 1).
    Lock(lock::Lock),
    /// Compare every plugin with the lock; exit code 1 if one drifted.
    Verify(lock::Verify),
    /// Show what one plugin has become, and pin that, with your name and the time.
    Accept(lock::Accept),
    /// Make a new plugin outside the sources of llmc: a crate with a tool, tests, a README and a CI file.
    New(new::New),
    /// Replace the sources of `llmc-core` in a plugin made by `new` with those of this llmc.
    Sdk(new::Sdk),
    /// Load a library in a jail without any grant, and print what it says of itself; saved beside the library, as
    /// `libNAME.manifest.json`, it lets the server answer clients while the plugin still loads.
    Manifest(manifest::Manifest),
}

/// Which configuration, and which installation.
#[derive(Args)]
pub(super) struct Place {
    /// Configuration file; without it, `llmc/config.toml` in the XDG configuration folder.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Folder with `bin`, `libexec` and `lib`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    pub(super) stage: Option<PathBuf>,
}

impl Place {
    pub(super) fn flags(&self) -> Flags {
        Flags { config: self.config.clone(), stage: self.stage.clone(), ..Flags::default() }
    }
}

/// A name that no plugin of the configuration has.
pub(super) fn no_plugin(name: &str, loaded: &Loaded) -> String {
    if loaded.disabled.contains_key(name) {
        let flag = config::flag(loaded.file.as_deref());
        return format!("plugin `{name}` is disabled; `llmc plugin enable {name}{flag}` enables it");
    }
    let known: Vec<String> = loaded.config.plugins.keys().chain(loaded.disabled.keys()).cloned().collect();
    config::no_plugin(name, &known)
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await,
            Self::Inspect(inspect) => inspect.run().await,
            Self::Add(add) => add.run(),
            Self::Remove(named) => named.remove(),
            Self::Enable(named) => named.enable(),
            Self::Disable(named) => named.disable(),
            Self::Lock(lock) => lock.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Accept(accept) => accept.run().await,
            Self::New(new) => new.run(),
            Self::Sdk(sdk) => sdk.run(),
            Self::Manifest(manifest) => manifest.run().await,
        }
    }
}
