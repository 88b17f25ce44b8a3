//! `llmc-dist`: what `cargo xtask dist` starts once everything is built.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "telling the builder what was made is this program's job")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use llmc_dist::{Order, Publication, pack, sums, version};

/// Packs a stage: tarball, Debian package, MCPB bundle, SBOM, checksums.
#[derive(Parser)]
struct Cli {
    /// The finished stage.
    #[arg(long)]
    stage: PathBuf,
    /// The root of the repository.
    #[arg(long)]
    sources: PathBuf,
    /// Folder for the packages.
    #[arg(long)]
    out: PathBuf,
    /// Time of every file, in seconds since 1970.
    #[arg(long)]
    epoch: u64,
    /// What was built in on request, such as `llmc-server/redis`; may be said several times.
    #[arg(long = "feature")]
    features: Vec<String>,
    /// Name in the MCP registry, such as `io.github.ada/llmc`.
    #[arg(long, requires = "download_url")]
    registry_name: Option<String>,
    /// Where the packages will lie.
    #[arg(long, requires = "registry_name")]
    download_url: Option<String>,
    /// Secret key of minisign.
    #[arg(long)]
    sign_key: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let version = version(&cli.sources)?;
    let Cli { stage, sources, epoch, features, .. } = cli;
    let order = Order { stage, sources, version, epoch, level: 9, features };
    let publication = cli.registry_name.zip(cli.download_url);
    let publication = publication.map(|(name, download_url)| Publication { name, download_url });
    let mut made = pack(&order, publication.as_ref(), &cli.out)?;
    made.push(sums::write(&cli.out, &made)?);
    if let Some(key) = &cli.sign_key {
        made.push(sums::sign(&cli.out, key, order.epoch)?);
    }
    for name in &made {
        println!("made {}", cli.out.join(name).display());
    }
    if publication.is_none() {
        println!("no server.json: --registry-name and --download-url say what stands in it");
    }
    if cli.sign_key.is_none() {
        println!("not signed: --sign-key names a secret key of minisign");
    }
    Ok(())
}
