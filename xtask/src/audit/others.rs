//! What tests take from npm and PyPI: every package in one version, with a digest, from the registry, under a licence
//! that `others.toml` allows. Known weaknesses of these packages are not looked up: they run in tests alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

const POLICY: &str = "xtask/src/audit/others.toml";

/// Folders that hold what is built or installed, never what is written.
const SKIPPED: &[&str] = &["target", "node_modules"];

/// Where npm says that a package comes from, if it says so.
const NPM: &str = "https://registry.npmjs.org/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
    pypi: BTreeMap<String, String>,
}

/// A package whose licence is accepted by hand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    package: String,
    /// What the lock file says instead of a licence.
    licence: String,
    reason: String,
    /// The day it was looked at.
    since: String,
}

/// A package that a lock file names.
struct Foreign {
    /// The lock file.
    file: String,
    name: String,
    licence: Option<String>,
}

/// `package-lock.json`, version 3.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NpmLock {
    lockfile_version: u32,
    packages: BTreeMap<String, NpmPackage>,
}

#[derive(Deserialize)]
struct NpmPackage {
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
    integrity: Option<String>,
    license: Option<String>,
    #[serde(default)]
    link: bool,
    resolved: Option<String>,
}

/// Returns one sentence per package or entry at fault, and how many packages there are.
pub(super) fn check(root: &Path) -> Result<(Vec<String>, usize)> {
    let policy =
        fs::read_to_string(root.join(POLICY)).with_context(|| format!("failed to read `{POLICY}`"))?;
    let policy: Policy = toml::from_str(&policy).with_context(|| format!("failed to read `{POLICY}`"))?;
    let mut problems = Vec::new();
    let mut packages = Vec::new();
    for file in lock_files(root)? {
        let name = file.strip_prefix(root)?.display().to_string();
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{name}`"))?;
        let read = if name.ends_with(".json") { npm } else { pypi };
        let (found, wrong) =
            read(&name, &text, &policy).with_context(|| format!("failed to read `{name}`"))?;
        packages.extend(found);
        problems.extend(wrong);
    }
    problems.extend(unneeded(&policy, &packages));
    problems.extend(licences(&policy, &packages)?);
    for Exception { package, reason, since, .. } in &policy.exceptions {
        println!("accepted the licence of {package} on {since}: {reason}");
    }
    Ok((problems, packages.len()))
}

/// All lock files of the repository, sorted.
fn lock_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?
        {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                    folders.push(entry.path());
                }
            } else if name == "package-lock.json"
                || (name.starts_with("requirements") && name.ends_with(".txt"))
            {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn npm(file: &str, text: &str, _: &Policy) -> Result<(Vec<Foreign>, Vec<String>)> {
    let lock: NpmLock = serde_json::from_str(text)?;
    let mut problems = Vec::new();
    let mut packages = Vec::new();
    if lock.lockfile_version != 3 {
        problems.push(format!(
            "`{file}` has version {}; make it anew with npm 7 or newer",
            lock.lockfile_version
        ));
    }
    for (path, package) in &lock.packages {
        let Some((_, name)) = path.rsplit_once("node_modules/") else {
            // What we ask for ourselves; npm writes it as it stands in package.json.
            let loose = package.dependencies.iter().filter(|(_, version)| !is_exact(version));
            problems.extend(loose.map(|(name, version)| {
                format!("`{file}` asks for `{name}` in version `{version}`; name exactly one")
            }));
            continue;
        };
        if !package.integrity.as_ref().is_some_and(|digest| digest.starts_with("sha512-")) {
            problems.push(format!("`{name}` in `{file}` has no `integrity` of SHA-512"));
        }
        let elsewhere = package.resolved.as_ref().is_some_and(|address| !address.starts_with(NPM));
        if package.link || elsewhere {
            problems.push(format!("`{name}` in `{file}` does not come from the registry of npm"));
        }
        packages.push(Foreign {
            file: file.to_owned(),
            name: name.to_owned(),
            licence: package.license.clone(),
        });
    }
    Ok((packages, problems))
}

/// Whether it is a version and no range.
fn is_exact(version: &str) -> bool {
    semver::Version::parse(version).is_ok()
}

fn pypi(file: &str, text: &str, policy: &Policy) -> Result<(Vec<Foreign>, Vec<String>)> {
    let mut problems = Vec::new();
    let mut packages = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let requirement =
            line.split(" --hash=").next().unwrap_or(line).split(';').next().unwrap_or(line).trim();
        let Some((name, version)) = requirement.split_once("==") else {
            problems.push(format!("`{file}` has the line `{requirement}`; write NAME==VERSION with digests"));
            continue;
        };
        if version.contains('*') || name.contains(['@', '/', ' ', '[']) {
            problems.push(format!("`{requirement}` in `{file}` is not one version of one package"));
        }
        let digests: Vec<_> =
            line.split_whitespace().filter_map(|word| word.strip_prefix("--hash=")).collect();
        if digests.is_empty() || !digests.iter().all(|digest| is_sha256(digest)) {
            problems.push(format!("`{requirement}` in `{file}` has no digest of SHA-256"));
        }
        let licence = policy.pypi.get(name).cloned();
        packages.push(Foreign { file: file.to_owned(), name: name.to_owned(), licence });
    }
    Ok((packages, problems))
}

/// Licences of packages that no lock file for PyPI names.
fn unneeded(policy: &Policy, packages: &[Foreign]) -> Vec<String> {
    let of_pypi = packages.iter().filter(|package| !package.file.ends_with(".json"));
    let named: BTreeSet<_> = of_pypi.map(|package| package.name.as_str()).collect();
    let unneeded = policy.pypi.keys().filter(|name| !named.contains(name.as_str()));
    unneeded.map(|name| format!("no test takes `{name}` from PyPI; remove it from `{POLICY}`")).collect()
}

fn is_sha256(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit())
}

fn licences(policy: &Policy, packages: &[Foreign]) -> Result<Vec<String>> {
    let parse = |name: &String| Licensee::parse(name).with_context(|| format!("unknown licence `{name}`"));
    let allowed = policy.allow.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let mut used = vec![false; allowed.len()];
    let mut excepted = vec![false; policy.exceptions.len()];
    let mut problems = Vec::new();
    for Foreign { file, name, licence } in packages {
        let text = licence.as_deref().unwrap_or_default();
        let known =
            policy.exceptions.iter().position(|entry| entry.package == *name && entry.licence == text);
        if let Some(position) = known {
            excepted[position] = true;
            continue;
        }
        let fits = Expression::parse_mode(text, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|wanted| {
                let position = allowed.iter().position(|licensee| licensee.satisfies(wanted));
                position.inspect(|position| used[*position] = true).is_some()
            })
        });
        if !fits {
            problems
                .push(format!("`{name}` in `{file}` has licence `{text}`, which `{POLICY}` does not allow"));
        }
    }
    for (entry, _) in policy.allow.iter().zip(used).filter(|(_, used)| !used) {
        problems.push(format!("no package has the licence `{entry}`; remove it from `{POLICY}`"));
    }
    for (entry, _) in policy.exceptions.iter().zip(excepted).filter(|(_, used)| !used) {
        problems
            .push(format!("the exception for `{}` fits nothing; remove it from `{POLICY}`", entry.package));
    }
    for entry in policy.exceptions.iter().filter(|entry| entry.reason.is_empty() || entry.since.len() != 10) {
        problems
            .push(format!("the exception for `{}` needs a reason and a day in `{POLICY}`", entry.package));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"{"lockfileVersion": 3, "packages": {
        "": {"dependencies": {"some": "1.2.3"}},
        "node_modules/some": {"version": "1.2.3", "integrity": "sha512-AA==", "license": "MIT"}}}"#;

    fn policy() -> Policy {
        let pypi = BTreeMap::from([("some".to_owned(), "MIT".to_owned())]);
        Policy { allow: vec!["MIT".into()], exceptions: Vec::new(), pypi }
    }

    /// All that is wrong with one lock file.
    fn problems(file: &str, text: &str, policy: &Policy) -> Vec<String> {
        let read = if file.ends_with(".json") { npm } else { pypi };
        let (packages, mut problems) = read(file, text, policy).unwrap();
        if !file.ends_with(".json") {
            problems.extend(unneeded(policy, &packages));
        }
        problems.extend(licences(policy, &packages).unwrap());
        problems
    }

    fn npm_problems(from: &str, to: &str) -> Vec<String> {
        assert!(LOCK.contains(from), "{from}");
        problems("package-lock.json", &LOCK.replace(from, to), &policy())
    }

    #[test]
    fn a_pinned_package_of_npm_is_fine_and_each_fault_is_named() {
        assert!(npm_problems("1.2.3", "1.2.3").is_empty());
        assert!(
            npm_problems(r#"{"some": "1.2.3"}"#, r#"{"some": "^1.2.3"}"#)[0].contains("name exactly one")
        );
        assert!(npm_problems(r#""integrity": "sha512-AA==", "#, "")[0].contains("`integrity`"));
        assert!(npm_problems("sha512-AA==", "sha1-AA==")[0].contains("`integrity`"));
        let elsewhere = r#""license": "MIT", "resolved": "git+ssh://git@example.org/some""#;
        assert!(npm_problems(r#""license": "MIT""#, elsewhere)[0].contains("registry"));
        assert!(
            npm_problems(r#""license": "MIT""#, r#""license": "MIT", "link": true"#)[0].contains("registry")
        );
        assert!(
            npm_problems(r#""license": "MIT""#, r#""license": "GPL-3.0-only""#)[0].contains("`GPL-3.0-only`")
        );
        assert!(npm_problems("Version\": 3", "Version\": 1")[0].contains("version 1"));
    }

    #[test]
    fn a_pinned_package_of_pypi_is_fine_and_each_fault_is_named() {
        let digest = format!("--hash=sha256:{}", "a".repeat(64));
        let found = |text: &str| problems("requirements.txt", text, &policy());
        assert!(
            found(&format!("# made by a tool\nsome==1.0 ; sys_platform != 'win32' \\\n    {digest}\n"))
                .is_empty()
        );
        assert!(found("some==1.0\n")[0].contains("no digest"));
        assert!(found("some==1.0 --hash=md5:00\n")[0].contains("no digest"));
        assert!(found(&format!("some>=1.0 {digest}\n"))[0].contains("NAME==VERSION"));
        assert!(found("-e .\n")[0].contains("NAME==VERSION"));
        assert!(found(&format!("some==1.* {digest}\n"))[0].contains("not one version"));
        assert!(found(&format!("some==1.0 {digest}\nother==1.0 {digest}\n"))[0].contains("`other`"));
        assert!(found("")[0].contains("remove it"), "a licence of a package that is gone");
    }

    #[test]
    fn an_exception_holds_for_its_package_and_its_words_and_no_longer_than_needed() {
        let mut policy = policy();
        policy.exceptions.push(Exception {
            package: "odd".into(),
            licence: "SEE FILE".into(),
            reason: "read by hand".into(),
            since: "2026-11-23".into(),
        });
        let lock = |licence: &str| {
            let more =
                format!(r#""node_modules/odd": {{"integrity": "sha512-AA==", "license": "{licence}"}}, "#);
            LOCK.replace(r#""node_modules/some""#, &format!(r#"{more}"node_modules/some""#))
        };
        assert!(problems("package-lock.json", &lock("SEE FILE"), &policy).is_empty());
        assert_eq!(problems("package-lock.json", &lock("SEE OTHER FILE"), &policy).len(), 2);
        assert!(problems("package-lock.json", LOCK, &policy)[0].contains("fits nothing"));
        policy.exceptions[0].since.clear();
        assert!(problems("package-lock.json", &lock("SEE FILE"), &policy)[0].contains("a reason and a day"));
    }

    #[test]
    fn the_lock_files_of_this_repository_pass() {
        let root = crate::workspace::Workspace::locate().unwrap().root;
        let (problems, packages) = check(&root).unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
        assert!(packages > 0);
    }
}
