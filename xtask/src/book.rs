//! The book: what it says is checked by tests and by `tidy`; `mdbook` makes pages of it.
//!
//! mdBook is under MPL-2.0 and runs as a program of its own; nothing of it is linked or shipped.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::stage::{self, Profile};
use crate::tidy;
use crate::workspace::{self, Workspace};

const RENDERER: &str = "mdbook";

/// Where `book.toml` has the pages written to.
const RENDERED: &str = "target/book/index.html";

/// Checks reference, transcripts, configurations, links and anchors, then renders. With `bless`, reference and
/// transcripts are written anew first.
pub(crate) fn run(workspace: &Workspace, bless: bool) -> Result<()> {
    let stage = stage::build(workspace, Profile::Dev, stage::FOLDER)?;
    let mut cargo = workspace.cargo(["test", "-p", "llmc-server", "--test", "book"]);
    cargo.env("LLMC_STAGE", &stage.dir).env("LLMC_STAGE_TESTS", &stage.tests);
    if bless {
        cargo.env("LLMC_BLESS", "1");
    }
    workspace::check(&mut cargo)?;
    // Commands, flags and keys in all documents.
    workspace::check(&mut workspace.cargo(["test", "-p", "llmc-server", "--lib", "cli::documents"]))?;
    tidy::run(workspace)?;
    render(workspace)
}

fn render(workspace: &Workspace) -> Result<()> {
    let version = Command::new(RENDERER).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("not rendered: `{RENDERER}` is not installed; `cargo install mdbook --locked` installs it");
        return Ok(());
    }
    let mut mdbook = Command::new(RENDERER);
    workspace::check(mdbook.arg("build").current_dir(&workspace.root).stdin(Stdio::null()))?;
    println!("rendered: {}", workspace.root.join(RENDERED).display());
    Ok(())
}
