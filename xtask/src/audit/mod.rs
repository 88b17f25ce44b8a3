//! What `deny.toml` demands of every dependency: its licence, where it comes from, and no known weakness.
//!
//! `deny.toml` has the format of cargo-deny, which may be run by hand and comes to the same verdict. The checks are
//! made here all the same: cargo-deny takes two and a half minutes to build on two cores and refuses an advisory
//! database that is a plain folder without git history; cargo-audit is as large and knows no licences. This reads
//! `Cargo.lock`, the metadata and the advisories in under a second. What it leaves out: yanked versions, and licence
//! texts that contradict the `license` field. What tests take from npm and PyPI has rules of its own (`others.toml`).

mod advisories;
mod licences;
mod others;

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{Metadata, Workspace};

/// The part of `deny.toml` that is used here.
#[derive(Deserialize)]
struct Policy {
    advisories: AdvisoryPolicy,
    licenses: LicencePolicy,
}

#[derive(Deserialize)]
struct AdvisoryPolicy {
    ignore: Vec<Ignored>,
}

/// An advisory that is known and accepted.
#[derive(Deserialize)]
struct Ignored {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct LicencePolicy {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<LicenceException>,
}

/// Licences that one crate alone may have.
#[derive(Deserialize)]
struct LicenceException {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

/// The only place that dependencies come from, as `Cargo.lock` writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all dependencies.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let policy =
        fs::read_to_string(workspace.root.join("deny.toml")).context("failed to read `deny.toml`")?;
    let policy: Policy = toml::from_str(&policy).context("failed to read `deny.toml`")?;
    let metadata = workspace.resolved()?;

    let mut problems = sources(&metadata);
    problems.extend(licences::check(&policy.licenses, &metadata.packages)?);
    match advisories::database(&workspace.root)? {
        Some(database) => {
            let accepted = &policy.advisories.ignore;
            let undated = accepted.iter().filter(|ignored| !is_dated(&ignored.reason));
            problems.extend(undated.map(|Ignored { id, .. }| {
                format!("the exception {id} has no day; begin its reason with `accepted YYYY-MM-DD: ` in `deny.toml`")
            }));
            problems.extend(advisories::check(accepted, &database, &metadata.packages)?);
            for Ignored { id, reason } in accepted {
                println!("{id} {reason}");
            }
            println!("advisories: {} packages against `{}`", metadata.packages.len(), database.display());
        }
        None => println!("advisories: NOT CHECKED, no database. {}", advisories::HOW_TO_GET),
    }
    println!("licences and sources: {} packages", metadata.packages.len());
    let (foreign, count) = others::check(&workspace.root)?;
    problems.extend(foreign);
    println!(
        "npm and PyPI, for tests alone: {count} packages, pinned, with digests and licences; weaknesses not looked up"
    );

    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!(
            "{count} problems with dependencies; the rules stand in `deny.toml`, for npm and PyPI in \
             `xtask/src/audit/others.toml`"
        ),
    }
}

/// Whether a reason begins with the day on which something was accepted.
fn is_dated(reason: &str) -> bool {
    let Some((day, words)) = reason.strip_prefix("accepted ").and_then(|rest| rest.split_once(": ")) else {
        return false;
    };
    let digits = day.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    digits == "0000-00-00" && !words.trim().is_empty()
}

/// Every package is a member or comes from the one registry.
fn sources(metadata: &Metadata) -> Vec<String> {
    let strange = metadata.packages.iter().filter(|package| match &package.source {
        Some(source) => source != REGISTRY,
        None => !metadata.workspace_members.contains(&package.id),
    });
    strange
        .map(|package| {
            let source = package.source.as_deref().unwrap_or("a path outside the workspace");
            format!(
                "`{}` {} comes from {source}; use a release from crates.io",
                package.name, package.version
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    /// A package as `cargo metadata` would show it.
    pub(super) fn package(name: &str, version: &str, licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: version.parse().unwrap(),
            manifest_path: format!("/{name}/Cargo.toml").into(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn only_members_and_the_registry_are_sources() {
        let packages = vec![
            package("member", "1.0.0", None, None),
            package("good", "1.0.0", None, Some(REGISTRY)),
            package("forked", "1.0.0", None, Some("git+https://example.org/forked")),
            package("lying-about", "1.0.0", None, None),
        ];
        let metadata = Metadata {
            packages,
            workspace_members: vec!["member".into()],
            target_directory: "/t".into(),
            workspace_root: "/w".into(),
        };
        let problems = sources(&metadata);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("`forked`") && problems[1].contains("`lying-about`"));
    }

    #[test]
    fn the_policy_file_can_be_read() {
        let workspace = Workspace::locate().unwrap();
        let policy: Policy =
            toml::from_str(&fs::read_to_string(workspace.root.join("deny.toml")).unwrap()).unwrap();
        for Ignored { id, reason } in &policy.advisories.ignore {
            assert!(is_dated(reason), "{id}: begin the reason with `accepted YYYY-MM-DD: `");
        }
    }

    #[test]
    fn a_reason_has_a_day_and_words() {
        assert!(is_dated("accepted 2026-11-22: build time only"));
        assert!(!is_dated("build time only") && !is_dated("accepted lately: why not"));
        assert!(!is_dated("accepted 2026-11-22: "));
    }
}
