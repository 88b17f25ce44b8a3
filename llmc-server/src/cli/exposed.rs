//! Variables of the server's own environment that look like keys. Nothing hands them on, but a server that does not hold
//! them cannot lose them, and whatever else its user runs may read them.

use std::collections::BTreeSet;

use crate::config::{Config, SecretSource};

/// Words of names of variables that hold keys.
const WORDS: [&str; 14] = [
    "APIKEY",
    "AUTH",
    "BEARER",
    "CREDENTIAL",
    "CREDENTIALS",
    "JWT",
    "KEY",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PAT",
    "SECRET",
    "TOKEN",
];

/// Names that hold paths, sockets or numbers in spite of such a word.
const HARMLESS: [&str; 6] =
    ["DBUS_SESSION_BUS_ADDRESS", "GPG_KEY", "SSH_AUTH_SOCK", "SSH_ASKPASS", "XAUTHORITY", "SUDO_ASKPASS"];

/// Those of this process that no `[secrets]` names.
pub(super) fn names(config: Option<&Config>) -> Vec<String> {
    let wanted: BTreeSet<&str> = config
        .into_iter()
        .flat_map(|config| config.secrets.values())
        .filter_map(|source| match source {
            SecretSource::Env(variable) => Some(variable.as_str()),
            SecretSource::File(_) | SecretSource::Command(_) => None,
        })
        .collect();
    let names = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let mut names: Vec<String> = names
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| looks_like_a_key(name) && !wanted.contains(name.as_str()))
        .collect();
    names.sort();
    names
}

fn looks_like_a_key(name: &str) -> bool {
    let upper = name.to_uppercase();
    let is_one = |word: &str| WORDS.contains(&word) || word.ends_with("APIKEY") || word.ends_with("TOKEN");
    !HARMLESS.contains(&upper.as_str()) && upper.split('_').any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_other_names() {
        for name in [
            "OPENAI_API_KEY",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "PGPASSWORD_FILE_TOKEN",
            "gh_pat",
            "MY_APIKEY",
        ] {
            assert!(looks_like_a_key(name), "{name}");
        }
        for name in ["PATH", "HOME", "KEYBOARD", "SSH_AUTH_SOCK", "MONKEY", "LANG", "AUTHOR", "COMPASS"] {
            assert!(!looks_like_a_key(name), "{name}");
        }
    }
}
