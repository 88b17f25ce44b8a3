//! `llmc completions` and `llmc man`: made from the command line's own description.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;

use super::{command, print};

/// Print completions for a shell.
#[derive(Args)]
pub(super) struct Completions {
    /// The shell; for bash, `llmc completions bash > ~/.local/share/bash-completion/completions/llmc`.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write a man page for each command.
#[derive(Args)]
pub(super) struct Man {
    /// An existing folder, such as `~/.local/share/man/man1`.
    folder: PathBuf,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "llmc", &mut text);
        print(&String::from_utf8(text)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        clap_mangen::generate_to(command(), &self.folder).with_context(|| {
            format!("failed to write man pages into `{}`, which must be a folder", self.folder.display())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
