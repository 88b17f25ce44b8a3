//! Shows llmc at work: a real MCP client session over stdio, readable by a person.
//!
//! ```text
//! cargo xtask demo
//! ```
//!
//! Exit code 0 means that everything that is shown held: the work was done, and every attack was refused or
//! contained while the server kept answering.

#![expect(clippy::print_stdout, reason = "a program that talks to a person")]

mod attacks;
mod session;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use session::Session;

/// A value that must never come out of the server, put where the original kept its API keys.
const CANARY: &str = "sk-demo-canary-5f2c9e";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let stage = stage()?;
    let folder = tempfile::tempdir()?;
    let workspace = sample_workspace(folder.path()).context("failed to write the sample workspace")?;
    println!("llmc demo");
    println!("  installation  {}", stage.display());
    println!("  workspace     {} (granted read and write as `work`)", workspace.display());
    println!("  environment   OPENAI_API_KEY={CANARY} is set for the server, and must not leak\n");

    let mut session = Session::start(&stage, &workspace).await?;
    work::tools(&mut session).await?;
    work::files(&mut session).await?;
    work::editing(&mut session).await?;
    work::command(&mut session).await?;
    let python = session.has_python().await?;
    if python {
        work::code(&mut session).await?;
        attacks::code(&mut session, folder.path()).await?;
    } else {
        session.skip(
            "code execution and the attacks from code",
            "no CPython 3.9 or newer was found; install python3",
        );
    }
    attacks::paths(&mut session, folder.path()).await?;
    attacks::commands(&mut session, folder.path()).await?;
    work::still_alive(&mut session).await?;
    Ok(session.finish().await)
}

/// `--stage DIR`, which `cargo xtask demo` gives.
fn stage() -> anyhow::Result<PathBuf> {
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(flag), Some(stage)) if flag == "--stage" => Ok(std::path::absolute(stage)?),
        _ => anyhow::bail!("usage: demo --stage DIR; `cargo xtask demo` builds and passes it"),
    }
}

/// A small project, so that there is something real to work on.
fn sample_workspace(folder: &Path) -> std::io::Result<PathBuf> {
    let workspace = folder.join("workspace");
    std::fs::create_dir_all(workspace.join("src"))?;
    std::fs::create_dir_all(workspace.join("data"))?;
    std::fs::write(
        workspace.join("README.md"),
        "# Orchard\n\nCounts apples.\n\n- `src/` the program\n- `data/` harvests\n",
    )?;
    std::fs::write(
        workspace.join("src/count.py"),
        "def count(rows):\n    return sum(int(n) for _, n in rows)\n",
    )?;
    std::fs::write(
        workspace.join("src/report.py"),
        "from count import count\n\n# prints one number\nprint(count([]))\n",
    )?;
    for year in 2019..=2026 {
        let rows: String = (1..=200).map(|tree| format!("tree-{tree},{}\n", (tree * year) % 97)).collect();
        std::fs::write(workspace.join(format!("data/harvest-{year}.csv")), format!("tree,apples\n{rows}"))?;
    }
    // Beside the workspace, and granted to nobody.
    std::fs::write(folder.join("private.txt"), "outside of every grant\n")?;
    Ok(workspace)
}
