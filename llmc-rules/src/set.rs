//! A rule set as it stands in a file: how a program reads its arguments, and what it must not be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Arguments that a rule set lets pass when it names no other number. More is no everyday command line.
const DEFAULT_MAX_ARGS: usize = 1024;

/// The rules of one program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// Names of the program and of its file; the first is the name of the set.
    pub(crate) names: Words,
    /// Most arguments.
    #[serde(default = "default_max_args")]
    pub(crate) max_args: usize,
    /// How arguments are written.
    #[serde(default)]
    pub(crate) syntax: Syntax,
    /// Flags that mean the same in all subcommands, and what holds for operands where a command says nothing.
    #[serde(default)]
    pub(crate) everywhere: Command,
    /// What stands before the subcommand; everything, in a program without subcommands.
    #[serde(default)]
    pub(crate) top: Command,
    /// Subcommands with rules of their own; a key may hold several names.
    #[serde(default)]
    commands: BTreeMap<String, Command>,
}

/// A rule set that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rule set: {}", self.0)
    }
}

impl std::error::Error for ParseError {}

/// How a program reads its command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Syntax {
    /// `-abc` means `-a -b -c`.
    pub(crate) clusters: bool,
    /// `--outp` means `--output`, as in `getopt_long(3)` and in git.
    pub(crate) abbreviations: bool,
    /// `--` ends the flags.
    pub(crate) double_dash: bool,
    /// Flags may come after operands.
    pub(crate) permutes: bool,
    /// How long flags begin.
    pub(crate) dashes: Dashes,
}

impl Default for Syntax {
    /// That of `getopt_long(3)`: what most programs have, and the reading that finds most flags.
    fn default() -> Self {
        Self { clusters: true, abbreviations: true, double_dash: true, permutes: true, dashes: Dashes::Two }
    }
}

/// How long flags begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dashes {
    /// `--output`; one dash begins short flags.
    Two,
    /// `-exec`, a word as a whole, as in find.
    One,
    /// `-prefix`, `--prefix` and `---no-no-prefix` are one flag, as in npm.
    Any,
}

/// What a program, or one subcommand, takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Command {
    /// Flags without a value.
    pub(crate) switches: Words,
    /// Flags with a value, glued or in the next argument.
    pub(crate) values: Words,
    /// Flags whose value can only be glued.
    pub(crate) optional: Words,
    /// Flags whose value is a path.
    pub(crate) paths: Words,
    /// Those of `paths` that the program changes its directory to.
    pub(crate) chdir: Words,
    /// Flags that were allowed without telling what they take.
    #[serde(skip)]
    pub(crate) allowed: Words,
    /// Flags that are refused.
    pub(crate) deny: Vec<Deny>,
    /// Values that are refused.
    pub(crate) deny_values: Vec<DenyValue>,
    /// What operands are.
    pub(crate) operands: Option<Operands>,
    /// The first operand is a text, such as a pattern, unless one of `text_flags` is there.
    pub(crate) first_is_text: bool,
    /// Flags that take the place of that text.
    pub(crate) text_flags: Words,
    /// Most operands.
    pub(crate) max_operands: Option<usize>,
    /// Operands that are refused.
    pub(crate) deny_operands: Vec<DenyOperand>,
    /// Names that an operand `NAME=value` must not set.
    pub(crate) deny_assignments: Vec<DenyAssignment>,
    /// Subcommands without rules of their own.
    pub(crate) subcommands: Words,
    /// Subcommands with rules of their own; a key may hold several names.
    pub(crate) commands: BTreeMap<String, Command>,
    /// Subcommands that are refused with a reason of their own; a key may hold several names.
    pub(crate) deny_subcommands: BTreeMap<String, String>,
    /// Whether there has to be a subcommand.
    pub(crate) needs_subcommand: bool,
    /// Flags that do all by themselves, such as `--version`, so that no subcommand is needed.
    pub(crate) alone: Words,
    /// An operand that is no subcommand is an operand.
    pub(crate) other_operands: bool,
    /// The flag whose value is the subcommand, such as `-m` of Python.
    pub(crate) selected_by: Option<String>,
}

