//! What is inside, in CycloneDX 1.5: every shipped file with its digest, and every crate behind it with version,
//! licence, digest and dependencies.
//!
//! Made from what cargo resolved for this platform, for all members together, so a crate that only a test feature of
//! another member switches on may be listed though it is not linked. Crates that are at work while compiling alone
//! (macros, build scripts) have the scope `excluded`. C code that a crate brings (SQLite, QuickJS, grammars) is that
//! crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tree::Tree;
use crate::{Order, PLATFORM, read, sums};

/// What cargo tells, as far as it is used here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Nothing for what is linked in, `build` or `dev`.
    kind: Option<String>,
}

/// `Cargo.lock`, for the digests.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Whether a crate is in what is shipped, or was at work when that was compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Linked,
    Building,
}

/// The text of the document.
///
/// # Errors
///
/// When cargo fails, or a file of the stage belongs to no crate.
pub fn make(order: &Order, stage: &Tree) -> Result<Vec<u8>> {
    let metadata = metadata(order)?;
    let lock: Lock =
        toml::from_str(&read(&order.sources.join("Cargo.lock"))?).context("failed to read `Cargo.lock`")?;
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (&*package.id, package)).collect();
    let roots = roots(&metadata, stage)?;
    let scopes = scopes(&metadata.resolve, &packages, &roots);

    let mut components = files(stage)?;
    let mut dependencies =
        vec![json!({ "ref": "llmc", "dependsOn": references(&packages, roots.iter().copied()) })];
    for (id, scope) in &scopes {
        let package = packages.get(id).with_context(|| format!("cargo names no package `{id}`"))?;
        let digest = lock
            .package
            .iter()
            .find(|locked| locked.name == package.name && locked.version == package.version);
        components.push(component(package, *scope, digest.and_then(|locked| locked.checksum.as_deref())));
        let node = metadata.resolve.nodes.iter().find(|node| node.id == *id);
        let needs = node
            .iter()
            .flat_map(|node| &node.deps)
            .filter(|dependency| scopes.contains_key(&*dependency.pkg));
        let needs = needs
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
        let needs = references(&packages, needs.map(|dependency| &*dependency.pkg));
        dependencies.push(json!({ "ref": reference(package), "dependsOn": needs }));
    }

    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(order.epoch),
            "tools": { "components": [{ "type": "application", "name": "llmc-dist", "version": order.version }] },
            "component": {
                "type": "application",
                "bom-ref": "llmc",
                "name": "llmc",
                "version": order.version,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let digest = Sha256::digest(serde_json::to_vec(&document)?);
    document["serialNumber"] = format!("urn:uuid:{}", uuid(&digest)).into();
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

fn metadata(order: &Order) -> Result<Metadata> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM]);
    cargo.args(order.features.iter().flat_map(|feature| ["--features", feature]));
    let output = cargo.current_dir(&order.sources).output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("failed to read what `cargo metadata` printed")
}

/// The members that the programs and libraries of the stage were built from.
fn roots<'a>(metadata: &'a Metadata, stage: &Tree) -> Result<Vec<&'a str>> {
    let mut roots = BTreeSet::new();
    for (path, _) in stage.files().filter(|(path, _)| is_built(path)) {
        let file = path.rsplit('/').next().unwrap_or(path);
        let library = file.strip_prefix("lib").and_then(|name| name.strip_suffix(".so"));
        let is_it = |target: &Target| match library {
            Some(name) => {
                target.kind.iter().any(|kind| kind == "cdylib") && target.name.replace('-', "_") == name
            }
            None => target.kind.iter().any(|kind| kind == "bin") && target.name == file,
        };
        let owner = metadata.packages.iter().find(|package| {
            metadata.workspace_members.contains(&package.id) && package.targets.iter().any(is_it)
        });
        roots.insert(&*owner.with_context(|| format!("no crate builds `{path}`, which is in the stage"))?.id);
    }
    Ok(roots.into_iter().collect())
}

/// Whether a file of the stage comes out of a compiler.
fn is_built(path: &str) -> bool {
    let is_library = path.ends_with(".so");
    path.starts_with("bin/") || path.starts_with("libexec/") || (path.starts_with("lib/") && is_library)
}

