//! `llmc plugin`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::print;
use crate::app;
use crate::config::Flags;

/// Work with plugin libraries.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Load a library in a jail without any grant, and print what it says of itself; saved beside the library, as
    /// `libNAME.manifest.json`, it lets the server answer clients while the plugin still loads.
    Manifest(Manifest),
}

#[derive(Args)]
pub(super) struct Manifest {
    /// An installed library, such as `llmc_tools_fs`, or a `.so` file.
    library: String,
    /// Folder with `bin`, `libexec` and `lib`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Manifest(manifest) = self;
        manifest.run().await
    }
}

impl Manifest {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let flags = Flags { stage: self.stage, ..Flags::default() };
        let file = app::manifest(&self.library, &flags).await?;
        print(&format!("{:#}\n", serde_json::to_value(&file)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
