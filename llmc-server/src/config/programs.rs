//! `[programs.NAME]`: what a program may be told, and what its jail has besides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llmc_rules::{Allow, Changes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// `[programs.NAME]`: settings of a granted program, whichever plugin it is granted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Program {
    /// SHA-256 of the program's file in hexadecimal, compared at start-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Name of a shipped rule set, or `none`; without it, the set named like the program or its file, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Further flags that are refused, such as `--force`, or `push --force` for one subcommand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_flags: Vec<String>,
    /// Flags that the rule set refuses and this program may have all the same, written likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_flags: Vec<String>,
    /// The subcommands that are allowed, in place of those of the rule set; `default` stands for these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_subcommands: Option<Vec<String>>,
    /// Most arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_args: Option<usize>,
    /// Further files and directories of the machine that its jail shows, absolute, read-only at the same path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<PathBuf>,
    /// Variables that are set in its jail; plugins cannot change them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// Switches rules off.
pub(crate) const NO_RULES: &str = "none";

impl Program {
    /// What changes in the rule set.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            deny_flags: self.deny_flags.clone(),
            allow_flags: self.allow_flags.clone(),
            allow_subcommands: self.allow_subcommands.clone(),
            max_args: self.max_args,
        }
    }

    /// The line of the configuration that would allow something, with what is allowed already.
    pub(crate) fn line_with(&self, name: &str, allow: &Allow) -> String {
        let more = |list: &[String], entry: &str| -> toml::Value {
            list.iter().map(String::as_str).chain([entry]).collect::<Vec<_>>().into()
        };
        let (key, value) = match allow {
            Allow::Flag(entry) => match self.without(entry) {
                Some(rest) => ("deny_flags", rest.into()),
                None => ("allow_flags", more(&self.allow_flags, entry)),
            },
            Allow::Subcommand(entry) => {
                let shipped = vec!["default".to_owned()];
                ("allow_subcommands", more(self.allow_subcommands.as_ref().unwrap_or(&shipped), entry))
            }
            Allow::MaxArgs(count) => {
                ("max_args", toml::Value::Integer(i64::try_from(*count).unwrap_or(i64::MAX)))
            }
            Allow::Read(path) => {
                let read: Vec<_> = self.read.iter().map(|path| path.display().to_string()).collect();
                ("read", more(&read, path))
            }
            Allow::NoRules => ("rules", NO_RULES.into()),
        };
        format!("`{} {key} = {value}`", header(name))
    }

    /// `deny_flags` without the entry that refuses a flag, if the operator's own word does.
    fn without(&self, entry: &str) -> Option<Vec<String>> {
        let flag = entry.rsplit(' ').next().unwrap_or(entry);
        let refuses = |own: &String| own == entry || own == flag;
        let rest: Vec<_> = self.deny_flags.iter().filter(|own| !refuses(own)).cloned().collect();
        (rest.len() < self.deny_flags.len()).then_some(rest)
    }
}

/// The header of a program's table.
pub(crate) fn header(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    match name.chars().all(is_bare) {
        true => format!("[programs.{name}]"),
        false => format!("[programs.{}]", toml::Value::from(name)),
    }
}

/// The name in an entry of `programs`: `NAME` or `NAME=/absolute/path`.
pub(crate) fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// What can be checked without the machine: settings are of granted programs, and can be meant.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let granted = || {
        let runs = config.plugins.values().filter_map(|plugin| plugin.grants.run.as_ref());
        runs.flat_map(|run| &run.programs).map(|entry| name_of(entry))
    };
    for (name, program) in &config.programs {
        let place = header(name);
        if !granted().any(|granted| granted == name) {
            let nearest = granted().min_by_key(|granted| strsim::damerau_levenshtein(name, granted));
            let nearest = nearest.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("{place}: no plugin is granted program `{name}`{nearest}"));
        }
        if program.sha256.as_ref().is_some_and(|digest| !is_digest(digest)) {
            return Err(format!("{place} sha256 must be 64 hexadecimal digits"));
        }
        if let Some(path) = program.read.iter().find(|path| !path.is_absolute()) {
            return Err(format!("{place} read: `{}` must be an absolute path", path.display()));
        }
        for (variable, value) in &program.env {
            if variable.is_empty() || variable.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("{place} env: `{}` is no variable", variable.escape_debug()));
            }
        }
    }
    Ok(())
}

/// Whether a text is a SHA-256 in hexadecimal.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a path is narrow enough to be shown to a jail: below a directory of `/`, and none that the kernel makes up.
pub(crate) fn is_narrow(path: &Path) -> bool {
    path.components().count() > 2 && !path.starts_with("/proc") && !path.starts_with("/sys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &str) -> Program {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_line_has_what_was_allowed_before() {
        let line = |text: &str, allow: &Allow| program(text).line_with("git", allow);
        let flag = Allow::Flag("log --output".into());
        assert_eq!(line("", &flag), "`[programs.git] allow_flags = [\"log --output\"]`");
        assert_eq!(
            line("allow_flags = ['-p']", &flag),
            "`[programs.git] allow_flags = [\"-p\", \"log --output\"]`"
        );
        assert_eq!(
            line("deny_flags = ['--output', '-f']", &flag),
            "`[programs.git] deny_flags = [\"-f\"]`",
            "the operator's own word goes first"
        );
        let subcommand = Allow::Subcommand("daemon".into());
        assert_eq!(line("", &subcommand), "`[programs.git] allow_subcommands = [\"default\", \"daemon\"]`");
        assert_eq!(
            line("allow_subcommands = ['log']", &subcommand),
            "`[programs.git] allow_subcommands = [\"log\", \"daemon\"]`"
        );
        assert_eq!(line("", &Allow::MaxArgs(7)), "`[programs.git] max_args = 7`");
        assert_eq!(
            line("read = ['/opt/x']", &Allow::Read("/opt/y".into())),
            "`[programs.git] read = [\"/opt/x\", \"/opt/y\"]`"
        );
        assert_eq!(line("", &Allow::NoRules), "`[programs.git] rules = \"none\"`");
    }

    #[test]
    fn a_name_with_a_dot_is_quoted() {
        assert_eq!(header("python3.11"), "[programs.\"python3.11\"]");
        assert_eq!(header("gcc-12"), "[programs.gcc-12]");
    }
}
