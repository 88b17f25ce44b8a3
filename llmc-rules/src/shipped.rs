//! The rule sets that come with llmc.

use std::sync::LazyLock;

use crate::launchers::without_version;
use crate::set::RuleSet;

const TEXTS: [&str; 9] = [
    include_str!("../rules/cargo.toml"),
    include_str!("../rules/cat.toml"),
    include_str!("../rules/find.toml"),
    include_str!("../rules/git.toml"),
    include_str!("../rules/ls.toml"),
    include_str!("../rules/make.toml"),
    include_str!("../rules/npm.toml"),
    include_str!("../rules/python.toml"),
    include_str!("../rules/rg.toml"),
];

static SETS: LazyLock<Vec<RuleSet>> =
    // Leaving one out would leave its program without rules.
    LazyLock::new(|| {
        let parsed: Result<_, _> = TEXTS.iter().map(|text| RuleSet::parse(text)).collect();
        parsed.expect("the files are part of this crate, and a test reads each")
    });

/// The set of this name.
pub fn shipped(name: &str) -> Option<&'static RuleSet> {
    SETS.iter().find(|set| set.name() == name)
}

/// The set for a program of this name, or of a file of this name, whatever its version.
pub fn shipped_for(name: &str) -> Option<&'static RuleSet> {
    let names = [name, without_version(name)];
    SETS.iter().find(|set| names.iter().any(|name| set.names.has(name)))
}

/// The names of all sets.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SETS.iter().map(RuleSet::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_rule_set() {
        for text in TEXTS {
            RuleSet::parse(text).unwrap();
        }
        assert_eq!(
            shipped_names().collect::<Vec<_>>(),
            ["cargo", "cat", "find", "git", "ls", "make", "npm", "python", "rg"]
        );
    }

    #[test]
    fn a_set_is_found_by_any_version_of_its_name() {
        for (name, expected) in [
            ("python3.11", Some("python")),
            ("python3", Some("python")),
            ("npm-cli.js", Some("npm")),
            ("gmake", Some("make")),
            ("git-lfs", None),
            ("bash", None),
        ] {
            assert_eq!(shipped_for(name).map(RuleSet::name), expected, "{name}");
        }
    }
}
