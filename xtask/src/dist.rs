//! `cargo xtask dist`: what is published. Compiles so that the folder does not matter, and lets `llmc-dist` pack it.
//!
//! The same sources and the same compiler give the same bytes, wherever they lie: paths are replaced in what rustc and
//! the C compiler write, and every time is that of the commit. `--verify` builds a copy in another folder and compares.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::stage::{self, Profile, Recipe};
use crate::workspace::{self, Metadata, Workspace, shown};

/// Inside the target folder: the stage that is packed, what cargo builds for it, the packages, and the copy of the
/// sources that `--verify` builds.
const STAGE: &str = "dist-stage";
const BUILD: &str = "dist-build";
const PACKAGES: &str = "dist";
const COPY: &str = "dist-verify/a-copy-of-the-sources";

const SUMS: &str = "SHA256SUMS";

/// The variable of <https://reproducible-builds.org/specs/source-date-epoch/>, in seconds.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What stands for the folders of this machine in everything that is shipped.
const SOURCES_NAME: &str = "/llmc";
const CARGO_NAME: &str = "/cargo";

/// Would change what is compiled from one machine to the next.
const UNWANTED: &[&str] = &["RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "CPPFLAGS"];

#[derive(Args)]
pub(crate) struct Dist {
    /// `release` is what is published; `dev` is quicker to build, for trying.
    #[arg(long, value_enum, default_value = "release")]
    profile: Optimised,
    /// Builds a copy of the sources in another folder, too, and compares all digests.
    #[arg(long)]
    verify: bool,
    /// Secret key of minisign that signs `SHA256SUMS`; its password is read from `LLMC_SIGN_PASSWORD`.
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Features of the server that are built in, such as `redis`.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    features: Vec<String>,
    /// Name in the MCP registry, such as `io.github.ada/llmc`; with `--download-url` makes `server.json`.
    #[arg(long, value_name = "NAME", requires = "download_url")]
    registry_name: Option<String>,
    /// Where the packages will lie, such as `https://example.org/llmc/0.1.0`.
    #[arg(long, value_name = "URL", requires = "registry_name")]
    download_url: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Optimised {
    Dev,
    Release,
}

impl Optimised {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// Builds, packs, and verifies if asked to.
pub(crate) fn run(workspace: &Workspace, dist: &Dist) -> Result<()> {
    let members = workspace.members()?;
    let epoch = epoch(workspace)?;
    let recipe = recipe(workspace, &members, dist.profile, epoch)?;
    let features = stage::features_of_server(&dist.features);
    let stage = stage::build(workspace, Recipe { features, ..recipe }, STAGE)?;
    let packages = members.target_directory.join(PACKAGES);
    pack(workspace, &stage.dir, &packages, epoch, dist)?;
    if dist.verify {
        verify(workspace, &members, &packages, epoch, dist)?;
    }
    Ok(())
}

/// The time that all files get: what the environment says, else that of the commit.
fn epoch(workspace: &Workspace) -> Result<u64> {
    if let Some(text) = env::var_os(EPOCH) {
        let text = text.to_string_lossy().into_owned();
        return text.parse().with_context(|| format!("`{EPOCH}` is `{text}`, not a number of seconds"));
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(&workspace.root).stderr(Stdio::inherit());
    let output = git.output().context("failed to start git")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("`{}` told no time; outside of a repository set `{EPOCH}`", shown(&git)))
}

/// Settings under which the folder of the sources, that of cargo and that of the compiler leave no trace.
fn recipe(workspace: &Workspace, members: &Metadata, profile: Optimised, epoch: u64) -> Result<Recipe> {
    let target = members.target_directory.join(BUILD);
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => env::home_dir().context("there is no home folder; set `CARGO_HOME`")?.join(".cargo"),
    };
    let (sysroot, commit) = compiler()?;
    // The last prefix that fits is taken, so the folders inside others come last.
    let prefixes = [
        (cargo_home, CARGO_NAME.to_owned()),
        (workspace.root.clone(), SOURCES_NAME.to_owned()),
        (target.clone(), format!("{SOURCES_NAME}/target")),
        (sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{commit}")),
    ];
    let flags = |option: &str, separator: &str| {
        let flag = |(from, to): &(PathBuf, String)| format!("{option}={}={to}", from.display());
        prefixes.iter().map(flag).collect::<Vec<_>>().join(separator)
    };
    // The separator that cargo reads in this variable, so that folders may have blanks in their names.
    let rust = flags("--remap-path-prefix", "\u{1f}");
    let c = flags("-ffile-prefix-map", " ");
    let mut variables: Vec<(_, OsString)> = vec![
        ("CARGO_TARGET_DIR", target.into()),
        ("CARGO_INCREMENTAL", "0".into()),
        ("CARGO_ENCODED_RUSTFLAGS", rust.into()),
        ("CFLAGS", c.clone().into()),
        ("CXXFLAGS", c.into()),
        (EPOCH, epoch.to_string().into()),
    ];
    let profile = match profile {
        Optimised::Release => Profile::Release,
        Optimised::Dev => {
            variables.push(("CARGO_PROFILE_DEV_DEBUG", "0".into()));
            variables.push(("CARGO_PROFILE_DEV_STRIP", "symbols".into()));
            Profile::Dev
        }
    };
    Ok(Recipe { profile, variables, without: UNWANTED, features: Vec::new() })
}

/// Where the compiler lies and which commit it was made from.
fn compiler() -> Result<(PathBuf, String)> {
    let ask = |args: &[&str]| -> Result<String> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output = rustc.args(args).output().context("failed to start rustc")?;
        if !output.status.success() {
            bail!("`{}` failed ({})", shown(&rustc), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let version = ask(&["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    Ok((sysroot.trim().into(), commit.unwrap_or("unknown").to_owned()))
}

fn pack(workspace: &Workspace, stage: &Path, packages: &Path, epoch: u64, dist: &Dist) -> Result<()> {
    // What an earlier run left must not be published with this one.
    if packages.exists() {
        fs::remove_dir_all(packages).with_context(|| format!("failed to remove `{}`", packages.display()))?;
    }
    let mut cargo = workspace.cargo(["run", "--quiet", "-p", "llmc-dist", "--", "--stage"]);
    cargo.arg(stage).arg("--sources").arg(&workspace.root).arg("--out").arg(packages);
    cargo.args(["--epoch", &epoch.to_string()]);
    for feature in stage::features_of_server(&dist.features) {
        cargo.args(["--feature", &feature]);
    }
    if let (Some(name), Some(url)) = (&dist.registry_name, &dist.download_url) {
        cargo.args(["--registry-name", name, "--download-url", url]);
    }
    if let Some(key) = &dist.sign_key {
        cargo.arg("--sign-key").arg(env::current_dir()?.join(key));
    }
    workspace::check(&mut cargo)
}

/// Makes the packages a second time, from a copy of the sources with a target folder of its own.
fn verify(workspace: &Workspace, members: &Metadata, packages: &Path, epoch: u64, dist: &Dist) -> Result<()> {
    let copy = members.target_directory.join(COPY);
    copy_sources(&workspace.root, &copy)?;
    let mut cargo = Workspace { root: copy.clone() }.cargo(["xtask", "dist", "--profile"]);
    cargo.arg(dist.profile.name()).env(EPOCH, epoch.to_string());
    if !dist.features.is_empty() {
        cargo.args(["--features", &dist.features.join(",")]);
    }
    for name in ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR"] {
        cargo.env_remove(name);
    }
    if let (Some(name), Some(url)) = (&dist.registry_name, &dist.download_url) {
        cargo.args(["--registry-name", name, "--download-url", url]);
    }
    workspace::check(&mut cargo)?;

    let sums = |folder: &Path| {
        let file = folder.join(SUMS);
        fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))
    };
    let (here, there) = (sums(packages)?, sums(&copy.join("target").join(PACKAGES))?);
    let differing = differing(&here, &there);
    if !differing.is_empty() {
        bail!("two builds in different folders differ in {}", differing.join(", "));
    }
    println!("reproducible: {} files have the same SHA-256 from two folders", here.lines().count());
    Ok(())
}

/// The names of files that do not have the same digest in both lists.
fn differing<'a>(here: &'a str, there: &'a str) -> Vec<&'a str> {
    let only = |these: &'a str, those: &'a str| {
        these.lines().filter(move |line| !those.lines().any(|other| other == *line))
    };
    let mut names: Vec<_> = only(here, there)
        .chain(only(there, here))
        .map(|line| line.split_once("  ").map_or(line, |(_, name)| name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Copies the files that git knows, as they are now.
fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached"]).current_dir(root).stderr(Stdio::inherit());
    let output = git.output().context("failed to start git")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", shown(&git), output.status);
    }
    // What the last copy built stays: cargo sees by itself what of it is old.
    for entry in fs::read_dir(copy).into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            fs::remove_dir_all(&path)?;
        }
    }
    for name in String::from_utf8(output.stdout)?.split_terminator('\0') {
        let (from, to) = (root.join(name), copy.join(name));
        // Deleted, but not yet for git.
        if from.exists() {
            fs::create_dir_all(to.parent().unwrap_or(copy))?;
            fs::copy(&from, &to).with_context(|| format!("failed to copy `{name}`"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_once_and_sameness_is_none() {
        assert!(differing("aa  x.tar.gz\nbb  y.deb\n", "bb  y.deb\naa  x.tar.gz\n").is_empty());
        assert_eq!(differing("aa  x\nbb  y\n", "cc  x\nbb  y\ndd  z\n"), ["x", "z"]);
    }

    #[test]
    fn no_folder_of_this_machine_stays_in_the_flags_as_a_target() {
        let workspace = Workspace::locate().unwrap();
        let members = workspace.members().unwrap();
        let recipe = recipe(&workspace, &members, Optimised::Dev, 7).unwrap();
        let value = |wanted: &str| {
            let found = recipe.variables.iter().find(|(name, _)| *name == wanted);
            found.unwrap().1.to_string_lossy().into_owned()
        };
        let flags = value("CARGO_ENCODED_RUSTFLAGS");
        let root = workspace.root.display().to_string();
        assert!(flags.contains(&format!("--remap-path-prefix={root}={SOURCES_NAME}\u{1f}")), "{flags}");
        assert!(
            flags.split('\u{1f}').all(|flag| !flag.rsplit('=').next().unwrap().contains(&root)),
            "{flags}"
        );
        assert!(value("CFLAGS").contains(&format!("-ffile-prefix-map={root}={SOURCES_NAME} ")));
        assert_eq!(value(EPOCH), "7");
        assert!(recipe.without.contains(&"RUSTFLAGS"));
    }

    #[test]
    fn a_copy_has_what_git_knows() {
        let root = Workspace::locate().unwrap().root;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("stale")).unwrap();
        fs::create_dir_all(folder.path().join("target")).unwrap();
        copy_sources(&root, folder.path()).unwrap();
        assert!(
            folder.path().join("Cargo.lock").exists() && folder.path().join(".cargo/config.toml").exists()
        );
        assert!(!folder.path().join("stale").exists() && folder.path().join("target").exists());
    }
}