/// Flags that are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deny {
    pub(crate) flags: Words,
    /// What the flags take, for an operator who allows them.
    #[serde(default)]
    pub(crate) takes: Takes,
    /// Allowing them alone would not help: what follows is not read by these rules any more.
    #[serde(default)]
    pub(crate) ends_rules: bool,
    pub(crate) why: String,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Takes {
    /// Nobody said.
    #[default]
    Unsaid,
    /// Nothing.
    Nothing,
    /// A value, glued or in the next argument.
    Value,
    /// A value that can only be glued.
    Glued,
    /// A path, glued or in the next argument.
    Path,
}

/// Values of flags that are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyValue {
    pub(crate) flags: Words,
    /// `*` stands for any text.
    pub(crate) patterns: Words,
    pub(crate) why: String,
}

/// Operands that are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyOperand {
    /// `*` stands for any text.
    pub(crate) patterns: Words,
    pub(crate) why: String,
}

/// Variables that an operand `NAME=value` must not set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyAssignment {
    pub(crate) names: Words,
    pub(crate) why: String,
}

/// What operands are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operands {
    /// Text.
    #[default]
    Any,
    /// Paths, which have to lie in a granted directory. What is no path is a harmless one: `HEAD~3`, `main..topic`.
    Paths,
}

/// Words of a text, apart by white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl Words {
    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

fn default_max_args() -> usize {
    DEFAULT_MAX_ARGS
}

impl RuleSet {
    /// Reads a rule set.
    ///
    /// # Errors
    ///
    /// When the text is no rule set; says where.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut set: Self = toml::from_str(text).map_err(|error| ParseError(error.to_string()))?;
        if set.names.0.is_empty() {
            return Err(ParseError("`names` is empty".into()));
        }
        set.top.commands.append(&mut set.commands);
        set.top.spread()?;
        Ok(set)
    }

    /// A set for a program that none is shipped for: nothing is refused but what changes refuse.
    pub fn empty(name: &str) -> Self {
        Self {
            names: Words(vec![name.to_owned()]),
            max_args: DEFAULT_MAX_ARGS,
            syntax: Syntax::default(),
            everywhere: Command::default(),
            top: Command::default(),
            commands: BTreeMap::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.names.0.first().map_or("", String::as_str)
    }
}

impl Command {
    /// Gives every name of a shared key an entry of its own.
    fn spread(&mut self) -> Result<(), ParseError> {
        let shared = std::mem::take(&mut self.commands);
        for (names, mut command) in shared {
            command.spread()?;
            names.split_whitespace().try_for_each(|name| self.add(name, command.clone()))?;
        }
        for name in std::mem::take(&mut self.subcommands).0 {
            self.add(&name, Self::default())?;
        }
        let denied = std::mem::take(&mut self.deny_subcommands);
        for (names, why) in denied {
            self.deny_subcommands.extend(names.split_whitespace().map(|name| (name.to_owned(), why.clone())));
        }
        match self.deny_subcommands.keys().find(|name| self.commands.contains_key(*name)) {
            Some(name) => Err(ParseError(format!("subcommand `{name}` is allowed and denied"))),
            None => Ok(()),
        }
    }

    fn add(&mut self, name: &str, command: Self) -> Result<(), ParseError> {
        match self.commands.insert(name.to_owned(), command) {
            Some(_) => Err(ParseError(format!("subcommand `{name}` is described twice"))),
            None => Ok(()),
        }
    }

    pub(crate) fn has_subcommands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Whether what stands before the subcommand has to be known, so that the subcommand cannot be mistaken.
    pub(crate) fn is_strict(&self) -> bool {
        self.has_subcommands() && !self.other_operands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_keys_are_spread_and_unknown_keys_refused() {
        let set =
            RuleSet::parse("names = 'x'\n[commands.'a b']\nvalues = '-m'\n[top]\nsubcommands = 'c'").unwrap();
        assert_eq!(set.top.commands.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(set.top.commands["b"].values.has("-m"));
        assert!(RuleSet::parse("names = 'x'\nname = 'y'").unwrap_err().to_string().contains("unknown field"));
        for wrong in [
            "names = ''",
            "names = 'x'\n[commands.'a b']\n[commands.b]",
            "names = 'x'\n[commands.a]\n[top.deny_subcommands]\na = ''",
        ] {
            assert!(RuleSet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
