//! `llmc reference`: the reference part of the book, made from the types that the program goes by.

mod commands;
mod configuration;
mod errors;
mod interface;
mod schema;
mod text;
mod tools;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::stage::Stage;

/// Write the reference pages of the book.
#[derive(Args)]
pub(super) struct Reference {
    /// An existing folder, such as `docs/reference`.
    folder: PathBuf,
    /// Folder with `bin`, `libexec` and `lib`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

impl Reference {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let stage = Stage::find(self.stage.as_deref())?;
        let pages = [
            ("tools.md", tools::page(&stage).await?),
            ("configuration.md", configuration::page()?),
            ("commands.md", commands::page()),
            ("errors.md", errors::page()),
            ("interface.md", interface::page()),
        ];
        for (name, text) in pages {
            let file = self.folder.join(name);
            fs::write(&file, text).with_context(|| format!("failed to write `{}`", file.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
