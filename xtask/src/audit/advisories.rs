//! Compares the dependencies with a folder of RustSec advisories.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use semver::{Version, VersionReq};
use serde::Deserialize;

use super::Ignored;
use crate::workspace::Package;

/// Names the folder of the advisory database.
const VARIABLE: &str = "LLMC_ADVISORY_DB";

pub(super) const HOW_TO_GET: &str = "Get one with `git clone https://github.com/RustSec/advisory-db ../advisory-db`, \
    or set LLMC_ADVISORY_DB to its folder.";

/// The head of an advisory file.
#[derive(Deserialize)]
struct Advisory {
    advisory: Details,
    #[serde(default)]
    versions: Versions,
}

#[derive(Deserialize)]
struct Details {
    id: String,
    informational: Option<String>,
    withdrawn: Option<String>,
}

#[derive(Default, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

/// Finds the database: where the variable says, else a folder `advisory-db` beside the repository or one level below
/// its neighbours, else where cargo-audit keeps it.
pub(super) fn database(root: &Path) -> Result<Option<PathBuf>> {
    if let Some(folder) = env::var_os(VARIABLE).map(PathBuf::from) {
        if !is_database(&folder) {
            bail!("{VARIABLE} names `{}`, which has no folder `crates`", folder.display());
        }
        return Ok(Some(folder));
    }
    let beside = root.parent().unwrap_or(root);
    let mut neighbours: Vec<_> = fs::read_dir(beside)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    neighbours.sort();
    let cargo_home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let parents = [beside.to_owned()].into_iter().chain(neighbours).chain(cargo_home);
    Ok(parents.map(|folder| folder.join("advisory-db")).find(|folder| is_database(folder)))
}

fn is_database(folder: &Path) -> bool {
    folder.join("crates").is_dir()
}

/// Returns one sentence per advisory that applies and is not accepted, and per accepted one that does not apply.
pub(super) fn check(accepted: &[Ignored], database: &Path, packages: &[Package]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut met = vec![false; accepted.len()];
    for package in packages.iter().filter(|package| package.source.is_some()) {
        for advisory in advisories(&database.join("crates").join(&package.name))? {
            if !advisory.applies(&package.version) {
                continue;
            }
            match accepted.iter().position(|ignored| ignored.id == advisory.advisory.id) {
                Some(position) => met[position] = true,
                None => problems.push(advisory.problem(package)),
            }
        }
    }
    for (ignored, _) in accepted.iter().zip(met).filter(|(_, met)| !met) {
        problems.push(format!("no dependency has {} any more; remove it from `deny.toml`", ignored.id));
    }
    Ok(problems)
}

/// Reads all advisories of one crate; most crates have no folder.
fn advisories(folder: &Path) -> Result<Vec<Advisory>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file)?;
        parse(&text)
    };
    files
        .iter()
        .map(|file| read(file).with_context(|| format!("failed to read `{}`", file.display())))
        .collect()
}

/// An advisory is a Markdown file that begins with its data in a fence.
fn parse(text: &str) -> Result<Advisory> {
    let data = text.trim_start().strip_prefix("```toml").and_then(|rest| rest.split_once("\n```"));
    let (data, _) = data.context("it does not begin with a ```toml fence")?;
    Ok(toml::from_str(data)?)
}

impl Advisory {
    /// A pre-release fits only requirements that name it, so it is rather taken for affected than missed.
    fn applies(&self, version: &Version) -> bool {
        let safe = self.versions.patched.iter().chain(&self.versions.unaffected);
        self.advisory.withdrawn.is_none() && !safe.into_iter().any(|requirement| requirement.matches(version))
    }

    fn problem(&self, package: &Package) -> String {
        let Details { id, informational, .. } = &self.advisory;
        let kind = informational.as_deref().unwrap_or("vulnerable");
        let patched: Vec<_> = self.versions.patched.iter().map(ToString::to_string).collect();
        let remedy = match patched.as_slice() {
            [] => {
                "there is no fixed release: replace it, or accept it in `deny.toml` with a reason".to_owned()
            }
            releases => format!("update to {}", releases.join(" or ")),
        };
        format!(
            "`{}` {} is {kind} ({id}, https://rustsec.org/advisories/{id}); {remedy}",
            package.name, package.version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::package;
    use super::*;

    const VULNERABLE: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2020-0001\"\npackage = \"some\"\n\n[versions]\n\
        patched = [\">= 1.2.3\"]\nunaffected = [\"< 1.0.0\"]\n```\n\n# Title\n";
    const UNMAINTAINED: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2021-0002\"\npackage = \"some\"\n\
        informational = \"unmaintained\"\n\n[versions]\npatched = []\n```\n";

    /// The problems of crate `some` in the given version, under these advisories.
    fn problems(advisories: &[&str], accepted: &[&str], version: &str) -> Vec<String> {
        let database = tempfile::tempdir().unwrap();
        let folder = database.path().join("crates/some");
        fs::create_dir_all(&folder).unwrap();
        for (number, text) in advisories.iter().enumerate() {
            fs::write(folder.join(format!("{number}.md")), text).unwrap();
        }
        let accepted: Vec<_> =
            accepted.iter().map(|id| Ignored { id: (*id).to_owned(), reason: "known".into() }).collect();
        check(&accepted, database.path(), &[package("some", version, None, Some("registry"))]).unwrap()
    }

    #[test]
    fn only_affected_versions_are_reported() {
        let found = problems(&[VULNERABLE], &[], "1.2.2");
        assert!(
            found[0].contains("RUSTSEC-2020-0001") && found[0].contains("update to >=1.2.3"),
            "{found:?}"
        );
        assert!(problems(&[VULNERABLE], &[], "1.2.3").is_empty());
        assert!(problems(&[VULNERABLE], &[], "0.9.0").is_empty());
    }

    #[test]
    fn a_crate_without_fix_has_to_be_accepted_by_name() {
        assert!(problems(&[UNMAINTAINED], &[], "1.0.0")[0].contains("is unmaintained"));
        assert!(problems(&[UNMAINTAINED], &["RUSTSEC-2021-0002"], "1.0.0").is_empty());
    }

    #[test]
    fn an_accepted_advisory_that_no_longer_applies_is_reported() {
        let found = problems(&[VULNERABLE], &["RUSTSEC-2020-0001"], "1.2.3");
        assert!(found[0].contains("no dependency has RUSTSEC-2020-0001"), "{found:?}");
    }

    #[test]
    fn a_withdrawn_advisory_does_not_apply() {
        let withdrawn = VULNERABLE.replace("package", "withdrawn = \"2020-02-02\"\npackage");
        assert!(problems(&[&withdrawn], &[], "1.2.2").is_empty());
    }

    #[test]
    fn a_prerelease_is_rather_reported_than_missed() {
        assert_eq!(problems(&[VULNERABLE], &[], "1.3.0-beta.1").len(), 1);
    }

    #[test]
    fn a_broken_advisory_is_an_error() {
        assert!(parse("# no data").is_err());
        assert!(parse("```toml\n[advisory]\n```").is_err());
    }
}
