//! Programs whose purpose is to start others, or to do what their arguments say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::set::Words;

/// A kind of launcher.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launcher {
    /// What it is, such as `a shell`.
    pub what: String,
    /// What granting it means.
    pub means: String,
    names: Words,
}

static LAUNCHERS: LazyLock<BTreeMap<String, Launcher>> = LazyLock::new(|| {
    toml::from_str(include_str!("../rules/launchers.toml"))
        .expect("the file is part of this crate, and a test reads it")
});

/// The kind of launcher that a file name belongs to, whatever its version: `python3.11`, `vim.basic`, `bash-static`.
pub fn launcher(name: &str) -> Option<&'static Launcher> {
    let first_part = name.split(['.', '-']).next().unwrap_or(name);
    let names = [name, without_version(name), first_part, without_version(first_part)];
    LAUNCHERS.values().find(|launcher| names.iter().any(|name| launcher.names.has(name)))
}

/// A name without the version at its end: `python3.11` is `python`.
pub(crate) fn without_version(name: &str) -> &str {
    name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.' || last == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_any_version_of_their_name() {
        assert!(LAUNCHERS.len() >= 4);
        for name in [
            "sh",
            "bash",
            "dash",
            "zsh",
            "fish",
            "rbash",
            "bash5.2",
            "bash-static",
            "busybox",
            "env",
            "xargs",
            "python",
            "python3",
            "python3.11",
            "python3.11-dbg",
            "pypy3",
            "perl",
            "perl5.36.0",
            "ruby3.1",
            "node",
            "nodejs",
            "awk",
            "mawk",
            "gawk",
            "sed",
            "ssh",
            "sudo",
            "nohup",
            "timeout",
            "nice",
            "setsid",
            "gdb",
            "gdb-multiarch",
            "vim",
            "vim.basic",
            "vi",
            "php8.2",
            "lua5.4",
            "npx",
            "npx-cli.js",
            "find",
            "tclsh8.6",
            "ld-linux-x86-64.so.2",
        ] {
            assert!(launcher(name).is_some(), "{name}");
        }
        for name in
            ["ls", "cat", "git", "cargo", "rg", "true", "wc", "envsubst", "shuf", "pythonize", "vimdot2"]
        {
            assert!(launcher(name).is_none(), "{name}");
        }
    }
}
