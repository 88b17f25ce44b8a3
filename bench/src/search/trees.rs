//! The sources that are asked about.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Options;

/// The release that the questions are about.
const DJANGO: &str = "5.1.4";
/// Kinds of files of the large tree.
const ENDINGS: [&str; 8] = ["rs", "md", "toml", "c", "h", "py", "js", "ts"];

/// Name and place of each tree.
pub(super) fn find(stage: &Path, options: &Options) -> Result<Vec<(&'static str, PathBuf)>> {
    let tokio = match &options.tokio {
        Some(tree) => tree.clone(),
        None => newest("tokio-1.").context("cargo keeps no source of tokio; name one with `--tokio`")?,
    };
    let django = match &options.django {
        Some(tree) => tree.clone(),
        None => django(&folder(stage)?)?,
    };
    Ok(vec![("tokio", tokio.canonicalize()?), ("django", django.canonicalize()?)])
}

/// Where things are kept from one run to the next: beside the stage, in the target folder.
pub(super) fn folder(stage: &Path) -> Result<PathBuf> {
    let folder = stage.parent().context("the stage lies in no folder")?.join("search-bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// See <https://doc.rust-lang.org/cargo/guide/cargo-home.html>.
fn registries() -> Vec<PathBuf> {
    let cargo =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = cargo.map(|cargo| cargo.join("registry/src")).and_then(|folder| fs::read_dir(folder).ok());
    sources.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn newest(prefix: &str) -> Option<PathBuf> {
    let crates = registries().into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let named = crates.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
    });
    named.max_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split(['-', '.']).filter_map(|part| part.parse::<u32>().ok()).collect::<Vec<_>>()
    })
}

fn django(folder: &Path) -> Result<PathBuf> {
    let tree = folder.join(format!("Django-{DJANGO}"));
    if tree.is_dir() {
        return Ok(tree);
    }
    let run = |command: &mut Command| {
        let status = command.current_dir(folder).stdout(Stdio::null()).status();
        let shown = format!("{command:?}");
        let status =
            status.with_context(|| format!("failed to start {shown}; name a tree with `--django`"))?;
        ensure!(status.success(), "{shown} failed with {status}; name a tree with `--django`");
        anyhow::Ok(())
    };
    let package = format!("django=={DJANGO}");
    run(Command::new("pip").args(["download", "--no-deps", "--no-binary", "django", &package]))?;
    let archive = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.starts_with("django-") && name.ends_with(".tar.gz")
    });
    let archive = archive.context("pip left no archive of Django")?;
    run(Command::new("tar").arg("xzf").arg(archive))?;
    ensure!(tree.is_dir(), "the archive of Django holds no `{}`", tree.display());
    Ok(tree)
}

/// How much to copy: until there are so many lines or files, and so many lines of each file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) lines: u64,
    pub(super) files: u64,
    pub(super) lines_of_file: usize,
}

impl Wanted {
    fn is_met(self, amount: Amount) -> bool {
        amount.lines >= self.lines || amount.files >= self.files
    }
}

/// A tree copied from the crates that cargo keeps, and how much it holds.
pub(super) fn copied(folder: &Path, name: &str, wanted: Wanted) -> Result<(PathBuf, Amount)> {
    let tree = folder.join(name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let mut amount = Amount::default();
    let mut crates: Vec<PathBuf> = Vec::new();
    for registry in registries() {
        crates.extend(fs::read_dir(registry)?.filter_map(|entry| Some(entry.ok()?.path())));
    }
    crates.sort();
    for package in &crates {
        let name = package.file_name().unwrap_or_default();
        copy(package, &tree.join(name), wanted, &mut amount)?;
        if wanted.is_met(amount) {
            break;
        }
    }
    ensure!(amount.files > 0, "cargo keeps no sources; leave this part out with `--lines 0 --files 0`");
    Ok((tree, amount))
}

/// How much a tree holds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Amount {
    pub(super) files: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

fn copy(from: &Path, to: &Path, wanted: Wanted, amount: &mut Amount) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &to.join(name), wanted, amount)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
        {
            let bytes = fs::read(&path)?;
            // What is larger would not be indexed, and is hardly source.
            if wanted.is_met(*amount) || bytes.len() > 512 << 10 {
                continue;
            }
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let bytes: Vec<u8> = lines.take(wanted.lines_of_file).flatten().copied().collect();
            fs::create_dir_all(to)?;
            fs::write(to.join(name), &bytes)?;
            amount.files += 1;
            amount.bytes += bytes.len() as u64;
            amount.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
    Ok(())
}