/// All crates that are needed, from the roots on.
fn scopes<'a>(
    resolve: &'a Resolve,
    packages: &BTreeMap<&str, &'a Package>,
    roots: &[&'a str],
) -> BTreeMap<&'a str, Scope> {
    let mut scopes = BTreeMap::new();
    // What is linked is found first, so it keeps that scope if it also takes part in building.
    let mut waiting: Vec<_> = roots.iter().map(|root| (*root, Scope::Linked)).collect();
    let mut building = Vec::new();
    while let Some((id, scope)) = waiting.pop().or_else(|| building.pop()) {
        if scopes.contains_key(id) {
            continue;
        }
        scopes.insert(id, scope);
        let node = resolve.nodes.iter().find(|node| node.id == id);
        for dependency in node.iter().flat_map(|node| &node.deps) {
            let kinds = || dependency.dep_kinds.iter().map(|kind| kind.kind.as_deref());
            let is_macro = packages.get(&*dependency.pkg).is_some_and(|package| is_macro(package));
            if scope == Scope::Linked && kinds().any(|kind| kind.is_none()) && !is_macro {
                waiting.push((&*dependency.pkg, Scope::Linked));
            } else if kinds().any(|kind| kind != Some("dev")) {
                building.push((&*dependency.pkg, Scope::Building));
            }
        }
    }
    scopes
}

fn is_macro(package: &Package) -> bool {
    package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
}

fn component(package: &Package, scope: Scope, checksum: Option<&str>) -> Value {
    let reference = reference(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "scope": match scope { Scope::Linked => "required", Scope::Building => "excluded" },
        "purl": reference,
    });
    if let Some(description) = &package.description {
        component["description"] = description.split_whitespace().collect::<Vec<_>>().join(" ").into();
    }
    if let Some(license) = &package.license {
        // Old crates write `MIT/Apache-2.0`, which SPDX does not know.
        let expression = license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if package.source.is_some() {
        let url = format!("https://crates.io/crates/{}/{}", package.name, package.version);
        component["externalReferences"] = json!([{ "type": "distribution", "url": url }]);
    }
    component
}

/// The programs and libraries, with their digests.
fn files(stage: &Tree) -> Result<Vec<Value>> {
    let built = stage.files().filter(|(path, _)| is_built(path));
    built
        .map(|(path, entry)| {
            let digest = sums::hex(&Sha256::digest(entry.bytes()?));
            Ok(json!({
                "type": "file",
                "bom-ref": format!("file:{path}"),
                "name": path,
                "hashes": [{ "alg": "SHA-256", "content": digest }],
            }))
        })
        .collect()
}

/// The name of a crate everywhere: <https://github.com/package-url/purl-spec>.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

fn references<'a>(
    packages: &BTreeMap<&str, &Package>,
    ids: impl Iterator<Item = &'a str>,
) -> BTreeSet<String> {
    ids.filter_map(|id| packages.get(id)).map(|package| reference(package)).collect()
}

/// A UUID of version 8 (RFC 9562, section 5.8) made of a digest: the same document has the same number.
fn uuid(digest: &[u8]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = sums::hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Seconds since 1970 as `2026-01-31T23:59:59Z`, by the algorithm of
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn timestamp(epoch: u64) -> String {
    let (days, second) = (epoch / 86_400 + 719_468, epoch % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the day of February 29 is the last one.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_826_154), "2000-02-29T12:09:14Z");
        assert_eq!(timestamp(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(timestamp(1_772_323_200), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn a_digest_becomes_a_uuid_of_version_8() {
        assert_eq!(uuid(&[0xff; 32]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn linked_and_building_crates_are_told_apart() {
        let package = |id: &str, kind: &str| Package {
            id: id.into(),
            name: id.into(),
            version: "1.0.0".into(),
            license: None,
            description: None,
            source: None,
            targets: vec![Target { kind: vec![kind.into()], name: id.into() }],
        };
        let packages = [
            package("root", "bin"),
            package("linked", "lib"),
            package("derive", "proc-macro"),
            package("both", "lib"),
            package("builder", "lib"),
            package("tested", "lib"),
        ];
        let needs = |pkg: &str, kind: Option<&str>| Dependency {
            pkg: pkg.into(),
            dep_kinds: vec![DependencyKind { kind: kind.map(str::to_owned) }],
        };
        let node = |id: &str, deps: Vec<Dependency>| Node { id: id.into(), deps };
        let resolve = Resolve {
            nodes: vec![
                node(
                    "root",
                    vec![needs("derive", None), needs("linked", None), needs("tested", Some("dev"))],
                ),
                node("linked", vec![needs("both", None), needs("builder", Some("build"))]),
                node("derive", vec![needs("both", None)]),
            ],
        };
        let packages = packages.iter().map(|package| (&*package.id, package)).collect();
        let scopes = scopes(&resolve, &packages, &["root"]);
        let linked: Vec<_> =
            scopes.iter().filter(|(_, scope)| **scope == Scope::Linked).map(|(id, _)| *id).collect();
        assert_eq!(linked, ["both", "linked", "root"]);
        let building: Vec<_> =
            scopes.iter().filter(|(_, scope)| **scope == Scope::Building).map(|(id, _)| *id).collect();
        assert_eq!(building, ["builder", "derive"]);
    }
}
