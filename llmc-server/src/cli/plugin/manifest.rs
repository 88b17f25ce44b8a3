//! `llmc plugin manifest`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::print;
use crate::app;
use crate::config::Flags;

#[derive(Args)]
pub(in super::super) struct Manifest {
    /// An installed library, such as `llmc_tools_fs`, or a `.so` file.
    library: String,
    /// Folder with `bin`, `libexec` and `lib`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

impl Manifest {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let flags = Flags { stage: self.stage, ..Flags::default() };
        let file = app::manifest(&self.library, &flags).await?;
        print(&format!("{:#}\n", serde_json::to_value(&file)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
