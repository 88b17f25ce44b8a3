//! Every package has a licence expression that the allow-list satisfies, and every entry of the list is needed.

use anyhow::{Context, Result};
use spdx::{Expression, Licensee, ParseMode};

use super::{LicenceException, LicencePolicy};
use crate::workspace::Package;

/// Returns one sentence per package or entry at fault.
pub(super) fn check(policy: &LicencePolicy, packages: &[Package]) -> Result<Vec<String>> {
    let allowed = licensees(&policy.allow)?;
    let mut problems = Vec::new();
    let mut used = vec![false; allowed.len()];
    for package in packages {
        let Package { name, version, license, .. } = package;
        let Some(text) = license else {
            problems.push(format!("`{name}` {version} names no licence"));
            continue;
        };
        // Lax: old crates write `MIT/Apache-2.0`.
        let expression = Expression::parse_mode(text, ParseMode::LAX)
            .with_context(|| format!("failed to read licence `{text}` of `{name}` {version}"))?;
        let exception = policy.exceptions.iter().find(|exception| exception.package == *name);
        let granted = exception.map(|exception| licensees(&exception.allow)).transpose()?.unwrap_or_default();
        let fits = expression.evaluate(|wanted| {
            let position = allowed.iter().position(|licensee| licensee.satisfies(wanted));
            if let Some(position) = position {
                used[position] = true;
            }
            position.is_some() || granted.iter().any(|licensee| licensee.satisfies(wanted))
        });
        if !fits {
            problems
                .push(format!("`{name}` {version} has licence `{text}`, which `deny.toml` does not allow"));
        }
    }
    for (entry, _) in policy.allow.iter().zip(used).filter(|(_, used)| !used) {
        problems.push(format!("no dependency has the allowed licence `{entry}`; remove it from `deny.toml`"));
    }
    for LicenceException { package, .. } in &policy.exceptions {
        if !packages.iter().any(|known| known.name == *package) {
            problems.push(format!(
                "the licence exception for `{package}` fits nothing; remove it from `deny.toml`"
            ));
        }
    }
    Ok(problems)
}

fn licensees(names: &[String]) -> Result<Vec<Licensee>> {
    let parse = |name: &String| Licensee::parse(name).with_context(|| format!("unknown licence `{name}`"));
    names.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::package;
    use super::*;

    fn problems(allow: &[&str], licences: &[Option<&str>]) -> Vec<String> {
        let packages: Vec<_> =
            licences.iter().map(|licence| package("some", "1.0.0", *licence, None)).collect();
        let allow = allow.iter().map(|name| (*name).to_owned()).collect();
        check(&LicencePolicy { allow, exceptions: Vec::new() }, &packages).unwrap()
    }

    #[test]
    fn an_allowed_alternative_is_enough() {
        let fine = [
            Some("MIT OR GPL-3.0-only"),
            Some("MIT/Apache-2.0"),
            Some("Apache-2.0 WITH LLVM-exception OR MIT"),
        ];
        assert!(problems(&["MIT"], &fine).is_empty());
    }

    #[test]
    fn all_parts_of_a_conjunction_are_needed() {
        assert!(problems(&["MIT", "Unicode-3.0"], &[Some("MIT AND Unicode-3.0")]).is_empty());
        assert_eq!(problems(&["MIT"], &[Some("MIT AND Unicode-3.0")]).len(), 1);
    }

    #[test]
    fn other_licences_and_none_are_refused() {
        assert!(problems(&["MIT"], &[Some("MIT"), Some("GPL-3.0-only")])[0].contains("`GPL-3.0-only`"));
        assert!(problems(&["MIT"], &[Some("MIT"), None])[0].contains("names no licence"));
    }

    #[test]
    fn unneeded_entries_are_refused() {
        assert!(problems(&["MIT", "ISC"], &[Some("MIT")])[0].contains("`ISC`"));
    }

    #[test]
    fn an_exception_holds_for_its_crate_only() {
        let mut policy = LicencePolicy {
            allow: Vec::new(),
            exceptions: vec![LicenceException { package: "some".into(), allow: vec!["MPL-2.0".into()] }],
        };
        let some = || package("some", "1.0.0", Some("MPL-2.0"), None);
        assert!(check(&policy, &[some()]).unwrap().is_empty());
        let other = package("other", "1.0.0", Some("MPL-2.0"), None);
        assert_eq!(check(&policy, &[some(), other]).unwrap().len(), 1);
        policy.exceptions[0].package = "gone".into();
        assert_eq!(check(&policy, &[]).unwrap().len(), 1);
    }
}
