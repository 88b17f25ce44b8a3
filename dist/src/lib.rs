//! Packs a stage into what operators install: the same stage, sources and time always give the same bytes.
//!
//! A crate of its own because xtask is the first thing a fresh machine builds, and archives need libraries. What is
//! left out: compiling (that is xtask's job) and uploading.

#![forbid(unsafe_code)]

pub mod archive;
mod book;
pub mod deb;
pub mod extras;
pub mod mcpb;
pub mod registry;
pub mod sbom;
pub mod sums;
pub mod tree;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree::Tree;

/// What `cargo` calls the platform; the tarball and the bundle are named after it.
pub const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What to pack, and how.
pub struct Order {
    /// A finished stage.
    pub stage: PathBuf,
    /// The root of the repository, for documents and `packaging`.
    pub sources: PathBuf,
    /// The version of the workspace.
    pub version: String,
    /// The time of every file, in seconds since 1970.
    pub epoch: u64,
    /// How much is compressed, 0 to 9.
    pub level: u32,
    /// What was built in on request, by package: `llmc-server/redis`.
    pub features: Vec<String>,
}

/// Where the packages will be, for the MCP registry.
pub struct Publication {
    /// Such as `io.github.ada/llmc`.
    pub name: String,
    /// The folder of the packages, an address that begins with `https://`.
    pub download_url: String,
}

/// The packages made, by file name.
pub struct Names {
    /// Programs, plugins, documents.
    pub tarball: String,
    /// For Debian and Ubuntu.
    pub deb: String,
    /// For desktop clients.
    pub mcpb: String,
    /// What is inside, in CycloneDX.
    pub sbom: String,
}

impl Names {
    /// Of one version.
    pub fn of(version: &str) -> Self {
        Self {
            tarball: format!("llmc-{version}-{PLATFORM}.tar.gz"),
            deb: format!("llmc_{version}_amd64.deb"),
            mcpb: format!("llmc-{version}-{PLATFORM}.mcpb"),
            sbom: format!("llmc-{version}.cdx.json"),
        }
    }
}

/// The version in the manifest of the workspace.
///
/// # Errors
///
/// When there is none.
pub fn version(sources: &Path) -> Result<String> {
    let manifest: toml::Table =
        read(&sources.join("Cargo.toml"))?.parse().context("failed to read `Cargo.toml`")?;
    let version =
        manifest.get("workspace").and_then(|workspace| workspace.get("package")?.get("version")?.as_str());
    Ok(version.context("`Cargo.toml` names no version of the workspace")?.to_owned())
}

/// Makes all packages in the folder `out`, and returns their names in the order they were made.
///
/// # Errors
///
/// When a part of the stage or the sources is missing, or `out` cannot be written.
pub fn pack(order: &Order, publication: Option<&Publication>, out: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(out).with_context(|| format!("failed to make `{}`", out.display()))?;
    let names = Names::of(&order.version);
    let stage = Tree::of_folder(&order.stage)?;
    let bom = sbom::make(order, &stage)?;
    let mut made = Vec::new();

    let mut write = |name: &str, work: &dyn Fn(&mut fs::File) -> Result<()>| -> Result<()> {
        let path = out.join(name);
        let mut file =
            fs::File::create(&path).with_context(|| format!("failed to make `{}`", path.display()))?;
        work(&mut file).with_context(|| format!("failed to write `{}`", path.display()))?;
        made.push(name.to_owned());
        Ok(())
    };
    write(&names.sbom, &|file| Ok(file.write_all(&bom)?))?;

    let mut whole = stage.clone();
    whole.extend(extras::documents(order)?);
    whole.extend(extras::of_program(order)?);
    whole.put_bytes("share/llmc/sbom.cdx.json", bom.clone());
    write(&names.tarball, &|file| {
        let mut tree = whole.clone();
        tree.extend(extras::packaging(order)?);
        let top = format!("llmc-{}-{PLATFORM}", order.version);
        archive::write(&tree.below(&top), order.epoch, order.level, file)
    })?;
    write(&names.deb, &|file| deb::write(&whole, order, file))?;
    write(&names.mcpb, &|file| mcpb::write(&stage, &bom, order, file))?;
    if let Some(publication) = publication {
        let digest = sums::sha256_of_file(&out.join(&names.mcpb))?;
        let text = registry::server(publication, order, &names.mcpb, &digest)?;
        write("server.json", &|file| Ok(file.write_all(text.as_bytes())?))?;
    }
    Ok(made)
}

/// Reads a text.
pub(crate) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))
}
