//! Variables that steer programs past the rules for their arguments.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::pattern::fits;
use crate::set::Words;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variables {
    why: String,
    names: Words,
}

static VARIABLES: LazyLock<BTreeMap<String, Variables>> = LazyLock::new(|| {
    toml::from_str(include_str!("../rules/variables.toml"))
        .expect("the file is part of this crate, and a test reads it")
});

/// What a program does with a variable that rules for arguments do not see; nothing for a harmless one.
pub fn steering(variable: &str) -> Option<&'static str> {
    let steers = |variables: &&Variables| variables.names.iter().any(|pattern| fits(pattern, variable));
    VARIABLES.values().find(steers).map(|variables| variables.why.as_str())
}

#[cfg(test)]
mod tests {
    use super::steering;

    #[test]
    fn variables_that_start_or_load_something_are_known() {
        for name in [
            "LD_PRELOAD",
            "PATH",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "PAGER",
            "RUSTC_WRAPPER",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "npm_config_script_shell",
            "NODE_OPTIONS",
            "MAKEFLAGS",
            "PYTHONPATH",
            "BASH_ENV",
            "RIPGREP_CONFIG_PATH",
        ] {
            assert!(steering(name).is_some(), "{name}");
        }
        for name in
            ["LANG", "LC_ALL", "TZ", "TERM", "RUST_BACKTRACE", "GIT_AUTHOR_NAME", "NO_COLOR", "CI", "HOMER"]
        {
            assert!(steering(name).is_none(), "{name}");
        }
    }
}
